//! A layout of another rank than the image.

conv_macros::conv! {
    fn f(input: [f32; 1, 8, 8, 3], weight: [f32; 4, 3, 3, 3]) -> [f32; 1, 6, 6, 4];
    layout: nwc
}

fn main() {}
