//! How a program is compiled, as a caller says it.

use std::sync::Arc;

use conv_ir::program::plan::Plan;
use conv_ir::program::{Algorithm, Tuning};
use conv_ir::separate::Accuracy;
use conv_ir::{Program, Schedule, Target};

use crate::Error;
use crate::backend::Backend;
use crate::host::{as_here, host_target};

/// How to compile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Of a program of one step. `None`: the model's choice.
    pub schedule: Option<Schedule>,
    /// Which steps are fused, of those that are computed
    /// ([`Compiled::rewritten`](crate::Compiled::rewritten)). `None`: the model's choice.
    pub plan: Option<Plan>,
    /// How a program of one step is computed, of what its accuracy admits
    /// ([`Algorithm::of`]). `None`: the model's choice.
    pub algorithm: Option<Algorithm>,
    /// What was measured on such a machine (`convc tune`), where nothing is said above: schedules
    /// of steps that are not fused, and the algorithm of a program of one step. What does not fit
    /// is passed over, and [`explain`](crate::Compiled::explain) says why.
    pub tuning: Option<Arc<Tuning>>,
    /// What the model and the passes may assume of the machine. One with vectors of 256 or 512
    /// bits has its leaves assembled by us; this CPU must have them.
    pub target: Target,
    /// Look into the cache first, and leave the result there.
    pub cache: bool,
    /// Threads that a run uses at most, unless it says otherwise: each gets work for longer than
    /// it takes to wake it. As many compile the groups of a program side by side.
    pub threads: usize,
    /// Whether sums may be put together in another order, known windows of low rank as two passes,
    /// others in tiles or by FFT, within a bound that [`explain`](crate::Compiled::explain) states
    /// (a given schedule is for the exact order), or multiply-adds round twice, which code for
    /// [`Target::CRANELIFT`] does, whatever the target.
    pub accuracy: Accuracy,
    /// Whether weights that come later are finite. Then zero padding may be multiplied by them,
    /// where that is faster than skipping it. Packing weights that are not compiles anew, without.
    pub finite_weights: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            schedule: None,
            plan: None,
            algorithm: None,
            tuning: None,
            target: host_target(),
            cache: true,
            threads: 1,
            accuracy: Accuracy::Exact,
            finite_weights: true,
        }
    }
}

impl Options {
    /// The target that code is made for: that of the options, but for multiply-adds of two
    /// roundings Cranelift's, as leaves of ours have fused ones.
    ///
    /// ```
    /// use conv_jit::{Accuracy, Options, Target};
    /// let options = Options { accuracy: Accuracy::Unfused, ..Options::default() };
    /// assert_eq!(options.made_for().name, Target::CRANELIFT.name);
    /// ```
    pub fn made_for(&self) -> Target {
        match self.accuracy {
            Accuracy::Unfused => as_here(Target::CRANELIFT),
            Accuracy::Exact | Accuracy::Fast | Accuracy::Within(_) => self.target,
        }
    }

    /// The same for what is computed in the place of a program: that was decided once.
    pub(crate) fn as_decided(&self) -> Options {
        let accuracy = match self.accuracy {
            Accuracy::Exact | Accuracy::Fast | Accuracy::Within(_) => Accuracy::Exact,
            Accuracy::Unfused => Accuracy::Unfused,
        };
        Options { accuracy, algorithm: None, ..self.clone() }
    }

    /// Cranelift for that target.
    pub(crate) fn backend(&self) -> Result<Backend, Error> {
        let mut backend = Backend::of(&self.made_for())?;
        backend.facts.fma &= self.accuracy != Accuracy::Unfused;
        Ok(backend)
    }

    /// Threads that the plan is for, of so many: others give the same code.
    pub(crate) fn planned_for(&self, program: &Program, threads: usize) -> usize {
        let steps = program.steps().len();
        let is_planned = self.plan.is_none() && (steps > 1 || self.accuracy.admits().is_some());
        if is_planned { threads } else { 1 }
    }
}
