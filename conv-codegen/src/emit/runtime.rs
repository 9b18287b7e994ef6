//! The small functions that emitted code is written in, as text: cut out of the Rust files in
//! `runtime/`, which `tests/runtime.rs` compiles and judges.
//!
//! ```text
//! runtime/avx.rs, written for eight f32:
//!     fn fma(a: V, b: V, c: V) -> V { _mm256_fmadd_ps(a, b, c) }
//! a version's `x8`, fitted to eight f64:
//!     fn fma(a: V, b: V, c: V) -> V { ::core::arch::x86_64::_mm512_fmadd_pd(a, b, c) }
//! ```
//!
//! Vectors of another type or width are the same functions in other words: the intrinsics' prefix
//! and suffix, the element, `W`. Where more differs there are more files, and the first one that
//! has a function is taken. A version gets the functions that it calls, and what those mention.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use conv_ir::{DType, Isa};
use proc_macro2::{Group, TokenStream, TokenTree};
use quote::quote;

use super::lanes::{LaneFn, Vectors, attribute, type_name};
use super::tokens;
use crate::Library;

/// A function, constant or type of a file.
struct Piece {
    name: &'static str,
    /// Lines of documentation.
    docs: &'static str,
    /// The rest but for attributes, which the version has its own of.
    code: &'static str,
}

impl Piece {
    fn is_function(&self) -> bool {
        self.code.contains("fn ")
    }
}

macro_rules! files {
    ($($name:ident $path:literal),*) => {
        $(static $name: LazyLock<Vec<Piece>> =
            LazyLock::new(|| cut(include_str!(concat!("../../runtime/", $path))));)*
    };
}

files! {
    SCALAR "scalar.rs", UNFUSED "unfused.rs", CORE_ONLY "core_only.rs", SOFT "soft.rs", PORTABLE "portable.rs", AVX "avx.rs",
    AVX_32 "avx_32.rs", AVX_F32 "avx_f32.rs", AVX_F64 "avx_f64.rs", AVX2 "avx2.rs", AVX2_128 "avx2_128.rs", AVX512 "avx512.rs",
    REQUANTISE "requantise.rs", WRAPPING "wrapping.rs", AVX_I32 "avx_i32.rs", AVX2_I32 "avx2_i32.rs", STORED "stored.rs",
    STORED_CHECKED "stored_checked.rs", STORED_TRUSTED "stored_trusted.rs", HALF "stored_half.rs",
    STORED_INTEGER "stored_integer.rs", STORED_F16 "stored_f16.rs", STORED_BF16 "stored_bf16.rs"
}

/// The items of a file. Formatted as files are, one ends with a line that is not indented.
fn cut(text: &'static str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut code, mut at) = (0, None, 0);
    for line in text.split_inclusive('\n') {
        let (from, words) = (at, line.trim_end());
        at += line.len();
        match code {
            None if words.is_empty() || ["//!", "use "].iter().any(|w| words.starts_with(w)) => {
                start = at;
            }
            None if words.starts_with("///") || words.starts_with("#[") => {}
            _ => code = Some(code.unwrap_or(from)),
        }
        if let Some(from) = code.filter(|_| !words.starts_with(' ') && words.ends_with(['}', ';']))
        {
            let docs = text[start..from].split("#[").next().unwrap_or_default();
            pieces.push(Piece { name: name(&text[from..at]), docs, code: &text[from..at] });
            (start, code) = (at, None);
        }
    }
    pieces
}

/// The name that an item gives.
fn name(code: &str) -> &str {
    // A `const fn` is a function.
    let mut words = ["fn ", "const ", "type "].iter();
    let before = words.find_map(|word| Some(code.find(word)? + word.len()));
    let rest = &code[before.unwrap_or_default()..];
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    &rest[..end]
}

impl LaneFn {
    /// Whether it stands beside the modules of vectors rather than in one.
    pub fn is_scalar(self) -> bool {
        use LaneFn::{Narrow, ToScalar, Widen};
        let converts = matches!(self, Widen | Narrow | ToScalar);
        converts
            || self.name().ends_with("_scalar")
            || SCALAR.iter().any(|piece| piece.name == self.name())
    }
}

impl Vectors {
    /// Where its functions are looked for, in order.
    fn files(self) -> Vec<&'static [Piece]> {
        let is_integer = self.dtype.is_integer();
        let files: &[&'static LazyLock<Vec<Piece>>] = match (self.isa, self.runtime, self.width) {
            (_, _, 0) if is_integer => &[&WRAPPING, &REQUANTISE, &SCALAR],
            (_, Library::Std, 0) => &[&SCALAR],
            (_, Library::Core, 0) => &[&CORE_ONLY, &SOFT, &SCALAR],
            (Isa::Portable, ..) if is_integer => &[&WRAPPING, &REQUANTISE, &PORTABLE],
            (Isa::Portable, ..) => &[&PORTABLE],
            (Isa::Avx2 | Isa::AvxVnni, ..) if is_integer => {
                &[&AVX2_I32, &AVX_I32, &AVX_32, &REQUANTISE, &AVX]
            }
            (Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx, ..) if is_integer => {
                &[&AVX_I32, &AVX_32, &REQUANTISE, &AVX512, &AVX]
            }
            (Isa::Avx2 | Isa::AvxVnni, ..) if self.bytes() == 16 => &[&AVX2_128, &AVX2, &AVX],
            (Isa::Avx2 | Isa::AvxVnni, ..) => &[&AVX2, &AVX],
            (Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx, ..) => &[&AVX512, &AVX],
        };
        let element: &[&'static LazyLock<Vec<Piece>>] = match self.dtype {
            _ if self.isa == Isa::Portable || self.width == 0 || is_integer => &[],
            DType::F64 => &[&AVX_F64],
            _ => &[&AVX_F32, &AVX_32],
        };
        let unfused = (!self.rounds_once && !is_integer).then_some(UNFUSED.as_slice());
        let files = files.iter().chain(element).map(|file| file.as_slice());
        unfused.into_iter().chain(files).collect()
    }

    /// Where functions of a type are looked for that is computed in another.
    fn files_of(self, stored: DType) -> Vec<&'static [Piece]> {
        let lanes: &[&'static LazyLock<Vec<Piece>>] = match self.isa {
            _ if self.width == 0 => &[],
            Isa::Portable => &[&STORED_CHECKED, &STORED],
            _ => &[&STORED_TRUSTED, &STORED],
        };
        let numbers: &[&'static LazyLock<Vec<Piece>>] = match stored {
            _ if self.width > 0 => &[],
            DType::F16 => &[&STORED_F16, &HALF],
            DType::BF16 => &[&STORED_BF16, &HALF],
            _ => &[&STORED_INTEGER],
        };
        lanes.iter().chain(numbers).map(|file| file.as_slice()).collect()
    }

    /// An item by its name in emitted text: `fma`, or `load_u8`, which is `load_stored` of u8.
    fn piece(self, name: &str) -> Option<(&'static Piece, Option<DType>)> {
        let of = |files: Vec<&'static [Piece]>, name: &str| {
            files.into_iter().flatten().find(|piece| piece.name == name)
        };
        if let Some(piece) = of(self.files(), name) {
            return Some((piece, None));
        }
        let is_integer = self.dtype.is_integer();
        let is_stored = |dtype: &&DType| {
            dtype.format().computed == self.dtype && (is_integer || **dtype != self.dtype)
        };
        let types = DType::ALL.iter().filter(is_stored);
        let of_type = |&dtype: &DType| {
            let stem = name.strip_suffix(&format!("_{dtype}"))?;
            let piece = of(self.files_of(dtype), &format!("{stem}_stored"))?;
            Some((piece, Some(dtype)))
        };
        // What all of them share has no type in its name.
        let shared = || {
            let dtype = types.clone().find(|dtype| of(self.files_of(**dtype), name).is_some())?;
            Some((of(self.files_of(*dtype), name)?, Some(*dtype)))
        };
        // Nor have arrays of i32 beside vectors.
        let own = || {
            let is_memory = LaneFn::ALL.iter().any(|f| f.name() == name && !f.converts());
            let piece = of(self.files_of(self.dtype), &format!("{name}_stored"))?;
            (is_integer && is_memory).then_some((piece, Some(self.dtype)))
        };
        types.clone().find_map(of_type).or_else(shared).or_else(own)
    }

    /// The items that these functions are made of, by name: their own, and what those mention. What
    /// they call of the scalar functions is put into `scalars`.
    pub fn items(self, called: &[String], scalars: &mut BTreeSet<String>) -> TokenStream {
        let (scalar, mut left) = (Vectors { width: 0, ..self }, called.to_vec());
        let mut found: Vec<(String, &Piece, TokenStream)> = Vec::new();
        while let Some(name) = left.pop() {
            if found.iter().any(|(known, ..)| *known == name) {
                continue;
            }
            if let Some((piece, stored)) = self.piece(&name) {
                let text = match &*name {
                    "W" => self.lanes(),
                    _ => self.fitted(tokens(piece.code), stored),
                };
                words(&text, &mut |word| {
                    let is_known = self.piece(&word).or(scalar.piece(&word)).is_some();
                    left.extend(is_known.then_some(word));
                });
                found.push((name, piece, text));
            } else if scalar.piece(&name).is_some() {
                scalars.insert(name);
            }
        }
        let mut seen = BTreeSet::new();
        let pieces = self.files().into_iter().flatten().filter(|piece| seen.insert(piece.name));
        let order: Vec<&str> = pieces.map(|piece| piece.name).collect();
        found.sort_by_key(|(name, piece, _)| {
            let place = order.iter().position(|known| known == name).unwrap_or(order.len());
            (piece.is_function(), place, name.clone())
        });
        let of = |(_, piece, text): &(String, &Piece, TokenStream)| {
            let (docs, attributes) = (tokens(piece.docs), self.attributes(piece));
            quote!(#docs #attributes #text)
        };
        found.iter().map(of).collect()
    }

    /// How many there are.
    fn lanes(self) -> TokenStream {
        let width = tokens(&self.width.to_string());
        quote!(pub(super) const W: usize = #width;)
    }

    /// rustc forbids `inline(always)` together with features. Multiply-adds in software are long,
    /// and stand once.
    fn attributes(self, piece: &Piece) -> Option<TokenStream> {
        let features = attribute(self.isa).filter(|_| self.width > 0);
        let is_soft = SOFT.iter().any(|soft| soft.name == piece.name);
        (piece.is_function() && !is_soft).then(|| match features {
            None => quote!(#[inline(always)]),
            Some(features) => quote!(#[inline] #features),
        })
    }

    /// A text for eight f32 (or 256 bits) as one for these vectors, and numbers that are stored so.
    fn fitted(self, text: TokenStream, stored: Option<DType>) -> TokenStream {
        let one = |tree: TokenTree| -> TokenStream {
            match tree {
                TokenTree::Group(group) => {
                    let inner = self.fitted(group.stream(), stored);
                    TokenTree::Group(Group::new(group.delimiter(), inner)).into()
                }
                TokenTree::Ident(word) => self.fitted_word(&word.to_string(), stored),
                TokenTree::Literal(number)
                    if self.dtype.is_integer() && number.to_string() == "0.0" =>
                {
                    quote!(0)
                }
                other => other.into(),
            }
        };
        text.into_iter().flat_map(one).collect()
    }

    fn fitted_word(self, word: &str, stored: Option<DType>) -> TokenStream {
        let (is_f64, is_integer) = (self.dtype == DType::F64, self.dtype.is_integer());
        let word = match (stored, word) {
            // What is checked needs none.
            (Some(_), "unsafe") if self.isa == Isa::Portable => return TokenStream::new(),
            (Some(dtype), "Stored") => return type_name(dtype),
            (_, "Float") => return quote!(f32),
            (Some(dtype), _) if word.ends_with("_stored") => {
                let kept = ["widen", "narrow", "to_scalar", "read", "write"];
                let stem = word.trim_end_matches("_stored");
                let is_own = dtype == self.dtype && !kept.contains(&stem);
                return tokens(&if is_own { stem.to_owned() } else { format!("{stem}_{dtype}") });
            }
            _ => word.replace("f32", self.dtype.format().name),
        };
        if !word.starts_with("_mm") && !word.starts_with("__m") {
            return tokens(&word);
        }
        let word = match self.dtype {
            _ if is_f64 => word.replace("ps", "pd").replace("ss", "sd"),
            _ if is_integer => word.replace("ps", "epi32"),
            _ => word,
        };
        if self.width == 0 {
            return tokens(&word);
        }
        let bits = (8 * self.bytes()).to_string();
        let prefix = if bits == "128" { "_mm_".to_owned() } else { format!("_mm{bits}_") };
        let word = word.replace("_mm256_", &prefix).replace("256", &bits);
        let word = if self.width > 8 { word.replace("__mmask8", "__mmask16") } else { word };
        tokens(&format!("::core::arch::x86_64::{word}"))
    }
}

/// Calls with every name of a text, but for those of methods.
fn words(text: &TokenStream, call: &mut dyn FnMut(String)) {
    let mut is_method = false;
    for tree in text.clone() {
        let was_method = std::mem::take(&mut is_method);
        match tree {
            TokenTree::Group(group) => words(&group.stream(), call),
            TokenTree::Ident(word) if !was_method => call(word.to_string()),
            TokenTree::Punct(point) => is_method = point.as_char() == '.',
            TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHECK: &str = include_str!("../../tests/runtime/check.rs");

    /// Every vector type of x86-64.
    fn all() -> Vec<Vectors> {
        let isas = [(Isa::Avx2, [16, 32].as_slice()), (Isa::Avx512, &[16, 32, 64])];
        let types = isas.into_iter().flat_map(|(isa, bytes)| bytes.iter().map(move |b| (isa, *b)));
        let of = |(isa, bytes)| {
            [DType::F32, DType::F64].map(|dtype| Vectors {
                isa,
                runtime: Library::Std,
                rounds_once: true,
                dtype,
                width: bytes / dtype.bytes() as i64,
            })
        };
        types.flat_map(of).collect()
    }

    /// Everything that leaves may call of these vectors, and arrays beside it.
    fn module(name: &TokenStream, vectors: Vectors) -> TokenStream {
        let is_there = |vectors: Vectors| {
            let called = LaneFn::ALL.iter().map(|function| function.text(None));
            called.filter(|name| vectors.piece(name).is_some()).collect::<Vec<_>>()
        };
        let plain = Vectors { isa: Isa::Portable, ..vectors };
        let scalar = Vectors { width: 0, ..vectors };
        let [own, plain] = [vectors, plain].map(|vectors| {
            let others = ["V", "W", "SQUARE", "pick_pairs"].map(str::to_owned);
            let called = [&is_there(vectors)[..], &others].concat();
            vectors.items(&called, &mut BTreeSet::new())
        });
        let scalars = scalar.items(&is_there(scalar), &mut BTreeSet::new());
        let check = tokens(&CHECK.replace("\nuse super::*;", "use super::*;"));
        let check = scalar.fitted(check, None);
        quote! {
            mod #name {
                use own::*;
                #scalars
                mod own { use super::*; #own }
                mod plain { use super::*; #plain }
                pub mod check { #check }
            }
        }
    }

    #[test]
    fn every_vector_type_has_every_function_and_does_what_arrays_do() {
        let (mut modules, mut main) = (TokenStream::new(), TokenStream::new());
        for vectors in all() {
            let Vectors { isa, dtype, width, .. } = vectors;
            let functions = LaneFn::ALL.iter().filter(|f| !f.is_scalar() && !f.converts());
            let functions = functions.filter(|f| !f.requantises());
            for function in functions {
                assert!(vectors.piece(function.name()).is_some(), "{isa:?} has no {function:?}");
            }
            let name = tokens(&format!("{}_{dtype}x{width}", isa.machine().name));
            modules.extend(module(&name, vectors));
            let features = isa.machine().features;
            main.extend(quote!(if #(::std::arch::is_x86_feature_detected!(#features))&&* {
                #name::check::check();
            }));
        }
        if cfg!(not(target_arch = "x86_64")) {
            return;
        }
        let dir = std::env::temp_dir().join(format!("conv-codegen-runtime-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let source = crate::format_source(quote!(#![allow(unused)] #modules fn main() { #main }));
        std::fs::write(dir.join("main.rs"), source).unwrap();
        let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
        let built =
            Command::new(rustc).args(["--edition=2024", "main.rs"]).current_dir(&dir).output();
        let built = built.unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let ran = Command::new(dir.join("main")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        std::fs::remove_dir_all(&dir).ok();
    }
}
