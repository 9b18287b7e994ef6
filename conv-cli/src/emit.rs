//! `convc emit`: a convolution as Rust, as the final loop nest, as Cranelift IR, or as machine code
//! in text.

use std::io::Write;
use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};
use conv_codegen::{Isa, Library};
use conv_ir::{Nest, Program, Schedule, Target};
use conv_jit::{Lowered, LoweredGroup, Options};

use crate::bench::tune::note;
use crate::describe::{Description, GRAMMAR};
use crate::explain::stream::axis_named;
use crate::failure::Failure;
use crate::values::Exactness;
use crate::{output, values, weights};

const EXAMPLES: &str = "\
Examples:
  convc emit --size 8x8 --kernel 3x3 --padding 1 --as rust
  convc emit 'conv1d ic4 oc8 in 64 kernel 3' --as rust --std false --target avx2
  convc emit g32ic64ih56oc64oh56kh3ph1 --as asm
  convc emit g32ic64ih56oc64oh56kh3ph1 --as asm --target avx2
  convc emit 'conv1d in T kernel 64 padding causal' --as rust-type --name Fir --stream w
  convc emit --size 64x64 --kernel 3 --as nest --schedule 'lanes ow:4 tile ow:16'
  convc emit 'conv2d in 1080x1920 kernel 15x1 pad 7,0; conv2d kernel 1x15 pad 0,7' --as rust --name blur";

/// Print a convolution as code
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{GRAMMAR}"))]
pub struct Args {
    /// What to print
    #[arg(long = "as", value_name = "FORM", value_enum)]
    form: Form,
    /// How to compute it, as explain prints it, instead of the model's choice
    #[arg(long, value_name = "TEXT")]
    schedule: Option<Schedule>,
    /// Of Rust source, what convc tune measured, in the place of the model's choices
    #[arg(long, value_name = "FILE.json", conflicts_with = "schedule")]
    tuning: Option<PathBuf>,
    /// The machine to make code for, which need not be this one [default: the widest that this CPU
    /// runs; of Rust source, every machine, chosen when it runs]
    #[arg(long, value_name = "TARGET", value_parser = values::target())]
    target: Option<Target>,
    /// Whether Rust source may use std: without, core alone, and the CPU is the one that it is
    /// compiled for
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set)]
    std: bool,
    #[command(flatten)]
    exactness: Exactness,
    /// The emitted Rust item's name [default: convolution, or Convolution for a type]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Of a Rust type, the axis along which it takes blocks, whose size is a name: w, h or d
    #[arg(long, value_name = "AXIS")]
    stream: Option<String>,
    /// The file to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Known weights, compiled in, for each step: numbers in brackets, FILE.npy, or
    /// FILE.safetensors#TENSOR
    #[arg(long, value_name = "WEIGHT")]
    weight: Vec<String>,
    #[command(flatten)]
    description: Description,
}

/// What to print.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Rust source: one function without dependencies, as conv! expands to; several steps
    /// are one
    Rust,
    /// Rust source: a type that packs its weights once, and is as fast as machine code made at run
    /// time
    RustType,
    /// The loop nest after all passes
    Nest,
    /// Cranelift's intermediate representation, and the machine code of micro-kernels that
    /// Cranelift does not make
    Clif,
    /// Machine code, disassembled
    Asm,
}

/// The command.
pub fn emit(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(path) = &args.output {
        output::check(&[path], &weights::files(&args.weight))?;
    }
    let program = weights::known(&args.description.program()?, &args.weight)?;
    if args.stream.is_some() && !matches!(args.form, Form::RustType) {
        return Err(Failure::usage("--stream makes a Rust type: add --as rust-type"));
    }
    let text = text(args, &program)?;
    match &args.output {
        Some(path) => output::write(&[(path, text.as_bytes())]),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

fn text(args: &Args, program: &Program) -> Result<String, Failure> {
    let print: fn(&Nest, &Options) -> Result<String, conv_jit::Error> = match args.form {
        Form::Rust | Form::RustType => return rust(args, program),
        Form::Nest => |nest, _| Ok(nest.to_string()),
        Form::Clif => conv_jit::clif_for,
        Form::Asm => conv_jit::disassembly_for,
    };
    let target = args.target.unwrap_or_else(conv_jit::host_target);
    if args.tuning.is_some() {
        return Err(Failure::usage("--tuning is about Rust source: add --as rust-type"));
    }
    if !args.std {
        return Err(Failure::usage("--std is about Rust source: machine code needs none"));
    }
    let (schedule, accuracy) = (args.schedule.clone(), args.exactness.accuracy);
    let options = Options { schedule, target, accuracy, ..Options::default() };
    let mut text = String::new();
    for LoweredGroup { group, nest, .. } in Lowered::new(program, &options)?.groups {
        if program.steps().len() > 1 {
            text += &format!("; steps {} to {}\n", group.steps.start + 1, group.steps.end);
        }
        text += &print(&nest, &options)?;
    }
    Ok(text)
}

fn rust(args: &Args, program: &Program) -> Result<String, Failure> {
    let rank = program.steps()[0].conv.rank();
    let stream = args.stream.as_deref().map(|axis| axis_named(axis, rank)).transpose()?;
    let stream = stream.map(conv_codegen::Along::new);
    let (tuning, notes) = match &args.tuning {
        Some(path) => conv_codegen::read_tuning(path).map_err(Failure::Usage)?,
        None => Default::default(),
    };
    args.tuning.iter().for_each(|path| note(path, &notes));
    let options = conv_codegen::Options { stream, tuning, ..rust_options(args) };
    Ok(conv_codegen::rust_source(program, name(args), &options)?)
}

/// What the Rust item is called: a type as types are.
fn name(args: &Args) -> &str {
    let default = match args.form {
        Form::RustType => "Convolution",
        _ => "convolution",
    };
    args.name.as_deref().unwrap_or(default)
}

/// How the Rust source is made. A portable version is always there.
fn rust_options(args: &Args) -> conv_codegen::Options {
    let isas = match args.target.map(|target| target.isa) {
        None => vec![Isa::Avx512, Isa::Avx2],
        Some(conv_ir::Isa::Avx512 | conv_ir::Isa::Avx512Vnni | conv_ir::Isa::Avx512Amx) => {
            vec![Isa::Avx512]
        }
        Some(conv_ir::Isa::Avx2 | conv_ir::Isa::AvxVnni) => vec![Isa::Avx2],
        Some(conv_ir::Isa::Portable) => Vec::new(),
    };
    conv_codegen::Options {
        form: match args.form {
            Form::RustType => conv_codegen::Form::Type,
            _ => conv_codegen::Form::Function,
        },
        runtime: if args.std { Library::Std } else { Library::Core },
        isas,
        schedule: args.schedule.clone(),
        accuracy: args.exactness.accuracy,
        ..conv_codegen::Options::default()
    }
}
