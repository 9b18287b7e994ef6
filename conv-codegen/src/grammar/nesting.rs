//! A bound on how deep the input is nested, tested before anything is parsed: parser, printers and
//! destructors of expressions call themselves once for each level, and a stack is finite.
//!
//! Not only brackets nest: `- - - 1` is three expressions in one another, and so is `a()()()`. So
//! the level of a token is how many tokens stand before it since the last comma or semicolon, and
//! before each of the brackets around it. Attributes stand side by side and count nothing.

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The highest level of a token. Weights in brackets for eight spatial axes are at 30.
const MOST: usize = 64;

/// Brackets on the way in: what is left in them, and the levels around and in them.
struct Inside {
    rest: IntoIter,
    around: usize,
    since_comma: usize,
    is_attribute: bool,
}

/// An error on the first token that is nested too deep.
pub(super) fn check(input: &TokenStream) -> syn::Result<()> {
    let inside = |stream: TokenStream, around| Inside {
        rest: stream.into_iter(),
        around,
        since_comma: 0,
        is_attribute: false,
    };
    let mut all = vec![inside(input.clone(), 0)];
    while let Some(now) = all.last_mut() {
        let Some(tree) = now.rest.next() else {
            all.pop();
            continue;
        };
        let was_attribute = std::mem::take(&mut now.is_attribute);
        match &tree {
            TokenTree::Punct(punct) if matches!(punct.as_char(), ',' | ';') => now.since_comma = 0,
            TokenTree::Punct(punct) if punct.as_char() == '#' => now.is_attribute = true,
            TokenTree::Group(group) if was_attribute && group.delimiter() == Delimiter::Bracket => {
            }
            _ => now.since_comma += 1,
        }
        let level = now.around + now.since_comma;
        if level > MOST {
            let message = format!("expressions are nested too deep: more than {MOST} levels");
            return Err(syn::Error::new(tree.span(), message));
        }
        if let TokenTree::Group(group) = tree {
            all.push(inside(group.stream(), level + 1));
        }
    }
    Ok(())
}
