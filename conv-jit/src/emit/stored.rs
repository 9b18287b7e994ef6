//! Elements of narrower types than they are computed in: widened and narrowed in integers, four
//! lanes or one.
//!
//! ```text
//! f16   widen    magnitude << 13 is the number times 2^-112, subnormal ones too; all ones in the
//!                exponent are put back
//!       narrow   normal    add half a unit, less one where the last bit is even, and shift
//!                subnormal add 1/2, whose unit is f16's least: the adder rounds
//! bf16  widen    << 16
//!       narrow   the same addition and shift, without another exponent
//! i8 .. widen    by the load
//!       narrow   the lowest bits, of what was brought into the range before
//! ```
//!
//! Floating-point numbers are rounded to nearest even, and NaN stays NaN.

use conv_ir::{DType, Kind};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Value, types};

use super::emitter::Emitter;
use super::vector::{Chunk, bitcast, constant};

/// Whether numbers of that type are widened when they are loaded.
pub(super) fn is_stored(e: &Emitter<'_, '_>, dtype: DType) -> bool {
    dtype != e.nest.dtype
}

/// The bits of neighbouring elements, above them zeros, or the sign of a signed integer.
pub(super) fn load(
    e: &mut Emitter<'_, '_>,
    chunk: Chunk,
    dtype: DType,
    (pointer, displacement): (Value, i32),
    flags: MemFlagsData,
) -> Value {
    let signed = dtype.format().kind == Kind::Signed;
    if dtype.bytes() == 1 && !chunk.is_scalar() {
        return load_bytes(e, signed, (pointer, displacement), flags);
    }
    match (chunk.is_scalar(), dtype.bytes(), signed) {
        (true, 1, false) => e.b.ins().uload8(types::I32, flags, pointer, displacement),
        (true, 1, true) => e.b.ins().sload8(types::I32, flags, pointer, displacement),
        (true, _, false) => e.b.ins().uload16(types::I32, flags, pointer, displacement),
        (true, _, true) => e.b.ins().sload16(types::I32, flags, pointer, displacement),
        (false, _, false) => e.b.ins().uload16x4(flags, pointer, displacement),
        (false, _, true) => e.b.ins().sload16x4(flags, pointer, displacement),
    }
}

/// Four bytes, widened twice.
fn load_bytes(
    e: &mut Emitter<'_, '_>,
    signed: bool,
    (pointer, displacement): (Value, i32),
    flags: MemFlagsData,
) -> Value {
    let flags = flags.with_endianness(Endianness::Little);
    let all = e.b.ins().load(types::I32, flags, pointer, displacement);
    let first = e.b.ins().scalar_to_vector(types::I32X4, all);
    let bytes = bitcast(e, types::I8X16, first);
    if signed {
        let words = e.b.ins().swiden_low(bytes);
        return e.b.ins().swiden_low(words);
    }
    let words = e.b.ins().uwiden_low(bytes);
    e.b.ins().uwiden_low(words)
}

/// One lane's bits.
pub(super) fn lane(e: &mut Emitter<'_, '_>, chunk: Chunk, bits: Value, lane: i64) -> Value {
    if chunk.is_scalar() { bits } else { e.b.ins().extractlane(bits, lane as u8) }
}

/// Stores the bits of one element.
pub(super) fn store(
    e: &mut Emitter<'_, '_>,
    dtype: DType,
    bits: Value,
    (pointer, displacement): (Value, i32),
    flags: MemFlagsData,
) {
    match dtype.bytes() {
        1 => e.b.ins().istore8(flags, bits, pointer, displacement),
        _ => e.b.ins().istore16(flags, bits, pointer, displacement),
    };
}

/// The nearest numbers of a type.
pub(super) fn nearest(e: &mut Emitter<'_, '_>, chunk: Chunk, dtype: DType, value: Value) -> Value {
    let Some((least, greatest)) = dtype.range() else {
        let bits = narrow(e, chunk, dtype, value);
        return widen(e, chunk, dtype, bits);
    };
    let (least, greatest) = (int(e, chunk, least as i32), int(e, chunk, greatest as i32));
    let value = e.b.ins().smax(value, least);
    e.b.ins().smin(value, greatest)
}

/// The numbers with these bits, in the type that they are computed in.
pub(super) fn widen(e: &mut Emitter<'_, '_>, chunk: Chunk, dtype: DType, bits: Value) -> Value {
    if dtype.is_integer() {
        return bits;
    }
    if dtype != DType::F16 {
        let shifted = e.b.ins().ishl_imm_u(bits, 16);
        return bitcast(e, chunk.ty(), shifted);
    }
    let all = int(e, chunk, 0x7fff);
    let magnitude = e.b.ins().band(bits, all);
    let shifted = e.b.ins().ishl_imm_u(magnitude, 13);
    let small = bitcast(e, chunk.ty(), shifted);
    let scale = constant(e, chunk, 112f64.exp2());
    let number = e.b.ins().fmul(small, scale);
    let number = bitcast(e, chunk.ints(), number);
    let exponent = int(e, chunk, 0x7f80_0000);
    let special = e.b.ins().bor(number, exponent);
    let largest = int(e, chunk, 0x7bff);
    let is_special = e.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, largest);
    let number = pick(e, chunk, is_special, special, number);
    let sign = e.b.ins().bxor(bits, magnitude);
    let sign = e.b.ins().ishl_imm_u(sign, 16);
    let number = e.b.ins().bor(number, sign);
    bitcast(e, chunk.ty(), number)
}

/// The bits of the nearest numbers, zeros above them; of integers their lowest bits, whatever is
/// above.
pub(super) fn narrow(e: &mut Emitter<'_, '_>, chunk: Chunk, dtype: DType, value: Value) -> Value {
    if dtype.is_integer() {
        return value;
    }
    let bits = bitcast(e, chunk.ints(), value);
    let all = int(e, chunk, 0x7fff_ffff);
    let magnitude = e.b.ins().band(bits, all);
    let infinity = int(e, chunk, 0x7f80_0000);
    let is_nan = e.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, infinity);
    let number = match dtype {
        DType::F16 => {
            let number = f16_magnitude(e, chunk, magnitude);
            let nan = int(e, chunk, 0x7e00);
            pick(e, chunk, is_nan, nan, number)
        }
        _ => {
            let number = shifted(e, chunk, magnitude, 16, 0);
            let upper = e.b.ins().ushr_imm_u(magnitude, 16);
            let quiet = int(e, chunk, 0x40);
            let nan = e.b.ins().bor(upper, quiet);
            pick(e, chunk, is_nan, nan, number)
        }
    };
    let sign = e.b.ins().bxor(bits, magnitude);
    let sign = e.b.ins().ushr_imm_u(sign, 16);
    e.b.ins().bor(number, sign)
}

/// Of a magnitude that is not NaN.
fn f16_magnitude(e: &mut Emitter<'_, '_>, chunk: Chunk, magnitude: Value) -> Value {
    let normal = shifted(e, chunk, magnitude, 13, -(112 << 23));
    let number = bitcast(e, chunk.ty(), magnitude);
    let half = constant(e, chunk, 0.5);
    let sum = e.b.ins().fadd(number, half);
    let sum = bitcast(e, chunk.ints(), sum);
    let half = bitcast(e, chunk.ints(), half);
    let subnormal = e.b.ins().isub(sum, half);
    let least = int(e, chunk, 113 << 23);
    let is_subnormal = e.b.ins().icmp(IntCC::SignedLessThan, magnitude, least);
    let finite = pick(e, chunk, is_subnormal, subnormal, normal);
    let beyond = int(e, chunk, (143 << 23) - 1);
    let is_large = e.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, beyond);
    let infinity = int(e, chunk, 0x7c00);
    pick(e, chunk, is_large, infinity, finite)
}

/// `bits + add` without its last `by` bits, rounded to nearest even.
fn shifted(e: &mut Emitter<'_, '_>, chunk: Chunk, bits: Value, by: i64, add: i32) -> Value {
    let last = e.b.ins().ushr_imm_u(bits, by);
    let one = int(e, chunk, 1);
    let odd = e.b.ins().band(last, one);
    let half = int(e, chunk, add + (1 << (by - 1)) - 1);
    let sum = e.b.ins().iadd(bits, half);
    let sum = e.b.ins().iadd(sum, odd);
    e.b.ins().ushr_imm_u(sum, by)
}

/// An integer in every lane.
fn int(e: &mut Emitter<'_, '_>, chunk: Chunk, value: i32) -> Value {
    if chunk.is_scalar() {
        return e.b.ins().iconst(types::I32, i64::from(value as u32));
    }
    let bytes = value.to_le_bytes().repeat(chunk.lanes as usize);
    let constant = e.b.func.dfg.constants.insert(ConstantData::from(bytes));
    e.b.ins().vconst(chunk.ints(), constant)
}

/// `then` where the comparison held, lane by lane.
fn pick(
    e: &mut Emitter<'_, '_>,
    chunk: Chunk,
    held: Value,
    then: Value,
    otherwise: Value,
) -> Value {
    match chunk.is_scalar() {
        true => e.b.ins().select(held, then, otherwise),
        false => e.b.ins().bitselect(held, then, otherwise),
    }
}
