conv_macros::conv! {
    fn block(input: [f32; 1, 8, 14, 14]) -> [f32; 1, 8, 14, 14];
    squeeze: { weight: [f32; 4, 8, 1, 1], bias: [f32; 5] },
    expand: { weight: [f32; 8, 8, 3, 3], padding: 1 }

    fn edge(input: [f32; 1, 4, 14, 14]) -> [f32; 1, 8, 14, 14];
    squeeze: { weight: [f32; 4, 4, 1, 1] },
    expand: { weight: [f32; 8, 8, 3, 3], padding: 1 }
}

fn main() {}
