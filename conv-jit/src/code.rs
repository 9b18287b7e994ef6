//! Machine code in memory: made from a nest, called, and given back on drop.
//!
//! All functions of a nest are compiled first, then linked to one piece ([`link`]), then copied to
//! pages that become executable ([`Pages`]). Nothing is added later.
//!
//! [`Code::call`] is the border where trust begins: what the caller passes must be what the nest
//! says.

use std::time::{Duration, Instant};

use conv_ir::nest::BufferRole;
use conv_ir::{Isa, Nest};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::{CodegenError, Context};

use crate::Error;
use crate::backend::Backend;
use crate::emit::{self, Body, Emitted, Named};
use crate::leaf::BEHIND;
use crate::link::{self, Call, Part};
use crate::pages::Pages;
use crate::x86::{Kernels, Refusal};

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
    /// Description to nest: rewriting, plan, schedules and passes.
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

impl std::fmt::Display for CompileTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (total, CompileTime { passes, emit, cranelift, link }) = (self.total(), *self);
        write!(
            f,
            "{total:.2?} (passes {passes:.2?}, emit {emit:.2?}, cranelift {cranelift:.2?}, link {link:.2?})"
        )
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
#[non_exhaustive]
pub enum Maker {
    /// Our assembler, at full width.
    Assembler,
    /// Cranelift.
    Cranelift {
        /// Why the assembler refused the leaf, where it was asked.
        refused: Option<Refusal>,
    },
}

/// The machine code of one nest.
pub(crate) struct Code {
    /// Hold what `setup` and `run` point to.
    _pages: Pages,
    setup: Driver,
    run: Driver,
    /// By buffer of the nest: elements behind it that this code may read.
    pub slack: Vec<i64>,
    pub sizes: Vec<FunctionSize>,
    pub time: CompileTime,
}

impl Code {
    /// `kernels` are leaves that are assembled already, by position.
    pub(crate) fn new(
        nest: &Nest,
        backend: &Backend,
        isa: Isa,
        kernels: Kernels,
    ) -> Result<Code, Error> {
        let start = Instant::now();
        let program = emit::emit(nest, backend, isa, kernels)?;
        let emitted = Instant::now();
        let (setup, run) = (program.setup, program.run);
        let objects = compile(program, backend)?;
        let compiled = Instant::now();
        let parts: Vec<Part<'_>> = objects.iter().map(Object::part).collect();
        let (image, starts) = link::link(&parts)?;
        let pages = Pages::new(&image)?;
        let time = CompileTime {
            passes: Duration::ZERO,
            emit: emitted - start,
            cranelift: compiled - emitted,
            link: compiled.elapsed(),
        };
        let driver = |at: usize| {
            // SAFETY: the address is that of an emitted function with this signature in the host's
            // C calling convention.
            unsafe { std::mem::transmute::<*const u8, Driver>(pages.address(starts[at])) }
        };
        let (setup, run) = (driver(setup), driver(run));
        let sizes = objects.into_iter();
        let sizes = sizes.map(|o| FunctionSize { bytes: o.code.len(), name: o.name, by: o.by });
        let mut sizes: Vec<_> = sizes.collect();
        sizes.shrink_to_fit(); // it took over the objects' room
        Ok(Code { _pages: pages, setup, run, slack: slack(nest), sizes, time })
    }

    /// Calls a driver.
    ///
    /// # Safety
    /// `buffers` has one address per buffer of the nest, each of as many elements as the nest says
    /// at these `symbols`, with `slack` behind packed ones, the written ones nobody else's; of
    /// scratch buffers it has the offsets of [`emit::scratch::layout`] in `scratch`, which is this
    /// thread's block. `symbols` has one value per symbol; `part < parts`.
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

/// One compiled function.
struct Object {
    name: String,
    code: Vec<u8>,
    calls: Vec<Call>,
    align: usize,
    by: Maker,
}

impl Object {
    fn part(&self) -> Part<'_> {
        Part { code: &self.code, align: self.align, calls: &self.calls }
    }
}

fn compile(program: Emitted, backend: &Backend) -> Result<Vec<Object>, Error> {
    let mut context = Context::new();
    program.functions.into_iter().map(|named| object(&mut context, named, backend)).collect()
}

fn object(context: &mut Context, named: Named, backend: &Backend) -> Result<Object, Error> {
    let (function, refused, target) = match named.body {
        Body::Ir(function, refused) => (function, refused, &backend.target),
        Body::Driver(function) => (function, None, &backend.drivers),
        Body::Assembled(machine) => {
            return Ok(Object {
                by: Maker::Assembler,
                name: named.name,
                code: machine.code,
                calls: Vec::new(),
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
    let calls = code.buffer.relocs().iter().map(|reloc| Call::new(reloc, &context.func));
    Ok(Object {
        code: code.code_buffer().to_vec(),
        calls: calls.collect::<Result<_, Error>>()?,
        align: code.buffer.alignment as usize,
        name: named.name,
        by: Maker::Cranelift { refused },
    })
}

/// The machine code of each function, by name, before it is anywhere.
#[cfg(test)]
pub(crate) fn bytes(
    nest: &Nest,
    backend: &Backend,
    isa: Isa,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let objects = compile(emit::emit(nest, backend, isa, Vec::new())?, backend)?;
    Ok(objects.into_iter().map(|o| (o.name, o.code)).collect())
}

/// The machine code of a program as text, function by function.
pub(crate) fn disassemble(program: Emitted, backend: &Backend) -> Result<String, Error> {
    let mut context = Context::new();
    let mut text = String::new();
    for named in program.functions {
        let (function, target) = match named.body {
            Body::Ir(function, _) => (function, &backend.target),
            Body::Driver(function) => (function, &backend.drivers),
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

/// By buffer: elements behind its end that leaves may touch. Packed bytes may be read four at a
/// time.
fn slack(nest: &Nest) -> Vec<i64> {
    let mut slack = nest.slack();
    for (slack, buffer) in slack.iter_mut().zip(&nest.buffers) {
        if buffer.role == BufferRole::Packed && buffer.dtype.bytes() == 1 {
            *slack = BEHIND.max(*slack);
        }
    }
    slack
}
