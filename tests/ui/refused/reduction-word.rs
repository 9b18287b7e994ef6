//! A word that is no reduction: one message, of the word.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 4];
    reduction: maximum, kernel: 2, stride: 2
}

fn main() {}
