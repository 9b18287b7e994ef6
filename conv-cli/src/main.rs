//! `convc`: explain, emit, run, bench and filter convolutions from the command line.
//!
//! In: arguments. Out: one result on stdout or in a file, errors on stderr, exit status 0 or 2. A
//! module per command; every number comes from the libraries below. A command gathers everything in
//! memory and writes its file last, so that an error leaves nothing behind.

mod bench;
mod cli;
mod describe;
mod emit;
mod explain;
mod failure;
mod filter;
mod gallery;
mod input;
mod networks;
mod output;
mod picture;
mod route;
mod run;
mod shell;
mod table;
mod values;
mod weights;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
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
            report(&failure);
            ExitCode::from(2)
        }
    }
}

fn dispatch(cli: Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match cli.command {
        Command::Filter(args) => filter::filter(&args, out),
        Command::Run(args) => run::run(&args, out),
        Command::Explain(args) => explain::explain(&args, out),
        Command::Networks(args) => networks::networks(&args, out),
        Command::Gallery(args) => gallery::gallery(&args),
        Command::Emit(args) => emit::emit(&args, out),
        Command::Bench(args) => bench::bench(&args, out),
        Command::Tune(args) => bench::tune::tune(&args, out),
        Command::Completions(args) => shell::completions(&args, Cli::command(), out),
        Command::Man(args) => shell::man(&args, Cli::command(), out),
    }
}

fn report(failure: &Failure) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let label = if colour { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
    // Nobody is left to tell where stderr is closed.
    let _ = writeln!(io::stderr(), "{label} {failure}");
}
