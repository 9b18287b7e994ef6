//! Several convolutions in a row: how far each sees, what all of them need, and what a depthwise separable pair saves.

use std::io::Write;

use conv_ir::analysis;
use conv_ir::{Conv, ConvSpec};

use crate::failure::Failure;
use crate::table::{Side, lined_up, thousands};

/// Prints a line a layer, and the sums.
pub fn explain(convs: &[Conv], out: &mut dyn Write) -> Result<(), Failure> {
    let heads = [
        "layer",
        "parameters",
        "multiply-adds",
        "sees",
        "step",
        "output",
        "description",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for depth in 1..=convs.len() {
        rows.push(row(&convs[..depth])?);
    }
    rows.push(sums(convs));
    let sides = [
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Left,
        Side::Left,
    ];
    out.write_all(lined_up(&sides, &rows).as_bytes())?;
    for (at, pair) in convs.windows(2).enumerate() {
        if let Some(line) = separable(at + 1, &pair[0], &pair[1]) {
            writeln!(out, "\n{line}")?;
        }
    }
    Ok(())
}

/// The last layer of a stack.
fn row(stack: &[Conv]) -> Result<Vec<String>, Failure> {
    let conv = &stack[stack.len() - 1];
    let fields = analysis::receptive_field(stack)?;
    let joined = |numbers: Vec<String>| numbers.join(" x ");
    let facts = analysis::facts(conv);
    Ok(vec![
        stack.len().to_string(),
        facts
            .as_ref()
            .map_or("?".to_owned(), |facts| thousands(facts.parameters.into())),
        facts
            .as_ref()
            .map_or("?".to_owned(), |facts| thousands(facts.multiply_adds)),
        joined(fields.iter().map(|field| field.size.to_string()).collect()),
        joined(fields.iter().map(|field| field.stride.to_string()).collect()),
        conv.output_shape().map_or("?".to_owned(), |shape| format!("{shape:?}")),
        conv.to_string(),
    ])
}

fn sums(convs: &[Conv]) -> Vec<String> {
    let facts: Option<Vec<_>> = convs.iter().map(analysis::facts).collect();
    let sum = |count: fn(&analysis::Facts) -> u128| {
        facts
            .as_ref()
            .map_or("?".to_owned(), |facts| thousands(facts.iter().map(count).sum()))
    };
    vec![
        "all".to_owned(),
        sum(|facts| facts.parameters.into()),
        sum(|facts| facts.multiply_adds),
    ]
}

/// A depthwise convolution followed by a 1x1 one, against the dense convolution that sees and makes the same.
fn separable(layer: usize, depthwise: &Conv, pointwise: &Conv) -> Option<String> {
    let (first, second) = (depthwise.spec(), pointwise.spec());
    let is_pair = first.groups > 1
        && first.groups == first.in_channels
        && second.groups == 1
        && pointwise.kernel_volume() == 1
        && second.in_channels == first.out_channels;
    if !is_pair || first.transposed || second.transposed {
        return None;
    }
    let dense = Conv::new(ConvSpec {
        groups: 1,
        out_channels: second.out_channels,
        ..first.clone()
    })
    .ok()?;
    let (by_depth, by_point, by_dense) = (depthwise.weight_len(), pointwise.weight_len(), dense.weight_len());
    let multiplier = first.out_channels / first.groups;
    let windows = if multiplier == 1 {
        String::new()
    } else {
        format!("{multiplier} * ")
    };
    Some(format!(
        "layers {layer} and {} are a depthwise separable convolution {} -> {}: {windows}{} * {} + {} * {} = {} weights, \
         where a dense one needs {} ({:.1} times as many)",
        layer + 1,
        first.in_channels,
        second.out_channels,
        first.in_channels,
        depthwise.kernel_volume(),
        second.in_channels,
        second.out_channels,
        thousands((by_depth + by_point) as u128),
        thousands(by_dense as u128),
        by_dense as f64 / (by_depth + by_point) as f64,
    ))
}
