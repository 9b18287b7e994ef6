//! The door of an item whose sizes come at run time: what is asserted before anything runs.
//!
//! ```text
//! assert!(h >= 1, ..);                                                    each size is legal
//! let most = h.saturating_add(3).saturating_mul(w.saturating_add(3));
//! assert!(most <= isize::MAX as usize / 2, ..);                           no arithmetic wraps
//! assert!(input.len() == h * w, ..);                                      lengths agree
//! ```
//!
//! In: the versions of an item. Out: assertions that hold for all of them, in this order: lengths
//! are worked out only of sizes for which they fit. A size that is less than legal is refused
//! whatever the others are, so that the only empty tensors are those of an empty batch. Nothing
//! behind the door tests a size or a length again.

use conv_ir::nest::{SymbolId, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::item::{Form, Item};
use super::magnitude::{self, Factor, Product};
use super::scope::Scope;
use super::{Unsupported, Version, tokens, uses};

/// A panic at the door is told where the item was called.
pub(super) fn blames_caller(door: &TokenStream) -> Option<TokenStream> {
    (!door.is_empty()).then(|| quote!(#[track_caller]))
}

/// The assertions; none where all sizes are known.
pub(super) fn of(versions: &[Version], form: Form) -> Result<TokenStream, Unsupported> {
    let Some(last) = versions.last().filter(|version| !given(version).is_empty()) else {
        return Ok(TokenStream::new());
    };
    let mut products: Vec<Product> = Vec::new();
    for version in versions {
        assert_eq!(given(version), given(last), "versions of one item have the same sizes");
        let all = magnitude::of(&version.nest).filter(|all| all.iter().all(|p| fits(version, p)));
        let all = all.ok_or_else(|| {
            Unsupported("sizes so large that offsets do not fit 64 bits".to_owned())
        })?;
        all.into_iter().for_each(|product| magnitude::merge(&mut products, product));
    }
    products.retain(|product| !product.factors.is_empty());
    let mut item = Item::new(last, form)?;
    let (_, derived) = item.symbols();
    let sizes = sizes(&item);
    let legal: TokenStream = item.legal_sizes();
    let most = item.scope.fresh("most");
    let products = products.iter().map(|product| text(product, &item.scope));
    let product = products.reduce(|a, b| format!("{a}.max({b})")).unwrap_or("0".to_owned());
    let (most, product) = (tokens(&most), tokens(&product));
    let too_large = format!("the sizes are too large: {sizes}");
    let lengths = item.lengths(&sizes);
    let mut named = TokenStream::new();
    for (name, text) in derived.iter().rev() {
        if uses(&lengths, name) || uses(&named, name) {
            named = quote!(#text #named);
        }
    }
    Ok(quote! {
        #legal
        /// No offset, bound or length in here is larger, so that none wraps: leaves rely on it.
        let #most = #product;
        assert!(#most <= isize::MAX as usize / 2, #too_large);
        #named
        #lengths
    })
}

/// Names and least values of the sizes that the caller passes.
fn given(version: &Version) -> Vec<(&str, i64)> {
    let given = version.nest.symbols.iter().filter(|symbol| symbol.value.is_none());
    given.map(|symbol| (symbol.name.as_str(), symbol.least)).collect()
}

/// Whether a product fits an `i64` for the smallest legal sizes.
fn fits(version: &Version, product: &Product) -> bool {
    let at = |factor: &Factor| {
        let least = |symbol: &SymbolId| version.nest.symbols[symbol.index()].least as u128;
        let mut terms = factor.terms.iter();
        terms.try_fold(factor.constant, |sum, (s, n)| sum.checked_add(least(s).checked_mul(*n)?))
    };
    let mut factors = product.factors.iter();
    let value = factors.try_fold(product.number, |all, f| all.checked_mul(at(f)?.max(1)));
    value.is_some_and(|value| value <= i64::MAX as u128 / 2)
}

/// `h = {h}, w = {w}`.
fn sizes(item: &Item<'_>) -> String {
    let given = (0..item.nest.symbols.len()).filter(|&at| item.nest.symbols[at].value.is_none());
    let names = given.filter_map(|at| item.scope.factor(Var::Symbol(SymbolId(at as u32))));
    let texts = names.map(|factor| format!("{0} = {{{0}}}", factor.text));
    texts.collect::<Vec<_>>().join(", ")
}

/// A product in arithmetic that stops at the largest number.
fn text(product: &Product, scope: &Scope<'_>) -> String {
    let factor = |factor: &Factor| {
        let terms = factor.terms.iter().map(|(&symbol, &n)| {
            let name = scope.factor(Var::Symbol(symbol)).map_or("0", |factor| &factor.text);
            if n > 1 { format!("{name}.saturating_mul({n})") } else { name.to_owned() }
        });
        let sum = terms.reduce(|a, b| format!("{a}.saturating_add({b})")).unwrap_or_default();
        match factor.constant {
            0 => sum,
            constant => format!("{sum}.saturating_add({constant})"),
        }
    };
    let number = (product.number > 1).then(|| product.number.to_string());
    let factors = product.factors.iter().map(factor).chain(number);
    factors.reduce(|a, b| format!("{a}.saturating_mul({b})")).unwrap_or_default()
}

impl Item<'_> {
    /// Each size is at least what is legal.
    fn legal_sizes(&self) -> TokenStream {
        let mut text = TokenStream::new();
        for (at, symbol) in self.nest.symbols.iter().enumerate() {
            let Some(size) = self.scope.factor(Var::Symbol(SymbolId(at as u32))) else { continue };
            if symbol.value.is_some() || symbol.least == 0 {
                continue;
            }
            let why = match symbol.least {
                1 => "an extent is at least 1".to_owned(),
                least => format!("the window and its padding need at least {least}"),
            };
            let message = format!("{0} is {{{0}}}, but {why}", size.text);
            let (name, least) = (tokens(&size.text), tokens(&symbol.least.to_string()));
            text.extend(quote!(assert!(#name >= #least, #message);));
        }
        text
    }

    /// Every slice is as long as the sizes say.
    fn lengths(&self, sizes: &str) -> TokenStream {
        let mut text = TokenStream::new();
        for (at, buffer) in self.nest.buffers.iter().enumerate() {
            let length = self.scope.length(at);
            if !buffer.is_callers() || buffer.view_of.is_some() || length.as_constant().is_some() {
                continue;
            }
            let name = &self.scope.buffers[at];
            let message = format!("{name} has {{}} elements, but {sizes} make it {{}}");
            let (name, length) = (tokens(name), tokens(&length.usize_text()));
            text.extend(quote! {
                assert!(#name.len() == #length, #message, #name.len(), #length);
            });
        }
        text
    }
}
