//! What convolutions in a row save against the one dense convolution that sees and makes as much.
//!
//! In: convolutions in order. Out: runs of them that share one window among themselves
//! ([`savings`]): a depthwise window and the 1x1 after it (depthwise separable), `k x 1` and
//! `1 x k` (spatially separable), `1 x k x k` and `k x 1 x 1` ((2+1)-D), 1x1 around a window
//! (bottleneck), or one convolution in groups. A depthwise window belongs to the 1x1 after it, not
//! to the one before, which widens for it (an inverted residual). The dense equivalent has the
//! whole window between the same channels on the same input. It can do more; that it is needed is
//! not said.

use std::ops::Range;

use super::facts;
use crate::conv::{Conv, ConvAxis};
use crate::{ConvSpec, Padding, PerAxis, Reduction};

/// A run of convolutions, and the dense one in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Saving {
    /// Which of the convolutions.
    pub layers: Range<usize>,
    /// What such a run is called.
    pub kind: &'static str,
    /// Weights of the run, without biases.
    pub weights: u64,
    /// Multiply-adds of the run; none while a size is free.
    pub multiply_adds: Option<u128>,
    /// Weights of the dense convolution.
    pub dense_weights: u64,
    /// Multiply-adds of the dense convolution; none while a size is free.
    pub dense_multiply_adds: Option<u128>,
    /// The dense convolution.
    pub dense: Conv,
}

/// The runs that save weights, from the input on, each as long as it can be.
///
/// ```
/// use conv_ir::analysis::savings;
/// let separable = ["conv2d in 5 kernel 3x1".parse()?, "conv2d in 3x5 kernel 1x3".parse()?];
/// let saving = &savings(&separable)[0];
/// assert_eq!((saving.kind, saving.weights, saving.dense_weights), ("spatially separable", 6, 9));
/// assert_eq!((saving.multiply_adds, saving.dense_multiply_adds), (Some(45 + 27), Some(81)));
/// # Ok::<(), conv_ir::Error>(())
/// ```
pub fn savings(convs: &[Conv]) -> Vec<Saving> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < convs.len() {
        let longest = (at + 1..=convs.len()).rev().find_map(|end| saving(convs, at..end));
        at = longest.as_ref().map_or(at + 1, |saving| saving.layers.end);
        found.extend(longest);
    }
    found
}

fn saving(convs: &[Conv], layers: Range<usize>) -> Option<Saving> {
    let run = &convs[layers.clone()];
    if !belong_together(run) {
        return None;
    }
    let dense = dense(run)?;
    let weights: u64 = run.iter().map(|conv| conv.weight_len() as u64).sum();
    let dense_weights = dense.weight_len() as u64;
    (weights < dense_weights).then_some(Saving {
        layers,
        kind: kind(run),
        weights,
        multiply_adds: run.iter().map(|conv| Some(facts(conv)?.multiply_adds)).sum(),
        dense_weights,
        dense_multiply_adds: facts(&dense).map(|facts| facts.multiply_adds),
        dense,
    })
}

/// The convolution with the whole window, where no axis is slid along twice.
fn dense(run: &[Conv]) -> Option<Conv> {
    let (first, last) = (&run[0], &run[run.len() - 1]);
    let sums = |conv: &Conv| conv.spec().reduction == Reduction::Sum;
    if !run.iter().all(sums) {
        return None;
    }
    if run.iter().any(|conv| conv.rank() != first.rank() || conv.spec().transposed) {
        return None;
    }
    if run.windows(2).any(|pair| pair[0].out_channels() != pair[1].in_channels()) {
        return None;
    }
    let along = |axis: usize| {
        let mut sliding = run.iter().map(|conv| &conv.axes()[axis]).filter(|axis| slides(axis));
        let window = sliding.next().unwrap_or(&first.axes()[axis]);
        sliding.next().is_none().then_some(window)
    };
    let axes: Vec<&ConvAxis> = (0..first.rank()).map(along).collect::<Option<_>>()?;
    let each =
        |of: fn(&ConvAxis) -> usize| PerAxis::Each(axes.iter().map(|axis| of(axis)).collect());
    let spec = ConvSpec {
        out_channels: last.out_channels(),
        groups: 1,
        kernel: axes.iter().map(|axis| axis.kernel).collect(),
        stride: each(|axis| axis.stride),
        dilation: each(|axis| axis.dilation),
        padding: Padding::Explicit(PerAxis::Each(axes.iter().map(|axis| axis.padding).collect())),
        bias: false,
        residual: false,
        activation: None,
        ..first.spec().clone()
    };
    Conv::new(spec).ok()
}

/// The axis is not passed through as it is.
fn slides(axis: &ConvAxis) -> bool {
    axis.kernel > 1 || axis.stride > 1 || axis.padding != (0, 0)
}

fn is_depthwise(conv: &Conv) -> bool {
    conv.groups() > 1 && conv.groups() == conv.in_channels()
}

fn is_separable(first: &Conv, second: &Conv) -> bool {
    is_depthwise(first) && second.groups() == 1 && second.kernel_volume() == 1
}

/// Depthwise windows alone, the pair that is known by its name, or none of them.
fn belong_together(run: &[Conv]) -> bool {
    match run {
        [first, second] if is_separable(first, second) => true,
        _ => run.iter().all(is_depthwise) || !run.iter().any(is_depthwise),
    }
}

fn kind(run: &[Conv]) -> &'static str {
    let pointwise = |conv: &Conv| conv.kernel_volume() == 1;
    match run {
        [one] if is_depthwise(one) => "depthwise",
        [_] => "grouped",
        [first, second] if is_separable(first, second) => "depthwise separable",
        _ if run.iter().filter(|conv| !pointwise(conv)).count() < 2 => "bottleneck",
        [first, ..] if first.rank() == 3 && run.len() == 2 => "(2+1)-D",
        _ => "spatially separable",
    }
}
