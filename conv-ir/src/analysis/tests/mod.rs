//! Halos and fields, judged by walking the equation input by input, and by running the reference.

mod brute;
mod fields;
mod matrix;
mod savings;

use crate::Conv;

fn conv(text: &str) -> Conv {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A small generator (SplitMix64), so that a stack is its seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n) as i64
    }
}
