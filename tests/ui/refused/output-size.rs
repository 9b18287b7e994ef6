//! The arithmetic of a wrong output size, on the wrong number.

conv_macros::conv! {
    pub fn stem(input: [f32; 1, 3, 224, 224], weight: [f32; 64, 3, 7, 7]) -> [f32; 1, 64, 111, 112];
    stride: 2, padding: 3
}

fn main() {}
