//! A residual of another shape than the output.

conv_macros::conv! {
    fn f(input: [f32; 1, 3, 8], weight: [f32; 4, 3, 3], residual: [f32; 1, 4, 8]) -> [f32; 1, 4, 6];
}

fn main() {}
