//! As many numbers as a cache line holds, in the vectors that a CPU has.
//!
//! The operations are the same ones lane by lane whatever the vectors: a sum, a difference and a
//! product of one rounding each. So the bits are, too.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::{Add, Mul, Sub};

/// A number that transforms compute with.
pub(super) trait Real:
    Copy
    + Default
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + PartialEq
{
    fn of(x: f64) -> Self;
}

impl Real for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
}

impl Real for f64 {
    fn of(x: f64) -> f64 {
        x
    }
}

/// `L` numbers in registers. There is one only where the CPU has the instructions: whoever calls a
/// function that makes one vouches for it.
pub(super) trait Vector<T: Copy, const L: usize>: Lanes {
    fn of(numbers: [T; L]) -> Self;
    fn numbers(self) -> [T; L];
    fn splat(number: T) -> Self;

    /// Of every two pieces of `APART` numbers, the second one of `self` and the first one of
    /// `other` in each other's place. `APART` is a power of two below `L`.
    #[inline(always)]
    fn exchanged<const APART: usize>(self, other: Self) -> (Self, Self) {
        let (a, b) = (self.numbers(), other.numbers());
        let (mut low, mut high) = (a, b);
        for k in 0..L {
            let is_first = k & APART == 0;
            low[k] = if is_first { a[k] } else { b[k ^ APART] };
            high[k] = if is_first { a[k ^ APART] } else { b[k] };
        }
        (Self::of(low), Self::of(high))
    }
}

/// What is done with numbers in registers.
pub(super) trait Lanes: Copy {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
}

/// Whatever the compiler makes of it.
#[derive(Clone, Copy)]
pub(super) struct Plain<T, const L: usize>([T; L]);

impl<T: Real, const L: usize> Vector<T, L> for Plain<T, L> {
    #[inline(always)]
    fn of(numbers: [T; L]) -> Self {
        Plain(numbers)
    }

    #[inline(always)]
    fn numbers(self) -> [T; L] {
        self.0
    }

    #[inline(always)]
    fn splat(number: T) -> Self {
        Plain([number; L])
    }
}

impl<T: Real, const L: usize> Lanes for Plain<T, L> {
    #[inline(always)]
    fn plus(mut self, other: Self) -> Self {
        for lane in 0..L {
            self.0[lane] = self.0[lane] + other.0[lane];
        }
        self
    }

    #[inline(always)]
    fn minus(mut self, other: Self) -> Self {
        for lane in 0..L {
            self.0[lane] = self.0[lane] - other.0[lane];
        }
        self
    }

    #[inline(always)]
    fn times(mut self, other: Self) -> Self {
        for lane in 0..L {
            self.0[lane] = self.0[lane] * other.0[lane];
        }
        self
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! vectors {
    ($($(#[$doc:meta])* $name:ident: $count:literal of $vector:ident of $number:ident $lanes:literal,
       $splat:ident $add:ident $sub:ident $mul:ident $exchanged:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name([$vector; $count]);

        impl Vector<$number, $lanes> for $name {
            #[inline(always)]
            fn of(numbers: [$number; $lanes]) -> Self {
                // SAFETY: both are the same bytes, and any bytes are numbers.
                $name(unsafe {
                    std::mem::transmute::<[$number; $lanes], [$vector; $count]>(numbers)
                })
            }

            #[inline(always)]
            fn numbers(self) -> [$number; $lanes] {
                // SAFETY: as above.
                unsafe { std::mem::transmute::<[$vector; $count], [$number; $lanes]>(self.0) }
            }

            #[inline(always)]
            fn splat(number: $number) -> Self {
                // SAFETY: the CPU has the instruction, or there would be no such vector.
                $name([unsafe { $splat(number) }; $count])
            }

            #[inline(always)]
            fn exchanged<const APART: usize>(self, other: Self) -> (Self, Self) {
                // SAFETY: as above.
                let (low, high) = unsafe { $exchanged::<APART>(self.0, other.0) };
                ($name(low), $name(high))
            }
        }

        impl Lanes for $name {
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                let mut made = self;
                for at in 0..$count {
                    // SAFETY: as above.
                    made.0[at] = unsafe { $add(self.0[at], other.0[at]) };
                }
                made
            }

            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                let mut made = self;
                for at in 0..$count {
                    // SAFETY: as above.
                    made.0[at] = unsafe { $sub(self.0[at], other.0[at]) };
                }
                made
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                let mut made = self;
                for at in 0..$count {
                    // SAFETY: as above.
                    made.0[at] = unsafe { $mul(self.0[at], other.0[at]) };
                }
                made
            }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
vectors! {
    /// AVX-512's.
    Wide32: 1 of __m512 of f32 16, _mm512_set1_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps wide32;
    /// AVX-512's.
    Wide64: 1 of __m512d of f64 8, _mm512_set1_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd wide64;
    /// AVX's.
    Half32: 2 of __m256 of f32 16, _mm256_set1_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps half32;
    /// AVX's.
    Half64: 2 of __m256d of f64 8, _mm256_set1_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd half64;
}

/// From which of two vectors, and where in it, [`Vector::exchanged`] takes numbers: those of the
/// second one are counted on.
#[cfg(target_arch = "x86_64")]
const fn places<const L: usize>(apart: usize, high: bool) -> [i32; L] {
    let (mut made, mut k) = ([0; L], 0);
    while k < L {
        let from_first = k & apart == 0;
        made[k] = match (high, from_first) {
            (false, true) => k,
            (false, false) => L + (k ^ apart),
            (true, true) => k ^ apart,
            (true, false) => L + k,
        } as i32;
        k += 1;
    }
    made
}

/// # Safety
/// The CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn wide32<const APART: usize>(
    [a]: [__m512; 1],
    [b]: [__m512; 1],
) -> ([__m512; 1], [__m512; 1]) {
    let (low, high) = const { (places::<16>(APART, false), places::<16>(APART, true)) };
    // SAFETY: the caller's word; an array of as many bytes is read.
    unsafe {
        let [low, high] = [low, high].map(|all| std::mem::transmute::<[i32; 16], __m512i>(all));
        ([_mm512_permutex2var_ps(a, low, b)], [_mm512_permutex2var_ps(a, high, b)])
    }
}

/// # Safety
/// The CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn wide64<const APART: usize>(
    [a]: [__m512d; 1],
    [b]: [__m512d; 1],
) -> ([__m512d; 1], [__m512d; 1]) {
    let places = const { (places::<8>(APART, false), places::<8>(APART, true)) };
    // SAFETY: the caller's word; an array of as many bytes is read.
    unsafe {
        let of =
            |all: [i32; 8]| _mm512_cvtepi32_epi64(std::mem::transmute::<[i32; 8], __m256i>(all));
        let (low, high) = (of(places.0), of(places.1));
        ([_mm512_permutex2var_pd(a, low, b)], [_mm512_permutex2var_pd(a, high, b)])
    }
}

/// # Safety
/// The CPU has AVX.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn half32<const APART: usize>(a: [__m256; 2], b: [__m256; 2]) -> ([__m256; 2], [__m256; 2]) {
    let (mut low, mut high) = ([a[0], b[0]], [a[1], b[1]]);
    for at in 0..2 {
        let (a, b) = (a[at], b[at]);
        // SAFETY: the caller's word.
        (low[at], high[at]) = unsafe {
            match APART {
                8 => continue,
                4 => (_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)),
                2 => (_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b)),
                _ => (
                    _mm256_blend_ps::<0xaa>(a, _mm256_moveldup_ps(b)),
                    _mm256_blend_ps::<0xaa>(_mm256_movehdup_ps(a), b),
                ),
            }
        };
    }
    (low, high)
}

/// # Safety
/// The CPU has AVX.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn half64<const APART: usize>(
    a: [__m256d; 2],
    b: [__m256d; 2],
) -> ([__m256d; 2], [__m256d; 2]) {
    let (mut low, mut high) = ([a[0], b[0]], [a[1], b[1]]);
    for at in 0..2 {
        let (a, b) = (a[at], b[at]);
        // SAFETY: the caller's word.
        (low[at], high[at]) = unsafe {
            match APART {
                4 => continue,
                2 => (_mm256_permute2f128_pd::<0x20>(a, b), _mm256_permute2f128_pd::<0x31>(a, b)),
                _ => (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)),
            }
        };
    }
    (low, high)
}

/// The vectors of each machine for a type of numbers.
pub(super) trait Vectors<const L: usize>: Real {
    type Wide: Vector<Self, L>;
    type Half: Vector<Self, L>;
}

#[cfg(target_arch = "x86_64")]
impl Vectors<16> for f32 {
    type Wide = Wide32;
    type Half = Half32;
}

#[cfg(target_arch = "x86_64")]
impl Vectors<8> for f64 {
    type Wide = Wide64;
    type Half = Half64;
}

#[cfg(not(target_arch = "x86_64"))]
impl<T: Real, const L: usize> Vectors<L> for T {
    type Wide = Plain<T, L>;
    type Half = Plain<T, L>;
}
