//! A comma left out, which is reported and passed over.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 9];
    padding: 1 flip: true
}

fn main() {}
