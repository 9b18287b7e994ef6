//! A window that does not fit the image.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 2, 2], weight: [f32; 1, 1, 3, 3]) -> [f32; 1, 1, 1, 1];
}

fn main() {}
