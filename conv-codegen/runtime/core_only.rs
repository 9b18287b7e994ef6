//! The two functions that `core` lacks, in the place of `scalar.rs`'s: `mul_add` and
//! `round_ties_even`.
//!
//! A fused multiply-add is an instruction where the crate is compiled for one that stable Rust can
//! ask about, else plain arithmetic that gives its bits (`soft.rs`).

use super::*;

/// `a * b + c`, one rounding.
#[inline(always)]
pub(super) fn fma_scalar(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "fma"))]
    {
        #[cfg(target_arch = "x86")]
        use ::core::arch::x86::*;
        #[cfg(target_arch = "x86_64")]
        use ::core::arch::x86_64::*;
        unsafe { _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))) }
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    {
        use ::core::arch::aarch64::*;
        unsafe { vget_lane_f32::<0>(vfma_f32(vdup_n_f32(c), vdup_n_f32(a), vdup_n_f32(b))) }
    }
    #[cfg(not(any(
        all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "fma"),
        all(target_arch = "aarch64", target_feature = "neon")
    )))]
    fma_soft_f32(a, b, c)
}

/// The nearest integer, ties to even.
#[inline(always)]
pub(super) fn round_scalar(a: f32) -> f32 {
    // From here on all numbers are whole; below, adding it rounds.
    let whole = 1.0 / f32::EPSILON;
    if a.abs() < whole { (a.abs() + whole - whole).copysign(a) } else { a }
}
