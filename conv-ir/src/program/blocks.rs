//! Steps with large windows, in blocks through a Fourier transform ([`crate::fft`]).
//!
//! ```text
//! window, bias, residual, activation   ->   window, bias                   where it has no others
//!                                           window; 1x1 of ones, bias, residual, activation
//! ```
//!
//! What is added behind the sum, and the activation, is a step of its own then, which is compiled
//! as every step is: a block's outputs have no code of their own for it.

use super::{Program, Rewritten, Step, tiled};
use crate::accuracy::Accuracy;
use crate::fft::{self, Blocks};
use crate::{Conv, ConvSpec, Error, Padding, PerAxis, Reduction, Size};

impl Rewritten {
    /// The same, with steps in blocks where that pays and is as exact ([`fft::choose`]). Positions
    /// of steps change, so this comes first.
    pub fn in_blocks(self, accuracy: Accuracy) -> Rewritten {
        let Some(most) = accuracy.admits() else { return self };
        let (mut steps, mut origins) = (Vec::new(), Vec::new());
        let (mut in_blocks, mut direct) = (Vec::new(), Vec::new());
        // Where each tensor is, counted in the steps made.
        let mut tensors = vec![0];
        for (at, (step, &origin)) in self.program.steps().iter().zip(&self.origins).enumerate() {
            let residual = step.residual.map(|tensor| tensors[tensor]);
            let mut from: Vec<usize> = step.from.iter().map(|&tensor| tensors[tensor]).collect();
            let two = match self.is_pass(at) {
                true => Err("it is a pass of a window of low rank".to_owned()),
                false => in_two(&step.conv, most),
            };
            match two {
                Ok((blocks, window, rest)) => {
                    in_blocks.push((steps.len(), blocks));
                    let all = [Some(window), rest].into_iter().flatten();
                    all.for_each(|conv| {
                        let residual = residual.filter(|_| conv.spec().residual);
                        // What comes behind the window reads it.
                        let from = std::mem::take(&mut from);
                        steps.push(Step { from, residual, ..conv.into() });
                        origins.push(origin);
                    });
                }
                Err(why) => {
                    if is_large(&step.conv) {
                        direct.push((steps.len(), format!("not by FFT: {why}")));
                    }
                    steps.push(Step { from, residual, ..step.clone() });
                    origins.push(origin);
                }
            }
            tensors.push(steps.len());
        }
        let outputs = self.program.outputs().iter().map(|&tensor| tensors[tensor]).collect();
        match Program::giving(steps, outputs) {
            Ok(program) => Rewritten { program, origins, in_blocks, direct, ..self },
            Err(_) => self,
        }
    }

    /// The same, where steps for which `keep` is false have direct sums.
    pub fn in_blocks_where(mut self, keep: impl Fn(usize) -> bool) -> Rewritten {
        let (kept, fused) = self.in_blocks.into_iter().partition(|(at, _)| keep(*at));
        self.in_blocks = kept;
        let fused: Vec<(usize, Blocks)> = fused;
        let why = |(at, _)| (at, "not by FFT: it is fused with others".to_owned());
        self.direct.extend(fused.into_iter().map(why));
        self
    }

    /// The blocks of a step of [`program`](Self::program).
    pub fn blocks(&self, step: usize) -> Option<&Blocks> {
        self.in_blocks.iter().find(|(at, _)| *at == step).map(|(_, blocks)| blocks)
    }
}

/// Whether a step is of a kind that is computed in blocks where the rest allows it.
fn is_large(conv: &Conv) -> bool {
    conv.spec().reduction == Reduction::Sum && conv.kernel_volume() >= fft::FEWEST_TAPS
}

/// The blocks of a step, what is left of it, and what comes behind that.
fn in_two(conv: &Conv, most: f64) -> Result<(Blocks, Conv, Option<Conv>), String> {
    let blocks = fft::choose(conv, most)?;
    if tiled::choose(conv, most).is_ok() {
        return Err("it is computed in tiles".to_owned());
    }
    let spec = conv.spec();
    if !spec.residual && spec.activation.is_none() {
        return Ok((blocks, conv.clone(), None));
    }
    let window = ConvSpec { bias: false, residual: false, activation: None, ..spec.clone() };
    let window = Conv::new(window).and_then(|window| match conv.known() {
        Some(known) => window.with_weights(&known.weight, None),
        None => Ok(window),
    });
    let both = window.and_then(|window| Ok((blocks, window, Some(rest(conv)?))));
    both.map_err(|error| error.to_string())
}

/// A step that adds what `conv` adds to its sum, and has its activation.
fn rest(conv: &Conv) -> Result<Conv, Error> {
    let spec = conv.spec();
    let channels = spec.out_channels;
    let one = PerAxis::All(1);
    let rest = Conv::new(ConvSpec {
        in_channels: channels,
        groups: channels,
        input: conv.axes().iter().map(|axis| output(&axis.output)).collect::<Result<_, _>>()?,
        kernel: vec![1; conv.rank()],
        stride: one.clone(),
        dilation: one,
        padding: Padding::Valid,
        padding_mode: crate::PaddingMode::Zeros,
        flip: false,
        ..spec.clone()
    })?;
    let bias = conv.known().and_then(|known| known.bias.as_deref());
    rest.with_weights(&crate::repeated(&[1.0], channels)?, bias)
}

fn output(extent: &crate::conv::Extent) -> Result<Size, Error> {
    let known = extent.known().map(Size::Known);
    known.ok_or_else(|| Error::Argument("a size is known only at run time".to_owned()))
}
