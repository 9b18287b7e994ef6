//! Machine code against the interpreter, bit for bit, and what else the crate promises.

mod chain;
mod guard;
mod memo;
mod memory;
mod nests;
mod pictures;
mod program;
mod routes;
#[cfg(target_arch = "x86_64")]
mod stack;
mod surface;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(feature = "ndarray")]
mod views;

use conv_ir::{Conv, Element, Nest, interp};

/// Numbers between -1 and 1 that are not tidy in binary.
pub(crate) fn fill<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..len).map(|_| T::from_f64(next() / 1.1)).collect()
}

/// The arrays of one case.
pub(crate) struct Case<T> {
    pub input: Vec<T>,
    pub weight: Vec<T>,
    pub bias: Option<Vec<T>>,
    pub residual: Option<Vec<T>>,
}

impl<T: Element> Case<T> {
    /// For a convolution without free sizes.
    pub(crate) fn new(conv: &Conv) -> Self {
        let len = conv.output_len().unwrap();
        Case {
            input: fill(conv.input_len().unwrap(), 1),
            weight: fill(conv.weight_len(), 2),
            bias: conv.spec().bias.then(|| fill(conv.bias_len(), 3)),
            residual: conv.spec().residual.then(|| fill(len, 4)),
        }
    }

    pub(crate) fn interpret(&self, nest: &Nest, len: usize, sizes: &[(&str, usize)]) -> Vec<T> {
        let mut output = vec![T::default(); len];
        let arguments = interp::Arguments {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            output: &mut output,
        };
        interp::run(nest, arguments, sizes).unwrap();
        output
    }
}

/// Bits, the sign of zero aside: a skipped tap may leave -0 where another route adds 0.
pub(crate) fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| (v.to_f64() + 0.0).to_bits()).collect()
}
