//! Sums that become integers of few bits: lane by lane, as products have 64 bits and each lane its
//! own shift.

use conv_ir::nest::Binary;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::emitter::Emitter;
use super::vector::{Chunk, bitcast};

/// Whether the operation is one of those here.
pub(super) fn is_one(op: Binary) -> bool {
    use Binary::{MulFloor, MulHigh, Scale, ShiftRound, ShiftUp};
    matches!(op, Scale | MulHigh | ShiftRound | MulFloor | ShiftUp)
}

/// The operation on every lane of a chunk.
pub(super) fn each_lane(
    e: &mut Emitter<'_, '_>,
    chunk: Chunk,
    op: Binary,
    (a, b): (Value, Value),
) -> Value {
    let one = match op {
        Binary::Scale => scale,
        Binary::MulHigh => multiply_high,
        Binary::ShiftRound => shift_rounded,
        Binary::MulFloor => multiply_floor,
        Binary::ShiftUp => shift_up,
        other => unreachable!("emit: {other:?} does not requantise"),
    };
    if chunk.is_scalar() {
        return one(e, a, b);
    }
    (0..chunk.lanes as u8).fold(a, |all, lane| {
        let (x, y) = (e.b.ins().extractlane(a, lane), e.b.ins().extractlane(b, lane));
        let number = one(e, x, y);
        e.b.ins().insertlane(all, number, lane)
    })
}

/// The nearest integer to the product of `sum` and the f32 with the bits `scale`, at most 2^30 away
/// from zero.
fn scale(e: &mut Emitter<'_, '_>, sum: Value, scale: Value) -> Value {
    let (sum, scale) = (e.b.ins().fcvt_from_sint(types::F32, sum), bitcast(e, types::F32, scale));
    let product = e.b.ins().fmul(sum, scale);
    let most = (1 << 30) as f32;
    let (least, most) = (e.b.ins().f32const(-most), e.b.ins().f32const(most));
    let product = e.b.ins().fmax(product, least);
    let product = e.b.ins().fmin(product, most);
    let nearest = e.b.ins().nearest(product);
    e.b.ins().fcvt_to_sint_sat(types::I32, nearest)
}

/// `(a * b + 2^30) >> 31`.
fn multiply_high(e: &mut Emitter<'_, '_>, a: Value, b: Value) -> Value {
    let (a, b) = (e.b.ins().sextend(types::I64, a), e.b.ins().sextend(types::I64, b));
    let (product, half) = (e.b.ins().imul(a, b), e.b.ins().iconst(types::I64, 1 << 30));
    let (sum, bits) = (e.b.ins().iadd(product, half), e.b.ins().iconst(types::I32, 31));
    let high = e.b.ins().sshr(sum, bits);
    e.b.ins().ireduce(types::I32, high)
}

/// `(a * b) >> 31`.
fn multiply_floor(e: &mut Emitter<'_, '_>, a: Value, b: Value) -> Value {
    let (a, b) = (e.b.ins().sextend(types::I64, a), e.b.ins().sextend(types::I64, b));
    let (product, bits) = (e.b.ins().imul(a, b), e.b.ins().iconst(types::I32, 31));
    let high = e.b.ins().sshr(product, bits);
    e.b.ins().ireduce(types::I32, high)
}

/// `a / 2^b`, to the nearest, ties up.
fn shift_up(e: &mut Emitter<'_, '_>, a: Value, b: Value) -> Value {
    let one = e.b.ins().iconst(types::I32, 1);
    let but_one = e.b.ins().isub(b, one);
    let twice = e.b.ins().sshr(a, but_one);
    let more = e.b.ins().iadd(twice, one);
    e.b.ins().sshr(more, one)
}

/// `a / 2^b`, to the nearest, ties away from zero.
fn shift_rounded(e: &mut Emitter<'_, '_>, a: Value, b: Value) -> Value {
    let int = |e: &mut Emitter<'_, '_>, x: i64| e.b.ins().iconst(types::I32, x);
    let (ones, one, sign_bit) = (int(e, u32::MAX.into()), int(e, 1), int(e, 31));
    let floor = e.b.ins().sshr(a, b);
    let whole = e.b.ins().ishl(floor, b);
    let rest = e.b.ins().isub(a, whole);
    let above = e.b.ins().ishl(ones, b);
    let below = e.b.ins().isub(ones, above);
    let (half, sign) = (e.b.ins().ushr(below, one), e.b.ins().ushr(a, sign_bit));
    let tie = e.b.ins().iadd(half, sign);
    // Neither is negative, so that the sign of the difference compares them.
    let difference = e.b.ins().isub(tie, rest);
    let more = e.b.ins().ushr(difference, sign_bit);
    e.b.ins().iadd(floor, more)
}
