//! Accesses: what a load reads, where a store goes, and how an address divides into a cursor and a
//! displacement.
//!
//! ```text
//! input[ic, kh, ow.i + kw], f32, strides 3136, 56, 1; ow.i = 3, kw = 1      cursor: this pointer, 12544 bytes an ic and 224 a kh
//!                                                                           displacement: 16
//! ```

use conv_ir::nest::{Access, Affine, AxisId, Base, Cond, Expr, Index, RegId, Var};
use smallvec::{SmallVec, smallvec};

use super::Refusal;
use super::inst::{Cursor, Inst, Live, LoopEnd, Motion, Place, Source};
use super::walk::Walk;

/// An access with the lanes taken apart.
struct Reach {
    place: Place,
    /// Bytes between lanes.
    step: i64,
}

impl Walk<'_> {
    /// The load, where only lanes `within` may be touched.
    pub(super) fn load(&mut self, access: &Access, within: Live) -> Result<Source, Refusal> {
        let reach = self.reach(access)?;
        let (width, bytes) = (self.leaf.width(), self.bytes());
        let follows = reach.step != 0
            || self.leaf.lanes.and_then(|l| l.vectors).is_some_and(|v| mentions(access, v));
        let buffer = self.nest.buffer(self.nest.buffer_behind(self.leaf, access.base));
        let counts = self.live();
        let live = Live::first(buffer.touched(width, counts, Some(reach.step / bytes))).and(within);
        Ok(match reach.step {
            _ if Live::first(counts).and(within).is_empty() && follows => Source::Bits(0),
            _ if width == 1 => Source::Splat(reach.place),
            0 => Source::Splat(reach.place),
            step if step == bytes => Source::Vector { place: reach.place, live },
            step => Source::Strided { place: reach.place, step, live },
        })
    }

    pub(super) fn store(&mut self, to: &Access, value: &Expr) -> Result<(), Refusal> {
        let live = self.live();
        if live == 0 {
            return Ok(());
        }
        let value = self.expr(value, None)?;
        let Reach { place, step } = self.reach(to)?;
        if step == 0 && self.leaf.width() > 1 {
            return Err(Refusal::Operation("a store of all lanes to one element".into()));
        }
        self.out.push(Inst::Store { place, step, live, value });
        Ok(())
    }

    pub(super) fn block(&mut self, to: &Access, reg: RegId, along: AxisId) -> Result<(), Refusal> {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for at in 0..self.extent(along) {
            self.bind(along, Some(at));
            values.push(self.register(reg)?);
            places.push(self.reach(to)?);
        }
        self.bind(along, None);
        let live = self.live();
        let Some(first) = places.first().filter(|_| live > 0) else {
            return Ok(());
        };
        let step =
            places.get(1).map_or(self.bytes(), |second| second.place.bytes - first.place.bytes);
        self.out.push(Inst::Block {
            place: first.place,
            step: first.step,
            along: step,
            live,
            values,
        });
        Ok(())
    }

    fn bytes(&self) -> i64 {
        self.nest.dtype.bytes() as i64
    }

    /// Lanes of the current vector that are not beyond the cut.
    fn live(&self) -> i64 {
        let width = self.leaf.width();
        let Some((lanes, cut)) = self.leaf.lanes.and_then(|l| Some((l, l.cut?))) else {
            return width;
        };
        let vector = lanes.vectors.and_then(|v| self.known(v)).unwrap_or(0);
        (cut - vector * width).clamp(0, width)
    }

    /// Where in the lanes all conditions hold.
    pub(super) fn lanes_where(&self, when: &[Cond]) -> Result<Live, Refusal> {
        let width = self.leaf.width();
        let mut lanes = Live::first(width);
        for cond in when {
            let (Cond::NonNegative(a), Some(axis)) = (cond, self.leaf.lanes.map(|l| l.axis)) else {
                return Err(Refusal::Condition);
            };
            let per = a.of_axis(axis);
            let rest = self.value(&a.clone().plus_term(Var::Axis(axis), -per));
            let rest = rest.ok_or(Refusal::Condition)?;
            // per * lane + rest >= 0
            lanes = lanes.and(match per {
                0 if rest >= 0 => lanes,
                0 => Live::first(0),
                per if per > 0 => Live::new((-rest + per - 1).div_euclid(per), width),
                per => Live::first(rest.div_euclid(-per) + 1),
            });
        }
        Ok(lanes)
    }

    pub(super) fn holds(&self, when: &[Cond]) -> Result<bool, Refusal> {
        for cond in when {
            let value = self.value(cond.expression()).ok_or(Refusal::Condition)?;
            let holds = match cond {
                Cond::NonNegative(_) => value >= 0,
                Cond::Divides(by, _) => value % by == 0,
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number that an expression is now, if everything in it is known.
    fn value(&self, a: &Affine) -> Option<i64> {
        a.terms().iter().try_fold(a.constant, |sum, &(var, coefficient)| match var {
            Var::Axis(axis) => Some(sum + coefficient * self.known(axis)?),
            Var::Symbol(_) => None,
        })
    }

    fn reach(&mut self, access: &Access) -> Result<Reach, Refusal> {
        let Base::Pointer(pointer) = access.base else {
            return Err(Refusal::Operation("a leaf that is not outlined".into()));
        };
        let element = self.bytes();
        let (mut bytes, mut step, mut moves) = (0, 0, smallvec![0; self.serial.len()]);
        for (dimension, index) in access.index.iter().enumerate() {
            let stride = self.strides[pointer.index()][dimension].map(|s| s * element);
            if let Index::Affine(a) = index {
                bytes += self.along(a, stride, &mut step, &mut moves)?;
            } else {
                bytes += self.folded(index)? * stride.ok_or(Refusal::Stride)?;
            }
        }
        // Cursors start where the loops start.
        for (l, by) in self.code.loops.iter().zip(&moves) {
            if let LoopEnd::Known(lo) = l.lo {
                bytes += lo * by;
            }
        }
        Ok(Reach { place: Place { cursor: self.cursor(pointer.index(), moves), bytes }, step })
    }

    /// Bytes along one dimension, as far as they are known; the rest is a step between lanes or
    /// moves with a loop.
    fn along(
        &self,
        a: &Affine,
        stride: Option<i64>,
        step: &mut i64,
        moves: &mut SmallVec<[i64; 4]>,
    ) -> Result<i64, Refusal> {
        let mut at = a.constant;
        for &(var, coefficient) in a.terms() {
            let Var::Axis(axis) = var else {
                return Err(Refusal::Stride);
            };
            if let Some(value) = self.known(axis) {
                at += coefficient * value;
                continue;
            }
            let bytes = coefficient * stride.ok_or(Refusal::Stride)?;
            if self.leaf.lanes.is_some_and(|l| l.axis == axis) {
                *step += bytes;
            } else {
                let l = self.serial.iter().position(|s| *s == axis).ok_or(Refusal::Index)?;
                moves[l] += bytes;
            }
        }
        match at {
            0 => Ok(0),
            at => Ok(at * stride.ok_or(Refusal::Stride)?),
        }
    }

    /// A quotient or a fold, where it is decided.
    fn folded(&self, index: &Index) -> Result<i64, Refusal> {
        let value = match index {
            Index::Affine(a) => self.value(a),
            Index::Quotient(q) => self.value(&q.numerator).map(|n| n.div_euclid(q.divisor)),
            Index::Folded { index, extent, fold } => {
                let both = self.value(index).zip(extent.as_constant());
                both.map(|(i, e)| fold.apply(i, e))
            }
        };
        value.ok_or(Refusal::Index)
    }

    fn cursor(&mut self, pointer: usize, moves: SmallVec<[i64; 4]>) -> Cursor {
        let same = |c: &Motion| c.pointer == pointer && c.moves == moves;
        if let Some(known) = self.code.cursors.iter().position(same) {
            return Cursor(known as u32);
        }
        self.code.cursors.push(Motion { pointer, moves });
        Cursor(self.code.cursors.len() as u32 - 1)
    }
}

fn mentions(access: &Access, axis: AxisId) -> bool {
    access.index.iter().any(|i| index_names(i, axis))
}

pub(super) fn index_names(index: &Index, axis: AxisId) -> bool {
    match index {
        Index::Affine(a) => a.of_axis(axis) != 0,
        Index::Quotient(q) => q.numerator.of_axis(axis) != 0,
        Index::Folded { index, .. } => index.of_axis(axis) != 0,
    }
}

/// Elements between neighbours along each dimension.
pub(super) fn strides(extents: &[Affine]) -> Vec<Option<i64>> {
    let mut stride = Some(1);
    let mut all: Vec<Option<i64>> = Vec::with_capacity(extents.len());
    for extent in extents.iter().rev() {
        all.push(stride);
        stride = stride.zip(extent.as_constant()).map(|(s, e)| s * e);
    }
    all.reverse();
    all
}
