//! Token streams out of bytes, and what must hold of the expansion of any of them. A test draws the
//! bytes at random; a fuzzer may search for them.

use std::time::{Duration, Instant};

use conv_codegen::expand;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What is changed here and there.
const SOUND: [&str; 7] = [
    "pub fn a(input: [f32; 1, 1, 6], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6]; padding: 1",
    "fn b(input: [f32; N, 1, H, W], weight: [f32; 2, 1, 2, 2], bias: [f32; 2], residual: [f32; N, 2, OH, OW]) -> [f32; N, 2, OH, OW];
     stride: [2, 1], padding: [(1, 2), 0], activation: clamp(-1.0, 6.0), std: false",
    "/// Documented.
     #[inline] pub(crate) struct C(input: [f64; 1, 4, 2], weight: [f64; 2, 2, 3], bias: [f64; 2]) -> [f64; 1, 4, 2];
     layout: nwc, groups: 1, padding: same_upper, padding_mode: reflect, flip: true",
    "fn d(input: [f32; 1, 1, 8, 8]) -> [f32; 1, 1, 6, 6]; weight: [[1, 2, 1], [0, 0, 0], [-1, -2.5, -1]], accuracy: fast",
    "fn e(input: [f32; 1, 2, 5]) -> [f32; 1, 2, 5];
     one: { weight: [f32; 2, 2, 1], activation: relu }, two: { weight: [[0.5, 1, 0.5]], groups: 2, padding: 1, residual: input }",
    "fn t(input: [f32; 1, 2, 3], weight: [f32; 2, 1, 2]) -> [f32; 1, 1, 6]; transposed: true, stride: 2, output_padding: 0",
    "fn w(input: [f32; 1, 1, H, W]) -> [f32; 1, 1, H, W]; padding: 1, weight: \"tests/data/sobel.npy\"",
];

/// What pairs follow.
const SIGNATURE: &str = "fn f(input: [f32; 1, 2, 8]) -> [f32; 1, 2, 6];";

/// Tokens by themselves, and some that belong together.
const WORDS: &str = "fn struct pub input weight bias residual output stride padding dilation groups padding_mode
    padding_value output_padding transposed flip activation layout schedule accuracy std f32 f64 relu leaky_relu
    clamp reflect constant zeros causal nchw nwc exact fast true false a b H W _ r#fn r#type r#x self Self crate super
    'a '_ 0 1 2 3 4 7 9 281474976710657 18446744073709551616 0x10 1u8 1.5 -1 1e400 0.0f32 1f64 \"\" \"x.npy\"
    \"tests/data/sobel.npy#a\" \"lanes\" \"lanes:oc 8\" 'c' b\"x\" b'x' c\"x\" : ; , -> # #! ! - + * / = == .. ..= :: . ? & && | || < > << => @ $ ~
    let if else match return break loop while for in move async unsafe as mut ref const static type impl dyn where
    [1,2] (1,2) {a:1} [f32;1,1,8] {weight:[f32;1,1,1]} #[a] [[1,2],[3]] ()() |x|";

/// Bytes as choices; zeros when they are used up.
struct Choices<'a> {
    bytes: &'a [u8],
}

impl Choices<'_> {
    fn next(&mut self) -> usize {
        match self.bytes {
            [] => 0,
            [first, rest @ ..] => {
                self.bytes = rest;
                (*first).into()
            }
        }
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.next() * 256 + self.next()) % all.len()]
    }
}

/// A stream out of bytes: tokens in any order, a sound item with some of them changed, or many
/// levels.
pub fn stream(bytes: &[u8]) -> TokenStream {
    let mut choices = Choices { bytes };
    match choices.next() % 8 {
        0 => {
            let (item, times) = (choices.of(&SOUND), choices.next() % 8);
            changed(item.parse().unwrap(), times + 1, &mut choices)
        }
        1 => deep(&mut choices),
        2..5 => {
            let mut item: TokenStream = SIGNATURE.parse().unwrap();
            item.extend(body(&mut choices, 0));
            item
        }
        _ => body(&mut choices, 0),
    }
}

const DELIMITERS: [Delimiter; 4] =
    [Delimiter::Brace, Delimiter::Bracket, Delimiter::Parenthesis, Delimiter::None];

/// Words and brackets while there are bytes.
fn body(choices: &mut Choices<'_>, depth: usize) -> TokenStream {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut all = TokenStream::new();
    while !choices.bytes.is_empty() {
        match choices.next() % 8 {
            0 if depth < 32 => {
                let delimiter = choices.of(&DELIMITERS);
                all.extend([TokenTree::Group(Group::new(delimiter, body(choices, depth + 1)))]);
            }
            1 if depth > 0 => return all,
            _ => all.extend(choices.of(&words).parse::<TokenStream>().unwrap_or_default()),
        }
    }
    all
}

/// The stream with so many changes: tokens left out, doubled, replaced or put in.
fn changed(stream: TokenStream, times: usize, choices: &mut Choices<'_>) -> TokenStream {
    let mut trees: Vec<TokenTree> = stream.into_iter().collect();
    for _ in 0..times {
        if trees.is_empty() {
            break;
        }
        let at = choices.next() % trees.len();
        if let (TokenTree::Group(group), false) = (&trees[at], choices.next().is_multiple_of(8)) {
            let inner = changed(group.stream(), 1, choices);
            trees[at] = Group::new(group.delimiter(), inner).into();
            continue;
        }
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let word = choices.of(&words).parse::<TokenStream>().unwrap_or_default();
        match choices.next() % 4 {
            0 => drop(trees.remove(at)),
            1 => trees.insert(at, trees[at].clone()),
            2 => drop(trees.splice(at..=at, word)),
            _ => drop(trees.splice(at..at, word)),
        }
    }
    trees.into_iter().collect()
}

/// Brackets in brackets, and chains of what nests without them, at the place of a value.
fn deep(choices: &mut Choices<'_>) -> TokenStream {
    const CHAINS: [&str; 10] =
        ["-", "!", "&", "()", "[0]", ".a", "+ 1", "= 1", "|x|", "if a {} else"];
    let (chain, delimiter) = (choices.of(&CHAINS), choices.of(&DELIMITERS));
    let chain: TokenStream = chain.parse().unwrap();
    let (levels, links) = (choices.next() * 16, choices.next() * 16);
    let mut all: TokenStream = (0..links).flat_map(|_| chain.clone()).collect();
    for _ in 0..levels {
        all = TokenTree::Group(Group::new(delimiter, all)).into();
    }
    let head = choices.of(&SOUND);
    let mut item: TokenStream = head.parse().unwrap();
    item.extend(", stride: ".parse::<TokenStream>().unwrap());
    item.extend(all);
    item
}

/// The expansion of any stream comes within a second, and is a list of items: those that are meant,
/// or errors.
pub fn check(input: TokenStream) -> syn::File {
    let text = || input.to_string();
    let mut expansion = TokenStream::new();
    // The machine may have been busy: the best of several counts.
    let fastest = (0..8).map(|_| {
        let start = Instant::now();
        expansion = expand(input.clone());
        start.elapsed()
    });
    let within = fastest.into_iter().any(|time| time < Duration::from_secs(1));
    assert!(within, "more than a second for\n{}", text());
    syn::parse2(expansion).unwrap_or_else(|error| {
        panic!("the expansion is no list of items ({error}) of\n{}", text())
    })
}
