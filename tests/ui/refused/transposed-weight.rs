//! A transposed weight has the input channels first.

conv_macros::conv! {
    fn f(input: [f32; 1, 4, 8], weight: [f32; 2, 4, 3]) -> [f32; 1, 2, 10];
    transposed: true
}

fn main() {}
