//! Whether a call brings what its program takes.

use conv_ir::{Conv, Program};

use crate::Error;
use crate::weights::check_len;

/// So many inputs were given as the program has.
pub(crate) fn check_inputs(program: &Program, given: usize) -> Result<(), Error> {
    counted("inputs: the program takes", program.inputs(), given)
}

/// So many outputs were given as the program has.
pub(crate) fn check_outputs(program: &Program, given: usize) -> Result<(), Error> {
    counted("outputs: the program gives", program.outputs(), given)
}

fn counted(what: &str, tensors: &[usize], given: usize) -> Result<(), Error> {
    let needed = tensors.len();
    if given == needed {
        return Ok(());
    }
    let tensors = tensors.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    Err(Error::Argument(format!("{what} {needed} ({tensors}), but the call brings {given}")))
}

/// A residual of so many elements was given where the program adds one, and nowhere else.
pub(crate) fn check_residual(program: &Program, given: Option<usize>) -> Result<(), Error> {
    match (outside(program), given) {
        (Some(conv), Some(len)) => {
            check_len("residual", len, conv.residual_shape().unwrap_or_default())
        }
        (None, None) => Ok(()),
        (Some(_), None) => {
            Err(Error::Argument("the convolution adds a residual, but none was given".to_owned()))
        }
        (None, Some(_)) => {
            Err(Error::Argument("a residual was given, but the convolution adds none".to_owned()))
        }
    }
}

/// The step that adds a residual of the caller's.
fn outside(program: &Program) -> Option<&Conv> {
    let mut steps = program.steps().iter();
    let step = steps.find(|step| step.conv.spec().residual && step.residual.is_none())?;
    Some(&step.conv)
}
