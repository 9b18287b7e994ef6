//! Cranelift's backend: the host's, or another one by name for machine code as text.
//!
//! In: nothing, or a target triple. Out: a [`Backend`], Cranelift's description of the machine plus
//! the few facts that the emitter asks for. Which instructions of x86-64 leaves may be made of
//! is the host's to say ([`is_here`]).

use std::sync::OnceLock;

use conv_ir::Target;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, Flags};
use target_lexicon::{Architecture, Triple};

use crate::Error;
use crate::host::is_here;

/// `speed` would run the e-graph, which schedules loads first and sinks multiply-adds: accumulators
/// spill, and a 5 x 2 tile loses 40 %. The emitter already hoists, folds and numbers what there is
/// to gain.
const OPT_LEVEL: &str = "none";
/// The backtracking allocator: the single-pass one spills every value that crosses a block.
const REGALLOC: &str = "backtracking";
/// It takes half as long.
const DRIVERS: &str = "single_pass";

/// The smallest page there is: 4096 bytes.
const PAGE_LOG2: &str = "12";

/// Which machine to make code for.
#[derive(Clone)]
pub struct Backend {
    pub(crate) target: OwnedTargetIsa,
    /// The same for drivers: loops around calls, in which a register more or less is nothing and
    /// time to compile is.
    pub(crate) drivers: OwnedTargetIsa,
    pub(crate) facts: Facts,
}

/// What the emitter must know of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// 128-bit vectors exist.
    pub simd: bool,
    /// A fused multiply-add exists as an instruction; without it, code multiplies, rounds and
    /// adds.
    pub fma: bool,
    /// The lane with the lower number has the lower address inside a wider integer.
    pub little_endian: bool,
}

impl Backend {
    /// The CPU that runs this program, with all features that Cranelift can use.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where Cranelift has no backend for it.
    pub fn host() -> Result<Backend, Error> {
        static HOST: OnceLock<Result<Backend, Error>> = OnceLock::new();
        HOST.get_or_init(detect).clone()
    }

    /// A machine by target triple (`aarch64`, `riscv64gc-unknown-linux-gnu`, ...), for text only.
    /// Needs feature `all-arch` unless it is the host's architecture.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the triple is unknown or its backend is not compiled in.
    pub fn by_triple(triple: &str) -> Result<Backend, Error> {
        let unsupported = |reason: String| Error::Unsupported(format!("target {triple}: {reason}"));
        let parsed: Triple =
            triple.parse().map_err(|e: target_lexicon::ParseError| unsupported(e.to_string()))?;
        finish(|| {
            let mut builder =
                isa::lookup(parsed.clone()).map_err(|e| unsupported(e.to_string()))?;
            for feature in usual_features(parsed.architecture) {
                builder.enable(feature).map_err(|e| unsupported(e.to_string()))?;
            }
            Ok(builder)
        })
    }

    /// The host where it runs the target; otherwise an ordinary x86-64, for text only.
    ///
    /// # Errors
    /// As [`by_triple`](Self::by_triple).
    pub fn of(target: &Target) -> Result<Backend, Error> {
        match is_here(target.isa) {
            true => Backend::host(),
            false => Backend::by_triple("x86_64-unknown-linux-gnu"),
        }
    }

    /// The target triple.
    pub fn name(&self) -> String {
        self.target.triple().to_string()
    }

    /// Whether multiply-adds round once. Where they do not, results differ from every other route's
    /// in the last bits.
    pub fn has_fma(&self) -> bool {
        self.facts.fma
    }
}

fn detect() -> Result<Backend, Error> {
    finish(|| cranelift_native::builder().map_err(|e| Error::Unsupported(e.to_owned())))
}

/// The features of an ordinary machine of that architecture, for text.
fn usual_features(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::X86_64 => &[
            "has_sse3",
            "has_ssse3",
            "has_sse41",
            "has_sse42",
            "has_avx",
            "has_avx2",
            "has_fma",
            "has_bmi1",
            "has_bmi2",
        ],
        Architecture::Riscv64(_) => &["has_v", "has_zvl128b"],
        _ => &[],
    }
}

fn finish(builder: impl Fn() -> Result<isa::Builder, Error>) -> Result<Backend, Error> {
    let make = |regalloc| {
        let flags = flags(regalloc).map_err(|e| Error::Unsupported(e.to_string()))?;
        builder()?.finish(flags).map_err(|e| Error::Unsupported(e.to_string()))
    };
    let target = make(REGALLOC)?;
    Ok(Backend { facts: facts(&target), drivers: make(DRIVERS)?, target })
}

fn flags(regalloc: &str) -> Result<Flags, settings::SetError> {
    let mut flags = settings::builder();
    flags.set("opt_level", OPT_LEVEL)?;
    flags.set("regalloc_algorithm", regalloc)?;
    flags.set("is_pic", "false")?; // the JIT needs it so
    flags.set("use_colocated_libcalls", "false")?; // library functions may be further away than a near call reaches
    flags.set("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" })?;
    // A tile that spills may have a frame of several pages, and the page below the stack is its
    // only end: each is touched in turn. Smaller frames cost nothing.
    flags.set("enable_probestack", "true")?;
    flags.set("probestack_strategy", "inline")?;
    flags.set("probestack_size_log2", PAGE_LOG2)?;
    flags.set("unwind_info", "false")?; // leaves call nothing that could panic
    Ok(Flags::new(flags))
}

fn facts(isa: &OwnedTargetIsa) -> Facts {
    let flag =
        |name: &str| isa.isa_flags().iter().any(|v| v.name == name && v.as_bool() == Some(true));
    let (simd, fma) = match isa.triple().architecture {
        Architecture::X86_64 => (true, flag("has_avx") && flag("has_fma")),
        Architecture::Riscv64(_) => (flag("has_v"), true),
        _ => (true, true),
    };
    Facts {
        simd,
        fma,
        little_endian: isa.endianness() == cranelift_codegen::ir::Endianness::Little,
    }
}
