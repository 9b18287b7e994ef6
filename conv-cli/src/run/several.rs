//! What a program takes beside its first input: other inputs, their sizes, shapes and numbers, and
//! what the caller adds.

use std::path::Path;

use conv_ir::{Layout, Program, Size};

use super::{Files, Named};
use crate::failure::Failure;
use crate::route::Scalar;

impl Files<'_> {
    /// The numbers of all inputs, the first one first.
    pub fn numbers<T: Scalar>(&self, program: &Program) -> Result<Vec<Vec<T>>, Failure> {
        let mut all = vec![self.input.array.values::<T>()];
        for (file, &tensor) in self.others.iter().zip(program.inputs().iter().skip(1)) {
            file.check_shape(&program.shape(tensor), &format!("it is tensor {tensor}"))?;
            all.push(file.array.values::<T>());
        }
        Ok(all)
    }
}

/// The sizes that other inputs have names for, each with the file that has it.
pub fn sizes<'a>(others: &[Named<'a>], program: &Program) -> Vec<(String, usize, &'a Path)> {
    let mut found = Vec::new();
    for (file, &tensor) in others.iter().zip(program.inputs().iter().skip(1)) {
        let spec = program.steps()[tensor - 1].conv.spec();
        let mut shape = file.array.shape.clone();
        if shape.len() != spec.input.len() + 2 {
            continue; // which is said when shapes are compared
        }
        let channels = if spec.layout == Layout::ChannelsFirst { 1 } else { shape.len() - 1 };
        shape.remove(channels);
        for (size, value) in std::iter::once(&spec.batch).chain(&spec.input).zip(shape) {
            if let Size::Free(name) = size {
                found.push((name.clone(), value, file.path));
            }
        }
    }
    found
}

/// What the only step adds, if it adds something of the caller's.
pub fn residual<T: Scalar>(
    files: &Files,
    program: &Program,
    shape: &[usize],
) -> Result<Option<Vec<T>>, Failure> {
    let is_added = program.single().is_some_and(|conv| conv.spec().residual);
    match &files.residual {
        Some(_) if !is_added => Err(Failure::usage(
            "--residual is given, but the description adds none: say '+ residual' in it",
        )),
        None if is_added => {
            Err(Failure::usage("the description adds a residual: give it as --residual R.npy"))
        }
        Some(file) => {
            let of_channels = program.single().filter(|conv| conv.scales());
            match of_channels.and_then(conv_ir::Conv::residual_shape) {
                Some(needed) => file.check_shape(&needed, "a number for each channel")?,
                None => file.check_shape(shape, "the shape of the output")?,
            }
            Ok(Some(file.array.values::<T>()))
        }
        None => Ok(None),
    }
}
