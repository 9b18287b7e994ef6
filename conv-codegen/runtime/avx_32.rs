//! What f32 and i32 have in common, in any width. Written for eight of them.

pub(super) const W: usize = 8;

/// Columns that are transposed at a time: those of 128 bits.
pub(super) const SQUARE: usize = 4;

/// Even lanes of one vector, odd lanes of the next.
pub(super) const PAIRS: [i32; W] = {
    let mut lanes = [0; W];
    let mut lane = 0;
    while lane < W {
        lanes[lane] = (2 * lane + (2 * lane >= W) as usize) as i32;
        lane += 1;
    }
    lanes
};
