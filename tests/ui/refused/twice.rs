//! A key given twice.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8, 8], weight: [f32; 1, 1, 3, 3]) -> [f32; 1, 1, 8, 8];
    padding: 1, padding: 1
}

fn main() {}
