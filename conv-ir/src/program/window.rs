//! A window of a program's output, and the parts of every tensor that it needs.
//!
//! ```text
//! 3x3 pad 1, then 3x3 pad 1, 64 rows; outputs 0..8 and 20..28 of an axis
//!
//! outputs 0..8      step 2 reads 0..9, padding before      step 1 computes 0..9, reads 0..10
//! outputs 20..28    step 2 reads 19..29, no padding        step 1 computes 19..29, reads 18..30
//! ```
//!
//! In: a program of known sizes, ranges of its output. Out: for each step an ordinary convolution
//! of a part of its input, whose padding is what the ends of the tensor leave of it
//! ([`WindowStep`]), and the part of every tensor that is there to read ([`Window::needed`]). Each
//! output is the sum that it was, in the same order, so the bits are those of the whole.
//!
//! Axes have nothing to do with each other: a part is a range an axis ([`Part`]). Two things are no
//! convolution of a part. Padding that repeats the input (`reflect`, `circular`, ..) may reach
//! elements that no part has at its side: where a window meets it, the step reads a copy, with the
//! padding in it. And outputs whose windows lie in the padding alone have no input: as many of
//! their neighbours are computed as it takes to have some.
//!
//! [`Program::changed`] goes the other way: from a part of the input to the outputs that read it.

use std::ops::Range;

use super::{Program, Step};
use crate::analysis::{self, Needed};
use crate::conv::{ConvAxis, EquationAxis, PerAxis};
use crate::lower::fold;
use crate::nest::Fold;
use crate::{Conv, ConvSpec, Error, Padding, PaddingMode, Reduction, Size};

/// A part of a tensor: a range of positions an axis, outermost first.
pub type Part = Vec<Range<i64>>;

/// What is computed for a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The part of each tensor that is read or computed: of the input first.
    pub needed: Vec<Part>,
    /// The steps, first one first.
    pub steps: Vec<WindowStep>,
}

/// A step for a window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowStep {
    /// The convolution of the part.
    pub conv: Conv,
    /// The part of the step's input that is its input, padding left out. Where there is a
    /// [`copy`](Self::copy), that is its input.
    pub input: Part,
    /// The part of the step's output that it computes.
    pub output: Part,
    /// For each axis the positions of the step's input whose elements are copied for it, in order.
    pub copy: Option<Vec<Vec<i64>>>,
}

impl Window {
    /// Multiply-adds of all steps, those over padding left out.
    pub fn multiply_adds(&self) -> u128 {
        let each = self.steps.iter().map(|step| analysis::multiply_adds_inside(&step.conv));
        each.map(Option::unwrap_or_default).sum()
    }
}

/// Smallest part that holds both.
fn hull(a: &Part, b: &Part) -> Part {
    a.iter().zip(b).map(|(a, b)| a.start.min(b.start)..a.end.max(b.end)).collect()
}

impl Program {
    /// Spatial extents of a tensor, outermost axis first; none where a size is free.
    pub fn extents(&self, tensor: usize) -> Option<Vec<i64>> {
        let known = |extent: Option<usize>| extent.map(|n| n as i64);
        match tensor.checked_sub(1) {
            None => self.steps[0].conv.axes().iter().map(|a| known(a.input.known())).collect(),
            Some(at) => {
                self.steps[at].conv.axes().iter().map(|a| known(a.output.known())).collect()
            }
        }
    }

    /// What is computed for a window of the output, given as a range an axis.
    ///
    /// ```
    /// use conv_ir::Program;
    /// let program: Program = "conv1d in 64 kernel 3 pad 1; conv1d kernel 3 pad 1".parse()?;
    /// let window = program.window(&[20..28])?;
    /// assert_eq!(window.needed, [vec![18..30], vec![19..29], vec![20..28]]);
    /// assert_eq!(window.steps[0].conv.to_string(), "conv1d f32 n1 g1 ic1 oc1 in 12 kernel 3");
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where a size is free, or a range is empty, is missing or leaves the
    /// output; [`Error::Unsupported`] where the program gives several tensors, where the windows of
    /// an average hang over the end by `ceil_mode`, or more than 2^27 places along an axis are
    /// copied.
    pub fn window(&self, outputs: &[Range<usize>]) -> Result<Window, Error> {
        let last = self.steps.len();
        if self.outputs().len() > 1 {
            let message = format!(
                "the program gives {} tensors, but a window is a part of one",
                self.outputs().len()
            );
            return Err(Error::Unsupported { route: "window", message });
        }
        if self.inputs().len() > 1 || self.steps[0].given {
            let message = format!(
                "the program takes {} declared inputs, but a window is computed from one",
                self.inputs().len()
            );
            return Err(Error::Unsupported { route: "window", message });
        }
        if let Some(at) = self.steps.iter().position(|step| step.conv.scales()) {
            let message = format!(
                "step {} scales by a number for each channel, of which no part is a window's",
                at + 1
            );
            return Err(Error::Unsupported { route: "window", message });
        }
        let mut needed: Vec<Option<Part>> = vec![None; last + 1];
        needed[last] = Some(self.checked(last, outputs)?);
        let mut steps = Vec::with_capacity(last);
        for (at, step) in self.steps.iter().enumerate().rev() {
            // Every tensor has a reader behind it.
            let wanted = needed[at + 1].take().unwrap_or_default();
            let (window, read) = of_step(step, &wanted)
                .map_err(|error| if last == 1 { error } else { super::of_step(at + 1, error) })?;
            let mut need = |tensor: usize, part: &Part| {
                let known = &mut needed[tensor];
                *known = Some(known.as_ref().map_or(part.clone(), |known| hull(known, part)));
            };
            need(at + 1, &window.output);
            step.from.iter().for_each(|&from| need(from, &read));
            if let Some(from) = step.residual {
                need(from, &window.output);
            }
            steps.push(window);
        }
        steps.reverse();
        Ok(Window { needed: needed.into_iter().map(Option::unwrap_or_default).collect(), steps })
    }

    /// The outputs that a change of these inputs reaches, as a range an axis; none where no output
    /// reads them. Of what lies in a range not all need change: ranges are from the first output to
    /// the last.
    ///
    /// ```
    /// use conv_ir::Program;
    /// let program: Program = "conv1d in 64 kernel 3 pad 1; conv1d kernel 1 stride 2".parse()?;
    /// assert_eq!(program.changed(&[20..24])?, Some(vec![10..13]));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where a size is free, or a range is empty, is missing or leaves the
    /// input.
    pub fn changed(&self, inputs: &[Range<usize>]) -> Result<Option<Vec<Range<usize>>>, Error> {
        let mut tensors = vec![Some(self.checked(0, inputs)?)];
        for step in self.steps.iter() {
            let read = step.from.iter().filter_map(|&from| tensors[from].clone());
            let through = read.reduce(|a, b| hull(&a, &b));
            let through = through.and_then(|part| reached(&step.conv, &part));
            let added = step.residual.and_then(|from| tensors[from].clone());
            tensors.push(match (through, added) {
                (Some(a), Some(b)) => Some(hull(&a, &b)),
                (a, b) => a.or(b),
            });
        }
        let sizes = |part: Part| part.into_iter().map(|r| r.start as usize..r.end as usize);
        Ok(tensors.pop().flatten().map(|part| sizes(part).collect()))
    }

    /// Ranges of a tensor, checked.
    fn checked(&self, tensor: usize, ranges: &[Range<usize>]) -> Result<Part, Error> {
        let name = if tensor == 0 { "input" } else { "output" };
        let wrong = |message: String| Err(Error::Argument(message));
        let known = self.free_sizes().is_empty();
        let Some(extents) = self.extents(tensor).filter(|_| known) else {
            return wrong("a window is of known sizes: give the free ones values".to_owned());
        };
        if ranges.len() != extents.len() {
            let (given, rank) = (ranges.len(), extents.len());
            return wrong(format!("{given} ranges, but the {name} has {rank} spatial axes"));
        }
        for (axis, (range, &extent)) in ranges.iter().zip(&extents).enumerate() {
            if range.is_empty() || range.end > extent as usize {
                let axis = crate::conv::axis_name(extents.len(), axis);
                return wrong(format!(
                    "the range {}..{} of the {name}'s {axis} must have a position, and end at \
                     {extent} at most",
                    range.start, range.end
                ));
            }
        }
        Ok(ranges.iter().map(|range| range.start as i64..range.end as i64).collect())
    }
}

/// A step for a part of its output, and the part of its input that it reads.
fn of_step(step: &Step, wanted: &Part) -> Result<(WindowStep, Part), Error> {
    let conv = &step.conv;
    let spec = conv.spec();
    let equation = conv.equation();
    let folds = fold(spec.padding_mode);
    let mut axes = Vec::with_capacity(conv.rank());
    for ((axis, equation), wanted) in conv.axes().iter().zip(&equation).zip(wanted) {
        let along = Along::new(axis, equation);
        axes.push(match folds {
            _ if spec.transposed => along.transposed(wanted),
            None => along.padded(wanted),
            Some(fold) => along.folded(wanted, fold, spec.padding_mode)?,
        });
    }
    let leaves_out = spec.reduction == Reduction::Average { count_include_pad: true };
    for (at, (axis, found)) in conv.axes().iter().zip(&axes).enumerate() {
        if leaves_out && found.padding.1 > (axis.padding.1 - axis.overhang) as i64 {
            let message = format!(
                "a window at the end of the {} has another divisor, which leaves out what ceil_mode \
                 adds",
                crate::conv::axis_name(conv.rank(), at)
            );
            return Err(Error::Unsupported { route: "window", message });
        }
    }
    let copies = axes.iter().any(|axis| axis.copied.is_some());
    let own = |axis: &AxisPart| match &axis.copied {
        Some(positions) => Ok(positions.clone()),
        None => listed(axis.input.clone()),
    };
    let made = Conv::new(ConvSpec {
        input: axes.iter().map(|axis| Size::Known(axis.extent() as usize)).collect(),
        padding: Padding::Explicit(PerAxis::Each(
            axes.iter().map(|axis| (axis.padding.0 as usize, axis.padding.1 as usize)).collect(),
        )),
        padding_mode: if folds.is_some() { PaddingMode::Zeros } else { spec.padding_mode },
        output_padding: PerAxis::Each(axes.iter().map(|axis| axis.output_padding).collect()),
        ceil_mode: false,
        ..spec.clone()
    })?;
    let window = WindowStep {
        conv: made.knowing_as(conv),
        input: axes.iter().map(|axis| axis.input.clone()).collect(),
        output: axes.iter().map(|axis| axis.output.clone()).collect(),
        copy: copies.then(|| axes.iter().map(own).collect()).transpose()?,
    };
    Ok((window, axes.into_iter().map(|axis| axis.input).collect()))
}

/// Places of one axis that a window copies at most: a list of 1 GiB.
const LONGEST_LIST: i64 = 1 << 27;

/// The positions of a range, where there is room for so many.
fn listed(range: Range<i64>) -> Result<Vec<i64>, Error> {
    let count = range.end - range.start;
    if count > LONGEST_LIST {
        let message = format!(
            "padding that repeats the input is copied place by place, {count} along an axis, but \
             the limit is {LONGEST_LIST}: take smaller windows"
        );
        return Err(Error::Unsupported { route: "window", message });
    }
    let mut positions = crate::values::room("the places that a window copies", count as usize)?;
    positions.extend(range);
    Ok(positions)
}

/// A step for a part of its output, along one axis.
struct AxisPart {
    output: Range<i64>,
    /// Of the input, what it reads.
    input: Range<i64>,
    padding: (i64, i64),
    output_padding: usize,
    /// Where each element of its input comes from, where that is a copy.
    copied: Option<Vec<i64>>,
}

impl AxisPart {
    /// Of its input.
    fn extent(&self) -> i64 {
        match &self.copied {
            Some(positions) => positions.len() as i64,
            None => self.input.end - self.input.start,
        }
    }
}

/// An axis of a convolution whose sizes are known.
struct Along<'a> {
    axis: &'a ConvAxis,
    window: analysis::Window,
    input: i64,
    output: i64,
}

impl<'a> Along<'a> {
    fn new(axis: &'a ConvAxis, equation: &EquationAxis) -> Along<'a> {
        let known = |n: Option<usize>| n.unwrap_or(1) as i64;
        let (input, output) = (known(axis.input.known()), known(axis.output.known()));
        Along { axis, window: equation.into(), input, output }
    }

    fn whole(&self) -> AxisPart {
        AxisPart {
            output: 0..self.output,
            input: 0..self.input,
            padding: (self.axis.padding.0 as i64, self.axis.padding.1 as i64),
            output_padding: self.axis.output_padding,
            copied: None,
        }
    }

    /// The inputs from the first to the last under the windows, padding included.
    fn under(&self, outputs: &Range<i64>) -> Range<i64> {
        let first = |p: i64| p * self.window.stride - self.window.pad_lo;
        first(outputs.start)..first(outputs.end - 1) + self.window.effective_kernel()
    }

    /// Padding that is read nowhere in the input.
    fn padded(&self, wanted: &Range<i64>) -> AxisPart {
        let mut output = wanted.clone();
        let analysis::Window { stride, pad_lo, .. } = self.window;
        let under = self.under(&output);
        if under.end <= 0 {
            // The first output whose window reaches the input is the last one.
            let first = (pad_lo - self.window.reach()) + stride - 1;
            output.end = first.div_euclid(stride) + 1;
        }
        if under.start >= self.input {
            output.start = (self.input + pad_lo + stride - 1).div_euclid(stride) - 1;
        }
        if output.start < 0 || output.end > self.output {
            return self.whole();
        }
        let Needed { inside, before, after } = Needed::cut(self.under(&output), self.input);
        match inside.is_empty() {
            true => self.whole(),
            false => AxisPart {
                output,
                input: inside,
                padding: (before, after),
                output_padding: 0,
                copied: None,
            },
        }
    }

    /// Padding that repeats the input: a copy where a window meets it.
    fn folded(
        &self,
        wanted: &Range<i64>,
        fold: Fold,
        mode: PaddingMode,
    ) -> Result<AxisPart, Error> {
        let under = self.under(wanted);
        let meets = under.start < 0 || under.end > self.input;
        let mut copied = meets.then(|| listed(under.clone())).transpose()?;
        for at in copied.iter_mut().flatten() {
            *at = fold.apply(*at, self.input);
        }
        Ok(AxisPart {
            output: wanted.clone(),
            input: analysis::read(under, self.input, mode),
            padding: (0, 0),
            output_padding: 0,
            copied,
        })
    }

    /// ```text
    /// output + crop of this part = (input - first input) * stride + tap * dilation
    /// ```
    ///
    /// A crop is not negative: an input before those that are needed is taken where it would be.
    fn transposed(&self, wanted: &Range<i64>) -> AxisPart {
        let (stride, reach) = (self.axis.stride as i64, self.window.reach());
        let lo = self.axis.padding.0 as i64;
        let (start, end) = (wanted.start + lo, wanted.end + lo);
        // The first input that a tap can lead from to the first output, and the last one.
        let needed = (start - reach + stride - 1).div_euclid(stride);
        let first = needed.min(start.div_euclid(stride)).clamp(0, self.input - 1);
        let last = (end - 1).div_euclid(stride).clamp(first, self.input - 1);
        let before = start - first * stride;
        // Less than none is output padding: less than a stride of it, or what there was.
        let after = last * stride + reach + 1 - end;
        AxisPart {
            output: wanted.clone(),
            input: first..last + 1,
            padding: (before, after.max(0)),
            output_padding: (-after).max(0) as usize,
            copied: None,
        }
    }

    /// The outputs whose windows meet inputs of this range, padding that repeats them included.
    fn reached(&self, inputs: &Range<i64>, mode: PaddingMode) -> Option<Range<i64>> {
        let analysis::Window { stride, pad_lo, lhs_dilation, .. } = self.window;
        let reach = self.window.reach();
        let meeting = |positions: &Range<i64>| {
            let lo = positions.start * lhs_dilation + pad_lo - reach;
            let hi = (positions.end - 1) * lhs_dilation + pad_lo;
            let lo = (lo + stride - 1).div_euclid(stride).max(0);
            let hi = hi.div_euclid(stride).min(self.output - 1);
            (lo <= hi).then_some(lo..hi + 1)
        };
        let all = self.under(&(0..self.output));
        // All of the padding at an end that reads one of them somewhere.
        let ends = [all.start..0, self.input..all.end];
        let folds = |end: &&Range<i64>| {
            let read = match end.is_empty() || fold(mode).is_none() {
                true => 0..0,
                false => analysis::read((*end).clone(), self.input, mode),
            };
            read.start < inputs.end && inputs.start < read.end
        };
        let padding = ends.iter().filter(folds).filter_map(meeting);
        let both = |a: Range<i64>, b: Range<i64>| a.start.min(b.start)..a.end.max(b.end);
        padding.chain(meeting(inputs)).reduce(both)
    }
}

/// The outputs of a step that read some of a part of its input.
fn reached(conv: &Conv, inputs: &Part) -> Option<Part> {
    let equation = conv.equation();
    let axes = conv.axes().iter().zip(&equation).zip(inputs);
    axes.map(|((axis, equation), inputs)| {
        Along::new(axis, equation).reached(inputs, conv.spec().padding_mode)
    })
    .collect()
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
