conv_macros::conv! {
    pub struct Block(input: [f32; 1, 24, 56, 56]) -> [f32; 1, 32, 56, 56];
    expand: { weight: [f32; 144, 24, 1, 1], activation: relu6 },
    depthwise: { weight: [f32; 144, 1, 3, 3], groups: 144, stride: 2, padding: 1, activation: relu6 },
    project: { weight: [f32; 24, 144, 1, 1] }
}

fn main() {
    let block = Block::new(&[0.0; 144 * 24], &[0.0; 144 * 9], &[0.0; 24 * 144]);
    block.run(&[0.0; 24 * 56 * 56], &mut [0.0; 32 * 56 * 56]);
}
