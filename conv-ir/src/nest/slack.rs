//! How far a load reaches beyond the lanes that count. It is decided here, once: for the routes
//! that make loads, for whoever allocates buffers, for the verifier and for the interpreter.
//!
//! The cut divides a vector into live lanes, which come first, and dead ones. A load touches
//!
//! * nothing, for a vector without a live lane;
//! * live lanes only, in the caller's arrays, and where lanes are far apart;
//! * the whole vector, in a buffer of ours whose lanes are neighbours (one plain load) or every
//!   second element (two loads and a pick).
//!
//! Live lanes lie inside their buffer (rules V17 and the interpreter's). So nothing is touched
//! before a buffer, and behind it as many elements as dead lanes span: its *slack*, which
//! [`Nest::slack`] counts.

use super::{Access, Buffer, BufferId, BufferRole, Expr, Leaf, Nest, Reach};

impl Buffer {
    /// Whether it is ours to allocate, with slack behind it.
    fn has_slack(&self) -> bool {
        match self.role {
            BufferRole::Packed | BufferRole::Scratch => true,
            BufferRole::Input
            | BufferRole::Weight
            | BufferRole::Bias
            | BufferRole::Residual
            | BufferRole::Output => false,
        }
    }

    /// How many lanes a load may touch, from the first on, where `live` of `width` count: lanes
    /// that are near are read as whole vectors, dead ones with them.
    pub fn touched(&self, width: i64, live: i64, reach: Reach) -> i64 {
        let near = matches!(reach, Reach::Row | Reach::Pairs);
        if live > 0 && near && self.has_slack() { width } else { live }
    }
}

impl Nest {
    /// By buffer: elements behind its end that loads may touch. A view's are its buffer's.
    pub fn slack(&self) -> Vec<i64> {
        let mut slack = vec![0; self.buffers.len()];
        for leaf in self.all_leaves() {
            leaf.visit_exprs(&mut |expr| {
                if let Expr::Load(access) = expr {
                    let buffer = self.buffer_behind(leaf, access.base);
                    let behind = &mut slack[self.memory_of(buffer).index()];
                    *behind = self.dead_span(leaf, buffer, access).max(*behind);
                }
            });
        }
        slack
    }

    /// Elements from the last live lane of the vector that is cut to the last one touched.
    fn dead_span(&self, leaf: &Leaf, buffer: BufferId, access: &Access) -> i64 {
        let Some((lanes, cut)) = leaf.lanes.and_then(|lanes| Some((lanes, lanes.cut?))) else {
            return 0;
        };
        let live = cut % lanes.width;
        let reach = self.reach(leaf, access);
        let touched = self.buffer(buffer).touched(lanes.width, live, reach);
        reach.step().map_or(0, |step| (touched - live) * step)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use crate::nest::{Affine, Lanes};

    /// Of packed weights: six channels in two vectors of four lanes, the cut and the distance of
    /// lanes as given.
    fn slack(cut: Option<i64>, apart: i64) -> i64 {
        let mut nest = samples::lowered();
        let leaf = &mut nest.leaves[0];
        let lanes = leaf.lanes.as_mut().unwrap();
        lanes.cut = cut;
        let Lanes { axis, .. } = *lanes;
        let by = Affine::axis(axis).times(apart);
        leaf.substitute(axis, &by);
        nest.slack()[samples::PACKED.index()]
    }

    #[test]
    fn dead_lanes_that_are_near_need_room() {
        assert_eq!(slack(Some(6), 1), 2, "neighbours: two dead lanes");
        assert_eq!(slack(Some(5), 2), 6, "every second element");
        assert_eq!(slack(Some(6), 3), 0, "far apart: nobody reads them");
        assert_eq!(slack(None, 1), 0, "no lane is dead");
        assert_eq!(slack(Some(4), 1), 0, "a whole vector is dead: nobody reads it");
    }

    #[test]
    fn only_buffers_of_ours_have_it() {
        let nest = samples::lowered();
        let slack = nest.slack();
        for (buffer, slack) in nest.buffers.iter().zip(slack) {
            assert!(slack == 0 || !buffer.is_callers(), "{} has {slack}", buffer.name);
        }
    }
}
