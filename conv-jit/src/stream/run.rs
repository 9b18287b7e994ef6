//! The work of a call: the plan's driver, on the memory of a state, with machine code.

use conv_ir::Element;
use conv_ir::program::stream::driver;

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
    }

    /// Takes the input and computes what becomes known.
    pub(super) fn work(
        &self,
        state: &mut State<T>,
        input: (&[T], usize),
        output: (&mut [T], usize),
    ) -> Result<(), Error> {
        let (mut state, work) = state.driven(self.elements());
        self.driver().work(&mut state, input, output, &mut |step, piece, starts, memory| {
            let (_, code) = &self.steps[step].pieces[piece];
            self.run((step, code), starts, memory, work)
        })
    }

    /// Runs a step's code, on boxes that begin at these elements of the memory.
    pub(super) fn run(
        &self,
        (step, code): (usize, &Placed),
        [input, output, residual]: [usize; 3],
        memory: &mut [T],
        work: &mut Work,
    ) -> Result<(), Error> {
        let mut place = |start: usize| memory[start..].as_mut_ptr().expose_provenance();
        let adds = self.lines[step].residual.is_some();
        let addresses = [place(input), place(output), if adds { place(residual) } else { 0 }];
        // SAFETY: the memory is the state's, which is borrowed for us alone, and holds each tensor
        // as long as `Within` said when this code was made. A box begins within a tensor's ring,
        // and none is longer than its twin behind that (`rings` of the plan); the output's is
        // written where no tensor that is read lies.
        unsafe { code.run(&addresses, (None, 1), &CurrentThread, work) }
    }
}
