//! Roots of unity in arithmetic that every machine has: their bits are part of the result's.

use std::f64::consts::FRAC_PI_4;

/// `e^(2 pi i turn / of)`, within two units of the last place. `of` is not 0, and small enough
/// that 8 times it fits.
pub(super) fn root(turn: u64, of: u64) -> (f64, f64) {
    let eighths = turn % of * 8;
    let (octant, rest) = (eighths / of, eighths % of);
    // In every other octant the angle is measured from its end.
    let part = if octant % 2 == 0 { rest } else { of - rest };
    let (cos, sin) = near_zero(part as f64 / of as f64 * FRAC_PI_4);
    match octant {
        0 => (cos, sin),
        1 => (sin, cos),
        2 => (-sin, cos),
        3 => (-cos, sin),
        4 => (-cos, -sin),
        5 => (-sin, -cos),
        6 => (sin, -cos),
        _ => (cos, -sin),
    }
}

/// Cosine and sine of what is at most an eighth of a turn, by Taylor: the first term left out is
/// below 1e-17.
fn near_zero(x: f64) -> (f64, f64) {
    let square = x * x;
    let series = |first: u32| {
        let steps = (1..=8u32).rev().map(|k| f64::from((2 * k + first - 1) * (2 * k + first)));
        steps.fold(1.0, |sum, divisor| 1.0 - sum * square / divisor)
    };
    (series(0), x * series(1))
}

#[cfg(test)]
mod tests {
    use super::root;

    #[test]
    fn roots_are_those_of_unity() {
        for of in [1u64, 2, 3, 4, 8, 12, 96, 1 << 18, 3 << 16] {
            for turn in (0..of).step_by((of / 97 + 1) as usize).chain([of - 1, of, 3 * of + 1]) {
                let (cos, sin) = root(turn, of);
                let angle = (turn % of) as f64 / of as f64 * std::f64::consts::TAU;
                let off = (cos - angle.cos()).abs().max((sin - angle.sin()).abs());
                assert!(off < 1e-15, "{turn}/{of}: {off:e}");
                assert!((cos * cos + sin * sin - 1.0).abs() < 4.0 * f64::EPSILON);
            }
        }
        assert_eq!([root(0, 5), root(1, 4), root(2, 4), root(3, 4)], EXACT);
    }

    const EXACT: [(f64, f64); 4] = [(1.0, 0.0), (-0.0, 1.0), (-1.0, -0.0), (0.0, -1.0)];
}
