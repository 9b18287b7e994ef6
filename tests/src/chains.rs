//! Random chains under random plans, on every route that runs here: each must give the bits of the
//! steps' references one after the other.

use crate::data::{Fill, Rng, array, compare, stored};
use crate::emitted::{Emitted, exactly};
use crate::judge::{SEED, quietly};
use crate::random_chains::{DrawnChain, chains};
use crate::routes::machines_here;
use conv_ir::lower::Layouts;
use conv_ir::program::Step;
use conv_ir::program::fuse::Lowered;
use conv_ir::program::plan::{self, Plan};
use conv_ir::program::whole;
use conv_ir::reference::{self, run_graph};
use conv_ir::{
    Conv, DType, Element, Error, Program, Schedule, Stored, Target, interp, nest, passes,
    with_stored,
};
use conv_jit::{Compiled, CurrentThread, Options, StepArrays, StepWeights};
use proptest::strategy::Strategy;

/// Whether all arrays are of one floating-point type.
pub fn is_of_one_type(program: &Program) -> bool {
    program.convs().all(|conv| conv.types().single().is_some())
}

/// Random chains whose arrays are all of one floating-point type.
pub fn chains_of_one_type() -> impl Strategy<Value = Program> {
    chains().prop_filter("all arrays are of one type", is_of_one_type)
}

/// The arrays of a chain.
struct ChainData<T> {
    inputs: Vec<Vec<T>>,
    weights: Vec<(Vec<T>, Option<Vec<T>>)>,
    /// Of each output.
    wanted: Vec<Vec<T>>,
}

impl<T: Element> ChainData<T> {
    fn new(chain: &Program, fill: Fill) -> Result<Self, Error> {
        let mut rng = Rng(SEED);
        let inputs = chain.inputs().iter();
        let inputs: Vec<Vec<T>> = inputs
            .map(|&tensor| rng.of_type(fill, chain.len_of(tensor), chain.type_of(tensor)))
            .collect();
        // One step's weights are enough: what follows an infinity is soon NaN everywhere.
        let any = (fill == Fill::AnyWeights).then(|| rng.within(1, chain.steps().len()) - 1);
        let weights: Vec<_> = chain
            .convs()
            .enumerate()
            .map(|(at, conv)| {
                let types = conv.types();
                let bias = conv.spec().bias.then(|| rng.of_type(fill, conv.bias_len(), types.bias));
                let fill = if any.is_some_and(|any| any != at) { Fill::Reals } else { fill };
                let weight = rng.weights_of_type(fill, conv.weight_len(), types.weight);
                (weight, bias)
            })
            .collect();
        let steps: Vec<reference::StepWeights<'_, T>> = weights
            .iter()
            .map(|(weight, bias)| reference::StepWeights { weight, bias: bias.as_deref() })
            .collect();
        let given: Vec<&[T]> = inputs.iter().map(Vec::as_slice).collect();
        let tensors = run_graph(chain, &given, &steps)?;
        let wanted = chain.outputs().iter().map(|&tensor| tensors[tensor].clone()).collect();
        Ok(ChainData { inputs, weights, wanted })
    }

    /// The weights as they are stored.
    fn steps(&self, chain: &Program) -> Vec<StepArrays<'static>> {
        let steps = self.weights.iter().zip(chain.convs());
        let arrays = steps.map(|((weight, bias), conv)| StepArrays {
            weight: array(weight, conv.types().weight),
            bias: bias.as_ref().and_then(|bias| array(bias, conv.types().bias)),
        });
        arrays.collect()
    }

    /// What the interpreter makes of the nest of the whole chain.
    fn interpret_whole(&self, nest: &nest::Nest) -> Result<Vec<Vec<T>>, Error> {
        let mut outputs = self.nothing(T::from_f64(f64::NAN));
        let arrays = interp::Arrays {
            inputs: self.given(),
            weights: self.weights.iter().map(|w| w.0.as_slice()).collect(),
            biases: self.weights.iter().filter_map(|w| w.1.as_deref()).collect(),
            residuals: Vec::new(),
            outputs: outputs.iter_mut().map(Vec::as_mut_slice).collect(),
        };
        interp::run(nest, arrays, &[])?;
        Ok(outputs)
    }

    fn given(&self) -> Vec<&[T]> {
        self.inputs.iter().map(Vec::as_slice).collect()
    }

    /// Outputs of this number alone.
    fn nothing<O: Clone>(&self, number: O) -> Vec<Vec<O>> {
        self.wanted.iter().map(|output| vec![number.clone(); output.len()]).collect()
    }

    /// Whether these are the outputs.
    fn compare(&self, found: &[Vec<T>]) -> Result<(), String> {
        let pairs = found.iter().zip(&self.wanted).enumerate();
        let each = pairs.map(|(at, (found, wanted))| {
            compare(found, wanted).map_err(|what| format!("output {at}: {what}"))
        });
        each.collect()
    }

    /// What the interpreter makes of the plan's nests, group after group.
    fn interpret(
        &self,
        drawn: &DrawnChain,
        nests: &[nest::Nest],
        parts: usize,
    ) -> Result<Vec<Vec<T>>, Error> {
        let DrawnChain { chain, plan } = drawn;
        let mut tensors: Vec<Vec<T>> = vec![Vec::new(); chain.steps().len() + 1];
        tensors[0].clone_from(&self.inputs[0]);
        for (&tensor, input) in chain.inputs().iter().zip(&self.inputs) {
            tensors[tensor].clone_from(input);
        }
        for (group, nest) in plan.groups.iter().zip(nests) {
            let (start, end) = (group.steps.start, group.steps.end);
            if chain.steps()[start].given {
                continue;
            }
            let mut output = vec![T::from_f64(f64::NAN); chain.len_of(end)];
            let own = &self.weights[group.steps.clone()];
            let outside = |step: &Step| step.residual.filter(|from| *from <= start);
            let read = reference::read(chain, &chain.steps()[start].from, &tensors);
            let arrays = interp::Arrays {
                inputs: vec![&read],
                weights: own.iter().map(|w| w.0.as_slice()).collect(),
                biases: own.iter().filter_map(|w| w.1.as_deref()).collect(),
                residuals: chain.steps()[group.steps.clone()]
                    .iter()
                    .filter_map(outside)
                    .map(|from| tensors[from].as_slice())
                    .collect(),
                outputs: vec![&mut output],
            };
            interp::run_parts(nest, arrays, &[], parts)?;
            tensors[end] = output;
        }
        Ok(chain.outputs().iter().map(|&tensor| tensors[tensor].clone()).collect())
    }
}

/// Whether a chain under a plan gives the reference's bits everywhere; `false` where the plan is
/// refused.
///
/// # Errors
/// The route, and what went wrong.
pub fn every_chain(drawn: &DrawnChain, fill: Fill) -> Result<bool, String> {
    conv_ir::with_element!(drawn.chain.dtype(), T => every_chain_as::<T>(drawn, fill))
}

fn lower(
    conv: &Conv,
    layouts: Layouts,
    given: Option<&Schedule>,
    (target, fill): (&Target, Fill),
) -> Result<Lowered, Error> {
    let schedule =
        given.cloned().unwrap_or_else(|| Schedule::choose_as(conv, layouts, target).schedule);
    let exact = schedule.for_any_weights(conv).filter(|_| fill == Fill::AnyWeights);
    let schedule = exact.unwrap_or(schedule);
    let nest = passes::compile_as(conv, layouts, &schedule, target, &mut |_, _| {})?;
    Ok(Lowered { schedule, nest })
}

/// Whether a chain under a plan gives the reference's bits on the interpreter, group after group;
/// `false` where the plan is refused.
///
/// # Errors
/// The target, and what went wrong.
pub fn interpreted_chain(drawn: &DrawnChain, fill: Fill) -> Result<bool, String> {
    conv_ir::with_element!(drawn.chain.dtype(), T => {
        interpreted(drawn, &ChainData::<T>::new(&drawn.chain, fill), fill)
    })
}

fn every_chain_as<T: Element>(drawn: &DrawnChain, fill: Fill) -> Result<bool, String> {
    let said = |what: String| format!("{drawn:?}\n{what}");
    let data = ChainData::<T>::new(&drawn.chain, fill);
    if !interpreted(drawn, &data, fill)? {
        return Ok(false);
    }
    let data = data.map_err(|e| said(e.to_string()))?;
    whole(drawn, &data, fill).map_err(said)?;
    for target in machines_here() {
        let (Some(taken), Some(given)) = (
            one_type(&drawn.chain, drawn.chain.inputs()),
            one_type(&drawn.chain, drawn.chain.outputs()),
        ) else {
            continue;
        };
        let ran = with_stored!(taken, I => with_stored!(given, O => {
            machine::<T, I, O>(drawn, &data, &target)
        }));
        ran.map_err(|what| said(format!("{target}: {what}")))?;
    }
    Ok(true)
}

/// The type of these tensors, where they have one: a run's inputs do, and its outputs.
fn one_type(chain: &Program, tensors: &[usize]) -> Option<DType> {
    let mut types = tensors.iter().map(|&tensor| chain.type_of(tensor));
    let first = types.next()?;
    types.all(|dtype| dtype == first).then_some(first)
}

fn interpreted<T: Element>(
    drawn: &DrawnChain,
    data: &Result<ChainData<T>, Error>,
    fill: Fill,
) -> Result<bool, String> {
    let DrawnChain { chain, plan } = drawn;
    let said = |what: String| format!("{drawn:?}\n{what}");
    let data = data.as_ref().map_err(|e| said(e.to_string()))?;
    for target in [Target::CRANELIFT, Target::AVX512] {
        let mut nests = Vec::new();
        for group in &plan.groups {
            let made = quietly(|| {
                plan::nest(chain, group, &target, &mut |conv, layouts, given| {
                    lower(conv, layouts, given, (&target, fill))
                })
            });
            match made.map_err(said)? {
                Ok(nest) => nests.push(nest),
                Err(Error::Unsupported { .. } | Error::Invalid(_)) => return Ok(false),
                Err(other) => return Err(said(other.to_string())),
            }
        }
        let text = || nests.iter().map(ToString::to_string).collect::<String>();
        for nest in &nests {
            let broken = nest::verify(nest);
            if !broken.is_empty() {
                return Err(said(format!("{target}: {broken:?}\n{}", text())));
            }
        }
        for parts in 1..=3 {
            let output = quietly(|| data.interpret(drawn, &nests, parts));
            let output = output.and_then(|o| o.map_err(|e| e.to_string()));
            let same = output.and_then(|output| data.compare(&output));
            same.map_err(|what| {
                said(format!("interpreter, {target}, {parts} part(s): {what}\n{}", text()))
            })?;
        }
    }
    Ok(true)
}

/// All groups as one nest, which is what becomes Rust.
fn whole<T: Element>(drawn: &DrawnChain, data: &ChainData<T>, fill: Fill) -> Result<(), String> {
    let DrawnChain { chain, plan } = drawn;
    let target = Target::AVX2;
    let mut lower = |conv: &Conv, layouts: Layouts, given: Option<&Schedule>| {
        lower(conv, layouts, given, (&target, fill))
    };
    let nest =
        quietly(|| whole::nest(chain, plan, &target, &mut lower))?.map_err(|e| e.to_string())?;
    let said = |what: String| format!("whole chain: {what}\n{nest}");
    let broken = nest::verify(&nest);
    if !broken.is_empty() {
        return Err(said(format!("{broken:?}")));
    }
    let output = quietly(|| data.interpret_whole(&nest))?.map_err(|e| said(e.to_string()))?;
    data.compare(&output).map_err(said)
}

/// Machine code under the drawn plan, and under the model's own for as many threads.
fn machine<T: Element, I: Stored, O: Stored>(
    drawn: &DrawnChain,
    data: &ChainData<T>,
    target: &Target,
) -> Result<(), String> {
    let compiled = |plan: Option<Plan>, threads: usize| {
        let options =
            Options { plan, target: *target, threads, cache: false, ..Options::default() };
        let steps = data.steps(&drawn.chain);
        let packed = quietly(|| Compiled::new(&drawn.chain, options)?.pack_arrays::<I, O>(&steps))?;
        packed.map_err(|e| e.to_string())
    };
    let given = compiled(Some(drawn.plan.clone()), 1)?;
    let runs = [("drawn", &given, 1), ("drawn", &given, 2), ("drawn", &given, 3)];
    let own = compiled(None, 3)?;
    let inputs: Vec<Vec<I>> = data.inputs.iter().map(|input| stored::<T, I>(input)).collect();
    for (whose, packed, parts) in runs.into_iter().chain([("model's", &own, 3)]) {
        let mut outputs = data.nothing(O::from_f64(f64::NAN));
        let (first, others) = outputs.split_first_mut().ok_or("no output")?;
        let call = packed.call(&inputs[0], first).threads(parts).executor(&CurrentThread);
        let call = call.other_inputs(inputs[1..].iter().map(Vec::as_slice));
        let ran = call.other_outputs(others.iter_mut().map(Vec::as_mut_slice)).run();
        ran.map_err(|e| e.to_string())?;
        let wide = |output: &Vec<O>| output.iter().map(|x| T::from_f64(x.to_f64())).collect();
        let outputs: Vec<Vec<T>> = outputs.iter().map(wide).collect();
        data.compare(&outputs).map_err(|what| format!("{whose} plan, {parts} part(s): {what}"))?;
    }
    Ok(())
}

/// Runs a chain as planned and step by step, says how long each takes and why it is planned so, and
/// leaves the output. For examples.
///
/// # Errors
/// Those of compiling and running, and an error where the bits differ.
pub fn fused_and_not(
    chain: &Program,
    weights: &[StepWeights<'_, f32>],
    input: &[f32],
    output: &mut [f32],
) -> Result<(), Box<dyn std::error::Error>> {
    let planned = Compiled::new(chain, Options::default())?;
    let unfused = Options { plan: Some(Plan::unfused(chain)), ..Options::default() };
    let unfused = Compiled::new(chain, unfused)?;
    println!("{chain}");
    planned.plan().reasons.iter().for_each(|reason| println!("  - {reason}"));
    let mut outputs = Vec::new();
    for (name, compiled) in [("step by step", &unfused), ("as planned", &planned)] {
        let packed = compiled.pack_steps(weights)?;
        let mut times = Vec::new();
        for _ in 0..50 {
            let start = std::time::Instant::now();
            packed.run(input, output)?;
            times.push(start.elapsed());
        }
        times.sort();
        println!("{name:12}  {:.3} ms", times[times.len() / 2].as_secs_f64() * 1e3);
        outputs.push(output.to_vec());
    }
    match crate::same(&outputs[0], &outputs[1]) {
        true => Ok(()),
        false => Err("fused and unfused differ".into()),
    }
}

/// What an expanded chain must give.
struct Expanded<'a> {
    drawn: &'a DrawnChain,
    wanted: Vec<Vec<f64>>,
}

/// Runs chains as expanded Rust under their plans, all in one program. In every third the weights
/// are compiled in. How many there were; those whose plans are refused are left out.
///
/// # Errors
/// The chains that differ, and where.
pub fn expanded(all: &[DrawnChain], fill: Fill) -> Result<usize, String> {
    let (mut program, mut cases) = (Emitted::default(), Vec::new());
    for (at, drawn) in all.iter().enumerate() {
        let known = at % 3 == 2 && fill != Fill::AnyWeights;
        let wanted = conv_ir::with_element!(drawn.chain.dtype(), T => {
            add_expanded::<T>(&mut program, drawn, (fill, known))?
        });
        cases.extend(wanted.map(|wanted| Expanded { drawn, wanted }));
    }
    let mut failures = String::new();
    for (bytes, Expanded { drawn, wanted }) in program.run().iter().zip(&cases) {
        let mut bytes = &bytes[..];
        for (&tensor, wanted) in drawn.chain.outputs().iter().zip(wanted) {
            let dtype = drawn.chain.type_of(tensor);
            let (own, rest) = bytes.split_at(wanted.len() * dtype.bytes());
            bytes = rest;
            if let Err(difference) = compare(&exactly(dtype, own), wanted) {
                failures += &format!("{drawn:?}\noutput {tensor}: {difference}\n");
            }
        }
    }
    match failures.is_empty() {
        true => Ok(cases.len()),
        false => Err(failures),
    }
}

/// Adds a chain to a program; what it must give, or nothing where its plan is refused.
fn add_expanded<T: Element>(
    program: &mut Emitted,
    drawn: &DrawnChain,
    (fill, known): (Fill, bool),
) -> Result<Option<Vec<Vec<f64>>>, String> {
    let data = ChainData::<T>::new(&drawn.chain, fill).map_err(|e| e.to_string())?;
    let inputs = data.inputs.iter().zip(drawn.chain.inputs());
    let mut arrays: Vec<(&[T], DType)> =
        inputs.map(|(input, &tensor)| (input.as_slice(), drawn.chain.type_of(tensor))).collect();
    let mut chain = drawn.chain.clone();
    if known {
        let steps = chain.steps().iter().zip(&data.weights);
        let steps = steps.map(|(step, (weight, bias))| {
            if step.given {
                return Ok(step.clone());
            }
            let conv = step.conv.with_weights(weight, bias.as_deref())?;
            Ok(Step { conv, ..step.clone() })
        });
        let steps: Result<Vec<Step>, Error> = steps.collect();
        let known = steps.and_then(|steps| chain.with_steps(steps));
        chain = known.map_err(|e| e.to_string())?;
    } else {
        let own = data.weights.iter().zip(chain.convs().map(Conv::types));
        arrays.extend(
            own.flat_map(|((weight, bias), types)| {
                [Some((weight, types.weight)), bias.as_ref().map(|bias| (bias, types.bias))]
            })
            .flatten()
            // Pools have no weight to pass.
            .filter(|(array, _)| !array.is_empty())
            .map(|(array, dtype)| (array.as_slice(), dtype)),
        );
    }
    match program.chain(&chain, &drawn.plan, &arrays) {
        Ok(()) => {
            let wide = |output: &Vec<T>| output.iter().map(|x| x.to_f64()).collect();
            Ok(Some(data.wanted.iter().map(wide).collect()))
        }
        Err(Error::Unsupported { .. } | Error::Invalid(_)) => Ok(None),
        Err(other) => Err(format!("{drawn:?}\n{other}")),
    }
}
