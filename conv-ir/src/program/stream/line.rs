//! The arithmetic of one step along the axis of a stream.

use crate::Conv;
use crate::nest::Fold;

/// The numbers of a step along the axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub stride: i64,
    pub transposed: bool,
    pub reach: i64,
    pub lo: i64,
    pub hi: i64,
    pub output_padding: i64,
}

impl Line {
    pub fn of(conv: &Conv, axis: usize) -> Line {
        let found = &conv.axes()[axis];
        Line {
            stride: found.stride as i64,
            transposed: conv.spec().transposed,
            reach: found.dilation as i64 * (found.kernel as i64 - 1),
            lo: found.padding.0 as i64,
            hi: found.padding.1 as i64,
            output_padding: found.output_padding as i64,
        }
    }

    /// Outputs that read no input from `inputs` on.
    pub fn read_before(&self, inputs: i64) -> i64 {
        match self.transposed {
            true => inputs * self.stride - self.lo,
            false => (inputs - 1 + self.lo - self.reach).div_euclid(self.stride) + 1,
        }
    }

    /// Outputs of an input of that length.
    pub fn total(&self, inputs: i64) -> i64 {
        let padding = self.lo + self.hi;
        match self.transposed {
            true => (inputs - 1) * self.stride - padding + self.reach + 1 + self.output_padding,
            false => (inputs + padding - self.reach - 1).div_euclid(self.stride) + 1,
        }
    }

    /// Outputs that are there whatever follows. Those at the end that a crop would take away, if
    /// nothing followed, are not.
    pub fn known(&self, inputs: i64) -> i64 {
        match self.transposed {
            true => self.read_before(inputs).min(self.total(inputs)),
            false => self.read_before(inputs),
        }
    }

    /// Outputs come in multiples of this.
    pub fn each(&self) -> i64 {
        if self.transposed { self.stride } else { 1 }
    }

    /// Where outputs begin: at 0, or before it, so that pieces of whole strides end where outputs
    /// are known.
    pub fn start(&self) -> i64 {
        -(-self.known(0)).rem_euclid(self.each())
    }

    /// The first input of the window of an output.
    pub fn first_input(&self, output: i64) -> i64 {
        let at = output + self.lo;
        match self.transposed {
            true => (at - self.reach + self.stride - 1)
                .div_euclid(self.stride)
                .min(at.div_euclid(self.stride)),
            false => output * self.stride - self.lo,
        }
    }

    /// One past the last input that outputs before `end` read.
    pub fn end_input(&self, end: i64) -> i64 {
        match self.transposed {
            true => (end - 1 + self.lo).div_euclid(self.stride) + 1,
            false => (end - 1) * self.stride - self.lo + self.reach + 1,
        }
    }

    /// How many inputs at an end so much padding repeats.
    pub fn repeated(&self, fold: Fold, padding: i64) -> i64 {
        match fold {
            _ if padding == 0 => 0,
            Fold::Replicate | Fold::Circular => 1,
            Fold::Symmetric => padding,
            Fold::Reflect => padding + 1,
        }
    }

    /// Positions of the input that may be needed behind all known outputs.
    pub fn held(&self) -> i64 {
        match self.transposed {
            true => (0..=1).map(|n| n - self.first_input(self.known(n).max(self.start()))).max(),
            // Before the first input all of the padding is.
            false => Some(self.reach.max(self.lo)),
        }
        .unwrap_or(0)
        .max(0)
    }
}
