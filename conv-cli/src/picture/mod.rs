//! Pictures of convolutions as SVG: what one output sees, layer by layer down to the input
//! ([`space`]), or how channels and groups go together ([`channels`]).
//!
//! In: descriptions. Out: text. What is drawn comes from [`conv_ir::analysis`]; here are only
//! places and colours. Pictures of large inputs show what is around the field, so that a file stays
//! small whatever is described.

mod channels;
mod colour;
mod label;
mod space;
mod svg;

use clap::ValueEnum;
use conv_ir::Conv;
use conv_ir::conv::axis_name;

use crate::failure::Failure;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum View {
    /// Every layer's grid, and what one output sees of it
    Space,
    /// The arrays as blocks of channels, the windows between them
    Channels,
}

/// The picture of convolutions in a row.
pub fn draw(convs: &[Conv], view: View) -> Result<String, Failure> {
    fit(convs)?;
    match view {
        View::Space => space::draw(convs),
        View::Channels => channels::draw(convs),
    }
}

/// Each convolution takes what the one before it makes.
fn fit(convs: &[Conv]) -> Result<(), Failure> {
    for (at, conv) in convs.iter().enumerate() {
        if conv.input_shape().is_none() {
            return Err(Failure::usage(
                "a size is known only at run time: a picture needs numbers",
            ));
        }
        if conv.output_len() == Some(0) {
            return Err(Failure::usage(format!(
                "convolution {} has no output to look from",
                at + 1
            )));
        }
    }
    for (at, pair) in convs.windows(2).enumerate() {
        let (below, above) = (&pair[0], &pair[1]);
        let misfit = |what: &str, made: usize, taken: usize| {
            let message = format!(
                "convolution {} takes {what} {taken}, but convolution {} makes {made}: they cannot be drawn in a row",
                at + 2,
                at + 1
            );
            Failure::usage(message)
        };
        if below.rank() != above.rank() {
            return Err(misfit("a number of spatial axes of", below.rank(), above.rank()));
        }
        if below.out_channels() != above.in_channels() {
            return Err(misfit("channels:", below.out_channels(), above.in_channels()));
        }
        for (axis, (made, taken)) in below.axes().iter().zip(above.axes()).enumerate() {
            let (made, taken) =
                (made.output.known().unwrap_or(0), taken.input.known().unwrap_or(0));
            if made != taken {
                return Err(misfit(
                    &format!("a {} of", axis_name(below.rank(), axis)),
                    made,
                    taken,
                ));
            }
        }
    }
    Ok(())
}
