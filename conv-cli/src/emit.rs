//! `convc emit`: a convolution as Rust, as the final loop nest, as Cranelift IR, or as machine code in text.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use conv_ir::{Conv, Schedule, Target, passes};
use conv_jit::{CompiledConv, Options};

use crate::describe::Description;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  convc emit --size 8x8 --kernel 3x3 --padding 1 --as rust
  convc emit g32ic64ih56oc64oh56kh3ph1 --as asm
  convc emit --size 64x64 --kernel 3 --as nest --schedule 'lanes ow:4 tile ow:16'";

/// Print a convolution as code
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to print
    #[arg(long = "as", value_name = "FORM", value_enum)]
    form: Form,
    /// How to compute it, as explain prints it, instead of the model's choice
    #[arg(long, value_name = "TEXT")]
    schedule: Option<Schedule>,
    /// The emitted Rust function's name
    #[arg(long, value_name = "NAME", default_value = "convolution")]
    name: String,
    /// The file to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    description: Description,
}

/// What to print.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Rust source: one function without dependencies, as conv! expands to
    Rust,
    /// The loop nest after all passes
    Nest,
    /// Cranelift's intermediate representation
    Clif,
    /// Machine code for this CPU, disassembled
    Asm,
}

/// The command.
pub fn emit(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let text = text(args, &args.description.conv()?)?;
    match &args.output {
        Some(path) => output::write(&[(path, text.as_bytes())]),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

fn text(args: &Args, conv: &Conv) -> Result<String, Failure> {
    let schedule = args.schedule.as_ref();
    match args.form {
        Form::Rust => Ok(conv_codegen::rust_source(conv, &args.name, schedule)?),
        Form::Nest => nest(conv, schedule),
        Form::Clif => Ok(compiled(conv, schedule)?.clif()?),
        Form::Asm => Ok(compiled(conv, schedule)?.disassembly()?),
    }
}

fn nest(conv: &Conv, schedule: Option<&Schedule>) -> Result<String, Failure> {
    let schedule = schedule
        .cloned()
        .unwrap_or_else(|| Schedule::choose(conv, &Target::CRANELIFT).schedule);
    Ok(passes::compile(conv, &schedule, &Target::CRANELIFT, &mut |_, _| {})?.to_string())
}

fn compiled(conv: &Conv, schedule: Option<&Schedule>) -> Result<CompiledConv, Failure> {
    Ok(CompiledConv::new(
        conv,
        Options {
            schedule: schedule.cloned(),
            ..Options::default()
        },
    )?)
}
