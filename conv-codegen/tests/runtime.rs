//! The files in `runtime/`, of which emitted code has its small functions, as modules: what vectors
//! of eight f32 do is what arrays do, and soft multiply-adds are the CPU's. Vectors of other types
//! and widths are the same text in other words; `emit/runtime.rs` judges all of them.

// Each file is compiled as it is, used here or not.
#![allow(unused)]

#[path = "runtime/soft.rs"]
mod of_soft;

use soft::*;

#[path = "../runtime/soft.rs"]
mod soft;

#[path = "../runtime/scalar.rs"]
mod scalar;

#[path = "../runtime/core_only.rs"]
mod core_only;

#[cfg(target_arch = "x86_64")]
#[path = "."]
mod f32x8 {
    use super::scalar::*;
    use avx::*;
    use avx_32::*;
    use avx_f32::*;
    use avx2::*;

    #[path = "../runtime/avx.rs"]
    mod avx;
    #[path = "../runtime/avx2.rs"]
    mod avx2;
    #[path = "../runtime/avx512.rs"]
    mod avx512;
    #[path = "../runtime/avx_32.rs"]
    mod avx_32;
    #[path = "../runtime/avx_f32.rs"]
    mod avx_f32;
    #[path = "runtime/check.rs"]
    pub mod check;
    #[path = "../runtime/portable.rs"]
    mod plain;
    #[path = "../runtime/unfused.rs"]
    mod unfused;
}

#[cfg(target_arch = "x86_64")]
#[path = "."]
mod f64x4 {
    use avx_f64::*;

    #[path = "../runtime/avx2_128.rs"]
    mod avx2_128;
    #[path = "../runtime/avx_f64.rs"]
    mod avx_f64;
}

#[cfg(target_arch = "x86_64")]
#[test]
fn eight_lanes_do_what_arrays_do() {
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        f32x8::check::check();
    }
}
