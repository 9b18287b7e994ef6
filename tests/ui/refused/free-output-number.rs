//! A number that is known only at run time.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, H, W], weight: [f32; 1, 1, 3, 3]) -> [f32; 1, 1, OH, 30];
}

fn main() {}
