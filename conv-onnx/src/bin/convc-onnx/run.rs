//! `run`: a model on NumPy arrays.

use std::io::Write;

use conv_ir::F16;
use conv_onnx::{Tensor, f16};

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

/// The bytes of a `.npy` file, in the output's own type where such files of ours hold it; whole
/// numbers of others become f64.
fn encoded(name: &str, tensor: &Tensor) -> Result<Vec<u8>, Failure> {
    let shape = tensor.shape();
    macro_rules! first {
        ($([$($t:ty)*] $as:ty: $of:expr,)*) => {
            $($(if let Some(values) = tensor.values::<$t>() {
                let numbers: Vec<$as> = values.iter().map(|&x: &$t| $of(x)).collect();
                return conv_files::encode(shape, &numbers).map_err(Failure::usage);
            })*)*
        };
    }
    first! {
        [f32] f32: |x| x,
        [f64] f64: |x| x,
        [i8] i8: |x| x,
        [u8] u8: |x| x,
        [i16] i16: |x| x,
        [u16] u16: |x| x,
        [i32] i32: |x| x,
        [f16] F16: |x: f16| F16::from_f64(x.to_f64()),
        [i64] i64: |x| x,
        [bool] bool: |x| x,
        [u64 u32] f64: |x| x as f64,
    }
    let dtype = tensor.dtype();
    Err(Failure::usage(format!("output '{name}' is {dtype}, which no .npy file of ours holds")))
}
