//! The loops, over as many positions at a time as stay in the first-level cache. In plain Rust that
//! becomes vectors.

/// Positions that are computed at a time, where they lie side by side.
const WIDTH: usize = 64;
/// Numbers whose sum is made by itself, so that rounding grows with less than all.
const PART: usize = 32;

/// What is computed.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `(x - mean) / sqrt(variance + eps)`.
    Layer { eps: f32 },
    /// `exp(x) / sum of exp(x)`.
    Softmax,
    /// Its logarithm.
    LogSoftmax,
}

/// An axis, of arrays in C order.
#[derive(Clone, Copy, Debug)]
pub struct Along {
    /// Numbers along it.
    pub len: usize,
    /// How far they are apart.
    pub inner: usize,
    pub kind: Kind,
}

/// A number for each of some positions side by side.
type Columns = [f32; WIDTH];

impl Along {
    /// All positions. Both arrays are as long as a whole number of axes.
    pub fn run(&self, x: &[f32], y: &mut [f32]) {
        let all = self.len * self.inner;
        if all == 0 {
            return;
        }
        for (x, y) in x.chunks(all).zip(y.chunks_mut(all)) {
            if self.inner == 1 {
                match self.kind {
                    Kind::Layer { eps } => self.layer_of_row(eps, x, y),
                    Kind::Softmax => softmax_of_row(x, y),
                    Kind::LogSoftmax => log_softmax_of_row(x, y),
                }
                continue;
            }
            for from in (0..self.inner).step_by(WIDTH) {
                match WIDTH.min(self.inner - from) {
                    // Of a known width, the loops are vectors.
                    WIDTH => self.columns(x, y, (from, WIDTH)),
                    width => self.columns(x, y, (from, width)),
                }
            }
        }
    }

    #[inline(always)]
    fn columns(&self, x: &[f32], y: &mut [f32], at: (usize, usize)) {
        match self.kind {
            Kind::Layer { eps } => self.layer(eps, x, y, at),
            Kind::Softmax => self.softmax(x, y, at),
            Kind::LogSoftmax => self.log_softmax(x, y, at),
        }
    }

    /// Sums, for each position, of what `step` makes of the numbers along the axis, and writes.
    #[inline(always)]
    fn sums(
        &self,
        x: &[f32],
        y: &mut [f32],
        (from, width): (usize, usize),
        step: impl Fn(usize, f32, &mut f32) -> f32,
    ) -> Columns {
        let mut all = [0.0; WIDTH];
        for part in (0..self.len).step_by(PART) {
            let mut sums = [0.0; WIDTH];
            for at in part..(part + PART).min(self.len) {
                let row = at * self.inner + from..at * self.inner + from + width;
                let (x, y) = (&x[row.clone()], &mut y[row]);
                for (at, ((x, y), sum)) in x.iter().zip(y).zip(&mut sums).enumerate() {
                    *sum += step(at, *x, y);
                }
            }
            all.iter_mut().zip(&sums).for_each(|(all, sum)| *all += sum);
        }
        all
    }

    /// What was written, changed.
    #[inline(always)]
    fn change(
        &self,
        y: &mut [f32],
        (from, width): (usize, usize),
        step: impl Fn(usize, f32) -> f32,
    ) {
        for at in 0..self.len {
            let row = &mut y[at * self.inner + from..at * self.inner + from + width];
            row.iter_mut().enumerate().for_each(|(at, y)| *y = step(at, *y));
        }
    }

    #[inline(always)]
    fn layer(&self, eps: f32, x: &[f32], y: &mut [f32], at: (usize, usize)) {
        let mean = self.sums(x, y, at, |_, x, _| x).map(|sum| sum / self.len as f32);
        let squares = self.sums(x, y, at, |at, x, y| {
            *y = x - mean[at];
            *y * *y
        });
        let scale = squares.map(|sum| self.scale(eps, sum));
        self.change(y, at, |at, y| y * scale[at]);
    }

    fn layer_of_row(&self, eps: f32, x: &[f32], y: &mut [f32]) {
        let mean = in_parts(x, |x| x) / self.len as f32;
        x.iter().zip(&mut *y).for_each(|(x, y)| *y = x - mean);
        let scale = self.scale(eps, in_parts(y, |y| y * y));
        y.iter_mut().for_each(|y| *y *= scale);
    }

    fn scale(&self, eps: f32, squares: f32) -> f32 {
        1.0 / (squares / self.len as f32 + eps).sqrt()
    }

    #[inline(always)]
    fn softmax(&self, x: &[f32], y: &mut [f32], at: (usize, usize)) {
        let most = self.most(x, at);
        let sums = self.sums(x, y, at, |at, x, y| {
            *y = exp(x - most[at]);
            *y
        });
        let scale = sums.map(|sum| 1.0 / sum);
        self.change(y, at, |at, y| y * scale[at]);
    }

    #[inline(always)]
    fn log_softmax(&self, x: &[f32], y: &mut [f32], at: (usize, usize)) {
        let most = self.most(x, at);
        let sums = self.sums(x, y, at, |at, x, y| {
            *y = x - most[at];
            exp(*y)
        });
        let logarithm = sums.map(f32::ln);
        self.change(y, at, |at, y| y - logarithm[at]);
    }

    /// The largest number of each position.
    #[inline(always)]
    fn most(&self, x: &[f32], (from, width): (usize, usize)) -> Columns {
        let mut most = [f32::NEG_INFINITY; WIDTH];
        for at in 0..self.len {
            let row = &x[at * self.inner + from..at * self.inner + from + width];
            for (most, &x) in most.iter_mut().zip(row) {
                *most = if x > *most { x } else { *most };
            }
        }
        most
    }
}

fn softmax_of_row(x: &[f32], y: &mut [f32]) {
    let most = most_of_row(x);
    x.iter().zip(&mut *y).for_each(|(x, y)| *y = exp(x - most));
    let scale = 1.0 / in_parts(y, |y| y);
    y.iter_mut().for_each(|y| *y *= scale);
}

fn log_softmax_of_row(x: &[f32], y: &mut [f32]) {
    let most = most_of_row(x);
    x.iter().zip(&mut *y).for_each(|(x, y)| *y = x - most);
    let logarithm = in_parts(y, exp).ln();
    y.iter_mut().for_each(|y| *y -= logarithm);
}

fn most_of_row(x: &[f32]) -> f32 {
    let larger = |most: &mut f32, x: f32| *most = if x > *most { x } else { *most };
    let mut lanes = [f32::NEG_INFINITY; PART];
    let (whole, rest) = x.as_chunks::<PART>();
    whole.iter().for_each(|part| lanes.iter_mut().zip(part).for_each(|(most, &x)| larger(most, x)));
    let mut most = f32::NEG_INFINITY;
    lanes.iter().chain(rest).for_each(|&x| larger(&mut most, x));
    most
}

/// The sum of what becomes of numbers, in [`PART`] sums side by side.
fn in_parts(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; PART];
    let (whole, rest) = x.as_chunks::<PART>();
    for part in whole {
        sums.iter_mut().zip(part).for_each(|(sum, &x)| *sum += of(x));
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&x| of(x)).sum::<f32>()
}

/// `e^x` of what is not above 0, to some 2e-7 of it: 2 to a whole number times a polynomial (that
/// of Cephes' `expf`). Below what a normal number holds it is 0; of NaN it is NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest whole number in the last bits.
    const MAGIC: f32 = 12_582_912.0;
    /// The logarithm of 2, as a number of few bits and the rest.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const TERMS: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let whole = shifted - MAGIC;
    let rest = x - whole * LN_2[0] - whole * LN_2[1];
    let terms = TERMS.iter().fold(0.0, |sum, term| sum * rest + term);
    let power = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    let value = (terms * rest * rest + rest + 1.0) * f32::from_bits(power);
    if x < -87.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_near() {
        for at in 0..8_700_000 {
            let x = -at as f32 * 1e-5;
            let expected = f64::from(x).exp();
            let found = f64::from(exp(x));
            assert!((found - expected).abs() <= 2.5e-7 * expected, "{x}: {found}, {expected}");
        }
        assert_eq!([0.0, -87.1, -1e30, f32::NEG_INFINITY].map(exp), [1.0, 0.0, 0.0, 0.0]);
        assert!(exp(f32::NAN).is_nan());
    }

    /// What each kind makes of the numbers at one position, in f64.
    fn expected(kind: Kind, x: &[f64]) -> Vec<f64> {
        let len = x.len() as f64;
        let sum: f64 = x.iter().map(|x| x.exp()).sum();
        let mean = x.iter().sum::<f64>() / len;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / len;
        let of = |x: &f64| match kind {
            Kind::Layer { eps } => (x - mean) / (variance + f64::from(eps)).sqrt(),
            Kind::Softmax => x.exp() / sum,
            Kind::LogSoftmax => x - sum.ln(),
        };
        x.iter().map(of).collect()
    }

    #[test]
    fn every_kind_along_axes_of_any_size() {
        for (outer, len, inner) in
            [(2, 3, 5), (1, 40, 64), (3, 70, 130), (2, 1, 9), (1, 33, 1), (3, 100, 1)]
        {
            let number = |at: usize| ((at * 37 % 101) as f32 - 50.0) * 0.1;
            let x: Vec<f32> = (0..outer * len * inner).map(number).collect();
            for kind in [Kind::Layer { eps: 1e-5 }, Kind::Softmax, Kind::LogSoftmax] {
                let mut y = vec![f32::NAN; x.len()];
                Along { len, inner, kind }.run(&x, &mut y);
                for at in 0..outer * inner {
                    let place = |k: usize| (at / inner * len + k) * inner + at % inner;
                    let line: Vec<f64> = (0..len).map(|k| x[place(k)].into()).collect();
                    for (k, expected) in expected(kind, &line).into_iter().enumerate() {
                        let found = f64::from(y[place(k)]);
                        let near = 2e-6 * expected.abs().max(1.0);
                        assert!((found - expected).abs() <= near, "{kind:?}: {found} {expected}");
                    }
                }
            }
        }
    }
}
