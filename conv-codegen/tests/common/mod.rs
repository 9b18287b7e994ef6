//! Programs around emitted source: what they begin with.

use conv_ir::Element;

/// Numbers in `-1..1` with short and long mantissas; the same code as in [`MAIN`].
pub fn fill<T: Element>(length: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64(((state >> 33) as i32 - (1 << 30)) as f64 / (1 << 30) as f64)
    };
    (0..length).map(next).collect()
}

/// What a program begins with; the type `T` follows.
pub const MAIN: &str = "
#![deny(warnings)]
#![allow(non_snake_case)]
fn fill<const N: usize>(seed: u64) -> [T; N] {
    let mut state = seed;
    ::core::array::from_fn(|_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (((state >> 33) as i32 - (1 << 30)) as f64 / (1 << 30) as f64) as T
    })
}
fn show(output: &[T]) {
    let bits: Vec<String> = output.iter().map(|x| format!(\"{:x}\", x.to_bits())).collect();
    println!(\"{}\", bits.join(\" \"));
}
";
