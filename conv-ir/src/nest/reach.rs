//! How the lanes of an access lie in memory: decided here, once, for every way out.

use super::{Access, AxisId, BufferId, Leaf, Nest};

/// Where the lanes of an access are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All at one element.
    Splat,
    /// Neighbours.
    Row,
    /// Every second element.
    Pairs,
    /// So many elements apart, `None` where that is known only at run time.
    Apart(Option<i64>),
}

impl Reach {
    /// Elements from lane to lane.
    pub fn step(self) -> Option<i64> {
        match self {
            Reach::Splat => Some(0),
            Reach::Row => Some(1),
            Reach::Pairs => Some(2),
            Reach::Apart(step) => step,
        }
    }
}

impl Nest {
    /// How the lanes of an access lie in memory. Without lanes it is one element.
    pub fn reach(&self, leaf: &Leaf, access: &Access) -> Reach {
        let buffer = self.buffer_behind(leaf, access.base);
        match leaf.lanes.map_or(Some(0), |lanes| self.step_along(buffer, access, lanes.axis)) {
            Some(0) => Reach::Splat,
            Some(1) => Reach::Row,
            Some(2) => Reach::Pairs,
            step => Reach::Apart(step),
        }
    }

    /// Elements that an access into `buffer` moves by with each step of an axis, where that is a
    /// number.
    pub fn step_along(&self, buffer: BufferId, access: &Access, axis: AxisId) -> Option<i64> {
        let (mut step, mut stride) = (0, Some(1));
        for (index, extent) in access.index.iter().zip(&self.buffer(buffer).extents).rev() {
            if index.follows(axis) {
                step += index.as_affine()?.of_axis(axis) * stride?;
            }
            stride = stride.zip(extent.as_constant()).map(|(stride, extent)| stride * extent);
        }
        Some(step)
    }
}
