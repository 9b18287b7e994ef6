//! The long window of a stream: its newest taps by direct sums, the others in parts by FFT.
//!
//! ```text
//! taps by age    0 .. P        P .. 2P    2P .. 3P   ..
//!                direct sums   part 1     part 2     ..
//! outputs b P .. (b + 1) P = direct sums + sum over k of part k * inputs (b-k-1) P .. (b-k+1) P
//! ```
//!
//! What the parts add to `P` outputs needs inputs that came before the first of them, so it is
//! there in time, whatever the length of the blocks that the input comes in: one transform of the
//! last `2 P` inputs, a product for each part with a spectrum of before, one transform back. An
//! output is known no later than by direct sums.
//!
//! Where parts begin follows from the number of taps alone, and where outputs begin a block, from
//! their position. So the bits are the same whatever blocks the input comes in.

use super::bound::Roundings;
use crate::accuracy::gamma;
use crate::{Conv, Reduction};

/// How the window of a stream is cut.
///
/// ```
/// use conv_ir::{Conv, fft::Partitions};
/// let room: Conv = "conv1d in T kernel 4096 padding causal".parse()?;
/// let parts = Partitions::choose(&room, f64::INFINITY)?;
/// assert_eq!((parts.points, parts.count), (64, 63));
/// let short: Conv = "conv1d in T kernel 16 padding causal".parse()?;
/// assert!(Partitions::choose(&short, f64::INFINITY).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions {
    /// Taps of a part, and outputs of a block: the complex points of a transform.
    pub points: usize,
    /// Parts by FFT. One more before them has direct sums.
    pub count: usize,
}

/// Taps of a part. Longer ones take less time, but all of it in one call of several: with calls of
/// 64 samples the longest takes least with these, from 4096 to 65,536 taps (measured on Zen 5).
const POINTS: usize = 64;

/// What an output costs in multiply-adds of direct sums of one channel, measured on Zen 5 with
/// AVX-512 and with AVX2, where those take 20 ps: a part, for each pair of channels; transforms
/// there and back, for each channel.
const A_PART: f64 = 7.0;
const A_TRANSFORM: f64 = 150.0;

/// How much faster direct sums are where several channels share what is loaded.
const CHANNELS: f64 = 2.5;

/// What is left of the direct cost where parts pay: less is within what the model does not know.
const WORTH: f64 = 0.7;

/// The most bytes that the transformed parts of a window may have.
const MOST_WEIGHTS: usize = 1 << 28;

impl Partitions {
    /// The parts of a step along the only axis, where they are expected to be faster than direct
    /// sums and their [relative bound](Self::relative_bound) is at most so large.
    ///
    /// # Errors
    /// Why not.
    pub fn choose(conv: &Conv, most: f64) -> Result<Partitions, String> {
        check(conv)?;
        let (input, output) = (conv.in_channels_per_group(), conv.out_channels_per_group());
        let pairs = (input * output) as f64;
        let taps = conv.kernel_volume();
        let direct = taps as f64 * pairs / if output == 1 { 1.0 } else { CHANNELS };
        let parts = Partitions { points: POINTS, count: taps.div_ceil(POINTS).saturating_sub(1) };
        let sums = (POINTS as f64 + parts.count as f64 * A_PART) * pairs;
        let cost = sums + (input + output) as f64 / 2.0 * A_TRANSFORM;
        if parts.count == 0 || cost >= WORTH * direct {
            return Err(format!(
                "parts would cost as much as {cost:.0} multiply-adds an output, not {direct:.0}"
            ));
        }
        if parts.weights(conv).is_none_or(|bytes| bytes > MOST_WEIGHTS) {
            return Err("the transformed parts of the window would be too large".to_owned());
        }
        match parts.relative_bound(conv) {
            bound if bound <= most => Ok(parts),
            bound => {
                Err(format!("the error may be {bound:.1e}, but at most {most:.1e} is asked for"))
            }
        }
    }

    /// The weights of the newest taps, of all weights `[out, in/groups, tap]`.
    pub fn newest<T: Copy>(&self, conv: &Conv, weight: &[T]) -> Vec<T> {
        let taps = conv.kernel_volume();
        // A window that is turned around begins with the newest tap.
        let first = if conv.spec().flip { 0 } else { taps - self.points };
        let rows = weight.chunks_exact(taps);
        rows.flat_map(|row| row[first..first + self.points].iter().copied()).collect()
    }

    /// Where the tap of an age stands in its row, if it has one.
    pub fn tap(&self, conv: &Conv, age: usize) -> Option<usize> {
        let taps = conv.kernel_volume();
        (age < taps).then(|| if conv.spec().flip { age } else { taps - 1 - age })
    }

    /// Bytes of the transformed parts.
    fn weights(&self, conv: &Conv) -> Option<usize> {
        let pairs = conv.in_channels_per_group().checked_mul(conv.spec().out_channels)?;
        let bytes = 2 * conv.spec().types.accumulator.bytes();
        pairs.checked_mul(self.count)?.checked_mul(self.points)?.checked_mul(bytes)
    }

    /// Blocks of outputs that are in memory, where so many are computed at a time.
    pub fn blocks(&self, piece: usize) -> usize {
        (self.points - 1 + piece).div_ceil(self.points)
    }

    /// Elements that a stream of so many images holds for it, where so many outputs are computed at
    /// a time: the spectra of the inputs that are still read, one block, what the parts add to
    /// some blocks, and a piece. `None` where there is no such number.
    pub fn elements(&self, conv: &Conv, (images, piece): (usize, usize)) -> Option<usize> {
        let spec = conv.spec();
        let inputs = self.count.checked_mul(images.checked_mul(spec.in_channels)?)?;
        let spectra = inputs.checked_add(1)?.checked_mul(2 * self.points)?;
        let positions = self.blocks(piece).checked_mul(self.points)?.checked_add(piece)?;
        let outputs = positions.checked_mul(images.checked_mul(spec.out_channels)?)?;
        spectra.checked_add(outputs).filter(|len| *len <= isize::MAX as usize / 16)
    }

    /// How far off an output may be for any weights, relative to the largest input times the sum of
    /// its channel's |weights|, bias added.
    pub fn relative_bound(&self, conv: &Conv) -> f64 {
        let unit = conv.spec().types.accumulator.unit();
        let roundings = Roundings {
            complex: vec![self.points],
            inputs: 2.0 * self.points as f64,
            sums: self.count * conv.in_channels_per_group(),
            unit,
        };
        let direct = gamma(self.points * conv.in_channels_per_group() + 2, unit);
        let of_parts = roundings.relative();
        // A tap is in one of the two, and their sum is rounded.
        let added = gamma(2, unit);
        of_parts.max(direct) * (1.0 + added) + added
    }

    /// What is said of a step in these parts.
    pub fn reason(&self, conv: &Conv) -> String {
        let Partitions { points, count } = *self;
        format!(
            "{points} taps by direct sums, {count} parts of {points} taps by FFT: no output is \
             later; every {points} outputs, transforms of {points} complex points there and back; \
             error at most {:.1e} of the largest input times the channel's sum of |weights| (by \
             norms); a block of them that is not finite is computed by direct sums",
            self.relative_bound(conv)
        )
    }
}

/// What parts are not made for, whatever their length.
fn check(conv: &Conv) -> Result<(), &'static str> {
    let (spec, axis) = (conv.spec(), &conv.axes()[0]);
    let rules = [
        (spec.types.single().is_some(), "the type is neither f32 nor f64"),
        (spec.reduction == Reduction::Sum, "it is no convolution"),
        (conv.rank() == 1, "it has more than one spatial axis"),
        (!spec.transposed, "it is transposed"),
        (axis.stride == 1, "it has a stride"),
        (axis.dilation == 1, "it is dilated"),
        (!spec.residual, "it adds a residual"),
        (conv.known().is_none(), "its weights are compiled in"),
    ];
    let wrong = rules.into_iter().find(|(holds, _)| !holds);
    wrong.map_or(Ok(()), |(_, why)| Err(why))
}
