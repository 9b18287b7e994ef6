//! An activation that there is not.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8, 8], weight: [f32; 1, 1, 3, 3]) -> [f32; 1, 1, 6, 6];
    activation: celu
}

fn main() {}
