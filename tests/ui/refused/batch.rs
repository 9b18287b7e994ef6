//! Another batch in the output.

conv_macros::conv! {
    fn f(input: [f32; 2, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 3, 1, 6];
}

fn main() {}
