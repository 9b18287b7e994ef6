//! Long windows of a stream in parts, all but the first of them by FFT ([`Partitions`]).

use super::{Stream, StreamStep};
use crate::accuracy::Accuracy;
use crate::fft::{self, Partitions};
use crate::{Conv, ConvSpec, Error, Padding, PerAxis, Program, Reduction, Size};

/// How a step's window is cut.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The parts.
    pub parts: Partitions,
    /// The direct sums of the newest taps, for each of [`StreamStep::convs`]. What the others add
    /// is their residual.
    pub newest: Vec<Conv>,
}

impl Stream {
    /// The same, with windows in parts where that pays and is as exact.
    ///
    /// ```
    /// use conv_ir::{Accuracy, program::stream::Stream};
    /// let room = "conv1d in T kernel 4096 padding causal".parse()?;
    /// let stream = Stream::new(&room, 0, &[64])?;
    /// let fast = stream.clone().in_partitions(&room, Accuracy::Fast)?;
    /// assert_eq!(fast.steps[0].cut.as_ref().map(|cut| cut.parts.points), Some(64));
    /// assert!(stream.in_partitions(&room, Accuracy::Exact)?.steps[0].cut.is_none());
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Memory`] where no memory is large enough.
    pub fn in_partitions(mut self, program: &Program, accuracy: Accuracy) -> Result<Stream, Error> {
        let Some(most) = accuracy.admits() else { return Ok(self) };
        for (step, of) in self.steps.iter_mut().zip(program.steps()) {
            match Partitions::choose(&of.conv, most) {
                Ok(parts) => {
                    let newest =
                        step.convs.iter().map(|(piece, _)| newest(&of.conv, parts, *piece));
                    step.cut = Some(Cut { parts, newest: newest.collect::<Result<_, _>>()? });
                }
                Err(why) if is_long(&of.conv) => step.whole = Some(why),
                Err(_) => {}
            }
        }
        Ok(self)
    }

    /// Elements that steps in parts hold, beside the tensors.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is no such number.
    pub fn part_elements(&self, program: &Program) -> Result<usize, Error> {
        let of = |(step, of): (&StreamStep, &super::super::Step)| match &step.cut {
            Some(cut) => cut.parts.elements(&of.conv, (program.batch(), step.convs[0].0 as usize)),
            None => Some(0),
        };
        let mut all = self.steps.iter().zip(program.steps()).map(of);
        let sum = all.try_fold(0usize, |sum, len| sum.checked_add(len?));
        sum.ok_or_else(|| Error::Memory("the state of the stream".to_owned()))
    }
}

/// Whether a step is of a kind that is cut in parts where the rest allows it.
fn is_long(conv: &Conv) -> bool {
    let is_sum = conv.spec().reduction == Reduction::Sum;
    is_sum && conv.axes().iter().any(|axis| axis.kernel >= fft::FEWEST_TAPS)
}

/// So many outputs of the newest taps, which add what the others gave.
fn newest(conv: &Conv, parts: Partitions, outputs: i64) -> Result<Conv, Error> {
    Conv::new(ConvSpec {
        kernel: vec![parts.points],
        input: vec![Size::Known(parts.points - 1 + outputs as usize)],
        padding: Padding::Explicit(PerAxis::All((0, 0))),
        residual: true,
        ceil_mode: false,
        ..conv.spec().clone()
    })
}
