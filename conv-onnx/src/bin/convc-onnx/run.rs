//! `run`: a model on NumPy arrays.

use std::io::Write;

use conv_onnx::Tensor;

use crate::args::Run;
use crate::failure::Failure;
use crate::{inputs, output};

pub fn run(args: &Run, out: &mut dyn Write) -> Result<(), Failure> {
    let model = args.model.load()?;
    let inputs = inputs::arrays(&model, &args.arrays)?;
    let names: Vec<String> =
        model.outputs().iter().map(|port| output::file_name(&port.name)).collect();
    if let Some(at) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
        let message = format!("two outputs would be the file '{}'", names[at]);
        return Err(Failure::file(&args.output, message));
    }
    let outputs = model.run(&inputs::by_name(&inputs))?;
    let mut files = Vec::new();
    for (file, (name, tensor)) in names.into_iter().zip(&outputs) {
        files.push((file, encoded(name, tensor)?));
    }
    output::write(&args.output, &files)?;
    for ((file, _), (name, tensor)) in files.iter().zip(&outputs) {
        writeln!(
            out,
            "{name}: {} {:?} in {}",
            tensor.dtype(),
            tensor.shape(),
            args.output.join(file).display()
        )?;
    }
    Ok(())
}

/// The bytes of a `.npy` file. Whole numbers become f64, which `.npy` files of ours hold.
fn encoded(name: &str, tensor: &Tensor) -> Result<Vec<u8>, Failure> {
    let shape = tensor.shape();
    macro_rules! as_f64 {
        ($($t:ty)*) => {{
            let mut numbers: Option<Vec<f64>> = None;
            $(if let Some(values) = tensor.values::<$t>() {
                numbers = Some(values.iter().map(|&x| x as f64).collect());
            })*
            numbers
        }};
    }
    let bytes = if let Some(values) = tensor.values::<f32>() {
        conv_files::encode(shape, values)
    } else if let Some(values) = tensor.values::<bool>() {
        conv_files::encode(shape, &values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>())
    } else if let Some(values) = as_f64!(f64 i8 i16 i32 i64 u8 u16 u32 u64) {
        conv_files::encode(shape, &values)
    } else {
        Err(format!("output '{name}' is {}, which no .npy file of ours holds", tensor.dtype()))
    };
    bytes.map_err(Failure::usage)
}
