//! Loops in plain Rust, in the vectors that this CPU has.
//!
//! What stands between convolutions, number by number, is no convolution, and rustc makes vectors
//! of it as wide as the oldest CPU's. Here the same loop is compiled for AVX-512, for AVX2 and for
//! any CPU, and runs where it can. Each gives the same bits: rustc neither fuses nor reorders.

use crate::host::is_here;
use conv_ir::Isa;

/// A loop over numbers.
pub trait Loop {
    /// Runs it. It is compiled for several CPUs only where it is `#[inline(always)]`, with all that
    /// it calls.
    fn run(self);
}

/// Runs a loop in the widest vectors of this CPU.
///
/// ```
/// struct Doubled<'a>(&'a mut [u8]);
///
/// impl conv_jit::Loop for Doubled<'_> {
///     #[inline(always)]
///     fn run(self) {
///         self.0.iter_mut().for_each(|x| *x = x.saturating_mul(2));
///     }
/// }
///
/// let mut numbers = [1, 2, 200];
/// conv_jit::in_vectors(Doubled(&mut numbers));
/// assert_eq!(numbers, [2, 4, 255]);
/// ```
pub fn in_vectors(of: impl Loop) {
    /// # Safety
    /// This CPU has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    unsafe fn avx512(of: impl Loop) {
        of.run();
    }
    /// # Safety
    /// This CPU has AVX2 and fused multiply-adds.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(of: impl Loop) {
        of.run();
    }
    #[cfg(target_arch = "x86_64")]
    if is_here(Isa::Avx512) && is_here(Isa::Avx2) {
        // SAFETY: the CPU was asked.
        return unsafe { avx512(of) };
    }
    #[cfg(target_arch = "x86_64")]
    if is_here(Isa::Avx2) {
        // SAFETY: the CPU was asked.
        return unsafe { avx2(of) };
    }
    of.run();
}
