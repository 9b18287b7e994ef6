//! Windows of whole numbers as two passes, with the same bits.
//!
//! ```text
//! conv2d u8 x i8 -> u8 kernel 5x5  ->  conv2d u8 x i8 -> i16 kernel 1x5,
//!                                      then conv2d i16 x i8 -> u8 kernel 5x1
//! ```
//!
//! In: a description of integers with known weights. Out: two descriptions, along the rows first,
//! where neighbouring taps are neighbouring bytes; down the columns the vectors of a row are read
//! by all rows near it. Sums of integers are modulo 2^32, in any order, and what lies between the
//! passes fits in 16 bits whatever the input: nothing is rounded, so nobody has to ask for it.

use super::{Separable, most_pairs, passes};
use crate::conv::{Conv, ConvSpec};
use crate::{DType, Types};

/// A column and a row.
type Factors = (Vec<i64>, Vec<i64>);

/// What lies between the passes.
const BETWEEN: DType = DType::I16;

/// The two passes, where every window is a column times a row, and that is less work; sizes must be
/// known.
///
/// ```
/// use conv_ir::{Conv, separate::separate_whole};
/// let blur = [1.0, 4.0, 6.0, 4.0, 1.0];
/// let blur: Vec<f64> = blur.iter().flat_map(|x| blur.map(|y| x * y)).collect();
/// let conv: Conv = "conv2d u8 x i8 -> u8 in 9x9 kernel 5x5 pad 2".parse()?;
/// let passes = separate_whole(&conv.with_weights(&blur, None)?).expect("of rank one");
/// assert_eq!(passes.to_string(), "rank 1: [1 4 6 4 1]^T x [1 4 6 4 1], exact");
/// # Ok::<(), conv_ir::Error>(())
/// ```
pub fn separate_whole(conv: &Conv) -> Option<Separable> {
    most_pairs(conv).filter(|_| conv.types().accumulator.is_integer())?;
    let (known, types) = (conv.known()?, conv.types());
    let [height, width] = [conv.axes()[0].kernel, conv.axes()[1].kernel];
    let windows = known.weight.chunks(height * width);
    let fits = |(column, row): &Factors| {
        let is_weight = |tap: &i64| types.weight.round(*tap as f64) == *tap as f64;
        let all_fit = column.iter().chain(row).all(is_weight);
        all_fit && reach(row, types.input).is_some_and(|(least, most)| is_between(least, most))
    };
    let all: Option<Vec<_>> = windows.map(|w| factors(w, width).filter(fits)).collect();
    let all = all?;
    let numbers = |of: &dyn Fn(&Factors) -> Vec<i64>| -> Vec<f64> {
        all.iter().flat_map(of).map(|tap| tap as f64).collect()
    };
    let [first, second] = passes(conv, 1, conv.spec().out_channels)?;
    let sums = Types::of(types.input, types.weight).giving(BETWEEN);
    let first = ConvSpec { types: sums, ..first };
    let second = ConvSpec { types: Types { input: BETWEEN, ..types }, ..second };
    let (rows, bias) = (numbers(&|pair| pair.1.clone()), known.bias.as_ref().map(|b| &b[..]));
    let second = Conv::new(second).ok()?.with_weights(&numbers(&|pair| pair.0.clone()), bias);
    let in_floats = |of: &[i64]| of.iter().map(|tap| *tap as f64).collect();
    Some(Separable {
        first: Conv::new(first).ok()?.with_weights(&rows, None).ok()?,
        second: second.ok()?.requantised_as(conv),
        factors: all.first().map(|(c, r)| (in_floats(c), in_floats(r))).into_iter().collect(),
        exact: true,
        sums: (0.0, 0.0),
        largest_bias: 0.0,
    })
}

fn is_between(least: i64, most: i64) -> bool {
    BETWEEN.range().is_some_and(|(lo, hi)| lo <= least && most <= hi)
}

/// The least and the greatest sum of any of the taps, under inputs of a type.
fn reach(row: &[i64], input: DType) -> Option<(i64, i64)> {
    let (lo, hi) = input.range()?;
    let sum = |of: &dyn Fn(i64, i64) -> i64| {
        row.iter().try_fold(0i64, |sum, tap| sum.checked_add(of(tap * lo, tap * hi)))
    };
    Some((sum(&|a, b| a.min(b).min(0))?, sum(&|a, b| a.max(b).max(0))?))
}

/// A column and a row of whole numbers whose products are the window; the row has no common factor.
fn factors(window: &[f64], width: usize) -> Option<Factors> {
    let whole =
        |tap: &f64| (tap.fract() == 0.0 && tap.abs() < 2f64.powi(31)).then_some(*tap as i64);
    let taps: Vec<i64> = window.iter().map(whole).collect::<Option<_>>()?;
    let height = taps.len() / width;
    let Some(at) = taps.iter().position(|tap| *tap != 0) else {
        return Some((vec![0; height], vec![0; width]));
    };
    let row = &taps[at / width * width..][..width];
    let common = row.iter().fold(0, |common, tap| greatest_common(common, tap.abs()));
    let row: Vec<i64> = row.iter().map(|tap| tap / common).collect();
    let column: Vec<i64> =
        taps[at % width..].iter().step_by(width).map(|tap| tap / row[at % width]).collect();
    let is_product =
        |(at, tap): (usize, &i64)| column[at / width].checked_mul(row[at % width]) == Some(*tap);
    taps.iter().enumerate().all(is_product).then_some((column, row))
}

fn greatest_common(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(text: &str, column: &[i64], row: &[i64]) -> Option<Separable> {
        let window = column.iter().flat_map(|u| row.iter().map(move |v| (u * v) as f64));
        let window: Vec<f64> = window.collect();
        let conv: Conv = text.parse().expect(text);
        let repeated = window.repeat(conv.weight_len() / window.len());
        separate_whole(&conv.with_weights(&repeated, None).expect("legal"))
    }

    #[test]
    fn a_window_of_rank_one_is_two_passes() {
        let text = "conv2d u8 x i8 -> u8 g3 ic3 oc3 in 9x11 kernel 5x7 pad 2,3";
        let (column, row) = ([2, 8, 12, 8, 2], [-1, -2, -3, 0, 3, 2, 1]);
        let found = passes(text, &column, &row).expect("of rank one");
        let kernels = [&found.first, &found.second].map(|conv| conv.spec().kernel.clone());
        assert_eq!(kernels, [[1, 7], [5, 1]]);
        let types: Types = text.parse::<Conv>().expect("legal").types();
        assert_eq!(found.first.types().output, BETWEEN);
        assert_eq!(found.second.types(), Types { input: BETWEEN, ..types });
        let taps = |conv: &Conv| conv.known().expect("known").weight.to_vec();
        let floats = |of: &[i64]| of.iter().map(|tap| *tap as f64).collect::<Vec<_>>();
        assert_eq!(taps(&found.first)[..7], floats(&row));
        assert_eq!(taps(&found.second)[..5], floats(&column));
        // A common factor belongs to the column.
        let found = passes(text, &[1, 2, 3, 2, 1], &row.map(|tap| 3 * tap)).expect("of rank one");
        assert_eq!(taps(&found.first)[..7], floats(&row));
    }

    #[test]
    fn what_does_not_fit_between_stays_whole() {
        let column = [1; 5];
        let text = "conv2d u8 x i8 -> u8 in 9x9 kernel 5x5 pad 2";
        // 255 * 128 is less than 2^15, 255 * 129 is not.
        assert!(passes(text, &column, &[31, 32, 33, 31, 1]).is_some());
        assert!(passes(text, &column, &[31, 32, 33, 31, 2]).is_none());
        assert!(
            passes("conv2d u8 x i8 -> u8 in 9x9 kernel 3x3 pad 1", &[1; 3], &[1, 2, 1]).is_none(),
            "it is short"
        );
        assert!(passes("conv2d in 9x9 kernel 5x5 pad 2", &column, &column).is_none(), "floats");
        let padded = "conv2d u8 x i8 -> u8 in 9x9 kernel 5x5 pad 2 mode constant(7)";
        assert!(passes(padded, &column, &column).is_none(), "padding is no sum of padding");
    }
}
