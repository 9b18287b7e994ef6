//! A type whose output has other channels than its weight.

conv_macros::conv! {
    pub struct Layer(input: [f32; 1, 3, 8, 8], weight: [f32; 16, 3, 1, 1]) -> [f32; 1, 12, 8, 8];
}

fn main() {}
