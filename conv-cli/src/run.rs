//! `convc run`: arrays in, an array out.
//!
//! The arrays give the element type and every size; flags give the rest. Each array is held against
//! the shape that the description asks for before anything is computed, so that an error names the
//! file, its shape and the rule.

mod chain;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use conv_ir::{Conv, ConvSpec, DType, Layout, Program, Size};

use crate::describe::{GRAMMAR, Parameters};
use crate::failure::Failure;
use crate::route::{self, Ready, Route, Weights};
use crate::table::milliseconds;
use crate::{input, output, values, weights};
use conv_files::{Array, Number, encode, npy_of, read_place, split_place};

const NOTES: &str = "\
Shapes, as in PyTorch and ONNX:
  input     [batch, channels, spatial..]     (nhwc: [batch, spatial.., channels])
  weight    [out, in/groups, kernel..]       transposed: [in, out/groups, kernel..]
  bias      [out]
  residual  as the output

An input may leave out the batch, or the batch and its only channel: as many axes as it has less than the weight are left out, and the \
output leaves them out too. A weight of one or two axes is a lone window beside an input of as many axes, and of two axes [out, in], as linear \
layers have it, beside a larger one.

Examples:
  convc run --input x.npy --weight w.npy --bias b.npy --padding 1 --activation relu -o y.npy
  convc run --input x.npy --weight w.npy --transposed --stride 2,1 --padding 1,0:2 -o y.npy
  convc run --input x.npy --weight w.npy --padding 2 --padding-mode reflect --groups 4 -o y.npy
  convc run --input picture.npy --weight window.npy --padding full -o y.npy
  cat x.npy | convc run --input - --weight model.safetensors#conv1.weight -o - > y.npy
  convc run --input x.npy --weight dw.npy --weight pw.npy --chain 'conv2d g8 ic8 oc8 in 14 kernel 3 pad 1, relu; conv2d oc16 kernel 1' -o y.npy";

/// Convolve NumPy arrays (.npy in, .npy out)
///
/// Sizes and element type (float32 or float64) come from the arrays. Fortran-ordered and big-endian
/// files are read too.
#[derive(clap::Args)]
#[command(after_help = format!("{NOTES}\n\n{GRAMMAR}"))]
pub struct Args {
    /// The array to convolve; - is standard input
    #[arg(long, short, value_name = "X.npy")]
    input: PathBuf,
    /// The windows, in a .npy or as FILE.safetensors#TENSOR; of a chain, one file for each step
    #[arg(long, short, value_name = "W.npy", required = true)]
    weight: Vec<PathBuf>,
    /// Added to each output channel; of a chain, one file for each step that has a bias
    #[arg(long, short, value_name = "B.npy")]
    bias: Vec<PathBuf>,
    /// Several convolutions in a row, in the text form: step; step; ..
    #[arg(long, value_name = "TEXT", conflicts_with = "residual")]
    chain: Option<Program>,
    /// Added before the activation
    #[arg(long, value_name = "R.npy")]
    residual: Option<PathBuf>,
    /// The file to write; - is standard output
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

impl Args {
    /// All files that are read.
    fn inputs(&self) -> Vec<PathBuf> {
        let arrays = self.weight.iter().chain(&self.bias).chain(&self.residual);
        let file = |path: &'_ PathBuf| path.to_str().map(|place| split_place(place).0.to_owned());
        let all = [&self.input].into_iter().chain(arrays);
        all.map(|path| file(path).map_or(path.clone(), PathBuf::from)).collect()
    }
}

/// A file and what it holds.
struct Named<'a> {
    role: &'static str,
    path: &'a Path,
    array: Array,
}

impl Named<'_> {
    fn read<'a>(role: &'static str, path: &'a Path) -> Result<Named<'a>, Failure> {
        let array = match path.to_str() {
            Some(place) if split_place(place).1.is_some() => {
                read_place(Path::new(""), place, usize::MAX)?
            }
            _ => npy_of(path, &input::bytes(path)?)?,
        };
        Ok(Named { role, path, array })
    }

    /// A weight has a shape that others may have in another order.
    fn check_weight(&self, conv: &Conv) -> Result<(), Failure> {
        // The sizes came from this very weight: of another order only the channels can tell.
        let needed = conv.weight_shape();
        let channels = usize::from(!conv.spec().transposed);
        let fits = |shape: &[usize]| shape[channels] == needed[channels];
        let hint = weights::other_order(conv.spec().transposed, &self.array.shape, fits);
        let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
        self.check_shape(&needed, &format!("{}{hint}", weights::axes(conv)))
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
    fn conv(&self, seen: &Seen, parameters: &Parameters) -> Result<Conv, Failure> {
        let weight = &seen.weight;
        let out_channels = if parameters.transposed {
            weight[1].saturating_mul(parameters.groups())
        } else {
            weight[0]
        };
        let spec = ConvSpec {
            dtype: self.input.array.dtype,
            batch: Size::Known(seen.batch.unwrap_or(1)),
            in_channels: seen.channels.unwrap_or(1),
            out_channels,
            bias: self.bias.is_some(),
            residual: self.residual.is_some(),
            ..ConvSpec::new(seen.spatial.iter().copied(), weight[2..].iter().copied())
        };
        let conv = Conv::new(parameters.apply(spec)?)?;
        self.check_shapes(seen, &conv)?;
        Ok(conv)
    }

    fn check_shapes(&self, seen: &Seen, conv: &Conv) -> Result<(), Failure> {
        let oc = conv.out_channels();
        if seen.weight != conv.weight_shape() {
            self.weight.check_weight(conv)?;
        }
        if let Some(bias) = &self.bias {
            bias.check_shape(&[oc], &format!("one number for each of {oc} output channels"))?;
        }
        if let Some(residual) = &self.residual {
            residual.check_shape(&seen.output_shape(conv), "the shape of the output")?;
        }
        Ok(())
    }
}

/// What the arrays' axes are. People leave out a batch and a channel that are one.
struct Seen {
    batch: Option<usize>,
    channels: Option<usize>,
    spatial: Vec<usize>,
    /// With both axes of channels.
    weight: Vec<usize>,
    layout: Layout,
}

impl Seen {
    fn of(input: &Named, weight: &Named, layout: Layout) -> Result<Seen, Failure> {
        let (shape, given) = (&input.array.shape[..], &weight.array.shape[..]);
        let full = match (shape.len(), given.len()) {
            // A lone window over a plane or a line.
            (1 | 2, axes) if axes == shape.len() => [&[1, 1], given].concat(),
            // A linear layer's weight.
            (axes, 2) if axes >= 3 => [given, &vec![1; axes - 2]].concat(),
            _ => given.to_vec(),
        };
        let missing = full.len().checked_sub(shape.len()).filter(|_| full.len() >= 3);
        let mut rest = shape;
        let mut take = |first: bool| -> Option<usize> {
            let (one, others) = if first { rest.split_first()? } else { rest.split_last()? };
            rest = others;
            Some(*one)
        };
        let channels_first = layout == Layout::ChannelsFirst;
        let (batch, channels) = match missing {
            Some(0) => (take(true), take(channels_first)),
            Some(1) => (None, take(channels_first)),
            Some(2) => (None, None),
            _ => {
                let message = format!(
                    "the weight has {} axes {given:?}, but the input has {} {shape:?}; both need two, and one per spatial axis \
                     (an input may leave out its batch, and its only channel)",
                    given.len(),
                    shape.len()
                );
                return Err(Failure::file(weight.path, message));
            }
        };
        Ok(Seen { batch, channels, spatial: rest.to_vec(), weight: full, layout })
    }

    /// The output's shape, without what the input leaves out.
    fn output_shape(&self, conv: &Conv) -> Vec<usize> {
        let mut shape = known(conv.output_shape());
        if self.channels.is_none() && conv.out_channels() == 1 {
            shape.remove(if self.layout == Layout::ChannelsFirst { 1 } else { shape.len() - 1 });
        }
        if self.batch.is_none() {
            shape.remove(0);
        }
        shape
    }
}

/// The command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let inputs = args.inputs();
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    output::check(&[&args.output], &inputs)?;
    let out = &mut *output::remarks(out, &[&args.output]);
    if let Some(chain) = &args.chain {
        if args.parameters != Parameters::default() {
            return Err(Failure::usage("a --chain says everything: give no other parameter"));
        }
        return chain::run(args, chain, out);
    }
    let files = Files::read(args)?;
    let seen = Seen::of(&files.input, &files.weight, args.parameters.layout())?;
    let conv = files.conv(&seen, &args.parameters)?;
    let shape = seen.output_shape(&conv);
    match conv.spec().dtype {
        DType::F32 => convolve::<f32>(args, &files, (&conv, &shape), out),
        DType::F64 => convolve::<f64>(args, &files, (&conv, &shape), out),
    }
}

fn convolve<T: Number>(
    args: &Args,
    files: &Files,
    (conv, shape): (&Conv, &[usize]),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let values = |named: &Named| named.array.values::<T>();
    let weights = Weights { weight: values(&files.weight), bias: files.bias.as_ref().map(values) };
    let (input, residual) = (values(&files.input), files.residual.as_ref().map(values));
    let ready = Ready::new(conv, args.route, args.threads, &weights)?;
    let mut result = route::zeros(shape.iter().product())?;
    let start = Instant::now();
    ready.run(&input, residual.as_deref(), &mut result)?;
    let taken = start.elapsed();
    output::write(&[(&args.output, &encode(shape, &result).map_err(Failure::Usage)?)])?;
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
