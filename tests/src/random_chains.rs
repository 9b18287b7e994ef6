//! Random chains of small convolutions, and random plans for them.

use super::random::{POOLS, convs, reduced, sloped, suited, work};
use conv_ir::conv::Combine;
use conv_ir::program::fuse::Strips;
use conv_ir::program::plan::{Group, Plan};
use conv_ir::program::{Step, read_behind};
use conv_ir::{Activation, Conv, ConvSpec, Layout, PaddingMode, Program, Reduction};
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;

/// A chain and a plan for it.
#[derive(Clone, PartialEq)]
pub struct DrawnChain {
    /// What.
    pub chain: Program,
    /// How.
    pub plan: Plan,
}

impl fmt::Debug for DrawnChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{:?}", self.chain, self.plan.groups)
    }
}

/// Multiply-adds of all steps that the interpreter does in a few milliseconds.
pub const MOST_WORK: usize = 60_000;

/// What a step after the first is made of.
#[derive(Clone, Debug)]
pub struct StepDice {
    kind: Kind,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: (usize, usize),
    mode: PaddingMode,
    channels: usize,
    bias: bool,
    /// Of a pool.
    reduction: (Reduction, bool),
    activation: Option<Activation>,
    /// Of the tensors that fit, which one is added; beyond the last, none.
    residual: usize,
    /// Whether that multiplies.
    multiplies: bool,
    /// Whether a number for each channel does, where there is no other.
    pub scales: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Dense,
    Depthwise,
    Pointwise,
    /// The window along the first axis only.
    Rows,
    /// The window along the last axis only.
    Columns,
    Transposed,
    /// Max pooling and its like.
    Pool,
}

/// Random ones.
pub fn step_dice() -> impl Strategy<Value = StepDice> {
    use Kind::{Columns, Dense, Depthwise, Pointwise, Pool, Rows, Transposed};
    let kinds = prop_oneof![3 => Just(Pointwise), 3 => Just(Depthwise), 3 => Just(Dense), 1 => Just(Rows), 1 => Just(Columns), 1 => Just(Transposed), 2 => Just(Pool)];
    let window = (
        1usize..=5,
        prop_oneof![3 => Just(1usize), 1 => 2usize..=3],
        prop_oneof![3 => Just(1usize), 1 => 2usize..=3],
    );
    let mode = prop_oneof![
        5 => Just(PaddingMode::Zeros),
        1 => Just(PaddingMode::Constant(2.0)),
        1 => Just(PaddingMode::Reflect),
        1 => Just(PaddingMode::Symmetric),
        1 => Just(PaddingMode::Replicate),
        1 => Just(PaddingMode::Circular),
    ];
    let activation = select(vec![
        None,
        None,
        Some(Activation::Relu),
        Some(Activation::Relu6),
        Some(Activation::Clamp(-2.0, 5.0)),
        Some(Activation::prelu(&[0.5, 2.0])),
    ]);
    let pool = (select(POOLS.to_vec()), any::<bool>());
    (
        (kinds, window, (0usize..=2, 0usize..=2)),
        (mode, 1usize..=20, (any::<bool>(), pool), activation, (0usize..=4, 0usize..=5)),
    )
        .prop_map(
            |(
                (kind, (kernel, stride, dilation), padding),
                (mode, channels, (bias, reduction), activation, (residual, combine)),
            )| StepDice {
                kind,
                kernel,
                stride,
                dilation,
                padding,
                mode,
                channels,
                bias,
                reduction,
                activation,
                residual,
                multiplies: combine >= 4,
                scales: combine == 0,
            },
        )
}

/// The step after these, if there is one that fits.
fn after(steps: &[Step], dice: &StepDice) -> Option<Step> {
    reading(steps, Vec::new(), dice)
}

/// The step after these that reads these tensors, if there is one that fits.
pub fn reading(steps: &[Step], from: Vec<usize>, dice: &StepDice) -> Option<Step> {
    let read = read_behind(steps, &from).ok()?;
    let rank = read.extents.len();
    let window = match dice.kind {
        Kind::Pointwise => vec![1; rank],
        Kind::Rows => (0..rank).map(|at| if at == 0 { dice.kernel } else { 1 }).collect(),
        Kind::Columns => (0..rank).map(|at| if at + 1 == rank { dice.kernel } else { 1 }).collect(),
        Kind::Dense | Kind::Depthwise | Kind::Transposed | Kind::Pool => vec![dice.kernel; rank],
    };
    let depthwise = matches!(dice.kind, Kind::Depthwise | Kind::Pool);
    let transposed = dice.kind == Kind::Transposed;
    let mut spec = ConvSpec {
        types: read.types,
        layout: read.layout,
        batch: read.batch,
        in_channels: read.channels,
        out_channels: if depthwise { read.channels } else { dice.channels },
        groups: if depthwise { read.channels } else { 1 },
        input: read.extents,
        stride: dice.stride.into(),
        dilation: dice.dilation.into(),
        padding: dice.padding.into(),
        padding_mode: if transposed { PaddingMode::Zeros } else { dice.mode },
        transposed,
        bias: dice.bias,
        ..ConvSpec::new([], window)
    };
    let activation = suited(dice.activation.clone(), read.types);
    spec.activation = sloped(activation, spec.out_channels);
    if dice.kind == Kind::Pool {
        spec = reduced(spec, dice.reduction);
    }
    let plain = Conv::new(spec.clone()).ok()?;
    let shape_of = |tensor: usize| match tensor {
        0 => steps[0].conv.input_shape(),
        k => steps[k - 1].conv.output_shape(),
    };
    let fitting: Vec<usize> =
        (0..=steps.len()).filter(|&t| shape_of(t) == plain.output_shape()).collect();
    match fitting.get(dice.residual) {
        Some(&added) => {
            spec.residual = true;
            if dice.multiplies && !spec.types.accumulator.is_integer() {
                spec.combine = Combine::Multiply;
            }
            Some(Step { from, residual: Some(added), ..Conv::new(spec).ok()?.into() })
        }
        None => Some(Step { from, ..plain.into() }),
    }
}

/// Random chains of one to five steps, all sizes known.
pub fn chains() -> impl Strategy<Value = Program> {
    let first = convs().prop_filter_map("a first step without residual", |conv| {
        let spec = ConvSpec { residual: false, ..conv.spec().clone() };
        Conv::new(spec).ok()
    });
    (first, proptest::collection::vec(step_dice(), 0..=4)).prop_filter_map(
        "little work",
        |(first, dice)| {
            let mut steps = vec![Step::from(first)];
            for dice in &dice {
                steps.extend(after(&steps, dice));
            }
            let all: usize = steps.iter().map(|step| work(&step.conv)).sum();
            let chain = Program::new(steps).ok()?;
            (all <= MOST_WORK).then_some(chain)
        },
    )
}

/// A random chain, in random groups of strips of random rows.
pub fn drawn_chains() -> impl Strategy<Value = DrawnChain> {
    planned(chains())
}

/// Random groups of strips of random rows for each program.
pub fn planned(programs: impl Strategy<Value = Program>) -> impl Strategy<Value = DrawnChain> {
    let bits = proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 5);
    (programs, bits, 1usize..=6, 1usize..=3).prop_filter_map(
        "a plan that fits",
        |(chain, bits, rows, chunks)| {
            let mut groups = Vec::new();
            let mut start = 0;
            let count = chain.steps().len();
            for end in 1..=count {
                // Fused more often than not, but for what no strips can be of.
                let apart = |at: usize| {
                    let spec = chain.steps()[at].conv.spec();
                    let given = chain.steps()[at].given;
                    let apart = given || chain.steps()[at].conv.scales();
                    apart || spec.transposed || spec.padding_mode == PaddingMode::Circular
                };
                let parts = bits[end % 5].0 && bits[end % 5].1;
                let whole =
                    end == count || chain.steps()[end].from != [end] || is_read_behind(&chain, end);
                if whole || parts || apart(end - 1) || apart(end) {
                    let keep = (start..end).map(|at| bits[at % 5].2).collect();
                    let layout = |at: usize| match bits[(at + 1) % 5].0 {
                        true => Layout::ChannelsFirst,
                        false => Layout::ChannelsLast,
                    };
                    let layouts = (start..end).map(layout).collect();
                    let strips = Strips { rows, keep, layouts, chunks };
                    groups.push(Group {
                        steps: start..end,
                        strips: (end - start > 1 || (bits[start % 5].0 && !apart(start)))
                            .then_some(strips),
                    });
                    start = end;
                }
            }
            let plan = Plan { groups, reasons: Vec::new() };
            plan.check(&chain).ok().map(|()| DrawnChain { chain, plan })
        },
    )
}

/// Whether another step than the one behind it reads a tensor, or it is given. What is added may be
/// inside a group.
fn is_read_behind(program: &Program, tensor: usize) -> bool {
    let reads = |step: &Step| step.from.contains(&tensor);
    program.outputs().contains(&tensor) || program.steps()[tensor + 1..].iter().any(reads)
}
