//! Random convolutions and schedules, made of small numbers so that proptest can shrink them.
//!
//! A description is drawn from its own numbers and then repaired: the input grows until the window
//! fits. What still breaks a rule, or would be too slow to judge, is
//! drawn again. A schedule is drawn without a look at the description; the passes refuse what does
//! not fit.

use conv_ir::conv::Conv;
use conv_ir::nest::Role;
use conv_ir::schedule::{Borders, Pack};
use conv_ir::{
    Activation, ConvSpec, DType, Error, Layout, Padding, PaddingMode, Reduction, Schedule, Size,
    Types,
};
use proptest::prelude::*;
use proptest::sample::select;
use std::ops::RangeInclusive;

/// Multiply-adds that the interpreter does in a few milliseconds.
const MOST_WORK: usize = 30_000;

#[derive(Clone, Debug)]
struct AxisDice {
    spare: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: (usize, usize),
    output_padding: usize,
}

fn axis() -> impl Strategy<Value = AxisDice> {
    let kernel = prop_oneof![3 => Just(1usize), 5 => Just(3), 4 => 1usize..=5];
    let step = || prop_oneof![4 => Just(1usize), 2 => Just(2), 1 => Just(3)];
    // A transposed convolution loops over more than four phases.
    let stride = prop_oneof![8 => step(), 1 => Just(5usize), 1 => Just(6)];
    // Now and then far beyond a small input.
    let side = || prop_oneof![8 => 0usize..=4, 1 => 5usize..=14];
    (0usize..=12, kernel, stride, step(), (side(), side()), 0usize..=2).prop_map(
        |(spare, kernel, stride, dilation, padding, output_padding)| AxisDice {
            spare,
            kernel,
            stride,
            dilation,
            padding,
            output_padding,
        },
    )
}

/// Padding by word, or by each axis' own numbers.
fn padding() -> impl Strategy<Value = Option<Padding>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(Padding::Valid)),
        1 => Just(Some(Padding::SameUpper)),
        1 => Just(Some(Padding::SameLower)),
        1 => Just(Some(Padding::Causal)),
    ]
}

fn mode() -> impl Strategy<Value = PaddingMode> {
    use PaddingMode::{Circular, Constant, Reflect, Replicate, Symmetric, Zeros};
    prop_oneof![5 => Just(Zeros), 4 => select(vec![Constant(2.0), Reflect, Symmetric, Replicate, Circular])]
}

fn channels() -> impl Strategy<Value = (usize, usize, usize)> {
    prop_oneof![
        4 => (Just(1), 1usize..=6, 1usize..=18),
        2 => (2usize..=4, 1usize..=3, 1usize..=6),
        2 => (2usize..=17, Just(1), 1usize..=2),
    ]
}

/// Every reduction but the sum.
pub const POOLS: [Reduction; 6] = [
    Reduction::Max,
    Reduction::Min,
    Reduction::Average { count_include_pad: false },
    Reduction::Average { count_include_pad: true },
    Reduction::Dilation,
    Reduction::Erosion,
];

/// Mostly sums.
fn reduction() -> impl Strategy<Value = (Reduction, bool)> {
    (prop_oneof![5 => Just(Reduction::Sum), 3 => select(POOLS.to_vec())], any::<bool>())
}

/// The spec with another reduction, without what that cannot have.
pub fn reduced(spec: ConvSpec, (reduction, ceil_mode): (Reduction, bool)) -> ConvSpec {
    if reduction == Reduction::Sum {
        return spec;
    }
    let numbers = matches!(spec.padding, Padding::Valid | Padding::Explicit(_));
    let all = spec.padding_mode != PaddingMode::Zeros;
    let reduction = match reduction {
        Reduction::Average { .. } if all => Reduction::Average { count_include_pad: false },
        other => other,
    };
    // Pooling takes each channel by itself; morphology may be dense.
    let (in_channels, out_channels, groups) = match reduction.has_weight() {
        true => (spec.in_channels, spec.out_channels, spec.groups),
        false => (spec.in_channels, spec.in_channels, spec.in_channels),
    };
    ConvSpec {
        reduction,
        ceil_mode: ceil_mode && numbers,
        in_channels,
        out_channels,
        groups,
        transposed: false,
        output_padding: 0.into(),
        flip: spec.flip && reduction.has_weight(),
        bias: false,
        activation: sloped(spec.activation, out_channels),
        ..spec
    }
}

/// A prelu whose slopes are as many as the output channels, each another.
pub(crate) fn prelu(channels: usize) -> Activation {
    let slopes: Vec<f64> = (0..channels).map(|at| (at % 7) as f64 * 0.5 - 1.0).collect();
    Activation::prelu(&slopes)
}

/// An activation, where it is a prelu with a slope for each channel.
pub(crate) fn sloped(activation: Option<Activation>, channels: usize) -> Option<Activation> {
    match activation {
        Some(Activation::Prelu(_)) => Some(prelu(channels)),
        other => other,
    }
}

/// An activation, of integers one that gives integers.
pub(crate) fn suited(activation: Option<Activation>, types: Types) -> Option<Activation> {
    match activation {
        Some(Activation::Relu | Activation::Relu6) | None => activation,
        Some(Activation::Clamp(..)) if types.accumulator.is_integer() => {
            Some(Activation::Clamp(-100.0, 90.0))
        }
        Some(_) if types.accumulator.is_integer() => None,
        other => other,
    }
}

/// Random convolutions of one to three axes, all sizes known.
pub fn convs() -> impl Strategy<Value = Conv> {
    convs_of(1..=3)
}

/// One type for all, or one for each array of those that are computed in f32, or of integers.
pub fn types() -> impl Strategy<Value = Types> {
    let factor = || select(vec![DType::I8, DType::U8, DType::I16, DType::U16, DType::I32]);
    let added = || prop_oneof![3 => Just(DType::I32), 2 => factor()];
    let integers = (factor(), factor(), added(), added());
    let integers = integers.prop_map(|(input, weight, bias, output)| {
        Types::of(input, weight).adding(bias).giving(output)
    });
    prop_oneof![3 => floats(), 1 => integers]
}

/// One type for all, or one for each array of those that are computed in f32.
pub fn floats() -> impl Strategy<Value = Types> {
    let stored = || select(vec![DType::F32, DType::F16, DType::BF16]);
    let mixed = (stored(), stored(), stored(), stored());
    let mixed = mixed.prop_map(|(input, weight, bias, output)| {
        Types::of(input, weight).adding(bias).giving(output)
    });
    let one = |dtype: DType| Just(Types::from(dtype));
    prop_oneof![4 => one(DType::F32), 2 => one(DType::F64), 1 => one(DType::F16), 2 => mixed]
}

/// Random convolutions of so many axes, all sizes known.
pub fn convs_of(ranks: RangeInclusive<usize>) -> impl Strategy<Value = Conv> {
    let words = (
        padding(),
        mode(),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![3 => Just(false), 1 => Just(true)],
    );
    let epilogue = (
        any::<bool>(),
        any::<bool>(),
        proptest::option::weighted(
            0.3,
            prop_oneof![13 => select(Activation::EACH.to_vec()), 2 => Just(Activation::prelu(&[0.5, 2.0]))],
        ),
    );
    let words = (words, reduction());
    (proptest::collection::vec(axis(), ranks), channels(), 0usize..=2, words, epilogue, types())
        .prop_filter_map(
            "a legal convolution of little work",
            |(
                axes,
                (groups, ic, oc),
                batch,
                ((padding, mode, channels_last, transposed, flip), reduction),
                epilogue,
                types,
            )| {
                let each = |f: fn(&AxisDice) -> usize| axes.iter().map(f).collect::<Vec<_>>();
                let lo_hi = axes.iter().map(|a| a.padding).collect::<Vec<_>>();
                let spec = ConvSpec {
                    types,
                    layout: if channels_last {
                        Layout::ChannelsLast
                    } else {
                        Layout::ChannelsFirst
                    },
                    batch: Size::Known(batch),
                    groups,
                    in_channels: groups * ic,
                    out_channels: groups * oc,
                    stride: each(|a| a.stride).into(),
                    dilation: each(|a| a.dilation).into(),
                    padding: padding.unwrap_or(lo_hi.into()),
                    padding_mode: if transposed { PaddingMode::Zeros } else { mode },
                    output_padding: if transposed {
                        each(|a| a.output_padding).into()
                    } else {
                        0.into()
                    },
                    transposed,
                    flip,
                    bias: epilogue.0,
                    residual: epilogue.1,
                    activation: sloped(suited(epilogue.2, types), groups * oc),
                    ..ConvSpec::new(each(|a| 1 + a.spare), each(|a| a.kernel))
                };
                let spec = reduced(spec, reduction);
                repaired(spec).filter(|conv| work(conv) <= MOST_WORK)
            },
        )
}

/// The spec with an input that is large enough, if a few elements more make it so.
fn repaired(mut spec: ConvSpec) -> Option<Conv> {
    for _ in 0..12 {
        if let Ok(conv) = Conv::new(spec.clone()) {
            return Some(conv);
        }
        spec.input = spec.input.iter().map(|n| Size::Known(n.known().unwrap_or(0) + 1)).collect();
    }
    None
}

/// Multiply-adds, the padding's included.
pub fn work(conv: &Conv) -> usize {
    conv.output_len().unwrap_or(0) * conv.in_channels_per_group() * conv.kernel_volume()
}

/// Random schedules with as many lanes as one of `widths`, most of them legal for a convolution of
/// so many axes.
pub fn schedules(rank: usize, widths: Vec<i64>) -> impl Strategy<Value = Schedule> {
    let lanes_role =
        select(vec![None, Some(Role::OutChannel), Some(Role::Group), Some(Role::Out(0))]);
    let lanes = (lanes_role, select(widths), 1i64..=3);
    let tile = (0i64..=6, 0i64..=3, 0i64..=9);
    let axes: Vec<Role> =
        (0..rank).map(Role::Out).chain([Role::Batch, Role::Group, Role::OutChannel]).collect();
    let taps: Vec<Role> = (0..rank).map(Role::Kernel).chain([Role::InChannel]).collect();
    let count = axes.len();
    let order = (Just(axes.clone()).prop_shuffle(), 0..=count);
    let panel = (1i64..=4, proptest::option::of(1i64..=9));
    let panel = panel.prop_map(|(rows, columns)| Borders::Panel { rows, columns });
    let borders = prop_oneof![3 => Just(Borders::Exact), 1 => Just(Borders::Mask), 2 => panel];
    let unroll = proptest::sample::subsequence(taps.clone(), 0..=taps.len());
    let step = proptest::option::of((select(taps), 2i64..=4));
    let parallel = proptest::option::of(select(axes));
    (lanes, tile, order, borders, (unroll, step), 0..5u8, parallel).prop_map(
        move |(
            (role, width, vectors),
            (columns, rows, channels),
            (mut order, named),
            borders,
            (unroll, step),
            pack,
            parallel,
        )| {
            order.truncate(named);
            let wanted =
                [(Role::OutChannel, channels), (Role::Out(0), columns), (Role::Out(1), rows)];
            let mut tile: Vec<(Role, i64)> = wanted
                .into_iter()
                .filter(|t| t.1 > 0 && Some(t.0) != role && (t.0 != Role::Out(1) || rank > 1))
                .collect();
            tile.extend(role.map(|role| (role, width * vectors)));
            let mut schedule = Schedule {
                cache: width * 4,
                cache_in: if vectors == 2 { 1 + columns % 4 } else { 0 },
                lanes: role.map(|r| (r, width)),
                tile,
                order,
                borders,
                unroll,
                step,
                pack: Pack::No,
                parallel,
            };
            schedule.pack = match (pack, schedule.panels()) {
                (0, _) => Pack::No,
                (1, _) => Pack::Tiles,
                (4, _) => Pack::Blocks { channels: 4 * width },
                // As wide as the lanes, or as the tile.
                (2, panels) => panels,
                (_, Pack::Panels { role, width: 1 }) => Pack::Panels { role, width: 1 },
                (_, Pack::Panels { role, .. }) => Pack::Panels { role, width: width * vectors },
                (_, other) => other,
            };
            schedule
        },
    )
}

/// The same convolution with names for its batch and sizes, and their values.
///
/// # Errors
/// The rule that free sizes break.
pub fn freed(conv: &Conv) -> Result<(Conv, Vec<(String, usize)>), Error> {
    let mut spec = conv.spec().clone();
    let mut sizes = Vec::new();
    for (name, size) in ["A", "B", "D", "H", "W"][5 - conv.rank()..].iter().zip(&mut spec.input) {
        sizes.push(((*name).to_owned(), size.known().unwrap_or(0)));
        *size = Size::from(*name);
    }
    sizes.push(("N".to_owned(), spec.batch.known().unwrap_or(0)));
    spec.batch = Size::from("N");
    let conv = Conv::new(spec)?;
    match conv.divisor_by_free_size() {
        Some(size) => Err(Error::Argument(format!("a divisor depends on {size}"))),
        None => Ok((conv, sizes)),
    }
}
