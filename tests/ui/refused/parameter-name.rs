//! A parameter that there is not.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], kernel: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
}

fn main() {}
