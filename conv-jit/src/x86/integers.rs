//! Integers: sums modulo 2^32 in lanes of 32 bits, and elements of 8 and 16 bits, which are widened
//! as they are loaded and narrowed as they are stored.
//!
//! ```text
//! sum + a * b    vpmulld, vpaddd
//! words          vpmaddwd, vpaddd: two products; vpdpwssd with VNNI
//! dot            vpdpbusd, with VNNI; bytes of neighbouring columns come by vpshufb
//! load           vpmovzxbd, vpmovsxbd, vpmovzxwd, vpmovsxwd      masked with AVX-512
//! store          vpmovdb, vpmovdw; with AVX2 vpackssdw or vpackusdw, then vpacksswb or vpackuswb
//! ```
//!
//! What is stored was brought into its type's range before, so that narrowing is exact, saturating
//! or not. What AVX2 cannot mask is stored element by element.

use conv_ir::{DType, Dots, Kind};
use iced_x86::{Code, Instruction};

use super::Refusal;
use super::encoding::Encoding;
use super::vectors::{Reg, Vectors};
use crate::leaf::inst::{Arg, Place, Value};

impl Vectors<'_> {
    /// `to = a * b + c`, modulo 2^32.
    pub(super) fn multiply_add(
        &mut self,
        to: Value,
        a: Arg,
        b: Arg,
        c: Arg,
    ) -> Result<(), Refusal> {
        self.multiply_by(self.codes.mul, to, [a, b, c])
    }

    /// The same with an instruction for the product.
    fn multiply_by(
        &mut self,
        multiply: Code,
        to: Value,
        [a, b, c]: [Arg; 3],
    ) -> Result<(), Refusal> {
        let (a, b) = if matches!(b, Arg::Value(_)) { (b, a) } else { (a, b) };
        let (left, is_mine) = self.register(a)?;
        let (right, temporary) = self.operand(b)?;
        let (product, temporary) = match temporary {
            _ if is_mine => (left, temporary),
            Some(right) => (right, None),
            None => (self.take()?, None),
        };
        self.three(multiply, product, left, right);
        self.release(temporary);
        if let Some(sum) = self.reusable(to, c) {
            self.inherit(to, sum);
            let reg = self.home(to)?;
            self.shuffle(self.codes.add, reg, reg, product);
        } else {
            let (before, temporary) = self.operand(c)?;
            let reg = self.destination(to)?;
            self.three(self.codes.add, reg, product, before);
            self.release(temporary);
        }
        self.give(product);
        Ok(())
    }

    /// `to = c` and the products of the words of `a` and `b`.
    pub(super) fn products_of_words(
        &mut self,
        to: Value,
        a: Arg,
        b: Arg,
        c: Arg,
    ) -> Result<(), Refusal> {
        let bytes = self.shape.bytes();
        if self.shape.machine().dots != Dots::Fours || self.reusable(to, c).is_none() {
            let multiply = self.encoding.form(
                bytes,
                [
                    Code::EVEX_Vpmaddwd_zmm_k1z_zmm_zmmm512,
                    Code::EVEX_Vpmaddwd_ymm_k1z_ymm_ymmm256,
                    Code::EVEX_Vpmaddwd_xmm_k1z_xmm_xmmm128,
                    Code::VEX_Vpmaddwd_ymm_ymm_ymmm256,
                    Code::VEX_Vpmaddwd_xmm_xmm_xmmm128,
                ],
            );
            return self.multiply_by(multiply, to, [a, b, c]);
        }
        let code = self.encoding.form(
            bytes,
            [
                Code::EVEX_Vpdpwssd_zmm_k1z_zmm_zmmm512b32,
                Code::EVEX_Vpdpwssd_ymm_k1z_ymm_ymmm256b32,
                Code::EVEX_Vpdpwssd_xmm_k1z_xmm_xmmm128b32,
                Code::VEX_Vpdpwssd_ymm_ymm_ymmm256,
                Code::VEX_Vpdpwssd_xmm_xmm_xmmm128,
            ],
        );
        let (a, b) = if matches!(b, Arg::Value(_)) { (b, a) } else { (a, b) };
        self.dot(code, to, [a, b, c])
    }

    /// The instruction for four products in each lane, of bytes of the first factor, which are not
    /// negative, and of the second.
    pub(super) fn dot_of_bytes(&self) -> Code {
        self.encoding.form(
            self.shape.bytes(),
            [
                Code::EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32,
                Code::EVEX_Vpdpbusd_ymm_k1z_ymm_ymmm256b32,
                Code::EVEX_Vpdpbusd_xmm_k1z_xmm_xmmm128b32,
                Code::VEX_Vpdpbusd_ymm_ymm_ymmm256,
                Code::VEX_Vpdpbusd_xmm_xmm_xmmm128,
            ],
        )
    }

    /// The instruction that shifts words, to the right or to the left.
    pub(super) fn shift_of_words(&self, is_right: bool, has_sign: bool) -> Code {
        let forms = match (is_right, has_sign) {
            (true, true) => [
                Code::EVEX_Vpsraw_zmm_k1z_zmmm512_imm8,
                Code::EVEX_Vpsraw_ymm_k1z_ymmm256_imm8,
                Code::EVEX_Vpsraw_xmm_k1z_xmmm128_imm8,
                Code::VEX_Vpsraw_ymm_ymm_imm8,
                Code::VEX_Vpsraw_xmm_xmm_imm8,
            ],
            (true, false) => [
                Code::EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8,
                Code::EVEX_Vpsrlw_ymm_k1z_ymmm256_imm8,
                Code::EVEX_Vpsrlw_xmm_k1z_xmmm128_imm8,
                Code::VEX_Vpsrlw_ymm_ymm_imm8,
                Code::VEX_Vpsrlw_xmm_xmm_imm8,
            ],
            (false, _) => [
                Code::EVEX_Vpsllw_zmm_k1z_zmmm512_imm8,
                Code::EVEX_Vpsllw_ymm_k1z_ymmm256_imm8,
                Code::EVEX_Vpsllw_xmm_k1z_xmmm128_imm8,
                Code::VEX_Vpsllw_ymm_ymm_imm8,
                Code::VEX_Vpsllw_xmm_xmm_imm8,
            ],
        };
        self.encoding.form(self.shape.bytes(), forms)
    }

    /// `to = c` and the products of `a` and `b`.
    pub(super) fn dot(
        &mut self,
        code: Code,
        to: Value,
        [a, b, c]: [Arg; 3],
    ) -> Result<(), Refusal> {
        let Some(sum) = self.reusable(to, c) else {
            return Err(Refusal::Operation("products into another register".into()));
        };
        let (a, is_mine) = self.register(a)?;
        let (b, temporary) = self.operand(b)?;
        self.inherit(to, sum);
        let reg = self.home(to)?;
        self.three(code, reg, a, b);
        self.release(temporary);
        self.release(is_mine.then_some(a));
        Ok(())
    }

    /// The instruction that widens elements of a type.
    pub(super) fn widening(&self, dtype: DType) -> Code {
        let signed = dtype.format().kind == Kind::Signed;
        match (self.encoding, self.shape.bytes(), dtype.bytes(), signed) {
            (Encoding::Evex, 64, 1, false) => Code::EVEX_Vpmovzxbd_zmm_k1z_xmmm128,
            (Encoding::Evex, 64, 1, true) => Code::EVEX_Vpmovsxbd_zmm_k1z_xmmm128,
            (Encoding::Evex, 64, _, false) => Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256,
            (Encoding::Evex, 64, _, true) => Code::EVEX_Vpmovsxwd_zmm_k1z_ymmm256,
            (Encoding::Evex, 32, 1, false) => Code::EVEX_Vpmovzxbd_ymm_k1z_xmmm64,
            (Encoding::Evex, 32, 1, true) => Code::EVEX_Vpmovsxbd_ymm_k1z_xmmm64,
            (Encoding::Evex, 32, _, false) => Code::EVEX_Vpmovzxwd_ymm_k1z_xmmm128,
            (Encoding::Evex, 32, _, true) => Code::EVEX_Vpmovsxwd_ymm_k1z_xmmm128,
            (Encoding::Evex, _, 1, false) => Code::EVEX_Vpmovzxbd_xmm_k1z_xmmm32,
            (Encoding::Evex, _, 1, true) => Code::EVEX_Vpmovsxbd_xmm_k1z_xmmm32,
            (Encoding::Evex, _, _, false) => Code::EVEX_Vpmovzxwd_xmm_k1z_xmmm64,
            (Encoding::Evex, _, _, true) => Code::EVEX_Vpmovsxwd_xmm_k1z_xmmm64,
            (Encoding::Vex, 32, 1, false) => Code::VEX_Vpmovzxbd_ymm_xmmm64,
            (Encoding::Vex, 32, 1, true) => Code::VEX_Vpmovsxbd_ymm_xmmm64,
            (Encoding::Vex, 32, _, false) => Code::VEX_Vpmovzxwd_ymm_xmmm128,
            (Encoding::Vex, 32, _, true) => Code::VEX_Vpmovsxwd_ymm_xmmm128,
            (Encoding::Vex, _, 1, false) => Code::VEX_Vpmovzxbd_xmm_xmmm32,
            (Encoding::Vex, _, 1, true) => Code::VEX_Vpmovsxbd_xmm_xmmm32,
            (Encoding::Vex, _, _, false) => Code::VEX_Vpmovzxwd_xmm_xmmm64,
            (Encoding::Vex, _, _, true) => Code::VEX_Vpmovsxwd_xmm_xmmm64,
        }
    }

    /// The instruction that repeats an element in a register of narrow ones.
    pub(super) fn repeating(&self, dtype: DType) -> Code {
        let is_wide = self.shape.bytes() == 64;
        match (self.encoding, dtype.bytes()) {
            (Encoding::Evex, 1) => Code::EVEX_Vpbroadcastb_xmm_k1z_xmmm8,
            (Encoding::Evex, _) if is_wide => Code::EVEX_Vpbroadcastw_ymm_k1z_xmmm16,
            (Encoding::Evex, _) => Code::EVEX_Vpbroadcastw_xmm_k1z_xmmm16,
            (Encoding::Vex, 1) => Code::VEX_Vpbroadcastb_xmm_xmmm8,
            (Encoding::Vex, _) => Code::VEX_Vpbroadcastw_xmm_xmmm16,
        }
    }

    /// The instruction that keeps the lowest bits of each lane.
    fn truncating(&self, dtype: DType) -> Code {
        match (self.shape.bytes(), dtype.bytes()) {
            (64, 1) => Code::EVEX_Vpmovdb_xmmm128_k1z_zmm,
            (64, _) => Code::EVEX_Vpmovdw_ymmm256_k1z_zmm,
            (32, 1) => Code::EVEX_Vpmovdb_xmmm64_k1z_ymm,
            (32, _) => Code::EVEX_Vpmovdw_xmmm128_k1z_ymm,
            (_, 1) => Code::EVEX_Vpmovdb_xmmm32_k1z_xmm,
            (..) => Code::EVEX_Vpmovdw_xmmm64_k1z_xmm,
        }
    }

    /// Stores the first `live` lanes as elements of a type, `step` bytes apart. The register keeps
    /// its value.
    pub(super) fn store_integers(
        &mut self,
        dtype: DType,
        place: Place,
        (step, live): (i64, i64),
        reg: Reg,
    ) -> Result<(), Refusal> {
        let (width, element) = (self.shape.width, dtype.bytes() as i64);
        if step == element && width > 1 && self.encoding == Encoding::Evex {
            let (operand, whole) = (self.memory(place, false)?, live == width);
            let store = Instruction::with2(self.truncating(dtype), operand, self.name(reg));
            return self.push_row(store, whole, live);
        }
        let narrow = self.take()?;
        self.narrowed(narrow, reg, dtype)?;
        self.store_narrowed(narrow, place, (step, live), element)?;
        self.give(narrow);
        Ok(())
    }

    /// Stores elements that stand side by side in a register.
    pub(super) fn store_narrowed(
        &mut self,
        narrow: Reg,
        place: Place,
        (step, live): (i64, i64),
        element: i64,
    ) -> Result<(), Refusal> {
        let width = self.shape.width;
        let is_whole = step == element && live == width && width > 1;
        let store = match width * element {
            16 if is_whole => self.codes.store_128,
            8 if is_whole => self.codes.store_low,
            4 if is_whole => self.codes.store_one,
            _ => return self.extract(narrow, place, (step, live), element),
        };
        let (operand, xmm) = (self.memory(place, false)?, self.sized(narrow, 16));
        self.text.push(Instruction::with2(store, operand, xmm));
        Ok(())
    }

    /// The elements of all lanes side by side.
    fn narrowed(&mut self, to: Reg, from: Reg, dtype: DType) -> Result<(), Refusal> {
        let (element, signed) = (dtype.bytes() as i64, dtype.format().kind == Kind::Signed);
        if self.encoding == Encoding::Evex {
            let narrow = self.narrow(to, element);
            let truncate = Instruction::with2(self.truncating(dtype), narrow, self.name(from));
            self.text.push(truncate);
            return Ok(());
        }
        let xmm = self.sized(to, 16);
        if self.shape.bytes() == 32 {
            let high = Instruction::with3(self.codes.extract, xmm, self.name(from), 1);
            self.text.push(high);
        } else {
            self.two(self.codes.copy, to, from);
        }
        // Lanes in order: the lower half comes first.
        let words = match signed {
            true => Code::VEX_Vpackssdw_xmm_xmm_xmmm128,
            false => Code::VEX_Vpackusdw_xmm_xmm_xmmm128,
        };
        self.text.push(Instruction::with3(words, xmm, self.sized(from, 16), xmm));
        if element == 1 {
            let bytes = match signed {
                true => Code::VEX_Vpacksswb_xmm_xmm_xmmm128,
                false => Code::VEX_Vpackuswb_xmm_xmm_xmmm128,
            };
            self.text.push(Instruction::with3(bytes, xmm, xmm, xmm));
        }
        Ok(())
    }
}
