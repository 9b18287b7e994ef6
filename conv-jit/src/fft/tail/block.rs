//! A block of outputs of the older taps: the transforms and the products.

use conv_ir::fft::Partitions;
use conv_ir::{Conv, Isa, Layout};

use super::{Memory, Shape, Spectra, Window};
use crate::Error;
use crate::fft::filled;
use crate::fft::row::Row;
use crate::fft::transform::{Pair, Point};
use crate::fft::vector::{Plain, Vector, Vectors};

impl<T: Vectors<L>, const L: usize> Spectra<T, L> {
    pub fn new(conv: &Conv, shape: &Shape, weight: &[f64]) -> Result<Self, Error> {
        let Partitions { points, count } = shape.parts;
        let vectors = points / L;
        let pairs = shape.groups * shape.out_channels * shape.in_channels;
        let mut all = filled(Point::zero(), pairs * count * vectors)?;
        let finer = Row::<f64, L>::new(points);
        let mut data = filled(Point::<f64, L>::zero(), vectors)?;
        let scale = 1.0 / points as f64;
        for (pair, weight) in weight.chunks_exact(shape.taps).enumerate() {
            let (out, channel) = (pair / shape.in_channels, pair % shape.in_channels);
            for part in 0..count {
                data.fill(Point::zero());
                for at in 0..points {
                    let tap = shape.parts.tap(conv, (part + 1) * points + at);
                    data[at / L].re[at % L] = tap.map_or(0.0, |tap| weight[tap]);
                }
                finer.forward::<Plain<f64, L>>(&mut data);
                let first = ((out * count + part) * shape.in_channels + channel) * vectors;
                for (to, from) in all[first..][..vectors].iter_mut().zip(&data) {
                    to.re = from.re.map(|x| T::of(x * scale));
                    to.im = from.im.map(|x| T::of(x * scale));
                }
            }
        }
        Ok(Spectra { row: Row::new(points), all })
    }

    /// [`block`](Self::block) in the widest vectors.
    ///
    /// # Safety
    /// As there, and this CPU has the instructions of the shape's `isa`.
    pub unsafe fn block_here(
        &self,
        shape: &Shape,
        memory: &mut Memory<T, L>,
        now: (i64, Window),
        to: usize,
    ) -> bool {
        // SAFETY: the caller's word.
        unsafe {
            match shape.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx => {
                    self.block_avx512(shape, memory, now, to)
                }
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni => self.block_avx2(shape, memory, now, to),
                _ => self.block::<Plain<T, L>>(shape, memory, now, to),
            }
        }
    }

    /// # Safety
    /// As [`block_here`](Self::block_here).
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq")]
    unsafe fn block_avx512(
        &self,
        shape: &Shape,
        memory: &mut Memory<T, L>,
        now: (i64, Window),
        to: usize,
    ) -> bool {
        // SAFETY: the caller's word.
        unsafe { self.block::<T::Wide>(shape, memory, now, to) }
    }

    /// # Safety
    /// As [`block_here`](Self::block_here).
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn block_avx2(
        &self,
        shape: &Shape,
        memory: &mut Memory<T, L>,
        now: (i64, Window),
        to: usize,
    ) -> bool {
        // SAFETY: the caller's word.
        unsafe { self.block::<T::Half>(shape, memory, now, to) }
    }

    /// What the parts add to the block of outputs that begins at `done`, into that block of the
    /// memory; whether it is finite.
    ///
    /// # Safety
    /// As [`Tail::advance`].
    #[inline(always)]
    unsafe fn block<V: Vector<T, L>>(
        &self,
        shape: &Shape,
        memory: &mut Memory<T, L>,
        (done, window): (i64, Window),
        to: usize,
    ) -> bool {
        let count = shape.parts.count;
        // What came before the stream is there as padding, or as inputs before the first output.
        if done == 0 && !shape.begins_with_zeros {
            for part in 1..count {
                let slot = (memory.newest + part - 1) % count;
                // SAFETY: the caller's word.
                unsafe { self.load::<V>(shape, memory, (done, window), (slot, part)) };
            }
        }
        memory.newest = (memory.newest + count - 1) % count;
        // SAFETY: the caller's word.
        unsafe { self.load::<V>(shape, memory, (done, window), (memory.newest, 0)) };
        let outputs = shape.groups * shape.out_channels;
        let mut finite = true;
        for row in 0..shape.images * outputs {
            self.products::<V>(shape, memory, (row / outputs, row % outputs));
            self.row.back::<V>(&mut memory.sums);
            finite &= memory.store(shape, (row / outputs, row % outputs), to);
        }
        finite
    }

    /// The spectra of the `2 P` inputs that end before the inputs that are newest for output
    /// `done`, or before `back` blocks of those. What no tap of the window reads is zero.
    ///
    /// # Safety
    /// As [`Tail::advance`].
    #[inline(always)]
    unsafe fn load<V: Vector<T, L>>(
        &self,
        shape: &Shape,
        memory: &mut Memory<T, L>,
        (done, window): (i64, Window),
        (slot, back): (usize, usize),
    ) {
        let points = shape.parts.points;
        let vectors = points / L;
        let channels = shape.groups * shape.in_channels;
        // Positions of the box.
        let lowest = (done - window.outputs[0]) as usize;
        let end = lowest as i64 + (shape.taps - 1) as i64 - (back * points) as i64;
        let start = end - 2 * points as i64;
        for row in 0..shape.images * channels {
            let data = &mut memory.spectra[(slot * shape.images * channels + row) * vectors..];
            let data = &mut data[..vectors];
            let (first, stride) = match shape.layout {
                Layout::ChannelsFirst => (row * window.block, 1),
                Layout::ChannelsLast => (row / channels * window.block + row % channels, channels),
            };
            let input = std::ptr::with_exposed_provenance::<T>(window.address);
            // SAFETY: the caller's word: it is at or before what the output at `done` reads first.
            let input = unsafe { input.add(first) };
            if stride == 1 && start >= lowest as i64 {
                // SAFETY: the output at `done` reads these.
                let all =
                    unsafe { std::slice::from_raw_parts(input.add(start as usize), 2 * points) };
                let (re, im) = all.split_at(points);
                let both = re.chunks_exact(L).zip(im.chunks_exact(L));
                for (point, (re, im)) in data.iter_mut().zip(both) {
                    point.re.copy_from_slice(re);
                    point.im.copy_from_slice(im);
                }
            } else {
                let number = |at: i64| match at >= lowest as i64 {
                    // SAFETY: the output at `done` reads it.
                    true => unsafe { *input.add(at as usize * stride) },
                    false => T::default(),
                };
                for at in 0..points {
                    data[at / L].re[at % L] = number(start + at as i64);
                    data[at / L].im[at % L] = number(start + (at + points) as i64);
                }
            }
            self.row.forward::<V>(data);
        }
    }

    /// The sum over parts and channels, in that order.
    #[inline(always)]
    fn products<V: Vector<T, L>>(
        &self,
        shape: &Shape,
        memory: &mut Memory<T, L>,
        (image, out): (usize, usize),
    ) {
        /// Vectors whose sums are in registers.
        const AT_A_TIME: usize = 4;
        let Partitions { points, count } = shape.parts;
        let (vectors, channels) = (points / L, shape.groups * shape.in_channels);
        let group = out / shape.out_channels;
        let own = &self.all[out * count * shape.in_channels * vectors..];
        let slots = (memory.newest..count).chain(0..memory.newest);
        for (at, sums) in memory.sums.chunks_exact_mut(AT_A_TIME).enumerate() {
            let mut made = [Pair::<V>::splat((T::default(), T::default())); AT_A_TIME];
            for (part, slot) in slots.clone().enumerate() {
                for channel in 0..shape.in_channels {
                    let row = (slot * shape.images + image) * channels + group * shape.in_channels;
                    let input = &memory.spectra[(row + channel) * vectors + at * AT_A_TIME..];
                    let own =
                        &own[(part * shape.in_channels + channel) * vectors + at * AT_A_TIME..];
                    let both = input[..AT_A_TIME].iter().zip(&own[..AT_A_TIME]);
                    for (made, (input, own)) in made.iter_mut().zip(both) {
                        *made = made.plus(input.get::<V>().by(own.get::<V>()));
                    }
                }
            }
            for (sum, made) in sums.iter_mut().zip(made) {
                sum.set(made);
            }
        }
    }
}

impl<T: Vectors<L>, const L: usize> Memory<T, L> {
    /// Keeps the outputs of a block; whether all are finite.
    #[inline(always)]
    fn store(&mut self, shape: &Shape, (image, out): (usize, usize), to: usize) -> bool {
        let points = shape.parts.points;
        let positions = shape.blocks * points;
        let outputs = shape.groups * shape.out_channels;
        let mut sums = [T::default(); L];
        for (at, point) in self.sums.iter().enumerate() {
            let first = to * points + at * L;
            match shape.layout {
                Layout::ChannelsFirst => {
                    let row = &mut self.outputs[(image * outputs + out) * positions..];
                    row[first..first + L].copy_from_slice(&point.im);
                }
                Layout::ChannelsLast => {
                    for (lane, number) in point.im.iter().enumerate() {
                        let at = (image * positions + first + lane) * outputs + out;
                        self.outputs[at] = *number;
                    }
                }
            }
            for (sum, number) in sums.iter_mut().zip(point.im) {
                *sum = *sum + number * T::default();
            }
        }
        // What is not finite times zero is NaN.
        sums.iter().all(|sum| *sum == T::default())
    }
}
