//! The singular values of a window, and the columns and rows that belong to them.
//!
//! In: a window. Out: pairs of a column and a row, the largest product first, whose sum it is.

/// Crosses that a larger window is made of before its values are looked for: what they leave is
/// rounding, where it has few pairs.
const CROSSES: usize = 64;

/// Columns, and a row for each; rows are at right angles to each other and of length 1. Columns
/// times rows are the window.
pub(super) type Columns = (Vec<Vec<f64>>, Vec<Vec<f64>>);

/// Units in the last place of the largest tap. Complete pivoting leaves a few times what the best
/// pairs leave: from so many on, those are not good enough either.
const FAR: f64 = 1e4;

/// The columns of a window. Of one wider than [`CROSSES`] as few as make it, by elimination with
/// complete pivoting, so that the work grows no faster than the window; none if the first `most`
/// leave more than [`FAR`] units.
pub(super) fn columns(window: &[f64], width: usize, most: usize, unit: f64) -> Option<Columns> {
    let turn = |j: usize| (0..width).map(move |i| f64::from(u8::from(i == j))).collect();
    let column =
        |of: &[f64], j: usize| -> Vec<f64> { of[j..].iter().step_by(width).copied().collect() };
    if width <= CROSSES {
        return Some((0..width).map(|j| (column(window, j), turn(j))).unzip());
    }
    let mut left = window.to_vec();
    let (mut columns, mut rows): Columns = Default::default();
    while columns.len() < CROSSES {
        let taps = left.iter().enumerate();
        let (at, pivot) = taps.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
        if *pivot == 0.0 {
            break;
        }
        if columns.len() == most && pivot.abs() > FAR * unit {
            return None;
        }
        let down: Vec<f64> = column(&left, at % width).iter().map(|tap| tap / pivot).collect();
        let across = left[at / width * width..][..width].to_vec();
        for (line, by) in left.chunks_mut(width).zip(&down) {
            line.iter_mut().zip(&across).for_each(|(tap, x)| *tap -= by * x);
        }
        // What the row has of those before goes to their columns. Twice is enough (Parlett).
        let mut row = across;
        for at in (0..rows.len()).chain(0..rows.len()) {
            let (before, sum) = (&rows[at], &mut columns[at]);
            let part = dot(before, &row);
            row.iter_mut().zip(before).for_each(|(x, r)| *x -= part * r);
            sum.iter_mut().zip(&down).for_each(|(x, d)| *x += part * d);
        }
        let length = dot(&row, &row).sqrt();
        row.iter_mut().for_each(|x| *x /= length.max(f64::MIN_POSITIVE));
        columns.push(down.into_iter().map(|tap| tap * length).collect());
        rows.push(row);
    }
    Some((columns, rows))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The pairs of the singular value decomposition, the largest first, each value shared between the
/// two. One-sided Jacobi (Hestenes): columns are turned in pairs until all are at right angles.
pub(super) fn decomposed((mut columns, mut turns): Columns) -> Vec<(Vec<f64>, Vec<f64>)> {
    const SWEEPS: usize = 30;
    let count = columns.len();
    for _ in 0..SWEEPS {
        let mut turned = false;
        for (p, q) in (0..count).flat_map(|p| (p + 1..count).map(move |q| (p, q))) {
            let (a, b, c) = (
                dot(&columns[p], &columns[p]),
                dot(&columns[q], &columns[q]),
                dot(&columns[p], &columns[q]),
            );
            if c.abs() <= 1e-16 * (a * b).sqrt() || c == 0.0 {
                continue;
            }
            turned = true;
            let zeta = (b - a) / (2.0 * c);
            let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
            let cosine = 1.0 / tangent.hypot(1.0);
            turn(&mut columns, (p, q), (cosine, cosine * tangent));
            turn(&mut turns, (p, q), (cosine, cosine * tangent));
        }
        if !turned {
            break;
        }
    }
    let lengths: Vec<f64> = columns.iter().map(|c| dot(c, c).sqrt()).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| lengths[b].total_cmp(&lengths[a]));
    let scaled = |of: &[f64], by: f64| of.iter().map(|x| x * by).collect();
    let pair = |at: usize| {
        let share = lengths[at].sqrt().max(f64::MIN_POSITIVE);
        (scaled(&columns[at], 1.0 / share), scaled(&turns[at], share))
    };
    order.into_iter().map(pair).collect()
}

fn turn(of: &mut [Vec<f64>], (p, q): (usize, usize), (cosine, sine): (f64, f64)) {
    for i in 0..of[p].len() {
        let (x, y) = (of[p][i], of[q][i]);
        (of[p][i], of[q][i]) = (cosine * x - sine * y, sine * x + cosine * y);
    }
}
