//! A program whose input comes piece by piece along one axis that has no length.
//!
//! ```text
//! conv1d kernel 3 pad 2:0; conv1d kernel 3 pad 1        inputs so far     tensor 1    tensor 2
//!                                                       0                 0           0
//!                                                       5                 5           4
//!                                                       5, and no more    5           5
//! ```
//!
//! In: a program with a free size, pieces that code is made for. Out: a [`Stream`], which is
//! arithmetic: how many outputs of each step are known with so many inputs, which input an output
//! reads first, how many positions of each tensor must stay until its last reader has been there,
//! and the convolutions that compute a piece. Each of them has no padding along the axis: what lies
//! before the first position of a tensor, and behind its last one, is in memory like everything
//! else, as what the reader finds in its padding: a number, or what the padding repeats. Where it
//! is mirrored, the first outputs wait for what it mirrors.
//!
//! Every output is the sum that it was in the whole run, so the bits do not depend on the pieces.
//! Positions go on counting as long as the stream does; there are 2^62 of them.

pub mod driver;
pub mod line;
mod memory;
mod parts;

use std::ops::Range;

use super::Program;
use crate::conv::{PerAxis, axis_name};
use crate::{Conv, ConvSpec, Error, Padding, PaddingMode, Reduction, Size};
use line::{Line, Repeat};
pub use memory::Ring;
pub use parts::Cut;

/// The files of [`mod@line`] and [`driver`], which emitted Rust has as they stand.
pub const SOURCES: [(&str, &str); 2] =
    [("line", include_str!("stream/line.rs")), ("driver", include_str!("stream/driver.rs"))];

/// Positions that code is made for, where nothing is said: of blocks that audio comes in, of the
/// rest of other ones, and one.
pub const PIECES: [usize; 3] = [64, 8, 1];

/// The largest product of strides, along the axis.
const MOST_RATE: i128 = 1 << 20;

/// A program along an axis without a length.
///
/// ```
/// use conv_ir::program::stream::Stream;
/// let first = "conv1d oc8 in T kernel 3 dilation 4 padding causal";
/// let program: conv_ir::Program = format!("{first}; conv1d oc1 kernel 3 pad 1").parse()?;
/// let stream = Stream::new(&program, 0, &[64])?;
/// // The second step looks one position ahead.
/// assert_eq!((stream.known(64), stream.total(64)), (63, 64));
/// assert_eq!((stream.held[0], stream.held[1], stream.first()), (8, 2, 2));
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    /// The axis, counted from the outermost.
    pub axis: usize,
    /// The steps, first one first.
    pub steps: Vec<StreamStep>,
    /// Of each tensor but the output: positions that its readers may still need when all that is
    /// known has been computed. More is never needed.
    pub held: Vec<i64>,
    /// Largest piece of each tensor: of the input, then of each step's outputs.
    pub pieces: Vec<i64>,
    /// How many positions of each tensor are in memory.
    pub rings: Vec<Ring>,
}

/// A step along the axis.
#[derive(Clone, Debug)]
pub struct StreamStep {
    /// Outputs that are computed at a time, with their convolution; most first.
    pub convs: Vec<(i64, Conv)>,
    /// What its padding reads, where that is a number.
    pub fill: f64,
    /// The tensor that it adds.
    pub residual: Option<usize>,
    /// Padding along the axis is multiplied by weights, which must be finite.
    pub multiplies_padding: bool,
    /// Its numbers along the axis.
    pub line: Line,
    /// How its window is cut, where it is not computed as a whole.
    pub cut: Option<Cut>,
    /// Why a long window is computed as a whole, where the accuracy allows parts.
    pub whole: Option<String>,
}

impl Stream {
    /// Prepares a program for pieces of so many inputs; others are put together of them.
    ///
    /// # Errors
    /// [`Error::Argument`] for an axis that is not there or whose size is known, for another size
    /// that is free, or for a piece of nothing; [`Error::Unsupported`] for padding that reads what
    /// comes later, for divisors that depend on the position, and for a residual from outside.
    pub fn new(program: &Program, axis: usize, pieces: &[usize]) -> Result<Stream, Error> {
        check_sizes(program, axis, pieces)?;
        check_row(program)?;
        let several = program.steps().len() > 1;
        let numbered =
            |at: usize| move |error| if several { super::of_step(at + 1, error) } else { error };
        let mut steps = Vec::with_capacity(program.steps().len());
        let mut rates = vec![(1i128, 1i128)];
        let mut most = vec![pieces.iter().copied().max().unwrap_or(1) as i64];
        for (at, step) in program.steps().iter().enumerate() {
            let line = line_of(&step.conv, axis);
            refuse(&step.conv, axis, at)?;
            if step.conv.spec().residual && step.residual.is_none() {
                return Err(unsupported("a residual of the caller's", at));
            }
            if step.conv.scales() {
                return Err(unsupported("a number for each channel that scales", at));
            }
            let rate = rate(rates[at], &line).ok_or_else(|| unsupported("strides", at))?;
            rates.push(rate);
            let mut sizes: Vec<i64> =
                pieces.iter().map(|piece| of_rate(*piece, rate, &line)).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            sizes.dedup();
            let convs = sizes.iter().map(|&size| Ok((size, piece(&step.conv, axis, &line, size)?)));
            let convs: Vec<_> = convs.collect::<Result<_, Error>>().map_err(numbered(at))?;
            most.push(sizes[0]);
            let spec = step.conv.spec();
            let is_padded = (line.lo, line.hi) != (0, 0) || line.transposed;
            let zeros = spec.padding_mode == PaddingMode::Zeros;
            steps.push(StreamStep {
                convs,
                fill: match spec.padding_mode {
                    PaddingMode::Constant(value) => value,
                    _ => spec.reduction.start(),
                },
                residual: step.residual,
                multiplies_padding: is_padded && zeros && spec.reduction.has_weight(),
                line,
                cut: None,
                whole: None,
            });
        }
        let held = held(&steps)?;
        let rings = memory::rings(program, axis, (&steps, &held, &most));
        Ok(Stream { axis, steps, held, pieces: most, rings })
    }

    /// Outputs that are known with so many inputs, whatever follows.
    pub fn known(&self, inputs: i64) -> i64 {
        line::known(self.lines(), inputs)
    }

    /// Outputs of an input of that length; 0 where it is too short for one.
    pub fn total(&self, inputs: i64) -> i64 {
        line::total(self.lines(), inputs)
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        self.steps.iter().map(|step| step.line)
    }

    /// With how many inputs the first output is known.
    pub fn first(&self) -> i64 {
        let mut enough = 1i64;
        while self.known(enough) < 1 && enough < 1 << 50 {
            enough *= 2;
        }
        let (mut less, mut enough) = (0, enough);
        while enough - less > 1 {
            let middle = less + (enough - less) / 2;
            if self.known(middle) < 1 { less = middle } else { enough = middle }
        }
        enough
    }
}

fn unsupported(what: &str, at: usize) -> Error {
    let message = format!("{what} of step {} cannot be streamed", at + 1);
    Error::Unsupported { route: "stream", message }
}

fn check_sizes(program: &Program, axis: usize, pieces: &[usize]) -> Result<(), Error> {
    let wrong = |message: String| Err(Error::Argument(message));
    let spec = program.steps()[0].conv.spec();
    let rank = spec.input.len();
    if axis >= rank {
        return wrong(format!("there is no axis {axis}: the program has {rank} spatial axes"));
    }
    let name = axis_name(rank, axis);
    for (at, size) in spec.input.iter().enumerate() {
        match size {
            Size::Known(n) if at == axis => {
                return wrong(format!(
                    "the {name} that is streamed is {n}: give it a name, as `T`"
                ));
            }
            Size::Free(free) if at != axis => {
                return wrong(format!(
                    "the size {free} is free: only the {name} that is streamed may be"
                ));
            }
            _ => {}
        }
    }
    match &spec.batch {
        Size::Free(free) => {
            return wrong(format!("the size {free} of the batch is free: give it a value"));
        }
        Size::Known(0) => return wrong("a batch of no images cannot be streamed".to_owned()),
        Size::Known(_) => {}
    }
    const MOST_PIECE: usize = 1 << 24;
    if pieces.is_empty() || pieces.iter().any(|piece| !(1..=MOST_PIECE).contains(piece)) {
        return wrong(format!(
            "pieces of {pieces:?} positions: give lengths from 1 to {MOST_PIECE}"
        ));
    }
    Ok(())
}

/// Pieces go from each step to the next.
fn check_row(program: &Program) -> Result<(), Error> {
    let why = match program.first_branch() {
        _ if program.is_row() => return Ok(()),
        Some(at) => format!("step {} reads another tensor than the one before it", at + 1),
        None => format!("it gives {} tensors", program.outputs().len()),
    };
    let message = format!("{why}: a program that is streamed is a row of steps with one output");
    Err(Error::Unsupported { route: "stream", message })
}

/// The numbers of a convolution along an axis.
fn line_of(conv: &Conv, axis: usize) -> Line {
    let along = &conv.axes()[axis];
    let transposed = conv.spec().transposed;
    let is_padded = along.padding != (0, 0) || transposed;
    let repeat = match conv.spec().padding_mode {
        PaddingMode::Reflect => Some(Repeat::Reflect),
        PaddingMode::Symmetric => Some(Repeat::Symmetric),
        PaddingMode::Replicate => Some(Repeat::Replicate),
        // The one that is refused where there is padding.
        PaddingMode::Circular => None,
        PaddingMode::Zeros | PaddingMode::Constant(_) => None,
    };
    Line {
        stride: along.stride as i64,
        transposed,
        reach: along.dilation as i64 * (along.kernel as i64 - 1),
        lo: along.padding.0 as i64,
        hi: along.padding.1 as i64,
        output_padding: along.output_padding as i64,
        repeat: repeat.filter(|_| is_padded),
    }
}

/// What cannot be known as a stream goes on.
fn refuse(conv: &Conv, axis: usize, at: usize) -> Result<(), Error> {
    let (spec, along) = (conv.spec(), &conv.axes()[axis]);
    let padded = along.padding != (0, 0);
    if padded && spec.padding_mode == PaddingMode::Circular {
        return Err(unsupported("circular padding, whose first output reads the last input,", at));
    }
    let zeros = spec.padding_mode == PaddingMode::Zeros;
    let by_place = match spec.reduction {
        Reduction::Average { count_include_pad: true } => conv.counts_overhang(),
        Reduction::Average { count_include_pad: false } => padded && zeros,
        _ => false,
    };
    if by_place {
        return Err(unsupported(
            "an average whose divisor is another one at the ends (count_include_pad, or no padding, gives it one)",
            at,
        ));
    }
    Ok(())
}

/// Outputs for inputs, as a fraction in lowest terms.
fn rate((up, down): (i128, i128), line: &Line) -> Option<(i128, i128)> {
    let stride = i128::from(line.stride);
    let (up, down) = if line.transposed { (up * stride, down) } else { (up, down * stride) };
    let common = crate::numbers::gcd(up, down);
    let (up, down) = (up / common, down / common);
    (up <= MOST_RATE && down <= MOST_RATE).then_some((up, down))
}

/// Outputs of a step that come with a piece of the input.
fn of_rate(piece: usize, (up, down): (i128, i128), line: &Line) -> i64 {
    let outputs = (piece as i128 * up + down - 1) / down;
    let each = i128::from(line.each());
    ((outputs + each - 1) / each * each) as i64
}

/// The convolution of so many outputs, without padding along the axis.
fn piece(conv: &Conv, axis: usize, line: &Line, outputs: i64) -> Result<Conv, Error> {
    let start = line.start();
    let inputs = line.first_input(start)..line.end_input(start + outputs);
    let mut input = conv.spec().input.clone();
    let mut padding: Vec<_> = conv.axes().iter().map(|axis| axis.padding).collect();
    let mut output_padding: Vec<_> = conv.axes().iter().map(|axis| axis.output_padding).collect();
    input[axis] = Size::Known((inputs.end - inputs.start) as usize);
    (padding[axis], output_padding[axis]) = match line.transposed {
        false => ((0, 0), 0),
        true => cropped(line, start..start + outputs, &inputs),
    };
    let made = Conv::new(ConvSpec {
        input,
        padding: Padding::Explicit(PerAxis::Each(padding)),
        output_padding: PerAxis::Each(output_padding),
        ceil_mode: false,
        ..conv.spec().clone()
    })?;
    Ok(made.knowing_as(conv))
}

/// Crop and output padding of a transposed step from these inputs to these outputs.
fn cropped(line: &Line, outputs: Range<i64>, inputs: &Range<i64>) -> ((usize, usize), usize) {
    let before = outputs.start + line.lo - inputs.start * line.stride;
    let after = (inputs.end - 1) * line.stride + line.reach + 1 - (outputs.end + line.lo);
    ((before as usize, after.max(0) as usize), (-after).max(0) as usize)
}

/// Positions of each tensor that its readers may still need.
fn held(steps: &[StreamStep]) -> Result<Vec<i64>, Error> {
    let of = |step: &StreamStep| {
        let line = &step.line;
        // All of the padding is there beside what it repeats.
        let front = if line.repeat.is_some() { line.lo + line.front() } else { 0 };
        let back = if line.repeat.is_some() { line.hi + line.back() } else { 0 };
        line.held().max(front).max(back)
    };
    let mut held: Vec<i64> = steps.iter().map(of).collect();
    for (at, step) in steps.iter().enumerate() {
        let Some(from) = step.residual else { continue };
        // Free sizes have the same name where every step between keeps the length.
        if steps[from..=at].iter().any(|step| step.line.stride > 1) {
            return Err(unsupported("a residual from before strides", at));
        }
        let behind: i64 = steps[from..=at].iter().map(|step| -step.line.windows(0)).sum();
        held[from] = held[from].max(behind);
    }
    Ok(held)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
