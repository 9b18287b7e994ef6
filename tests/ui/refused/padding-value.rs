//! A value outside, where zeros are.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 8];
    padding: 1, padding_value: 0.5
}

fn main() {}
