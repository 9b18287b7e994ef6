//! The output of a transposed convolution by its size: a strided convolution takes several sizes to
//! one, so its transposed one has to be told which of them is meant.

use super::{Conv, ConvSpec, PerAxis};
use crate::error::{Error, Issue};

impl Conv {
    /// The same transposed convolution with the output padding that gives these extents (PyTorch's
    /// `output_size`); one for each spatial axis, outermost first.
    ///
    /// ```
    /// let up: conv_ir::Conv = "conv2d-transposed in 56x56 kernel 3 stride 2 pad 1".parse()?;
    /// assert_eq!(up.output_shape(), Some(vec![1, 1, 111, 111]));
    /// assert_eq!(up.with_output_size(&[112, 111])?.output_shape(), Some(vec![1, 1, 112, 111]));
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// Names the axis and the extents that there are, or says that the convolution is not
    /// transposed, that a size is free, or that the number of axes is another.
    pub fn with_output_size(&self, output: &[usize]) -> Result<Conv, Error> {
        let whole = |message: String| Err(Error::Invalid(vec![self.issue(None, message)]));
        if !self.spec.transposed {
            return whole("only a transposed convolution has a choice of it".to_owned());
        }
        if output.len() != self.rank() {
            return whole(format!("{} extents for {} axes", output.len(), self.rank()));
        }
        let least = Conv::new(ConvSpec { output_padding: 0.into(), ..self.spec.clone() })?;
        let mut extra = Vec::with_capacity(output.len());
        let mut issues = Vec::new();
        for (at, (axis, &wanted)) in least.axes.iter().zip(output).enumerate() {
            let Some(least) = axis.output.known() else {
                return whole("the input is a free size: give output_padding".to_owned());
            };
            let most = least.saturating_add(axis.stride.max(axis.dilation) - 1);
            match wanted.checked_sub(least).filter(|_| wanted <= most) {
                Some(more) => extra.push(more),
                None => issues.push(self.issue(
                    Some(at),
                    format!("{wanted}, but it can be from {least} to {most} with these numbers"),
                )),
            }
        }
        if !issues.is_empty() {
            return Err(Error::Invalid(issues));
        }
        let found =
            Conv::new(ConvSpec { output_padding: PerAxis::Each(extra), ..self.spec.clone() })?;
        let is_met = found.axes.iter().zip(output).all(|(a, &n)| a.output.known() == Some(n));
        match is_met {
            true => Ok(found.knowing_as(self)),
            // `same` and `causal` crop what output padding adds.
            false => whole(format!("padding {} decides it: give numbers", self.spec.padding)),
        }
    }

    fn issue(&self, axis: Option<usize>, message: String) -> Issue {
        Issue { field: "output_size", axis, rank: self.rank(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, output: &[usize]) -> String {
        let conv: Conv = text.parse().unwrap();
        conv.with_output_size(output).unwrap_err().to_string()
    }

    #[test]
    fn the_output_padding_follows_from_the_size() {
        let up: Conv =
            "conv2d-transposed in 5x7 kernel 3x4 stride 2x3 out_pad 1x0".parse().unwrap();
        for (height, width) in [(11, 22), (12, 24)] {
            let found = up.with_output_size(&[height, width]).unwrap();
            assert_eq!(found.output_shape(), Some(vec![1, 1, height, width]));
        }
    }

    #[test]
    fn what_cannot_be_says_what_can() {
        let up = "conv2d-transposed in 5x7 kernel 3 stride 2";
        assert_eq!(
            refused(up, &[13, 14]),
            "output_size (height): 13, but it can be from 11 to 12 with these numbers\n\
             output_size (width): 14, but it can be from 15 to 16 with these numbers"
        );
        assert_eq!(refused(up, &[11]), "output_size: 1 extents for 2 axes");
        assert_eq!(
            refused("conv1d in 5 kernel 3", &[3]),
            "output_size: only a transposed convolution has a choice of it"
        );
        assert_eq!(
            refused("conv1d-transposed in W kernel 3 stride 2", &[3]),
            "output_size: the input is a free size: give output_padding"
        );
        assert_eq!(
            refused("conv1d-transposed in 5 kernel 3 stride 2 pad same-upper", &[11]),
            "output_size: padding same-upper decides it: give numbers"
        );
    }
}
