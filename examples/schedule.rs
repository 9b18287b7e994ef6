//! The same convolution under schedules of one's own: other code, other costs, the same bits.
//!
//! `cargo run --release -p conv-tests --example schedule`

use conv_jit::{Compiled, Options};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let conv: conv_ir::Conv = "conv2d f32 n1 g1 ic16 oc16 in 28x28 kernel 3x3 pad 1".parse()?;
    let input: Vec<f32> = (0..16 * 28 * 28).map(|i| (i as f32 * 0.37).sin()).collect();
    let weight: Vec<f32> = (0..16 * 16 * 9).map(|i| (i as f32 * 0.73).cos()).collect();
    let mut outputs = Vec::new();
    for text in [
        None,
        Some("lanes none borders exact"),
        Some(
            "lanes oc:4 tile oc:4,ow:7 order n,g,oh,oc,ow borders exact unroll kw pack parallel oh",
        ),
        Some("lanes ow:4 tile oc:2,ow:16 borders panel:7 unroll kh,kw pack parallel oh"),
    ] {
        let schedule = text.map(str::parse).transpose()?;
        let code = Compiled::new(&conv, Options { schedule, ..Options::default() })?;
        let mut output = vec![0.0f32; 16 * 28 * 28];
        code.pack(&weight, None)?.run(&input, &mut output)?;
        println!("{}", code.explain());
        outputs.push(output);
    }
    let same = outputs.windows(2).all(|pair| pair[0] == pair[1]);
    println!("{} schedules, the same bits: {same}", outputs.len());
    let refused = "lanes oh:4".parse().map(|schedule| {
        Compiled::new(&conv, Options { schedule: Some(schedule), ..Options::default() })
    });
    if let Ok(Err(error)) = refused {
        println!("and what is illegal is refused: {error}");
    }
    Ok(())
}
