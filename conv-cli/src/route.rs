//! The ways to compute a convolution, behind one door for `run`, `filter` and `bench`.
//!
//! In: a description, a route, weights. Out: [`Ready`], which runs on any input and knows what it
//! cost to make. The reference follows the description in plain loops; the interpreter follows the
//! lowered nest; the other routes make machine code of that nest.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use conv_ir::separate::Accuracy;
use conv_ir::{Conv, Nest, Schedule, Target, interp, passes, reference};
use conv_jit::{Compiled, Options, Packed};

use crate::failure::Failure;
use conv_files::Number;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Route {
    /// The fastest that there is
    Auto,
    /// Plain loops over the description: slow, obviously right
    Reference,
    /// The loop nest after all passes, interpreted: very slow
    Interp,
    /// Machine code by Cranelift, 128-bit vectors
    Cranelift,
    /// Machine code with micro-kernels for AVX2
    Avx2,
    /// Machine code with micro-kernels for AVX-512
    Avx512,
}

impl Route {
    /// The target that its schedule is made for, and its machine code, if that is what it makes.
    pub fn target(self) -> Target {
        match self {
            Route::Auto => conv_jit::host_target(),
            Route::Reference | Route::Interp | Route::Cranelift => Target::CRANELIFT,
            Route::Avx2 => conv_jit::as_here(Target::AVX2),
            Route::Avx512 => conv_jit::as_here(Target::AVX512),
        }
    }
}

/// A convolution's constant arrays.
#[derive(Clone, Debug, Default)]
pub struct Weights<T> {
    /// The windows.
    pub weight: Vec<T>,
    /// One number per output channel.
    pub bias: Option<Vec<T>>,
}

/// A convolution that is ready to run.
pub struct Ready<T: Number> {
    /// Who computes.
    pub route: &'static str,
    /// Time from the description to code, with nothing cached. Packing the weights is not counted.
    pub compile: Duration,
    /// How it is computed, where that was a choice.
    pub schedule: Option<Schedule>,
    /// Bytes of machine code.
    pub code_bytes: usize,
    /// The columns and rows that weights which are compiled in run as, with the error's bound.
    pub split: Option<String>,
    engine: Engine<T>,
}

enum Engine<T: Number> {
    Reference(Conv, Weights<T>),
    Interp(Nest, Weights<T>),
    Packed(Packed<T>),
}

impl<T: Number> Ready<T> {
    /// The same with the weights compiled in, where the route compiles anything.
    pub fn compiled_in(
        conv: &Conv,
        route: Route,
        (threads, accuracy): (usize, Accuracy),
        weights: &Weights<T>,
    ) -> Result<Ready<T>, Failure> {
        let conv = &conv.with_weights(&weights.weight, weights.bias.as_deref())?;
        match route {
            Route::Reference | Route::Interp => Ready::new(conv, route, threads, weights),
            Route::Auto | Route::Cranelift | Route::Avx2 | Route::Avx512 => {
                let options = (route.target(), threads, accuracy);
                Ready::machine(conv, options, |compiled| compiled.ready())
            }
        }
    }

    /// Compiles, as far as the route does, and packs the weights.
    pub fn new(
        conv: &Conv,
        route: Route,
        threads: usize,
        weights: &Weights<T>,
    ) -> Result<Ready<T>, Failure> {
        match route {
            Route::Reference => Ok(Ready::reference(conv, weights)),
            Route::Interp => Ready::interp(conv, weights),
            Route::Auto | Route::Cranelift | Route::Avx2 | Route::Avx512 => {
                let pack =
                    |compiled: &Compiled| compiled.pack(&weights.weight, weights.bias.as_deref());
                Ready::machine(conv, (route.target(), threads, Accuracy::Exact), pack)
            }
        }
    }

    /// Fills `output`.
    pub fn run(
        &self,
        input: &[T],
        residual: Option<&[T]>,
        output: &mut [T],
    ) -> Result<(), Failure> {
        match &self.engine {
            Engine::Reference(conv, Weights { weight, bias }) => {
                let arguments =
                    reference::Arguments { input, weight, bias: bias.as_deref(), residual };
                output.copy_from_slice(&reference::run(conv, arguments, &[])?);
            }
            Engine::Interp(nest, Weights { weight, bias }) => {
                let arguments =
                    interp::Arguments { input, weight, bias: bias.as_deref(), residual, output };
                interp::run(nest, arguments, &[])?;
            }
            Engine::Packed(packed) => match residual {
                Some(residual) => packed.run_residual(input, residual, output)?,
                None => packed.run(input, output)?,
            },
        }
        Ok(())
    }

    fn reference(conv: &Conv, weights: &Weights<T>) -> Ready<T> {
        let engine = Engine::Reference(conv.clone(), weights.clone());
        Ready {
            route: "reference",
            compile: Duration::ZERO,
            schedule: None,
            code_bytes: 0,
            split: None,
            engine,
        }
    }

    fn interp(conv: &Conv, weights: &Weights<T>) -> Result<Ready<T>, Failure> {
        let start = Instant::now();
        let mut schedule = Schedule::choose(conv, &Target::CRANELIFT).schedule;
        if weights.weight.iter().any(|w| !w.to_f64().is_finite()) {
            schedule = schedule.for_any_weights(conv).unwrap_or(schedule);
        }
        let nest = passes::compile(conv, &schedule, &Target::CRANELIFT, &mut |_, _| {})?;
        let compile = start.elapsed();
        let engine = Engine::Interp(nest, weights.clone());
        Ok(Ready {
            route: "interp",
            compile,
            schedule: Some(schedule),
            code_bytes: 0,
            split: None,
            engine,
        })
    }

    fn machine(
        conv: &Conv,
        (target, threads, accuracy): (Target, usize, Accuracy),
        pack: impl Fn(&Compiled) -> Result<Packed<T>, conv_jit::Error>,
    ) -> Result<Ready<T>, Failure> {
        let start = Instant::now();
        let compiled = Compiled::new(
            conv,
            Options { threads, target, accuracy, cache: false, ..Options::default() },
        )?;
        let compile = start.elapsed();
        let packed = pack(&compiled)?;
        // Packing may have found weights that ask for other code.
        let compiled = packed.compiled();
        let choice = compiled.groups().iter().find_map(|group| group.choice.as_ref());
        let schedule = choice.map(|choice| choice.schedule.clone());
        Ok(Ready {
            route: conv_jit::route_name(&target),
            compile,
            schedule,
            code_bytes: compiled.code_bytes(),
            split: compiled.rewritten().separated.first().map(|(_, found)| found.to_string()),
            engine: Engine::Packed(packed),
        })
    }
}

/// An array for a result, or an error where memory does not hold it.
pub fn zeros<T: Number>(count: usize) -> Result<Vec<T>, Failure> {
    let mut zeros = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    zeros.try_reserve_exact(count).map_err(|_| {
        Failure::usage(format!("an array needs {bytes} bytes of memory, more than there is"))
    })?;
    zeros.resize(count, T::default());
    Ok(zeros)
}
