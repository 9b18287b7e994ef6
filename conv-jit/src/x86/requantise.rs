//! Sums that become integers of few bits, in lanes of 32 bits.
//!
//! ```text
//! scale         vcvtdq2ps, vmulps, vmaxps, vminps, vcvtps2dq, which rounds to nearest even
//! mul_high      vpmuldq of even lanes and of odd ones, half of 2^31 added, the bits above 31
//! shift_round   vpsravd, and one more where what was shifted out is more than a tie
//! mul_floor     as mul_high, nothing added
//! shift_up      vpsravd by one less, one added, vpsravd by one
//! ```
//!
//! Requires that the rounding mode is the usual one, as every sum of floating-point numbers does.

use conv_ir::DType;
use iced_x86::{Code, Instruction};

use super::Refusal;
use super::codes;
use super::vectors::{Operand, Reg, Vectors};
use crate::leaf::inst::{Arg, Source, Value};

/// The instructions of one vector shape.
struct Codes {
    to_floats: Code,
    to_nearest: Code,
    multiply_even: Code,
    add_64: Code,
    left_64: Code,
    right_64: Code,
    left_by: Code,
    right_by: Code,
    right: Code,
}

const EVEX_Z: Codes = Codes {
    to_floats: Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er,
    to_nearest: Code::EVEX_Vcvtps2dq_zmm_k1z_zmmm512b32_er,
    multiply_even: Code::EVEX_Vpmuldq_zmm_k1z_zmm_zmmm512b64,
    add_64: Code::EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64,
    left_64: Code::EVEX_Vpsllq_zmm_k1z_zmmm512b64_imm8,
    right_64: Code::EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8,
    left_by: Code::EVEX_Vpsllvd_zmm_k1z_zmm_zmmm512b32,
    right_by: Code::EVEX_Vpsravd_zmm_k1z_zmm_zmmm512b32,
    right: Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8,
};

const EVEX_Y: Codes = Codes {
    to_floats: Code::EVEX_Vcvtdq2ps_ymm_k1z_ymmm256b32,
    to_nearest: Code::EVEX_Vcvtps2dq_ymm_k1z_ymmm256b32,
    multiply_even: Code::EVEX_Vpmuldq_ymm_k1z_ymm_ymmm256b64,
    add_64: Code::EVEX_Vpaddq_ymm_k1z_ymm_ymmm256b64,
    left_64: Code::EVEX_Vpsllq_ymm_k1z_ymmm256b64_imm8,
    right_64: Code::EVEX_Vpsrlq_ymm_k1z_ymmm256b64_imm8,
    left_by: Code::EVEX_Vpsllvd_ymm_k1z_ymm_ymmm256b32,
    right_by: Code::EVEX_Vpsravd_ymm_k1z_ymm_ymmm256b32,
    right: Code::EVEX_Vpsrld_ymm_k1z_ymmm256b32_imm8,
};

const EVEX_X: Codes = Codes {
    to_floats: Code::EVEX_Vcvtdq2ps_xmm_k1z_xmmm128b32,
    to_nearest: Code::EVEX_Vcvtps2dq_xmm_k1z_xmmm128b32,
    multiply_even: Code::EVEX_Vpmuldq_xmm_k1z_xmm_xmmm128b64,
    add_64: Code::EVEX_Vpaddq_xmm_k1z_xmm_xmmm128b64,
    left_64: Code::EVEX_Vpsllq_xmm_k1z_xmmm128b64_imm8,
    right_64: Code::EVEX_Vpsrlq_xmm_k1z_xmmm128b64_imm8,
    left_by: Code::EVEX_Vpsllvd_xmm_k1z_xmm_xmmm128b32,
    right_by: Code::EVEX_Vpsravd_xmm_k1z_xmm_xmmm128b32,
    right: Code::EVEX_Vpsrld_xmm_k1z_xmmm128b32_imm8,
};

const VEX_Y: Codes = Codes {
    to_floats: Code::VEX_Vcvtdq2ps_ymm_ymmm256,
    to_nearest: Code::VEX_Vcvtps2dq_ymm_ymmm256,
    multiply_even: Code::VEX_Vpmuldq_ymm_ymm_ymmm256,
    add_64: Code::VEX_Vpaddq_ymm_ymm_ymmm256,
    left_64: Code::VEX_Vpsllq_ymm_ymm_imm8,
    right_64: Code::VEX_Vpsrlq_ymm_ymm_imm8,
    left_by: Code::VEX_Vpsllvd_ymm_ymm_ymmm256,
    right_by: Code::VEX_Vpsravd_ymm_ymm_ymmm256,
    right: Code::VEX_Vpsrld_ymm_ymm_imm8,
};

const VEX_X: Codes = Codes {
    to_floats: Code::VEX_Vcvtdq2ps_xmm_xmmm128,
    to_nearest: Code::VEX_Vcvtps2dq_xmm_xmmm128,
    multiply_even: Code::VEX_Vpmuldq_xmm_xmm_xmmm128,
    add_64: Code::VEX_Vpaddq_xmm_xmm_xmmm128,
    left_64: Code::VEX_Vpsllq_xmm_xmm_imm8,
    right_64: Code::VEX_Vpsrlq_xmm_xmm_imm8,
    left_by: Code::VEX_Vpsllvd_xmm_xmm_xmmm128,
    right_by: Code::VEX_Vpsravd_xmm_xmm_xmmm128,
    right: Code::VEX_Vpsrld_xmm_xmm_imm8,
};

/// `most` of [`Binary::Scale`](conv_ir::nest::Binary::Scale), as bits of f32.
const MOST: f32 = (1 << 30) as f32;

impl Vectors<'_> {
    fn requantising(&self) -> &'static Codes {
        self.encoding.form(self.shape.bytes(), [&EVEX_Z, &EVEX_Y, &EVEX_X, &VEX_Y, &VEX_X])
    }

    /// A constant in every lane, in a register that it keeps.
    fn every(&mut self, bits: u32) -> Result<Reg, Refusal> {
        Ok(self.register(Arg::From(Source::Bits(bits.into())))?.0)
    }

    fn by(&mut self, code: Code, to: Reg, from: Reg, bits: u32) {
        let instruction = Instruction::with3(code, self.name(to), self.name(from), bits);
        self.text.push(instruction);
    }

    /// Both operands in registers, and what is to be given back.
    fn both(&mut self, a: Arg, b: Arg) -> Result<(Reg, Reg, [Option<Reg>; 2]), Refusal> {
        let (left, left_is_mine) = self.register(a)?;
        let (right, right_is_mine) = self.register(b)?;
        let mine = [left_is_mine.then_some(left), right_is_mine.then_some(right)];
        Ok((left, right, mine))
    }

    /// `to = nearest(a as f32 * b)`, at most 2^30 away from zero, which nothing is where scales are
    /// small.
    pub(super) fn scale(
        &mut self,
        to: Value,
        (a, b): (Arg, Arg),
        is_small: bool,
    ) -> Result<(), Refusal> {
        let floats = codes::codes(self.encoding, self.shape.bytes(), DType::F32);
        let codes = self.requantising();
        let limits = match is_small {
            true => None,
            false => Some((self.every(MOST.to_bits())?, self.every((-MOST).to_bits())?)),
        };
        let (left, right, mine) = self.both(a, b)?;
        let product = self.take()?;
        self.two(codes.to_floats, product, left);
        self.shuffle(floats.mul, product, product, right);
        if let Some((most, least)) = limits {
            self.shuffle(floats.max, product, product, least);
            self.shuffle(floats.min, product, product, most);
        }
        mine.into_iter().for_each(|reg| self.release(reg));
        let reg = self.result(to, &[a, b])?;
        self.two(codes.to_nearest, reg, product);
        self.give(product);
        Ok(())
    }

    /// `to = (a * b + 2^30) >> 31`.
    pub(super) fn multiply_high(&mut self, to: Value, a: Arg, b: Arg) -> Result<(), Refusal> {
        let half = self.every(1 << 30)?;
        self.multiply(to, (a, b), Some(half))
    }

    /// `to = (a * b) >> 31`.
    pub(super) fn multiply_floor(&mut self, to: Value, a: Arg, b: Arg) -> Result<(), Refusal> {
        self.multiply(to, (a, b), None)
    }

    /// Bits 31 to 62 of products, `half` added before where there is one.
    fn multiply(
        &mut self,
        to: Value,
        (a, b): (Arg, Arg),
        half: Option<Reg>,
    ) -> Result<(), Refusal> {
        let codes = self.requantising();
        let (left, right, mine) = self.both(a, b)?;
        let (even, odd, other) = (self.take()?, self.take()?, self.take()?);
        self.shuffle(codes.multiply_even, even, left, right);
        self.by(codes.right_64, odd, left, 32);
        self.by(codes.right_64, other, right, 32);
        self.shuffle(codes.multiply_even, odd, odd, other);
        if let Some(half) = half {
            // Of 64 bits; a scalar leaf has zeros above it.
            self.by(codes.left_64, other, half, 32);
            self.by(codes.right_64, other, other, 32);
            self.shuffle(codes.add_64, even, even, other);
            self.shuffle(codes.add_64, odd, odd, other);
        }
        // Bits 31 to 62 of each product are its lane.
        self.by(codes.left_64, even, even, 1);
        self.by(codes.right_64, even, even, 32);
        self.by(codes.right_64, odd, odd, 31);
        self.by(codes.left_64, odd, odd, 32);
        mine.into_iter().for_each(|reg| self.release(reg));
        let reg = self.result(to, &[a, b])?;
        self.three(self.codes.or, reg, even, Operand::Reg(odd));
        [even, odd, other].into_iter().for_each(|reg| self.give(reg));
        Ok(())
    }

    /// `to = a / 2^b`, to the nearest, ties up.
    pub(super) fn shift_up(&mut self, to: Value, a: Arg, b: Arg) -> Result<(), Refusal> {
        let codes = self.requantising();
        let one = self.every(1)?;
        let (left, right, mine) = self.both(a, b)?;
        let twice = self.take()?;
        self.shuffle(self.codes.sub, twice, right, one);
        self.shuffle(codes.right_by, twice, left, twice);
        self.shuffle(self.codes.add, twice, twice, one);
        mine.into_iter().for_each(|reg| self.release(reg));
        let reg = self.result(to, &[a, b])?;
        self.shuffle(codes.right_by, reg, twice, one);
        self.give(twice);
        Ok(())
    }

    /// `to = a / 2^b`, to the nearest, ties away from zero.
    pub(super) fn shift_rounded(&mut self, to: Value, a: Arg, b: Arg) -> Result<(), Refusal> {
        let codes = self.requantising();
        let ones = self.every(u32::MAX)?;
        let (left, right, mine) = self.both(a, b)?;
        let (floor, rest, tie) = (self.take()?, self.take()?, self.take()?);
        self.shuffle(codes.right_by, floor, left, right);
        self.shuffle(codes.left_by, rest, floor, right);
        self.shuffle(self.codes.sub, rest, left, rest);
        // The largest rest, half of it, and one more below zero.
        self.shuffle(codes.left_by, tie, ones, right);
        self.shuffle(self.codes.sub, tie, ones, tie);
        self.by(codes.right, tie, tie, 1);
        let sign = self.take()?;
        self.by(codes.right, sign, left, 31);
        self.shuffle(self.codes.add, tie, tie, sign);
        // Neither is negative, so that the sign of the difference compares them.
        self.shuffle(self.codes.sub, tie, tie, rest);
        self.by(codes.right, tie, tie, 31);
        mine.into_iter().for_each(|reg| self.release(reg));
        let reg = self.result(to, &[a, b])?;
        self.shuffle(self.codes.add, reg, floor, tie);
        [floor, rest, tie, sign].into_iter().for_each(|reg| self.give(reg));
        Ok(())
    }
}
