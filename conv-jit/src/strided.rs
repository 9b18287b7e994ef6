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

use crate::placed::{Made, Placed};
use crate::shared::Shared;
use crate::weights::Inner;

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

#[cfg(test)]
impl Ready {
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

/// A run's arrays, as far as code takes them as they lie.
#[derive(Default)]
pub(crate) struct Ends {
    /// Instead of a group's code.
    pub placed: Vec<(usize, Arc<Placed>)>,
    /// Whether it takes the input, and the output.
    pub input: bool,
    pub output: bool,
}

/// An array of a run: its shape, and its strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Lies<'a> {
    pub shape: &'a [usize],
    pub strides: &'a [isize],
    pub bytes: usize,
}

impl Inner {
    /// Code for an input and an output that lie like this, of those that do not lie row by row.
    pub(crate) fn strided(&self, input: Option<Lies<'_>>, output: Option<Lies<'_>>) -> Ends {
        let groups = &self.shared.lowered.groups;
        let steps = self.shared.lowered.program().steps();
        let last = groups.len() - 1;
        let of = |lies: Option<Lies<'_>>, step: usize| {
            lies.and_then(|lies| around(lies, steps[step].conv.spec().layout))
        };
        let (input_around, output_around) = (of(input, 0), of(output, steps.len() - 1));
        let mut ends = Ends::default();
        for group in if last == 0 { vec![0] } else { vec![0, last] } {
            let input_around = input_around.as_ref().filter(|_| group == 0);
            let output_around = output_around.as_ref().filter(|_| group == last);
            if input_around.is_none() && output_around.is_none() {
                continue;
            }
            let conv = &steps[groups[group].group.steps.start].conv;
            let Some(dense) = dense(conv) else { continue };
            let within = Within {
                input: input_around.cloned().unwrap_or(dense.input),
                residual: dense.residual,
                output: output_around.cloned().unwrap_or(dense.output),
            };
            let bytes =
                |lies: Option<Lies<'_>>, is: bool| lies.filter(|_| is).map_or(0, |lies| lies.bytes);
            let bytes = bytes(input, input_around.is_some())
                .saturating_add(bytes(output, output_around.is_some()));
            let Some(placed) = self.find_or_make(group, within, bytes) else { continue };
            ends.input |= input_around.is_some();
            ends.output |= output_around.is_some();
            ends.placed.push((group, placed));
        }
        ends
    }

    fn find_or_make(&self, group: usize, within: Within, bytes: usize) -> Option<Arc<Placed>> {
        let found = {
            let mut ready = lock(&self.strided.0);
            let at = ready.iter().position(|(of, like, _)| (*of, like) == (group, &within));
            at.map(|at| {
                ready[..=at].rotate_right(1);
                ready[0].2.clone()
            })
        };
        if found.is_some() {
            return found;
        }
        let made = self.shared.strided.find_or_make(&self.shared, (group, &within), bytes)?;
        let placed = Arc::new(Placed::with_constants(made, &self.constants[group]));
        let mut ready = lock(&self.strided.0);
        ready.insert(0, (group, within, placed.clone()));
        ready.truncate(MOST);
        Some(placed)
    }
}

impl Strided {
    fn find_or_make(
        &self,
        shared: &Shared,
        (group, within): (usize, &Within),
        bytes: usize,
    ) -> Option<Arc<Made>> {
        let is = |met: &Met| (met.group, &met.within) == (group, within);
        let known = lock(&self.0).iter().find(|met| is(met)).map(|met| met.code.clone());
        let code = match known {
            Some(Code::Made(made)) => return Some(made),
            Some(Code::Refused) => return None,
            None if bytes < WORTH_COMPILING => Code::NotYet,
            None | Some(Code::NotYet) => {
                make(shared, group, within).map_or(Code::Refused, |made| Code::Made(Arc::new(made)))
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

/// Code for a group of one step whose arrays lie like this; none where there is no such code.
fn make(shared: &Shared, group: usize, within: &Within) -> Option<Made> {
    let lowered = &shared.lowered;
    let group = &lowered.groups[group];
    let at = group.group.steps.start;
    let schedule = &group.choice.as_ref()?.schedule;
    if lowered.rewritten.blocks(at).is_some() {
        return None;
    }
    let conv = &lowered.program().steps()[at].conv;
    let how = (&shared.options, &shared.backend);
    // Without a legal schedule, or memory for code, arrays are copied.
    Made::like((conv, &group.nest, schedule), within, how).ok().flatten()
}

fn lock<T>(of: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    // Nothing panics while the lock is held; if it did, the list would still be whole.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The arrays of a convolution as boxes of themselves; none where a size is free.
fn dense(conv: &Conv) -> Option<Within> {
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
fn around(lies: Lies<'_>, layout: Layout) -> Option<Vec<i64>> {
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
