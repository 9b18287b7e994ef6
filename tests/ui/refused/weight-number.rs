//! A weight that is neither numbers in brackets nor a file.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6];
    weight: 3
}

fn main() {}
