//! The small functions that emitted code is written in: a vector type `V` of `W` lanes, and one
//! function for each operation of the nest.
//!
//! Each version of a convolution has a module per width (`x16`, `x8`, ..) with the functions that
//! it uses. On x86-64 a vector is a register of `core::arch`, and functions that touch memory are
//! `unsafe`: the leaf asserts first how far it reaches. In the portable version a vector is an
//! array, and everything is checked. All have the meaning of the interpreter's operations bit for
//! bit: one rounding in `fma`, comparisons that take the second operand on NaN, ties to even.
//!
//! The texts below are templates: `T` is the element type, `W` the lanes, `MM` and `PS` the
//! intrinsics' prefix and suffix, `MASK` the mask type, `BITS`, `BIAS`, `MANTISSA` the
//! element's encoding.

use crate::Library;
use conv_ir::nest::Fold;
use conv_ir::{DType, Nest};
use proc_macro2::{Ident, Literal, Span, TokenStream, TokenTree};
use quote::quote;

/// Which instructions a version is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Arrays and scalar operations.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, VL and DQ.
    Avx512,
}

impl Isa {
    /// The widest first.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// Whether each leaf's vectors are registers of it.
    pub fn has_vectors_for(self, nest: &Nest) -> bool {
        let most = match self {
            Isa::Portable => return true,
            Isa::Avx2 => 32,
            Isa::Avx512 => 64,
        };
        let lanes = nest.all_leaves().into_iter().filter_map(|leaf| leaf.lanes);
        let mut bytes = lanes
            .filter(|lanes| lanes.width > 1)
            .map(|lanes| lanes.width * nest.dtype.bytes() as i64);
        bytes.all(|bytes| (16..=most).contains(&bytes) && bytes & (bytes - 1) == 0)
    }

    /// The name of a version's module.
    pub fn module(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// What the functions of a version enable.
    pub fn features(self) -> &'static [&'static str] {
        match self {
            Isa::Portable => &[],
            Isa::Avx2 => &["avx2", "fma"],
            Isa::Avx512 => &["avx512f", "avx512vl", "avx512dq", "avx2", "fma"],
        }
    }

    /// The attribute in front of every function of a version.
    pub fn attribute(self) -> Option<TokenStream> {
        let features = self.features();
        (!features.is_empty()).then(|| {
            let list = features.join(",");
            quote!(#[target_feature(enable = #list)])
        })
    }
}

/// What a lane function does to memory: on x86-64 it is `unsafe` if anything.
#[derive(Clone, Copy, PartialEq)]
enum Touches {
    Nothing,
    Memory,
}

struct Source {
    doc: &'static str,
    touches: Touches,
    signature: &'static str,
    portable: &'static str,
    avx2: &'static str,
    avx512: &'static str,
}

macro_rules! lane_fns {
    ($($variant:ident $name:ident $touches:ident, $doc:literal, $signature:literal, portable $portable:literal, avx2 $avx2:literal, avx512 $avx512:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum LaneFn { $($variant),* }

        impl LaneFn {
            pub const ALL: &'static [LaneFn] = &[$(LaneFn::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(LaneFn::$variant => stringify!($name)),* }
            }

            fn template(self) -> Source {
                match self { $(LaneFn::$variant => Source {
                    doc: $doc,
                    touches: Touches::$touches,
                    signature: $signature,
                    portable: $portable,
                    avx2: $avx2,
                    avx512: $avx512,
                }),* }
            }
        }
    };
}

lane_fns! {
    Every every Nothing, " `x` in every lane.",
        "(x: T) -> V",
        portable "[x; W]",
        avx2 "MM_set1_PS(x)",
        avx512 "MM_set1_PS(x)";
    Splat splat Memory, " One element in every lane.",
        "(from: &[T], at: usize) -> V",
        portable "[from[at]; W]",
        avx2 "unsafe { MM_set1_PS(*from.as_ptr().add(at)) }",
        avx512 "unsafe { MM_set1_PS(*from.as_ptr().add(at)) }";
    Load load Memory, " `W` elements in a row.",
        "(from: &[T], at: usize) -> V",
        portable "let row = &from[at..at + W]; ::core::array::from_fn(|lane| row[lane])",
        avx2 "unsafe { MM_loadu_PS(from.as_ptr().add(at)) }",
        avx512 "unsafe { MM_loadu_PS(from.as_ptr().add(at)) }";
    LoadBetween load_between Memory, " Elements in a row in lanes `first..end`, zeros in the others, which touch nothing.",
        "(from: &[T], at: isize, first: isize, end: isize) -> V",
        portable "::core::array::from_fn(|lane| {
            let lane = lane as isize;
            if first <= lane && lane < end { from[(at + lane) as usize] } else { 0.0 }
        })",
        avx2 "unsafe {
            let lanes = MM_and_si(lanes_below(end), lanes_from(first));
            MM_maskload_PS(from.as_ptr().wrapping_offset(at), lanes)
        }",
        avx512 "let below = |lane: isize| ((1u32 << lane.clamp(0, W)) - 1) as MASK;
        unsafe { MM_maskz_loadu_PS(below(end) & !below(first), from.as_ptr().wrapping_offset(at)) }";
    LoadPairs load_pairs Memory, " Every second of `2 W - 1` elements.",
        "(from: &[T], at: usize) -> V",
        portable "::core::array::from_fn(|lane| from[at + 2 * lane])",
        avx2 "unsafe { pick_pairs(MM_loadu_PS(from.as_ptr().add(at)), MM_loadu_PS(from.as_ptr().add(at + W - 1))) }",
        avx512 "unsafe { pick_pairs(MM_loadu_PS(from.as_ptr().add(at)), MM_loadu_PS(from.as_ptr().add(at + W - 1))) }";
    LoadPairsBetween load_pairs_between Memory, " Every second element in lanes `first..end`, zeros in the others, which touch nothing.",
        "(from: &[T], at: isize, first: isize, end: isize) -> V",
        portable "::core::array::from_fn(|lane| {
            let lane = lane as isize;
            if first <= lane && lane < end { from[(at + 2 * lane) as usize] } else { 0.0 }
        })",
        avx2 "let (first, end) = (2 * first, 2 * end - 1);
        unsafe { pick_pairs(load_between(from, at, first, end), load_between(from, at + W - 1, first - (W - 1), end - (W - 1))) }",
        avx512 "let (first, end) = (2 * first, 2 * end - 1);
        unsafe { pick_pairs(load_between(from, at, first, end), load_between(from, at + W - 1, first - (W - 1), end - (W - 1))) }";
    PickPairs pick_pairs Nothing, " The even lanes of `low`, then the odd lanes of `high`.",
        "(low: V, high: V) -> V",
        portable "::core::array::from_fn(|lane| if 2 * lane < W { low[2 * lane] } else { high[2 * lane + 1 - W] })",
        avx2 "PICK",
        avx512 "PICK";
    Gather gather Nothing, " Elements that are `step` apart in the first `live` lanes, zeros in the others. Checked: it is slow anyway.",
        "(from: &[T], at: usize, step: isize, live: usize) -> V",
        portable "::core::array::from_fn(|lane| if lane < live { from[(at as isize + lane as isize * step) as usize] } else { 0.0 })",
        avx2 "let lanes: [T; W] = ::core::array::from_fn(|lane| if lane < live { from[(at as isize + lane as isize * step) as usize] } else { 0.0 });
        unsafe { MM_loadu_PS(lanes.as_ptr()) }",
        avx512 "let lanes: [T; W] = ::core::array::from_fn(|lane| if lane < live { from[(at as isize + lane as isize * step) as usize] } else { 0.0 });
        unsafe { MM_loadu_PS(lanes.as_ptr()) }";
    Prefetch prefetch Nothing, " Asks for the line of memory at `at`, which need not be inside.",
        "(from: &[T], at: usize)",
        portable "",
        avx2 "unsafe { _mm_prefetch::<3>(from.as_ptr().wrapping_add(at).cast()) }",
        avx512 "unsafe { _mm_prefetch::<3>(from.as_ptr().wrapping_add(at).cast()) }";
    LanesBelow lanes_below Nothing, " All bits set in the lanes before `lane`.",
        "(lane: isize) -> M",
        portable "",
        avx2 "unsafe { MM_loadu_si(STEPS.as_ptr().add(2 * W - lane.clamp(0, W) as usize).cast()) }",
        avx512 "";
    LanesFrom lanes_from Nothing, " All bits set in the lanes from `lane` on.",
        "(lane: isize) -> M",
        portable "",
        avx2 "unsafe { MM_loadu_si(STEPS.as_ptr().add(W - lane.clamp(0, W) as usize).cast()) }",
        avx512 "";
    Store store Memory, " Writes `W` elements in a row.",
        "(to: &mut [T], at: usize, value: V)",
        portable "to[at..at + W].copy_from_slice(&value);",
        avx2 "unsafe { MM_storeu_PS(to.as_mut_ptr().add(at), value) }",
        avx512 "unsafe { MM_storeu_PS(to.as_mut_ptr().add(at), value) }";
    StoreFirst store_first Memory, " Writes the first `live` lanes in a row.",
        "(to: &mut [T], at: usize, live: usize, value: V)",
        portable "for lane in 0..W { if lane < live { to[at + lane] = value[lane]; } }",
        avx2 "FIRST",
        avx512 "let lanes = ((1u32 << live.min(W)) - 1) as MASK;
        unsafe { MM_mask_storeu_PS(to.as_mut_ptr().add(at), lanes, value) }";
    Scatter scatter Memory, " Writes the first `live` lanes, `step` apart.",
        "(to: &mut [T], at: usize, step: usize, live: usize, value: V)",
        portable "for lane in 0..W { if lane < live { to[at + lane * step] = value[lane]; } }",
        avx2 "APART",
        avx512 "APART";
    StoreSquare store_square Memory, " Writes columns, transposed: lane `l` of `tile[i]` goes to `at + l * step + i`, for the first `live` lanes.",
        "(to: &mut [T], at: usize, step: usize, live: usize, tile: [V; SQUARE])",
        portable "for lane in 0..W { if lane < live {
            let row = &mut to[at + lane * step..at + lane * step + SQUARE];
            for i in 0..SQUARE { row[i] = tile[i][lane]; }
        } }",
        avx2 "TURN",
        avx512 "TURN";
    Fma fma Nothing, " `a * b + c`, one rounding.",
        "(a: V, b: V, c: V) -> V",
        portable "::core::array::from_fn(|lane| fma_scalar(a[lane], b[lane], c[lane]))",
        avx2 "MM_fmadd_PS(a, b, c)",
        avx512 "MM_fmadd_PS(a, b, c)";
    Add add Nothing, " `a + b`.",
        "(a: V, b: V) -> V",
        portable "::core::array::from_fn(|lane| a[lane] + b[lane])",
        avx2 "MM_add_PS(a, b)",
        avx512 "MM_add_PS(a, b)";
    Sub sub Nothing, " `a - b`.",
        "(a: V, b: V) -> V",
        portable "::core::array::from_fn(|lane| a[lane] - b[lane])",
        avx2 "MM_sub_PS(a, b)",
        avx512 "MM_sub_PS(a, b)";
    Mul mul Nothing, " `a * b`.",
        "(a: V, b: V) -> V",
        portable "::core::array::from_fn(|lane| a[lane] * b[lane])",
        avx2 "MM_mul_PS(a, b)",
        avx512 "MM_mul_PS(a, b)";
    Div div Nothing, " `a / b`.",
        "(a: V, b: V) -> V",
        portable "::core::array::from_fn(|lane| a[lane] / b[lane])",
        avx2 "MM_div_PS(a, b)",
        avx512 "MM_div_PS(a, b)";
    Min min Nothing, " The smaller; `b` where either is NaN.",
        "(a: V, b: V) -> V",
        portable "::core::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })",
        avx2 "MM_min_PS(a, b)",
        avx512 "MM_min_PS(a, b)";
    Max max Nothing, " The larger; `b` where either is NaN.",
        "(a: V, b: V) -> V",
        portable "::core::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })",
        avx2 "MM_max_PS(a, b)",
        avx512 "MM_max_PS(a, b)";
    CopySign copysign Nothing, " The magnitude of `a` with the sign of `b`.",
        "(a: V, b: V) -> V",
        portable "::core::array::from_fn(|lane| a[lane].copysign(b[lane]))",
        avx2 "let sign = MM_set1_PS(-0.0); MM_or_PS(MM_andnot_PS(sign, a), MM_and_PS(sign, b))",
        avx512 "let sign = MM_set1_PS(-0.0); MM_or_PS(MM_andnot_PS(sign, a), MM_and_PS(sign, b))";
    Neg neg Nothing, " `-a`.",
        "(a: V) -> V",
        portable "::core::array::from_fn(|lane| -a[lane])",
        avx2 "MM_xor_PS(MM_set1_PS(-0.0), a)",
        avx512 "MM_xor_PS(MM_set1_PS(-0.0), a)";
    Abs abs Nothing, " The sign bit cleared.",
        "(a: V) -> V",
        portable "::core::array::from_fn(|lane| a[lane].abs())",
        avx2 "MM_andnot_PS(MM_set1_PS(-0.0), a)",
        avx512 "MM_andnot_PS(MM_set1_PS(-0.0), a)";
    Round round Nothing, " The nearest integer, ties to even.",
        "(a: V) -> V",
        portable "::core::array::from_fn(|lane| round_scalar(a[lane]))",
        avx2 "MM_round_PS::<8>(a)",
        avx512 "MM_roundscale_PS::<8>(a)";
    Exp2 exp2 Nothing, " `2^a` for an integer `a`, by writing the exponent field.",
        "(a: V) -> V",
        portable "::core::array::from_fn(|lane| exp2_scalar(a[lane]))",
        avx2 "EXP2",
        avx512 "EXP2";
    Choose choose Nothing, " Lane by lane: `then` where `a < b`, else `otherwise`.",
        "(a: V, b: V, then: V, otherwise: V) -> V",
        portable "::core::array::from_fn(|lane| if a[lane] < b[lane] { then[lane] } else { otherwise[lane] })",
        avx2 "MM_blendv_PS(otherwise, then, LESS)",
        avx512 "MM_mask_blend_PS(LESS, otherwise, then)";
    FmaScalar fma_scalar Nothing, " `a * b + c`, one rounding.",
        "(a: T, b: T, c: T) -> T", portable "a.mul_add(b, c)", avx2 "a.mul_add(b, c)", avx512 "a.mul_add(b, c)";
    RoundScalar round_scalar Nothing, " The nearest integer, ties to even.",
        "(a: T) -> T", portable "a.round_ties_even()", avx2 "a.round_ties_even()", avx512 "a.round_ties_even()";
    MinScalar min_scalar Nothing, " The smaller; `b` where either is NaN.",
        "(a: T, b: T) -> T", portable "if a < b { a } else { b }", avx2 "if a < b { a } else { b }", avx512 "if a < b { a } else { b }";
    MaxScalar max_scalar Nothing, " The larger; `b` where either is NaN.",
        "(a: T, b: T) -> T", portable "if a > b { a } else { b }", avx2 "if a > b { a } else { b }", avx512 "if a > b { a } else { b }";
    Exp2Scalar exp2_scalar Nothing, " `2^a` for an integer `a`, by writing the exponent field.",
        "(a: T) -> T",
        portable "T::from_bits(((a as i64 + BIAS) as BITS) << MANTISSA)",
        avx2 "T::from_bits(((a as i64 + BIAS) as BITS) << MANTISSA)",
        avx512 "T::from_bits(((a as i64 + BIAS) as BITS) << MANTISSA)";
    Opaque opaque Nothing, " The same offset, of which rustc knows nothing: it would keep neighbouring taps' elements in registers, and there are not enough.",
        "<I>(at: I) -> I",
        portable "::core::hint::black_box(at)", avx2 "::core::hint::black_box(at)", avx512 "::core::hint::black_box(at)";
    Reflect reflect Nothing, " Back into `0..extent` by mirroring, the edge not repeated.",
        "(index: isize, extent: isize) -> usize",
        portable "if 0 <= index && index < extent { index as usize } else { let at = index.rem_euclid((2 * (extent - 1)).max(1)); at.min(2 * (extent - 1) - at) as usize }",
        avx2 "if 0 <= index && index < extent { index as usize } else { let at = index.rem_euclid((2 * (extent - 1)).max(1)); at.min(2 * (extent - 1) - at) as usize }",
        avx512 "if 0 <= index && index < extent { index as usize } else { let at = index.rem_euclid((2 * (extent - 1)).max(1)); at.min(2 * (extent - 1) - at) as usize }";
    Symmetric symmetric Nothing, " Back into `0..extent` by mirroring, the edge repeated.",
        "(index: isize, extent: isize) -> usize",
        portable "if 0 <= index && index < extent { index as usize } else { let at = index.rem_euclid(2 * extent); at.min(2 * extent - 1 - at) as usize }",
        avx2 "if 0 <= index && index < extent { index as usize } else { let at = index.rem_euclid(2 * extent); at.min(2 * extent - 1 - at) as usize }",
        avx512 "if 0 <= index && index < extent { index as usize } else { let at = index.rem_euclid(2 * extent); at.min(2 * extent - 1 - at) as usize }";
    Replicate replicate Nothing, " The nearest index of `0..extent`.",
        "(index: isize, extent: isize) -> usize",
        portable "(if index < 0 { 0 } else if index < extent { index } else { extent - 1 }) as usize",
        avx2 "(if index < 0 { 0 } else if index < extent { index } else { extent - 1 }) as usize",
        avx512 "(if index < 0 { 0 } else if index < extent { index } else { extent - 1 }) as usize";
    Circular circular Nothing, " Back into `0..extent` from the other end.",
        "(index: isize, extent: isize) -> usize",
        portable "if 0 <= index && index < extent { index as usize } else { index.rem_euclid(extent) as usize }",
        avx2 "if 0 <= index && index < extent { index as usize } else { index.rem_euclid(extent) as usize }",
        avx512 "if 0 <= index && index < extent { index as usize } else { index.rem_euclid(extent) as usize }";
}

/// The scalar functions, which stand beside the modules of vectors rather than in one.
const SCALAR: &[LaneFn] = &[
    LaneFn::FmaScalar,
    LaneFn::RoundScalar,
    LaneFn::MinScalar,
    LaneFn::MaxScalar,
    LaneFn::Exp2Scalar,
    LaneFn::Opaque,
    LaneFn::Reflect,
    LaneFn::Symmetric,
    LaneFn::Replicate,
    LaneFn::Circular,
];

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

    pub fn is_scalar(self) -> bool {
        SCALAR.contains(&self)
    }

    /// The functions that this one calls.
    pub fn calls(self, isa: Isa) -> &'static [LaneFn] {
        match (self, isa) {
            (LaneFn::LoadPairsBetween, Isa::Avx2 | Isa::Avx512) => {
                &[LaneFn::LoadBetween, LaneFn::PickPairs]
            }
            (LaneFn::LoadBetween, Isa::Avx2) => &[LaneFn::LanesBelow, LaneFn::LanesFrom],
            (LaneFn::LoadPairs, Isa::Avx2 | Isa::Avx512) => &[LaneFn::PickPairs],
            (LaneFn::Fma, Isa::Portable) => &[LaneFn::FmaScalar],
            (LaneFn::Round, Isa::Portable) => &[LaneFn::RoundScalar],
            (LaneFn::Exp2, Isa::Portable) => &[LaneFn::Exp2Scalar],
            _ => &[],
        }
    }
}

/// Vectors of one width in one version.
#[derive(Clone, Copy)]
pub(super) struct Vectors {
    pub isa: Isa,
    pub runtime: Library,
    pub dtype: DType,
    /// Lanes; 0 for the scalar functions.
    pub width: i64,
}

impl Vectors {
    fn bytes(self) -> i64 {
        self.width * self.dtype.bytes() as i64
    }

    /// The vector type.
    pub fn type_text(self) -> String {
        let suffix = if self.dtype == DType::F64 { "d" } else { "" };
        match self.isa {
            Isa::Portable => format!("[{}; {}]", self.dtype, self.width),
            Isa::Avx2 | Isa::Avx512 => {
                format!("::core::arch::x86_64::__m{}{suffix}", 8 * self.bytes())
            }
        }
    }

    /// What stands in front of the functions of a width: the vector type, and masks to take a part
    /// of.
    pub fn preamble(self, functions: &[LaneFn]) -> TokenStream {
        let ty = super::tokens(&self.type_text());
        let masks = functions.contains(&LaneFn::LanesBelow).then(|| {
            let mask = super::tokens(&format!("::core::arch::x86_64::__m{}i", 8 * self.bytes()));
            let steps = "/// No lane, all lanes, no lane: a window of it is a mask.
                const STEPS: [BITS; 3 * W] = {
                    let mut steps = [0; 3 * W];
                    let mut lane = W;
                    while lane < 2 * W { steps[lane] = BITS::MAX; lane += 1; }
                    steps
                };";
            let steps = self.fill(super::tokens(steps));
            quote!(type M = #mask; #steps)
        });
        quote!(pub(super) type V = #ty; #masks)
    }

    /// A lane function of this width.
    pub fn source(self, function: LaneFn) -> TokenStream {
        if let (Library::Core, Some(text)) =
            (self.runtime, super::core_only::source(self, function))
        {
            return text;
        }
        let source = function.template();
        let (doc, name, signature) = (source.doc, function.name(), source.signature);
        let body = match self.isa {
            Isa::Portable => source.portable.to_owned(),
            Isa::Avx2 => self.special(source.avx2),
            Isa::Avx512 => self.special(source.avx512),
        };
        let is_unsafe = self.isa != Isa::Portable && source.touches == Touches::Memory;
        let keyword = if is_unsafe { "unsafe " } else { "" };
        let text = format!("pub(super) {keyword}fn {name}{signature} {{ {body} }}");
        // A slice index is usize, an offset that may be negative isize; `W` is a literal that fits
        // both.
        let function = self.fill(super::tokens(&text));
        // A function of one width is always inlined; rustc forbids `always` together with features.
        match self.isa.attribute() {
            None => quote!(#[doc = #doc] #[inline(always)] #function),
            Some(_) if self.width == 0 => quote!(#[doc = #doc] #[inline(always)] #function),
            Some(features) => quote!(#[doc = #doc] #[inline] #features #function),
        }
    }

    /// Bodies that differ by more than a prefix.
    fn special(self, template: &str) -> String {
        let (bytes, is_f64) = (self.bytes(), self.dtype == DType::F64);
        let si = 8 * bytes;
        match template {
            "PICK" if self.isa == Isa::Avx512 => {
                let from = |lane: i64| if 2 * lane < self.width { 2 * lane } else { 2 * lane + 1 };
                let lanes: Vec<String> = (0..self.width).map(|lane| from(lane).to_string()).collect();
                let bits = if is_f64 { 64 } else { 32 };
                format!(
                    "const LANES: [i{bits}; {}] = [{}]; MM_permutex2var_PS(low, unsafe {{ MM_loadu_epi{bits}(LANES.as_ptr()) }}, high)",
                    self.width,
                    lanes.join(", ")
                )
            }
            "PICK" => match (bytes, is_f64) {
                (16, false) => "MM_shuffle_ps::<0b11_01_10_00>(low, high)".to_owned(),
                (16, true) => "MM_shuffle_pd::<0b10>(low, high)".to_owned(),
                (_, false) => "MM_castpd_ps(MM_permute4x64_pd::<0b11_01_10_00>(MM_castps_pd(MM_shuffle_ps::<0b11_01_10_00>(low, high))))".to_owned(),
                (_, true) => "MM_permute4x64_pd::<0b11_01_10_00>(MM_shuffle_pd::<0b1010>(low, high))".to_owned(),
            },
            "EXP2" if is_f64 => format!(
                // The sum's lowest bits are the exponent field.
                "MM_castsi{si}_pd(MM_slli_epi64::<52>(MM_castpd_si{si}(MM_add_pd(a, MM_set1_pd(4503599627370496.0 + 1023.0)))))"
            ),
            "EXP2" => format!("MM_castsi{si}_ps(MM_slli_epi32::<23>(MM_add_epi32(MM_cvtps_epi32(a), MM_set1_epi32(127))))"),
            "TURN" => self.turn(),
            "FIRST" => self.first(),
            "APART" => self.apart(),
            "MM_blendv_PS(otherwise, then, LESS)" if bytes == 16 => {
                template.replace("LESS", if is_f64 { "_mm_cmplt_pd(a, b)" } else { "_mm_cmplt_ps(a, b)" })
            }
            other => {
                let less = match self.isa {
                    Isa::Avx512 => "MM_cmp_PS_mask::<1>(a, b)",
                    Isa::Avx2 | Isa::Portable => "MM_cmp_PS::<1>(a, b)",
                };
                other
                    .replace("LESS", less)
                    .replace("loadu_si", &format!("loadu_si{si}"))
                    .replace("and_si", &format!("and_si{si}"))
            }
        }
    }

    /// A vector's parts of 128 bits.
    fn parts(self, value: &str) -> Vec<String> {
        let is_f64 = self.dtype == DType::F64;
        let ps = if is_f64 { "pd" } else { "ps" };
        let part = |part: i64| match (self.bytes(), part) {
            (16, _) => value.to_owned(),
            (32, 0) => format!("_mm256_cast{ps}256_{ps}128({value})"),
            (32, _) => format!("_mm256_extractf128_{ps}::<{part}>({value})"),
            (_, 0) => format!("_mm512_cast{ps}512_{ps}128({value})"),
            (_, _) if is_f64 => format!("_mm512_extractf64x2_pd::<{part}>({value})"),
            (_, _) => format!("_mm512_extractf32x4_ps::<{part}>({value})"),
        };
        (0..self.bytes() / 16).map(part).collect()
    }

    /// The first lanes without a masked store, which AVX2 has but AMD's CPUs are slow at: four,
    /// two, and one.
    fn first(self) -> String {
        let parts = self.parts("value");
        let halves = match parts.as_slice() {
            [low, high] => format!(
                "let mut part = {low};
                if live & SQUARE != 0 {{ unsafe {{ _mm_storeu_PS(to, part) }}; part = {high}; to = to.wrapping_add(SQUARE); }}"
            ),
            _ => "let mut part = value;".to_owned(),
        };
        let rest = match self.dtype {
            DType::F32 => {
                "if live & 2 != 0 {
                    unsafe { _mm_store_sd(to.cast(), _mm_castps_pd(part)) };
                    part = _mm_movehl_ps(part, part);
                    to = to.wrapping_add(2);
                }
                if live & 1 != 0 { unsafe { _mm_store_ss(to, part) }; }"
            }
            DType::F64 => "if live & 1 != 0 { unsafe { _mm_store_sd(to, part) }; }",
        };
        format!(
            "let mut to = unsafe {{ to.as_mut_ptr().add(at) }};
            if live >= W {{ return unsafe {{ MM_storeu_PS(to, value) }}; }}
            {halves} {rest}"
        )
    }

    /// Lane by lane, straight from the register.
    fn apart(self) -> String {
        let square = square(self.dtype);
        let parts = self.parts("value");
        let stores = parts.iter().enumerate().map(|(at, part)| {
            let stores = (0..square).map(|i| {
                let lane = square * at as i64 + i;
                let element = match self.dtype {
                    DType::F32 => format!("f32::from_bits(_mm_extract_ps::<{i}>(part) as u32)"),
                    DType::F64 if i == 0 => "_mm_cvtsd_f64(part)".to_owned(),
                    DType::F64 => "_mm_cvtsd_f64(_mm_unpackhi_pd(part, part))".to_owned(),
                };
                format!("if {lane} < live {{ unsafe {{ *to.add({lane} * step) = {element} }} }}")
            });
            format!("let part = {part}; {}", stores.collect::<String>())
        });
        format!("let to = unsafe {{ to.as_mut_ptr().add(at) }}; {}", stores.collect::<String>())
    }

    /// Transposes in registers, in squares of 128 bits.
    fn turn(self) -> String {
        let (square, ps, m128) = match self.dtype {
            DType::F32 => (4, "ps", "__m128"),
            DType::F64 => (2, "pd", "__m128d"),
        };
        let parts = self.parts("column");
        let groups = parts.len();
        let turn = match self.dtype {
            DType::F32 => {
                "let (a, b) = (MM_unpacklo_ps(tile[0], tile[1]), MM_unpacklo_ps(tile[2], tile[3]));
                let (c, d) = (MM_unpackhi_ps(tile[0], tile[1]), MM_unpackhi_ps(tile[2], tile[3]));
                let columns = [MM_shuffle_ps::<0x44>(a, b), MM_shuffle_ps::<0xEE>(a, b), MM_shuffle_ps::<0x44>(c, d), MM_shuffle_ps::<0xEE>(c, d)];"
            }
            DType::F64 => "let columns = [MM_unpacklo_pd(tile[0], tile[1]), MM_unpackhi_pd(tile[0], tile[1])];",
        };
        format!(
            "{turn}
            for i in 0..{square} {{
                let column = columns[i];
                let parts: [::core::arch::x86_64::{m128}; {groups}] = [{}];
                for group in 0..{groups} {{
                    let lane = {square} * group + i;
                    if lane < live {{
                        unsafe {{ _mm_storeu_{ps}(to.as_mut_ptr().add(at + lane * step), parts[group]) }};
                    }}
                }}
            }}",
            parts.join(", ")
        )
    }

    /// The template with its names filled in.
    fn fill(self, template: TokenStream) -> TokenStream {
        let (bits, bias, mantissa, suffix) = match self.dtype {
            DType::F32 => ("u32", 127, 23, "ps"),
            DType::F64 => ("u64", 1023, 52, "pd"),
        };
        let prefix = match self.bytes() {
            64 => "_mm512",
            32 => "_mm256",
            _ => "_mm",
        };
        let mask = if self.width > 8 { "u16" } else { "u8" };
        let one = |tree: TokenTree| -> TokenStream {
            match tree {
                TokenTree::Group(group) => {
                    let inner = self.fill(group.stream());
                    TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inner)).into()
                }
                TokenTree::Ident(ident) => match ident.to_string().as_str() {
                    "T" => type_name(self.dtype),
                    "W" => TokenTree::Literal(Literal::i64_unsuffixed(self.width)).into(),
                    "SQUARE" => {
                        TokenTree::Literal(Literal::i64_unsuffixed(square(self.dtype))).into()
                    }
                    "BITS" => super::tokens(bits),
                    "BIAS" => TokenTree::Literal(Literal::i64_unsuffixed(bias)).into(),
                    "MANTISSA" => TokenTree::Literal(Literal::i64_unsuffixed(mantissa)).into(),
                    "MASK" => super::tokens(mask),
                    "N" | "V" | "M" | "LANES" | "STEPS" | "MAX" => TokenTree::Ident(ident).into(),
                    name if name.starts_with("MM_") => {
                        // 256 and 128 bits of AVX-512 keep their prefix.
                        let name =
                            name.replacen("MM", prefix, 1).replace("_PS", &format!("_{suffix}"));
                        super::tokens(&format!("::core::arch::x86_64::{name}"))
                    }
                    name if name.starts_with("_mm") => {
                        let name = name.replace("_PS", &format!("_{suffix}"));
                        super::tokens(&format!("::core::arch::x86_64::{name}"))
                    }
                    _ => TokenTree::Ident(ident).into(),
                },
                other => other.into(),
            }
        };
        template.into_iter().flat_map(one).collect()
    }
}

/// Columns that are transposed at a time: those of 128 bits.
pub(super) fn square(dtype: DType) -> i64 {
    16 / dtype.bytes() as i64
}

/// The element type as a Rust type.
pub(super) fn type_name(dtype: DType) -> TokenStream {
    match dtype {
        DType::F32 => quote!(f32),
        DType::F64 => quote!(f64),
    }
}
