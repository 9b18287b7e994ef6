//! A window whose numbers are compiled in, against one that is given at run time and a plain copy of the same bytes: Sobel on a picture of 1080 lines.
//!
//! ```sh
//! cargo run --release -p conv-tests --example window
//! ```

use std::time::Instant;

const SIZE: [usize; 2] = [1080, 1920];
const SOBEL: [f32; 9] = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];

/// The fastest of some runs, in milliseconds.
fn fastest(mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..40).map(time).fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), conv_jit::Error> {
    let picture: Vec<f32> = (0..SIZE[0] * SIZE[1]).map(|at| (at * 7919 % 256) as f32).collect();
    let (mut given, mut known) = (vec![0.0; picture.len()], vec![0.0; picture.len()]);
    let plain = conv_jit::conv2d(1, 1, 3).input(SIZE).padding(1);
    let with_argument = plain.compile()?.pack(&SOBEL, None)?;
    let compiled_in = plain.weights_known(&SOBEL).compile()?.ready::<f32>()?;

    let copy = fastest(|| std::hint::black_box(&mut given).copy_from_slice(std::hint::black_box(&picture)));
    let argument = fastest(|| with_argument.run(&picture, &mut given).expect("lengths fit"));
    let constant = fastest(|| compiled_in.run(&picture, &mut known).expect("lengths fit"));
    assert_eq!(given, known, "the same bits");
    println!("copy              {copy:.3} ms");
    println!("weight given      {argument:.3} ms, {:.2} of a copy", argument / copy);
    println!("weight known      {constant:.3} ms, {:.2} of a copy", constant / copy);
    println!("\n{}", compiled_in.compiled().explain());
    Ok(())
}
