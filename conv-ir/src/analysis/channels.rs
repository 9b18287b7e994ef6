//! The halo arithmetic of channels: groups cut the channels apart as windows cut space, and a row
//! of them may bring the parts together again.
//!
//! A convolution in groups sees the channels of its group alone. Groups on groups of the same size
//! never see more, which is why networks shuffle or mix channels with 1 x 1 in between. Groups are
//! blocks of neighbours, so that a range of output channels needs a range of input channels.

use std::ops::Range;

use crate::conv::Conv;

/// The input channels that these output channels of a convolution need; an empty range needs none.
///
/// ```
/// use conv_ir::analysis::channels_needed;
/// let grouped = "conv2d ic8 oc16 g4 in 9 kernel 3".parse()?;
/// assert_eq!(channels_needed(&grouped, 3..5), 0..4);
/// # Ok::<(), conv_ir::Error>(())
/// ```
pub fn channels_needed(conv: &Conv, outputs: Range<usize>) -> Range<usize> {
    if outputs.is_empty() {
        return 0..0;
    }
    let (ins, outs) = (conv.in_channels_per_group(), conv.out_channels_per_group());
    let groups = outputs.start / outs..(outputs.end - 1) / outs + 1;
    groups.start * ins..groups.end * ins
}

/// The input channels that the first output channel of a row of convolutions sees.
pub fn channels_seen(convs: &[Conv]) -> Range<usize> {
    convs.iter().rev().fold(0..1, |outputs, conv| channels_needed(conv, outputs))
}
