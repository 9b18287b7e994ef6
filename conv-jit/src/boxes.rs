//! Machine code for a convolution whose arrays are boxes of larger ones.
//!
//! In: a convolution, the extents of the arrays around it, constants that were packed for it. Out:
//! [`Placed`], code that is told at each run where the boxes begin.

use std::sync::Arc;

use conv_ir::lower::Within;
use conv_ir::{Conv, Isa, Nest};

use crate::backend::Backend;
use crate::code::Code;
use crate::engine::{Constants, Run, Work};
use crate::executor::Executor;
use crate::options::Options;
use crate::x86::Kernels;
use crate::{Error, lowered, share};

/// Machine code for boxes of certain arrays, wherever the boxes begin.
pub(crate) struct Made {
    pub nest: Nest,
    pub code: Code,
    divisible: bool,
    useful_threads: usize,
}

/// The same with its weights.
pub(crate) struct Placed {
    made: Arc<Made>,
    constants: Constants,
}

impl Made {
    /// Compiles. `options.target` is what code is made for, and the backend that of the options.
    pub fn new(
        conv: &Conv,
        within: &Within,
        (options, backend): (&Options, &Backend),
    ) -> Result<Made, Error> {
        Made::of(conv, lowered::within(conv, within, options)?, (options, backend))
    }

    /// The same under the schedule of a convolution whose arrays are whole, for its constants;
    /// none where those do not serve.
    #[cfg(feature = "ndarray")]
    pub fn like(
        (conv, whole, schedule): (&Conv, &Nest, &conv_ir::Schedule),
        within: &Within,
        (options, backend): (&Options, &Backend),
    ) -> Result<Option<Made>, Error> {
        let (nest, kernels) = lowered::within_as(conv, within, schedule, options)?;
        match crate::engine::packs_alike(whole, &nest) {
            true => Made::of(conv, (nest, kernels), (options, backend)).map(Some),
            false => Ok(None),
        }
    }

    fn of(
        conv: &Conv,
        (nest, kernels): (Nest, Kernels),
        (options, backend): (&Options, &Backend),
    ) -> Result<Made, Error> {
        let isa: Isa = options.target.isa;
        let code = Code::new(&nest, backend, isa, kernels)?;
        let divisible = share::is_divisible(&nest);
        let useful_threads = share::useful_threads(std::iter::once(conv));
        Ok(Made { nest, code, divisible, useful_threads })
    }
}

impl Placed {
    /// The code with constants that were packed for it.
    pub fn of(made: Arc<Made>, constants: Constants) -> Placed {
        Placed { made, constants }
    }

    /// With the constants of the whole convolution that the code is [`like`](Made::like): they must
    /// not be dropped before.
    #[cfg(feature = "ndarray")]
    pub fn with_constants(made: Arc<Made>, whole: &Constants) -> Placed {
        let constants = whole.lent(&made.nest, &made.code.slack);
        Placed { made, constants }
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.constants.bytes()
    }

    /// Runs. Addresses are exposed ones, of the first element of the boxes of input, output and
    /// residual; with constants of the whole convolution, they stand where its arrays do.
    ///
    /// # Safety
    /// From each address on there is a box of the convolution's shape, in an array of the extents
    /// that the code was made for; that of the output is nobody else's.
    pub unsafe fn run(
        &self,
        addresses: &[usize],
        (asked, most): (Option<usize>, usize),
        executor: &dyn Executor,
        work: &mut Work,
    ) -> Result<(), Error> {
        let Made { nest, code, divisible, useful_threads } = &*self.made;
        let parts = match divisible {
            true => asked.unwrap_or(most.min(*useful_threads)),
            false => 1,
        };
        let run =
            Run { nest, code, constants: &self.constants, sizes: &[], addresses, parts, executor };
        // SAFETY: code touches the elements of its boxes alone, which are there (the caller's
        // word): the nest's distances are those of the arrays, its loops those of the boxes, and of
        // callers' arrays no dead lane is touched.
        unsafe { run.run(work) }
    }
}
