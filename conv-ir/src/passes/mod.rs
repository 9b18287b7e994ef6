//! The pipeline. This table is the order in which passes run; there is no other list.
//!
//! Each pass is a free function from nest to nest in a file of its own, whose docs open with a
//! picture before -> after and with what it requires and gives. Passes know the nest, the schedule
//! and the target; they never see the convolution, nor each other.
//!
//! Dumps, timings, snapshots and the checks after each pass are all observers of [`compile`].

mod borders;
mod canonicalise;
mod constants;
mod epilogue;
mod outline;
mod pack;
mod phases;
mod reorder;
mod simplify;
mod sums;
mod tile;
mod unroll;
mod vectorise;

use crate::lower::{Layouts, Within, lower_as, lower_within};
use crate::{Conv, Error, Nest, Schedule, Target};

/// One pass.
pub struct Pass {
    /// Its name, a verb or what it makes.
    pub name: &'static str,
    /// What must hold before.
    pub requires: &'static str,
    /// What holds after.
    pub gives: &'static str,
    /// The pass.
    pub run: fn(&mut Nest, &Schedule, &Target) -> Result<(), Error>,
}

/// The pipeline, first pass first.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "canonicalise",
        requires: "one chain, as lowered",
        gives: "no unit axes, contiguous axes merged",
        run: canonicalise::canonicalise,
    },
    Pass {
        name: "phases",
        requires: "one chain",
        gives: "no quotient in an index, no divisibility test",
        run: phases::phases,
    },
    Pass {
        name: "borders",
        requires: "conditions and folds are about one output axis and one kernel axis each",
        gives: "inner chains without conditions; edge chains of one tile, or with tap bounds",
        run: borders::borders,
    },
    Pass {
        name: "tile",
        requires: "chains of whole output axes",
        gives: "leaves with a register tile; operations under `each`",
        run: tile::tile,
    },
    Pass {
        name: "reorder",
        requires: "chains",
        gives: "driver loops in the schedule's order, equal outer loops shared, one parallel loop around every store",
        run: reorder::reorder,
    },
    Pass {
        name: "pack",
        requires: "tiles",
        gives: "weight and bias read from packed buffers, filled by `setup`",
        run: pack::pack,
    },
    Pass {
        name: "vectorise",
        requires: "tiles, conditions free of the lanes' axis",
        gives: "lanes; operand registers loaded once per use; block stores",
        run: vectorise::vectorise,
    },
    Pass {
        name: "panels",
        requires: "lanes",
        gives: "where machines share packed weights: the same as pack, in blocks that do not depend on the tile",
        run: pack::pack_panels,
    },
    Pass {
        name: "sums",
        requires: "lanes",
        gives: "where the schedule says so, input channels in blocks, and their sums in scratch between",
        run: sums::sums,
    },
    Pass {
        name: "unroll",
        requires: "reduce loops",
        gives: "the schedule's taps repeated in the code, within a budget",
        run: unroll::unroll,
    },
    Pass {
        name: "constants",
        requires: "reduce loops marked as unrolled; a setup that copies",
        gives: "known weights packed; known windows spelled out: taps of zero gone, of one added, of minus one subtracted",
        run: constants::constants,
    },
    Pass {
        name: "epilogue",
        requires: "leaves",
        gives: "activations spelled out in primitive operations",
        run: epilogue::epilogue,
    },
    Pass {
        name: "outline",
        requires: "everything above",
        gives: "leaves as functions of pointers and ints, equal ones shared",
        run: outline::outline,
    },
    Pass {
        name: "simplify",
        requires: "nothing",
        gives: "constant bounds folded, conditions that always hold dropped, empty loops gone",
        run: simplify::simplify,
    },
];

/// Lowers `conv` through every pass under `schedule`. `observe` sees the nest after `"lower"` and
/// after each pass, by name.
///
/// ```
/// use conv_ir::{Conv, ConvSpec, Schedule, Target, passes};
/// let conv = Conv::new(ConvSpec { padding: 1.into(), ..ConvSpec::new([8, 8], [3, 3]) })?;
/// let schedule = Schedule::choose(&conv, &Target::CRANELIFT).schedule;
/// let mut seen = Vec::new();
/// passes::compile(&conv, &schedule, &Target::CRANELIFT, &mut |pass, _| {
///     seen.push(pass.to_owned());
/// })?;
/// assert_eq!((seen[0].as_str(), seen.len()), ("lower", 1 + passes::PASSES.len()));
/// # Ok::<(), conv_ir::Error>(())
/// ```
///
/// # Errors
/// [`Error::IllegalSchedule`] where the schedule asks for what cannot be done,
/// [`Error::Unsupported`] where the convolution is of too many kinds of outputs,
/// [`Error::Argument`] where a size must be known.
pub fn compile(
    conv: &Conv,
    schedule: &Schedule,
    target: &Target,
    observe: &mut dyn FnMut(&str, &Nest),
) -> Result<Nest, Error> {
    compile_as(conv, Layouts::of(conv), schedule, target, observe)
}

/// [`compile`] with arrays laid out like this.
///
/// # Errors
/// Those of [`compile`].
pub fn compile_as(
    conv: &Conv,
    layouts: Layouts,
    schedule: &Schedule,
    target: &Target,
    observe: &mut dyn FnMut(&str, &Nest),
) -> Result<Nest, Error> {
    compile_lowered(lower_as(conv, layouts), conv, (schedule, target), observe)
}

/// [`compile`] with arrays that are boxes of larger ones.
///
/// # Errors
/// Those of [`compile`], and [`Error::Argument`] where an array is smaller than its box.
pub fn compile_within(
    conv: &Conv,
    within: &Within,
    schedule: &Schedule,
    target: &Target,
    observe: &mut dyn FnMut(&str, &Nest),
) -> Result<Nest, Error> {
    let nest = lower_within(conv, within).ok_or_else(|| {
        Error::Argument(format!("{conv} is of no boxes of the arrays {within:?}"))
    })?;
    compile_lowered(nest, conv, (schedule, target), observe)
}

fn compile_lowered(
    mut nest: Nest,
    conv: &Conv,
    (schedule, target): (&Schedule, &Target),
    observe: &mut dyn FnMut(&str, &Nest),
) -> Result<Nest, Error> {
    schedule.check_words()?;
    if let Some(size) = conv.divisor_by_free_size() {
        let message = format!(
            "how many elements of a window count depends on {size}, which is free: give its value, \
             or count_include_pad and no ceil_mode, or no padding"
        );
        return Err(Error::Argument(message));
    }
    observe("lower", &nest);
    for pass in PASSES {
        (pass.run)(&mut nest, schedule, target)?;
        observe(pass.name, &nest);
    }
    // It is kept as long as its code. The passes leave a third of its memory unused; a copy has
    // no such room.
    Ok(nest.clone())
}

/// Finishes a nest whose leaves have lanes already: the pipeline from `epilogue` on. Leaves that
/// are outlined stay as they are.
pub(crate) fn finish(nest: &mut Nest, target: &Target) -> Result<(), Error> {
    let last = PASSES.iter().skip_while(|pass| pass.name != "epilogue");
    last.into_iter().try_for_each(|pass| (pass.run)(nest, &Schedule::default(), target))
}

impl Schedule {
    /// Whether the convolution can be computed like this for this target. Every legal schedule
    /// gives the same bits.
    ///
    /// ```
    /// use conv_ir::{Conv, Schedule, Target, nest::Role};
    /// let conv: Conv = "conv2d oc8 in 8x8 kernel 3x3".parse()?;
    /// let schedule = Schedule { tile: vec![(Role::OutChannel, 0)], ..Schedule::default() };
    /// let refused = schedule.check(&conv, &Target::AVX2).unwrap_err().to_string();
    /// assert_eq!(refused, "schedule: tile oc:0: numbers are from 1 to 65535");
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::IllegalSchedule`] with the word and its rule; [`Error::Unsupported`] where no
    /// schedule would do.
    pub fn check(&self, conv: &Conv, target: &Target) -> Result<(), Error> {
        compile(conv, self, target, &mut |_, _| {}).map(drop)
    }
}

/// The nest that schedules speak of: lowered, with unit axes dropped and contiguous axes merged.
pub fn canonical(conv: &Conv) -> Nest {
    canonical_as(conv, Layouts::of(conv))
}

/// [`canonical`] with arrays laid out like this.
pub fn canonical_as(conv: &Conv, layouts: Layouts) -> Nest {
    canonical_of(lower_as(conv, layouts))
}

/// [`canonical`] with arrays that are boxes of larger ones; none where one is smaller than its box.
pub fn canonical_within(conv: &Conv, within: &Within) -> Option<Nest> {
    lower_within(conv, within).map(canonical_of)
}

fn canonical_of(mut nest: Nest) -> Nest {
    canonicalise::merge_axes(&mut nest);
    nest
}
