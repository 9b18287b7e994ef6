//! Code for arrays whose rows lie further apart than they are long: a crop of a picture, planes of
//! a volume, some of the channels.
//!
//! ```text
//! shape and strides --around--> extents of the array around --Made::like--> code, the weights the
//!                                                                           same
//! ```
//!
//! Distances between elements are numbers in the code, so strides that are met are compiled, as
//! sizes are: when they come the second time, or the first time with so many bytes that copying
//! them takes longer. The last [`MOST`] are kept. The weights stay as they were packed: the
//! schedule is that of the whole array. What has no such code is copied: steps that are fused, in
//! tiles or in blocks, rows whose elements are not neighbours, and axes that run backwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conv_ir::lower::Within;
use conv_ir::{Conv, Layout};

use crate::boxes::{Made, Placed};

/// Strides that are remembered.
const MOST: usize = 8;

/// Bytes that are copied in about the time that compiling takes, some milliseconds.
const WORTH_COMPILING: usize = 32 << 20;

/// What was compiled for strides that were met, the last used first.
#[derive(Default)]
pub(crate) struct Strided(Mutex<Vec<Met>>);

struct Met {
    group: usize,
    within: Within,
    code: Code,
}

#[derive(Clone)]
enum Code {
    /// They came once, and were not worth it.
    NotYet,
    /// There is none.
    Refused,
    Made(Arc<Made>),
}

/// The same with weights, the last used first. Behind the code that holds them.
#[derive(Default)]
pub(crate) struct Ready(Mutex<Vec<(usize, Within, Arc<Placed>)>>);

/// An array of a run: its shape, and its strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Lies<'a> {
    pub shape: &'a [usize],
    pub strides: &'a [isize],
    pub bytes: usize,
}

impl Ready {
    /// The code for the arrays of a group with weights; none where they are copied.
    pub fn find_or_make(
        &self,
        (group, within): (usize, &Within),
        make: impl FnOnce() -> Option<Placed>,
    ) -> Option<Arc<Placed>> {
        {
            let mut ready = lock(&self.0);
            let at = ready.iter().position(|(of, like, _)| (*of, like) == (group, within));
            if let Some(at) = at {
                ready[..=at].rotate_right(1);
                return Some(ready[0].2.clone());
            }
        }
        let placed = Arc::new(make()?);
        let mut ready = lock(&self.0);
        ready.insert(0, (group, within.clone(), placed.clone()));
        ready.truncate(MOST);
        Some(placed)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl Strided {
    /// The code for the arrays of a group, made now if it is worth that. None: they are copied.
    pub fn find_or_make(
        &self,
        (group, within): (usize, &Within),
        bytes: usize,
        make: impl FnOnce() -> Option<Made>,
    ) -> Option<Arc<Made>> {
        let is = |met: &Met| (met.group, &met.within) == (group, within);
        let known = lock(&self.0).iter().find(|met| is(met)).map(|met| met.code.clone());
        let code = match known {
            Some(Code::Made(made)) => return Some(made),
            Some(Code::Refused) => return None,
            None if bytes < WORTH_COMPILING => Code::NotYet,
            None | Some(Code::NotYet) => {
                make().map_or(Code::Refused, |made| Code::Made(Arc::new(made)))
            }
        };
        let mut met = lock(&self.0);
        met.retain(|met| !is(met));
        met.insert(0, Met { group, within: within.clone(), code: code.clone() });
        met.truncate(MOST);
        match code {
            Code::Made(made) => Some(made),
            Code::NotYet | Code::Refused => None,
        }
    }
}

fn lock<T>(of: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    // Nothing panics while the lock is held; if it did, the list would still be whole.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The arrays of a convolution as boxes of themselves; none where a size is free.
pub(crate) fn dense(conv: &Conv) -> Option<Within> {
    let of = |shape: Vec<usize>| {
        let all = shape.iter().map(|n| i64::try_from(*n).ok()).collect::<Option<Vec<_>>>()?;
        Some(channels_first(&all, conv.spec().layout))
    };
    let output = of(conv.output_shape()?)?;
    Some(Within { input: of(conv.input_shape()?)?, residual: output.clone(), output })
}

/// Channels and spatial axes of what has a number for each axis of an image.
fn channels_first(of_axes: &[i64], layout: Layout) -> Vec<i64> {
    let mut all = of_axes[1..].to_vec();
    if layout == Layout::ChannelsLast {
        all.rotate_right(1);
    }
    all
}

/// Extents of the array around a box: channels, then the spatial axes. None where elements of a row
/// are no neighbours, or an axis steps by no multiple of the one inside it.
pub(crate) fn around(lies: Lies<'_>, layout: Layout) -> Option<Vec<i64>> {
    let mut extents = vec![1; lies.shape.len()];
    let mut apart = 1;
    for axis in (0..lies.shape.len()).rev() {
        let extent = i64::try_from(lies.shape[axis]).ok()?;
        if extent > 1 && lies.strides[axis] as i64 != apart {
            return None;
        }
        // An axis of one has no stride that would say anything.
        let outer = (0..axis).rev().find(|outer| lies.shape[*outer] > 1);
        extents[axis] = match outer.map(|outer| lies.strides[outer] as i64) {
            Some(outer) if outer % apart == 0 && outer / apart >= extent => outer / apart,
            Some(_) => return None,
            None => extent,
        };
        apart = apart.checked_mul(extents[axis])?;
    }
    Some(channels_first(&extents, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_array_around_a_box() {
        let first = |shape: &[usize], strides: &[isize]| {
            around(Lies { shape, strides, bytes: 0 }, Layout::ChannelsFirst)
        };
        assert_eq!(first(&[2, 3, 4, 5], &[60, 20, 5, 1]), Some(vec![3, 4, 5]), "dense");
        assert_eq!(first(&[2, 3, 4, 5], &[7 * 90, 90, 9, 1]), Some(vec![7, 10, 9]), "a crop");
        assert_eq!(first(&[2, 3, 4, 5], &[1440, 360, 18, 1]), Some(vec![4, 20, 18]), "every row");
        assert_eq!(first(&[1, 1, 4, 5], &[0, -3, 9, 1]), Some(vec![1, 4, 9]), "axes of one");
        assert_eq!(first(&[6, 1, 4, 5], &[90, 7, 9, 1]), Some(vec![1, 10, 9]), "planes");
        assert_eq!(first(&[6, 1, 1, 1], &[12, 0, 0, 0]), Some(vec![1, 1, 12]), "numbers");
        for (strides, why) in [
            ([60, 20, 1, 4], "transposed"),
            ([60, 20, -5, 1], "reversed"),
            ([60, 20, 5, 2], "every second element"),
            ([60, 0, 5, 1], "one channel, read often"),
            ([90, 22, 5, 1], "no whole number of rows"),
            ([60, 20, 4, 1], "rows that overlap"),
        ] {
            assert_eq!(first(&[2, 3, 4, 5], &strides), None, "{why}");
        }
        let lies = Lies { shape: &[2, 4, 5, 3], strides: &[7 * 63, 63, 7, 1], bytes: 0 };
        assert_eq!(around(lies, Layout::ChannelsLast), Some(vec![7, 7, 9]));
    }
}
