//! Integers: sums modulo 2^32 in lanes of 32 bits, and elements of 8 and 16 bits, which are widened
//! as they are loaded and narrowed as they are stored.
//!
//! ```text
//! sum + a * b    vpmulld, vpaddd
//! words          vpmaddwd, vpaddd: two products; vpdpwssd with VNNI
//! dot            vpdpbusd, with VNNI; bytes of neighbouring columns come by vpshufb
//! load           vpmovzxbd, vpmovsxbd, vpmovzxwd, vpmovsxwd      masked with AVX-512
//! store          vpmovsdb, vpmovusdb, ..
//!                AVX2: vpackssdw, then vpacksswb or vpackuswb; vpackusdw
//! ```
//!
//! What is stored was brought into its type's range before, or the instructions that narrow bring
//! it there. What AVX2 cannot mask is stored element by element.

use conv_ir::{DType, Dots, Kind};
use iced_x86::{Code, Instruction};

use super::Refusal;
use super::encoding::Encoding;
use super::vectors::{Kept, Operand, Reg, Vectors};
use crate::leaf::inst::{Arg, Place, Source, Value};

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
        // No instruction for words repeats one of 32 bits.
        let is_repeated = matches!(b, Arg::From(Source::Splat(_) | Source::Bits(_)));
        let (right, temporary) = match is_repeated && multiply != self.codes.mul {
            true => {
                let (reg, is_mine) = self.register(b)?;
                (Operand::Reg(reg), is_mine.then_some(reg))
            }
            false => self.operand(b)?,
        };
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

    /// The instruction that narrows each lane, and saturates; without a sign, from numbers that
    /// have none.
    fn saturating(&self, dtype: DType) -> Code {
        let signed = dtype.format().kind == Kind::Signed;
        match (self.shape.bytes(), dtype.bytes(), signed) {
            (64, 1, true) => Code::EVEX_Vpmovsdb_xmmm128_k1z_zmm,
            (64, _, true) => Code::EVEX_Vpmovsdw_ymmm256_k1z_zmm,
            (32, 1, true) => Code::EVEX_Vpmovsdb_xmmm64_k1z_ymm,
            (32, _, true) => Code::EVEX_Vpmovsdw_xmmm128_k1z_ymm,
            (_, 1, true) => Code::EVEX_Vpmovsdb_xmmm32_k1z_xmm,
            (_, _, true) => Code::EVEX_Vpmovsdw_xmmm64_k1z_xmm,
            (64, 1, false) => Code::EVEX_Vpmovusdb_xmmm128_k1z_zmm,
            (64, _, false) => Code::EVEX_Vpmovusdw_ymmm256_k1z_zmm,
            (32, 1, false) => Code::EVEX_Vpmovusdb_xmmm64_k1z_ymm,
            (32, _, false) => Code::EVEX_Vpmovusdw_xmmm128_k1z_ymm,
            (_, 1, false) => Code::EVEX_Vpmovusdb_xmmm32_k1z_xmm,
            (_, _, false) => Code::EVEX_Vpmovusdw_xmmm64_k1z_xmm,
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
            let store = Instruction::with2(self.saturating(dtype), operand, self.name(reg));
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

    /// The bytes of four values, which saturate: side by side in each lane, or joined, those of
    /// each value together.
    pub(super) fn narrowed_to_bytes(
        &mut self,
        to: Value,
        dtype: DType,
        (args, is_joined): ([Arg; 4], bool),
    ) -> Result<(), Refusal> {
        let is_wide = self.shape.bytes() == 32;
        let (words, bytes) = match (is_wide, dtype.format().kind) {
            (true, Kind::Signed) => {
                (Code::VEX_Vpackssdw_ymm_ymm_ymmm256, Code::VEX_Vpacksswb_ymm_ymm_ymmm256)
            }
            (true, _) => (Code::VEX_Vpackssdw_ymm_ymm_ymmm256, Code::VEX_Vpackuswb_ymm_ymm_ymmm256),
            (false, Kind::Signed) => {
                (Code::VEX_Vpackssdw_xmm_xmm_xmmm128, Code::VEX_Vpacksswb_xmm_xmm_xmmm128)
            }
            (false, _) => {
                (Code::VEX_Vpackssdw_xmm_xmm_xmmm128, Code::VEX_Vpackuswb_xmm_xmm_xmmm128)
            }
        };
        // Instructions stay in 128 bits: each has four lanes of each value.
        let order = match (is_joined, is_wide) {
            (true, true) => Some(self.kept(Kept::Halves)?),
            (true, false) => None,
            (false, _) => Some(self.kept(Kept::FourByFour)?),
        };
        let mut halves = [0; 2];
        for (half, pair) in halves.iter_mut().zip(args.chunks_exact(2)) {
            let (left, left_is_mine) = self.register(pair[0])?;
            let (right, right_is_mine) = self.register(pair[1])?;
            *half = self.take()?;
            self.shuffle(words, *half, left, right);
            self.release(left_is_mine.then_some(left));
            self.release(right_is_mine.then_some(right));
        }
        let [low, high] = halves;
        self.shuffle(bytes, low, low, high);
        self.give(high);
        let reg = self.result(to, &args)?;
        match order {
            Some(order) if is_joined => {
                self.shuffle(Code::VEX_Vpermd_ymm_ymm_ymmm256, reg, order, low);
            }
            Some(order) => {
                let shuffle = match is_wide {
                    true => Code::VEX_Vpshufb_ymm_ymm_ymmm256,
                    false => Code::VEX_Vpshufb_xmm_xmm_xmmm128,
                };
                self.shuffle(shuffle, reg, low, order);
            }
            None => self.two(self.codes.copy, reg, low),
        }
        self.give(low);
        Ok(())
    }

    /// The upper half of the lanes.
    pub(super) fn upper_half(&mut self, to: Value, a: Arg) -> Result<(), Refusal> {
        let (from, is_mine) = self.register(a)?;
        let name = self.name(from);
        self.release(is_mine.then_some(from));
        let reg = self.result(to, &[a])?;
        let xmm = self.sized(reg, 16);
        self.text.push(Instruction::with3(self.codes.extract, xmm, name, 1));
        Ok(())
    }

    /// The elements of all lanes side by side.
    fn narrowed(&mut self, to: Reg, from: Reg, dtype: DType) -> Result<(), Refusal> {
        let (element, signed) = (dtype.bytes() as i64, dtype.format().kind == Kind::Signed);
        if self.encoding == Encoding::Evex {
            let narrow = self.narrow(to, element);
            let narrowed = Instruction::with2(self.saturating(dtype), narrow, self.name(from));
            self.text.push(narrowed);
            return Ok(());
        }
        let xmm = self.sized(to, 16);
        if self.shape.bytes() == 32 {
            let high = Instruction::with3(self.codes.extract, xmm, self.name(from), 1);
            self.text.push(high);
        } else {
            self.two(self.codes.copy, to, from);
        }
        // Lanes in order: the lower half comes first. What becomes a byte without a sign is a word
        // with one before, which the second instruction wants.
        let words = match signed || element == 1 {
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
