//! Views that lie otherwise as arrays row by row, and back.

use std::borrow::Cow;

use conv_ir::Stored;
use ndarray::{ArrayView, ArrayViewD, ArrayViewMut, ArrayViewMutD, Axis};

use crate::Error;

/// Elements along both axes of a piece that is turned at a time: some KiB of each array.
const PIECE: usize = 32;

/// The elements row by row: the view's own, or copies.
pub(super) fn by_rows<'a, T: Stored>(view: &'a ArrayViewD<'_, T>) -> Result<Cow<'a, [T]>, Error> {
    if let Some(elements) = view.as_slice() {
        return Ok(Cow::Borrowed(elements));
    }
    let mut copy = zeros(view.len())?;
    if let Ok(to) = ArrayViewMut::from_shape(view.raw_dim(), &mut copy) {
        assign(to, view.view());
    }
    Ok(Cow::Owned(copy))
}

/// Writes elements that lie row by row.
pub(super) fn write<T: Stored>(elements: &[T], to: ArrayViewMutD<'_, T>) {
    if let Ok(from) = ArrayView::from_shape(to.raw_dim(), elements) {
        assign(to, from);
    }
}

/// # Errors
/// [`Error::Memory`].
pub(super) fn zeros<T: Stored>(len: usize) -> Result<Vec<T>, Error> {
    let mut made = Vec::new();
    let refused = |error| Error::Memory(format!("a copy of {len} elements: {error}"));
    made.try_reserve_exact(len).map_err(refused)?;
    made.resize(len, T::from_f64(0.0));
    Ok(made)
}

/// Copies, in pieces where neighbours in one array are no neighbours in the other.
fn assign<T: Copy>(mut to: ArrayViewMutD<'_, T>, from: ArrayViewD<'_, T>) {
    let (Some(a), Some(b)) = (innermost(to.shape(), to.strides()), innermost_of(&from)) else {
        return to.assign(&from);
    };
    if a == b {
        return to.assign(&from);
    }
    if let Some(other) = (0..to.ndim()).find(|axis| *axis != a && *axis != b) {
        let pairs = to.axis_iter_mut(Axis(other)).zip(from.axis_iter(Axis(other)));
        return pairs.for_each(|(to, from)| assign(to, from));
    }
    let strips = to.axis_chunks_iter_mut(Axis(a), PIECE).zip(from.axis_chunks_iter(Axis(a), PIECE));
    for (mut to, from) in strips {
        let pieces = to.axis_chunks_iter_mut(Axis(b), PIECE);
        for (mut to, from) in pieces.zip(from.axis_chunks_iter(Axis(b), PIECE)) {
            to.assign(&from);
        }
    }
}

fn innermost_of<T>(of: &ArrayViewD<'_, T>) -> Option<usize> {
    innermost(of.shape(), of.strides())
}

/// The axis whose elements are the nearest, of those that have several.
fn innermost(shape: &[usize], strides: &[isize]) -> Option<usize> {
    let several = (0..shape.len()).filter(|axis| shape[*axis] > 1);
    several.min_by_key(|axis| strides[*axis].unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, s};

    #[test]
    fn elements_come_in_their_order() {
        let whole =
            Array::from_shape_fn((3, 70, 45), |(a, b, c)| (a * 10_000 + b * 100 + c) as f32);
        let turned = whole.view().permuted_axes([2, 0, 1]);
        let backwards = whole.slice(s![..;-1, 3..60;2, ..;-3]);
        let once = whole.slice(s![1..2, .., 4..5]);
        for view in [whole.view(), turned, backwards, once] {
            let view = view.into_dyn();
            let copy = by_rows(&view).unwrap();
            assert!(copy.iter().eq(view.iter()), "{:?}", view.strides());
        }
    }

    #[test]
    fn elements_go_where_they_belong() {
        let mut whole = Array::from_elem((40, 50), 0.0f32);
        let elements: Vec<f32> = (0..2000).map(|at| at as f32).collect();
        let turned = whole.view_mut().permuted_axes([1, 0]);
        write(&elements, turned.into_dyn());
        assert!(whole.t().iter().eq(&elements));
    }
}
