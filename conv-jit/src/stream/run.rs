//! The work of a call: the plan's driver, on the memory of a state, with machine code.

use conv_ir::Element;
use conv_ir::program::stream::driver;

use super::parts::Kept;
use super::{State, Stream};
use crate::Error;
use crate::engine::Work;
use crate::executor::CurrentThread;
use crate::placed::Placed;

impl<T: Element> Stream<T> {
    pub(super) fn driver(&self) -> driver::Driver<'_, T, Vec<i64>> {
        let take = self.stream.pieces[0] as usize;
        driver::Driver { tensors: &self.tensors, steps: &self.lines, take }
    }

    /// Begins a stream, in memory of any contents.
    pub(super) fn begin(&self, state: &mut State<T>) {
        self.driver().begin(&mut state.driven(self.elements()).0);
        state.kept.iter_mut().flatten().for_each(Kept::begin);
    }

    /// Takes the input and computes what becomes known.
    pub(super) fn work(
        &self,
        state: &mut State<T>,
        input: (&[T], usize),
        output: (&mut [T], usize),
    ) -> Result<(), Error> {
        let (mut state, kept, work) = state.driven(self.elements());
        let run = &mut |[step, piece]: [usize; 2], outputs, starts, memory: &mut [T]| {
            let code = &self.steps[step];
            match (&code.cut, &mut kept[step]) {
                (Some(cut), Some(kept)) => {
                    self.run_cut(cut, ([step, piece], outputs), starts, memory, (kept, work))
                }
                _ => {
                    let adds = self.lines[step].residual.is_some();
                    let residual = adds.then(|| address(memory, starts[2]));
                    self.run((&code.pieces[piece].1, residual), starts, memory, work)
                }
            }
        };
        self.driver().work(&mut state, input, output, run)
    }

    /// Runs a step's code, on boxes that begin at these elements of the memory, and with a residual
    /// that begins at this address, where it adds one.
    pub(super) fn run(
        &self,
        (code, residual): (&Placed, Option<usize>),
        [input, output, _]: [usize; 3],
        memory: &mut [T],
        work: &mut Work,
    ) -> Result<(), Error> {
        let addresses = [address(memory, input), address(memory, output), residual.unwrap_or(0)];
        // SAFETY: the memory is the state's, which is borrowed for us alone, and holds each tensor
        // as long as `Within` said when this code was made. A box begins within a tensor's ring,
        // and none is longer than its twin behind that (`rings` of the plan); the output's is
        // written where no tensor that is read lies. A residual is in that memory too, or what the
        // parts of a window add, of which a piece is there.
        unsafe { code.run(&addresses, (None, 1), &CurrentThread, work) }
    }
}

/// Of an element, exposed.
fn address<T>(memory: &mut [T], at: usize) -> usize {
    memory[at..].as_mut_ptr().expose_provenance()
}
