//! The edges of a photograph: two Sobel windows as one convolution, compiled at run time.
//!
//! `cargo run --release -p conv-tests --example edges -- docs/astronaut.png edges.png`

use conv_ir::PaddingMode;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut names = std::env::args().skip(1);
    let (from, to) = (
        names.next().unwrap_or("docs/astronaut.png".into()),
        names.next().unwrap_or("edges.png".into()),
    );
    let picture = image::open(&from).map_err(|e| format!("{from}: {e}"))?.to_luma32f();
    let (width, height) = picture.dimensions();
    let size = [height as usize, width as usize];

    let sobel = conv_jit::conv2d(1, 2, 3)
        .input(size)
        .padding(1)
        .padding_mode(PaddingMode::Symmetric)
        .compile()?;
    let horizontal = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
    let vertical = [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    let sobel = sobel.pack::<f32>(&[horizontal, vertical].concat(), None)?;

    let mut gradient = vec![0.0; 2 * size[0] * size[1]];
    sobel.run(picture.as_raw(), &mut gradient)?;
    let (dx, dy) = gradient.split_at(size[0] * size[1]);
    let steepest = dx.iter().zip(dy).map(|(x, y)| x.hypot(*y)).fold(0.0, f32::max);
    let grey = dx.iter().zip(dy).map(|(x, y)| (x.hypot(*y) / steepest * 255.0) as u8).collect();
    image::GrayImage::from_raw(width, height, grey).ok_or("sizes differ")?.save(&to)?;

    print!("{}", sobel.compiled().explain());
    println!("wrote {to}");
    Ok(())
}
