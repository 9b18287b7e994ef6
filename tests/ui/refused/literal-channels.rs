//! A lone window for an image of three channels.

conv_macros::conv! {
    fn f(input: [f32; 1, 3, 8, 8]) -> [f32; 1, 3, 6, 6];
    weight: [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
}

fn main() {}
