//! Whole numbers modulo others, in closed form: what would else be a loop over residues, taps or
//! outputs, as long as a description's numbers are large.
//!
//! All arithmetic is `i128`: numbers of a description are below 2^48, and here at most two of them
//! and a count meet.

/// Of the absolute values; 1 for two zeros, so that one can divide by it.
pub(crate) fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// `a * inverse = 1 (mod m)`, for coprime numbers (Euclid's algorithm, extended).
pub(crate) fn inverse(a: i128, m: i128) -> i128 {
    let (mut old, mut new) = ((a.rem_euclid(m), 1), (m, 0));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    old.1.rem_euclid(m)
}

/// The `x` with `a * x + b = 0 (mod m)`: the least of them that is not negative, and how far they
/// are apart. `None` where there is none.
pub(crate) fn congruent(a: i128, b: i128, m: i128) -> Option<(i128, i128)> {
    let common = gcd(a, m);
    let apart = m / common;
    (b % common == 0)
        .then(|| ((-b / common).rem_euclid(apart) * inverse(a / common, apart) % apart, apart))
}

/// The least `x >= 0` for which `a * x + b (mod m)` is below `within`, which is at least 1.
pub(crate) fn first_below(a: i128, b: i128, m: i128, within: i128) -> Option<i128> {
    let b = b.rem_euclid(m);
    match b < within {
        true => Some(0),
        false => first_between(a.rem_euclid(m), m, m - b, m - b + within - 1),
    }
}

/// The least `x` with `low <= a * x (mod m) <= high`, where `0 < low <= high < m` and `0 <= a < m`.
/// Without a multiple of `a` between them, `x` goes round `m` as often as puts one there: the same
/// question, modulo `a`.
fn first_between(a: i128, m: i128, low: i128, high: i128) -> Option<i128> {
    if a == 0 {
        return None;
    }
    let x = ceil_div(low, a);
    if a * x <= high {
        return Some(x);
    }
    let rounds = first_between(m % a, a, (-high).rem_euclid(a), (-low).rem_euclid(a))?;
    Some(ceil_div(low + m * rounds, a))
}

/// The sum of `floor((a * i + b) / m)` over `i` in `0..n`, of numbers that are not negative.
pub(crate) fn floor_sum(n: i128, m: i128, a: i128, b: i128) -> i128 {
    if n <= 0 {
        return 0;
    }
    // Whole parts are a triangle and a rectangle; below the line that is left, rows and columns
    // change places.
    let whole = (n - 1) * n / 2 * (a / m) + n * (b / m);
    let (a, b) = (a % m, b % m);
    let top = a * n + b;
    match top < m {
        true => whole,
        false => whole + floor_sum(top / m, a, m, top % m),
    }
}

/// For a positive divisor.
pub(crate) fn ceil_div(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms_are_what_counting_finds() {
        for m in 1..=12 {
            for (a, b) in (0..15).flat_map(|a| (-20..20).map(move |b| (a, b))) {
                let value = |x: i128| (a * x + b).rem_euclid(m);
                let hits: Vec<i128> = (0..3 * m).filter(|&x| value(x) == 0).collect();
                let found = congruent(a, b, m);
                assert_eq!(found.map(|f| f.0), hits.first().copied(), "{a} x + {b} = 0 mod {m}");
                assert!(found.is_none_or(|f| hits[1] - hits[0] == f.1), "{a} x + {b} mod {m}");
                for within in 1..=m {
                    let first = (0..m).find(|&x| value(x) < within);
                    assert_eq!(first_below(a, b, m, within), first, "{a}, {b}, {m}, {within}");
                }
                for n in 0..9 {
                    let b = b.abs();
                    let sum = (0..n).map(|i| (a * i + b) / m).sum::<i128>();
                    assert_eq!(floor_sum(n, m, a, b), sum, "{n}, {m}, {a}, {b}");
                }
            }
        }
    }
}
