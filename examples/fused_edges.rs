//! The edges of a photograph in two steps that are fused: a Gaussian blur, then both Sobel windows.
//! The blurred picture never exists as a whole.
//!
//! `cargo run --release -p conv-tests --example fused_edges -- docs/astronaut.png edges.png`

use conv_ir::PaddingMode::Symmetric;
use conv_jit::StepWeights;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut names = std::env::args().skip(1);
    let from = names.next().unwrap_or("docs/astronaut.png".into());
    let to = names.next().unwrap_or("edges.png".into());
    let picture = image::open(&from).map_err(|e| format!("{from}: {e}"))?.to_luma32f();
    let (width, height) = picture.dimensions();
    let size = [height as usize, width as usize];

    let edges = conv_jit::chain(1, size)
        .conv(1, 5)
        .padding(2)
        .padding_mode(Symmetric)
        .conv(2, 3)
        .padding(1)
        .padding_mode(Symmetric);

    let bell = [1.0f32, 4.0, 6.0, 4.0, 1.0];
    let gaussian: Vec<f32> = bell.iter().flat_map(|a| bell.map(|b| a * b / 256.0)).collect();
    let sobel = [
        [-1.0f32, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0],
        [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0],
    ]
    .concat();
    let weights: [StepWeights<f32>; 2] = [gaussian.as_slice().into(), sobel.as_slice().into()];

    let mut gradient = vec![0.0; 2 * size[0] * size[1]];
    conv_tests::fused_and_not(&edges.describe()?, &weights, picture.as_raw(), &mut gradient)?;

    let (dx, dy) = gradient.split_at(size[0] * size[1]);
    let slope: Vec<f32> = dx.iter().zip(dy).map(|(x, y)| x.hypot(*y)).collect();
    let steepest = slope.iter().copied().fold(0.0, f32::max);
    let grey = slope.iter().map(|s| (s / steepest * 255.0) as u8).collect();
    image::GrayImage::from_raw(width, height, grey).ok_or("sizes differ")?.save(&to)?;
    println!("wrote {to}");
    Ok(())
}
