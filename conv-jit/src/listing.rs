//! Code as text, for a person to read: nothing here is run, so it works for machines that this one
//! is not.
//!
//! Two questions. *What would run for these options?* ([`clif_for`], [`disassembly_for`]): leaves
//! assembled where the target has wide vectors, the rest by Cranelift. *What does Cranelift make of
//! this nest on that machine?* ([`clif`], [`disassembly`]): everything by Cranelift, for any
//! [`Backend`].

use conv_ir::{Isa, Nest};

use crate::Error;
use crate::backend::Backend;
use crate::code;
use crate::emit::{self, Body, Named};
use crate::options::Options;

/// Cranelift's IR of every function of a nest, for any machine.
///
/// # Errors
/// [`Error::Unsupported`] where this route cannot.
pub fn clif(nest: &Nest, backend: &Backend) -> Result<String, Error> {
    ir(nest, backend, Isa::Portable)
}

/// The machine code of every function of a nest as text, all of it by Cranelift, for any machine.
///
/// # Errors
/// [`Error::Unsupported`] where this route cannot.
pub fn disassembly(nest: &Nest, backend: &Backend) -> Result<String, Error> {
    code::disassemble(emit::emit(nest, backend, Isa::Portable, Vec::new())?, backend)
}

/// Cranelift's IR of what Cranelift compiles under these options, and the machine code of the
/// leaves that we assemble. This CPU need not have their target.
///
/// # Errors
/// [`Error::Unsupported`] where this route cannot, or where Cranelift's backend for the target is
/// not compiled in.
pub fn clif_for(nest: &Nest, options: &Options) -> Result<String, Error> {
    ir(nest, &options.backend()?, options.made_for().isa)
}

/// The machine code of every function as text, assembled leaves with their bill. This CPU need not
/// have the options' target.
///
/// # Errors
/// As [`clif_for`].
pub fn disassembly_for(nest: &Nest, options: &Options) -> Result<String, Error> {
    let (backend, isa) = (options.backend()?, options.made_for().isa);
    code::disassemble(emit::emit(nest, &backend, isa, Vec::new())?, &backend)
}

fn ir(nest: &Nest, backend: &Backend, isa: Isa) -> Result<String, Error> {
    let text = |named: &Named| match &named.body {
        Body::Ir(function, _) | Body::Driver(function) => {
            format!("; {}\n{}\n", named.name, function.display())
        }
        Body::Assembled(machine) => format!("{}\n", machine.text()),
    };
    Ok(emit::emit(nest, backend, isa, Vec::new())?.functions.iter().map(text).collect())
}
