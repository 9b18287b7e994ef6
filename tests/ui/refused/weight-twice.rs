//! A weight that is a parameter and a literal.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
    weight: [1, 2, 1]
}

fn main() {}
