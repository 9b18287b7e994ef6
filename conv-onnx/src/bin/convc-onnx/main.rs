//! `convc-onnx`: explain, run and time ONNX models from the command line.
//!
//! In: arguments. Out: one result on stdout or in files, errors on stderr, exit status 0 or 2.

mod args;
mod bench;
mod explain;
mod failure;
mod inputs;
mod output;
mod run;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match dispatch(Cli::parse(), &mut out).and_then(|()| out.flush().map_err(Failure::Stdout)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, `head` for instance, has seen enough.
        Err(Failure::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // Nobody is left to tell where stderr is closed.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(cli: Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match cli.command {
        Command::Explain(args) => explain::explain(&args, out),
        Command::Run(args) => run::run(&args, out),
        Command::Bench(args) => bench::bench(&args, out),
    }
}
