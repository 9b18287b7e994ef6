//! Rewrites that change how a sum is taken: equal in real numbers, rounded elsewhere in floating
//! point. So nobody applies them unasked; each says its bound.
//!
//! * [`fold_batch_norm`]: normalisation, or any scale and shift by channel, behind a convolution
//!   goes into its weight and bias.
//! * [`compose`]: two linear convolutions in a row become one, which is cheaper where the tensor
//!   between them is wide; [`Composed::saves`] counts.
//!
//! New weights are worked out in f64 and rounded once. With `n` multiply-adds an output and `u` the
//! unit roundoff of the type, what is computed of them differs from the exact result by at most
//! about `(n + 2) u` times the sum of the magnitudes of the products, as any convolution's result
//! does.

use crate::conv::PerAxis;
use crate::{Conv, ConvSpec, Element, Error, Padding, Reduction, analysis};

/// A convolution with its constant arrays.
#[derive(Clone, Debug)]
pub struct Weighted<T> {
    /// The description.
    pub conv: Conv,
    /// Its weight.
    pub weight: Vec<T>,
    /// Its bias, where it has one.
    pub bias: Option<Vec<T>>,
}

/// What inference knows of a normalisation over batches, a number per channel each.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a, T> {
    /// Multiplies, also called gamma or weight.
    pub scale: &'a [T],
    /// Is added, also called beta or bias.
    pub shift: &'a [T],
    /// The running mean.
    pub mean: &'a [T],
    /// The running variance.
    pub variance: &'a [T],
    /// Added to the variance.
    pub epsilon: f64,
}

fn wrong(message: String) -> Error {
    Error::Argument(message)
}

fn of_len<T>(name: &str, found: &[T], needed: usize) -> Result<(), Error> {
    match found.len() == needed {
        true => Ok(()),
        false => {
            Err(wrong(format!("{name} has {} elements, but {needed} are needed", found.len())))
        }
    }
}

impl<T: Element> Weighted<T> {
    /// Arrays of the right lengths and type.
    ///
    /// # Errors
    /// [`Error::Argument`] with the array that does not fit.
    pub fn new(conv: Conv, weight: Vec<T>, bias: Option<Vec<T>>) -> Result<Self, Error> {
        if conv.dtype() != T::DTYPE {
            return Err(wrong(format!(
                "the convolution is of {}, the arrays of {}",
                conv.dtype(),
                T::DTYPE
            )));
        }
        of_len("weight", &weight, conv.weight_len())?;
        match (&bias, conv.spec().bias) {
            (Some(bias), true) => of_len("bias", bias, conv.bias_len())?,
            (None, false) => {}
            (found, _) => {
                let found = if found.is_some() { "a" } else { "no" };
                return Err(wrong(format!(
                    "there is {found} bias, which the description does not say"
                )));
            }
        }
        Ok(Weighted { conv, weight, bias })
    }

    /// The output channel that an element of the weight belongs to.
    fn channel(&self, at: usize) -> usize {
        let (volume, spec) = (self.conv.kernel_volume(), self.conv.spec());
        let per_group = self.conv.out_channels_per_group();
        if spec.transposed {
            let group = at / (volume * per_group) / self.conv.in_channels_per_group();
            group * per_group + at / volume % per_group
        } else {
            at / (volume * self.conv.in_channels_per_group())
        }
    }

    fn bias_at(&self, channel: usize) -> f64 {
        self.bias.as_ref().map_or(0.0, |bias| bias[channel].to_f64())
    }
}

/// The convolution whose sums are normalised already; residual and activation come after, as
/// before.
///
/// # Errors
/// [`Error::Argument`] where an array does not have a number per output channel.
pub fn fold_batch_norm<T: Element>(
    of: &Weighted<T>,
    norm: &BatchNorm<'_, T>,
) -> Result<Weighted<T>, Error> {
    let channels = of.conv.spec().out_channels;
    if of.conv.spec().reduction != Reduction::Sum {
        let name = of.conv.spec().reduction.name();
        return Err(wrong(format!("{name} has no weights to scale")));
    }
    if of.conv.dtype().is_integer() {
        return Err(wrong("weights of integers are not scaled, which would round them".to_owned()));
    }
    for (name, array) in [
        ("scale", norm.scale),
        ("shift", norm.shift),
        ("mean", norm.mean),
        ("variance", norm.variance),
    ] {
        of_len(name, array, channels)?;
    }
    let factor =
        |c: usize| norm.scale[c].to_f64() / (norm.variance[c].to_f64() + norm.epsilon).sqrt();
    let weight = of.weight.iter().enumerate();
    let types = of.conv.types();
    let scaled = |(at, w): (usize, &T)| w.to_f64() * factor(of.channel(at));
    let weight = weight.map(|w| T::from_f64(types.weight.round(scaled(w)))).collect();
    let bias = (0..channels).map(|c| {
        let centred = of.bias_at(c) - norm.mean[c].to_f64();
        T::from_f64(types.bias.round(centred * factor(c) + norm.shift[c].to_f64()))
    });
    let spec = ConvSpec { bias: true, ..of.conv.spec().clone() };
    Weighted::new(Conv::new(spec)?, weight, Some(bias.collect()))
}

/// Two convolutions as one.
#[derive(Clone, Debug)]
pub struct Composed<T> {
    /// The one.
    pub one: Weighted<T>,
    /// Multiply-adds of both, less those of the one.
    pub saves: i128,
}

/// One convolution for `first` and then `second`: its window is both windows' reach, its weight
/// their convolution.
///
/// # Errors
/// [`Error::Argument`] says why there is none: something between them is not linear, the second one
/// sees padding around the tensor between them, or one is transposed, grouped or flipped.
pub fn compose<T: Element>(
    first: &Weighted<T>,
    second: &Weighted<T>,
) -> Result<Composed<T>, Error> {
    linear(first, second)?;
    let axes: Vec<Axis> = first.conv.axes().iter().zip(second.conv.axes()).map(Axis::of).collect();
    let (a, b) = (first.conv.spec(), second.conv.spec());
    let spec = ConvSpec {
        out_channels: b.out_channels,
        kernel: axes.iter().map(|axis| axis.kernel).collect(),
        stride: PerAxis::Each(axes.iter().map(|axis| axis.stride).collect()),
        dilation: PerAxis::Each(axes.iter().map(|axis| axis.dilation).collect()),
        padding: Padding::Explicit(PerAxis::Each(
            first.conv.axes().iter().map(|axis| axis.padding).collect(),
        )),
        bias: a.bias || b.bias,
        residual: b.residual,
        combine: b.combine,
        activation: b.activation.clone(),
        ..a.clone()
    };
    let conv = Conv::new(spec)?;
    let volume = conv.kernel_volume();
    let mut weight = vec![0.0; conv.weight_len()];
    let (inputs, between) = (a.in_channels, a.out_channels);
    let taps = |conv: &Conv| points(&conv.spec().kernel);
    let (early, late) = (taps(&first.conv), taps(&second.conv));
    for out in 0..b.out_channels {
        for middle in 0..between {
            for (t2, k2) in late.iter().enumerate() {
                let outer = second.weight[(out * between + middle) * late.len() + t2].to_f64();
                for input in 0..inputs {
                    for (t1, k1) in early.iter().enumerate() {
                        let inner =
                            first.weight[(middle * inputs + input) * early.len() + t1].to_f64();
                        let at = axes
                            .iter()
                            .zip(k1.iter().zip(k2))
                            .fold(0, |at, (axis, (k1, k2))| at * axis.kernel + axis.tap(*k1, *k2));
                        weight[(out * inputs + input) * volume + at] += outer * inner;
                    }
                }
            }
        }
    }
    let through = |out: usize| -> f64 {
        let window = |middle: usize| {
            let start = (out * between + middle) * late.len();
            second.weight[start..start + late.len()].iter().map(|w| w.to_f64()).sum::<f64>()
        };
        (0..between).map(|middle| window(middle) * first.bias_at(middle)).sum()
    };
    let bias = conv.spec().bias.then(|| {
        let of = |out| T::from_f64(second.bias_at(out) + through(out));
        (0..b.out_channels).map(of).collect()
    });
    let work = |conv: &Conv| analysis::facts(conv).map_or(0, |facts| facts.multiply_adds as i128);
    let saves = work(&first.conv) + work(&second.conv) - work(&conv);
    let one = Weighted::new(conv, weight.into_iter().map(T::from_f64).collect(), bias)?;
    Ok(Composed { one, saves })
}

/// Whether two convolutions are one linear map of the kind that has a window.
fn linear<T>(first: &Weighted<T>, second: &Weighted<T>) -> Result<(), Error> {
    let (a, b) = (first.conv.spec(), second.conv.spec());
    let padded = second.conv.axes().iter().any(|axis| axis.padding != (0, 0));
    let reasons = [
        (
            first.conv.output_shape() != second.conv.input_shape(),
            "the second does not take what the first gives",
        ),
        (a.types != b.types || a.layout != b.layout, "their types or layouts differ"),
        (a.types.single().is_none(), "the tensor between them is rounded"),
        (a.activation.is_some(), "the first has an activation"),
        (a.residual, "the first adds a residual"),
        (padded, "the second sees padding around the tensor between them"),
        (a.reduction != Reduction::Sum || b.reduction != Reduction::Sum, "one is no convolution"),
        (a.transposed || b.transposed, "one is transposed"),
        (a.groups > 1 || b.groups > 1, "one has groups"),
        (a.flip || b.flip, "one is flipped"),
    ];
    match reasons.iter().find(|(holds, _)| *holds) {
        Some((_, why)) => Err(wrong(format!("these two convolutions are not one: {why}"))),
        None => Ok(()),
    }
}

/// One axis of both.
struct Axis {
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// How many taps of the one a tap of the first and of the second is.
    steps: (usize, usize),
}

impl Axis {
    fn of((first, second): (&crate::conv::ConvAxis, &crate::conv::ConvAxis)) -> Axis {
        // What a window of one tap is apart does not matter.
        let apart = |kernel: usize, by: usize| if kernel > 1 { by } else { 0 };
        let (early, late) = (
            apart(first.kernel, first.dilation),
            apart(second.kernel, second.dilation * first.stride),
        );
        let dilation = gcd(early, late).max(1);
        let steps = (early / dilation, late / dilation);
        Axis {
            kernel: (first.kernel - 1) * steps.0 + (second.kernel - 1) * steps.1 + 1,
            stride: first.stride * second.stride,
            dilation,
            steps,
        }
    }

    fn tap(&self, early: usize, late: usize) -> usize {
        early * self.steps.0 + late * self.steps.1
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// All points of a box, last axis fastest.
fn points(extents: &[usize]) -> Vec<Vec<usize>> {
    extents.iter().fold(vec![Vec::new()], |points, &extent| {
        let longer = |point: Vec<usize>| {
            (0..extent).map(move |at| point.iter().copied().chain([at]).collect())
        };
        points.into_iter().flat_map(longer).collect()
    })
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
