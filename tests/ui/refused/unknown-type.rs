//! An element type that there is not.

conv_macros::conv! {
    fn f(input: [i64; 1, 1, 8, 8], weight: [i64; 1, 1, 3, 3]) -> [i64; 1, 1, 6, 6];
}

fn main() {}
