//! An activation without its numbers.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
    activation: clamp(0.5)
}

fn main() {}
