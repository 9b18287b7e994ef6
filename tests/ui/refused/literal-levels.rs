//! Brackets of neither a weight nor a window.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8, 8]) -> [f32; 1, 1, 6, 6];
    weight: [[[1, 2, 1], [0, 0, 0], [-1, -2, -1]]]
}

fn main() {}
