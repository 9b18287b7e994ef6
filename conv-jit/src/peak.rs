//! The most multiply-adds that one core can do: chains of fused multiply-adds that never leave the
//! registers.
//!
//! In: an element type; of bytes, products are summed in 32 bits, four at a time where an
//! instruction does that (VNNI), or in tiles (AMX). Out: [`Peak`], the median rate of the widest
//! vectors that this CPU multiplies and adds in, or nothing where we know no such instruction. It
//! is the denominator of every "percent of peak", measured in the same process as the numerator, so
//! that a throttled or shared core lowers both.
//!
//! Each step of the loop feeds a dozen or more independent accumulators: two pipes times a latency
//! of four or five cycles need eight to ten, and four pipes (large AArch64 cores) need sixteen.
//! Instructions are written out in assembly: a compiler would merge, spill or vectorise.
//! The operands are ordinary numbers, since some chips clock higher on zeros.
//!
//! It does not pin the thread and does not know of other cores.

use std::time::{Duration, Instant};

use conv_ir::DType;

/// Repetitions whose median counts.
const REPETITIONS: usize = 9;
/// Length of one repetition: long against a timer's resolution, short enough that all of them stay
/// below 0.2 s.
const REPETITION: Duration = Duration::from_millis(15);
/// Time for the clock frequency to settle under wide vectors.
const WARM_UP: Duration = Duration::from_millis(30);

/// What one core reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// 1e9 operations a second, two per multiply-add.
    pub gflops: f64,
    /// Width of the vectors; [`TILE`] of tiles.
    pub bits: u32,
}

/// Bits of a tile: sixteen rows of 64 bytes.
pub const TILE: u32 = 8 * 1024;

/// Measures the peak of the current core with its widest vectors. Takes about 0.2 s.
pub fn fma_peak(dtype: DType) -> Option<Peak> {
    WIDTHS.iter().find_map(|&bits| fma_peak_at(dtype, bits))
}

/// The same with vectors of `bits`; `None` where the CPU has no fused multiply-add of that width.
pub fn fma_peak_at(dtype: DType, bits: u32) -> Option<Peak> {
    let chains = machine::chains(dtype, bits)?;
    let operations = (2 * chains.multiply_adds) as f64;
    let steps = calibrate(chains);
    let mut rates: Vec<f64> = (0..REPETITIONS)
        .map(|_| steps as f64 * operations / time(chains, steps).as_secs_f64() / 1e9)
        .collect();
    rates.sort_by(f64::total_cmp);
    Some(Peak { gflops: rates[REPETITIONS / 2], bits })
}

/// Widths to try, widest first.
const WIDTHS: [u32; 4] = [TILE, 512, 256, 128];

/// Chains of multiply-adds. Only handed out by `machine::chains`, after it has seen the CPU
/// feature.
#[derive(Clone, Copy)]
struct Chains {
    /// Runs that many steps of all of them.
    run: unsafe fn(u64),
    /// In a step.
    multiply_adds: usize,
}

impl Chains {
    /// So many chains of vectors.
    fn of(run: unsafe fn(u64), chains: usize, dtype: DType, bits: u32) -> Chains {
        Chains { run, multiply_adds: chains * (bits as usize / (8 * dtype.bytes())) }
    }
}

fn time(chains: Chains, steps: u64) -> Duration {
    let start = Instant::now();
    // SAFETY: a `Chains` exists only where `machine::chains` found the instructions it executes; it
    // touches nothing but registers.
    unsafe { (chains.run)(steps) };
    start.elapsed()
}

/// Warms up, and finds the number of steps that fill one repetition.
fn calibrate(chains: Chains) -> u64 {
    let (start, mut steps) = (Instant::now(), 1 << 14);
    loop {
        let taken = time(chains, steps);
        if start.elapsed() >= WARM_UP && taken >= REPETITION / 8 {
            return (steps as f64 * REPETITION.as_secs_f64() / taken.as_secs_f64()) as u64 + 1;
        }
        if taken < REPETITION / 4 {
            steps *= 2;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use super::Chains;
    use crate::host::is_here;
    use conv_ir::{DType, Isa};
    use std::arch::{asm, is_x86_feature_detected};

    const CHAINS: usize = 12;

    pub(super) fn chains(dtype: DType, bits: u32) -> Option<Chains> {
        let fma = is_x86_feature_detected!("avx") && is_x86_feature_detected!("fma");
        let present = match bits {
            512 => is_x86_feature_detected!("avx512f"),
            256 | 128 => fma,
            _ => false,
        };
        let of = |run| Some(Chains::of(run, CHAINS, dtype, bits));
        if dtype.bytes() == 1 {
            let vnni = is_x86_feature_detected!("avx512vnni");
            return match bits {
                super::TILE if is_here(Isa::Avx512Amx) => {
                    Some(Chains { run: tiles, multiply_adds: TILES * 16 * 16 * 64 })
                }
                512 if vnni => of(u8x64),
                256 if vnni && is_x86_feature_detected!("avx512vl") => of(u8x32),
                256 if is_here(Isa::AvxVnni) => of(vex_u8x32),
                256 if is_x86_feature_detected!("avx2") => of(pairs_of_u8x32),
                _ => None,
            };
        }
        let run = match (dtype.bytes(), bits) {
            (4, 512) => f32x16,
            (4, 256) => f32x8,
            (4, _) => f32x4,
            (8, 512) => f64x8,
            (8, 256) => f64x4,
            (_, _) => f64x2,
        };
        of(run).filter(|_| present)
    }

    /// Tiles of sums: each waits 52 cycles for its own last product, and one starts each 16.
    const TILES: usize = 4;

    /// What is said of tile registers, sixteen rows of 64 bytes each, and a row of numbers.
    #[repr(align(64))]
    struct Forms([[u8; 64]; 2]);

    static FORMS: Forms = Forms([
        [
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // the palette
            64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0, // bytes of a row
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
            16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0, // rows
        ],
        [113; 64],
    ]);

    unsafe fn tiles(steps: u64) {
        // SAFETY: the caller has seen the CPU feature, and the system lets this process use tiles;
        // registers are declared clobbered, and constants are read.
        unsafe {
            asm!(
                "ldtilecfg [rdx]",
                "tileloadd tmm4, [rdx + rax + 64]",
                "tileloadd tmm5, [rdx + rax + 64]",
                "2:",
                "tdpbusd tmm0, tmm4, tmm5",
                "tdpbusd tmm1, tmm4, tmm5",
                "tdpbusd tmm2, tmm4, tmm5",
                "tdpbusd tmm3, tmm4, tmm5",
                "dec rcx",
                "jnz 2b",
                "tilerelease",
                inout("rcx") steps => _,
                in("rdx") &FORMS.0,
                // Rows of a tile lie so far apart.
                in("rax") 0,
                clobber_abi("sysv64"),
                options(nostack, readonly),
            );
        }
    }

    /// An instruction of three operands for each sum.
    macro_rules! one {
        ([$fma:literal $register:literal] $($sum:literal)*) => {
            concat!($($fma, " ", $register, $sum, ", ", $register, "12, ", $register, "13\n",)*)
        };
    }

    /// Two products, their sums in pairs, and the sum of those.
    macro_rules! pairs {
        ([] $($sum:literal)*) => {
            concat!($(
                "vpmaddubsw ymm14, ymm12, ymm13\n",
                "vpmaddwd ymm14, ymm14, ymm15\n",
                "vpaddd ymm", $sum, ", ymm", $sum, ", ymm14\n",
            )*)
        };
    }

    macro_rules! chains {
        ($name:ident, $splat:literal $register:literal, $step:ident $with:tt) => {
            unsafe fn $name(steps: u64) {
                // SAFETY: the caller has seen the CPU feature; registers are declared clobbered,
                // and one constant is read.
                unsafe {
                    asm!(
                        concat!($splat, " ", $register, "12, [rdx]"),
                        concat!($splat, " ", $register, "13, [rdx]"),
                        concat!($splat, " ", $register, "15, [rdx]"),
                        "2:",
                        $step!($with "0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"),
                        "dec rcx",
                        "jnz 2b",
                        "vzeroupper",
                        inout("rcx") steps => _,
                        in("rdx") &super::ORDINARY,
                        // System V preserves no vector register, so this declares all of them
                        // clobbered on every OS.
                        clobber_abi("sysv64"),
                        options(nostack, readonly),
                    );
                }
            }
        };
    }

    chains!(u8x64, "vpbroadcastd" "zmm", one["vpdpbusd" "zmm"]);
    chains!(u8x32, "vpbroadcastd" "ymm", one["vpdpbusd" "ymm"]);
    chains!(vex_u8x32, "vpbroadcastd" "ymm", one["{{vex}} vpdpbusd" "ymm"]);
    chains!(pairs_of_u8x32, "vpbroadcastd" "ymm", pairs[]);
    chains!(f32x16, "vbroadcastss" "zmm", one["vfmadd231ps" "zmm"]);
    chains!(f32x8, "vbroadcastss" "ymm", one["vfmadd231ps" "ymm"]);
    chains!(f32x4, "vbroadcastss" "xmm", one["vfmadd231ps" "xmm"]);
    chains!(f64x8, "vbroadcastsd" "zmm", one["vfmadd231pd" "zmm"]);
    chains!(f64x4, "vbroadcastsd" "ymm", one["vfmadd231pd" "ymm"]);
    chains!(f64x2, "vmovddup" "xmm", one["vfmadd231pd" "xmm"]);
}

#[cfg(target_arch = "aarch64")]
mod machine {
    use super::Chains;
    use conv_ir::DType;
    use std::arch::asm;

    const CHAINS: usize = 20;

    /// NEON is part of the architecture.
    pub(super) fn chains(dtype: DType, bits: u32) -> Option<Chains> {
        let run = if dtype.bytes() == 4 { f32x4 } else { f64x2 };
        (bits == 128 && dtype.bytes() > 1).then(|| Chains::of(run, CHAINS, dtype, bits))
    }

    macro_rules! chains {
        ($name:ident, $lanes:literal, [$($register:literal),*]) => {
            unsafe fn $name(steps: u64) {
                // SAFETY: NEON is always there; v0-v7 and v16-v31 are caller-saved and declared
                // clobbered, and one constant is read.
                unsafe {
                    asm!(
                        concat!("ld1r {{v30.", $lanes, "}}, [x10]"),
                        "2:",
                        $(concat!("fmla v", $register, ".", $lanes, ", v30.", $lanes, ", v30.", $lanes),)*
                        "subs x9, x9, #1",
                        "b.ne 2b",
                        inout("x9") steps => _,
                        in("x10") &super::ORDINARY,
                        clobber_abi("C"),
                        options(nostack, readonly),
                    );
                }
            }
        };
    }

    chains!(f32x4, "4s", [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]);
    chains!(f64x2, "2d", [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]);
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod machine {
    pub(super) fn chains(_: conv_ir::DType, _: u32) -> Option<super::Chains> {
        None
    }
}

/// An ordinary number both as f64 and, in its low half, as f32 (`0x3fe0_0000` is 1.75).
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ORDINARY: u64 = 0x3fe0_0000_3fe0_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_types_are_measured_with_the_same_vectors() {
        let Some(f32) = fma_peak(DType::F32) else { return };
        let f64 = fma_peak(DType::F64).expect("the same instructions exist for both");
        assert_eq!(f32.bits, f64.bits);
        assert!(f32.gflops > 1.0 && f32.gflops.is_finite(), "{f32:?}");
        // How they compare is for the bench to say: what else runs on the machine decides it here.
        assert!(f64.gflops > 0.5 && f64.gflops.is_finite(), "{f64:?}");
    }

    #[test]
    fn tiles_multiply_more_bytes_than_vectors() {
        let Some(tiles) = fma_peak_at(DType::U8, TILE) else { return };
        let vectors = fma_peak_at(DType::U8, 512).expect("a CPU with tiles has them");
        assert!(tiles.gflops > 2.0 * vectors.gflops, "{tiles:?} {vectors:?}");
    }

    #[test]
    fn widths_that_do_not_exist_are_refused() {
        assert_eq!(fma_peak_at(DType::F32, 96), None);
    }
}
