//! Vectors: a leaf's lanes as 128-bit registers, what is left over as scalars.
//!
//! In: a width. Out: [`Chunk`]s, and loads, stores and arithmetic on one chunk. Any width works;
//! the good ones are 1 and 16 bytes' worth of lanes. On a machine without vectors every lane is a
//! chunk.
//!
//! Lanes at one element are a splat, neighbours one load, and any others are loaded one by one.

use conv_ir::nest::{Access, Binary, Expr, Reach, Unary};
use conv_ir::{DType, Format};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{
    ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value, types,
};

use super::address::{Detail, Place};
use super::emitter::Emitter;
use super::leaf::Tile;

/// One value per chunk.
pub(super) type Vector = Vec<Value>;

/// Lanes that share a machine register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// The first lane.
    pub first: i64,
    /// How many; 1 is a scalar.
    pub lanes: i64,
    dtype: DType,
}

/// Bytes of a vector register.
const VECTOR: i64 = 16;

pub(super) fn chunks(dtype: DType, width: i64, simd: bool) -> Vec<Chunk> {
    let lanes = if simd { VECTOR / dtype.bytes() as i64 } else { 1 };
    let full = width / lanes;
    let vectors = (0..full).map(|at| Chunk { first: at * lanes, lanes, dtype });
    let rest = (full * lanes..width).map(|first| Chunk { first, lanes: 1, dtype });
    vectors.chain(rest).collect()
}

impl Chunk {
    fn is_scalar(&self) -> bool {
        self.lanes == 1
    }

    pub(super) fn scalar(&self) -> Type {
        match self.dtype {
            DType::F32 => types::F32,
            DType::F64 => types::F64,
        }
    }

    pub(super) fn ty(&self) -> Type {
        self.scalar().by(self.lanes as u32).expect("a vector of 128 bits, or one lane")
    }

    /// Integers of the same shape.
    fn ints(&self) -> Type {
        self.ty().as_int()
    }
}

/// Memory of ours or checked at the door: it never traps, and may have any alignment.
pub(super) fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// The same bits as another type. Lanes count as they do in memory on little-endian machines.
pub(super) fn bitcast(e: &mut Emitter<'_, '_>, to: Type, value: Value) -> Value {
    let flags = MemFlagsData::new().with_endianness(Endianness::Little);
    e.b.ins().bitcast(to, flags, value)
}

/// A constant in every lane, made anew at each use: it costs one load, and no register in between.
pub(super) fn constant(e: &mut Emitter<'_, '_>, chunk: Chunk, c: f64) -> Value {
    match chunk.ty() {
        types::F32 => e.b.ins().f32const(c as f32),
        types::F64 => e.b.ins().f64const(c),
        vector => {
            let bits = chunk.dtype.bits_of(c).to_le_bytes();
            let bytes = bits[..chunk.dtype.bytes()].repeat(chunk.lanes as usize);
            let constant = e.b.func.dfg.constants.insert(ConstantData::from(bytes));
            e.b.ins().vconst(vector, constant)
        }
    }
}

pub(super) fn unary(e: &mut Emitter<'_, '_>, chunk: Chunk, op: Unary, a: Value) -> Value {
    match op {
        Unary::Neg => e.b.ins().fneg(a),
        Unary::Abs => e.b.ins().fabs(a),
        Unary::Round => e.b.ins().nearest(a),
        Unary::Exp2Int => exp2_int(e, chunk, a),
    }
}

/// Adding 1.5 * 2^mantissa puts the integer into the low bits of the mantissa, the exponent's bias
/// with it; shifted up, it is the exponent.
fn exp2_int(e: &mut Emitter<'_, '_>, chunk: Chunk, a: Value) -> Value {
    let &Format { mantissa, bias, .. } = chunk.dtype.format();
    let magic = constant(e, chunk, 1.5 * f64::from(mantissa).exp2() + bias as f64);
    let moved = e.b.ins().fadd(a, magic);
    let bits = bitcast(e, chunk.ints(), moved);
    let exponent = e.b.ins().ishl_imm_u(bits, i64::from(mantissa));
    bitcast(e, chunk.ty(), exponent)
}

pub(super) fn binary(
    e: &mut Emitter<'_, '_>,
    chunk: Chunk,
    op: Binary,
    a: Value,
    b: Value,
) -> Value {
    match op {
        Binary::Add => e.b.ins().fadd(a, b),
        Binary::Sub => e.b.ins().fsub(a, b),
        Binary::Mul => e.b.ins().fmul(a, b),
        Binary::Div => e.b.ins().fdiv(a, b),
        // These two forms are what `minps` and `maxps` do, NaN and zeros included, and Cranelift
        // knows them by sight.
        Binary::Min => choose(e, chunk, (a, b), a, b),
        Binary::Max => choose(e, chunk, (b, a), a, b),
        Binary::CopySign if chunk.is_scalar() => e.b.ins().fcopysign(a, b),
        Binary::CopySign => {
            let sign = constant(e, chunk, -0.0);
            e.b.ins().bitselect(sign, b, a)
        }
    }
}

/// `then` where `a < b`, else `otherwise`.
pub(super) fn choose(
    e: &mut Emitter<'_, '_>,
    chunk: Chunk,
    (a, b): (Value, Value),
    then: Value,
    otherwise: Value,
) -> Value {
    let less = e.b.ins().fcmp(FloatCC::LessThan, a, b);
    if chunk.is_scalar() {
        return e.b.ins().select(less, then, otherwise);
    }
    let mask = bitcast(e, chunk.ty(), less);
    e.b.ins().bitselect(mask, then, otherwise)
}

impl Tile<'_> {
    pub(super) fn per_chunk(&self, mut f: impl FnMut(usize, Chunk) -> Value) -> Vector {
        self.chunks.iter().enumerate().map(|(at, chunk)| f(at, *chunk)).collect()
    }

    pub(super) fn constant(&self, e: &mut Emitter<'_, '_>, c: f64) -> Vector {
        self.per_chunk(|_, chunk| constant(e, chunk, c))
    }

    pub(super) fn place_of(&self, e: &mut Emitter<'_, '_>, access: &Access, lane: i64) -> Place {
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
        if chunk.is_scalar() {
            return load_at(e, chunk.ty(), &first);
        }
        match e.nest.reach(self.leaf, access) {
            Reach::Splat => {
                let scalar = load_at(e, chunk.scalar(), &first);
                e.b.ins().splat(chunk.ty(), scalar)
            }
            Reach::Row => {
                let buffer = e.nest.buffer(e.nest.buffer_behind(self.leaf, access.base));
                match buffer.touched(chunk.lanes, live, Reach::Row) == chunk.lanes {
                    true => load_at(e, chunk.ty(), &first),
                    false => self.gather(e, access, chunk, live),
                }
            }
            Reach::Pairs | Reach::Apart(_) => self.gather(e, access, chunk, live),
        }
    }

    fn gather(&self, e: &mut Emitter<'_, '_>, access: &Access, chunk: Chunk, live: i64) -> Value {
        let mut vector = constant(e, chunk, 0.0);
        for lane in 0..live {
            let place = self.place_of(e, access, chunk.first + lane);
            let scalar = load_at(e, chunk.scalar(), &place);
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

fn load_at(e: &mut Emitter<'_, '_>, ty: Type, place: &Place) -> Value {
    let (pointer, displacement) = e.address(place);
    e.b.ins().load(ty, flags(), pointer, displacement)
}

pub(super) fn store_at(e: &mut Emitter<'_, '_>, value: Value, place: &Place) {
    let (pointer, displacement) = e.address(place);
    e.b.ins().store(flags(), value, pointer, displacement);
}
