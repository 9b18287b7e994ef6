//! A step whose window is in parts: direct sums of its newest taps, to which its older taps are a
//! residual.

use std::ops::Range;
use std::sync::Arc;

use conv_ir::lower::Within;
use conv_ir::program::stream::driver::Tensor;
use conv_ir::program::stream::{self as plan, StreamStep};
use conv_ir::{Array, Conv, Element};

use super::Stream;
use crate::Error;
use crate::backend::Backend;
use crate::engine::Work;
use crate::fft::{Past, Tail, TailWindow};
use crate::options::Options;
use crate::placed::{Made, Placed};
use crate::weights::StepArrays;

/// The code of a window in parts.
pub(super) struct Cut {
    tail: Tail,
    /// Of each of the step's pieces.
    newest: Vec<Placed>,
}

/// What a step in parts remembers.
pub(super) struct Kept<T> {
    past: Past,
    /// Outputs of a piece that are not those of the parts.
    direct: Vec<T>,
}

impl Cut {
    /// Of a step, where the input and the output lie as its other code says.
    pub fn new(
        (step, cut): (&StreamStep, &plan::Cut),
        conv: &Conv,
        within: &Within,
        given: &StepArrays<'_>,
        made_by: (&Options, &Backend),
    ) -> Result<Cut, Error> {
        let Some(weight) = &given.weight else {
            unreachable!("parts: the weights of {conv} are compiled in")
        };
        let isa = made_by.0.target.isa;
        let piece = (cut.parts, step.convs[0].0 as usize);
        let tail = Tail::new(conv, piece, isa, &weight.values())?;
        let weight: Array<'_> = match weight {
            Array::F64(weight) => cut.parts.newest(conv, weight).into(),
            Array::F32(weight) => cut.parts.newest(conv, weight).into(),
            other => unreachable!("parts are of f32 and f64, not of {}", other.dtype()),
        };
        let within = Within { residual: vec![tail.positions() as i64], ..within.clone() };
        let mut newest = Vec::with_capacity(cut.newest.len());
        for conv in &cut.newest {
            let made = Arc::new(Made::new(conv, &within, made_by)?);
            let bias = given.bias.as_ref().map(Array::borrowed);
            let given = StepArrays { weight: Some(weight.borrowed()), bias };
            newest.push(Placed::new(made, conv, given)?);
        }
        Ok(Cut { tail, newest })
    }

    /// Memory at the start of a stream, of pieces whose outputs are so many elements.
    pub fn kept<T: Element>(&self, piece: usize) -> Result<Kept<T>, Error> {
        let mut direct = Vec::new();
        let refused = |e| Error::Memory(format!("a piece of the outputs: {e}"));
        direct.try_reserve_exact(piece).map_err(refused)?;
        direct.resize(piece, T::from_f64(0.0));
        Ok(Kept { past: self.tail.past()?, direct })
    }
}

impl<T> Kept<T> {
    /// Begins a stream.
    pub fn begin(&mut self) {
        self.past.begin();
    }
}

impl<T: Element> Stream<T> {
    /// Runs a step in parts once, in pieces of every length.
    pub(super) fn try_cut(
        &self,
        (step, starts): (usize, [usize; 3]),
        memory: &mut [T],
        (kept, work): (&mut Option<Kept<T>>, &mut Work),
    ) -> Result<(), Error> {
        let (Some(cut), Some(kept)) = (&self.steps[step].cut, kept) else { return Ok(()) };
        for code in &cut.newest {
            let residual = Some(kept.past.residual(&cut.tail, 0));
            self.run((code, residual), starts, memory, work)?;
        }
        Ok(())
    }

    /// Computes a piece of a step in parts. Blocks of outputs to which the parts add what is not
    /// finite have direct sums.
    pub(super) fn run_cut(
        &self,
        cut: &Cut,
        ([step, piece], outputs): ([usize; 2], [i64; 2]),
        starts: [usize; 3],
        memory: &mut [T],
        (kept, work): (&mut Kept<T>, &mut Work),
    ) -> Result<(), Error> {
        let block = self.tensors[step].block();
        let address = memory[starts[0]..].as_mut_ptr().expose_provenance();
        // SAFETY: the box of a piece holds what the outputs that are known read, in each block of
        // the tensor; nobody else has the memory.
        unsafe { cut.tail.advance(&mut kept.past, TailWindow { address, block, outputs }) };
        let Kept { past, direct } = kept;
        let is_finite = cut.tail.stretches(past, outputs).all(|(_, is_finite)| is_finite);
        let to = (&self.tensors[step + 1], starts[1]);
        if !is_finite {
            self.run((&self.steps[step].pieces[piece].1, None), starts, memory, work)?;
            exchange(to, cut.tail.stretches(past, outputs), memory, direct);
        }
        let newest = [starts[0] + cut.tail.to_newest(), starts[1], starts[2]];
        let residual = Some(past.residual(&cut.tail, outputs[0]));
        self.run((&cut.newest[piece], residual), newest, memory, work)?;
        if !is_finite {
            exchange(to, cut.tail.stretches(past, outputs), memory, direct);
        }
        Ok(())
    }
}

/// Exchanges the outputs of a piece whose parts are not finite with those that are kept.
fn exchange<T: Copy>(
    (tensor, start): (&Tensor<T>, usize),
    stretches: impl Iterator<Item = (Range<usize>, bool)>,
    memory: &mut [T],
    kept: &mut [T],
) {
    let each = kept.len() / tensor.outer;
    for (stretch, _) in stretches.filter(|(_, is_finite)| !is_finite) {
        let part = stretch.start * tensor.inner..stretch.end * tensor.inner;
        for (row, kept) in kept.chunks_exact_mut(each).enumerate() {
            let memory = &mut memory[start + row * tensor.block()..];
            memory[part.clone()].swap_with_slice(&mut kept[part.clone()]);
        }
    }
}
