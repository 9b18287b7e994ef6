//! The model's choice, as far as machine code can follow it.
//!
//! The model may ask for masked loads, which the assembler alone makes, and the assembler may
//! refuse a leaf. Then the model is asked again, without masks: whatever the assembler refuses then
//! is Cranelift's. Compiling and explaining both go through here, so that what is explained is what
//! runs.

use conv_ir::lower::Layouts;
use conv_ir::schedule::Choice;
use conv_ir::{Conv, Nest, Schedule, Target, passes};

use crate::Error;
use crate::x86::{self, Level};

/// The schedule that [`CompiledConv`](crate::CompiledConv) takes for this target where none is
/// given, with its reasons. This CPU need not have the target.
///
/// # Errors
/// [`Error::Conv`] where the passes refuse it, [`Error::Unsupported`] where machine code cannot be
/// made.
pub fn choose(conv: &Conv, target: &Target) -> Result<Choice, Error> {
    with_choice(conv, Layouts::of(conv), target, |choice| {
        let nest = passes::compile(conv, &choice.schedule, target, &mut |_, _| {})?;
        masks_are_assembled(&nest, target).map(|()| choice)
    })
}

/// What `make` makes of the choice, or of the one without masks where it cannot.
pub(crate) fn with_choice<R>(
    conv: &Conv,
    layouts: Layouts,
    target: &Target,
    make: impl Fn(Choice) -> Result<R, Error>,
) -> Result<R, Error> {
    match make(Schedule::choose_as(conv, layouts, target)) {
        Err(Error::Unsupported(why)) if target.masks => {
            let plain = Target { masks: false, ..*target };
            let mut choice = Schedule::choose_as(conv, layouts, &plain);
            choice.reasons.push(format!("no masks: {why}"));
            make(choice)
        }
        made => made,
    }
}

pub(crate) fn masks_are_assembled(nest: &Nest, target: &Target) -> Result<(), Error> {
    let Some(level) = Level::of(target) else {
        return Ok(());
    };
    for leaf in nest.leaves.iter().filter(|leaf| leaf.has_masked_loads()) {
        x86::assemble(nest, leaf, level).map_err(|why| {
            Error::Unsupported(format!("leaf {} has masked loads: {why}", leaf.name))
        })?;
    }
    Ok(())
}
