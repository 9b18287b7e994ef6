//! A DESCRIPTION, with the sizes of the input, and computed in what files hold.

use conv_files::Kind;
use conv_ir::{Conv, ConvSpec, DType, Program, Types};

use super::seen::Seen;
use super::{Files, Named};
use crate::describe;
use crate::failure::Failure;
use crate::values;

impl Files<'_> {
    /// The program that a text describes, with the sizes of the input, and the type of its output
    /// where the text says one of its own.
    pub fn described(&self, texts: &[String]) -> Result<(Seen, Program, Option<Kind>), Failure> {
        let (program, kind) = match describe::joined(texts)? {
            program if is_of_stored_integers(&program) => {
                self.check_kinds(&program)?;
                let output = program.type_of(program.steps().len());
                (program, Some(values::kind(&output.to_string()).map_err(Failure::Usage)?))
            }
            program if program.convs().all(|conv| conv.types().single().is_some()) => {
                (program, None)
            }
            program => {
                let (conv, kind) = self.narrow(&program)?;
                (conv.into(), Some(kind))
            }
        };
        let (dtype, found) = (program.dtype(), self.input.dtype().unwrap_or(program.dtype()));
        if dtype != found {
            let message = format!(
                "the input holds {found}, but the description is of {dtype}: say {found} in it"
            );
            return Err(Failure::file(self.input.path, message));
        }
        let seen = Seen::of(&self.input, &program)?;
        let program = seen.sized(&self.input, &self.others, &program)?;
        Ok((seen, program, kind))
    }

    /// Whether all files hold what is described.
    fn check_kinds(&self, program: &Program) -> Result<(), Failure> {
        self.input.check_kind(program.type_of(0))?;
        let with_weight =
            program.convs().filter(|conv| conv.has_weight() && conv.known().is_none());
        let with_bias = program.convs().filter(|conv| conv.spec().bias);
        for (file, conv) in self.weights.iter().zip(with_weight) {
            file.check_kind(conv.types().weight)?;
        }
        self.biases
            .iter()
            .zip(with_bias)
            .try_for_each(|(file, conv)| file.check_kind(conv.types().bias))
    }

    /// The only step of a program whose arrays are of f16 or bf16, in the type of its sums, and the
    /// type of its output: widened first and rounded last, its bits are the same.
    fn narrow(&self, program: &Program) -> Result<(Conv, Kind), Failure> {
        let Some(conv) = program.single() else {
            return Err(Failure::usage(
                "several steps round what is between them to f16 or bf16: run them one by one, or \
                 say f32 for all",
            ));
        };
        let Types { input, weight, bias, output, accumulator } = conv.types();
        let arrays = [(&self.weights, weight), (&self.biases, bias)];
        let others = arrays.iter().flat_map(|(files, dtype)| files.iter().map(|f| (f, *dtype)));
        let all = [(&self.input, input)].into_iter().chain(others);
        all.chain(self.residual.iter().map(|file| (file, output)))
            .try_for_each(|(file, dtype)| file.check_kind(dtype))?;
        let made = Conv::new(ConvSpec { types: accumulator.into(), ..conv.spec().clone() })?;
        let made = match conv.known().filter(|_| conv.has_weight()) {
            Some(known) => made.with_weights(&known.weight, known.bias.as_deref())?,
            None => made,
        };
        Ok((made, values::kind(&output.to_string()).map_err(Failure::Usage)?))
    }
}

/// Whether steps hand integers on as they are stored, or make them of sums.
pub fn is_of_stored_integers(program: &Program) -> bool {
    let is_requantised = program.convs().any(|conv| conv.requantisation().is_some());
    program.dtype().is_integer() && (is_requantised || program.single().is_none())
}

impl Named<'_> {
    /// Whether the file holds what is described.
    fn check_kind(&self, described: DType) -> Result<(), Failure> {
        if self.array.kind.name() == described.format().name {
            return Ok(());
        }
        let message = format!(
            "the {} holds {}, but is described as {described}: say what the files hold, or leave \
             the types out",
            self.role, self.array.kind
        );
        Err(Failure::file(self.path, message))
    }
}
