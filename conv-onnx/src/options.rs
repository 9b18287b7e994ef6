//! How a model is compiled.

use conv_jit::{Accuracy, Target};

/// Who runs the convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// Machine code of conv-jit.
    #[default]
    Compiled,
    /// tract, as everything else: to compare with.
    Tract,
}

/// How a model is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who runs the convolutions.
    pub route: Route,
    /// Threads that a convolution uses at most. tract runs the rest on one.
    pub threads: usize,
    /// Whether sums may be computed in another order.
    pub accuracy: Accuracy,
    /// The machine that code is made for: this one.
    pub target: Target,
}

impl Default for Options {
    fn default() -> Self {
        let conv_jit::Options { threads, accuracy, target, .. } = conv_jit::Options::default();
        Options { route: Route::Compiled, threads, accuracy, target }
    }
}

impl Options {
    pub(crate) fn jit(&self) -> conv_jit::Options {
        let Options { threads, accuracy, target, .. } = *self;
        conv_jit::Options { threads, accuracy, target, ..conv_jit::Options::default() }
    }
}
