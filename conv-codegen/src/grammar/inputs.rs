//! The inputs of a chain: all that its signature has.
//!
//! In: the signature's tensors. Out: the same, checked, and for several inputs the steps that
//! declare them.

use conv_ir::conv::Given;
use conv_ir::program::Step;
use conv_ir::{DType, Layout, Size, Types};

use super::Errors;
use super::parse::{Dim, Item, Tensor};

/// The inputs, which are all that a chain's signature has: `input`, and others by names of their
/// own.
pub(super) fn signature<'a>(item: &'a Item, errors: &mut Errors) -> Vec<&'a Tensor> {
    let mut inputs: Vec<&Tensor> = Vec::new();
    for tensor in &item.parameters {
        let name = &tensor.name;
        if ["weight", "bias", "residual"].iter().any(|word| name == word) {
            let message = "the signature of a chain has inputs alone: weights stand in the steps, as in `expand: { weight: [f32; 96, 16, 1, 1] }`";
            errors.at(name, message.to_owned());
        } else if inputs.iter().any(|known| known.name == *name) {
            errors.at(name, format!("there is an input `{name}` already"));
        } else if inputs.is_empty() && name != "input" {
            errors.at(name, "the first input of a chain is called `input`".to_owned());
        } else {
            inputs.push(tensor);
        }
    }
    if item.parameters.is_empty() {
        errors.at(&item.name, "parameter `input` is missing".to_owned());
    }
    // What else must be a number is a stream's to say.
    let streams = item.entries.iter().any(|entry| entry.key == "stream");
    for size in inputs.iter().filter(|_| !streams).flat_map(|input| &input.sizes) {
        if let Dim::Name(name) = size {
            errors.at(
                name,
                format!(
                    "{name} must be a number: sizes of a chain are known when code is made, but for the one along which it has `stream: w`"
                ),
            );
        }
    }
    inputs
}

/// The step that declares an input.
pub(super) fn declared(input: &Tensor, layout: Layout) -> Result<Step, String> {
    let [batch, sizes @ ..] = &input.sizes[..] else {
        return Err("it has no sizes, but needs at least 3".to_owned());
    };
    let sizes: Vec<usize> = sizes.iter().filter_map(Dim::number).collect();
    let (channels, extents) = match (layout, &sizes[..]) {
        (Layout::ChannelsFirst, [channels, extents @ ..])
        | (Layout::ChannelsLast, [extents @ .., channels])
            if !extents.is_empty() =>
        {
            (*channels, extents.iter().map(|&n| n.into()).collect())
        }
        _ => {
            let rule = "but needs at least 3: batch, channels and one spatial axis";
            return Err(format!("it has {} sizes, {rule}", input.sizes.len()));
        }
    };
    let dtype = DType::named(&input.dtype.to_string());
    let types = Types::from(dtype.ok_or_else(|| format!("`{}` is no type", input.dtype))?);
    let batch = Size::Known(batch.number().unwrap_or_default());
    let given = Given { types, layout, batch, channels, extents };
    Step::input(given).map_err(|error| error.to_string())
}
