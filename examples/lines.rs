//! A camera's lines through a blur and Sobel's derivatives as they come: no picture is ever there
//! as a whole. Each line of edges is known two lines later.
//!
//! `cargo run --release -p conv-tests --example lines -- edges.png`

use std::error::Error;

const WIDTH: usize = 320;
const LINES: usize = 240;

fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args().nth(1).unwrap_or("edges.png".into());
    let blur = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0].map(|tap| tap / 16.0);
    let across = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
    let down = [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    let sobel = [across, down].concat();
    let lines = conv_jit::chain(1, ["LINES".into(), conv_jit::Size::from(WIDTH)])
        .conv(1, 3)
        .padding(1)
        .weights_known(&blur)
        .conv(2, 3)
        .padding(1)
        .weights_known(&sobel)
        .stream::<f32>(0, &[Default::default(); 2])?;

    let mut state = lines.state()?;
    println!("{} bytes of state; the first line with line {}", lines.state_bytes(), lines.first());
    let mut edges = Vec::with_capacity(WIDTH * LINES);
    // Two channels of so many lines.
    let mut take = |known: &[f32]| {
        let (across, down) = known.split_at(known.len() / 2);
        let steep = |(a, d): (&f32, &f32)| (a.hypot(*d) * 255.0).min(255.0) as u8;
        edges.extend(across.iter().zip(down).map(steep));
    };
    for y in 0..LINES {
        let mut known = vec![0.0; 2 * WIDTH * lines.next(&state, 1)];
        lines.push(&mut state, &line(y), &mut known)?;
        take(&known);
    }
    let mut known = vec![0.0; 2 * WIDTH * lines.left(&state)];
    lines.flush(&mut state, &mut known)?;
    take(&known);

    let picture = image::GrayImage::from_raw(WIDTH as u32, LINES as u32, edges);
    picture.ok_or("lines are missing")?.save(&to)?;
    println!("wrote {to}");
    Ok(())
}

/// A line of a bright disc before a slope.
fn line(y: usize) -> Vec<f32> {
    let at = |x: usize| {
        let (dx, dy) = (x as f32 - 160.0, y as f32 - 120.0);
        if dx.hypot(dy) < 80.0 { 1.0 } else { x as f32 / WIDTH as f32 * 0.5 }
    };
    (0..WIDTH).map(at).collect()
}
