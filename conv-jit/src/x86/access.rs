//! Accesses: what a load reads, where a store goes, and how an address divides into a cursor and a displacement.
//!
//! ```text
//! input[ic, kh, ow.i + kw], f32, strides 3136, 56, 1; ow.i = 3, kw = 1      cursor: this pointer, 12544 bytes an ic and 224 a kh
//!                                                                           displacement: 16
//! ```

use conv_ir::nest::{Access, Affine, AxisId, Base, BufferRole, Cond, Expr, Index, RegId, Var};
use smallvec::{SmallVec, smallvec};

use super::Refusal;
use super::inst::{Cursor, End, Inst, Live, Motion, Place, Source};
use super::plan::Walk;

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
            || self
                .leaf
                .lanes
                .and_then(|l| l.vectors)
                .is_some_and(|v| mentions(access, v));
        // Our own buffers have a vector of slack behind them.
        let ours = matches!(
            self.nest.buffer(self.nest.buffer_behind(self.leaf, access.base)).role,
            BufferRole::Packed | BufferRole::Scratch
        );
        let live = Live::first(if ours { width } else { self.live() }).and(within);
        Ok(match reach.step {
            _ if live.is_empty() && follows => Source::Bits(0),
            _ if width == 1 => Source::Splat(reach.place),
            0 => Source::Splat(reach.place),
            step if step == bytes => Source::Vector {
                place: reach.place,
                live,
            },
            step => Source::Strided {
                place: reach.place,
                step,
                live,
            },
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
        self.out.push(Inst::Store {
            place,
            step,
            live,
            value,
        });
        Ok(())
    }

    pub(super) fn block(&mut self, to: &Access, reg: RegId, along: AxisId) -> Result<(), Refusal> {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for at in 0..self.extent(along) {
            self.known.insert(along, at);
            values.push(self.register(reg)?);
            places.push(self.reach(to)?);
        }
        self.known.remove(&along);
        let live = self.live();
        let Some(first) = places.first().filter(|_| live > 0) else {
            return Ok(());
        };
        let step = places
            .get(1)
            .map_or(self.bytes(), |second| second.place.bytes - first.place.bytes);
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
        let vector = lanes.vectors.and_then(|v| self.known.get(&v)).copied().unwrap_or(0);
        (cut - vector * width).clamp(0, width)
    }

    /// Where in the lanes all conditions hold.
    pub(super) fn lanes_where(&self, when: &[Cond]) -> Result<Live, Refusal> {
        let width = self.leaf.width();
        let mut lanes = Live::first(width);
        for cond in when {
            let now = cond.map(&mut |a| self.settle(a));
            let (Cond::NonNegative(a), Some(axis)) = (&now, self.leaf.lanes.map(|l| l.axis)) else {
                return Err(Refusal::Condition);
            };
            let (per, rest) = (a.of_axis(axis), a.clone().plus_term(Var::Axis(axis), -a.of_axis(axis)));
            let rest = rest.as_constant().ok_or(Refusal::Condition)?;
            // per * lane + rest >= 0
            lanes = lanes.and(match per {
                0 if rest >= 0 => lanes,
                0 => Live::first(0),
                per if per > 0 => Live {
                    from: (-rest + per - 1).div_euclid(per),
                    to: width,
                },
                per => Live::first(rest.div_euclid(-per) + 1),
            });
        }
        Ok(lanes)
    }

    pub(super) fn holds(&self, when: &[Cond]) -> Result<bool, Refusal> {
        for cond in when {
            let now = cond.map(&mut |a| self.settle(a));
            match now.as_constant() {
                Some(true) => {}
                Some(false) => return Ok(false),
                None => return Err(Refusal::Condition),
            }
        }
        Ok(true)
    }

    /// With what is known put in.
    fn settle(&self, a: &Affine) -> Affine {
        let known = |axis: &AxisId| self.known.get(axis).map(|v| (*axis, *v));
        let axes: SmallVec<[(AxisId, i64); 4]> = a.axes().filter_map(|axis| known(&axis)).collect();
        axes.iter().fold(a.clone(), |sum, (axis, value)| {
            sum.substitute(Var::Axis(*axis), &(*value).into())
        })
    }

    fn reach(&mut self, access: &Access) -> Result<Reach, Refusal> {
        let Base::Pointer(pointer) = access.base else {
            return Err(Refusal::Operation("a leaf that is not outlined".into()));
        };
        let element = self.bytes();
        let (mut bytes, mut step, mut moves) = (0, 0, smallvec![0; self.serial.len()]);
        for (dimension, index) in access.index.iter().enumerate() {
            let index = self.settle(&self.plain(index)?);
            if index == Affine::default() {
                continue;
            }
            let stride = element * self.strides[pointer.index()][dimension].ok_or(Refusal::Stride)?;
            bytes += index.constant * stride;
            for &(var, coefficient) in index.terms() {
                self.term(var, coefficient * stride, &mut step, &mut moves)?;
            }
        }
        // Cursors start where the loops start.
        for (l, by) in self.plan.loops.iter().zip(&moves) {
            if let End::Known(lo) = l.lo {
                bytes += lo * by;
            }
        }
        Ok(Reach {
            place: Place {
                cursor: self.cursor(pointer.index(), moves),
                bytes,
            },
            step,
        })
    }

    fn term(&self, var: Var, bytes: i64, step: &mut i64, moves: &mut SmallVec<[i64; 4]>) -> Result<(), Refusal> {
        let Var::Axis(axis) = var else {
            return Err(Refusal::Stride);
        };
        if self.leaf.lanes.is_some_and(|l| l.axis == axis) {
            *step += bytes;
        } else {
            let at = self.serial.iter().position(|s| *s == axis).ok_or(Refusal::Index)?;
            moves[at] += bytes;
        }
        Ok(())
    }

    /// An index without folds, where they are decided.
    fn plain(&self, index: &Index) -> Result<Affine, Refusal> {
        match index {
            Index::Affine(a) => Ok(a.clone()),
            Index::Quotient(q) => self
                .settle(&q.numerator)
                .as_constant()
                .map(|n| n.div_euclid(q.divisor).into())
                .ok_or(Refusal::Index),
            Index::Folded { index, extent, fold } => {
                let (index, extent) = (self.settle(index).as_constant(), extent.as_constant());
                let folded = index.zip(extent).map(|(i, e)| fold.apply(i, e).into());
                folded.ok_or(Refusal::Index)
            }
        }
    }

    fn cursor(&mut self, pointer: usize, moves: SmallVec<[i64; 4]>) -> Cursor {
        if let Some(known) = self.cursors.get(&(pointer, moves.clone())) {
            return *known;
        }
        let cursor = Cursor(self.plan.cursors.len() as u32);
        self.plan.cursors.push(Motion {
            pointer,
            moves: moves.clone(),
        });
        self.cursors.insert((pointer, moves), cursor);
        cursor
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
