//! The real numbers that bytes stand for: `(q - zero) * scale`.

use tract_onnx::tract_core::internal::*;

/// A type of 8 bits with its scale and zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    pub is_signed: bool,
    pub scale: f32,
    pub zero: i32,
}

/// Adding it leaves the nearest whole number in the last bits, ties to even.
const MAGIC: f32 = 12_582_912.0;

/// `x` as the nearest whole number, ties to even. Beyond 2^21, and of NaN, an end of that range:
/// further than any type of 16 bits reaches.
#[inline(always)]
pub fn rounded(x: f32) -> i32 {
    const MOST: f32 = 2_097_152.0;
    let low = if x > -MOST { x } else { -MOST };
    let held = if low < MOST { low } else { MOST };
    (held + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

/// The same of what is within 2^21, and how far off it is.
#[inline(always)]
pub fn nearest(x: f32) -> (i32, f32) {
    let held = x + MAGIC;
    (held.to_bits() as i32 - MAGIC.to_bits() as i32, (x - (held - MAGIC)).abs())
}

impl Grid {
    pub fn dtype(&self) -> DatumType {
        if self.is_signed { i8::datum_type() } else { u8::datum_type() }
    }

    /// The least and the largest number.
    pub fn range(&self) -> (i32, i32) {
        if self.is_signed { (-128, 127) } else { (0, 255) }
    }

    /// `saturated(rounded(x / scale) + zero)`.
    #[inline(always)]
    pub fn quantised(&self, x: f32) -> i32 {
        let (least, most) = self.range();
        (rounded(x / self.scale) + self.zero).clamp(least, most)
    }

    /// The bits of each.
    pub fn all(&self, numbers: &[f32]) -> Vec<u8> {
        numbers.iter().map(|&x| self.quantised(x) as u8).collect()
    }

    /// What each byte stands for, by its bits.
    pub fn numbers(&self) -> Vec<f32> {
        let of = |bits: u8| {
            let q = if self.is_signed { i32::from(bits as i8) } else { i32::from(bits) };
            (q - self.zero) as f32 * self.scale
        };
        (0..=255).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_rounded_to_even_and_ends_are_held() {
        for (x, expected) in [
            (0.5, 0),
            (1.5, 2),
            (-0.5, 0),
            (-1.5, -2),
            (2.4999998, 2),
            (1e9, 2_097_152),
            (f32::INFINITY, 2_097_152),
            (f32::NEG_INFINITY, -2_097_152),
        ] {
            assert_eq!(rounded(x), expected, "{x}");
        }
        for at in -300_000..300_000 {
            let x = at as f32 / 8.0;
            assert_eq!(rounded(x), x.round_ties_even() as i32, "{x}");
        }
    }

    #[test]
    fn numbers_are_found_again() {
        for (is_signed, zero) in [(false, 0), (false, 255), (true, -128), (true, 3)] {
            let grid = Grid { is_signed, scale: 0.037, zero };
            for (bits, x) in grid.numbers().into_iter().enumerate() {
                assert_eq!(grid.quantised(x) as u8, bits as u8);
            }
        }
    }
}
