//! A compiled program: machine code and everything it was made from.
//!
//! In: a checked program (a convolution is one of one step) and [`Options`]. Out: [`Compiled`],
//! cheap to clone, usable from any thread, its code freed with the last clone. Weights come next:
//! [`Compiled::pack`].

use std::fmt;
use std::sync::Arc;

use conv_ir::program::Rewritten;
use conv_ir::program::plan::Plan;
use conv_ir::{DType, Isa, Nest, Program, Target};

use crate::code::{Code, CompileTime, FunctionSize};
use crate::lowered::LoweredGroup;
use crate::options::Options;
use crate::shared::Shared;
use crate::{Error, cache, share};

/// The machine code of a program.
///
/// ```
/// let conv = conv_jit::conv1d(1, 1, 3).input([5]).compile()?;
/// assert_eq!(conv.program().to_string(), "conv1d f32 n1 g1 ic1 oc1 in 5 kernel 3");
/// assert!(conv.code_bytes() > 0 && conv.explain().contains("schedule"));
/// // One code, many weights.
/// let (sum, last) = (conv.pack(&[1.0f32; 3], None)?, conv.pack(&[0.0f32, 0.0, 1.0], None)?);
/// let mut output = [0.0; 3];
/// sum.run(&[1.0, 2.0, 3.0, 4.0, 5.0], &mut output)?;
/// assert_eq!(output, [6.0, 9.0, 12.0]);
/// last.run(&[1.0, 2.0, 3.0, 4.0, 5.0], &mut output)?;
/// assert_eq!(output, [3.0, 4.0, 5.0]);
/// # Ok::<(), conv_jit::Error>(())
/// ```
#[derive(Clone)]
pub struct Compiled {
    pub(crate) shared: Arc<Shared>,
    pub(crate) threads: usize,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, target) = (self.program().to_string(), self.target().name);
        let compiled = &mut f.debug_struct("Compiled");
        compiled.field("program", &program).field("target", &target).finish_non_exhaustive()
    }
}

impl Compiled {
    /// Compiles, or finds the same program in the cache.
    ///
    /// # Errors
    /// [`Error::Conv`] for an illegal schedule or plan, [`Error::Argument`] for a schedule of
    /// several steps, [`Error::Unsupported`] where this route cannot, [`Error::Memory`] without
    /// executable memory.
    pub fn new(program: impl Into<Program>, options: Options) -> Result<Compiled, Error> {
        let program = program.into();
        let threads = options.threads.clamp(1, share::MOST_THREADS);
        let target = options.made_for();
        let planned_for = options.planned_for(&program, threads);
        let options = Options { threads: planned_for, target, ..options };
        let make = || Shared::new(&program, &options).map(Arc::new);
        let shared = match options.cache {
            true => cache::get_or(&program, &options, make)?,
            false => make()?,
        };
        Ok(Compiled { shared, threads })
    }

    /// The description.
    pub fn program(&self) -> &Program {
        &self.shared.described
    }

    /// What is computed in its place: under [`Accuracy::Fast`](conv_ir::separate::Accuracy::Fast)
    /// windows of low rank are two steps, others are in tiles or blocks; and strides may have
    /// moved.
    pub fn rewritten(&self) -> &Rewritten {
        &self.shared.lowered.rewritten
    }

    /// Which steps are fused, and why.
    pub fn plan(&self) -> &Plan {
        &self.shared.lowered.plan
    }

    /// The plan's groups: schedule, reasons and nest of each.
    pub fn groups(&self) -> &[LoweredGroup] {
        &self.shared.lowered.groups
    }

    /// The nests that the code was made from, a group each.
    pub fn nests(&self) -> impl Iterator<Item = &Nest> {
        self.groups().iter().map(|group| &group.nest)
    }

    /// What it was compiled for.
    pub fn target(&self) -> &Target {
        &self.shared.options.target
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.shared.described.dtype()
    }

    /// Bytes of machine code. Groups that are alike share theirs.
    pub fn code_bytes(&self) -> usize {
        self.shared.each_code().map(Code::bytes).sum()
    }

    /// Bytes of machine code by function.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionSize> {
        self.shared.each_code().flat_map(|code| &code.sizes)
    }

    /// Where compile time went. A cached program answers what it took when it was made.
    pub fn compile_time(&self) -> CompileTime {
        let start = CompileTime { passes: self.shared.lowering, ..CompileTime::default() };
        self.shared.each_code().fold(start, |sum, code| {
            let time = code.time;
            CompileTime {
                emit: sum.emit + time.emit,
                cranelift: sum.cranelift + time.cranelift,
                link: sum.link + time.link,
                ..sum
            }
        })
    }
}

/// What makes the leaves for a target: `avx512`, `avx2` or `cranelift`.
pub fn route_name(target: &Target) -> &'static str {
    match target.isa {
        Isa::Portable => "cranelift",
        isa @ (Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx) => {
            isa.machine().name
        }
    }
}
