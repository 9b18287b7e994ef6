//! Loads and stores of a leaf's vectors, a chunk at a time.
//!
//! Lanes at one element are a splat, neighbours one load, and any others are loaded one by one.

use conv_ir::DType;
use conv_ir::nest::{Access, Expr, Reach};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};

use super::address::{Address, Detail};
use super::emitter::Emitter;
use super::stored::{self, is_stored};
use super::tile::Tile;
use super::vector::{Chunk, Vector, constant};

/// Memory of ours or checked at the door: it never traps, and may have any alignment.
fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl Tile<'_> {
    pub(super) fn per_chunk(&self, mut f: impl FnMut(usize, Chunk) -> Value) -> Vector {
        self.chunks.iter().enumerate().map(|(at, chunk)| f(at, *chunk)).collect()
    }

    pub(super) fn constant(&self, e: &mut Emitter<'_, '_>, c: f64) -> Vector {
        self.per_chunk(|_, chunk| constant(e, chunk, c))
    }

    pub(super) fn place_of(&self, e: &mut Emitter<'_, '_>, access: &Access, lane: i64) -> Address {
        self.at_lane(e, lane);
        let place = e.place(Some(self.leaf), access, Detail::Full);
        self.at_lane(e, 0);
        place
    }

    pub(super) fn load(&self, e: &mut Emitter<'_, '_>, access: &Access) -> Vector {
        let live = self.live(e);
        self.per_chunk(|_, chunk| {
            self.load_chunk(e, access, chunk, (live - chunk.first).clamp(0, chunk.lanes))
        })
    }

    fn load_chunk(
        &self,
        e: &mut Emitter<'_, '_>,
        access: &Access,
        chunk: Chunk,
        live: i64,
    ) -> Value {
        if live == 0 {
            return constant(e, chunk, 0.0);
        }
        let first = self.place_of(e, access, chunk.first);
        let buffer = e.nest.buffer(e.nest.buffer_behind(self.leaf, access.base));
        if chunk.is_scalar() {
            return load_at(e, chunk, buffer.dtype, &first);
        }
        match e.nest.reach(self.leaf, access) {
            Reach::Splat => {
                let scalar = load_at(e, chunk.one(), buffer.dtype, &first);
                e.b.ins().splat(chunk.ty(), scalar)
            }
            Reach::Row => match buffer.touched(chunk.lanes, live, Reach::Row) == chunk.lanes {
                true => load_at(e, chunk, buffer.dtype, &first),
                false => self.gather(e, access, chunk, live),
            },
            Reach::Pairs | Reach::Apart(_) => self.gather(e, access, chunk, live),
        }
    }

    fn gather(&self, e: &mut Emitter<'_, '_>, access: &Access, chunk: Chunk, live: i64) -> Value {
        let mut vector = constant(e, chunk, 0.0);
        let dtype = e.nest.buffer(e.nest.buffer_behind(self.leaf, access.base)).dtype;
        for lane in 0..live {
            let place = self.place_of(e, access, chunk.first + lane);
            let scalar = load_at(e, chunk.one(), dtype, &place);
            vector = e.b.ins().insertlane(vector, scalar, lane as u8);
        }
        vector
    }

    pub(super) fn store(&self, e: &mut Emitter<'_, '_>, to: &Access, value: &Expr) {
        let (live, vector) = (self.live(e), self.eval(e, value));
        for (chunk, &value) in self.chunks.iter().zip(&vector) {
            self.store_chunk(e, to, *chunk, (live - chunk.first).clamp(0, chunk.lanes), value);
        }
    }

    /// Stores the first `live` lanes.
    pub(super) fn store_chunk(
        &self,
        e: &mut Emitter<'_, '_>,
        to: &Access,
        chunk: Chunk,
        live: i64,
        value: Value,
    ) {
        if live == 0 {
            return;
        }
        let dtype = e.nest.buffer(e.nest.buffer_behind(self.leaf, to.base)).dtype;
        if is_stored(e, dtype) {
            let bits = stored::narrow(e, chunk, dtype, value);
            for lane in 0..live {
                let place = self.place_of(e, to, chunk.first + lane);
                let (pointer, displacement) = e.address(&place);
                let one = stored::lane(e, chunk, bits, lane);
                stored::store(e, dtype, one, (pointer, displacement), flags());
            }
            return;
        }
        let first = self.place_of(e, to, chunk.first);
        let whole = live == chunk.lanes;
        if chunk.is_scalar() || whole && e.nest.reach(self.leaf, to) == Reach::Row {
            return store_at(e, value, &first);
        }
        for lane in 0..live {
            let place = self.place_of(e, to, chunk.first + lane);
            let scalar = e.b.ins().extractlane(value, lane as u8);
            store_at(e, scalar, &place);
        }
    }
}

/// A chunk's elements, which lie side by side in a buffer of this type.
fn load_at(e: &mut Emitter<'_, '_>, chunk: Chunk, dtype: DType, place: &Address) -> Value {
    let address = e.address(place);
    match is_stored(e, dtype) {
        true => {
            let bits = stored::load(e, chunk, dtype, address, flags());
            stored::widen(e, chunk, dtype, bits)
        }
        false => e.b.ins().load(chunk.ty(), flags(), address.0, address.1),
    }
}

pub(super) fn store_at(e: &mut Emitter<'_, '_>, value: Value, place: &Address) {
    let (pointer, displacement) = e.address(place);
    e.b.ins().store(flags(), value, pointer, displacement);
}
