//! A tuning file is a path.

conv_macros::conv! {
    struct F(input: [f32; 1, 1, 8], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
    tuning: tuned
}

fn main() {}
