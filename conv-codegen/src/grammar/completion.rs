//! The keys once more, for editors: rust-analyzer completes a word of a macro's input by what it is
//! in the expansion, so here it is a field of a struct whose fields are all keys.
//!
//! ```text
//! conv! { .. ; stride: 2, pad| }      ->      Keys { stride: (), pad: (), ..all() }
//! ```
//!
//! In: the words at the place of a key, with the user's spans, those without a value too. Out: an
//! item that only rust-analyzer sees; for rustc it is an empty constant.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// Keys, and what a reader of their documentation wants to know first.
const DOCS: [(&str, &str); 27] = [
    ("stride", "Step of the window: `2`, or `[2, 1]` for each axis. Default 1."),
    (
        "padding",
        "Around the image: `1`, `[1, 0]`, `(1, 2)`, `[(1, 2), 0]`, `valid`, `same`, `same_upper`, `same_lower`, `full`, `causal`. Default `valid`.",
    ),
    ("dilation", "Distance of neighbouring taps: `2`, or `[2, 1]` for each axis. Default 1."),
    (
        "groups",
        "Groups of channels that do not see each other; as many as input channels is depthwise. Default 1.",
    ),
    (
        "padding_mode",
        "What lies outside: `zeros`, `constant`, `reflect`, `symmetric`, `replicate`, `circular`. Default `zeros`, which are skipped, not multiplied.",
    ),
    ("padding_value", "The number outside, with `padding_mode: constant`."),
    ("output_padding", "Transposed only: outputs added at the end of each axis. Default 0."),
    ("transposed", "`true` for the transposed convolution. Default `false`."),
    ("flip", "`true` for a true convolution, whose window is reversed. Default `false`."),
    (
        "activation",
        "Applied last: `relu`, `relu6`, `leaky_relu(0.01)`, `clamp(0.0, 6.0)`, `sigmoid`, `tanh`, `silu`, `gelu`, `hardswish`, `hardsigmoid`, `elu(1.0)`, `softplus`, `mish`.",
    ),
    (
        "requantise",
        "Makes integers of 8 or 16 bits of sums: a rounding, a scale or one for each output channel, and a zero point: `onnx(0.02, 3)`, `tflite_double([0.02, 0.5])`, `onnx(\"scales.npy\")`. Default: the sums.",
    ),
    (
        "layout",
        "Where the channels stand: `channels_first`, `channels_last`, or `nchw`, `nhwc` and the like. Default `channels_first`.",
    ),
    ("schedule", "How to compute it, as `explain` prints it, instead of the model's choice."),
    (
        "weight",
        "Numbers in brackets or a file (`\"stem.npy\"`, `\"model.safetensors#conv1.weight\"`), compiled in: for finite data the bits are those of a parameter.",
    ),
    ("bias", "Likewise, beside a known weight."),
    (
        "from",
        "In a step: `input`, a step, or several of them, `[a, b]`, whose outputs it reads, joined along the channels; the step before unless said.",
    ),
    ("residual", "In a step: `input` or the step whose output is added before the activation."),
    ("multiply", "In a step: `input` or the step whose output multiplies before the activation."),
    (
        "scale",
        "In a step: `input` or the step whose output, a number for each channel, multiplies before the activation.",
    ),
    (
        "accuracy",
        "`exact` keeps the bits; `fast` may split a known window in two, within a stated bound; `unfused` rounds products and sums, for CPUs without a fused multiply-add. Default `exact`.",
    ),
    (
        "reduction",
        "What is made of a window: `sum`, or `max`, `min`, `average` (pools, without a weight), `dilation`, `erosion`. Default `sum`.",
    ),
    ("kernel", "The window of a pool: `3`, `[3, 2]`, or `global`, which is the whole input."),
    ("ceil_mode", "Pools: `true` lets the last window hang over the end. Default `false`."),
    ("count_include_pad", "Averages: `true` counts the padding. Default `false`."),
    (
        "stream",
        "The axis along which a `struct` takes blocks of any length, `w`, `h` or `d`, whose size is a name; `w(64, 8)` says the lengths that code is made for. Default: whole arrays.",
    ),
    (
        "tuning",
        "A file of `convc tune`: what it measured for this version takes the place of the model's schedules.",
    ),
    (
        "std",
        "`false` for code from `core` alone, whose multiply-adds are slow unless the crate is compiled for fused ones (or `accuracy: unfused`). Default `true`.",
    ),
];

/// The item, one literal for each list of keys; nothing where there are no keys.
pub(super) fn of(lists: &[Vec<Ident>]) -> TokenStream {
    let literals: Vec<TokenStream> =
        lists.iter().filter(|keys| !keys.is_empty()).map(|keys| literal(keys)).collect();
    if literals.is_empty() {
        return TokenStream::new();
    }
    let fields = DOCS.iter().map(|(key, doc)| {
        let (key, doc) = (Ident::new(key, Span::call_site()), format!(" {doc}"));
        quote!(#[doc = #doc] #key: ())
    });
    quote! {
        #[allow(unexpected_cfgs)]
        const _: () = {
            #[cfg(rust_analyzer)]
            mod keys {
                struct Keys { #(#fields),* }
                fn given(all: fn() -> Keys) { #(let _ = #literals;)* }
            }
        };
    }
}

/// Each key once; no keywords, which cannot be fields.
fn literal(keys: &[Ident]) -> TokenStream {
    let is_first = |at: usize| !keys[..at].contains(&keys[at]);
    let is_name = |key: &Ident| syn::parse_str::<Ident>(&key.to_string()).is_ok();
    let fields =
        (0..keys.len()).filter(|&at| is_first(at)).map(|at| &keys[at]).filter(|key| is_name(key));
    quote!(Keys { #(#fields: (),)* ..all() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::values::KEYS;

    #[test]
    fn every_key_is_documented() {
        let mut documented: Vec<&str> = DOCS
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| !["residual", "multiply", "scale", "from"].contains(key))
            .collect();
        let mut keys = KEYS.to_vec();
        documented.sort_unstable();
        keys.sort_unstable();
        assert_eq!(documented, keys);
    }

    /// The echo of an item, and the columns of the words in it that the user wrote.
    fn echoed(input: &str) -> (String, Vec<(String, usize)>) {
        fn words(tokens: TokenStream, found: &mut Vec<(String, usize)>) {
            for tree in tokens {
                match tree {
                    proc_macro2::TokenTree::Group(group) => words(group.stream(), found),
                    proc_macro2::TokenTree::Ident(ident)
                        if ident.span().source_text().is_some() =>
                    {
                        found.push((ident.to_string(), ident.span().start().column));
                    }
                    _ => {}
                }
            }
        }
        let expansion = crate::expand(input.parse().unwrap());
        let text = expansion.to_string();
        let at = text.find("mod keys").expect("an echo");
        let echo: TokenStream =
            expansion.into_iter().skip_while(|tree| tree.to_string() != "const").collect();
        let mut found = Vec::new();
        words(echo, &mut found);
        (text[at..].to_owned(), found)
    }

    #[test]
    fn keys_are_echoed_where_the_user_wrote_them() {
        let input = "fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6]; stride: 1, flip: true";
        let (text, words) = echoed(input);
        assert!(text.contains("Keys { stride : () , flip : () , .. all () }"), "{text}");
        for key in ["stride", "flip"] {
            assert!(
                words.contains(&(key.to_owned(), input.find(key).unwrap())),
                "{key} in {words:?}"
            );
        }
    }

    #[test]
    fn a_key_that_is_being_written_is_echoed_too() {
        // As rust-analyzer expands it: with a made-up end of the word at the cursor.
        for keys in [
            "stride: 1, padRulez",
            "padRulez, stride: 1",
            "stride: 1, padRulez flip: true",
            "padRulez: , stride: 1",
        ] {
            let input = format!(
                "fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6]; {keys}"
            );
            let (text, words) = echoed(&input);
            assert!(text.contains("padRulez : ()") && text.contains("stride : ()"), "{text}");
            assert!(
                words.contains(&("padRulez".to_owned(), input.find("padRulez").unwrap())),
                "{words:?}"
            );
        }
    }

    #[test]
    fn keys_of_steps_are_echoed_by_step() {
        let input = "fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 8]; std: true,
            a: { weight: [f32; 1, 1, 3], padding: 1 }, b: { weight: [f32; 1, 1, 3], pad }";
        let text = crate::expand(input.parse().unwrap()).to_string();
        for literal in [
            "Keys { std : () , ..",
            "Keys { weight : () , padding : () , ..",
            "Keys { weight : () , pad : () , ..",
        ] {
            assert!(text.contains(literal), "{literal}\nnot in {text}");
        }
    }
}
