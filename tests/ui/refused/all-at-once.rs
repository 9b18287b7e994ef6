//! Three mistakes, three errors, and the caller does not add a fourth.

conv_macros::conv! {
    pub fn f(input: [f32; 1, 3, 8, 8], weight: [f32; 4, 3, 3, 3], bias: [f32; 5]) -> [f32; 1, 4, 7, 6];
    paddin: 1, activation: reluu
}

fn main() {}
