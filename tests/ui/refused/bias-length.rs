//! A bias of another length than the output has channels.

conv_macros::conv! {
    fn f(input: [f32; 1, 3, 8], weight: [f32; 4, 3, 3], bias: [f32; 3]) -> [f32; 1, 4, 6];
}

fn main() {}
