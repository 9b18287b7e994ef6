//! What a signature says of output and residual against what follows from the description.

use conv_ir::conv::{Extent, axis_name};
use conv_ir::{Conv, Size};

use super::Errors;
use super::check::Checker;
use super::parse::{Dim, ShapeSource, Tensor};

impl Checker<'_> {
    /// Output and residual against the inferred shape.
    pub fn images(&self, conv: &Conv, errors: &mut Errors) {
        for tensor in [self.item.output, self.signature.residual].into_iter().flatten() {
            let name = &tensor.name;
            self.batch(conv, tensor, errors);
            let channels = &tensor.sizes[self.channels_at()];
            if channels.number().is_some_and(|n| n != conv.spec().out_channels) {
                let (expected, found) = (conv.spec().out_channels, channels.shown());
                let source = tensor.source;
                let whose = match self.signature.weight.source {
                    ShapeSource::Kernel => "those of the input",
                    _ => "the weight says",
                };
                errors.at(
                    channels,
                    format!("{name} channels are {expected}, as {whose}, but {source} {found}"),
                );
            }
            let is_scale = name == "residual" && conv.scales();
            for axis in 0..self.rank {
                let found = &tensor.sizes[self.spatial_at(axis)];
                if is_scale {
                    if found.number() != Some(1) {
                        let (what, source) = (axis_name(self.rank, axis), tensor.source);
                        let found_is = found.shown();
                        let message = format!(
                            "{what} of a scale is 1: it has one number for each channel, but {source} {found_is}"
                        );
                        errors.at(found, message);
                    }
                    continue;
                }
                self.spatial(conv, tensor, axis, errors);
            }
        }
    }

    fn batch(&self, conv: &Conv, tensor: &Tensor, errors: &mut Errors) {
        let (expected, found) = (&conv.spec().batch, &tensor.sizes[0]);
        let agree = match (expected, found) {
            (_, Dim::Wrong(_)) => true,
            (Size::Known(n), found) => found.number() == Some(*n),
            (Size::Free(name), Dim::Name(found)) => found == name,
            (Size::Free(_), Dim::Number(..)) => false,
        };
        if !agree {
            let text = found.shown();
            errors.at(
                found,
                format!(
                    "{} batch is {expected}, as in input, but {} {text}",
                    tensor.name, tensor.source
                ),
            );
        }
    }

    fn spatial(&self, conv: &Conv, tensor: &Tensor, axis: usize, errors: &mut Errors) {
        let found = &tensor.sizes[self.spatial_at(axis)];
        let text = found.shown();
        let what = format!("{} {}", tensor.name, axis_name(self.rank, axis));
        let arithmetic = conv.output_arithmetic(axis);
        match (&conv.axes()[axis].output, found) {
            (_, Dim::Wrong(_)) => {}
            (Extent::Known(n), found) if found.number() == Some(*n) => {}
            (Extent::Known(_), _) => {
                errors.at(found, format!("{what} is {arithmetic}, but {} {text}", tensor.source))
            }
            (Extent::Derived { .. }, Dim::Number(..)) => {
                errors.at(
                    found,
                    format!("{what} is {arithmetic}, known only at run time: write a name instead of {text}"),
                );
            }
            (Extent::Derived { of, scale: 1, add: 0, div: 1 }, Dim::Name(name)) if name == of => {}
            (Extent::Derived { .. }, Dim::Name(name))
                if conv.free_sizes().iter().any(|free| name == free) =>
            {
                errors.at(
                    found,
                    format!("{what} is {arithmetic}, which is not {name}: write another name"),
                );
            }
            (Extent::Derived { .. }, Dim::Name(_)) => {}
        }
    }
}
