//! The roofline: how much of a machine's arithmetic the memory lets one use (Williams, Waterman and
//! Patterson 2009).
//!
//! In: operations and bytes of [`Facts`](super::Facts), and a machine's two speeds, which are the
//! caller's to know: there is no clock here. Out: what is attainable.

use crate::{DType, Target};

/// A machine's two limits, per second, or per cycle: any unit of time, as long as it is the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Floating-point operations.
    pub peak: f64,
    /// Bytes between memory and processor.
    pub bandwidth: f64,
}

impl Roofline {
    /// Operations a byte above which arithmetic is the limit.
    pub fn ridge(&self) -> f64 {
        self.peak / self.bandwidth
    }

    /// Operations that this intensity (operations a byte) allows.
    ///
    /// ```
    /// use conv_ir::analysis::Roofline;
    /// let machine = Roofline { peak: 150.0, bandwidth: 20.0 }; // GFLOP/s, GB/s
    /// assert_eq!(machine.ridge(), 7.5);
    /// assert_eq!((machine.attainable(3.0), machine.attainable(60.0)), (60.0, 150.0));
    /// ```
    pub fn attainable(&self, intensity: f64) -> f64 {
        self.peak.min(intensity * self.bandwidth)
    }

    /// Of the peak, between 0 and 1.
    pub fn share(&self, intensity: f64) -> f64 {
        self.attainable(intensity) / self.peak
    }
}

/// Operations that one core of a target starts in a cycle.
pub fn operations_a_cycle(target: &Target, dtype: DType) -> f64 {
    2.0 * (target.fma_bytes / dtype.bytes()) as f64
}
