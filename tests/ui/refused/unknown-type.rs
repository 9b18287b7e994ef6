//! An element type that there is not.

conv_macros::conv! {
    fn f(input: [f16; 1, 1, 8, 8], weight: [f16; 1, 1, 3, 3]) -> [f16; 1, 1, 6, 6];
}

fn main() {}
