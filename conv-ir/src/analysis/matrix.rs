//! A convolution as a sparse matrix: outputs = matrix * inputs, with weights for entries.
//!
//! In: a small convolution. Out: which weight stands where. A 3 x 3 window on a 4 x 4 input is the
//! 4 x 16 matrix of the textbooks, and the transposed convolution of the same numbers is that
//! matrix transposed, which is where its name comes from. It is of one image, and of the sum alone:
//! bias, residual and activation come after it. It is here to look at and to test with; nothing
//! computes with it.
//!
//! Padding that repeats the input (`reflect`, ..) may put several weights in one place, where they
//! add up.

use std::fmt;

use super::window::fold;
use crate::conv::{Conv, EquationAxis};
use crate::error::Error;
use crate::{Layout, PaddingMode, Reduction};

/// More weights in it than this are not listed: they take 24 bytes each.
const MOST_TERMS: usize = 1 << 20;

/// A convolution as a matrix.
///
/// ```
/// use conv_ir::analysis::Matrix;
/// let matrix = Matrix::of(&"conv2d in 4 kernel 3".parse()?)?;
/// assert_eq!((matrix.rows(), matrix.columns()), (4, 16));
/// let text = matrix.to_string();
/// let row = "w00 w01 w02   0 w10 w11 w12   0 w20 w21 w22   0   0   0   0   0";
/// assert_eq!(text.lines().next(), Some(row));
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Sorted by row, then column, then weight.
    terms: Vec<Term>,
    rows: usize,
    columns: usize,
    weight_shape: Vec<usize>,
}

/// A weight in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// The output element.
    pub row: usize,
    /// The input element.
    pub column: usize,
    /// The weight's flat index.
    pub weight: usize,
}

impl Matrix {
    /// The matrix of a convolution whose sizes are all known.
    ///
    /// # Errors
    /// [`Error::Argument`] where a size is free, the padding is a constant (which no matrix can
    /// add), or the matrix is too large to list.
    pub fn of(conv: &Conv) -> Result<Matrix, Error> {
        let spec = conv.spec();
        if spec.reduction != Reduction::Sum {
            let message = format!("{} is no matrix of weights", spec.reduction.name());
            return Err(Error::Argument(message));
        }
        if matches!(spec.padding_mode, PaddingMode::Constant(_)) {
            let message = "padding with a constant adds to the output whatever the input is, which is no matrix";
            return Err(Error::Argument(message.to_owned()));
        }
        let geometry = Geometry::of(conv).ok_or_else(|| {
            Error::Argument("a size is known only at run time: there is no matrix yet".to_owned())
        })?;
        let pairs = spec.out_channels * conv.in_channels_per_group();
        let count =
            geometry.outputs.iter().chain(&spec.kernel).try_fold(pairs, |n, &by| n.checked_mul(by));
        let Some(count) = count.filter(|count| *count <= MOST_TERMS) else {
            return Err(Error::Argument(format!(
                "the matrix has more than {MOST_TERMS} weights in it: too many to list"
            )));
        };
        let mut terms = Vec::with_capacity(count);
        for at in points(&geometry.outputs) {
            for tap in points(&spec.kernel) {
                if let Some(from) = geometry.meets(&at, &tap, spec.padding_mode) {
                    geometry.pairs(conv, &at, &from, &tap, &mut terms);
                }
            }
        }
        terms.sort_unstable();
        Ok(Matrix {
            terms,
            rows: geometry.outputs.iter().product::<usize>() * spec.out_channels,
            columns: geometry.inputs.iter().product::<usize>() * spec.in_channels,
            weight_shape: conv.weight_shape(),
        })
    }

    /// Output elements of one image.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input elements of one image.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The weights and their places, row by row.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The weights in one place; none is a zero.
    pub fn at(&self, row: usize, column: usize) -> impl Iterator<Item = usize> {
        let first = self.terms.partition_point(|term| (term.row, term.column) < (row, column));
        let here = move |term: &&Term| (term.row, term.column) == (row, column);
        self.terms[first..].iter().take_while(here).map(|term| term.weight)
    }

    /// Rows and columns change places.
    pub fn transposed(&self) -> Matrix {
        let turned = |term: &Term| Term { row: term.column, column: term.row, ..*term };
        let mut terms: Vec<Term> = self.terms.iter().map(turned).collect();
        terms.sort_unstable();
        Matrix {
            terms,
            rows: self.columns,
            columns: self.rows,
            weight_shape: self.weight_shape.clone(),
        }
    }

    /// The matrix with these weights, times a vector.
    ///
    /// # Errors
    /// [`Error::Length`] where a slice does not fit.
    pub fn apply(&self, weight: &[f64], vector: &[f64]) -> Result<Vec<f64>, Error> {
        check("weight", weight.len(), self.weight_shape.iter().product())?;
        check("vector", vector.len(), self.columns)?;
        let mut result = vec![0.0; self.rows];
        for term in &self.terms {
            result[term.row] += weight[term.weight] * vector[term.column];
        }
        Ok(result)
    }

    /// A weight's name: `w` and its indices, those of channels left out where there is one of each.
    pub fn weight_name(&self, weight: usize) -> String {
        let mut rest = weight;
        let mut indices: Vec<usize> =
            self.weight_shape.iter().rev().map(|&n| (rest % n, rest /= n).0).collect();
        indices.reverse();
        let (channels, taps) = indices.split_at(2);
        let wide = self.weight_shape.iter().any(|&n| n > 10);
        let joined = |of: &[usize]| {
            of.iter().map(usize::to_string).collect::<Vec<_>>().join(if wide { "," } else { "" })
        };
        match self.weight_shape[..2] {
            [1, 1] => format!("w{}", joined(taps)),
            _ => format!("w{}.{}", joined(channels), joined(taps)),
        }
    }

    fn entry(&self, row: usize, column: usize) -> String {
        let names: Vec<String> =
            self.at(row, column).map(|weight| self.weight_name(weight)).collect();
        if names.is_empty() { "0".to_owned() } else { names.join("+") }
    }
}

/// Lined up, a row a line.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |row| (0..self.columns).map(|column| self.entry(row, column)).collect();
        let entries: Vec<Vec<String>> = (0..self.rows).map(row).collect();
        let width = entries.iter().flatten().map(String::len).max().unwrap_or(0);
        for row in &entries {
            let line: Vec<String> = row.iter().map(|entry| format!("{entry:>width$}")).collect();
            writeln!(f, "{}", line.join(" "))?;
        }
        Ok(())
    }
}

fn check(name: &'static str, found: usize, needed: usize) -> Result<(), Error> {
    if found == needed {
        return Ok(());
    }
    Err(Error::Length { name, found, needed, shape: format!("[{needed}]") })
}

/// Extents of both sides, and the equation.
struct Geometry {
    axes: Vec<EquationAxis>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

impl Geometry {
    fn of(conv: &Conv) -> Option<Geometry> {
        let axes = conv.equation();
        Some(Geometry {
            inputs: axes.iter().map(|axis| axis.input.known()).collect::<Option<_>>()?,
            outputs: axes.iter().map(|axis| axis.output.known()).collect::<Option<_>>()?,
            axes,
        })
    }

    /// The input position that a tap of an output meets.
    fn meets(&self, output: &[usize], tap: &[usize], mode: PaddingMode) -> Option<Vec<usize>> {
        let along = |(i, axis): (usize, &EquationAxis)| {
            let at = output[i] as i64 * axis.stride + tap[i] as i64 * axis.dilation - axis.pad_lo;
            if at % axis.lhs_dilation != 0 {
                return None;
            }
            let (at, extent) = (at / axis.lhs_dilation, self.inputs[i] as i64);
            let at = if (0..extent).contains(&at) { at } else { fold(at, extent, mode)? };
            Some(at as usize)
        };
        self.axes.iter().enumerate().map(along).collect()
    }

    /// One tap, for every pair of channels that belong to the same group.
    fn pairs(
        &self,
        conv: &Conv,
        output: &[usize],
        input: &[usize],
        tap: &[usize],
        terms: &mut Vec<Term>,
    ) {
        let (ins, outs) = (conv.in_channels_per_group(), conv.out_channels_per_group());
        let turned = |(axis, &k): (&EquationAxis, &usize)| {
            if axis.flip { axis.kernel as usize - 1 - k } else { k }
        };
        let tap: Vec<usize> = self.axes.iter().zip(tap).map(turned).collect();
        let tap = flat(&tap, &conv.spec().kernel);
        for to in 0..conv.out_channels() {
            for from in 0..ins {
                let group = to / outs;
                let pair = match conv.spec().transposed {
                    false => to * ins + from,
                    true => (group * ins + from) * outs + to % outs,
                };
                terms.push(Term {
                    row: element(conv, to, conv.out_channels(), output, &self.outputs),
                    column: element(
                        conv,
                        group * ins + from,
                        conv.in_channels(),
                        input,
                        &self.inputs,
                    ),
                    weight: pair * conv.kernel_volume() + tap,
                });
            }
        }
    }
}

/// Where an element of one image stands, in the user's layout.
fn element(conv: &Conv, channel: usize, channels: usize, at: &[usize], extents: &[usize]) -> usize {
    match conv.layout() {
        Layout::ChannelsFirst => channel * extents.iter().product::<usize>() + flat(at, extents),
        Layout::ChannelsLast => flat(at, extents) * channels + channel,
    }
}

fn flat(at: &[usize], extents: &[usize]) -> usize {
    at.iter().zip(extents).fold(0, |flat, (&i, &extent)| flat * extent + i)
}

/// Every position, the last axis fastest.
fn points(extents: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let position = |mut rest: usize| {
        let mut at: Vec<usize> = extents.iter().rev().map(|&n| (rest % n, rest /= n).0).collect();
        at.reverse();
        at
    };
    (0..extents.iter().product()).map(position)
}
