//! One window as two: a known window of rank one is a column times a row, and `kh + kw`
//! multiply-adds do the work of `kh * kw`. One of rank `r` is the sum of `r` such products.
//!
//! ```text
//! 1 0 -1     1
//! 2 0 -2  =  2  x  [1 0 -1]      conv2d kernel 3x3  ->  conv2d kernel 3x1, then conv2d kernel 1x3
//! 1 0 -1     1                   of rank r              r channels between them, which the second
//!                                                       sums
//! ```
//!
//! In: a description with known weights. Out: two descriptions that run one after the other, and
//! what that costs in accuracy. Sums are put together in another order, so the bits change: this is
//! for those who asked for [`Accuracy::Fast`], and [`Separable::bound`] says how far off a result
//! may be.
//!
//! Sums of integers have no such order: they are two passes whatever is asked for
//! ([`separate_whole`]).
//!
//! The factors are exact where a row and a column of the window divide so (tolerance zero).
//! Otherwise they are the leading pairs of the singular value decomposition, as few as leave no tap
//! off by more than [`TOLERANCE`] units in the last place of the largest tap for each pair: as far
//! as a window that was computed and rounded is from its own formula.

mod singular;
mod whole;

use std::fmt;

use crate::accuracy::{gamma, sums_of_weights};
use crate::conv::{Conv, ConvAxis, ConvSpec, Layout, Padding, PaddingMode, PerAxis, Size};
use crate::{DType, Reduction, Types};

pub use crate::accuracy::Accuracy;
use singular::{columns, decomposed};
pub use whole::separate_whole;

/// The most that a tap may be off for each pair, in units in the last place of the largest tap.
pub const TOLERANCE: f64 = 4.0;

/// Pairs at most. A window so large that more of them were less work is less work by FFT.
const MOST_PAIRS: usize = 16;

/// Two passes in the place of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Separable {
    /// Down the columns: the input's size to the output's rows. Of integers along the rows.
    pub first: Conv,
    /// Along the rows, of integers down the columns: the rest, with bias, residual and activation.
    pub second: Conv,
    /// The columns and the rows of the first window, the largest product first.
    pub factors: Vec<(Vec<f64>, Vec<f64>)>,
    /// Whether columns times rows are the window to the last bit, for every window.
    pub exact: bool,
    /// Largest sum over a window of |column * row|, and of what its taps are off.
    sums: (f64, f64),
    largest_bias: f64,
}

impl Separable {
    /// How far an output may be from the exact sum (before the activation), where no input is
    /// larger than `largest`: rounding as in any sum of `kh + r kw` products (Higham, Accuracy and
    /// Stability of Numerical Algorithms, 3.5), and what the taps are off.
    pub fn bound(&self, largest: f64) -> f64 {
        let column = self.factors.first().map_or(0, |pair| pair.0.len());
        let rows: usize = self.factors.iter().map(|pair| pair.1.len()).sum();
        let steps = column + rows;
        let unit = self.first.dtype().unit();
        let gamma = gamma(steps, unit);
        gamma * (self.sums.0 * largest + self.largest_bias) + self.sums.1 * largest
    }
}

impl Separable {
    /// The largest part of the sum of |weights| that an output may be off for an input of 1, over
    /// the windows of `conv`, which these two passes stand for.
    pub(crate) fn relative_bound(&self, conv: &Conv) -> f64 {
        let known = conv.known().map_or(&[][..], |known| &known.weight);
        let sums = sums_of_weights(conv, known).into_iter();
        (self.bound(1.0) - self.bound(0.0)) / sums.fold(f64::INFINITY, f64::min)
    }
}

impl fmt::Display for Separable {
    /// `rank 1: [1 2 1]^T x [1 0 -1], exact`; of more the first pair.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |of: &[f64]| match of {
            [a, b, .., z] if of.len() > 7 => format!("[{a:.4} {b:.4} .. {z:.4}]"),
            of => format!(
                "[{}]",
                of.iter()
                    .map(|x| format!("{}", (x * 1e4).round() / 1e4))
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
        };
        let how = match self.exact {
            true => "exact".to_owned(),
            false => {
                let units = self.factors.len() as f64 * TOLERANCE;
                format!("taps within {units} units in the last place of the largest")
            }
        };
        let [(column, row), others @ ..] = &self.factors[..] else {
            return f.write_str("rank 0");
        };
        let more = if others.is_empty() { "" } else { " + .." };
        let pairs = self.factors.len();
        write!(f, "rank {pairs}: {}^T x {}{more}, {how}", list(column), list(row))?;
        match self.bound(1.0) {
            // Of integers, which are not rounded.
            0.0 => Ok(()),
            bound => write!(f, "; error at most {bound:.1e} of the largest input"),
        }
    }
}

/// The most pairs of a column and a row that are less work than the windows, where two passes may
/// take their place at all; sizes must be known.
fn most_pairs(conv: &Conv) -> Option<usize> {
    let (spec, known) = (conv.spec(), conv.known()?);
    let [down, across] = conv.axes() else { return None };
    let (height, width) = (down.kernel, across.kernel);
    let pads = !matches!(spec.padding_mode, PaddingMode::Constant(value) if value != 0.0);
    let may = spec.in_channels == spec.groups
        && spec.reduction == Reduction::Sum
        && !spec.transposed
        && !spec.multiplies()
        && pads
        && (!spec.bias || known.bias.is_some())
        && conv.output_len().is_some_and(|len| len > 0)
        && height > 1
        && width > 1;
    let windows = known.weight.chunks(height * width);
    let taps = windows.map(|w| w.iter().filter(|tap| **tap != 0.0).count()).max()?;
    // A pass costs a trip through memory, worth about as much as its own taps.
    let most = taps / (2 * (height + width));
    (may && most > 0).then_some(most)
}

/// The two passes, the first along the axis `first`, with so many channels between them. Types are
/// not set, as they are the window's.
fn passes(conv: &Conv, first: usize, between: usize) -> Option<[ConvSpec; 2]> {
    let (spec, axes) = (conv.spec(), conv.axes());
    let channels = match spec.layout {
        Layout::ChannelsFirst => 2,
        Layout::ChannelsLast => 1,
    };
    let rows = conv.output_shape()?[channels + first];
    let along = |of: usize| {
        let one = |value: fn(&ConvAxis) -> usize| -> Vec<usize> {
            axes.iter()
                .enumerate()
                .map(|(at, axis)| if at == of { value(axis) } else { 1 })
                .collect()
        };
        let padding = |(at, axis): (usize, &ConvAxis)| if at == of { axis.padding } else { (0, 0) };
        ConvSpec {
            kernel: one(|axis| axis.kernel),
            stride: PerAxis::Each(one(|axis| axis.stride)),
            dilation: PerAxis::Each(one(|axis| axis.dilation)),
            padding: Padding::Explicit(PerAxis::Each(
                axes.iter().enumerate().map(padding).collect(),
            )),
            ..spec.clone()
        }
    };
    let mut second = along(1 - first);
    second.input = axes.iter().map(|axis| axis.input.clone()).collect();
    second.input[first] = Size::Known(rows);
    (second.in_channels, second.groups) = (between, spec.out_channels);
    let first = ConvSpec {
        out_channels: between,
        bias: false,
        residual: false,
        activation: None,
        ..along(first)
    };
    Some([first, second])
}

/// The two passes, where all windows are of so low a rank that two passes are less work; sizes must
/// be known.
pub fn separate(conv: &Conv) -> Option<Separable> {
    let (spec, known) = (conv.spec(), conv.known()?);
    let most = most_pairs(conv).filter(|_| !spec.types.accumulator.is_integer())?.min(MOST_PAIRS);
    let [height, width] = [conv.axes()[0].kernel, conv.axes()[1].kernel];
    let windows = known.weight.chunks(height * width);
    let sums = spec.types.accumulator;
    let all: Option<Vec<Factors>> = windows.map(|w| factors(w, width, most, sums)).collect();
    let mut all = all?;
    // Windows of a lower rank than others get products of nothing.
    let rank = all.iter().map(|f| f.pairs.len()).max().unwrap_or(1);
    for f in &mut all {
        f.pairs.resize(rank, (vec![0.0; height], vec![0.0; width]));
    }
    let pairs = || all.iter().flat_map(|f| &f.pairs);
    let columns: Vec<f64> = pairs().flat_map(|pair| pair.0.clone()).collect();
    let row: Vec<f64> = pairs().flat_map(|pair| pair.1.clone()).collect();
    let [first, second] = passes(conv, 0, spec.out_channels.checked_mul(rank)?)?;
    let types = spec.types;
    let first = ConvSpec { types: Types { input: types.input, ..sums.into() }, ..first };
    let ending = Types { output: types.output, bias: types.bias, ..sums.into() };
    let second = ConvSpec { types: ending, ..second };
    let bias = known.bias.as_ref();
    let largest = |of: &dyn Fn(&Factors) -> f64| all.iter().map(of).fold(0.0, f64::max);
    Some(Separable {
        first: Conv::new(first).ok()?.with_weights(&columns, None).ok()?,
        second: Conv::new(second).ok()?.with_weights(&row, bias.map(|b| &b[..])).ok()?,
        exact: all.iter().all(|f| f.off == 0.0),
        sums: (largest(&|f| f.sum), largest(&|f| f.off)),
        largest_bias: bias.map_or(0.0, |b| b.iter().fold(0.0, |most, x| most.max(x.abs()))),
        factors: all.into_iter().next()?.pairs,
    })
}

/// Columns and rows whose products add up to a window, all rounded to its type.
struct Factors {
    pairs: Vec<(Vec<f64>, Vec<f64>)>,
    /// Sum of |column * row|, over all pairs.
    sum: f64,
    /// Sum of |window - what the pairs make|.
    off: f64,
}

/// As few pairs as make the window, if that is no more than `most`.
fn factors(window: &[f64], width: usize, most: usize, dtype: DType) -> Option<Factors> {
    let round = |x: f64| dtype.round(x);
    let rounded = |(column, row): (Vec<f64>, Vec<f64>)| -> (Vec<f64>, Vec<f64>) {
        (column.into_iter().map(round).collect(), row.into_iter().map(round).collect())
    };
    let exact = measured(window, vec![rounded(divided(window, width))]);
    if exact.0.off == 0.0 {
        return Some(exact.0);
    }
    let largest = window.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let columns = columns(window, width, most, dtype.epsilon() * largest)?;
    let pairs: Vec<_> = decomposed(columns).into_iter().map(rounded).collect();
    let fits = |rank: usize| {
        let (near, worst) = measured(window, pairs[..rank].to_vec());
        (worst <= rank as f64 * TOLERANCE * dtype.epsilon() * largest).then_some(near)
    };
    (1..=most.min(pairs.len())).find_map(fits)
}

/// What the pairs make of the window, and the tap that is off most.
fn measured(window: &[f64], pairs: Vec<(Vec<f64>, Vec<f64>)>) -> (Factors, f64) {
    let width = pairs[0].1.len();
    let (mut sum, mut off, mut worst) = (0.0, 0.0, 0.0f64);
    for (at, tap) in window.iter().enumerate() {
        let products = pairs.iter().map(|(column, row)| (column[at / width], row[at % width]));
        let size: f64 = products.clone().map(|(u, v)| (u * v).abs()).sum();
        // One rounding a pair, so that a difference of nothing is none; from the second on they may
        // add up.
        let left = products.fold(-tap, |left, (u, v)| u.mul_add(v, left)).abs();
        let wrong = left + (pairs.len() - 1) as f64 * f64::EPSILON * size;
        sum += size;
        off += wrong;
        worst = worst.max(wrong);
    }
    (Factors { pairs, sum, off }, worst)
}

/// A row of the window, and the column divided by the tap where they cross: the smallest one that
/// is not zero, which keeps whole numbers whole.
fn divided(window: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let taps = window.iter().enumerate().filter(|(_, tap)| **tap != 0.0);
    let Some((at, pivot)) = taps.min_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) else {
        return (vec![0.0; window.len() / width], vec![0.0; width]);
    };
    let row = window[at / width * width..][..width].to_vec();
    let column = window[at % width..].iter().step_by(width).map(|tap| tap / pivot).collect();
    (column, row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str, weight: &[f64]) -> Conv {
        text.parse::<Conv>().and_then(|conv| conv.with_weights(weight, None)).expect("legal")
    }

    fn gaussian(taps: i64, sigma: f64) -> Vec<f64> {
        let half = taps / 2;
        let g = |x: i64| (-0.5 * ((x - half) as f64 / sigma).powi(2)).exp();
        (0..taps * taps).map(|at| g(at / taps) * g(at % taps)).collect()
    }

    #[test]
    fn a_gaussian_of_31_is_separable_and_noise_is_not() {
        let gaussian = gaussian(31, 5.0);
        let found =
            separate(&known("conv2d in 40x50 kernel 31x31 pad 15", &gaussian)).expect("rank one");
        assert_eq!(
            (found.first.spec().kernel.clone(), found.second.spec().kernel.clone()),
            (vec![31, 1], vec![1, 31])
        );
        assert!(!found.exact && found.bound(1.0) < 2e-3, "{found}");
        // One tap more is one product more; noise is of full rank.
        let mut spiked = gaussian.clone();
        spiked[100] *= 1.001;
        let spiked =
            separate(&known("conv2d in 40x50 kernel 31x31 pad 15", &spiked)).expect("rank two");
        assert_eq!(spiked.factors.len(), 2);
        let noise = |(at, tap): (usize, f64)| tap * (1.0 + 1e-3 * ((at * at) % 97) as f64);
        let noisy: Vec<f64> = gaussian.into_iter().enumerate().map(noise).collect();
        assert_eq!(separate(&known("conv2d in 40x50 kernel 31x31 pad 15", &noisy)), None);
    }

    /// The work grows with the window, not with its cube: 601x601 in moments.
    #[test]
    fn large_windows_are_made_of_few_columns() {
        let (taps, sigma) = (601, 90.0);
        let at = |at: i64| (at - taps / 2) as f64 / sigma;
        let log = |y: f64, x: f64| (y * y + x * x - 2.0) * (-0.5 * (y * y + x * x)).exp();
        let mut window: Vec<f64> =
            (0..taps * taps).map(|i| f64::from(log(at(i / taps), at(i % taps)) as f32)).collect();
        let text = "conv2d in 700 kernel 601 pad 300";
        let found = separate(&known(text, &window)).expect("rank two");
        assert_eq!(found.factors.len(), 2, "{found}");
        window.iter_mut().enumerate().for_each(|(i, tap)| *tap += ((i * i) % 97) as f64);
        assert_eq!(separate(&known(text, &window)), None);
    }

    #[test]
    fn whole_numbers_split_exactly() {
        let (column, row) = ([1.0, 4.0, 6.0, 4.0, 1.0], [-1.0, -2.0, 0.0, 2.0, 1.0]);
        let window: Vec<f64> = column.iter().flat_map(|u| row.iter().map(move |v| u * v)).collect();
        let found = separate(&known("conv2d in 9x9 kernel 5x5 pad 2 mode symmetric", &window))
            .expect("rank one");
        assert!(found.exact);
        assert!(
            found
                .to_string()
                .starts_with("rank 1: [1 4 6 4 1]^T x [-1 -2 0 2 1], exact; error at most "),
            "{found}"
        );
    }

    #[test]
    fn a_laplacian_of_a_gaussian_is_of_rank_two() {
        let (taps, sigma) = (15, 2.5);
        let at = |at: i64| (at - taps / 2) as f64 / sigma;
        let log = |y: f64, x: f64| (y * y + x * x - 2.0) * (-0.5 * (y * y + x * x)).exp();
        let window: Vec<f64> =
            (0..taps * taps).map(|i| f64::from(log(at(i / taps), at(i % taps)) as f32)).collect();
        let found =
            separate(&known("conv2d in 40x50 kernel 15x15 pad 7", &window)).expect("rank two");
        assert_eq!(found.factors.len(), 2);
        assert_eq!((found.first.spec().out_channels, found.second.spec().in_channels), (2, 2));
        assert!(found.to_string().starts_with("rank 2: ["), "{found}");
        for (i, tap) in window.iter().enumerate() {
            let made: f64 = found.factors.iter().map(|(u, v)| u[i / 15] * v[i % 15]).sum();
            assert!(
                (made - tap).abs() <= TOLERANCE * 2.0 * f64::from(f32::EPSILON),
                "{made} for {tap}"
            );
        }
    }

    #[test]
    fn small_windows_stay_whole() {
        assert_eq!(
            separate(&known(
                "conv2d in 9x9 kernel 3x3",
                &[1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0]
            )),
            None
        );
    }
}
