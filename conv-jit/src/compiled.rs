//! A compiled program: machine code and everything it was made from.
//!
//! In: a checked program (a convolution is one of one step) and [`Options`]. Out: [`Compiled`],
//! cheap to clone, usable from any thread, its code freed with the last clone. Weights come next:
//! [`Compiled::pack`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conv_ir::program::Rewritten;
use conv_ir::program::plan::Plan;
use conv_ir::separate::Accuracy;
use conv_ir::{DType, Element, Isa, Nest, Program, Schedule, Target};

use crate::backend::Backend;
use crate::cache;
use crate::code::{Code, CompileTime, FunctionSize};
use crate::engine::Arrays;
use crate::host::{as_here, host_target, is_here};
use crate::lowered::{Lowered, LoweredGroup};
use crate::packed::{Packed, StepWeights};
use crate::{Error, share};

/// How to compile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Of a program of one step. `None`: the model's choice.
    pub schedule: Option<Schedule>,
    /// Which steps are fused, of those that are computed
    /// ([`rewritten`](conv_ir::Program::rewritten)). `None`: the model's choice.
    pub plan: Option<Plan>,
    /// What the model and the passes may assume of the machine. One with vectors of 256 or 512
    /// bits has its leaves assembled by us; this CPU must have them.
    pub target: Target,
    /// Look into the cache first, and leave the result there.
    pub cache: bool,
    /// Threads that a run uses at most, unless it says otherwise: each gets work for longer than
    /// it takes to wake it.
    pub threads: usize,
    /// Whether known weights may be computed in another order of sums, within a bound that
    /// [`explain`](Compiled::explain) states (a given schedule is for the exact order), or
    /// multiply-adds round twice, which code for [`Target::CRANELIFT`] does, whatever the target.
    pub accuracy: Accuracy,
    /// Whether weights that come later are finite. Then zero padding may be multiplied by them,
    /// where that is faster than skipping it. Packing weights that are not compiles anew, without.
    pub finite_weights: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            schedule: None,
            plan: None,
            target: host_target(),
            cache: true,
            threads: 1,
            accuracy: Accuracy::Exact,
            finite_weights: true,
        }
    }
}

impl Options {
    /// Threads that the plan is for, of so many: others give the same code.
    fn planned_for(&self, program: &Program, threads: usize) -> usize {
        let steps = program.steps().len();
        let is_planned = self.plan.is_none() && (steps > 1 || self.accuracy != Accuracy::Exact);
        if is_planned { threads } else { 1 }
    }
}

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

/// What clones, packed weights and the cache hold together.
pub(crate) struct Shared {
    /// The program as it was described.
    pub described: Program,
    pub lowered: Lowered,
    /// How it was compiled. Threads are those that it was planned for.
    pub options: Options,
    pub backend: Backend,
    /// One per group.
    pub codes: Vec<GroupCode>,
    /// `None` where a size is free.
    pub lens: Option<Lens>,
    /// From the description to nests: rewriting, planning, scheduling, passes.
    lowering: Duration,
}

/// The machine code of a group, and what a run must know of it.
pub(crate) struct GroupCode {
    pub code: Code,
    /// Its arrays by tensor.
    pub arrays: Arrays,
    /// Parts of the work can be done by different threads.
    divisible: bool,
    /// As many threads as there is work for.
    useful_threads: usize,
}

/// How long the arrays of a run are.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    /// Elements.
    pub input: usize,
    /// Elements.
    pub output: usize,
    /// Elements of the residual from outside.
    pub residual: Option<usize>,
    /// Tensors between groups, each with its bytes.
    pub between: Vec<(usize, usize)>,
    /// The last tensor: the output.
    pub last: usize,
}

impl Lens {
    /// Of a program whose sizes are known.
    pub fn of(program: &Program, plan: &Plan) -> Option<Lens> {
        let last = program.steps().len();
        let elements = |tensor: usize| match tensor {
            0 => program.steps()[0].conv.input_len(),
            k => program.steps()[k - 1].conv.output_len(),
        };
        let ends = plan.groups.iter().map(|group| group.steps.end).filter(|end| *end < last);
        let between = ends.map(|end| Some((end, elements(end)? * program.dtype().bytes())));
        let outside = program
            .steps()
            .iter()
            .position(|step| step.conv.spec().residual && step.residual.is_none());
        Some(Lens {
            input: elements(0)?,
            output: elements(last)?,
            residual: outside.and_then(|at| elements(at + 1)),
            between: between.collect::<Option<_>>()?,
            last,
        })
    }

    /// Where the residual from outside stands among the tensors.
    pub fn outside(&self) -> usize {
        self.last + 1
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
        let target = match options.accuracy {
            // Leaves of ours have fused multiply-adds.
            Accuracy::Unfused => as_here(Target::CRANELIFT),
            Accuracy::Exact | Accuracy::Fast => options.target,
        };
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

    /// What is computed in its place: windows of low rank are two steps under
    /// [`Accuracy::Fast`], and strides may have moved.
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

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.shared.codes.iter().map(|group| group.code.bytes()).sum()
    }

    /// Bytes of machine code by function.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionSize> {
        self.shared.codes.iter().flat_map(|group| &group.code.sizes)
    }

    /// Where compile time went. A cached program answers what it took when it was made.
    pub fn compile_time(&self) -> CompileTime {
        let start = CompileTime { passes: self.shared.lowering, ..CompileTime::default() };
        self.shared.codes.iter().fold(start, |sum, group| {
            let time = group.code.time;
            CompileTime {
                emit: sum.emit + time.emit,
                cranelift: sum.cranelift + time.cranelift,
                link: sum.link + time.link,
                ..sum
            }
        })
    }

    /// What runs, of a program whose weights are known (and biases, where it adds some): nothing
    /// is left to pack.
    ///
    /// # Errors
    /// [`Error::DType`]; [`Error::Argument`] where a weight or bias comes later.
    pub fn ready<T: Element>(&self) -> Result<Packed<T>, Error> {
        Packed::ready(self)
    }

    /// Copies weight and bias of a program of one step into the order of their use. Done once; the
    /// result runs. A weight that is infinite or NaN may ask for other code
    /// ([`Options::finite_weights`]), which is compiled here.
    ///
    /// # Errors
    /// [`Error::DType`], [`Error::Length`], or [`Error::Argument`] where a bias is missing or not
    /// asked for, or there are several steps; those of compiling.
    pub fn pack<T: Element>(&self, weight: &[T], bias: Option<&[T]>) -> Result<Packed<T>, Error> {
        self.pack_steps(&[StepWeights { weight, bias }])
    }

    /// [`pack`](Self::pack) of a program with any number of steps.
    ///
    /// # Errors
    /// As [`pack`](Self::pack), with the step's number.
    pub fn pack_steps<T: Element>(
        &self,
        weights: &[StepWeights<'_, T>],
    ) -> Result<Packed<T>, Error> {
        Packed::new(self, weights)
    }
}

/// What makes the leaves for a target: `avx512`, `avx2` or `cranelift`.
pub fn route_name(target: &Target) -> &'static str {
    match target.isa {
        Isa::Portable => "cranelift",
        isa @ (Isa::Avx2 | Isa::Avx512) => isa.machine().name,
    }
}

/// Refuses a target whose instructions this CPU does not have.
fn check_here(target: &Target) -> Result<(), Error> {
    match is_here(target.isa) {
        true => Ok(()),
        false => Err(Error::Unsupported(format!(
            "target {target} needs {}, which this CPU does not have",
            target.isa.machine().features.join(", ")
        ))),
    }
}

impl Shared {
    fn new(program: &Program, options: &Options) -> Result<Shared, Error> {
        check_here(&options.target)?;
        let mut backend = Backend::host()?;
        backend.facts.fma &= options.accuracy != Accuracy::Unfused;
        let start = Instant::now();
        let lowered = Lowered::new(program, options)?;
        let lowering = start.elapsed();
        let code = |group| GroupCode::new(lowered.program(), group, (&backend, options.target.isa));
        let mut codes: Vec<_> = lowered.groups.iter().map(code).collect::<Result<_, _>>()?;
        codes.shrink_to_fit();
        Ok(Shared {
            codes,
            lens: Lens::of(lowered.program(), &lowered.plan),
            described: program.clone(),
            options: options.clone(),
            lowered,
            backend,
            lowering,
        })
    }

    /// Whether padding is multiplied by weights that come later.
    pub fn needs_finite_weights(&self) -> bool {
        self.lowered.groups.iter().any(|group| group.nest.needs_finite_weights)
    }

    /// The same for weights that may be infinite or NaN.
    pub fn for_any_weights(&self) -> Result<Arc<Shared>, Error> {
        let options = Options { finite_weights: false, ..self.options.clone() };
        Ok(Compiled::new(self.described.clone(), options)?.shared)
    }

    /// Neither schedule nor plan was given.
    pub fn is_models_choice(&self) -> bool {
        self.options.schedule.is_none() && self.options.plan.is_none()
    }
}

impl GroupCode {
    fn new(
        program: &Program,
        LoweredGroup { group, nest, .. }: &LoweredGroup,
        (backend, isa): (&Backend, Isa),
    ) -> Result<GroupCode, Error> {
        let steps = &program.steps()[group.steps.clone()];
        let outside = program.steps().len() + 1;
        let adds = steps.iter().filter(|step| step.conv.spec().residual);
        let from = adds.map(|step| step.residual.unwrap_or(outside));
        // What a step of the group gives stays within it.
        let is_from_before = |from: &usize| *from <= group.steps.start || *from == outside;
        Ok(GroupCode {
            code: Code::new(nest, backend, isa)?,
            arrays: Arrays {
                input: group.steps.start,
                output: group.steps.end,
                residuals: from.filter(is_from_before).collect(),
            },
            divisible: share::is_divisible(nest),
            useful_threads: share::useful_threads(steps.iter().map(|step| &step.conv)),
        })
    }

    /// Into how many parts a run is cut: as many as asked for, or as are useful, `most` at most.
    pub fn parts(&self, asked: Option<usize>, most: usize) -> usize {
        match self.divisible {
            true => asked.unwrap_or(self.useful_threads.min(most)),
            false => 1,
        }
    }
}
