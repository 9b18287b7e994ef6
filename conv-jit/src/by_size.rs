//! Code for sizes that came at run time.
//!
//! Where a size is free, strides are numbers that only a run knows. The assembler needs them in its
//! instructions, so that code for any size is Cranelift's, 128 bits wide, and two to thirty times
//! slower. So a size that is met is compiled as if it had been known. The code for any size runs
//! what is not worth that, a small run of a size that comes once. The bits are the same.
//!
//! The last [`MOST_SIZES`] sizes are kept, with weights packed for each, [`MOST_BYTES`] at most;
//! the one used longest ago goes first. The weights are kept as they were given, once.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conv_ir::Program;
use conv_ir::analysis::facts;

use crate::Error;
use crate::compiled::Compiled;
use crate::engine::Constants;
use crate::fft::Spectra;
use crate::options::Options;
use crate::weights::{Inner, StepArrays, kept};

/// Sizes that a packed program remembers. Requests of a model seldom come in more shapes at a time.
pub(crate) const MOST_SIZES: usize = 8;

/// Bytes of packed weights for them all. One size may have more.
const MOST_BYTES: usize = 64 << 20;

/// Multiply-adds that are worth compiling when a size comes for the first time: code for any size
/// takes 1 to 20 ms for them, and compiling 3 to 10.
const WORTH_COMPILING: u128 = 1 << 23;

/// What was compiled for the sizes that were met.
pub(crate) struct BySize {
    /// Of the free sizes.
    names: Vec<String>,
    options: Options,
    /// Of the steps that are computed.
    weights: Vec<StepArrays<'static>>,
    /// The last used first.
    met: Mutex<Vec<Met>>,
}

/// Sizes that were met, in the order of the names.
struct Met {
    sizes: Vec<usize>,
    code: Code,
}

#[derive(Clone)]
enum Code {
    /// They came once, and were not worth it.
    NotYet,
    /// It could not be made: memory was refused, or this route has a limit there.
    Refused,
    Made(Arc<Inner>),
}

impl BySize {
    /// For a program with free sizes. None where all are known, or where a given schedule or plan
    /// says how to compute: it need not be legal where the model would choose another.
    pub fn new(compiled: &Compiled, weights: &[StepArrays<'_>]) -> Result<Option<BySize>, Error> {
        let shared = &*compiled.shared;
        if shared.lens.is_some() || !shared.is_models_choice() {
            return Ok(None);
        }
        let rewritten = &shared.lowered.rewritten;
        let names = rewritten.program.steps()[0].conv.free_sizes();
        let names = names.into_iter().map(str::to_owned).collect();
        let kept = kept(rewritten, weights)?;
        // What is computed was decided once; sizes do not change it.
        let threads = compiled.threads;
        let options = Options { threads, ..shared.options.as_decided() };
        Ok(Some(BySize { names, options, weights: kept, met: Mutex::default() }))
    }

    /// What was made for these sizes, if it was. Allocates nothing.
    pub fn find(&self, sizes: &[(&str, usize)]) -> Option<Arc<Inner>> {
        match self.code(sizes)? {
            Code::Made(inner) => Some(inner),
            Code::NotYet | Code::Refused => None,
        }
    }

    /// The program of these sizes, compiled now if it is worth that. `None`: the code for any size
    /// runs it. Two threads that meet the same size at once may both compile it; the first one's
    /// stays.
    pub fn find_or_make(&self, sizes: &[(&str, usize)], sized: &Program) -> Option<Arc<Inner>> {
        let code = match self.code(sizes) {
            Some(Code::Made(inner)) => return Some(inner),
            Some(Code::Refused) => return None,
            None if work(sized) < WORTH_COMPILING => Code::NotYet,
            None | Some(Code::NotYet) => self.make(sized).map_or(Code::Refused, Code::Made),
        };
        self.keep(sizes, code);
        self.find(sizes)
    }

    /// The code of these sizes, which are the last used from now on.
    fn code(&self, sizes: &[(&str, usize)]) -> Option<Code> {
        let mut met = self.lock();
        let at = met.iter().position(|met| self.is(met, sizes))?;
        met[..=at].rotate_right(1);
        Some(met[0].code.clone())
    }

    fn is(&self, met: &Met, sizes: &[(&str, usize)]) -> bool {
        let given = |(name, value): (&String, &usize)| {
            sizes.iter().any(|(known, size)| known == name && size == value)
        };
        sizes.len() == met.sizes.len() && self.names.iter().zip(&met.sizes).all(given)
    }

    fn make(&self, sized: &Program) -> Result<Arc<Inner>, Error> {
        let compiled = Compiled::new(sized.clone(), self.options.clone())?;
        Ok(Arc::new(Inner::new(compiled.shared, &self.weights)?))
    }

    /// Remembers the code of sizes, and forgets those that were used longest ago.
    fn keep(&self, sizes: &[(&str, usize)], code: Code) {
        let value = |name| sizes.iter().find(|(known, _)| known == name).map(|(_, size)| *size);
        let Some(values) = self.names.iter().map(value).collect() else { return };
        let mut met = self.lock();
        match met.iter().position(|met| self.is(met, sizes)) {
            // Another thread was faster.
            Some(at) if matches!(met[at].code, Code::Made(_)) => return,
            Some(at) => met[at].code = code,
            None => met.insert(0, Met { sizes: values, code }),
        }
        let bytes = |met: &[Met]| met.iter().map(Met::bytes).sum::<usize>();
        while met.len() > MOST_SIZES || (met.len() > 1 && bytes(&met) > MOST_BYTES) {
            met.pop();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Met>> {
        // Nothing panics while the lock is held; if it did, the list would still be whole.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    fn bytes(&self) -> usize {
        match &self.code {
            Code::Made(inner) => {
                let spectra = inner.spectra.iter().flatten().map(Spectra::bytes).sum::<usize>();
                inner.constants.iter().map(Constants::bytes).sum::<usize>() + spectra
            }
            Code::NotYet | Code::Refused => 0,
        }
    }
}

fn work(sized: &Program) -> u128 {
    sized.convs().filter_map(|conv| Some(facts(conv)?.operations / 2)).sum()
}
