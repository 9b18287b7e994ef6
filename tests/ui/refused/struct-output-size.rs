//! A type, with a wrong output width.

conv_macros::conv! {
    pub struct Layer(input: [f32; 1, 3, 32, 32], weight: [f32; 16, 3, 5, 5]) -> [f32; 1, 16, 16, 15];
    stride: 2, padding: 2
}

fn main() {}
