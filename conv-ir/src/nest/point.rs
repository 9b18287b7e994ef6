//! What is known at a point of a walk through a leaf, where some axes have a value: every way out
//! repeats tile axes and unrolled loops so, and asks here what follows.

use std::ops::Range;

use super::{Affine, AxisId, Cond, Index, Leaf, RegId, Var};

impl Affine {
    /// The number that it is where `at` gives the values of axes; `None` where one is missing.
    pub fn at(&self, at: impl Fn(AxisId) -> Option<i64>) -> Option<i64> {
        self.terms().iter().try_fold(self.constant, |sum, &(var, coefficient)| match var {
            Var::Axis(axis) => Some(sum + coefficient * at(axis)?),
            Var::Symbol(_) => None,
        })
    }
}

impl Index {
    /// The number that it is where `at` gives the values of axes; `None` where one is missing.
    pub fn at(&self, at: impl Fn(AxisId) -> Option<i64>) -> Option<i64> {
        match self {
            Index::Affine(a) => a.at(at),
            Index::Quotient(q) => q.numerator.at(at).map(|n| n.div_euclid(q.divisor)),
            Index::Folded { index, extent, fold, pixel } => {
                Some(fold.apply_to_pixels(index.at(at)?, extent.as_constant()?, *pixel))
            }
        }
    }
}

impl Cond {
    /// Its truth where `at` gives the values of axes; `None` where one is missing.
    pub fn at(&self, at: impl Fn(AxisId) -> Option<i64>) -> Option<bool> {
        self.expression().at(at).map(|value| self.holds_for(value))
    }

    /// The truth of all conditions together; false as soon as one is.
    pub fn all_at(when: &[Cond], at: impl Fn(AxisId) -> Option<i64>) -> Option<bool> {
        let mut all = Some(true);
        for cond in when {
            match cond.at(&at) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => all = None,
            }
        }
        all
    }
}

impl Leaf {
    /// The extent of a tile axis; `None` for another axis.
    pub fn tile_extent(&self, axis: AxisId) -> Option<i64> {
        self.tile.iter().find(|tile| tile.axis == axis).map(|tile| tile.extent)
    }

    /// The extent of a tile axis.
    ///
    /// # Panics
    /// For another axis: the verifier keeps registers and `each` to the tile (rule V5).
    pub fn extent(&self, axis: AxisId) -> i64 {
        let extent = self.tile_extent(axis);
        extent.unwrap_or_else(|| panic!("leaf {}: axis {} is not in its tile", self.name, axis.0))
    }

    /// Points of the tile along these axes.
    pub fn points(&self, axes: &[AxisId]) -> i64 {
        axes.iter().map(|&axis| self.extent(axis)).product()
    }

    /// Which of a register array's registers is meant, counted along its axes.
    ///
    /// # Panics
    /// Where `at` misses one of them: an operation on it stands outside `each` of that axis.
    pub fn register_at(&self, reg: RegId, at: impl Fn(AxisId) -> Option<i64>) -> i64 {
        let register = &self.registers[reg.index()];
        register.axes.iter().fold(0, |point, &axis| {
            let value = at(axis);
            let value = value.unwrap_or_else(|| {
                panic!("leaf {}: {} is used outside of axis {}", self.name, register.name, axis.0)
            });
            point * self.extent(axis) + value
        })
    }

    /// Lanes of the vector at hand that count: the first so many. All of them where nothing is cut.
    pub fn live_lanes(&self, at: impl Fn(AxisId) -> Option<i64>) -> i64 {
        let width = self.width();
        let Some((lanes, cut)) = self.lanes.and_then(|lanes| Some((lanes, lanes.cut?))) else {
            return width;
        };
        let vector = lanes.vectors.and_then(at).unwrap_or(0);
        (cut - vector * width).clamp(0, width)
    }

    /// Whether a test says something else in each lane.
    pub fn is_tested_by_lane(&self, when: &[Cond]) -> bool {
        let lanes = self.lanes.filter(|lanes| lanes.width > 1);
        lanes.is_some_and(|lanes| when.iter().any(|c| c.expression().of_axis(lanes.axis) != 0))
    }

    /// The lanes in which all conditions hold, some of which are tested lane by lane; `None` where
    /// that depends on more than `at` gives.
    pub fn lanes_where(
        &self,
        when: &[Cond],
        at: impl Fn(AxisId) -> Option<i64>,
    ) -> Option<Range<i64>> {
        let lanes = self.lanes?;
        let mut range = 0..lanes.width;
        for cond in when {
            let Cond::NonNegative(a) = cond else { return None };
            let per = a.of_axis(lanes.axis);
            // per * lane + rest >= 0
            let rest = a.at(|axis| if axis == lanes.axis { Some(0) } else { at(axis) })?;
            match per {
                0 if rest >= 0 => {}
                0 => range.end = 0,
                per if per > 0 => range.start = range.start.max((-rest + per - 1).div_euclid(per)),
                per => range.end = range.end.min(rest.div_euclid(-per) + 1),
            }
        }
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use crate::nest::{Affine, AxisId, Cond, Lanes, Leaf};

    const LANE: AxisId = AxisId(90);
    const TAP: AxisId = AxisId(91);

    fn leaf(cut: Option<i64>) -> Leaf {
        let mut leaf = samples::lowered().leaves[0].clone();
        leaf.lanes = Some(Lanes { axis: LANE, width: 8, vectors: Some(TAP), cut });
        leaf
    }

    fn of_lane(per: i64, constant: i64) -> Cond {
        let tap = Affine::axis(TAP).times(-1);
        Cond::NonNegative(Affine::axis(LANE).times(per).plus(&tap).plus_constant(constant))
    }

    #[test]
    fn lanes_are_where_all_conditions_hold() {
        let at = |axis| (axis == TAP).then_some(1);
        let brute = |when: &[Cond]| -> Vec<i64> {
            let holds = |lane: i64| {
                let value = |axis| if axis == LANE { Some(lane) } else { at(axis) };
                Cond::all_at(when, value) == Some(true)
            };
            (0..8).filter(|&lane| holds(lane)).collect()
        };
        for per in [-3, -1, 1, 2] {
            for constant in -9..10 {
                let when = [of_lane(per, constant), of_lane(-1, 7)];
                let lanes = leaf(None).lanes_where(&when, at).unwrap();
                assert_eq!(lanes.collect::<Vec<_>>(), brute(&when), "{per} {constant}");
            }
        }
        assert_eq!(leaf(None).lanes_where(&[of_lane(1, 0)], |_| None), None);
    }

    #[test]
    fn the_cut_divides_one_vector() {
        let live = |vector| leaf(Some(11)).live_lanes(move |_| Some(vector));
        assert_eq!([live(0), live(1), live(2)], [8, 3, 0]);
        assert_eq!(leaf(None).live_lanes(|_| Some(1)), 8);
    }

    #[test]
    fn one_false_condition_decides() {
        let never = Cond::NonNegative(Affine::constant(-1));
        let at = |_| None;
        assert_eq!(Cond::all_at(&[of_lane(1, 0), never], at), Some(false));
        assert_eq!(Cond::all_at(&[of_lane(1, 0)], at), None);
        assert_eq!(Cond::all_at(&[], at), Some(true));
    }
}
