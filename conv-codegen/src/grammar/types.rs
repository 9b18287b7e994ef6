//! Element types of a signature: of each array its own, as a description has them.
//!
//! In: the arrays, a known weight as well. Out: the types of the convolution, or why those that are
//! written do not go together, on the type that does not.

use conv_ir::conv::Reduction;
use conv_ir::{DType, Types};
use proc_macro2::Ident;

use super::Errors;
use super::parse::{Described, Tensor};
use super::pools;

/// The types of all arrays, where the weight may be `known`; f32 where one is in doubt.
pub(super) fn types(item: &Described<'_>, known: Option<&Tensor>, errors: &mut Errors) -> Types {
    let before = errors.count();
    let of = |name: &str| item.parameters.iter().find(|tensor| tensor.name == name);
    let given = |tensor: Option<&Tensor>| DType::named(&tensor?.dtype.to_string());
    let input = given(of("input")).unwrap_or(DType::F32);
    let weight = given(of("weight").or(known));
    let mut types = match (weight, pools::reduction(item.entries)) {
        (Some(weight), _) => Types::of(input, weight),
        // The greatest of bytes is a byte.
        (None, Reduction::Max | Reduction::Min) => Types::from(input).giving(input),
        (None, _) => Types::from(input),
    };
    types = given(of("bias")).map_or(types, |bias| types.adding(bias));
    // Inside a chain what is requantised is stored as its input is.
    let is_requantised = item.entries.iter().any(|entry| entry.key == "requantise");
    types = match given(of("residual").or(item.output)) {
        Some(output) => types.giving(output),
        None if is_requantised && item.output.is_none() => types.giving(input),
        None => types,
    };
    for tensor in item.parameters.iter().chain(item.output) {
        named(&tensor.dtype, errors);
        agrees(tensor, input, errors);
    }
    if let (Some(residual), Some(output)) = (of("residual"), item.output)
        && residual.dtype != output.dtype
    {
        let message =
            format!("the residual is {}, but the output is {}", residual.dtype, output.dtype);
        errors.at(&residual.dtype, format!("{message}: it is of the output's type"));
    }
    if errors.count() > before { DType::F32.into() } else { types }
}

/// The type of that name.
fn named(word: &Ident, errors: &mut Errors) {
    if DType::named(&word.to_string()).is_none() {
        let names = DType::names();
        errors.at(word, format!("element type `{word}`: expected {names}"));
    }
}

/// Whether a tensor is computed in what the input is.
fn agrees(tensor: &Tensor, input: DType, errors: &mut Errors) {
    let Some(dtype) = DType::named(&tensor.dtype.to_string()) else { return };
    let of = |dtype: DType| dtype.format().computed;
    if of(dtype) == of(input) {
        return;
    }
    let message = match (dtype, input) {
        (DType::F32 | DType::F64, DType::F32 | DType::F64) => "all must agree",
        _ => "f32, f16 and bf16 go together, f64 with f64, integers with integers",
    };
    errors
        .at(&tensor.dtype, format!("{} is {dtype}, but input is {input}: {message}", tensor.name));
}

/// The type that known numbers beside an input are of: that of the sums.
pub(super) fn sums(input: &Tensor) -> DType {
    let named = DType::named(&input.dtype.to_string());
    named.map_or(DType::F32, |dtype| dtype.format().computed)
}
