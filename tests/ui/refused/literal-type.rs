//! A number of another type than the input.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6];
    weight: [1, 2f64, 1]
}

fn main() {}
