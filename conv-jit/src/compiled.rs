//! A compiled convolution: machine code and everything it was made from.
//!
//! In: a checked [`Conv`] and [`Options`]. Out: [`CompiledConv`], cheap to clone, usable from any
//! thread, its code freed with the last clone. Weights come next: [`CompiledConv::pack`].

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use conv_ir::lower::Layouts;
use conv_ir::nest::bill::Bill;
use conv_ir::schedule::Choice;
use conv_ir::separate::{Accuracy, Separable, separate};
use conv_ir::{Conv, DType, Element, Nest, Schedule, Target, passes};

use crate::cache;
use crate::choose::with_choice;
use crate::code::{Code, CompileTime, FunctionSize, Maker};
use crate::host::host_target;
use crate::isa::Isa;
use crate::listing;
use crate::packed::PackedConv;
use crate::x86::{self, Level};
use crate::{Error, share};

/// How to compile.
#[derive(Clone, Debug)]
pub struct Options {
    /// `None`: the model's choice.
    pub schedule: Option<Schedule>,
    /// What the model and the passes may assume of the machine. One with vectors of 256 or 512
    /// bits has its leaves assembled by us; this CPU must have them.
    pub target: Target,
    /// Look into the cache first, and leave the result there.
    pub cache: bool,
    /// Threads that a run uses at most, unless it says otherwise: each gets work for longer than
    /// it takes to wake it.
    pub threads: usize,
    /// Whether known weights may be computed in another order of sums, within a bound that
    /// [`explain`](CompiledConv::explain) states. A given schedule is for the exact order.
    pub accuracy: Accuracy,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            schedule: None,
            target: host_target(),
            cache: true,
            threads: 1,
            accuracy: Accuracy::Exact,
        }
    }
}

/// The machine code of one convolution.
#[derive(Clone)]
pub struct CompiledConv {
    /// Of two passes the second.
    pub(crate) shared: Arc<Shared>,
    pub(crate) first: Option<Arc<First>>,
    pub(crate) threads: usize,
}

/// What comes before, where a window is computed in two passes.
pub(crate) struct First {
    /// The description of both.
    pub whole: Conv,
    pub pass: CompiledConv,
    pub found: Separable,
}

/// What clones, packed weights and the cache hold together.
pub(crate) struct Shared {
    pub conv: Conv,
    pub schedule: Schedule,
    pub reasons: Vec<String>,
    pub target: Target,
    pub isa: Isa,
    pub nest: Nest,
    pub code: Code,
    /// Parts of the work can be done by different threads.
    pub divisible: bool,
    /// `None` where a size is free.
    pub lens: Option<Lens>,
    /// Multiply-adds of a run, where sizes are known.
    pub work: Option<u128>,
}

/// Multiply-adds that are worth a thread: about 5 us, which waking one takes.
const WORTH: u128 = 1 << 18;

impl Shared {
    /// As many of these threads as there is work for.
    pub fn worth(&self, threads: usize) -> usize {
        let most = self
            .work
            .map_or(usize::MAX, |work| usize::try_from(work / WORTH).unwrap_or(usize::MAX));
        threads.min(most.max(1))
    }
}

/// Elements of the arrays of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lens {
    pub input: usize,
    pub output: usize,
}

impl CompiledConv {
    /// Compiles, or finds the same convolution in the cache.
    ///
    /// # Errors
    /// [`Error::Conv`] for an illegal schedule, [`Error::Unsupported`] where this route cannot,
    /// [`Error::Memory`] without executable memory.
    pub fn new(conv: &Conv, options: Options) -> Result<CompiledConv, Error> {
        let found = match (options.accuracy, &options.schedule) {
            (Accuracy::Fast, None) => separate(conv),
            (Accuracy::Exact, _) | (_, Some(_)) => None,
        };
        if let Some(found) = found {
            return CompiledConv::in_two(conv, found, options);
        }
        let threads = options.threads.max(1);
        let target = options.target;
        let key = cache::key(conv, options.schedule.as_ref(), &target);
        let make = || Shared::new(conv, options.schedule, target).map(Arc::new);
        let shared = match options.cache {
            true => cache::get_or(key, make)?,
            false => make()?,
        };
        let first = None;
        Ok(CompiledConv { shared, first, threads })
    }

    fn in_two(conv: &Conv, found: Separable, options: Options) -> Result<CompiledConv, Error> {
        let exact = Options { accuracy: Accuracy::Exact, ..options };
        let pass = CompiledConv::new(&found.first, exact.clone())?;
        let second = CompiledConv::new(&found.second, exact)?;
        let whole = conv.clone();
        Ok(CompiledConv { first: Some(Arc::new(First { whole, pass, found })), ..second })
    }

    /// The description.
    pub fn conv(&self) -> &Conv {
        self.first.as_ref().map_or(&self.shared.conv, |first| &first.whole)
    }

    /// What was found, where a window is computed in two passes. Then code, schedule and nest are
    /// the second one's, and [`explain`](Self::explain) shows both.
    pub fn separable(&self) -> Option<&Separable> {
        self.first.as_ref().map(|first| &first.found)
    }

    /// The schedule it was compiled under.
    pub fn schedule(&self) -> &Schedule {
        &self.shared.schedule
    }

    /// Why that schedule.
    pub fn reasons(&self) -> &[String] {
        &self.shared.reasons
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.shared.conv.dtype()
    }

    /// The loop nest that the code was made from.
    pub fn nest(&self) -> &Nest {
        &self.shared.nest
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.shared.code.bytes()
    }

    /// Bytes of machine code by function.
    pub fn functions(&self) -> &[FunctionSize] {
        &self.shared.code.sizes
    }

    /// Where compile time went. A cached convolution answers what it took when it was made.
    pub fn compile_time(&self) -> CompileTime {
        self.shared.code.time
    }

    /// What runs, of a convolution whose weights are known (and whose bias, if it adds one):
    /// nothing is left to pack.
    ///
    /// # Errors
    /// [`Error::DType`]; [`Error::Length`] or [`Error::Argument`] where a weight or bias is still
    /// missing.
    pub fn ready<T: Element>(&self) -> Result<PackedConv<T>, Error> {
        PackedConv::new(self, &[], None)
    }

    /// Copies weight and bias into the order of their use. Done once; the result runs.
    ///
    /// # Errors
    /// [`Error::DType`], [`Error::Length`], or [`Error::Argument`] where a bias is missing or not
    /// asked for.
    pub fn pack<T: Element>(
        &self,
        weight: &[T],
        bias: Option<&[T]>,
    ) -> Result<PackedConv<T>, Error> {
        PackedConv::new(self, weight, bias)
    }

    /// The description, the route, the schedule with its reasons, sizes, compile time, and what
    /// each leaf costs.
    pub fn explain(&self) -> String {
        let Shared { conv, schedule, reasons, target, isa, nest, code, .. } = &*self.shared;
        if let Some(first) = &self.first {
            let second = CompiledConv { first: None, ..self.clone() };
            let First { whole, pass, found } = &**first;
            return format!(
                "{whole}\nfound     {found}\n\nfirst: {}\nthen: {}",
                pass.explain(),
                second.explain()
            );
        }
        let mut text = format!(
            "{conv}\nroute     {}, {}, target {target}\nschedule  {schedule}\n",
            route_name(target),
            isa.name()
        );
        reasons.iter().for_each(|reason| line(&mut text, format_args!("          - {reason}")));
        if let Some(known) = conv.known() {
            let found = known.found(conv.weight_shape()[0]);
            line(&mut text, format_args!("weights   compiled in: {found}"));
        }
        if !isa.has_fma() {
            line(
                &mut text,
                format_args!(
                    "rounding  no fused multiply-add here: two roundings, so the last bits differ from other routes"
                ),
            );
        }
        let t = code.time;
        line(
            &mut text,
            format_args!("code      {} bytes in {} functions", code.bytes(), code.sizes.len()),
        );
        let parts = (t.passes, t.emit, t.cranelift, t.link);
        line(
            &mut text,
            format_args!(
                "compiled  in {:.2?} (passes {:.2?}, emit {:.2?}, cranelift {:.2?}, link {:.2?})",
                t.total(),
                parts.0,
                parts.1,
                parts.2,
                parts.3
            ),
        );
        for (leaf, size) in nest.leaves.iter().zip(&code.sizes) {
            line(
                &mut text,
                format_args!("leaf      {}: {}; {} bytes", leaf.name, Bill::of(leaf), size.bytes),
            );
            match &size.by {
                Maker::Assembler => {
                    let again = Level::of(target).map(|level| x86::assemble(nest, leaf, level));
                    if let Some(Ok(machine)) = again {
                        line(&mut text, format_args!("          assembled: {}", machine.bill()));
                    }
                }
                Maker::Cranelift { refused: Some(why) } => {
                    line(&mut text, format_args!("          by cranelift: {why}"));
                }
                Maker::Cranelift { refused: None } => {}
            }
        }
        text
    }

    /// The nest after the pass of that name (or `lower`), as text.
    ///
    /// # Errors
    /// [`Error::Argument`] with the names there are.
    pub fn ir_after(&self, pass: &str) -> Result<String, Error> {
        let mut found = None;
        self.observe(&mut |name, nest| {
            if name == pass {
                found = Some(nest.to_string());
            }
        })?;
        found.ok_or_else(|| {
            let names: Vec<&str> = passes::PASSES.iter().map(|p| p.name).collect();
            Error::Argument(format!(
                "there is no pass {pass}: they are lower, {}",
                names.join(", ")
            ))
        })
    }

    /// Every pass's name with the nest after it, as text.
    ///
    /// # Errors
    /// None in practice: the passes have run before.
    pub fn ir_after_all(&self) -> Result<Vec<(String, String)>, Error> {
        let mut all = Vec::new();
        self.observe(&mut |name, nest| all.push((name.to_owned(), nest.to_string())))?;
        Ok(all)
    }

    fn observe(&self, f: &mut dyn FnMut(&str, &Nest)) -> Result<(), Error> {
        let Shared { conv, schedule, target, .. } = &*self.shared;
        passes::compile(conv, schedule, target, f)?;
        Ok(())
    }

    /// Cranelift's IR of what Cranelift compiled, and the machine code of the leaves that we
    /// assembled.
    ///
    /// # Errors
    /// None in practice: it has been emitted before.
    pub fn clif(&self) -> Result<String, Error> {
        listing::clif_for(&self.shared.nest, &self.shared.target)
    }

    /// The machine code of every function as text.
    ///
    /// # Errors
    /// None in practice: it has been compiled before.
    pub fn disassembly(&self) -> Result<String, Error> {
        listing::disassembly_for(&self.shared.nest, &self.shared.target)
    }
}

/// What makes the leaves for a target: `avx512`, `avx2` or `cranelift`.
pub fn route_name(target: &Target) -> &'static str {
    match Level::of(target) {
        Some(Level::Avx512) => "avx512",
        Some(Level::Avx2) => "avx2",
        None => "cranelift",
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}"); // writing to a string cannot fail
}

/// The level that a target asks for, if this CPU has it.
pub(crate) fn level(target: &Target) -> Result<Option<Level>, Error> {
    match Level::of(target) {
        Some(level) if !level.is_here() => Err(Error::Unsupported(format!(
            "target {target} needs {}, which this CPU does not have",
            level.needs()
        ))),
        level => Ok(level),
    }
}

impl Shared {
    /// Under the given schedule, or the model's choice.
    fn new(conv: &Conv, given: Option<Schedule>, target: Target) -> Result<Shared, Error> {
        if let Some(schedule) = given {
            let reasons = vec!["the schedule was given".to_owned()];
            return Shared::under(conv, Choice { schedule, reasons }, target);
        }
        with_choice(conv, Layouts::of(conv), &target, |choice| Shared::under(conv, choice, target))
    }

    fn under(
        conv: &Conv,
        Choice { schedule, reasons }: Choice,
        target: Target,
    ) -> Result<Shared, Error> {
        let isa = Isa::host()?;
        let level = level(&target)?;
        let start = Instant::now();
        let nest = passes::compile(conv, &schedule, &target, &mut |_, _| {})?;
        let passes = start.elapsed();
        let mut code = Code::new(&nest, &isa, level)?;
        code.time.passes = passes;
        let divisible = share::is_divisible(&nest);
        let lens =
            conv.input_len().zip(conv.output_len()).map(|(input, output)| Lens { input, output });
        Ok(Shared {
            conv: conv.clone(),
            schedule,
            reasons,
            target,
            isa,
            nest,
            code,
            divisible,
            lens,
            work: conv_ir::analysis::facts(conv).map(|facts| facts.multiply_adds),
        })
    }
}
