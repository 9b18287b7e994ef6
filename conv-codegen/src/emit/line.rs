//! Cache lines: arrays of emitted code start at one.

use proc_macro2::TokenStream;
use quote::quote;

use super::tokens;

/// Bytes of a cache line.
pub(super) const LINE: i64 = 64;

/// The next multiple of a line.
pub(super) fn whole_lines(length: i64, line: i64) -> i64 {
    length.saturating_add(line - 1) / line * line
}

/// The type of arrays that start at a cache line: vectors do not lie across two.
pub(super) fn aligned() -> TokenStream {
    let bytes = tokens(&LINE.to_string());
    quote! {
        /// Starts at a cache line, so that vectors do not lie across two.
        #[repr(align(#bytes))]
        struct Aligned<T>(T);
    }
}
