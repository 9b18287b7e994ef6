//! `convc run`: arrays in, an array out.
//!
//! ```text
//! arrays --Seen--> a description of one step, from shapes and flags --.
//! DESCRIPTION --sizes of the input--> a program of known sizes -------'--> checked arrays
//!     --route--> output
//! ```
//!
//! Each array is held against the shape that the program asks for before anything is computed, so
//! that an error names the file, its shape and the rule.

mod described;
mod integers;
mod place;
mod quantised;
mod seen;
mod several;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conv_files::{Array, Kind, npy_of, read_npy, read_place, split_place};
use conv_ir::separate::Accuracy;
use conv_ir::{Conv, ConvSpec, DType, Program, Schedule, Size};

use crate::describe::{GRAMMAR, Parameters};
use crate::failure::Failure;
use crate::route::{self, How, Ready, Route, Scalar, Weights};
use crate::table::milliseconds;
use crate::values::Exactness;
use crate::weights::{counted, literal, repeats, weighted};
use crate::{input, output, values};
use place::Place;
use quantised::Quantised;
use seen::Seen;
use several::residual;

const NOTES: &str = "\
Without DESCRIPTION the shapes of the arrays and flags say everything. With it, in the text form, there may be several steps, with a weight for each; \
its names in capitals (in HxW, nN) take the sizes of the input.

Shapes, as in PyTorch and ONNX:
  input     [batch, channels, spatial..]     (nhwc: [batch, spatial.., channels])
  weight    [out, in/groups, kernel..]       transposed: [in, out/groups, kernel..]; pools have none
  bias      [out]
  residual  as the output

An input may leave out the batch, or the batch and its only channel: as many axes as it has less than the weight are left out, and the \
output leaves them out too. A weight of one or two axes is a lone window beside an input of as many axes, and of two axes [out, in], as linear \
layers have it, beside a larger one.

Numbers: f32 and f64 are computed in and written as they are. f16 and bf16 are computed in f32 and rounded to the input's type; weights and biases may be of any of the three. Integers beside integers have sums in i32, exact, as ONNX's ConvInteger has them; with scales and --output-type they are requantised, as QLinearConv does.

Examples:
  convc run --input x.npy --weight w.npy --bias b.npy --padding 1 --activation relu -o y.npy
  convc run --input x.npy --weight w.npy --transposed --stride 2,1 --padding 1,0:2 -o y.npy
  convc run --input x.npy --weight w.npy --padding 2 --padding-mode reflect --groups 4 -o y.npy
  convc run --input picture.npy --weight window.npy --padding full -o y.npy
  cat x.npy | convc run --input - --weight model.safetensors#conv1.weight -o - > y.npy
  convc run -i x.npy -w w.npy -b b.npy --input-zero-point 128 --input-scale 0.02 --weight-scale 0.1,0.2,0.1 --output-scale 0.05 --output-zero-point 128 --output-type u8 -o y.npy
  convc run 'conv2d ic8 oc8 in HxW kernel 1; input2d ic1 in HxW; conv2d oc4 kernel 1 from 1,2; outputs 1,3' -i x.npy -i mask.npy -w a.npy -w b.npy -o y.npy -o z.npy
  convc run 'maxpool2d ic64 in HxW kernel 3 stride 2 pad 1' --input x.npy -o y.npy
  convc run 'conv2d g8 ic8 oc8 in HxW kernel 3 pad 1, relu; conv2d oc16 kernel 1' --input x.npy --weight dw.npy --weight pw.npy -o y.npy";

/// Convolve NumPy arrays (.npy in, .npy out)
///
/// Sizes and element types (floating point of 16 to 64 bits, integers of 8 to 32) come from the
/// arrays. Fortran-ordered and big-endian files are read too.
#[derive(clap::Args)]
#[command(after_help = format!("{NOTES}\n\n{GRAMMAR}"))]
pub struct Args {
    /// One convolution or several steps, in the text form (in quotes), instead of the flags
    #[arg(value_name = "DESCRIPTION")]
    texts: Vec<String>,
    /// The array to convolve, one for each input of a DESCRIPTION; - is standard input
    #[arg(long, short, value_name = "X.npy", required = true)]
    input: Vec<PathBuf>,
    /// The windows, in a .npy, as FILE.safetensors#TENSOR or as numbers in brackets; one for each
    /// step that has a weight
    #[arg(long, short, value_name = "W.npy")]
    weight: Vec<PathBuf>,
    /// Added to each output channel; one for each step that has a bias
    #[arg(long, short, value_name = "B.npy")]
    bias: Vec<PathBuf>,
    /// Added before the activation
    #[arg(long, value_name = "R.npy")]
    residual: Option<PathBuf>,
    /// The file to write, a .npy or FILE.safetensors#TENSOR, one for each output; - is standard
    /// output
    #[arg(long, short, value_name = "Y.npy", required = true)]
    output: Vec<PathBuf>,
    /// The type of its numbers [default: the input's; of sums of integers i32]
    #[arg(long, value_name = "TYPE", value_parser = values::kind)]
    output_type: Option<Kind>,
    #[command(flatten)]
    parameters: Parameters,
    /// Who computes it
    #[arg(long, value_enum, default_value_t = Route::Auto)]
    route: Route,
    /// Threads to share the work
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::threads, allow_negative_numbers = true)]
    threads: usize,
    /// How to compute one step, as explain prints it, instead of the model's choice
    #[arg(long, value_name = "TEXT")]
    schedule: Option<Schedule>,
    #[command(flatten)]
    exactness: Exactness,
    #[command(flatten)]
    quantised: Quantised,
}

impl Args {
    /// All files that are read.
    fn inputs(&self) -> Vec<PathBuf> {
        let weights = self.weight.iter().filter(|path| !is_literal(path));
        let arrays = weights.chain(&self.bias).chain(&self.residual);
        let file = |path: &'_ PathBuf| path.to_str().map(|place| split_place(place).0.to_owned());
        let all = self.input.iter().chain(arrays).cloned();
        let all = all.chain(self.quantised.files().map(Path::to_owned));
        all.map(|path| file(&path).map_or(path, PathBuf::from)).collect()
    }
}

/// Whether a weight is numbers in brackets.
fn is_literal(weight: &Path) -> bool {
    weight.to_str().is_some_and(|text| text.starts_with('['))
}

/// A file and what it holds.
struct Named<'a> {
    role: &'static str,
    path: &'a Path,
    array: Array,
}

impl Named<'_> {
    /// A weight in a file, or of numbers in brackets, which are of the input's kind.
    fn weight_beside<'a>(input: &Named, path: &'a Path) -> Result<Named<'a>, Failure> {
        let Some(text) = path.to_str().filter(|_| is_literal(path)) else {
            return Named::read("weight", path);
        };
        let wrong = |message| Failure::usage(format!("--weight: {message}"));
        let (shape, numbers) = literal(text).map_err(wrong)?;
        let whole =
            |x: &f64| x.fract() == 0.0 && f64::from(i32::MIN) <= *x && *x <= i32::MAX.into();
        let kind = match input.dtype() {
            Some(_) => input.array.kind,
            None if numbers.iter().all(whole) => Kind::I32,
            None => return Err(wrong("beside integers its numbers must be whole".to_owned())),
        };
        let array = Array::of(kind, shape, &numbers).map_err(wrong)?;
        Ok(Named { role: "weight", path, array })
    }

    fn read<'a>(role: &'static str, path: &'a Path) -> Result<Named<'a>, Failure> {
        let array = match path.to_str() {
            Some(place) if split_place(place).1.is_some() || place.ends_with(".safetensors") => {
                read_place(Path::new(""), place, usize::MAX)?
            }
            // A pipe is read to its end; of a file no more than it should have.
            _ if std::fs::metadata(path).is_ok_and(|about| about.is_file()) => read_npy(path)?,
            _ => npy_of(path, &input::bytes(path)?)?,
        };
        Ok(Named { role, path, array })
    }

    /// The numbers of a weight. `fits`: how to see that its axes are in another's order.
    fn weight<T: Scalar>(
        &self,
        conv: &Conv,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<Vec<T>, Failure> {
        let times = repeats(conv, &self.array.shape, fits)
            .map_err(|message| Failure::file(self.path, format!("the weight {message}")))?;
        let numbers = self.array.values::<T>();
        match times {
            1 => Ok(numbers),
            _ => route::repeated(&numbers, times),
        }
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

    /// The floating-point type that an input is computed in; `None` of integers.
    fn dtype(&self) -> Option<DType> {
        self.array.kind.widened()
    }

    /// Beside an input that is computed in this type.
    fn check_type(&self, input: &Named) -> Result<(), Failure> {
        let (dtype, found) = (input.dtype(), self.dtype());
        let fits = match (dtype, found) {
            (Some(DType::F32), None) | (None, Some(_)) => false,
            (dtype, found) => dtype == found,
        };
        if fits {
            return Ok(());
        }
        let rule = match dtype {
            Some(DType::F32) => "all arrays must be f32, f16 or bf16: a.astype('float32') in NumPy",
            Some(_) => "all arrays must be of one type: a.astype('float64') in NumPy",
            None => "all arrays must be integers",
        };
        let (role, kind, input) = (self.role, self.array.kind, input.array.kind);
        let message = format!("the {role} holds {kind}, but the input holds {input}; {rule}");
        Err(Failure::file(self.path, message))
    }
}

/// All arrays of a run.
struct Files<'a> {
    input: Named<'a>,
    /// Inputs behind the first.
    others: Vec<Named<'a>>,
    weights: Vec<Named<'a>>,
    biases: Vec<Named<'a>>,
    residual: Option<Named<'a>>,
}

impl<'a> Files<'a> {
    fn read(args: &'a Args) -> Result<Files<'a>, Failure> {
        let all = |role, paths: &'a [PathBuf]| {
            paths.iter().map(|path| Named::read(role, path)).collect::<Result<Vec<_>, _>>()
        };
        let residual = args.residual.as_deref();
        let input = Named::read("input", &args.input[0])?;
        let weights = args.weight.iter().map(|path| Named::weight_beside(&input, path));
        let files = Files {
            weights: weights.collect::<Result<_, _>>()?,
            input,
            others: all("input", &args.input[1..])?,
            biases: all("bias", &args.bias)?,
            residual: residual.map(|path| Named::read("residual", path)).transpose()?,
        };
        let others = files.others.iter().chain(&files.weights);
        let others = others.chain(&files.biases).chain(&files.residual);
        others.into_iter().try_for_each(|file| file.check_type(&files.input))?;
        Ok(files)
    }

    /// The convolution that shapes and flags describe.
    fn convolution(&self, parameters: &Parameters) -> Result<(Seen, Conv), Failure> {
        if self.weights.is_empty() {
            return Err(Failure::usage(
                "give --weight, or describe what has none, such as 'maxpool2d ic3 in HxW kernel 2 stride 2'",
            ));
        }
        let [weight] = &self.weights[..] else {
            return Err(Failure::usage(format!(
                "--weight is given {} times, but only a DESCRIPTION has several steps",
                self.weights.len()
            )));
        };
        let (seen, full) = Seen::beside(&self.input, weight, parameters.layout())?;
        let out_channels = match parameters.transposed {
            true => full[1].saturating_mul(parameters.groups()),
            false => full[0],
        };
        let spec = ConvSpec {
            types: self.input.dtype().unwrap_or(DType::F32).into(),
            batch: Size::Known(seen.batch.unwrap_or(1)),
            in_channels: seen.channels.unwrap_or(1),
            out_channels,
            bias: !self.biases.is_empty(),
            residual: self.residual.is_some(),
            ..ConvSpec::new(seen.spatial.iter().copied(), full[2..].iter().copied())
        };
        Ok((seen, parameters.conv(spec)?))
    }
}

/// The command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let inputs = args.inputs();
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    let places: Vec<Place> = args.output.iter().map(|path| Place::of(path)).collect();
    let paths: Vec<&Path> = places.iter().map(|place| place.path.as_path()).collect();
    output::check(&paths, &inputs)?;
    places.iter().try_for_each(Place::check)?;
    let out = &mut *output::remarks(out, &paths);
    if !args.texts.is_empty() && args.parameters != Parameters::default() {
        return Err(Failure::usage(
            "give either a DESCRIPTION or flags, not both: say everything in one of them",
        ));
    }
    let files = Files::read(args)?;
    let (seen, program, kind) = match args.texts.is_empty() {
        true => {
            let (seen, conv) = files.convolution(&args.parameters)?;
            (seen, conv.into(), None)
        }
        false => files.described(&args.texts)?,
    };
    counted("input", args.input.len(), program.inputs().len(), "input of the program")?;
    counted("output", args.output.len(), program.outputs().len(), "tensor that it gives")?;
    if files.input.dtype().is_none() {
        if args.input.len() + args.output.len() > 2 {
            let message = "several inputs or outputs of integers are the library's alone";
            return Err(Failure::file(&args.input[0], message.to_owned()));
        }
        return integers::run(args, &files, (&program, &seen, kind), out);
    }
    if args.quantised != Quantised::default() {
        let kind = files.input.array.kind;
        let message = "zero points, scales and their rounding are those of integers";
        return Err(Failure::file(&args.input[0], format!("the input holds {kind}: {message}")));
    }
    let kind = args.output_type.or(kind).unwrap_or(files.input.array.kind);
    let described = (&program, &seen, kind);
    conv_ir::with_element!(program.dtype(), T => convolve::<T>(args, &files, described, out))
}

fn convolve<T: Scalar>(
    args: &Args,
    files: &Files,
    (program, seen, kind): (&Program, &Seen, Kind),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if kind.widened().is_none() {
        let input = files.input.array.kind;
        return Err(Failure::usage(format!(
            "--output-type {kind}: the input holds {input}, whose results are f16, bf16, f32 or f64"
        )));
    }
    let weights = constants::<T>(args, files, program)?;
    let residual = residual(files, program, &seen.output_shape(program))?;
    let inputs = files.numbers::<T>(program)?;
    let inputs: Vec<&[T]> = inputs.iter().map(Vec::as_slice).collect();
    let arrays = (&inputs[..], residual.as_deref());
    let (all, said) = compute(args, args.exactness.accuracy, program, weights, arrays)?;
    let mut written = Vec::new();
    for ((path, &tensor), numbers) in args.output.iter().zip(program.outputs()).zip(&all) {
        let (place, shape) = (Place::of(path), seen.shape_of(program, tensor));
        let bytes = match T::KIND == kind {
            true => place.encode(&shape, numbers)?,
            false => {
                let numbers: Vec<f64> = numbers.iter().map(|x| x.exact()).collect();
                place.bytes(&Array::of(kind, shape.clone(), &numbers).map_err(Failure::Usage)?)?
            }
        };
        written.push((place, bytes, format!("{kind} {shape:?}")));
    }
    report(&written, &said, out)
}

/// Who computed, and how long it took.
struct Said {
    route: &'static str,
    compile: Duration,
    taken: Duration,
    split: Option<String>,
}

/// The outputs of a program for its inputs and what is added.
fn compute<T: Scalar>(
    args: &Args,
    accuracy: Accuracy,
    program: &Program,
    weights: Vec<Weights<T>>,
    (inputs, residual): (&[&[T]], Option<&[T]>),
) -> Result<(Vec<Vec<T>>, Said), Failure> {
    let how = How {
        route: args.route,
        threads: args.threads,
        accuracy,
        schedule: args.schedule.clone(),
        ..How::default()
    };
    // Only numbers that are known when code is made can be found to be of low rank.
    let ready = match accuracy.admits() {
        Some(_) => Ready::new(&route::compiled_in(program, &weights)?, &how, weights)?,
        None => Ready::new(program, &how, weights)?,
    };
    let lens = program.outputs().iter().map(|&tensor| program.len_of(tensor));
    let mut results = lens.map(route::zeros).collect::<Result<Vec<Vec<T>>, _>>()?;
    let start = Instant::now();
    let outputs: Vec<&mut [T]> = results.iter_mut().map(Vec::as_mut_slice).collect();
    ready.run_all(inputs, residual, outputs)?;
    let (taken, split) = (start.elapsed(), ready.about.chosen.split);
    Ok((results, Said { route: ready.about.route, compile: ready.about.compile, taken, split }))
}

/// Writes the files and says so: where each goes, its bytes, and what it is.
fn report(
    written: &[(Place, Vec<u8>, String)],
    said: &Said,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let files: Vec<(&Path, &[u8])> =
        written.iter().map(|(place, bytes, _)| (place.path.as_path(), &bytes[..])).collect();
    output::write(&files)?;
    let route = said.route;
    let (compile, run) = (milliseconds(said.compile), milliseconds(said.taken));
    let split = said.split.as_ref().map_or(String::new(), |split| format!("; {split}"));
    for (place, _, what) in written {
        let path = place.path.display();
        writeln!(out, "{path}: {what}, route {route}, compiled in {compile}, ran in {run}{split}")?;
    }
    Ok(())
}

/// Weight and bias of each step.
fn constants<T: Scalar>(
    args: &Args,
    files: &Files,
    program: &Program,
) -> Result<Vec<Weights<T>>, Failure> {
    let biased = program.convs().filter(|conv| conv.spec().bias).count();
    counted("weight", files.weights.len(), weighted(program), "step that has one")?;
    counted("bias", files.biases.len(), biased, "step with + bias")?;
    let (mut weights, mut biases) = (files.weights.iter(), files.biases.iter());
    let step = |conv: &Conv| -> Result<Weights<T>, Failure> {
        let bias = |biases: &mut std::slice::Iter<'_, Named>| -> Result<_, Failure> {
            let bias = if conv.spec().bias { biases.next() } else { None };
            let rule = format!("one number for each of {} output channels", conv.out_channels());
            if let Some(bias) = bias {
                bias.check_shape(&conv.bias_shape(), &rule)?;
            }
            Ok(bias.map(|bias| bias.array.values::<T>()))
        };
        if let Some(known) = conv.known() {
            let weight = known.weight.iter().map(|&w| T::from_f64(w)).collect();
            return Ok(Weights { weight, bias: bias(&mut biases)? });
        }
        let Some(file) = weights.next() else { return Ok(Weights::default()) };
        let (needed, channels) = (conv.weight_shape(), usize::from(!conv.spec().transposed));
        // The kernel may come from this very weight: of another order only the channels can tell.
        let fits = |shape: &[usize]| match args.texts.is_empty() {
            true => shape[channels] == needed[channels],
            false => shape == needed,
        };
        let weight = file.weight(conv, fits)?;
        Ok(Weights { weight, bias: bias(&mut biases)? })
    };
    program.convs().map(step).collect()
}
