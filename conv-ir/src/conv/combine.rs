//! What is done with the residual: it is added, as in ResNet, or multiplies, as a gate or the
//! numbers of squeeze and excitation do.
//!
//! ```text
//! Add        activation(sum + residual)      residual [n, c, spatial..]
//! Multiply   activation(sum * residual)      residual [n, c, spatial..]
//! Scale      activation(sum * residual)      residual [n, c, 1..], a number for each channel
//! ```

use super::{Conv, ConvSpec, Layout};

/// What is done with the residual, before the activation.
///
/// ```
/// let scaled: conv_ir::Program = "conv2d ic2 oc8 in 5 kernel 3; global_avgpool2d; \
///     maxpool2d kernel 1 from 1 * scale from 2"
///     .parse()?;
/// assert_eq!(scaled.steps()[2].conv.spec().combine, conv_ir::conv::Combine::Scale);
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Combine {
    /// It is added.
    #[default]
    Add,
    /// It multiplies, element by element.
    Multiply,
    /// It multiplies, one number for each channel of an image.
    Scale,
}

impl Combine {
    /// As the text form has it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Combine::Add => "+ residual",
            Combine::Multiply => "* residual",
            Combine::Scale => "* scale",
        }
    }
}

impl ConvSpec {
    /// Why a residual cannot be combined as is said.
    pub(super) fn not_combined(&self) -> Option<String> {
        let dtype = self.types.accumulator;
        if self.combine != Combine::Add && !self.residual {
            return Some("there is no residual to multiply by".to_owned());
        }
        let refused = self.multiplies() && dtype.is_integer();
        refused.then(|| format!("{dtype} is not multiplied by a tensor: use f32"))
    }

    /// Whether a residual multiplies.
    pub(crate) fn multiplies(&self) -> bool {
        self.residual && self.combine != Combine::Add
    }

    /// Whether a residual has one number for each channel.
    pub(crate) fn scales(&self) -> bool {
        self.residual && self.combine == Combine::Scale
    }
}

impl Conv {
    /// Whether the residual has one number for each channel of an image.
    pub fn scales(&self) -> bool {
        self.spec.scales()
    }

    /// The residual has the output's shape, or one number for each channel of it.
    pub fn residual_shape(&self) -> Option<Vec<usize>> {
        let mut shape = self.output_shape()?;
        if self.scales() {
            let first = if self.spec.layout == Layout::ChannelsFirst { 2 } else { 1 };
            shape[first..first + self.rank()].fill(1);
        }
        Some(shape)
    }
}
