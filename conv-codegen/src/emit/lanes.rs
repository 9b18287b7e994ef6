//! The small functions that emitted code is written in: vectors are arrays, an operation is a loop over their lanes.
//!
//! Each is emitted once per item, as a private function inside the public one, and only where it is used. They have the meaning of the
//! interpreter's operations bit for bit: one rounding in `fma`, comparisons that take the second operand on NaN, ties to even. `mul_add` and
//! `round_ties_even` are methods that only `std` provides (Rust 1.95 has no stable `core` form), so emitted code is not `no_std` yet.
//!
//! The texts below are templates: `T` is the element type, `BITS`, `BIAS` and `MANTISSA` describe its encoding.

use conv_ir::DType;
use conv_ir::nest::Fold;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;

macro_rules! lane_fns {
    ($($variant:ident $name:ident, $doc:literal, $source:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum LaneFn { $($variant),* }

        impl LaneFn {
            pub const ALL: &'static [LaneFn] = &[$(LaneFn::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(LaneFn::$variant => stringify!($name)),* }
            }

            fn doc_and_source(self) -> (&'static str, &'static str) {
                match self { $(LaneFn::$variant => ($doc, concat!("fn ", stringify!($name), $source))),* }
            }
        }
    };
}

lane_fns! {
    Load load, " `N` elements in a row.",
        "<const N: usize>(from: &[T], at: usize) -> [T; N] {
            let row = &from[at..at + N];
            ::core::array::from_fn(|lane| row[lane])
        }";
    Gather gather, " `N` elements that are `step` apart.",
        "<const N: usize>(from: &[T], at: usize, step: usize) -> [T; N] {
            ::core::array::from_fn(|lane| from[at + lane * step])
        }";
    LoadLive load_live, " `live` elements that are `step` apart, zeros in the lanes after them.",
        "<const N: usize>(from: &[T], at: usize, step: usize, live: usize) -> [T; N] {
            ::core::array::from_fn(|lane| if lane < live { from[at + lane * step] } else { 0.0 })
        }";
    Store store, " Writes `N` elements in a row.",
        "<const N: usize>(to: &mut [T], at: usize, value: [T; N]) {
            to[at..at + N].copy_from_slice(&value);
        }";
    Scatter scatter, " Writes `N` elements that are `step` apart.",
        "<const N: usize>(to: &mut [T], at: usize, step: usize, value: [T; N]) {
            for lane in 0..N {
                to[at + lane * step] = value[lane];
            }
        }";
    StoreLive store_live, " Writes the first `live` lanes, `step` apart.",
        "<const N: usize>(to: &mut [T], at: usize, step: usize, live: usize, value: [T; N]) {
            for lane in 0..N {
                if lane < live {
                    to[at + lane * step] = value[lane];
                }
            }
        }";
    Fma fma, " `a * b + c`, one rounding.",
        "<const N: usize>(a: [T; N], b: [T; N], c: [T; N]) -> [T; N] {
            ::core::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
        }";
    Add add, " `a + b`.",
        "<const N: usize>(a: [T; N], b: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| a[lane] + b[lane]) }";
    Sub sub, " `a - b`.",
        "<const N: usize>(a: [T; N], b: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| a[lane] - b[lane]) }";
    Mul mul, " `a * b`.",
        "<const N: usize>(a: [T; N], b: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| a[lane] * b[lane]) }";
    Div div, " `a / b`.",
        "<const N: usize>(a: [T; N], b: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| a[lane] / b[lane]) }";
    Min min, " The smaller; `b` where either is NaN.",
        "<const N: usize>(a: [T; N], b: [T; N]) -> [T; N] {
            ::core::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
        }";
    Max max, " The larger; `b` where either is NaN.",
        "<const N: usize>(a: [T; N], b: [T; N]) -> [T; N] {
            ::core::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
        }";
    CopySign copysign, " The magnitude of `a` with the sign of `b`.",
        "<const N: usize>(a: [T; N], b: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| a[lane].copysign(b[lane])) }";
    Neg neg, " `-a`.",
        "<const N: usize>(a: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| -a[lane]) }";
    Abs abs, " The sign bit cleared.",
        "<const N: usize>(a: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| a[lane].abs()) }";
    Round round, " The nearest integer, ties to even.",
        "<const N: usize>(a: [T; N]) -> [T; N] { ::core::array::from_fn(|lane| a[lane].round_ties_even()) }";
    Exp2 exp2, " `2^a` for an integer `a`, by writing the exponent field.",
        "<const N: usize>(a: [T; N]) -> [T; N] {
            ::core::array::from_fn(|lane| T::from_bits(((a[lane] as i64 + BIAS) as BITS) << MANTISSA))
        }";
    Choose choose, " Lane by lane: `then` where `a < b`, else `otherwise`.",
        "<const N: usize>(a: [T; N], b: [T; N], then: [T; N], otherwise: [T; N]) -> [T; N] {
            ::core::array::from_fn(|lane| if a[lane] < b[lane] { then[lane] } else { otherwise[lane] })
        }";
    MinScalar min_scalar, " The smaller; `b` where either is NaN.",
        "(a: T, b: T) -> T { if a < b { a } else { b } }";
    MaxScalar max_scalar, " The larger; `b` where either is NaN.",
        "(a: T, b: T) -> T { if a > b { a } else { b } }";
    Exp2Scalar exp2_scalar, " `2^a` for an integer `a`, by writing the exponent field.",
        "(a: T) -> T { T::from_bits(((a as i64 + BIAS) as BITS) << MANTISSA) }";
    Reflect reflect, " Back into `0..extent` by mirroring, the edge not repeated.",
        "(index: isize, extent: isize) -> usize {
            let index = if index < 0 { -index } else if index < extent { index } else { 2 * (extent - 1) - index };
            index as usize
        }";
    Symmetric symmetric, " Back into `0..extent` by mirroring, the edge repeated.",
        "(index: isize, extent: isize) -> usize {
            let index = if index < 0 { -1 - index } else if index < extent { index } else { 2 * extent - 1 - index };
            index as usize
        }";
    Replicate replicate, " The nearest index of `0..extent`.",
        "(index: isize, extent: isize) -> usize {
            let index = if index < 0 { 0 } else if index < extent { index } else { extent - 1 };
            index as usize
        }";
    Circular circular, " Back into `0..extent` from the other end.",
        "(index: isize, extent: isize) -> usize {
            let index = if index < 0 { index + extent } else if index < extent { index } else { index - extent };
            index as usize
        }";
}

impl LaneFn {
    pub fn of_fold(fold: Fold) -> LaneFn {
        match fold {
            Fold::Reflect => LaneFn::Reflect,
            Fold::Symmetric => LaneFn::Symmetric,
            Fold::Replicate => LaneFn::Replicate,
            Fold::Circular => LaneFn::Circular,
        }
    }

    pub fn ident(self) -> Ident {
        Ident::new(self.name(), Span::call_site())
    }

    /// The function, on elements of `dtype`.
    pub fn source(self, dtype: DType) -> TokenStream {
        let (doc, source) = self.doc_and_source();
        let body = fill(super::tokens(source), dtype);
        quote! {
            #[doc = #doc]
            #[inline(always)]
            #body
        }
    }
}

/// The element type as a Rust type.
pub(super) fn type_name(dtype: DType) -> TokenStream {
    match dtype {
        DType::F32 => quote!(f32),
        DType::F64 => quote!(f64),
    }
}

/// The template with its four names filled in.
fn fill(template: TokenStream, dtype: DType) -> TokenStream {
    let (bits, bias, mantissa) = match dtype {
        DType::F32 => (quote!(u32), quote!(127), quote!(23)),
        DType::F64 => (quote!(u64), quote!(1023), quote!(52)),
    };
    let one = |tree: TokenTree| match tree {
        TokenTree::Group(group) => {
            let inner = fill(group.stream(), dtype);
            TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inner)).into()
        }
        TokenTree::Ident(ident) if ident == "T" => type_name(dtype),
        TokenTree::Ident(ident) if ident == "BITS" => bits.clone(),
        TokenTree::Ident(ident) if ident == "BIAS" => bias.clone(),
        TokenTree::Ident(ident) if ident == "MANTISSA" => mantissa.clone(),
        other => other.into(),
    };
    template.into_iter().flat_map(one).collect()
}
