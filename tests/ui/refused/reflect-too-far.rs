//! A reflection beyond the image.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 3], weight: [f32; 1, 1, 5]) -> [f32; 1, 1, 7];
    padding: 4, padding_mode: reflect
}

fn main() {}
