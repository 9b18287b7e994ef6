//! What this machine is: the targets that it runs, with its own caches and pipes in place of the
//! usual ones.
//!
//! In: nothing. Out: [`Target`]s whose sizes the CPU reports (leaf 4 of `cpuid`, on AMD 0x8000001D)
//! and whose rates follow from its maker and model, which no leaf reports. A schedule chosen for
//! them may differ from the one for the named target; results do not. Where nothing is known the
//! usual numbers stay.

use std::sync::OnceLock;

use conv_ir::{Isa, Target};

/// What machine code is made for, widest first, with the usual caches of such machines.
pub const TARGETS: [Target; 3] = [Target::AVX512, Target::AVX2, Target::CRANELIFT];

/// Those of [`TARGETS`] that this CPU runs, widest first and as this CPU is. The last one runs
/// everywhere.
pub fn targets_here() -> impl Iterator<Item = Target> {
    TARGETS.into_iter().filter(|target| is_here(target.isa)).map(as_here)
}

/// Whether this CPU has these instructions.
pub fn is_here(isa: Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    return match isa {
        Isa::Portable => true,
        // Conversions of f16 and words in the wider registers come with every such CPU.
        Isa::Avx2 => {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
        }
        Isa::AvxVnni => is_here(Isa::Avx2) && is_x86_feature_detected!("avxvnni"),
        Isa::Avx512 => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
        }
        Isa::Avx512Vnni => is_here(Isa::Avx512) && is_x86_feature_detected!("avx512vnni"),
        Isa::Avx512Amx => is_here(Isa::Avx512Vnni) && machine::may_use_tiles(),
    };
    #[cfg(not(target_arch = "x86_64"))]
    return isa == Isa::Portable;
}

/// The widest target that this CPU runs: AVX-512, AVX2, or what Cranelift has on every CPU.
pub fn host_target() -> Target {
    targets_here().next().unwrap_or_else(|| as_here(Target::CRANELIFT))
}

/// The target with this CPU's caches and pipes, whether it runs here or not; with its instructions
/// for bytes, where it has those of the target.
pub fn as_here(target: Target) -> Target {
    static CORE: OnceLock<Core> = OnceLock::new();
    let core = CORE.get_or_init(machine::core);
    let is_widest = matches!(target.isa, Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx);
    let wide = is_widest && core.is_wide;
    let isa = match target.isa {
        Isa::Avx512 if is_here(Isa::Avx512Amx) => Isa::Avx512Amx,
        Isa::Avx512 if is_here(Isa::Avx512Vnni) => Isa::Avx512Vnni,
        Isa::Avx2 if is_here(Isa::AvxVnni) => Isa::AvxVnni,
        isa => isa,
    };
    Target {
        isa,
        dots: if isa == target.isa { target.dots } else { isa.machine().dots },
        l1_bytes: core.l1_bytes.unwrap_or(target.l1_bytes),
        l2_bytes: core.l2_bytes.unwrap_or(target.l2_bytes),
        l2_cycles: if core.beyond == Beyond::Mesh { 20 } else { target.l2_cycles },
        far_cycles: match core.beyond {
            Beyond::Mesh => 130,
            Beyond::Ring => 80,
            Beyond::Other => target.far_cycles,
        },
        fma_bytes: if wide { 128 } else { target.fma_bytes },
        load_bytes: if wide { 128 } else { target.load_bytes },
        ..target
    }
}

/// This CPU's name for what was measured on it: its maker, family and model, as `GenuineIntel
/// 6/173`; elsewhere than on x86-64 the architecture. Clock and caches are not in it.
pub fn cpu() -> String {
    machine::cpu()
}

/// What is found out about a core.
#[derive(Clone, Copy, Debug, Default)]
struct Core {
    l1_bytes: Option<usize>,
    l2_bytes: Option<usize>,
    /// Two multiply-adds and two loads of 512 bits a cycle.
    is_wide: bool,
    beyond: Beyond,
}

/// What lies beyond the second-level cache.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Beyond {
    /// A mesh of all cores, as in Intel's servers: 30 GB/s for one core of a Sapphire Rapids, where
    /// a Zen 4 has 100.
    Mesh,
    /// A ring of few cores, as in Intel's other CPUs. Not measured on one: a number between the
    /// others. On a Granite Rapids that hides what it is, three taps of planes, 144 to 64 channels
    /// of 16x56x56, take 0.73 of the time with it, 1x1 over 250x250, 64 to 64, 0.65.
    Ring,
    #[default]
    Other,
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
    use std::sync::OnceLock;

    use conv_ir::Isa;

    use super::{Beyond, Core, is_here};

    /// AMD's family of Zen 5.
    const ZEN5: u32 = 0x1A;
    /// Skylake-SP to Cascade Lake, Ice Lake-SP and -D: server cores before there were tiles.
    const SERVERS: [u32; 3] = [0x55, 0x6A, 0x6C];

    pub(super) fn core() -> Core {
        let leaf = |number| __cpuid(number);
        let (highest, vendor) = (leaf(0).eax, name(leaf(0)));
        let (family, model) = version(leaf(1).eax);
        let is_intel = vendor == *b"GenuineIntel";
        let caches = match is_intel {
            true => 4,
            false => 0x8000_001D,
        };
        let known = match is_intel {
            true => highest,
            false => leaf(0x8000_0000).eax,
        };
        let is_server =
            is_intel && is_here(Isa::Avx512) && (has_tiles() || SERVERS.contains(&model));
        let size = |level| (known >= caches).then(|| data_cache(caches, level)).flatten();
        Core {
            l1_bytes: size(1),
            l2_bytes: size(2),
            is_wide: is_server || !is_intel && family == ZEN5,
            beyond: match (is_server, is_intel) {
                (true, _) => Beyond::Mesh,
                (false, true) => Beyond::Ring,
                (false, false) => Beyond::Other,
            },
        }
    }

    /// Whether the CPU has tiles, whoever may use them.
    fn has_tiles() -> bool {
        const TILES: u32 = 1 << 24;
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & TILES != 0
    }

    /// Whether this process may multiply tiles of bytes: the CPU does, and the system keeps tiles
    /// when threads change, for processes that ask for it.
    pub(super) fn may_use_tiles() -> bool {
        static MAY: OnceLock<bool> = OnceLock::new();
        const BYTES: u32 = 1 << 25;
        *MAY.get_or_init(|| {
            has_tiles() && __cpuid_count(7, 0).edx & BYTES != 0 && asked_for_tiles()
        })
    }

    /// Asks the system for tiles, once for all threads.
    #[cfg(target_os = "linux")]
    fn asked_for_tiles() -> bool {
        const REQUEST: libc::c_ulong = 0x1023; // ARCH_REQ_XCOMP_PERM
        const TILES: libc::c_ulong = 18; // XFEATURE_XTILEDATA
        // SAFETY: the call reads two numbers and writes no memory; a kernel that does not know it
        // gives an error.
        unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILES) == 0 }
    }

    /// Which other systems keep tiles is not known here.
    #[cfg(not(target_os = "linux"))]
    fn asked_for_tiles() -> bool {
        false
    }

    pub(super) fn cpu() -> String {
        let (family, model) = version(__cpuid(1).eax);
        format!("{} {family}/{model}", String::from_utf8_lossy(&name(__cpuid(0))))
    }

    /// Twelve letters.
    fn name(leaf: CpuidResult) -> [u8; 12] {
        let mut name = [0; 12];
        for (part, register) in name.chunks_mut(4).zip([leaf.ebx, leaf.edx, leaf.ecx]) {
            part.copy_from_slice(&register.to_le_bytes());
        }
        name
    }

    /// Family and model, their extensions added.
    fn version(signature: u32) -> (u32, u32) {
        let bits = |at: u32, count: u32| signature >> at & ((1 << count) - 1);
        (bits(8, 4) + bits(20, 8), bits(4, 4) | bits(16, 4) << 4)
    }

    /// Bytes of the first cache of that level that holds data: ways x partitions x line x sets,
    /// each reported less one.
    fn data_cache(leaf: u32, level: u32) -> Option<usize> {
        const DATA: u32 = 1;
        const UNIFIED: u32 = 3;
        let caches = (0..16).map(|at| __cpuid_count(leaf, at));
        let mut caches = caches.take_while(|cache| cache.eax & 31 != 0);
        let found = caches.find(|cache| {
            matches!(cache.eax & 31, DATA | UNIFIED) && cache.eax >> 5 & 7 == level
        })?;
        let size =
            |register: u32, at: u32, count: u32| (register >> at & ((1 << count) - 1)) as usize + 1;
        let line = size(found.ebx, 0, 12) * size(found.ebx, 12, 10) * size(found.ebx, 22, 10);
        line.checked_mul(found.ecx as usize + 1)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    pub(super) fn core() -> super::Core {
        super::Core::default()
    }

    pub(super) fn cpu() -> String {
        std::env::consts::ARCH.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_as_large_as_caches_are() {
        for target in targets_here() {
            assert!((8 << 10..=1 << 20).contains(&target.l1_bytes), "{target:?}");
            assert!((64 << 10..=64 << 20).contains(&target.l2_bytes), "{target:?}");
            assert!(target.l1_bytes < target.l2_bytes, "{target:?}");
        }
    }

    #[test]
    fn a_machine_changes_the_numbers_of_a_target_alone() {
        let usual = TARGETS.into_iter().filter(|target| is_here(target.isa));
        for (here, usual) in targets_here().zip(usual) {
            // Its instructions for bytes are beside the others.
            let isa = match here.isa {
                Isa::Avx512Vnni | Isa::Avx512Amx => Isa::Avx512,
                Isa::AvxVnni => Isa::Avx2,
                isa => isa,
            };
            let back = Target {
                isa,
                dots: isa.machine().dots,
                l1_bytes: usual.l1_bytes,
                l2_bytes: usual.l2_bytes,
                l2_cycles: usual.l2_cycles,
                far_cycles: usual.far_cycles,
                fma_bytes: usual.fma_bytes,
                load_bytes: usual.load_bytes,
                ..here
            };
            assert_eq!(back, usual);
        }
    }
}
