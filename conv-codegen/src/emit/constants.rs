//! Known numbers that leaves read from memory, too many to be written one by one.
//!
//! ```text
//! static PACKED_WEIGHT: Aligned<[f32; 4096]> = numbers(b"\x00\x00\x80?..");
//! return unsafe { avx512::run(&PACKED_WEIGHT.0, input, output) };
//! ```
//!
//! A number that is a token costs rustc some microseconds and a hundred bytes; a million of them
//! are half a minute. So an array is one token, a byte string, and one copy when the `static` is
//! evaluated, which is also what puts it at a cache line. The macro packed it: nothing is left to
//! do at run time, and the type stays what a `static` can hold. A value of a `static` goes into the
//! crate's metadata, whatever its visibility, so the crate holds each array twice.
//!
//! Versions that read the same numbers share them. They are no items of the versions' modules but
//! arguments: a module inside a function does not see what stands beside it.

use conv_ir::{DType, Nest, Values};
use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::lanes::type_name;
use super::line::aligned;
use super::scope::identifier;
use super::tokens;

/// Numbers up to which an array is written as such, for a person to read.
pub(super) const WRITTEN: usize = 256;

/// The arrays of an item, each once.
#[derive(Default)]
pub(super) struct Known {
    arrays: Vec<(String, DType, Values)>,
}

/// Whether the numbers of a buffer are one token.
pub(super) fn is_bytes(values: &Values) -> bool {
    values.len() > WRITTEN
}

impl Known {
    /// The arrays of a version: for each its buffer, and the `static` that holds its numbers.
    pub fn of(&mut self, nest: &Nest) -> Vec<(usize, TokenStream)> {
        let mut found = Vec::new();
        for (at, buffer) in nest.buffers.iter().enumerate() {
            if let Some(values) = buffer.values.as_ref().filter(|values| is_bytes(values)) {
                let name = self.hold(&buffer.name, buffer.dtype, values);
                found.push((at, tokens(&name)));
            }
        }
        found
    }

    fn hold(&mut self, name: &str, dtype: DType, values: &Values) -> String {
        if let Some(same) = self.arrays.iter().find(|array| array.2 == *values) {
            return same.0.clone();
        }
        let stem = identifier(name).to_uppercase();
        let mut name = stem.clone();
        for number in 2.. {
            if self.arrays.iter().all(|array| array.0 != name) {
                break;
            }
            name = format!("{stem}_{number}");
        }
        self.arrays.push((name.clone(), dtype, values.clone()));
        name
    }

    /// The arrays as items.
    pub fn items(&self) -> TokenStream {
        let Some((_, dtype, _)) = self.arrays.first() else {
            return TokenStream::new();
        };
        let t = type_name(*dtype);
        let arrays = self.arrays.iter().map(|(name, dtype, values)| {
            let (name, len) = (tokens(name), tokens(&values.len().to_string()));
            let bytes = Literal::byte_string(&bytes(*dtype, values));
            quote!(static #name: Aligned<[#t; #len]> = numbers(#bytes);)
        });
        let swapped = match dtype.is_integer() {
            true => quote!(numbers[at].swap_bytes()),
            false => quote!(#t::from_bits(numbers[at].to_bits().swap_bytes())),
        };
        let aligned = aligned();
        quote! {
            #aligned
            /// The numbers that these bytes are, the lowest byte of each first.
            const fn numbers<const BYTES: usize, const N: usize>(bytes: &[u8; BYTES]) -> Aligned<[#t; N]> {
                assert!(BYTES == N * ::core::mem::size_of::<#t>());
                // There are as many bytes, and all of them are numbers.
                let mut numbers = unsafe { bytes.as_ptr().cast::<[#t; N]>().read_unaligned() };
                let mut at = if cfg!(target_endian = "big") { 0 } else { N };
                while at < N {
                    numbers[at] = #swapped;
                    at += 1;
                }
                Aligned(numbers)
            }
            #(#arrays)*
        }
    }
}

/// The lowest byte of each number first.
fn bytes(dtype: DType, values: &Values) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * dtype.bytes());
    for &x in values.iter() {
        bytes.extend_from_slice(&dtype.bits_of(x).to_le_bytes()[..dtype.bytes()]);
    }
    bytes
}
