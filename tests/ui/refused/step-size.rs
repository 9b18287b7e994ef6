//! A step of a chain whose input does not fit what the step before gives.

conv_macros::conv! {
    fn f(input: [f32; 1, 4, 8, 8]) -> [f32; 1, 4, 8, 8];
    first: { weight: [f32; 8, 4, 1, 1] },
    second: { weight: [f32; 4, 6, 3, 3], padding: 1 }
}

fn main() {}
