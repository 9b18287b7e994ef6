//! Vectors: a leaf's lanes as 128-bit registers, what is left over as scalars.
//!
//! In: a width. Out: [`Chunk`]s, and arithmetic on one chunk. Any width works; the good ones are
//! 1 and 16 bytes' worth of lanes. On a machine without vectors every lane is a chunk.

use conv_ir::nest::{Binary, Unary};
use conv_ir::{DType, Format};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value, types,
};

use super::emitter::Emitter;

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
    pub(super) fn is_scalar(&self) -> bool {
        self.lanes == 1
    }

    /// Its first lane by itself.
    pub(super) fn one(&self) -> Chunk {
        Chunk { lanes: 1, ..*self }
    }

    fn scalar(&self) -> Type {
        match self.dtype {
            DType::F64 => types::F64,
            DType::F32 | DType::F16 | DType::BF16 => types::F32,
            DType::I32 | DType::I8 | DType::U8 | DType::I16 | DType::U16 => types::I32,
        }
    }

    fn is_integer(&self) -> bool {
        self.dtype.is_integer()
    }

    pub(super) fn ty(&self) -> Type {
        self.scalar().by(self.lanes as u32).expect("a vector of 128 bits, or one lane")
    }

    /// Integers of the same shape.
    pub(super) fn ints(&self) -> Type {
        self.ty().as_int()
    }
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
        types::I32 => e.b.ins().iconst(types::I32, chunk.dtype.bits_of(c) as i64),
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
        Unary::Neg if chunk.is_integer() => e.b.ins().ineg(a),
        Unary::Abs if chunk.is_integer() => e.b.ins().iabs(a),
        Unary::Round if chunk.is_integer() => a,
        Unary::Exp2Int if chunk.is_integer() => {
            unreachable!("emit: no activation of integers scales")
        }
        Unary::Neg => e.b.ins().fneg(a),
        Unary::Abs => e.b.ins().fabs(a),
        Unary::Round => e.b.ins().nearest(a),
        Unary::Exp2Int => exp2_int(e, chunk, a),
        Unary::To(dtype) => unreachable!("emit: {dtype} is narrowed by `stored`"),
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
        Binary::Add if chunk.is_integer() => e.b.ins().iadd(a, b),
        Binary::Sub if chunk.is_integer() => e.b.ins().isub(a, b),
        Binary::Mul if chunk.is_integer() => e.b.ins().imul(a, b),
        Binary::Min if chunk.is_integer() => e.b.ins().smin(a, b),
        Binary::Max if chunk.is_integer() => e.b.ins().smax(a, b),
        Binary::Div | Binary::CopySign if chunk.is_integer() => {
            unreachable!("emit: {op:?} of integers is in no description")
        }
        Binary::Scale
        | Binary::MulHigh
        | Binary::ShiftRound
        | Binary::MulFloor
        | Binary::ShiftUp => {
            unreachable!("emit: {op:?} is for `requantise`")
        }
        Binary::Prelu => unreachable!("emit: a prelu after the check for it"),
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

/// `x * y + z`, rounded once where the machine can; of integers modulo 2^32.
pub(super) fn multiply_add(e: &mut Emitter<'_, '_>, chunk: Chunk, [x, y, z]: [Value; 3]) -> Value {
    if !chunk.is_integer() && e.facts.fma {
        return e.b.ins().fma(x, y, z);
    }
    let product = binary(e, chunk, Binary::Mul, x, y);
    binary(e, chunk, Binary::Add, product, z)
}

/// `then` where `a < b`, else `otherwise`.
pub(super) fn choose(
    e: &mut Emitter<'_, '_>,
    chunk: Chunk,
    (a, b): (Value, Value),
    then: Value,
    otherwise: Value,
) -> Value {
    let less = match chunk.is_integer() {
        true => e.b.ins().icmp(IntCC::SignedLessThan, a, b),
        false => e.b.ins().fcmp(FloatCC::LessThan, a, b),
    };
    if chunk.is_scalar() {
        return e.b.ins().select(less, then, otherwise);
    }
    let mask = bitcast(e, chunk.ty(), less);
    e.b.ins().bitselect(mask, then, otherwise)
}
