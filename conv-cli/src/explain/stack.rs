//! Several convolutions in a row: how far each sees, what all of them need, what they save, and
//! what a machine allows.

use std::io::Write;

use conv_ir::analysis::{self, Facts, ReceptiveField, Roofline, Saving};
use conv_ir::{Conv, Program};

use crate::failure::Failure;
use crate::table::{Side, lined_up, seen, thousands, three_digits};

const HEADS: [&str; 10] = [
    "layer",
    "parameters",
    "multiply-adds",
    "bytes",
    "op/byte",
    "sees",
    "step",
    "starts at",
    "output",
    "description",
];

/// Prints a line a layer, and the sums.
pub fn explain(
    convs: &[Conv],
    roofline: Option<Roofline>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
    for depth in 1..=convs.len() {
        rows.push(row(&convs[..depth])?);
    }
    rows.push(sums(convs));
    let sides = HEADS.map(|head| match head {
        "layer" | "output" | "description" => Side::Left,
        _ => Side::Right,
    });
    out.write_all(lined_up(&sides, &rows).as_bytes())?;
    let lines = analysis::savings(convs).into_iter().map(|saving| saved(&saving, convs));
    for line in misfits(convs)
        .chain(lines)
        .chain(channels(convs))
        .chain(roofline.and_then(|roofline| allowed(convs, roofline)))
    {
        writeln!(out, "\n{line}")?;
    }
    Ok(())
}

/// Prints a line a step of a graph, and the sums. Along several ways a step sees several fields.
pub fn explain_graph(program: &Program, out: &mut dyn Write) -> Result<(), Failure> {
    let heads =
        ["step", "parameters", "multiply-adds", "bytes", "op/byte", "output", "description"];
    let convs: Vec<Conv> = program.convs().cloned().collect();
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (at, conv) in convs.iter().enumerate() {
        let numbers = numbers(conv);
        let shape = conv.output_shape().map_or("?".to_owned(), |shape| format!("{shape:?}"));
        rows.push([vec![(at + 1).to_string()], numbers, vec![shape, program.line(at)]].concat());
    }
    rows.push(sums(&convs));
    let sides = heads.map(|head| match head {
        "step" | "output" | "description" => Side::Left,
        _ => Side::Right,
    });
    out.write_all(lined_up(&sides, &rows).as_bytes())?;
    let outputs = program.outputs();
    if outputs.len() > 1 {
        let outputs: Vec<String> = outputs.iter().map(usize::to_string).collect();
        writeln!(out, "\noutputs: tensors {}", outputs.join(", "))?;
    }
    Ok(())
}

/// Parameters, multiply-adds, bytes and operations a byte.
fn numbers(conv: &Conv) -> Vec<String> {
    let facts = analysis::facts(conv);
    let known = |of: fn(&Facts) -> String| facts.as_ref().map_or("?".to_owned(), of);
    vec![
        known(|facts| thousands(facts.parameters.into())),
        known(|facts| thousands(facts.multiply_adds)),
        known(|facts| thousands(facts.total_bytes().into())),
        known(|facts| three_digits(facts.arithmetic_intensity)),
    ]
}

/// The last layer of a stack.
fn row(stack: &[Conv]) -> Result<Vec<String>, Failure> {
    let conv = &stack[stack.len() - 1];
    let fields = analysis::receptive_field(stack)?;
    let joined =
        |of: fn(&ReceptiveField) -> String| fields.iter().map(of).collect::<Vec<_>>().join(" x ");
    let last = vec![
        joined(seen),
        joined(|field| field.stride.to_string()),
        joined(|field| field.start.to_string()),
        conv.output_shape().map_or("?".to_owned(), |shape| format!("{shape:?}")),
        conv.to_string(),
    ];
    Ok([vec![stack.len().to_string()], numbers(conv), last].concat())
}

/// Everything together, each layer's arrays moved between memory and processor.
struct Sums {
    parameters: u128,
    multiply_adds: u128,
    operations: u128,
    bytes: u128,
}

impl Sums {
    fn of(convs: &[Conv]) -> Option<Sums> {
        let facts: Vec<Facts> = convs.iter().map(analysis::facts).collect::<Option<_>>()?;
        Some(Sums {
            parameters: facts.iter().map(|facts| facts.parameters as u128).sum(),
            multiply_adds: facts.iter().map(|facts| facts.multiply_adds).sum(),
            operations: facts.iter().map(|facts| facts.operations).sum(),
            bytes: facts.iter().map(|facts| facts.total_bytes() as u128).sum(),
        })
    }

    fn intensity(&self) -> f64 {
        self.operations as f64 / self.bytes as f64
    }
}

fn sums(convs: &[Conv]) -> Vec<String> {
    let sums = Sums::of(convs);
    let known = |of: fn(&Sums) -> String| sums.as_ref().map_or("?".to_owned(), of);
    vec![
        "all".to_owned(),
        known(|sums| thousands(sums.parameters)),
        known(|sums| thousands(sums.multiply_adds)),
        known(|sums| thousands(sums.bytes)),
        known(|sums| three_digits(sums.intensity())),
    ]
}

/// The shares of the peak that the layers reach one by one, and as one where only input, weights
/// and output move.
fn allowed(convs: &[Conv], roofline: Roofline) -> Option<String> {
    let facts: Vec<Facts> = convs.iter().map(analysis::facts).collect::<Option<_>>()?;
    let sums = Sums::of(convs).filter(|sums| sums.operations > 0)?;
    let flops = sums.operations as f64;
    let times =
        facts.iter().map(|facts| facts.flops() / roofline.attainable(facts.arithmetic_intensity));
    let time: f64 = times.sum();
    let written: u64 = facts[..facts.len() - 1].iter().map(|facts| facts.output_bytes).sum();
    let read: u64 = facts[1..].iter().map(|facts| facts.input_bytes).sum();
    let fused = flops / (sums.bytes - written as u128 - read as u128) as f64;
    Some(format!(
        "{} GFLOP/s and {} GB/s meet at {} operations a byte: layer by layer at most {:.0} % of the peak, \
         as one, without moving what is between, {} operations a byte and at most {:.0} %",
        three_digits(roofline.peak),
        three_digits(roofline.bandwidth),
        three_digits(roofline.ridge()),
        100.0 * flops / time / roofline.peak,
        three_digits(fused),
        100.0 * roofline.share(fused),
    ))
}

/// Layers that cannot follow each other: what is said of all of them together is then only a sum.
fn misfits(convs: &[Conv]) -> impl Iterator<Item = String> {
    convs.windows(2).enumerate().filter_map(|(at, pair)| {
        let (gives, takes) = (pair[0].output_shape()?, pair[1].input_shape()?);
        (gives != takes).then(|| {
            let (one, next) = (at + 1, at + 2);
            format!("layer {one} gives {gives:?}, but layer {next} takes {takes:?}: they do not fit each other")
        })
    })
}

/// How many channels groups leave an output to see.
fn channels(convs: &[Conv]) -> Option<String> {
    let fit = convs.windows(2).all(|pair| pair[0].out_channels() == pair[1].in_channels());
    let (seen, all) = (analysis::channels_seen(convs).len(), convs[0].in_channels());
    (fit && seen < all).then(|| {
        format!("an output sees {seen} of the {all} input channels: no layer mixes the groups")
    })
}

/// What layers save against the dense convolution that sees and makes the same.
fn saved(saving: &Saving, convs: &[Conv]) -> String {
    let run = &convs[saving.layers.clone()];
    let numbers: Vec<String> =
        (saving.layers.start + 1..=saving.layers.end).map(|layer| layer.to_string()).collect();
    let (layers, are) = match &numbers[..] {
        [one] => (format!("layer {one}"), "is"),
        [some @ .., last] => (format!("layers {} and {last}", some.join(", ")), "are"),
        [] => (String::new(), "are"),
    };
    let weights: Vec<String> =
        run.iter().map(|conv| thousands(conv.weight_len() as u128)).collect();
    let sum = match &weights[..] {
        [_] => String::new(),
        several => format!("{} = ", several.join(" + ")),
    };
    let times = |dense: f64, ours: f64| format!("{:.1} times as many", dense / ours);
    let mut text = format!(
        "{layers} {are} a {} convolution {} -> {}: {sum}{} weights, where a dense one needs {} ({})",
        saving.kind,
        saving.dense.in_channels(),
        saving.dense.out_channels(),
        thousands(saving.weights.into()),
        thousands(saving.dense_weights.into()),
        times(saving.dense_weights as f64, saving.weights as f64),
    );
    if let (Some(ours), Some(dense)) = (saving.multiply_adds, saving.dense_multiply_adds) {
        text += &format!(
            ", and {} multiply-adds against {} ({})",
            thousands(ours),
            thousands(dense),
            times(dense as f64, ours as f64)
        );
    }
    text
}
