//! The weight has another number of input channels than the input.

conv_macros::conv! {
    fn f(input: [f32; 1, 3, 8, 8], weight: [f32; 4, 2, 3, 3]) -> [f32; 1, 4, 6, 6];
}

fn main() {}
