//! The Rust way out: loop nests as readable Rust source, and the grammar of `conv!`.
//!
//! ```text
//! conv! { .. } --grammar--> Conv --conv_ir::passes--> Nest --emit--> tokens
//!                           Conv, name -----------------------------> text      (rust_source, for build scripts and `convc emit`)
//! ```
//!
//! An ordinary library, so that all of it is tested with plain strings; the crate `conv-macros` only hands tokens over. The emitted code is safe, depends
//! on the standard library alone and computes the contract's bits: one chain of fused multiply-adds per output. It is portable: vectors are
//! arrays, and how fast they run is up to rustc (compile for a CPU with FMA; elsewhere `mul_add` is a slow, exact library call).

#![forbid(unsafe_code)]

mod emit;
mod grammar;

use conv_ir::{Conv, Error, Nest, Schedule, Target, passes};
use quote::quote;

pub use emit::{Head, STACK_LIMIT, emit};
pub use grammar::expand;

/// The nest that the Rust route prints, and the schedule it was made under: the given one, or the model's choice.
///
/// # Errors
/// [`Error::IllegalSchedule`] where the schedule does not fit the convolution.
pub fn lowered(conv: &Conv, schedule: Option<&Schedule>) -> Result<(Nest, Schedule), Error> {
    let schedule = match schedule {
        Some(schedule) => schedule.clone(),
        None => Schedule::choose(conv, &Target::RUST).schedule,
    };
    let nest = passes::compile(conv, &schedule, &Target::RUST, &mut |_, _| {})?;
    Ok((nest, schedule))
}

/// A convolution as the source of one public function, formatted; a file of its own.
///
/// # Errors
/// [`Error::Argument`] where `name` is no name of a function; [`Error::IllegalSchedule`]; [`Error::Unsupported`] as for [`emit`].
pub fn rust_source(conv: &Conv, name: &str, schedule: Option<&Schedule>) -> Result<String, Error> {
    let Ok(name) = syn::parse_str::<syn::Ident>(name) else {
        return Err(Error::Argument(format!(
            "`{name}` cannot be the name of a Rust function"
        )));
    };
    let (nest, schedule) = lowered(conv, schedule)?;
    let notes = notes(conv, Some(&schedule));
    let head = Head {
        docs: quote!(),
        notes,
        attributes: quote!(),
        visibility: quote!(pub),
        name,
    };
    let tokens = emit(&nest, &head)?;
    Ok(format_source(tokens))
}

/// What an emitted function says of itself.
fn notes(conv: &Conv, schedule: Option<&Schedule>) -> Vec<String> {
    let mut notes = vec![format!("`{conv}`"), String::new()];
    if let Some(known) = conv.known() {
        notes.push(format!(
            "The weights are compiled in: {}.",
            known.found(conv.weight_shape()[0])
        ));
        notes.push(String::new());
    }
    notes.extend(schedule.map(|schedule| format!("Schedule: `{schedule}`.")));
    notes
}

/// Tokens as formatted text.
pub fn format_source(tokens: proc_macro2::TokenStream) -> String {
    match syn::parse2(tokens.clone()) {
        Ok(file) => prettyplease::unparse(&file),
        Err(error) => panic!("emitted text is no Rust ({error}): {tokens}"),
    }
}
