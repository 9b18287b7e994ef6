//! How source is made, for whoever asks for it.

use std::path::Path;

use conv_files::tuning;
use conv_ir::program::Tuning;
use conv_ir::program::plan::Plan;
use conv_ir::separate::Accuracy;
use conv_ir::{Error, Isa, Schedule};
use proc_macro2::TokenStream;

use crate::emit::{Constant, Head, Library, Version, emit, emit_type};

/// What is made of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// A function of input, weight, bias and output.
    #[default]
    Function,
    /// A type that packs weight and bias once.
    Type,
}

/// The axis of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Along {
    /// Counted from the outermost.
    pub axis: usize,
    /// Lengths that code is made for; others are put together of them.
    pub pieces: Vec<usize>,
}

/// What was measured, by the machine that versions are for.
pub type Tunings = Vec<(Isa, Tuning)>;

/// How it is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Function or type.
    pub form: Form,
    /// With `std` or without.
    pub runtime: Library,
    /// Versions beside the portable one.
    pub isas: Vec<Isa>,
    /// The schedule of all versions whose vectors are wide enough, instead of the model's choice
    /// for each.
    pub schedule: Option<Schedule>,
    /// What was measured, by the machine that versions are for, instead of the model's choices.
    pub tuning: Tunings,
    /// Of several steps, which are fused, instead of the model's choice.
    pub plan: Option<Plan>,
    /// A stream along an axis whose extent is a name; a type.
    pub stream: Option<Along>,
    /// Whether known weights may be computed in another order of sums (a given schedule is for the
    /// exact order), or multiply-adds round twice.
    pub accuracy: Accuracy,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            form: Form::default(),
            runtime: Library::default(),
            isas: vec![Isa::Avx512, Isa::Avx2],
            schedule: None,
            tuning: Vec::new(),
            plan: None,
            stream: None,
            accuracy: Accuracy::Exact,
        }
    }
}

/// Targets of a tuning file, and the versions that they are for.
const TUNED: [(&str, Isa); 3] =
    [("avx512vnni", Isa::Avx512), ("avx512", Isa::Avx512), ("avx2", Isa::Avx2)];

/// What a file of `convc tune` says of the machines that versions are for, for
/// [`Options::tuning`], and in words what is passed over.
///
/// # Errors
/// Where the file, which is named, cannot be read or is no such file.
pub fn read_tuning(path: &Path) -> Result<(Tunings, Vec<String>), String> {
    let (tuning, notes) = tuning::read_for(path, &TUNED.map(|(name, _)| name))?;
    Ok((TUNED.map(|(_, isa)| isa).into_iter().zip(tuning).collect(), notes))
}

impl Form {
    /// The tokens of an item.
    pub(crate) fn tokens(
        self,
        versions: &[Version],
        head: &Head,
        constants: &[Constant],
    ) -> Result<TokenStream, Error> {
        match self {
            Form::Function => emit(versions, head),
            Form::Type => emit_type(versions, head, constants),
        }
    }
}
