//! A convolution whose arrays are boxes of larger ones.
//!
//! In: a convolution, and the extents of the arrays around. Out: its naive nest, where only the
//! distances between elements are others: the loops are those of the boxes.

use super::lower;
use crate::conv::{Conv, Layout};
use crate::nest::{BufferRole, Nest};

/// Spatial extents of the arrays that input, residual and output are boxes of, outermost axis
/// first; in front of them that of the channels, where the array may have more than the box. Code
/// for such boxes is given where each of them begins, and touches nothing else of the arrays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Within {
    /// Of the input's array.
    pub input: Vec<i64>,
    /// Of the residual's array, where there is one.
    pub residual: Vec<i64>,
    /// Of the output's array.
    pub output: Vec<i64>,
}

/// The naive nest of a convolution whose arrays are boxes of larger ones: only the distances
/// between elements are others. None where an array has other axes, or is smaller than its box, or
/// its channels are no whole number of groups, or the residual has a number for each channel.
pub fn lower_within(conv: &Conv, within: &Within) -> Option<Nest> {
    if conv.scales() {
        return None;
    }
    let mut nest = lower(conv);
    let rank = conv.rank();
    let (first, groups) = match conv.spec().layout {
        Layout::ChannelsFirst => (3, 1),
        Layout::ChannelsLast => (1, 1 + rank),
    };
    for buffer in &mut nest.buffers {
        let array = match buffer.role {
            BufferRole::Input => &within.input,
            BufferRole::Residual => &within.residual,
            BufferRole::Output => &within.output,
            BufferRole::Weight | BufferRole::Bias | BufferRole::Packed | BufferRole::Scratch => {
                continue;
            }
        };
        let (channels, array) = array.split_at(array.len().checked_sub(rank)?);
        let spatial = &mut buffer.extents[first..first + rank];
        let least = spatial.iter().map(|extent| extent.as_constant().unwrap_or(i64::MAX));
        if least.zip(array).any(|(least, extent)| *extent < least) {
            return None;
        }
        spatial.iter_mut().zip(array).for_each(|(to, extent)| *to = (*extent).into());
        match channels {
            [] => {}
            [channels] => {
                let of_box = &mut buffer.extents[groups..groups + 2];
                let [groups, each] = [of_box[0].as_constant()?, of_box[1].as_constant()?];
                let [groups, each] = among(*channels, [groups, each])?;
                of_box.clone_from_slice(&[groups.into(), each.into()]);
            }
            _ => return None,
        }
    }
    Some(nest)
}

/// Groups, and channels of each, of an array of so many channels that holds those of a box.
fn among(channels: i64, [groups, each]: [i64; 2]) -> Option<[i64; 2]> {
    match groups {
        _ if channels < groups * each => None,
        1 => Some([1, channels]),
        _ => (channels % each == 0).then_some([channels / each, each]),
    }
}
