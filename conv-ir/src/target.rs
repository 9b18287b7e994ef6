//! The target: the numbers of a machine that a schedule depends on. Plain data, never detected
//! here.

use std::fmt;

/// What the schedule chooser may know of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// A name for dumps and case files.
    pub name: &'static str,
    /// Bytes of one vector register.
    pub vector_bytes: usize,
    /// Vector registers that the route's register allocator may fill before it spills.
    pub vector_registers: usize,
    /// Registers of those that a step needs beside accumulators and held operands: the splat
    /// operand and, where the instruction overwrites a factor, its copy. None where a splat is
    /// a memory operand.
    pub step_registers: usize,
    /// A fused multiply-add exists; without one a route rounds twice, and its bits differ from the
    /// contract's.
    pub fma: bool,
    /// Loads can be masked by lane.
    pub masks: bool,
    /// Also where sizes are known only at run time.
    pub masks_free: bool,
    /// Bytes of multiply-adds that a core starts in a cycle, in however many vectors: narrower
    /// ones may be as fast where they fit better.
    pub fma_bytes: usize,
    /// Bytes of vectors that a core loads in a cycle, two loads at most; those that cross a cache
    /// line take twice as long.
    pub load_bytes: usize,
    /// Bytes of first-level data cache of one core.
    pub l1_bytes: usize,
    /// Bytes of second-level cache of one core.
    pub l2_bytes: usize,
    /// Cycles that a KiB from the second-level cache adds to code that computes meanwhile.
    pub l2_cycles: usize,
    /// The same for what comes from further away.
    pub far_cycles: usize,
    /// The route can pack weights ahead of time and use scratch (emitted plain functions cannot).
    pub packs: bool,
}

impl Target {
    /// Cranelift on any CPU: 128-bit vectors. Of 16 registers 12: its multiply-add overwrites a
    /// factor, so accumulators move from register to register, and beyond 8 of them unrolled
    /// code spills.
    pub const CRANELIFT: Target = Target {
        name: "cranelift128",
        vector_bytes: 16,
        vector_registers: 12,
        step_registers: 2,
        fma: true,
        masks: false,
        masks_free: false,
        fma_bytes: 32,
        load_bytes: 32,
        l1_bytes: 32 << 10,
        l2_bytes: 512 << 10,
        l2_cycles: 10, /* this and the next measured on Zen 4 with MobileNet's blocks, step by
                        * step and fused */
        far_cycles: 24,
        packs: true,
    };
    /// Portable Rust source: vectors of 128 bits, which are arrays; rustc folds loads into
    /// multiply-adds.
    pub const RUST: Target = Target {
        name: "rust",
        vector_registers: 16,
        step_registers: 1,
        masks: true,
        masks_free: true,
        packs: false,
        ..Target::CRANELIFT
    };

    /// Our own assembler on x86-64 with AVX2 and FMA: 256-bit vectors, 16 registers, all of them
    /// ours.
    pub const AVX2: Target = Target {
        name: "avx2",
        vector_bytes: 32,
        vector_registers: 16,
        step_registers: 1,
        masks: true,
        fma_bytes: 64,
        load_bytes: 64,
        ..Target::CRANELIFT
    };
    /// Our own assembler on x86-64 with AVX-512 (F, VL, DQ): 512-bit vectors, 32 registers, masks,
    /// broadcasts as memory operands.
    pub const AVX512: Target = Target {
        name: "avx512",
        vector_bytes: 64,
        vector_registers: 32,
        step_registers: 0,
        masks: true,
        fma_bytes: 64, // Zen 4; Intel's servers and Zen 5 have twice that with 512 bits
        load_bytes: 64,
        l2_bytes: 1 << 20,
        ..Target::CRANELIFT
    };

    /// The known targets, for text forms.
    pub const ALL: &'static [Target] =
        &[Target::CRANELIFT, Target::RUST, Target::AVX2, Target::AVX512];

    /// The target of that name.
    pub fn by_name(name: &str) -> Option<Target> {
        Target::ALL.iter().copied().find(|t| t.name == name)
    }

    /// Elements of `bytes` each in one vector register; at least 1.
    pub const fn lanes(&self, bytes: usize) -> usize {
        if self.vector_bytes / bytes > 1 { self.vector_bytes / bytes } else { 1 }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
