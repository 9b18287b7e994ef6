//! The two functions that `core` lacks: `mul_add` and `round_ties_even`.
//!
//! A fused multiply-add is an instruction where the crate is compiled for one, else plain
//! arithmetic that gives its bits (`soft.rs`, which is compiled here too, and judged against the
//! CPU's). It is slow: some 10 ns for f32.

use conv_ir::DType;
use proc_macro2::TokenStream;
use quote::quote;

use super::lanes::{Isa, LaneFn, Vectors, type_name};
use super::tokens;

/// The text of a function that needs another one without `std`.
pub(super) fn source(vectors: Vectors, function: LaneFn) -> Option<TokenStream> {
    let t = type_name(vectors.dtype);
    match function {
        LaneFn::FmaScalar => Some(fma(vectors)),
        LaneFn::RoundScalar => {
            // From here on all numbers are whole; below, adding it rounds.
            let whole = tokens(match vectors.dtype {
                DType::F32 => "8388608.0",
                DType::F64 => "4503599627370496.0",
            });
            Some(quote! {
                /// The nearest integer, ties to even.
                #[inline(always)]
                pub(super) fn round_scalar(a: #t) -> #t {
                    if a.abs() < #whole { (a.abs() + #whole - #whole).copysign(a) } else { a }
                }
            })
        }
        _ => None,
    }
}

fn fma(vectors: Vectors) -> TokenStream {
    let t = type_name(vectors.dtype);
    let (set, fmadd, get) = match vectors.dtype {
        DType::F32 => ("_mm_set_ss", "_mm_fmadd_ss", "_mm_cvtss_f32"),
        DType::F64 => ("_mm_set_sd", "_mm_fmadd_sd", "_mm_cvtsd_f64"),
    };
    let [set, fmadd, get] =
        [set, fmadd, get].map(|name| tokens(&format!("::core::arch::x86_64::{name}")));
    let x86 = quote!(#get(#fmadd(#set(a), #set(b), #set(c))));
    if let (Isa::Avx2 | Isa::Avx512, features) = (vectors.isa, vectors.isa.attribute()) {
        return quote! {
            /// `a * b + c`, one rounding.
            #[inline]
            #features
            pub(super) fn fma_scalar(a: #t, b: #t, c: #t) -> #t { #x86 }
        };
    }
    let (duplicate, fused, lane) = match vectors.dtype {
        DType::F32 => ("vdup_n_f32", "vfma_f32", "vget_lane_f32"),
        DType::F64 => ("vdup_n_f64", "vfma_f64", "vget_lane_f64"),
    };
    let [duplicate, fused, lane] =
        [duplicate, fused, lane].map(|name| tokens(&format!("::core::arch::aarch64::{name}")));
    let (soft, text) = match vectors.dtype {
        DType::F32 => ("fma_soft_f32", 0),
        DType::F64 => ("fma_soft_f64", 1),
    };
    let soft = tokens(soft);
    // The file holds the function for f32, then the one for f64.
    let text = include_str!("soft.rs").split_inclusive("\n}\n").nth(text).unwrap_or_default();
    let text = tokens(text);
    quote! {
        /// `a * b + c`, one rounding.
        #[inline(always)]
        pub(super) fn fma_scalar(a: #t, b: #t, c: #t) -> #t {
            #[cfg(all(target_arch = "x86_64", target_feature = "fma"))]
            { return unsafe { #x86 }; }
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            { return unsafe { #lane::<0>(#fused(#duplicate(c), #duplicate(a), #duplicate(b))) }; }
            #[cfg(not(any(all(target_arch = "x86_64", target_feature = "fma"), all(target_arch = "aarch64", target_feature = "neon"))))]
            #soft(a, b, c)
        }
        #text
    }
}
