//! Steps in blocks through a Fourier transform ([`conv_ir::fft`]): the window's spectrum, made
//! once, and a run.
//!
//! ```text
//! for each lanes' worth of blocks:      one block in each lane, or one channel of a block
//!   for each input channel:  load -> forward
//!   for each output channel: sum over input channels of spectrum * spectrum -> back -> store
//! ```
//!
//! This is plain Rust, compiled for each width of vectors, and no nest: a transform has the same
//! steps whatever the convolution, so nothing is gained by making its code at run time. The bits
//! follow from the description and its blocks alone: every lane computes by itself, in products and
//! sums of one rounding each, and channels are summed in order.
//!
//! A block of which one input is infinite or NaN, or so large that a sum overflows, has no finite
//! output. Then the whole run is done again by the direct sums, which the step has too: every such
//! result is theirs.

mod moves;
mod roots;
mod row;
mod shape;
mod tail;
mod transform;
mod vector;

use std::sync::atomic::{AtomicBool, Ordering};

use conv_ir::fft::Blocks;
use conv_ir::{Conv, DType, Element, Isa};

use crate::Error;
use crate::engine::{self, Work};
use crate::executor::Executor;
use moves::{load, store};
use shape::Shape;
pub(crate) use tail::{Past, Tail, Window as TailWindow};
use transform::{Grid, Pair, Point};
use vector::{Plain, Vector, Vectors};

/// The weights of a step in blocks.
pub(crate) struct Spectra {
    /// By output channel: the largest number of the window's spectrum, summed over input channels.
    pub gains: Vec<f64>,
    of: OfType,
}

/// As many lanes as a cache line has numbers.
enum OfType {
    F32(Window<f32, 16>),
    F64(Window<f64, 8>),
}

/// What a run computes with.
struct Window<T, const L: usize> {
    shape: Shape,
    grid: Grid<T>,
    spectrum: Spectrum<T, L>,
    bias: Option<Vec<T>>,
    isa: Isa,
}

enum Spectrum<T, const L: usize> {
    /// The same in every lane: `[out, in/groups, point]`.
    Shared(Vec<(T, T)>),
    /// Every lane's own: `[group / lanes, point]`.
    Each(Vec<Point<T, L>>),
}

/// The arrays of a run, as exposed addresses.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub input: usize,
    pub output: usize,
}

impl Spectra {
    /// Of weights and a bias that are as long as the convolution says, for a CPU that has these
    /// vectors.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new<E: Element>(
        conv: &Conv,
        blocks: &Blocks,
        isa: Isa,
        (weight, bias): (&[E], Option<&[E]>),
    ) -> Result<Spectra, Error> {
        let (mut gains, bias) = (Vec::new(), bias.map(|b| b.iter().map(|x| x.to_f64()).collect()));
        let weight = |at: usize| weight[at].to_f64();
        let of = match conv.dtype() {
            DType::F32 => OfType::F32(Window::new(conv, blocks, isa, (&weight, bias), &mut gains)?),
            DType::F64 => OfType::F64(Window::new(conv, blocks, isa, (&weight, bias), &mut gains)?),
            other => unreachable!("fft: {conv} has blocks, but is of {other}"),
        };
        Ok(Spectra { gains, of })
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        match &self.of {
            OfType::F32(window) => window.spectrum.bytes(),
            OfType::F64(window) => window.spectrum.bytes(),
        }
    }

    /// Runs. Whether every output is finite: else none of them is to be used.
    ///
    /// # Errors
    /// [`Error::Memory`].
    ///
    /// # Safety
    /// The arrays are of the convolution's type and lengths, and nobody else's while this runs.
    pub unsafe fn run(
        &self,
        ends: Ends,
        work: &mut Work,
        (parts, executor): (usize, &dyn Executor),
    ) -> Result<bool, Error> {
        // SAFETY: the caller's word.
        unsafe {
            match &self.of {
                OfType::F32(window) => window.run(ends, work, (parts, executor)),
                OfType::F64(window) => window.run(ends, work, (parts, executor)),
            }
        }
    }
}

impl<T, const L: usize> Spectrum<T, L> {
    fn bytes(&self) -> usize {
        match self {
            Spectrum::Shared(all) => size_of_val(&all[..]),
            Spectrum::Each(all) => size_of_val(&all[..]),
        }
    }
}

/// A vector of `len` times `of`.
fn filled<V: Clone>(of: V, len: usize) -> Result<Vec<V>, Error> {
    let mut made = Vec::new();
    let refused = |e| Error::Memory(format!("the spectrum of a window: {e}"));
    made.try_reserve_exact(len).map_err(refused)?;
    made.resize(len, of);
    Ok(made)
}

/// Windows that are transformed at a time.
const AT_A_TIME: usize = 8;

/// The transform of windows, in the widest vectors.
///
/// # Safety
/// This CPU has the instructions of `isa`.
unsafe fn forward_here(isa: Isa, grid: &Grid<f64>, data: &mut [Point<f64, AT_A_TIME>]) {
    /// # Safety
    /// This CPU has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq")]
    unsafe fn avx512(grid: &Grid<f64>, data: &mut [Point<f64, AT_A_TIME>]) {
        grid.forward::<<f64 as Vectors<AT_A_TIME>>::Wide, AT_A_TIME>(data);
    }
    /// # Safety
    /// This CPU has AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn avx2(grid: &Grid<f64>, data: &mut [Point<f64, AT_A_TIME>]) {
        grid.forward::<<f64 as Vectors<AT_A_TIME>>::Half, AT_A_TIME>(data);
    }
    match isa {
        // SAFETY: the caller's word.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx => unsafe { avx512(grid, data) },
        // SAFETY: the caller's word.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => unsafe { avx2(grid, data) },
        _ => grid.forward::<Plain<f64, AT_A_TIME>, AT_A_TIME>(data),
    }
}

impl<T: Vectors<L>, const L: usize> Window<T, L> {
    fn new(
        conv: &Conv,
        blocks: &Blocks,
        isa: Isa,
        (weight, bias): (&dyn Fn(usize) -> f64, Option<Vec<f64>>),
        gains: &mut Vec<f64>,
    ) -> Result<Self, Error> {
        let shape = Shape::new(conv, blocks, L);
        let grid = Grid::<T>::new(shape.points(), shape.folded);
        let finer = Grid::<f64>::new(shape.points(), shape.folded);
        let (len, pairs) = (grid.len(), conv.spec().out_channels * shape.in_channels);
        let mut spectrum = match shape.by_channel {
            true => Spectrum::Each(filled(Point::zero(), shape.groups.div_ceil(L) * len)?),
            false => Spectrum::Shared(filled((T::default(), T::default()), pairs * len)?),
        };
        *gains = filled(0.0, conv.spec().out_channels)?;
        let mut data = filled(Point::<f64, AT_A_TIME>::zero(), len)?;
        let scale = 1.0 / blocks.points() as f64;
        for first in (0..pairs).step_by(AT_A_TIME) {
            data.fill(Point::zero());
            let some = first..pairs.min(first + AT_A_TIME);
            some.clone()
                .for_each(|pair| shape.place(&finer, weight, pair, pair - first, &mut data));
            // SAFETY: compiling for vectors that the CPU does not have was refused.
            unsafe { forward_here(isa, &finer, &mut data) };
            for pair in some {
                let (lane, mut largest) = (pair - first, 0.0f64);
                for (at, point) in data.iter().enumerate() {
                    let (re, im) = (point.re[lane], point.im[lane]);
                    // Nothing larger than this sum is worth the time of a root.
                    if re.abs() + im.abs() > largest {
                        largest = largest.max(re.hypot(im));
                    }
                    let (re, im) = (T::of(re * scale), T::of(im * scale));
                    match &mut spectrum {
                        Spectrum::Shared(all) => all[pair * len + at] = (re, im),
                        Spectrum::Each(all) => {
                            let point = &mut all[pair / L * len + at];
                            (point.re[pair % L], point.im[pair % L]) = (re, im);
                        }
                    }
                }
                gains[pair / shape.in_channels] += largest;
            }
        }
        let bias = bias.map(|bias| bias.into_iter().map(T::of).collect());
        Ok(Window { shape, grid, spectrum, bias, isa })
    }

    /// Blocks of points that a part has in hand: those of all input channels, and one of sums.
    fn held(&self) -> usize {
        match (self.shape.in_channels, self.shape.out_channels) {
            (1, 1) => 1,
            (channels, _) => channels + 1,
        }
    }

    /// # Safety
    /// As [`Spectra::run`].
    unsafe fn run(
        &self,
        ends: Ends,
        work: &mut Work,
        (parts, executor): (usize, &dyn Executor),
    ) -> Result<bool, Error> {
        let units = self.shape.units(L);
        let parts = parts.clamp(1, units.max(1));
        let len = self.held() * self.grid.len();
        let start = work.room(len * size_of::<Point<T, L>>(), parts)?;
        let finite = AtomicBool::new(true);
        let job = |part: usize| {
            // SAFETY: the room is ours, as large as all parts need, on a cache line, and zeroed
            // when it was new; this piece of it is this part's.
            let data = unsafe {
                let data = std::ptr::with_exposed_provenance_mut::<Point<T, L>>(start);
                std::slice::from_raw_parts_mut(data.add(part * len), len)
            };
            for unit in units * part / parts..units * (part + 1) / parts {
                // SAFETY: the caller's word for the arrays; units have different outputs. The CPU
                // has the instructions: compiling for them was refused elsewhere.
                if !unsafe { self.unit_here(unit, ends, data) } {
                    finite.store(false, Ordering::Relaxed);
                }
                if !finite.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        match parts {
            1 => job(0),
            parts => engine::run_once_each(executor, parts, &job),
        }
        Ok(finite.into_inner())
    }

    /// [`unit`](Self::unit) in the widest vectors.
    ///
    /// # Safety
    /// As there, and this CPU has the instructions of `isa`.
    unsafe fn unit_here(&self, unit: usize, ends: Ends, data: &mut [Point<T, L>]) -> bool {
        // SAFETY: the caller's word.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx => {
                    self.unit_avx512(unit, ends, data)
                }
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni => self.unit_avx2(unit, ends, data),
                _ => self.unit::<Plain<T, L>>(unit, ends, data),
            }
        }
    }

    /// # Safety
    /// As [`unit_here`](Self::unit_here).
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq")]
    unsafe fn unit_avx512(&self, unit: usize, ends: Ends, data: &mut [Point<T, L>]) -> bool {
        // SAFETY: the caller's word.
        unsafe { self.unit::<T::Wide>(unit, ends, data) }
    }

    /// # Safety
    /// As [`unit_here`](Self::unit_here).
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn unit_avx2(&self, unit: usize, ends: Ends, data: &mut [Point<T, L>]) -> bool {
        // SAFETY: the caller's word.
        unsafe { self.unit::<T::Half>(unit, ends, data) }
    }

    /// One lanes' worth of blocks.
    ///
    /// # Safety
    /// The arrays have the convolution's lengths, and nobody else touches this unit's outputs.
    #[inline(always)]
    unsafe fn unit<V: Vector<T, L>>(
        &self,
        unit: usize,
        ends: Ends,
        data: &mut [Point<T, L>],
    ) -> bool {
        let Window { shape, grid, spectrum, .. } = self;
        let (len, lanes) = (grid.len(), shape.lanes::<L>(unit));
        let bias = self.bias.as_deref();
        // SAFETY: the address is that of the input, which is so long.
        let input = unsafe {
            let input = std::ptr::with_exposed_provenance::<T>(ends.input);
            std::slice::from_raw_parts(input, shape.images * shape.input.image)
        };
        let output = std::ptr::with_exposed_provenance_mut::<T>(ends.output);
        if self.held() == 1 {
            load::<T, V, L>(shape, grid, &lanes, 0, (input, data));
            grid.forward::<V, L>(data);
            match spectrum {
                Spectrum::Each(all) => {
                    let own = &all[unit / shape.items() * len..][..len];
                    for (point, own) in data.iter_mut().zip(own) {
                        point.set(point.get::<V>().by(own.get::<V>()));
                    }
                }
                Spectrum::Shared(all) => {
                    let group = unit / shape.items().div_ceil(L);
                    let own = &all[group * len..][..len];
                    for (point, own) in data.iter_mut().zip(own) {
                        point.set(point.get::<V>().by(Pair::splat(*own)));
                    }
                }
            }
            grid.back::<V, L>(data);
            // SAFETY: the caller's word.
            return unsafe { store::<T, V, L>(shape, grid, &lanes, (0, bias), (data, output)) };
        }
        let Spectrum::Shared(all) = spectrum else {
            unreachable!("fft: lanes of channels, but a group has several")
        };
        let (sums, inputs) = data.split_at_mut(len);
        for (channel, data) in inputs.chunks_mut(len).enumerate() {
            load::<T, V, L>(shape, grid, &lanes, channel, (input, data));
            grid.forward::<V, L>(data);
        }
        let group = unit / shape.items().div_ceil(L);
        let mut finite = true;
        for channel in 0..shape.out_channels {
            let first = (group * shape.out_channels + channel) * shape.in_channels * len;
            let own = &all[first..][..shape.in_channels * len];
            for (at, (data, own)) in inputs.chunks(len).zip(own.chunks(len)).enumerate() {
                for (sum, (point, own)) in sums.iter_mut().zip(data.iter().zip(own)) {
                    let product = point.get::<V>().by(Pair::splat(*own));
                    sum.set(if at == 0 { product } else { sum.get::<V>().plus(product) });
                }
            }
            grid.back::<V, L>(sums);
            // SAFETY: the caller's word.
            finite &=
                unsafe { store::<T, V, L>(shape, grid, &lanes, (channel, bias), (sums, output)) };
        }
        finite
    }
}
