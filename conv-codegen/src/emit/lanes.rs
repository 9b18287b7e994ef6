//! What emitted code is written in: one function for each operation of the nest, on vectors or on
//! single numbers, in the instructions of a version.
//!
//! Each version of a convolution has a module per width (`x16`, `x8`, ..) with the functions that
//! it uses. On x86-64 a vector is a register of `core::arch`, and functions that touch memory are
//! `unsafe`: the leaf asserts first how far it reaches. In the portable version a vector is an
//! array, and everything is checked. All have the meaning of the interpreter's operations bit for
//! bit: one rounding in `fma`, comparisons that take the second operand on NaN, ties to even. What
//! they are is for [`runtime`](super::runtime) to say.

use crate::Library;
use conv_ir::nest::Fold;
use conv_ir::{DType, Isa, Nest};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// Whether each leaf's vectors are registers of these instructions. Arrays are of any width.
pub(crate) fn has_vectors_for(isa: Isa, nest: &Nest) -> bool {
    let vectors = nest.all_leaves().into_iter().map(conv_ir::nest::Leaf::width);
    let mut bytes = vectors.filter(|w| *w > 1).map(|width| width * nest.dtype.bytes() as i64);
    isa == Isa::Portable || bytes.all(|bytes| isa.machine().has_vector(bytes))
}

/// The attribute in front of every function of a version.
pub(super) fn attribute(isa: Isa) -> Option<TokenStream> {
    let features = isa.machine().features;
    (!features.is_empty()).then(|| {
        let list = features.join(",");
        quote!(#[target_feature(enable = #list)])
    })
}

macro_rules! lane_fns {
    ($($variant:ident $name:ident,)*) => {
        /// The functions that leaves call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum LaneFn { $($variant),* }

        impl LaneFn {
            pub const ALL: &'static [LaneFn] = &[$(LaneFn::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(LaneFn::$variant => stringify!($name)),* }
            }
        }
    };
}

lane_fns! {
    Every every,
    Splat splat,
    Load load,
    LoadBetween load_between,
    LoadPairs load_pairs,
    LoadPairsBetween load_pairs_between,
    Between between,
    Gather gather,
    Prefetch prefetch,
    Store store,
    StoreFirst store_first,
    Scatter scatter,
    StoreSquare store_square,
    Fma fma,
    Add add,
    Sub sub,
    Mul mul,
    Div div,
    Min min,
    Max max,
    CopySign copysign,
    Neg neg,
    Abs abs,
    Round round,
    Exp2 exp2,
    Choose choose,
    FmaScalar fma_scalar,
    RoundScalar round_scalar,
    MinScalar min_scalar,
    MaxScalar max_scalar,
    Exp2Scalar exp2_scalar,
    Opaque opaque,
    Reflect reflect,
    Symmetric symmetric,
    Replicate replicate,
    Circular circular,
    Scale scale,
    MulHigh mul_high,
    ShiftRound shift_round,
    MulFloor mul_floor,
    ShiftUp shift_up,
    ScaleScalar scale_scalar,
    MulHighScalar mul_high_scalar,
    ShiftRoundScalar shift_round_scalar,
    MulFloorScalar mul_floor_scalar,
    ShiftUpScalar shift_up_scalar,
    Widen widen,
    Narrow narrow,
    To to,
    ToScalar to_scalar,
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

    /// Its name in text: `load`, or `load_u8` of what is stored in another type than it is computed
    /// in.
    pub fn text(self, stored: Option<DType>) -> String {
        match stored {
            None => self.name().to_owned(),
            Some(dtype) => format!("{}_{dtype}", self.name()),
        }
    }

    pub fn ident(self, stored: Option<DType>) -> Ident {
        Ident::new(&self.text(stored), Span::call_site())
    }

    /// What integers alone have.
    #[cfg(test)]
    pub fn requantises(self) -> bool {
        use LaneFn::{MulFloor, MulHigh, Scale, ShiftRound, ShiftUp};
        matches!(self, Scale | MulHigh | ShiftRound | MulFloor | ShiftUp)
    }

    /// What there is only between a type that is stored and the one that it is computed in.
    pub fn converts(self) -> bool {
        matches!(self, LaneFn::Widen | LaneFn::Narrow | LaneFn::To | LaneFn::ToScalar)
    }
}

/// Vectors of one width in one version.
#[derive(Clone, Copy)]
pub(super) struct Vectors {
    pub isa: Isa,
    pub runtime: Library,
    /// Multiply-adds round once.
    pub rounds_once: bool,
    pub dtype: DType,
    /// Lanes; 0 for the scalar functions.
    pub width: i64,
}

impl Vectors {
    pub fn bytes(self) -> i64 {
        self.width * self.dtype.bytes() as i64
    }
}

/// Columns that are transposed at a time: those of 128 bits.
pub(super) fn square(dtype: DType) -> i64 {
    16 / dtype.bytes() as i64
}

/// Zero, of a type as Rust has it.
pub(super) fn zero(dtype: DType) -> TokenStream {
    match dtype {
        DType::F32 | DType::F64 => quote!(0.0),
        _ => quote!(0),
    }
}

/// The element type as a Rust type.
pub(super) fn type_name(dtype: DType) -> TokenStream {
    match dtype {
        DType::F32 => quote!(f32),
        DType::F64 => quote!(f64),
        // By its bits: Rust has no such type.
        DType::F16 | DType::BF16 => quote!(u16),
        DType::I32 => quote!(i32),
        DType::I8 => quote!(i8),
        DType::U8 => quote!(u8),
        DType::I16 => quote!(i16),
        DType::U16 => quote!(u16),
    }
}

/// Whether a number is neither infinite nor NaN, as an expression.
pub(super) fn finite(dtype: DType, number: TokenStream) -> TokenStream {
    match dtype {
        DType::F32 | DType::F64 => quote!(#number.is_finite()),
        // Not all bits of the exponent are set.
        DType::F16 => quote!((#number & 0x7c00 != 0x7c00)),
        DType::BF16 => quote!((#number & 0x7f80 != 0x7f80)),
        DType::I32 | DType::I8 | DType::U8 | DType::I16 | DType::U16 => quote!(true),
    }
}
