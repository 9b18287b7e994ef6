//! The matrices against the definition, and the worst cases against the literature.

use super::*;
use crate::Conv;

/// Every size with at most eight points.
fn sizes() -> impl Iterator<Item = (usize, usize)> {
    (2..8).flat_map(|outputs| (2..8).map(move |taps| (outputs, taps)))
}

#[test]
fn output_i_takes_tap_j_from_input_i_plus_j() {
    let mut count = 0;
    for (outputs, taps) in sizes() {
        let points: Option<Vec<Ratio>> = POINTS.get(outputs + taps - 3).map(|points| {
            points.iter().map(|&(above, below)| Ratio::from(above).over(below).unwrap()).collect()
        });
        let Some(exact) = points.and_then(|points| Exact::new(outputs, taps, &points)) else {
            assert!(Transform::new(outputs, taps).is_none());
            continue;
        };
        count += 1;
        for i in 0..outputs {
            for j in 0..taps {
                for l in 0..outputs + taps - 1 {
                    let products = (0..exact.b.len()).map(|k| {
                        let product = exact.a[i][k].times_ratio(exact.g[k][j]);
                        product.and_then(|x| x.times_ratio(exact.b[k][l])).unwrap()
                    });
                    let sum = products.fold(Ratio::ZERO, |sum, x| sum.plus(x).unwrap());
                    let wanted = Ratio::from(i64::from(l == i + j));
                    assert_eq!(sum, wanted, "F({outputs}, {taps}): output {i}, tap {j}, input {l}");
                }
            }
        }
    }
    assert_eq!(count, 21); // 2 + 2 to 2 + 7 .. 7 + 2
}

#[test]
fn scaled_matrices_are_exact_in_single_precision() {
    for (outputs, taps) in sizes() {
        let Some(axis) = Transform::new(outputs, taps) else { continue };
        assert_eq!((axis.inputs(), axis.outputs()), (outputs + taps - 1, outputs));
        assert_eq!(axis.taps(), taps);
        for x in axis.a.iter().chain(&axis.b).flatten() {
            assert_eq!(f64::from(*x as f32), *x, "F({outputs}, {taps})");
        }
        for i in 0..outputs {
            for j in 0..taps {
                for l in 0..axis.inputs() {
                    let points = axis.g.iter().zip(&axis.b).zip(&axis.a[i]);
                    let sum: f64 = points.map(|((g, b), a)| a * g[j] * b[l]).sum();
                    let wanted = f64::from(u8::from(l == i + j));
                    assert!((sum - wanted).abs() < 1e-12, "F({outputs}, {taps}): {sum}");
                }
            }
        }
    }
}

#[test]
fn worst_cases_are_the_published_ones() {
    let worst = |outputs, taps| {
        let axis = Transform::new(outputs, taps).unwrap();
        (axis.worst() * 100.0).round() / 100.0
    };
    assert_eq!([worst(2, 2), worst(2, 3), worst(3, 3), worst(4, 3)], [3.0, 4.0, 7.34, 12.33]);
    assert_eq!([worst(5, 3), worst(6, 3), worst(2, 5), worst(4, 5)], [23.63, 39.56, 12.33, 39.56]);
    let textbook = [0, 1, -1, 2, -2].map(Ratio::from);
    let textbook = Exact::new(4, 3, &textbook).unwrap();
    assert_eq!((textbook.worst() * 100.0).round(), 2933.0);
}

#[test]
fn what_saves_nothing_or_loses_too_much_is_none() {
    for (outputs, taps) in [(0, 3), (1, 3), (4, 1), (4, 0), (7, 3), (usize::MAX, 3)] {
        assert_eq!(Transform::new(outputs, taps), None);
    }
}

#[test]
fn tiles_lie_in_one_another_as_far_as_there_are_outputs() {
    let tiles = |text: &str| {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        Tiles::of(&conv).map(|tiles| tiles.len())
    };
    let all = tiles("conv1d ic4 oc4 in 24 kernel 3");
    assert_eq!(tiles("conv1d ic4 oc4 in 24 kernel 3 dilation 8"), all);
    let why = "it is dilated by more than its output is long";
    assert_eq!(tiles("conv1d ic4 oc4 in 24 kernel 3 dilation 9"), Err(why));
    assert_eq!(tiles("conv1d in 4 kernel 3 dilation 1000000007 pad same-upper"), Err(why));
}
