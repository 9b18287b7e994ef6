//! `convc completions` and `convc man`: what a shell and its user want to know of the command line.

use std::io::Write;

use clap_complete::Shell;
use clap_mangen::Man;

use crate::failure::Failure;

const COMPLETIONS: &str = "\
Examples:
  convc completions bash > ~/.local/share/bash-completion/completions/convc
  convc completions zsh > ~/.zfunc/_convc
  convc completions fish > ~/.config/fish/completions/convc.fish";

const PAGES: &str = "\
Examples:
  convc man > ~/.local/share/man/man1/convc.1
  convc man explain | man -l -";

/// Print a script that completes commands and options in a shell
#[derive(clap::Args)]
#[command(after_help = COMPLETIONS)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Print the manual's page
#[derive(clap::Args)]
#[command(after_help = PAGES)]
pub struct Page {
    /// Of this command [default: of convc as a whole]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// The command, of the whole command line.
pub fn completions(
    args: &Completions,
    mut all: clap::Command,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut all, "convc", &mut script);
    Ok(out.write_all(&script)?)
}

/// The command, of the whole command line.
pub fn man(args: &Page, mut all: clap::Command, out: &mut dyn Write) -> Result<(), Failure> {
    all.build();
    let page = match &args.command {
        None => all,
        Some(name) => {
            let found = all.find_subcommand(name).cloned();
            let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
            let known = names.join(", ");
            found.ok_or_else(|| {
                Failure::usage(format!("there is no command '{name}'; there are {known}"))
            })?
        }
    };
    Ok(Man::new(page).render(out)?)
}
