//! A window whose numbers are compiled in, against one that is given at run time and a plain copy
//! of the same bytes: Sobel on a picture of 1080 lines. And a Gaussian that is found to be a column
//! times a row.
//!
//! ```sh
//! cargo run --release -p conv-tests --example window
//! ```

use std::time::Instant;

use conv_ir::separate::Accuracy;

const SIZE: [usize; 2] = [1080, 1920];
const SOBEL: [f32; 9] = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];

/// The fastest of some runs, in milliseconds.
fn fastest(runs: usize, mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..runs).map(time).fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), conv_jit::Error> {
    let picture: Vec<f32> = (0..SIZE[0] * SIZE[1]).map(|at| (at * 7919 % 256) as f32).collect();
    let (mut given, mut known) = (vec![0.0; picture.len()], vec![0.0; picture.len()]);
    let plain = conv_jit::conv2d(1, 1, 3).input(SIZE).padding(1);
    let with_argument = plain.compile()?.pack(&SOBEL, None)?;
    let compiled_in = plain.weights_known(&SOBEL).compile()?.ready::<f32>()?;

    let copy = fastest(40, || {
        std::hint::black_box(&mut given).copy_from_slice(std::hint::black_box(&picture))
    });
    let argument = fastest(40, || with_argument.run(&picture, &mut given).expect("lengths fit"));
    let constant = fastest(40, || compiled_in.run(&picture, &mut known).expect("lengths fit"));
    assert_eq!(given, known, "the same bits");
    println!("copy              {copy:.3} ms");
    println!("weight given      {argument:.3} ms, {:.2} of a copy", argument / copy);
    println!("weight known      {constant:.3} ms, {:.2} of a copy", constant / copy);
    gaussian(&picture)
}

/// A blur of 31 x 31: as it is, and as the column and the row that it is made of.
fn gaussian(picture: &[f32]) -> Result<(), conv_jit::Error> {
    let tap = |at: i32| {
        (-0.5 * (f64::from(at - 15) / 5.0).powi(2)).exp() / (5.0 * std::f64::consts::TAU.sqrt())
    };
    let window: Vec<f32> = (0..31 * 31).map(|at| (tap(at / 31) * tap(at % 31)) as f32).collect();
    let blur = conv_jit::conv2d(1, 1, 31).input(SIZE).padding(15).weights_known(&window);
    let dense = blur.compile()?.ready::<f32>()?;
    let fast = blur.accuracy(Accuracy::Fast).compile()?;
    let passes = fast.ready::<f32>()?;
    let (mut whole, mut two) = (vec![0.0; picture.len()], vec![0.0; picture.len()]);
    let slow = fastest(8, || dense.run(picture, &mut whole).expect("lengths fit"));
    let quick = fastest(40, || passes.run(picture, &mut two).expect("lengths fit"));
    let off = whole.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    if let Some((_, found)) = fast.rewritten().separated.first() {
        println!("\nGaussian 31 x 31: {found}");
    }
    println!("dense             {slow:.2} ms");
    println!(
        "two passes        {quick:.2} ms, {:.1} times as fast; largest difference {off:.1e} of 255",
        slow / quick
    );
    Ok(())
}
