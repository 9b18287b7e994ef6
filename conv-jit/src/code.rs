//! Machine code in memory: made from a nest, called, and given back on drop.
//!
//! All functions of a nest are compiled first, so that their size is known; then one arena of that
//! size takes them, is filled while it is writable, and becomes executable in the same step in
//! which it stops being writable. Nothing is added later.
//!
//! [`Code::call`] is the border where trust begins: what the caller passes must be what the nest
//! says.

use std::time::{Duration, Instant};

use conv_ir::Nest;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::{CodegenError, Context};
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{FuncId, Module, ModuleError, ModuleReloc};

use crate::Error;
use crate::emit::{self, Body, Named, Program};
use crate::isa::Isa;
use crate::x86::{Level, Machine, Refusal};

/// `fn(buffers, symbols, scratch, part, parts)`, see [`crate::emit`].
type Driver = unsafe extern "C" fn(*const *mut u8, *const i64, *mut u8, i64, i64);

/// Which driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Setup,
    Run,
}

/// Where compile time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileTime {
    /// Description to nest: schedule and passes.
    pub passes: Duration,
    /// Nest to Cranelift IR.
    pub emit: Duration,
    /// Cranelift IR to machine code.
    pub cranelift: Duration,
    /// Into executable memory.
    pub link: Duration,
}

impl CompileTime {
    /// All together.
    pub fn total(&self) -> Duration {
        self.passes + self.emit + self.cranelift + self.link
    }
}

/// The size of one function's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSize {
    /// The leaf's name, `setup` or `run`.
    pub name: String,
    /// Bytes of machine code, constants included.
    pub bytes: usize,
    /// Who made it.
    pub by: Maker,
}

/// Who made a function's machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Our assembler, at full width.
    Assembler(Box<Machine>),
    /// Cranelift.
    Cranelift {
        /// Why the assembler refused the leaf, where it was asked.
        refused: Option<Refusal>,
    },
}

/// The machine code of one nest.
pub(crate) struct Code {
    /// `Some` until drop.
    module: Option<JITModule>,
    setup: Driver,
    run: Driver,
    pub sizes: Vec<FunctionSize>,
    pub time: CompileTime,
}

// SAFETY: after `Code::new` nobody touches the module until drop, which has it alone; the function
// pointers point to code that nobody writes, and that keeps no state of its own between calls.
unsafe impl Sync for Code {}

impl Code {
    pub(crate) fn new(nest: &Nest, isa: &Isa, level: Option<Level>) -> Result<Code, Error> {
        let start = Instant::now();
        let program = emit::emit(nest, isa, level)?;
        let emitted = Instant::now();
        let (setup, run) = (program.setup, program.run);
        let objects = compile(program, isa)?;
        let compiled = Instant::now();
        let (module, ids) = link(&objects, isa)?;
        let time = CompileTime {
            passes: Duration::ZERO,
            emit: emitted - start,
            cranelift: compiled - emitted,
            link: compiled.elapsed(),
        };
        let (setup, run) = (driver(&module, ids[setup]), driver(&module, ids[run]));
        let sizes = objects
            .into_iter()
            .map(|o| FunctionSize { bytes: o.bytes().len(), name: o.name, by: o.by })
            .collect();
        Ok(Code { module: Some(module), setup, run, sizes, time })
    }

    /// Calls a driver.
    ///
    /// # Safety
    /// `buffers` has one address per buffer of the nest, each of as many elements as the nest says
    /// at these `symbols` (scratch buffers' are not read), the written ones nobody else's;
    /// `symbols` one value per symbol; `scratch` is this thread's block of
    /// [`emit::scratch::block_bytes`]; `part < parts`.
    pub(crate) unsafe fn call(
        &self,
        entry: Entry,
        buffers: &[*mut u8],
        symbols: &[i64],
        scratch: *mut u8,
        (part, parts): (usize, usize),
    ) {
        let driver = match entry {
            Entry::Setup => self.setup,
            Entry::Run => self.run,
        };
        // SAFETY: the function was emitted with this signature and the host's C calling convention;
        // its arguments are the caller's word.
        unsafe { driver(buffers.as_ptr(), symbols.as_ptr(), scratch, part as i64, parts as i64) }
    }

    /// Bytes of machine code.
    pub(crate) fn bytes(&self) -> usize {
        self.sizes.iter().map(|s| s.bytes).sum()
    }

    #[cfg(test)]
    pub(crate) fn address(&self) -> usize {
        self.run as usize
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: calls borrow `self`, so none is running and none can follow; no pointer into
            // the module has left it.
            unsafe { module.free_memory() }
        }
    }
}

/// One compiled function.
struct Object {
    name: String,
    /// Empty where `by` holds them.
    compiled: Vec<u8>,
    relocations: Vec<ModuleReloc>,
    align: u64,
    by: Maker,
}

impl Object {
    fn bytes(&self) -> &[u8] {
        match &self.by {
            Maker::Assembler(machine) => &machine.code,
            Maker::Cranelift { .. } => &self.compiled,
        }
    }
}

fn compile(program: Program, isa: &Isa) -> Result<Vec<Object>, Error> {
    let mut context = Context::new();
    program
        .functions
        .into_iter()
        .enumerate()
        .map(|(at, named)| object(&mut context, at, named, isa))
        .collect()
}

fn object(context: &mut Context, at: usize, named: Named, isa: &Isa) -> Result<Object, Error> {
    let (function, refused, target) = match named.body {
        Body::Ir(function, refused) => (function, refused, &isa.target),
        Body::Driver(function) => (function, None, &isa.drivers),
        Body::Assembled(machine) => {
            return Ok(Object {
                by: Maker::Assembler(machine),
                name: named.name,
                compiled: Vec::new(),
                relocations: Vec::new(),
                align: 64,
            });
        }
    };
    context.clear();
    context.func = *function;
    context
        .compile(&**target, &mut ControlPlane::default())
        .map_err(|e| unsupported(&named.name, &e.inner))?;
    let code = context
        .compiled_code()
        .ok_or_else(|| Error::Unsupported(format!("{}: no code", named.name)))?;
    let relocate = |r| ModuleReloc::from_mach_reloc(r, &context.func, FuncId::from_u32(at as u32));
    Ok(Object {
        compiled: code.code_buffer().to_vec(),
        relocations: code.buffer.relocs().iter().map(relocate).collect(),
        align: u64::from(code.buffer.alignment),
        name: named.name,
        by: Maker::Cranelift { refused },
    })
}

/// The machine code of a program as text, function by function.
pub(crate) fn disassemble(program: Program, isa: &Isa) -> Result<String, Error> {
    let mut context = Context::new();
    let mut text = String::new();
    for named in program.functions {
        let (function, target) = match named.body {
            Body::Ir(function, _) => (function, &isa.target),
            Body::Driver(function) => (function, &isa.drivers),
            Body::Assembled(machine) => {
                text += &format!("{}\n", machine.text());
                continue;
            }
        };
        context.clear();
        context.func = *function;
        context.set_disasm(true); // `clear` forgets it
        context
            .compile(&**target, &mut ControlPlane::default())
            .map_err(|e| unsupported(&named.name, &e.inner))?;
        let code = context.compiled_code();
        let listing = code.and_then(|c| c.vcode.as_deref()).unwrap_or("");
        let bytes = code.map_or(0, |c| c.code_buffer().len());
        text += &format!("; {} ({bytes} bytes)\n{listing}\n", named.name);
    }
    Ok(text)
}

/// A verifier error is our bug, and says which function has it.
fn unsupported(name: &str, error: &CodegenError) -> Error {
    match error {
        CodegenError::Verifier(errors) => panic!("emit: function {name} is ill-formed:\n{errors}"),
        error => Error::Unsupported(format!("{name}: {error}")),
    }
}

/// Puts all functions into one arena.
fn link(objects: &[Object], isa: &Isa) -> Result<(JITModule, Vec<FuncId>), Error> {
    let memory = |e: String| Error::Memory(format!("executable pages: {e}"));
    let failed = |e: ModuleError| memory(e.to_string());
    let mut builder =
        JITBuilder::with_isa(isa.target.clone(), cranelift_module::default_libcall_names());
    let arena = ArenaMemoryProvider::new_with_size(arena_bytes(objects))
        .map_err(|e| memory(e.to_string()))?;
    builder.memory_provider(Box::new(arena));
    let mut module = JITModule::new(builder);
    let signature = emit::driver_signature(isa.target.default_call_conv());
    let mut ids = Vec::with_capacity(objects.len());
    for _ in objects {
        // Leaves' own signatures play no part any more: their calls are already code.
        ids.push(module.declare_anonymous_function(&signature).map_err(failed)?);
    }
    for (id, object) in ids.iter().zip(objects) {
        module
            .define_function_bytes(*id, object.align, object.bytes(), &object.relocations)
            .map_err(failed)?;
    }
    module.finalize_definitions().map_err(failed)?;
    Ok((module, ids))
}

/// Room for every function on pages of its own, the worst that the arena does. 64 KiB is the
/// largest page in use; untouched pages cost nothing.
fn arena_bytes(objects: &[Object]) -> usize {
    const PAGE: usize = 64 << 10;
    // A relocated call may need an island of its own.
    let island = |o: &Object| 32 * o.relocations.iter().filter(|r| r.kind != Reloc::Abs8).count();
    objects
        .iter()
        .map(|o| (o.bytes().len() + island(o) + o.align as usize).div_ceil(PAGE) * PAGE)
        .sum::<usize>()
        + PAGE
}

fn driver(module: &JITModule, id: FuncId) -> Driver {
    debug_assert_ne!(module.isa().default_call_conv(), CallConv::Fast);
    let address = module.get_finalized_function(id);
    // SAFETY: the address is that of a finalized function with this signature in the host's C
    // calling convention.
    unsafe { std::mem::transmute::<*const u8, Driver>(address) }
}
