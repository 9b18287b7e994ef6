conv_macros::conv! {
    fn block(input: [f32; 1, 8, 14, W], weight: [f32; 8, 8, 3, 3]) -> [f32; 1, 8, 14, 14];
    stride: 2,
    first: { weight: [f32; 8, 8, 3, 3], padding: 1, std: false, stirde: 2 },
    first: { bias: [f32; 8] }
}

fn main() {}
