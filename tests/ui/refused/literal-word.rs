//! A word among the numbers.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6];
    weight: [1, two, 1]
}

fn main() {}
