//! The target: the numbers of a machine that a schedule depends on. Plain data, never detected
//! here.

use std::fmt;

/// Whose instructions leaves are made of: what a machine is, whatever its caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// What every CPU has, by way of a compiler: Cranelift, or rustc for arrays.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// The same with AVX-VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 F, VL and DQ.
    Avx512,
    /// The same with VNNI.
    Avx512Vnni,
    /// The same with AMX: tiles of bytes.
    Avx512Amx,
}

/// How a leaf multiplies bytes whose sums have 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dots {
    /// One product a lane.
    One,
    /// Two products of words, which bytes are widened to: those of packed weights once.
    Pairs,
    /// Four products of bytes.
    Fours,
}

impl Dots {
    /// Whether a lane has several products at a time.
    pub const fn are_several(self) -> bool {
        !matches!(self, Dots::One)
    }
}

/// What an instruction set gives a leaf, the same on every CPU that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `portable`, `avx2` or `avx512`.
    pub name: &'static str,
    /// Its parts by Rust's names for them, all of which a CPU must have.
    pub features: &'static [&'static str],
    /// Bytes of one vector register.
    pub vector_bytes: usize,
    /// Vector registers.
    pub vector_registers: usize,
    /// An instruction may read one element from memory and use it in every lane.
    pub embeds_broadcasts: bool,
    /// Loads may leave lanes out, which are zero then.
    pub masks: bool,
    /// Masks have registers of their own: stores take them as loads do, at no price.
    pub mask_registers: bool,
    /// How many products of bytes an instruction adds to each lane of 32 bits.
    pub dots: Dots,
    /// Beside that it multiplies tiles: sixteen rows of 64 bytes by as many columns, and adds 64
    /// products to each of 256 sums of 32 bits.
    pub tiles: bool,
}

impl Isa {
    /// Whether it has vectors of 256 bits and no masks: AVX2, whatever it multiplies bytes with.
    pub const fn is_avx2(self) -> bool {
        matches!(self, Isa::Avx2 | Isa::AvxVnni)
    }

    /// Those that emitted code has versions for, the widest first.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// What it gives a leaf.
    pub const fn machine(self) -> &'static Machine {
        match self {
            Isa::Portable => &Machine::PORTABLE,
            Isa::Avx2 => &Machine::AVX2,
            Isa::AvxVnni => &Machine::AVX_VNNI,
            Isa::Avx512 => &Machine::AVX512,
            Isa::Avx512Vnni => &Machine::AVX512_VNNI,
            Isa::Avx512Amx => &Machine::AVX512_AMX,
        }
    }
}

impl Machine {
    /// Rows of a tile, and its columns of four bytes.
    pub const TILE_ROWS: i64 = 16;
    /// Bytes of a row of a tile.
    pub const TILE_ROW: i64 = 64;

    const PORTABLE: Machine = Machine {
        name: "portable",
        features: &[],
        vector_bytes: 16,
        vector_registers: 16,
        embeds_broadcasts: false,
        masks: false,
        mask_registers: false,
        dots: Dots::One,
        tiles: false,
    };
    const AVX2: Machine = Machine {
        name: "avx2",
        features: &["avx2", "fma"],
        vector_bytes: 32,
        masks: true,
        dots: Dots::Pairs,
        ..Machine::PORTABLE
    };
    const AVX_VNNI: Machine =
        Machine { features: &["avx2", "fma", "avxvnni"], dots: Dots::Fours, ..Machine::AVX2 };
    const AVX512: Machine = Machine {
        name: "avx512",
        features: &["avx512f", "avx512vl", "avx512dq", "avx2", "fma"],
        vector_bytes: 64,
        vector_registers: 32,
        embeds_broadcasts: true,
        masks: true,
        mask_registers: true,
        dots: Dots::Pairs,
        tiles: false,
    };
    const AVX512_VNNI: Machine = Machine {
        features: &["avx512f", "avx512vl", "avx512dq", "avx512vnni", "avx2", "fma"],
        dots: Dots::Fours,
        ..Machine::AVX512
    };
    const AVX512_AMX: Machine = Machine {
        features: &[
            "avx512f",
            "avx512vl",
            "avx512dq",
            "avx512vnni",
            "amx-tile",
            "amx-int8",
            "avx2",
            "fma",
        ],
        tiles: true,
        ..Machine::AVX512_VNNI
    };

    /// The narrowest vector that instructions are there for.
    const NARROWEST: i64 = 16;
    /// Registers beside accumulators and splats that stay: two vectors at work, and two of numbers
    /// for picks.
    const AT_WORK: i64 = 4;

    /// Whether `splats` stay in registers beside `sums` accumulators. Otherwise each use loads its
    /// own.
    pub const fn keeps_splats(&self, sums: i64, splats: i64) -> bool {
        sums + splats + Machine::AT_WORK <= self.vector_registers as i64
    }

    /// Whether `users` multiply-adds on vectors of `bytes` each repeat the splat that they share as
    /// an operand in memory, where no register is left for it.
    pub const fn embeds_splat(&self, users: i64, bytes: i64) -> bool {
        let is_full = bytes == self.vector_bytes as i64;
        let repeats = is_full && users <= MAX_EMBEDDED_BROADCASTS as i64;
        self.embeds_broadcasts && (users == 1 || repeats)
    }

    /// Whether one load gives each lane the bytes of its neighbours as well, so that taps beside
    /// each other are multiplied at a time.
    pub const fn slides(&self) -> bool {
        matches!(self.dots, Dots::Fours) && self.vector_bytes == 64
    }

    /// Whether `bytes` are a vector: registers can be used in part, down to 128 bits.
    pub const fn has_vector(&self, bytes: i64) -> bool {
        let is_power = bytes > 0 && bytes & (bytes - 1) == 0;
        is_power && bytes >= Machine::NARROWEST && bytes <= self.vector_bytes as i64
    }
}

/// Up to so many full-width multiply-adds each repeat a broadcast as a memory operand; for more of
/// them it is loaded once.
///
/// One load feeds a tile's vectors of channels. With 512 bits repeating it inside the instructions
/// saves a register. It costs nothing where one multiply-add and two loads start in a cycle
/// (Zen 4), but half the multiply-adds' loads where two do (Sapphire Rapids: 16 cycles for 28 of
/// them instead of 14); beyond these, `vbroadcast` is less code.
pub const MAX_EMBEDDED_BROADCASTS: usize = 4;

/// What the schedule chooser may know of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// A name for dumps and case files.
    pub name: &'static str,
    /// Whose instructions its leaves are made of.
    pub isa: Isa,
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
    /// How many products of bytes it adds at a time, where weights are packed for it.
    pub dots: Dots,
    /// The route can pack weights ahead of time and use scratch (emitted plain functions cannot).
    pub packs: bool,
}

impl Target {
    /// Cranelift on any CPU: 128-bit vectors. Of 16 registers 12: its multiply-add overwrites a
    /// factor, so accumulators move from register to register, and beyond 8 of them unrolled
    /// code spills.
    pub const CRANELIFT: Target = Target {
        name: "cranelift128",
        isa: Isa::Portable,
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
        dots: Isa::Portable.machine().dots,
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
        isa: Isa::Avx2,
        vector_bytes: Isa::Avx2.machine().vector_bytes,
        vector_registers: Isa::Avx2.machine().vector_registers,
        step_registers: 1,
        masks: true,
        fma_bytes: 64,
        load_bytes: 64,
        dots: Isa::Avx2.machine().dots,
        ..Target::CRANELIFT
    };
    /// The same with AVX-VNNI: four products of bytes at a time.
    pub const AVX_VNNI: Target = Target {
        name: "avxvnni",
        isa: Isa::AvxVnni,
        dots: Isa::AvxVnni.machine().dots,
        ..Target::AVX2
    };
    /// Our own assembler on x86-64 with AVX-512 (F, VL, DQ): 512-bit vectors, 32 registers, masks,
    /// broadcasts as memory operands.
    pub const AVX512: Target = Target {
        name: "avx512",
        isa: Isa::Avx512,
        vector_bytes: Isa::Avx512.machine().vector_bytes,
        vector_registers: Isa::Avx512.machine().vector_registers,
        step_registers: 0,
        masks: true,
        dots: Isa::Avx512.machine().dots,
        fma_bytes: 64, // Zen 4; Intel's servers and Zen 5 have twice that with 512 bits
        load_bytes: 64,
        l2_bytes: 1 << 20,
        ..Target::CRANELIFT
    };

    /// The same with VNNI: four products of bytes at a time.
    pub const AVX512_VNNI: Target = Target {
        name: "avx512vnni",
        isa: Isa::Avx512Vnni,
        dots: Isa::Avx512Vnni.machine().dots,
        ..Target::AVX512
    };

    /// The same with AMX: tiles of bytes beside vectors.
    pub const AVX512_AMX: Target = Target {
        name: "avx512amx",
        isa: Isa::Avx512Amx,
        fma_bytes: 128, // there are no others yet: Intel's servers
        load_bytes: 128,
        l2_bytes: 2 << 20,
        ..Target::AVX512_VNNI
    };

    /// The known targets, for text forms.
    pub const ALL: &'static [Target] = &[
        Target::CRANELIFT,
        Target::RUST,
        Target::AVX2,
        Target::AVX_VNNI,
        Target::AVX512,
        Target::AVX512_VNNI,
        Target::AVX512_AMX,
    ];

    /// The target of that name.
    pub fn by_name(name: &str) -> Option<Target> {
        Target::ALL.iter().copied().find(|t| t.name == name)
    }

    /// Whether the registers hold a tile: accumulators, operands that wait, and what a step needs
    /// beside them.
    pub const fn fits(&self, accumulators: i64, operands: i64) -> bool {
        accumulators + operands + self.step_registers as i64 <= self.vector_registers as i64
    }

    /// Whether taps beside each other on a row of bytes are multiplied at a time.
    pub const fn slides(&self) -> bool {
        self.isa.machine().slides() && matches!(self.dots, Dots::Fours)
    }

    /// Whether it multiplies tiles of bytes.
    pub const fn has_tiles(&self) -> bool {
        self.isa.machine().tiles && matches!(self.dots, Dots::Fours)
    }

    /// Whether two known taps of bytes or words are multiplied at a time where columns are in the
    /// lanes.
    pub const fn interleaves(&self) -> bool {
        self.isa.is_avx2() && self.dots.are_several()
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
