//! More outputs at the end than the stride leaves open.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 19];
    transposed: true, stride: 2, output_padding: 2
}

fn main() {}
