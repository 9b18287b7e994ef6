//! The reference: plain loops straight from the equation of [`crate::conv`], the oracle that every
//! route is judged by.
//!
//! In: a convolution and its arrays. Out: the output array, in the element type and in the
//! contract's exact order ([`run`]), or in f64 with the activations of mathematical textbooks
//! ([`run_f64`], to judge accuracy).
//!
//! It knows the description and the activations' published constants, and nothing else: no loop
//! nest, no schedule, no pass, no activation program. It is written to be obviously right. The one
//! liberty it takes is to work out once per output position which input element each tap reads.

mod activation;
#[cfg(test)]
mod known;
mod oracle;
mod program;

pub use program::{StepWeights, read, run_graph, run_program, run_tensors};

use crate::conv::{Combine, EquationAxis};
use crate::{Activation, Conv, Element, Error, Layout, PaddingMode, Reduction};

/// The arrays of one convolution, in the layouts of its description.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a, T> {
    /// `[n, c, spatial..]`, or `[n, spatial.., c]` with channels last.
    pub input: &'a [T],
    /// `[out, in/groups, k..]`; transposed `[in, out/groups, k..]`; empty for pooling.
    pub weight: &'a [T],
    /// One per output channel, where the description has a bias.
    pub bias: Option<&'a [T]>,
    /// Of the output's shape, where the description has a residual.
    pub residual: Option<&'a [T]>,
}

/// Computes the output in the contract's order: these are the bits that every route must give.
///
/// ```
/// use conv_ir::{Conv, reference};
/// let conv: Conv = "conv1d in N kernel 2".parse()?;
/// let arguments = reference::Arguments {
///     input: &[1.0f32, 2.0, 3.0],
///     weight: &[10.0, 1.0],
///     bias: None,
///     residual: None,
/// };
/// assert_eq!(reference::run(&conv, arguments, &[("N", 3)])?, [12.0, 23.0]);
/// # Ok::<(), conv_ir::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] where an array does not fit its shape, [`Error::Argument`] where an array or a
/// size is missing or not asked for, or the arrays are of another type than the description,
/// [`Error::Invalid`] where the sizes break a rule.
pub fn run<T: Element>(
    conv: &Conv,
    arguments: Arguments<'_, T>,
    free: &[(&str, usize)],
) -> Result<Vec<T>, Error> {
    if conv.dtype() != T::DTYPE {
        return Err(Error::Argument(format!(
            "the convolution is of {}, the arrays of {}",
            conv.dtype(),
            T::DTYPE
        )));
    }
    compute(conv, arguments, free, activation::apply)
}

/// Computes the output in f64, with activations accurate to `1e-13` of their value. The order is
/// the same.
///
/// # Errors
/// Those of [`run`]; the arrays may be of either type.
pub fn run_f64<T: Element>(
    conv: &Conv,
    arguments: Arguments<'_, T>,
    free: &[(&str, usize)],
) -> Result<Vec<f64>, Error> {
    let wide = |of: &[T]| of.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    let (input, weight) = (wide(arguments.input), wide(arguments.weight));
    let (bias, residual) = (arguments.bias.map(wide), arguments.residual.map(wide));
    let arguments = Arguments {
        input: &input,
        weight: &weight,
        bias: bias.as_deref(),
        residual: residual.as_deref(),
    };
    compute(conv, arguments, free, oracle::apply)
}

fn compute<T: Element>(
    conv: &Conv,
    arguments: Arguments<'_, T>,
    free: &[(&str, usize)],
    activate: impl Fn(&Activation, T) -> T,
) -> Result<Vec<T>, Error> {
    let problem = Problem::new(&conv.with_sizes(free)?)?;
    problem.check(&arguments)?;
    let len = problem.output_shape().iter().product();
    let mut output = crate::values::room("output", len)?;
    output.resize(len, T::default());
    if len == 0 {
        return Ok(output); // an empty batch, however large its images are
    }
    let output_type = if T::DTYPE == conv.dtype() { conv.types().output } else { T::DTYPE };
    let range = conv.types().output.range().map(|(least, most)| (least as i32, most as i32));
    let requantised = conv.requantisation().zip(range);
    for position in points(&problem.output) {
        let taps = problem.taps(&position);
        let at = flat(&position, &problem.output);
        for n in 0..problem.batch {
            for g in 0..problem.groups {
                for o in 0..problem.out_channels {
                    let element = problem.output_index(n, g, o, at);
                    let (all, channel) = problem.channel(g, o);
                    let mut value = problem.reduce(&arguments, &taps, n, g, o);
                    if let Reduction::Average { .. } = problem.reduction {
                        value = value.div(T::from_f64(problem.counted(&position) as f64));
                    }
                    if let Some(residual) = arguments.residual {
                        value = match problem.combine {
                            Combine::Add => value.add(residual[element]),
                            Combine::Multiply => value.mul(residual[element]),
                            Combine::Scale => value.mul(residual[n * all + channel]),
                        };
                    }
                    let activation = problem.activation.as_ref().map(|a| a.of_channel(channel));
                    let mut value = activation.map_or(value, |a| activate(&a, value));
                    if let Some((requantised, range)) = &requantised {
                        let rescale = requantised.of_channel(channel);
                        let sum = value.to_f64() as i32;
                        let number = rescale.output(sum, requantised.zero_point(), *range);
                        value = T::from_f64(number.into());
                    }
                    output[element] = value.rounded_to(output_type);
                }
            }
        }
    }
    Ok(output)
}

/// What one tap reads from every channel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    /// The input element at this flat spatial position.
    Element(usize),
    /// This value.
    Constant(f64),
}

/// One tap of one output position.
struct Tap {
    /// Flat position in the weight's window, reversed where the axis is.
    weight: usize,
    source: Source,
}

/// The description with every size known, in the equation's terms. Channels are those of one group.
struct Problem {
    reduction: Reduction,
    takes_one: bool,
    batch: usize,
    groups: usize,
    in_channels: usize,
    out_channels: usize,
    axes: Vec<EquationAxis>,
    input: Vec<usize>,
    kernel: Vec<usize>,
    output: Vec<usize>,
    layout: Layout,
    mode: PaddingMode,
    transposed: bool,
    bias: bool,
    residual: bool,
    combine: Combine,
    activation: Option<Activation>,
}

impl Problem {
    fn new(conv: &Conv) -> Result<Problem, Error> {
        let (spec, axes) = (conv.spec(), conv.equation());
        let known = |size: Option<usize>| {
            size.ok_or_else(|| Error::Argument("a size is not given".to_owned()))
        };
        Ok(Problem {
            reduction: spec.reduction,
            takes_one: conv.takes_one(),
            batch: known(spec.batch.known())?,
            groups: spec.groups,
            in_channels: spec.in_channels / spec.groups,
            out_channels: spec.out_channels / spec.groups,
            input: axes.iter().map(|axis| known(axis.input.known())).collect::<Result<_, _>>()?,
            kernel: axes.iter().map(|axis| axis.kernel as usize).collect(),
            output: axes.iter().map(|axis| known(axis.output.known())).collect::<Result<_, _>>()?,
            axes,
            layout: spec.layout,
            mode: spec.padding_mode,
            transposed: spec.transposed,
            bias: spec.bias,
            residual: spec.residual,
            combine: spec.combine,
            activation: spec.activation.clone(),
        })
    }

    /// One chain over input channels and then taps: of fused multiply-adds from the bias on, or of
    /// what stands in their place.
    fn reduce<T: Element>(
        &self,
        arguments: &Arguments<'_, T>,
        taps: &[Tap],
        n: usize,
        g: usize,
        o: usize,
    ) -> T {
        let (least, greatest) = (T::from_f64(f64::NEG_INFINITY), T::from_f64(f64::INFINITY));
        let mut value = match self.reduction {
            Reduction::Max | Reduction::Dilation => least,
            Reduction::Min | Reduction::Erosion => greatest,
            Reduction::Sum | Reduction::Average { .. } => {
                arguments.bias.map_or(T::from_f64(0.0), |bias| bias[g * self.out_channels + o])
            }
        };
        for i in 0..self.in_channels {
            for tap in taps {
                let x = match tap.source {
                    Source::Element(at) => arguments.input[self.input_index(n, g, i, at)],
                    Source::Constant(c) => T::from_f64(c),
                };
                let weight = || arguments.weight[self.weight_index(g, o, i, tap.weight)];
                let greater = |x: T| if x > value { x } else { value };
                let less = |x: T| if x < value { x } else { value };
                value = match self.reduction {
                    Reduction::Sum => x.fma(weight(), value),
                    Reduction::Average { .. } => value.add(x),
                    Reduction::Max | Reduction::Min if self.takes_one => x,
                    Reduction::Max => greater(x),
                    Reduction::Min => less(x),
                    Reduction::Dilation => greater(x.add(weight())),
                    Reduction::Erosion => less(x.sub(weight())),
                };
            }
        }
        value
    }

    /// The elements under a window that an average is divided by; no window is divided by nothing.
    fn counted(&self, position: &[usize]) -> usize {
        let Reduction::Average { count_include_pad: true } = self.reduction else {
            return self.taps(position).len().max(1);
        };
        let is_counted = |k: &Vec<usize>| {
            self.axes.iter().enumerate().all(|(a, axis)| {
                let at = position[a] as i64 * axis.stride + k[a] as i64 * axis.dilation;
                at - axis.pad_lo < self.input[a] as i64 + axis.pad_hi
            })
        };
        points(&self.kernel).filter(is_counted).count().max(1)
    }

    /// The taps of an output position in order of `k`, without those that are skipped.
    fn taps(&self, position: &[usize]) -> Vec<Tap> {
        let tap = |k: Vec<usize>| {
            let reversed = |(axis, &k): (&EquationAxis, &usize)| {
                if axis.flip { axis.kernel as usize - 1 - k } else { k }
            };
            let weight: Vec<usize> = self.axes.iter().zip(&k).map(reversed).collect();
            Some(Tap { weight: flat(&weight, &self.kernel), source: self.source(position, &k)? })
        };
        points(&self.kernel).filter_map(tap).collect()
    }

    /// What tap `k` of output `p` reads: `q * lhs_dilation = p * stride + k * dilation - pad_lo`,
    /// `None` where it is skipped.
    fn source(&self, p: &[usize], k: &[usize]) -> Option<Source> {
        let mut inside = Vec::new();
        let mut constant = None;
        for (a, axis) in self.axes.iter().enumerate() {
            let at = p[a] as i64 * axis.stride + k[a] as i64 * axis.dilation - axis.pad_lo;
            if at.rem_euclid(axis.lhs_dilation) != 0 {
                return None;
            }
            let (q, extent) = (at.div_euclid(axis.lhs_dilation), self.input[a] as i64);
            match fold(q, extent, self.mode) {
                Folded::At(q) => inside.push(q as usize),
                Folded::Skipped => return None,
                // The other axes may still say that there is nothing at all here.
                Folded::Constant(c) => constant = Some(Source::Constant(c)),
            }
        }
        constant.or_else(|| Some(Source::Element(flat(&inside, &self.input))))
    }

    fn input_index(&self, n: usize, g: usize, i: usize, at: usize) -> usize {
        let (channels, channel) = (self.groups * self.in_channels, g * self.in_channels + i);
        element(self.layout, n, channels, channel, self.input.iter().product(), at)
    }

    fn output_index(&self, n: usize, g: usize, o: usize, at: usize) -> usize {
        let (channels, channel) = (self.groups * self.out_channels, g * self.out_channels + o);
        element(self.layout, n, channels, channel, self.output.iter().product(), at)
    }

    /// How many output channels there are, and which of them this is.
    fn channel(&self, g: usize, o: usize) -> (usize, usize) {
        (self.groups * self.out_channels, g * self.out_channels + o)
    }

    fn weight_index(&self, g: usize, o: usize, i: usize, at: usize) -> usize {
        let row = if self.transposed {
            (g * self.in_channels + i) * self.out_channels + o
        } else {
            (g * self.out_channels + o) * self.in_channels + i
        };
        row * self.kernel.iter().product::<usize>() + at
    }

    fn shape(&self, channels: usize, spatial: &[usize]) -> Vec<usize> {
        match self.layout {
            Layout::ChannelsFirst => [&[self.batch, channels], spatial].concat(),
            Layout::ChannelsLast => [&[self.batch], spatial, &[channels]].concat(),
        }
    }

    fn output_shape(&self) -> Vec<usize> {
        self.shape(self.groups * self.out_channels, &self.output)
    }

    fn weight_shape(&self) -> Vec<usize> {
        if !self.reduction.has_weight() {
            return vec![0];
        }
        let channels = if self.transposed {
            [self.groups * self.in_channels, self.out_channels]
        } else {
            [self.groups * self.out_channels, self.in_channels]
        };
        [&channels, &self.kernel[..]].concat()
    }

    fn check<T>(&self, arguments: &Arguments<'_, T>) -> Result<(), Error> {
        let bias = [self.groups * self.out_channels];
        check_length(
            "input",
            arguments.input,
            &self.shape(self.groups * self.in_channels, &self.input),
        )?;
        check_length("weight", arguments.weight, &self.weight_shape())?;
        check_optional("bias", arguments.bias, self.bias, &bias)?;
        let residual = match self.combine {
            Combine::Scale => vec![self.batch, self.groups * self.out_channels],
            Combine::Add | Combine::Multiply => self.output_shape(),
        };
        check_optional("residual", arguments.residual, self.residual, &residual)
    }
}

fn check_length<T>(name: &'static str, array: &[T], shape: &[usize]) -> Result<(), Error> {
    let (found, needed) = (array.len(), shape.iter().product());
    if found == needed {
        return Ok(());
    }
    Err(Error::Length { name, found, needed, shape: format!("{shape:?}") })
}

fn check_optional<T>(
    name: &'static str,
    array: Option<&[T]>,
    asked: bool,
    shape: &[usize],
) -> Result<(), Error> {
    match (array, asked) {
        (Some(array), true) => check_length(name, array, shape),
        (None, false) => Ok(()),
        (None, true) => {
            Err(Error::Argument(format!("the convolution has a {name}, but none is given")))
        }
        (Some(_), false) => {
            Err(Error::Argument(format!("a {name} is given, but the convolution has none")))
        }
    }
}

/// Where an index along one axis leads.
enum Folded {
    At(i64),
    Constant(f64),
    Skipped,
}

/// An index along an axis of `extent` elements, brought inside by the padding mode.
fn fold(q: i64, extent: i64, mode: PaddingMode) -> Folded {
    if (0..extent).contains(&q) {
        return Folded::At(q);
    }
    match mode {
        PaddingMode::Zeros => Folded::Skipped,
        PaddingMode::Constant(c) => Folded::Constant(c),
        PaddingMode::Reflect if extent == 1 => Folded::At(0),
        // a b c b | a b c b | ..
        PaddingMode::Reflect => match q.rem_euclid(2 * extent - 2) {
            forth if forth < extent => Folded::At(forth),
            back => Folded::At(2 * extent - 2 - back),
        },
        // a b c c b a | a b c c b a | ..
        PaddingMode::Symmetric => match q.rem_euclid(2 * extent) {
            forth if forth < extent => Folded::At(forth),
            back => Folded::At(2 * extent - 1 - back),
        },
        PaddingMode::Replicate => Folded::At(if q < 0 { 0 } else { extent - 1 }),
        PaddingMode::Circular => Folded::At(q.rem_euclid(extent)),
    }
}

/// Flat position of an element of image `n`.
fn element(
    layout: Layout,
    n: usize,
    channels: usize,
    channel: usize,
    positions: usize,
    at: usize,
) -> usize {
    match layout {
        Layout::ChannelsFirst => (n * channels + channel) * positions + at,
        Layout::ChannelsLast => (n * positions + at) * channels + channel,
    }
}

/// Row-major position of a point.
fn flat(point: &[usize], extents: &[usize]) -> usize {
    point.iter().zip(extents).fold(0, |flat, (at, extent)| flat * extent + at)
}

/// Every point of a box in row-major order, the last axis fastest.
fn points(extents: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..extents.iter().product()).map(move |mut flat| {
        let mut point = vec![0; extents.len()];
        for axis in (0..extents.len()).rev() {
            point[axis] = flat % extents[axis];
            flat /= extents[axis];
        }
        point
    })
}

#[cfg(test)]
mod tests;
