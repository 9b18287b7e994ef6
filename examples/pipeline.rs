//! A picture pipeline without a run time: blur, both Sobel windows, magnitude. The windows stand in
//! the source, the picture may have any size, and after the buffers are there nothing is allocated
//! (`tests/tests/pipeline.rs` counts).
//!
//! `cargo run --release -p conv-tests --example pipeline -- docs/astronaut.png edges.png`

use std::error::Error;
use std::time::{Duration, Instant};

conv_macros::conv! {
    /// A Gaussian: the binomials of 4, down and across.
    fn blur(input: [f32; 1, 1, H, W]) -> [f32; 1, 1, H, W];
    padding: 2,
    weight: [
        [0.00390625, 0.015625, 0.0234375, 0.015625, 0.00390625],
        [0.015625,   0.0625,   0.09375,   0.0625,   0.015625],
        [0.0234375,  0.09375,  0.140625,  0.09375,  0.0234375],
        [0.015625,   0.0625,   0.09375,   0.0625,   0.015625],
        [0.00390625, 0.015625, 0.0234375, 0.015625, 0.00390625],
    ]
}

conv_macros::conv! {
    /// How fast brightness changes, across and down.
    fn sobel(input: [f32; 1, 1, H, W]) -> [f32; 1, 2, H, W];
    padding: 1,
    weight: [
        [[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]],
        [[[-1, -2, -1], [0, 0, 0], [1, 2, 1]]],
    ]
}

/// Pixels at each side that saw the zeros outside the picture: two of the blur, one of Sobel.
const FRAME: usize = 3;

/// The buffers between the stages.
pub struct Pipeline {
    size: [usize; 2],
    blurred: Vec<f32>,
    gradient: Vec<f32>,
    slope: Vec<f32>,
}

impl Pipeline {
    /// For pictures of that height and width.
    pub fn new(size: [usize; 2]) -> Pipeline {
        let pixels = size[0] * size[1];
        Pipeline {
            size,
            blurred: vec![0.0; pixels],
            gradient: vec![0.0; 2 * pixels],
            slope: vec![0.0; pixels],
        }
    }

    /// How steep each pixel is, zero in the frame, and the time of each stage.
    pub fn run(&mut self, picture: &[f32]) -> (&[f32], [Duration; 3]) {
        let [height, width] = self.size;
        let start = Instant::now();
        blur(height, width, picture, &mut self.blurred);
        let blurred = Instant::now();
        sobel(height, width, &self.blurred, &mut self.gradient);
        let found = Instant::now();
        self.magnitude();
        (&self.slope, [blurred - start, found - blurred, found.elapsed()])
    }

    fn magnitude(&mut self) {
        let [height, width] = self.size;
        let (across, down) = self.gradient.split_at(height * width);
        let inner = |row: usize| row * width + FRAME..(row + 1) * width - FRAME;
        for row in (FRAME..height.saturating_sub(FRAME)).filter(|_| width > 2 * FRAME) {
            let pairs = across[inner(row)].iter().zip(&down[inner(row)]);
            for (slope, (x, y)) in self.slope[inner(row)].iter_mut().zip(pairs) {
                *slope = (x * x + y * y).sqrt();
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut names = std::env::args().skip(1);
    let from = names.next().unwrap_or("docs/astronaut.png".into());
    let to = names.next().unwrap_or("edges.png".into());
    let picture = image::open(&from).map_err(|e| format!("{from}: {e}"))?.to_luma32f();
    let (width, height) = picture.dimensions();
    let mut pipeline = Pipeline::new([height as usize, width as usize]);

    let mut fastest = [Duration::MAX; 3];
    for _ in 0..50 {
        let (_, times) = pipeline.run(&picture);
        fastest = std::array::from_fn(|stage| fastest[stage].min(times[stage]));
    }
    for (stage, time) in ["blur", "sobel", "magnitude"].iter().zip(fastest) {
        println!("{stage:<10}{:>7.1} us", time.as_secs_f64() * 1e6);
    }

    let (slope, _) = pipeline.run(&picture);
    let steepest = slope.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let grey = slope.iter().map(|s| (s / steepest * 255.0) as u8).collect();
    image::GrayImage::from_raw(width, height, grey).ok_or("sizes differ")?.save(&to)?;
    println!("wrote {to}");
    Ok(())
}
