//! A mistake beside a size whose name is also a constant's: one message, of the mistake.

pub const N: usize = 8;

conv_macros::conv! {
    pub fn f(input: [f32; 1, 1, N], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
}

fn main() {}
