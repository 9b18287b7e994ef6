//! One case between guards: at either end of its buffers, by one to three threads.

use std::rc::Rc;

use conv_ir::program::Step;
use conv_ir::reference::{self, Arguments};
use conv_ir::{Accuracy, Array, DType, Element, Program, Stored, with_stored};

use super::case::Case;
use crate::memory::guard::{Guarded, Side, guarded};
use crate::share::is_divisible;
use crate::tests::{bits, fill};
use crate::{Backend, Compiled, CurrentThread, Error, Options, Packed, StepArrays};

/// Told of each guard before anything runs at it.
type Tell<'a> = dyn Fn(&str) + 'a;

/// The reference's bits for the last program, which many cases in a row share: it is slow.
#[derive(Default)]
pub(super) struct Reference(Option<(Program, Rc<Vec<u64>>)>);

/// Runs a case. How often it ran, or nothing where its schedule or plan is refused.
pub(super) fn run(case: &Case, last: &mut Reference, tell: &Tell<'_>) -> Option<u64> {
    conv_ir::with_element!(case.program.dtype(), T => run_as::<T>(case, last, tell))
}

fn run_as<T: Element>(case: &Case, last: &mut Reference, tell: &Tell<'_>) -> Option<u64> {
    let mut arrays = Arrays::<T>::new(case, last);
    let options = Options {
        schedule: case.schedule.clone(),
        plan: case.plan.clone(),
        target: case.target,
        accuracy: case.accuracy,
        cache: false,
        ..Options::default()
    };
    let program = match case.known {
        true => arrays.known(&case.program),
        false => case.program.clone(),
    };
    let compiled = legal(Compiled::new(program, options), case)?;
    if case.accuracy != Accuracy::Exact {
        assert!(!compiled.rewritten().tiled.is_empty(), "{case}: {}", compiled.explain());
        arrays.want = Rc::new(arrays.plain(case, &compiled));
    }
    let sides: &[Side] = match std::env::var_os("GUARD_HEAP") {
        Some(_) => &[Side::Heap],
        None => &[Side::Before, Side::Behind],
    };
    let runs = sides.iter().map(|&side| {
        tell(&format!("{side:?}"));
        guarded(side, || arrays.run(case, &compiled, side))
    });
    Some(runs.sum())
}

/// What compiled, unless the schedule or the plan is not for this route.
fn legal(compiled: Result<Compiled, Error>, case: &Case) -> Option<Compiled> {
    use conv_ir::Error::{Argument, IllegalSchedule, Invalid, Unsupported};
    match compiled {
        Ok(compiled) => Some(compiled),
        Err(
            Error::Unsupported(_)
            | Error::Conv(IllegalSchedule(_) | Unsupported { .. } | Invalid(_) | Argument(_)),
        ) => None,
        Err(e) => panic!("{case}: {e}"),
    }
}

/// What a program of known sizes is run with, and what it must give.
struct Arrays<T> {
    input: Vec<T>,
    /// Of each step, with its bias.
    weights: Vec<(Vec<T>, Option<Vec<T>>)>,
    /// From outside.
    residual: Option<Vec<T>>,
    want: Rc<Vec<u64>>,
}

impl<T: Element> Arrays<T> {
    fn new(case: &Case, last: &mut Reference) -> Self {
        let sized = case.program.with_sizes(&sizes(case));
        let sized = sized.unwrap_or_else(|e| panic!("{case}: {e}"));
        let weights = sized.convs().zip(2..).map(|(conv, at)| {
            let types = conv.types();
            let bias = conv.spec().bias.then(|| fill(conv.bias_len(), 90 + at));
            let weight = rounded(fill(conv.weight_len(), at), types.weight);
            (weight, bias.map(|bias| rounded(bias, types.bias)))
        });
        let outside = |step: &Step| step.conv.spec().residual && step.residual.is_none();
        let residual = sized.steps().iter().find(|step| outside(step));
        let mut arrays = Arrays {
            input: rounded(fill(sized.len_of(0), 1), sized.type_of(0)),
            weights: weights.collect(),
            residual: residual.map(|step| {
                rounded(fill(step.conv.output_len().unwrap(), 4), step.conv.types().output)
            }),
            want: Rc::default(),
        };
        if last.0.as_ref().is_none_or(|(known, _)| *known != sized) {
            let want = Rc::new(bits(&arrays.reference(&sized)));
            last.0 = Some((sized, want));
        }
        arrays.want.clone_from(&last.0.as_ref().unwrap().1);
        arrays
    }

    fn reference(&self, sized: &Program) -> Vec<T> {
        let Arrays { input, weights, residual, .. } = self;
        if let Some(conv) = sized.single() {
            let (weight, bias) = (&weights[0].0, weights[0].1.as_deref());
            let given = Arguments { input, weight, bias, residual: residual.as_deref() };
            return reference::run(conv, given, &[]).unwrap();
        }
        let steps = weights.iter().map(|(weight, bias)| {
            let bias = bias.as_deref();
            reference::StepWeights { weight, bias }
        });
        reference::run_program(sized, input, &steps.collect::<Vec<_>>()).unwrap()
    }

    /// The program with its weights compiled in.
    fn known(&self, program: &Program) -> Program {
        let steps = program.steps().iter().zip(&self.weights);
        let steps = steps.map(|(step, (weight, bias))| Step {
            conv: step.conv.with_weights(weight, bias.as_deref()).unwrap(),
            ..step.clone()
        });
        program.with_steps(steps.collect()).unwrap()
    }

    /// The bits without guards.
    fn plain(&self, case: &Case, compiled: &Compiled) -> Vec<u64> {
        let (from, to) = (case.program.type_of(0), case.program.type_of(self.weights.len()));
        with_stored!(from, I => with_stored!(to, O => {
            let packed = self.pack::<I, O>(case, compiled, Side::Heap);
            self.once(case, &packed, (1, Side::Heap))
        }))
    }

    /// Runs it with every array at a guard. How often.
    fn run(&self, case: &Case, compiled: &Compiled, side: Side) -> u64 {
        let (from, to) = (case.program.type_of(0), case.program.type_of(self.weights.len()));
        let most = if compiled.nests().any(is_divisible) { 3 } else { 1 };
        with_stored!(from, I => with_stored!(to, O => {
            let packed = self.pack::<I, O>(case, compiled, side);
            for threads in 1..=most {
                let found = self.once(case, &packed, (threads, side));
                // Where the CPU rounds a multiply-add twice, no bits are promised.
                let fused = Backend::host().is_ok_and(|backend| backend.has_fma());
                assert!(!fused || found == *self.want, "other bits by {threads} thread(s)");
            }
        }));
        most as u64
    }

    /// The bits of a run by so many threads.
    fn once<I: Stored, O: Stored>(
        &self,
        case: &Case,
        packed: &Packed<I, O>,
        (threads, side): (usize, Side),
    ) -> Vec<u64> {
        let given = |values: &Vec<T>| Guarded::new(&stored::<T, O>(values), side);
        let input = Guarded::new(&stored::<T, I>(&self.input), side);
        let residual = self.residual.as_ref().map(given);
        let sizes = sizes(case);
        let mut output = given(&vec![T::from_f64(f64::NAN); self.want.len()]);
        let call = packed.call(input.as_slice(), output.as_mut_slice());
        let call = call.sizes(&sizes).threads(threads).executor(&CurrentThread);
        let call = match &residual {
            Some(residual) => call.residual(residual.as_slice()),
            None => call,
        };
        call.run().unwrap();
        let found = output.as_slice().iter().map(|x| T::from_f64(x.to_f64()));
        bits(&found.collect::<Vec<T>>())
    }

    fn pack<I: Stored, O: Stored>(
        &self,
        case: &Case,
        compiled: &Compiled,
        side: Side,
    ) -> Packed<I, O> {
        if case.known {
            return compiled.ready_as().unwrap();
        }
        let place = |values: &[T], dtype: DType| -> Box<dyn Placed> {
            with_stored!(dtype, S => Box::new(Guarded::new(&stored::<T, S>(values), side)))
        };
        let arrays = self.weights.iter().zip(case.program.convs());
        let arrays = arrays.map(|((weight, bias), conv)| {
            let weight = (!weight.is_empty()).then(|| place(weight, conv.types().weight));
            (weight, bias.as_deref().map(|bias| place(bias, conv.types().bias)))
        });
        let arrays: Vec<_> = arrays.collect();
        let steps = arrays.iter().map(|(weight, bias)| StepArrays {
            weight: weight.as_ref().map(|weight| weight.array()),
            bias: bias.as_ref().map(|bias| bias.array()),
        });
        compiled.pack_arrays(&steps.collect::<Vec<_>>()).unwrap()
    }
}

/// An array at a guard, of any type.
trait Placed {
    fn array(&self) -> Array<'_>;
}

impl<S: Stored> Placed for Guarded<S> {
    fn array(&self) -> Array<'_> {
        S::array(self.as_slice()).expect("a type that machine code takes")
    }
}

fn rounded<T: Element>(values: Vec<T>, dtype: DType) -> Vec<T> {
    values.into_iter().map(|x| x.rounded_to(dtype)).collect()
}

fn stored<T: Element, S: Stored>(values: &[T]) -> Vec<S> {
    values.iter().map(|x| S::from_f64(x.to_f64())).collect()
}

fn sizes(case: &Case) -> Vec<(&str, usize)> {
    case.sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect()
}
