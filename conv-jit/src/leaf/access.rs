//! Accesses: what a load reads, where a store goes, and how an address divides into a cursor and a
//! displacement.
//!
//! ```text
//! input[ic, kh, ow.i + kw]    f32, strides 3136, 56, 1; ow.i = 3, kw = 1
//! cursor                      this pointer, 12544 bytes an ic and 224 a kh
//! displacement                16
//! ```

use conv_ir::DType;
use conv_ir::nest::{Access, Affine, AxisId, Base, Expr, Index, Reach, RegId, Var};
use smallvec::{SmallVec, smallvec};

use super::Refusal;
use super::inst::{Cursor, Inst, Live, LoopEnd, Motion, Place, Source};
use super::walk::Walk;

impl Walk<'_> {
    /// The load, where only lanes `within` may be touched.
    pub(super) fn load(&mut self, access: &Access, within: Live) -> Result<Source, Refusal> {
        let place = self.place(access)?;
        let reach = self.nest.reach(self.leaf, access);
        let width = self.leaf.width();
        let follows = reach != Reach::Splat
            || self.leaf.lanes.and_then(|l| l.vectors).is_some_and(|v| access.follows(v));
        let buffer = self.nest.buffer(self.nest.buffer_behind(self.leaf, access.base));
        let counts = self.leaf.live_lanes(|axis| self.known(axis));
        let live = Live::first(buffer.touched(width, counts, reach)).and(within);
        let dtype = buffer.dtype;
        Ok(match reach {
            _ if Live::first(counts).and(within).is_empty() && follows => Source::Bits(0),
            _ if dtype != self.nest.dtype => {
                let step = if width == 1 { 0 } else { self.lane_step(reach, dtype)? };
                Source::Stored { dtype, place, step, live }
            }
            _ if width == 1 => Source::Splat(place),
            Reach::Splat => Source::Splat(place),
            Reach::Row => Source::Vector { place, live },
            Reach::Pairs | Reach::Apart(_) => {
                Source::Strided { place, step: self.lane_step(reach, dtype)?, live }
            }
        })
    }

    pub(super) fn store(&mut self, to: &Access, value: &Expr) -> Result<(), Refusal> {
        let live = self.leaf.live_lanes(|axis| self.known(axis));
        if live == 0 {
            return Ok(());
        }
        let value = self.expr(value, None)?;
        let (place, reach) = (self.place(to)?, self.nest.reach(self.leaf, to));
        if reach == Reach::Splat && self.leaf.width() > 1 {
            return Err(Refusal::Operation("a store of all lanes to one element".into()));
        }
        let dtype = self.dtype_of(to);
        let step = self.lane_step(reach, dtype)?;
        self.out.push(Inst::Store { dtype, place, step, live, value });
        Ok(())
    }

    pub(super) fn block(&mut self, to: &Access, reg: RegId, along: AxisId) -> Result<(), Refusal> {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for at in 0..self.leaf.extent(along) {
            self.bind(along, Some(at));
            values.push(self.register(reg)?);
            places.push(self.place(to)?);
        }
        self.bind(along, None);
        let live = self.leaf.live_lanes(|axis| self.known(axis));
        let Some(&place) = places.first().filter(|_| live > 0) else {
            return Ok(());
        };
        let dtype = self.dtype_of(to);
        let step = self.lane_step(self.nest.reach(self.leaf, to), dtype)?;
        let element = dtype.bytes() as i64;
        let along = places.get(1).map_or(element, |second| second.bytes - place.bytes);
        self.out.push(Inst::Block { dtype, place, step, along, live, values });
        Ok(())
    }

    /// Bytes from lane to lane.
    fn lane_step(&self, reach: Reach, dtype: DType) -> Result<i64, Refusal> {
        reach.step().map(|step| step * dtype.bytes() as i64).ok_or(Refusal::Stride)
    }

    /// The type of the buffer that an access reaches into.
    fn dtype_of(&self, access: &Access) -> DType {
        self.nest.buffer(self.nest.buffer_behind(self.leaf, access.base)).dtype
    }

    /// Where the first lane is.
    fn place(&mut self, access: &Access) -> Result<Place, Refusal> {
        let Base::Pointer(pointer) = access.base else {
            return Err(Refusal::Operation("a leaf that is not outlined".into()));
        };

        let element = self.dtype_of(access).bytes() as i64;
        let (mut bytes, mut moves) = (0, smallvec![0; self.serial.len()]);
        for (dimension, index) in access.index.iter().enumerate() {
            let stride = self.strides[pointer.index()][dimension].map(|s| s * element);
            if let Index::Affine(a) = index {
                bytes += self.along(a, stride, &mut moves)?;
            } else {
                let folded = index.at(|axis| self.known(axis)).ok_or(Refusal::Index)?;
                bytes += folded * stride.ok_or(Refusal::Stride)?;
            }
        }
        // Cursors start where the loops start.
        for (l, by) in self.code.loops.iter().zip(&moves) {
            if let LoopEnd::Known(lo) = l.lo {
                bytes += lo * by;
            }
        }
        Ok(Place { cursor: self.cursor(pointer.index(), moves), bytes })
    }

    /// Bytes along one dimension, as far as they are known; the rest moves with a loop. Lanes count
    /// from the first.
    fn along(
        &self,
        a: &Affine,
        stride: Option<i64>,
        moves: &mut SmallVec<[i64; 4]>,
    ) -> Result<i64, Refusal> {
        let mut at = a.constant;
        for &(var, coefficient) in a.terms() {
            let Var::Axis(axis) = var else {
                return Err(Refusal::Stride);
            };
            if let Some(value) = self.known(axis) {
                at += coefficient * value;
            } else if self.leaf.lanes.is_none_or(|l| l.axis != axis) {
                let l = self.serial.iter().position(|s| *s == axis).ok_or(Refusal::Index)?;
                moves[l] += coefficient * stride.ok_or(Refusal::Stride)?;
            }
        }
        match at {
            0 => Ok(0),
            at => Ok(at * stride.ok_or(Refusal::Stride)?),
        }
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
