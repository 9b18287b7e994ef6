//! Passes over bytes that no convolution says: a table, a sum or product of two tensors, a mean.
//!
//! Loops in plain Rust that become vectors. Results are kept in memory that is used again.

use std::sync::Arc;

use conv_jit::{Loop, in_vectors};
use tract_onnx::tract_core::broadcast::multi_broadcast;
use tract_onnx::tract_core::internal::*;

use super::grid::{Grid, nearest, rounded};
use crate::node::op;
use crate::outputs::Outputs;

/// Any function of one byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// By the bits of the input, those of the output.
    pub bytes: Arc<[u8]>,
    pub to: Grid,
    pub outputs: Arc<Outputs>,
}

/// `a + b` or `a * b` as real numbers, clamped.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub grids: [Grid; 2],
    pub to: Grid,
    pub is_product: bool,
    /// Bounds of the output's bytes.
    pub bounds: (i32, i32),
    pub outputs: Arc<Outputs>,
}

/// The sum over all positions of each channel, channels last, times a factor.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    pub from: Grid,
    pub to: Grid,
    /// One over the number of positions, for a mean.
    pub factor: f32,
    pub outputs: Arc<Outputs>,
}

/// Bytes of either type, widened.
trait Byte: Copy + Datum {
    fn wide(self) -> i32;
    fn narrow(wide: i32) -> Self;
}

impl Byte for u8 {
    #[inline(always)]
    fn wide(self) -> i32 {
        self.into()
    }

    #[inline(always)]
    fn narrow(wide: i32) -> u8 {
        wide as u8
    }
}

impl Byte for i8 {
    #[inline(always)]
    fn wide(self) -> i32 {
        self.into()
    }

    #[inline(always)]
    fn narrow(wide: i32) -> i8 {
        wide as i8
    }
}

/// Calls a function of two types by whether they are signed.
macro_rules! by_types {
    ($own:expr, $f:ident, ($a:expr, $b:expr), $arguments:tt) => {
        match ($a, $b) {
            (false, false) => by_types!(@ $own, $f, u8, u8, $arguments),
            (false, true) => by_types!(@ $own, $f, u8, i8, $arguments),
            (true, false) => by_types!(@ $own, $f, i8, u8, $arguments),
            (true, true) => by_types!(@ $own, $f, i8, i8, $arguments),
        }
    };
    (@ $own:expr, $f:ident, $a:ty, $b:ty, ($($argument:expr),*)) => {
        $own.$f::<$a, $b>($($argument),*)
    };
}

impl Table {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let input = &inputs[0];
        let is_signed = input.datum_type() == i8::datum_type();
        self.outputs.of(self.to.dtype(), input.shape(), |output| {
            by_types!(self, each, (is_signed, self.to.is_signed), (input, output))
        })
    }

    fn each<A: Byte, B: Byte>(&self, input: &Tensor, output: &mut Tensor) -> TractResult<()> {
        let (input, mut output) = (input.try_as_plain_ram()?, output.try_as_plain_ram_mut()?);
        let (x, y) = (input.as_slice::<A>()?, output.as_slice_mut::<B>()?);
        let table: &[u8; 256] = self.bytes[..].try_into()?;
        let table = table.map(|byte| B::narrow(byte.into()));
        x.iter().zip(y).for_each(|(x, y)| *y = table[usize::from(x.wide() as u8)]);
        Ok(())
    }
}

impl Pair {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let shape = multi_broadcast(&[inputs[0].shape(), inputs[1].shape()])?;
        let [a, b] = self.grids;
        self.outputs.of(self.to.dtype(), &shape, |output| {
            by_types!(self, rows, (a.is_signed, b.is_signed), (&shape, inputs, output))
        })
    }

    /// Of a rank, where neither is smaller than the other, or the second has one number for each
    /// of the last axis, or one for all.
    fn rows<A: Byte, B: Byte>(
        &self,
        shape: &[usize],
        inputs: &[TValue],
        output: &mut Tensor,
    ) -> TractResult<()> {
        if self.to.is_signed {
            self.rows_to::<A, B, i8>(shape, inputs, output)
        } else {
            self.rows_to::<A, B, u8>(shape, inputs, output)
        }
    }

    fn rows_to<A: Byte, B: Byte, C: Byte>(
        &self,
        shape: &[usize],
        inputs: &[TValue],
        output: &mut Tensor,
    ) -> TractResult<()> {
        let (a, b) = (inputs[0].try_as_plain_ram()?, inputs[1].try_as_plain_ram()?);
        let (a, b) = (a.as_slice::<A>()?, b.as_slice::<B>()?);
        let mut output = output.try_as_plain_ram_mut()?;
        let y = output.as_slice_mut::<C>()?;
        if a.len() == y.len() && b.len() == y.len() {
            self.row(a, b, y);
            return Ok(());
        }
        // Rows of the last axis; each operand has a stride of 0 along axes of one position.
        let row = shape.last().copied().unwrap_or(1);
        let (a, b) =
            (Strided::new(a, inputs[0].shape(), shape), Strided::new(b, inputs[1].shape(), shape));
        let mut spread = (vec![A::narrow(0); row], vec![B::narrow(0); row]);
        for (at, y) in y.chunks_mut(row).enumerate() {
            let (a, b) = (a.row(at, &mut spread.0), b.row(at, &mut spread.1));
            self.row(a, b, y);
        }
        Ok(())
    }

    fn row<A: Byte, B: Byte, C: Byte>(&self, a: &[A], b: &[B], y: &mut [C]) {
        in_vectors(Row { pair: self, a, b, y });
    }
}

/// Numbers of a [`Pair`] side by side.
struct Row<'a, A, B, C> {
    pair: &'a Pair,
    a: &'a [A],
    b: &'a [B],
    y: &'a mut [C],
}

/// Numbers that are computed before one of them is looked at.
const BLOCK: usize = 64;

impl<A: Byte, B: Byte, C: Byte> Loop for Row<'_, A, B, C> {
    #[inline(always)]
    fn run(self) {
        let Pair { grids: [ga, gb], to, is_product, .. } = *self.pair;
        let by = |scale: f32| f64::from(scale) / f64::from(to.scale);
        if is_product {
            let (za, zb) = (ga.zero as f32, gb.zero as f32);
            let factor = (f64::from(ga.scale) * by(gb.scale)) as f32;
            let off = if factor.is_finite() { 2e-4 } else { 1.0 };
            self.each(off, |a, b| (a - za) * (b - zb) * factor, |a, b| a * b);
        } else {
            let (fa, fb) = (by(ga.scale), by(gb.scale));
            let both = -(fa * f64::from(ga.zero) + fb * f64::from(gb.zero));
            // Eight roundings of at most what the summands are.
            let off = ((fa + fb) * 512.0 * 8.0 * f64::from(f32::EPSILON / 2.0)) as f32;
            let (fa, fb, both) = (fa as f32, fb as f32, both as f32);
            self.each(off, |a, b| a * fa + (b * fb + both), |a, b| a + b);
        }
    }
}

impl<A: Byte, B: Byte, C: Byte> Row<'_, A, B, C> {
    /// Divides where it must: `near` is within `off` of the quotient of what does not saturate, so
    /// that both are rounded alike but beside a tie.
    #[inline(always)]
    fn each(
        self,
        off: f32,
        near: impl Fn(f32, f32) -> f32 + Copy,
        of: impl Fn(f32, f32) -> f32 + Copy,
    ) {
        let Pair { grids: [ga, gb], to, bounds: (low, high), .. } = *self.pair;
        let divided = |a: A, b: B| {
            let a = (a.wide() - ga.zero) as f32 * ga.scale;
            let x = of(a, (b.wide() - gb.zero) as f32 * gb.scale);
            C::narrow((rounded(x / to.scale) + to.zero).max(low).min(high))
        };
        let (least, most) = ((low - to.zero) as f32, (high - to.zero) as f32);
        // Of scales as far apart as that nothing is known of the product.
        let tie = if off < 0.25 { 0.5 - off } else { -1.0 };
        let ((a, a_rest), (b, b_rest)) = (self.a.as_chunks::<BLOCK>(), self.b.as_chunks::<BLOCK>());
        let (y, y_rest) = self.y.as_chunks_mut::<BLOCK>();
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            let mut is_near = 0;
            for at in 0..BLOCK {
                let x = near(a[at].wide() as f32, b[at].wide() as f32);
                let x = if x > least { x } else { least };
                let x = if x < most { x } else { most };
                let (q, off) = nearest(x);
                is_near |= i32::from(off > tie);
                y[at] = C::narrow(q + to.zero);
            }
            if is_near != 0 {
                for at in 0..BLOCK {
                    y[at] = divided(a[at], b[at]);
                }
            }
        }
        let rest = a_rest.iter().zip(b_rest);
        y_rest.iter_mut().zip(rest).for_each(|(y, (a, b))| *y = divided(*a, *b));
    }
}

/// An operand that is spread over a larger shape.
struct Strided<'a, T> {
    numbers: &'a [T],
    /// Extent and stride of each axis but the last, innermost first.
    axes: Vec<(usize, usize)>,
    /// Whether it has one number along the last.
    is_one: bool,
}

impl<'a, T: Copy> Strided<'a, T> {
    fn new(numbers: &'a [T], own: &[usize], shape: &[usize]) -> Strided<'a, T> {
        let is_one = own.last() == Some(&1) && shape.last() != Some(&1);
        let mut stride = own.last().copied().unwrap_or(1);
        let mut axes = Vec::new();
        for at in (0..shape.len().saturating_sub(1)).rev() {
            axes.push((shape[at], if own[at] == 1 { 0 } else { stride }));
            stride *= own[at];
        }
        Strided { numbers, axes, is_one }
    }

    fn row<'b>(&'b self, mut at: usize, spread: &'b mut [T]) -> &'b [T] {
        let mut from = 0;
        for &(extent, stride) in &self.axes {
            from += at % extent * stride;
            at /= extent;
        }
        if self.is_one {
            spread.fill(self.numbers[from]);
            return spread;
        }
        &self.numbers[from..from + spread.len()]
    }
}

impl Mean {
    fn computed(&self, inputs: &[TValue]) -> TractResult<Arc<Tensor>> {
        let shape = inputs[0].shape();
        let mut result: TVec<usize> = shape.into();
        let last = shape.len() - 1;
        result[1..last].fill(1);
        self.outputs.of(self.to.dtype(), &result, |output| {
            by_types!(self, all, (self.from.is_signed, self.to.is_signed), (&inputs[0], output))
        })
    }

    fn all<A: Byte, B: Byte>(&self, input: &Tensor, output: &mut Tensor) -> TractResult<()> {
        let shape: TVec<usize> = input.shape().into();
        let (input, mut output) = (input.try_as_plain_ram()?, output.try_as_plain_ram_mut()?);
        let (x, y) = (input.as_slice::<A>()?, output.as_slice_mut::<B>()?);
        let channels = shape[shape.len() - 1].max(1);
        let image = shape[1..].iter().product::<usize>().max(1);
        let zero = (image / channels) as i32;
        let zero = zero.wrapping_mul(self.from.zero);
        let (least, most) = self.to.range();
        let mut sums = vec![0i32; channels];
        let scale = self.from.scale * self.factor / self.to.scale;
        for (x, y) in x.chunks(image).zip(y.chunks_mut(channels)) {
            sums.fill(0);
            for x in x.chunks(channels) {
                sums.iter_mut().zip(x).for_each(|(sum, x)| *sum = sum.wrapping_add(x.wide()));
            }
            for (sum, y) in sums.iter().zip(y) {
                let q = rounded(sum.wrapping_sub(zero) as f32 * scale) + self.to.zero;
                *y = B::narrow(q.clamp(least, most));
            }
        }
        Ok(())
    }
}

// Scales are finite.
impl Eq for Table {}
impl Eq for Pair {}
impl Eq for Mean {}

op!(Table, "Table", Table::computed, |own, inputs| {
    tvec!(own.to.dtype().fact(inputs[0].shape.clone()))
});
op!(Pair, "Pair", Pair::computed, |own, inputs| {
    tvec!(own.to.dtype().fact(multi_broadcast(&[&*inputs[0].shape, &*inputs[1].shape])?))
});
op!(Mean, "Mean", Mean::computed, |own, inputs| {
    let mut shape: TVec<TDim> = inputs[0].shape.iter().cloned().collect();
    let last = shape.len() - 1;
    shape[1..last].iter_mut().for_each(|extent| *extent = 1.to_dim());
    tvec!(own.to.dtype().fact(shape))
});
