//! Free sizes: names whose values come at run time.
//!
//! In: a checked [`Conv`] with names and a value for each. Out: the same convolution with numbers,
//! checked again, because some rules (a window must fit, a tensor must be addressable) need
//! the numbers.
//!
//! One rule for zeros on every route, that of known sizes (and of PyTorch): a batch of zero images
//! is legal and computes nothing; an extent of the input and of the output is at least 1.

use super::shape::span;
use super::{Conv, ConvSpec, Extent, Size};
use crate::error::{Error, cut};

impl Conv {
    /// Names of the free sizes, the batch first, then the axes from the outermost.
    pub fn free_sizes(&self) -> Vec<&str> {
        std::iter::once(&self.spec.batch)
            .chain(&self.spec.input)
            .filter_map(|size| match size {
                Size::Known(_) => None,
                Size::Free(name) => Some(name.as_str()),
            })
            .collect()
    }

    /// The smallest extent of the input along a spatial axis that breaks no rule: the output has an
    /// element.
    ///
    /// ```
    /// let conv: conv_ir::Conv = "conv2d in HxW kernel 3x5 pad 0,1".parse()?;
    /// assert_eq!([conv.least_input(0), conv.least_input(1)], [3, 3]);
    /// assert!(conv.with_sizes(&[("H", 3), ("W", 2)]).is_err());
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn least_input(&self, axis: usize) -> usize {
        let axis = &self.axes[axis];
        let (before, after) = axis.padding;
        let padding = before as i128 + after as i128;
        // The output is not negative, and its last element is one.
        let window = match self.spec.transposed {
            true => {
                let stride = axis.stride as i128;
                let short = padding - span(axis) - axis.output_padding as i128 + 1;
                (short + stride - 1).div_euclid(stride) + 1
            }
            false => span(axis) - padding,
        };
        usize::try_from(window.max(1)).unwrap_or(usize::MAX)
    }

    /// The same convolution with values for its free sizes. A batch may be 0, an extent may not.
    ///
    /// # Errors
    /// [`Error::Argument`] where a name is missing, unknown or given twice; [`Error::Invalid`]
    /// where a value breaks a rule.
    pub fn with_sizes(&self, free: &[(&str, usize)]) -> Result<Conv, Error> {
        let names = self.free_sizes();
        for (i, (name, _)) in free.iter().enumerate() {
            if !names.contains(name) {
                return Err(Error::Argument(format!(
                    "there is no free size {}: {}",
                    cut(name),
                    known_names(&names)
                )));
            }
            if free[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Argument(format!("the size {} is given twice", cut(name))));
            }
        }
        let value = |size: &Size| match size {
            Size::Known(n) => Ok(Size::Known(*n)),
            Size::Free(name) => match free.iter().find(|(given, _)| given == name) {
                Some((_, n)) => Ok(Size::Known(*n)),
                None => Err(Error::Argument(format!(
                    "the size {name} is missing: {}",
                    known_names(&names)
                ))),
            },
        };
        let batch = value(&self.spec.batch)?;
        let input = self.spec.input.iter().map(value).collect::<Result<_, _>>()?;
        self.resized(batch, input)
    }

    /// The same convolution of another batch and other extents.
    pub(crate) fn resized(&self, batch: Size, input: Vec<Size>) -> Result<Conv, Error> {
        let conv = Conv::new(ConvSpec { batch, input, ..self.spec.clone() })?;
        Ok(Conv { known: self.known.clone(), ..conv }.requantised_as(self))
    }

    /// The extents that the next step takes where this is step `number` of a program. An output as
    /// large as the free size `H` is `H` again; one that follows from it otherwise is `H_number`.
    pub fn sizes_behind(&self, number: usize) -> Vec<Size> {
        let size = |extent: &Extent| match extent {
            Extent::Known(n) => Size::Known(*n),
            Extent::Derived { of, scale: 1, add: 0, div: 1 } => Size::Free(of.clone()),
            Extent::Derived { of, .. } => Size::Free(format!("{of}_{number}")),
        };
        self.axes.iter().map(|axis| size(&axis.output)).collect()
    }
}

fn known_names(names: &[&str]) -> String {
    match names {
        [] => "every size of this convolution is known".to_owned(),
        names => format!("the free sizes are {}", names.join(", ")),
    }
}
