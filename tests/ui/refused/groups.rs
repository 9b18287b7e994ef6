//! Groups that do not divide the channels.

conv_macros::conv! {
    fn f(input: [f32; 1, 6, 8, 8], weight: [f32; 4, 2, 3, 3]) -> [f32; 1, 4, 6, 6];
    groups: 4
}

fn main() {}
