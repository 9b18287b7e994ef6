//! A small U-Net takes the noise out of a photograph: what it sees at half the size is joined to
//! what it sees at full size. `unet.py` fitted its 12,000 weights, to other pictures.
//!
//! `cargo run --release -p conv-tests --example unet -- docs/astronaut.png noisy.png clean.png`

use conv_jit::Activation::Relu;
use conv_jit::StepWeights;
use conv_tests::Rng;
use std::error::Error;
use std::path::Path;

const WEIGHTS: &str = "unet.safetensors";

fn main() -> Result<(), Box<dyn Error>> {
    let mut names = std::env::args().skip(1);
    let mut name = |usual: &str| names.next().unwrap_or(usual.to_owned());
    let (from, noisy, clean) = (name("docs/astronaut.png"), name("noisy.png"), name("clean.png"));
    let picture = image::open(&from).map_err(|e| format!("{from}: {e}"))?.to_luma32f();
    // Half of it has whole pixels.
    let [width, height] = [picture.width(), picture.height()].map(|extent| extent / 2 * 2);
    let picture = image::imageops::crop_imm(&picture, 0, 0, width, height).to_image();

    let (mut net, x) = conv_jit::graph(1, [height as usize, width as usize]);
    let fine = net.step([x], |s| s.conv(12, 3).padding(1).bias(true).activation(Relu));
    let coarse = net.step([fine], |s| {
        let half = s.max_pool(2).stride(2);
        let half = half.conv(24, 3).padding(1).bias(true).activation(Relu);
        half.conv(24, 3).padding(1).bias(true).activation(Relu).upsample_nearest(2)
    });
    net.step([coarse, fine], |s| {
        let up = s.conv(12, 3).padding(1).bias(true).activation(Relu);
        up.conv(1, 3).padding(1).bias(true).residual(x)
    });
    let net = net.compile()?;
    print!("{}", net.explain());

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let read = |tensor: String| -> Result<Vec<f32>, Box<dyn Error>> {
        let array = conv_files::read_place(&folder, &format!("{WEIGHTS}#{tensor}"), 1 << 20)?;
        Ok(array.exact().into_iter().map(|x| x as f32).collect())
    };
    // Pooling and upsampling have none.
    let steps = [Some("fine"), None, Some("down"), Some("coarse"), None, Some("up"), Some("last")];
    let mut arrays = Vec::new();
    for step in steps.iter().flatten() {
        arrays.push((read(format!("{step}.weight"))?, read(format!("{step}.bias"))?));
    }
    let mut given = arrays.iter();
    let weights: Vec<StepWeights<f32>> = steps
        .iter()
        .map(|step| step.and_then(|_| given.next()))
        .map(|arrays| arrays.map_or_else(Default::default, |(w, b)| (&w[..], &b[..]).into()))
        .collect();
    let net = net.pack_steps(&weights)?;

    // Twelve numbers less six are nearly normal.
    let mut rng = Rng(1);
    let mut normal = || (0..12).map(|_| (rng.bits() >> 40) as f32 / 1.6777216e7).sum::<f32>() - 6.0;
    let input: Vec<f32> = picture.as_raw().iter().map(|x| x + 0.1 * normal()).collect();
    let mut output = vec![0.0; input.len()];
    net.run(&input, &mut output)?;
    for (numbers, to) in [(&input, noisy), (&output, clean)] {
        let squares: f32 = numbers.iter().zip(picture.as_raw()).map(|(a, b)| (a - b).powi(2)).sum();
        let grey = numbers.iter().map(|x| (x * 255.0).round().clamp(0.0, 255.0) as u8).collect();
        image::GrayImage::from_raw(width, height, grey).ok_or("sizes differ")?.save(&to)?;
        let decibels = -10.0 * (squares / numbers.len() as f32).log10();
        println!("wrote {to}, {decibels:.1} dB from the photograph");
    }
    Ok(())
}
