//! The roofline: how much of a machine's arithmetic the memory lets one use (Williams, Waterman and
//! Patterson 2009).
//!
//! In: operations and bytes of [`Facts`](super::Facts), and a machine's two speeds, which are the
//! caller's to know: there is no clock here. Out: what is attainable.

use crate::{Dots, Target, Types};

/// A machine's two limits, per second, or per cycle: any unit of time, as long as it is the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Operations.
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

/// Products a cycle of a machine with tiles: a row of 64 bytes times 16 columns.
const TILE_PRODUCTS: f64 = 1024.0;

/// Operations that one core of a target starts in a cycle, with arrays of such types. Bytes are
/// multiplied several at a time where the target can.
///
/// ```
/// use conv_ir::analysis::operations_a_cycle;
/// use conv_ir::{Conv, Target};
/// let floats: Conv = "conv2d ic8 oc8 in 9 kernel 3".parse()?;
/// let bytes: Conv = "conv2d u8 x i8 ic8 oc8 in 9 kernel 3".parse()?;
/// assert_eq!(operations_a_cycle(&Target::AVX2, floats.types()), 32.0);
/// assert_eq!(operations_a_cycle(&Target::AVX2, bytes.types()), 48.0);
/// assert_eq!(operations_a_cycle(&Target::AVX512_VNNI, bytes.types()), 128.0);
/// # Ok::<(), conv_ir::Error>(())
/// ```
pub fn operations_a_cycle(target: &Target, types: Types) -> f64 {
    let lanes = target.fma_bytes / types.accumulator.bytes();
    let are_bytes = types.input.bytes() == 1 && types.weight.bytes() == 1;
    let products = match target.dots {
        Dots::Fours if are_bytes && target.has_tiles() => return 2.0 * TILE_PRODUCTS,
        Dots::Fours if are_bytes => 4.0,
        // Two products are an instruction, and their sum is one. Of 256 bits, three ports take what
        // two take of multiply-adds; of 512 bits there are two ports for all of them, which is as
        // much as multiply-adds.
        Dots::Pairs if are_bytes && target.isa.is_avx2() => 2.0 * 3.0 / 4.0,
        _ => 1.0,
    };
    2.0 * lanes as f64 * products
}
