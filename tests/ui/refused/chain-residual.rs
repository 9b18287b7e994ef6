conv_macros::conv! {
    fn block(input: [f32; 1, 8, 14, 14]) -> [f32; 1, 8, 7, 7];
    first: { weight: [f32; 8, 8, 3, 3], padding: 1, stride: 2 },
    second: { weight: [f32; 8, 8, 3, 3], padding: 1, residual: input }

    fn typed(input: [f32; 1, 8, 14, 14]) -> [f32; 1, 8, 14, 14];
    first: { weight: [f32; 8, 8, 3, 3], padding: 1, residual: frist },
    second: { weight: [f32; 8, 8, 3, 3], padding: 1, residual: second }
}

fn main() {}
