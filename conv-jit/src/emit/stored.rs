//! Elements of 16 bits that are computed in f32: widened and narrowed in integers, four lanes or
//! one.
//!
//! ```text
//! f16   widen    magnitude << 13 is the number times 2^-112, subnormal ones too; all ones in the
//!                exponent are put back
//!       narrow   normal    add half a unit, less one where the last bit is even, and shift
//!                subnormal add 1/2, whose unit is f16's least: the adder rounds
//! bf16  widen    << 16
//!       narrow   the same addition and shift, without another exponent
//! ```
//!
//! Everything rounds to nearest even, and NaN stays NaN.

use conv_ir::DType;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, Value, types};

use super::emitter::Emitter;
use super::vector::{Chunk, bitcast, constant};

/// Whether numbers of that type are widened when they are loaded.
pub(super) fn is_stored(e: &Emitter<'_, '_>, dtype: DType) -> bool {
    dtype != e.nest.dtype
}

/// The bits of neighbouring elements, zeros above them.
pub(super) fn load(
    e: &mut Emitter<'_, '_>,
    chunk: Chunk,
    (pointer, displacement): (Value, i32),
    flags: MemFlagsData,
) -> Value {
    match chunk.is_scalar() {
        true => e.b.ins().uload16(types::I32, flags, pointer, displacement),
        false => e.b.ins().uload16x4(flags, pointer, displacement),
    }
}

/// One lane's bits.
pub(super) fn lane(e: &mut Emitter<'_, '_>, chunk: Chunk, bits: Value, lane: i64) -> Value {
    if chunk.is_scalar() { bits } else { e.b.ins().extractlane(bits, lane as u8) }
}

/// Stores the bits of one element.
pub(super) fn store(
    e: &mut Emitter<'_, '_>,
    bits: Value,
    (pointer, displacement): (Value, i32),
    flags: MemFlagsData,
) {
    e.b.ins().istore16(flags, bits, pointer, displacement);
}

/// The numbers with these bits, in f32.
pub(super) fn widen(e: &mut Emitter<'_, '_>, chunk: Chunk, dtype: DType, bits: Value) -> Value {
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

/// The bits of the nearest numbers, zeros above them.
pub(super) fn narrow(e: &mut Emitter<'_, '_>, chunk: Chunk, dtype: DType, value: Value) -> Value {
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
