//! A type without `std` and without a weight: its stand-in has no box either.

conv_macros::conv! {
    pub struct F(input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6];
    std: false
}

fn main() {}
