//! Reflected padding of a transposed convolution.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 8];
    transposed: true, padding: 1, padding_mode: reflect
}

fn main() {}
