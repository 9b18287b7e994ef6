//! More kinds of positions than there should be code for.

conv_macros::conv! {
    fn f(input: [f32; 1, 2, A, B, C, D, E], weight: [f32; 2, 2, 3, 3, 3, 3, 3]) -> [f32; 1, 2, V, W, X, Y, Z];
    transposed: true, stride: 2, padding: 1
}

fn main() {}
