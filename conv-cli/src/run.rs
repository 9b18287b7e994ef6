//! `convc run`: arrays in, an array out.
//!
//! The arrays give the element type and every size; flags give the rest. Each array is held against
//! the shape that the description asks for before anything is computed, so that an error names the
//! file, its shape and the rule.

mod chain;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use conv_ir::{Chain, Conv, ConvSpec, DType, Layout, Size};

use crate::describe::Parameters;
use crate::failure::Failure;
use crate::route::{self, Ready, Route, Weights};
use crate::table::milliseconds;
use crate::{output, values};
use conv_files::{Array, Number, encode, read_npy};

const NOTES: &str = "\
Shapes, as in PyTorch and ONNX:
  input     [batch, channels, spatial..]     (nhwc: [batch, spatial.., channels])
  weight    [out, in/groups, kernel..]       transposed: [in, out/groups, kernel..]
  bias      [out]
  residual  as the output

Examples:
  convc run --input x.npy --weight w.npy --bias b.npy --padding 1 --activation relu -o y.npy
  convc run --input x.npy --weight w.npy --transposed --stride 2,1 --padding 1,0:2 -o y.npy
  convc run --input x.npy --weight w.npy --padding 2 --padding-mode reflect --groups 4 -o y.npy
  convc run --input x.npy --weight dw.npy --weight pw.npy --chain 'conv2d g8 ic8 oc8 in 14 kernel 3 pad 1, relu; conv2d oc16 kernel 1' -o y.npy";

/// Convolve NumPy arrays (.npy in, .npy out)
///
/// Sizes and element type (float32 or float64) come from the arrays. Fortran-ordered and big-endian
/// files are read too.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// The array to convolve
    #[arg(long, short, value_name = "X.npy")]
    input: PathBuf,
    /// The windows; of a chain, one file for each step
    #[arg(long, short, value_name = "W.npy", required = true)]
    weight: Vec<PathBuf>,
    /// Added to each output channel; of a chain, one file for each step that has a bias
    #[arg(long, short, value_name = "B.npy")]
    bias: Vec<PathBuf>,
    /// Several convolutions in a row, in the text form: step; step; ..
    #[arg(long, value_name = "TEXT", conflicts_with = "residual")]
    chain: Option<Chain>,
    /// Added before the activation
    #[arg(long, value_name = "R.npy")]
    residual: Option<PathBuf>,
    /// The file to write
    #[arg(long, short, value_name = "Y.npy")]
    output: PathBuf,
    #[command(flatten)]
    parameters: Parameters,
    /// Who computes it
    #[arg(long, value_enum, default_value_t = Route::Auto)]
    route: Route,
    /// Threads to share the work
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::threads, allow_negative_numbers = true)]
    threads: usize,
}

/// A file and what it holds.
struct Named<'a> {
    role: &'static str,
    path: &'a Path,
    array: Array,
}

impl Named<'_> {
    fn read<'a>(role: &'static str, path: &'a Path) -> Result<Named<'a>, Failure> {
        Ok(Named { role, path, array: read_npy(path)? })
    }

    fn check_shape(&self, needed: &[usize], rule: &str) -> Result<(), Failure> {
        if self.array.shape == needed {
            return Ok(());
        }
        let message = format!(
            "the {} has shape {:?}, but must have {needed:?}: {rule}",
            self.role, self.array.shape
        );
        Err(Failure::file(self.path, message))
    }

    fn check_type(&self, dtype: DType) -> Result<(), Failure> {
        if self.array.dtype == dtype {
            return Ok(());
        }
        let message = format!(
            "the {} holds {}, but the input holds {dtype}; all arrays must be of one type",
            self.role, self.array.dtype
        );
        Err(Failure::file(self.path, message))
    }
}

/// The only file of a role, where there is one.
fn only<'a>(paths: &'a [PathBuf], role: &str) -> Result<Option<&'a Path>, Failure> {
    match paths {
        [] => Ok(None),
        [path] => Ok(Some(path)),
        several => Err(Failure::usage(format!(
            "--{role} is given {} times, but only a --chain has several",
            several.len()
        ))),
    }
}

fn missing(role: &str) -> Failure {
    Failure::usage(format!("--{role} is missing"))
}

/// All arrays of a run.
struct Files<'a> {
    input: Named<'a>,
    weight: Named<'a>,
    bias: Option<Named<'a>>,
    residual: Option<Named<'a>>,
}

impl<'a> Files<'a> {
    fn read(args: &'a Args) -> Result<Files<'a>, Failure> {
        let files = Files {
            input: Named::read("input", &args.input)?,
            weight: Named::read(
                "weight",
                only(&args.weight, "weight")?.ok_or_else(|| missing("weight"))?,
            )?,
            bias: only(&args.bias, "bias")?.map(|path| Named::read("bias", path)).transpose()?,
            residual: args
                .residual
                .as_deref()
                .map(|path| Named::read("residual", path))
                .transpose()?,
        };
        let dtype = files.input.array.dtype;
        files.weight.check_type(dtype)?;
        files.bias.as_ref().map_or(Ok(()), |bias| bias.check_type(dtype))?;
        files.residual.as_ref().map_or(Ok(()), |residual| residual.check_type(dtype))?;
        Ok(files)
    }

    /// What the shapes say about the convolution.
    fn conv(&self, parameters: &Parameters) -> Result<Conv, Failure> {
        let (input, weight) = (&self.input.array.shape, &self.weight.array.shape);
        check_ranks(&self.input, &self.weight)?;
        let (in_channels, spatial) = match parameters.layout() {
            Layout::ChannelsFirst => (input[1], &input[2..]),
            Layout::ChannelsLast => (input[input.len() - 1], &input[1..input.len() - 1]),
        };
        let out_channels = if parameters.transposed {
            weight[1].saturating_mul(parameters.groups())
        } else {
            weight[0]
        };
        let spec = ConvSpec {
            dtype: self.input.array.dtype,
            batch: Size::Known(input[0]),
            in_channels,
            out_channels,
            bias: self.bias.is_some(),
            residual: self.residual.is_some(),
            ..ConvSpec::new(spatial.iter().copied(), weight[2..].iter().copied())
        };
        let conv = Conv::new(parameters.apply(spec)?)?;
        self.check_shapes(&conv)?;
        Ok(conv)
    }

    fn check_shapes(&self, conv: &Conv) -> Result<(), Failure> {
        let spec = conv.spec();
        let (ic, oc, groups) = (spec.in_channels, spec.out_channels, spec.groups);
        let rule = if spec.transposed {
            format!("[in, out/groups, kernel..] with {ic} input channels and groups {groups}")
        } else {
            format!("[out, in/groups, kernel..] with {ic} input channels and groups {groups}")
        };
        self.weight.check_shape(&conv.weight_shape(), &rule)?;
        if let Some(bias) = &self.bias {
            bias.check_shape(&[oc], &format!("one number for each of {oc} output channels"))?;
        }
        if let Some(residual) = &self.residual {
            residual.check_shape(&known(conv.output_shape()), "the shape of the output")?;
        }
        Ok(())
    }
}

fn check_ranks(input: &Named, weight: &Named) -> Result<(), Failure> {
    let (axes, weight_axes) = (input.array.shape.len(), weight.array.shape.len());
    if axes < 3 {
        let message = format!(
            "the input has shape {:?}, but needs a batch axis, a channel axis and at least one spatial axis",
            input.array.shape
        );
        return Err(Failure::file(input.path, message));
    }
    if weight_axes != axes {
        let message = format!(
            "the weight has {weight_axes} axes {:?}, but the input has {axes} {:?}; both need two, and one per spatial axis",
            weight.array.shape, input.array.shape
        );
        return Err(Failure::file(weight.path, message));
    }
    Ok(())
}

/// The command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    output::check(&args.output)?;
    if let Some(chain) = &args.chain {
        if args.parameters != Parameters::default() {
            return Err(Failure::usage("a --chain says everything: give no other parameter"));
        }
        return chain::run(args, chain, out);
    }
    let files = Files::read(args)?;
    let conv = files.conv(&args.parameters)?;
    match conv.spec().dtype {
        DType::F32 => convolve::<f32>(args, &files, &conv, out),
        DType::F64 => convolve::<f64>(args, &files, &conv, out),
    }
}

fn convolve<T: Number>(
    args: &Args,
    files: &Files,
    conv: &Conv,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let values = |named: &Named| named.array.values::<T>();
    let weights = Weights { weight: values(&files.weight), bias: files.bias.as_ref().map(values) };
    let (input, residual) = (values(&files.input), files.residual.as_ref().map(values));
    let ready = Ready::new(conv, args.route, args.threads, &weights)?;
    let shape = known(conv.output_shape());
    let mut result = route::zeros(shape.iter().product())?;
    let start = Instant::now();
    ready.run(&input, residual.as_deref(), &mut result)?;
    let taken = start.elapsed();
    output::write(&[(&args.output, &encode(&shape, &result).map_err(Failure::Usage)?)])?;
    let (path, dtype, route) = (args.output.display(), T::DTYPE, ready.route);
    let (compile, run) = (milliseconds(ready.compile), milliseconds(taken));
    Ok(writeln!(
        out,
        "{path}: {dtype} {shape:?}, route {route}, compiled in {compile}, ran in {run}"
    )?)
}

/// Arrays have numbers for sizes.
fn known(shape: Option<Vec<usize>>) -> Vec<usize> {
    shape.expect("every size came from an array")
}
