//! A key that is no key, with the one that was meant.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8, 8], weight: [f32; 1, 1, 3, 3]) -> [f32; 1, 1, 3, 3];
    strides: 2
}

fn main() {}
