//! Negative numbers.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
    stride: -1, dilation: [-2], padding: (-1, 0)
}

fn main() {}
