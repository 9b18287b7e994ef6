//! A type, with a wrong output width. Who uses it has no errors of their own.

conv_macros::conv! {
    pub struct Layer(input: [f32; 1, 3, 32, 32], weight: [f32; 16, 3, 5, 5]) -> [f32; 1, 16, 16, 15];
    stride: 2, padding: 2
}

#[derive(Debug)]
pub struct Net {
    pub layer: Layer,
}

pub fn run(net: &Net, input: &[f32], output: &mut [f32]) -> Result<(), &'static str> {
    net.layer.run_on_slices(input, output)
}

fn main() {}
