//! What is computed in the place of what was described: the one place where a program is rewritten
//! by algorithm.
//!
//! ```text
//! exact   a known window of integers, a column times a row, is two steps             same bits
//!         strides of 1x1 windows move to the step before                            same bits
//! fast    before that, a known window of low rank is two steps                      within a bound
//!         behind it, steps of stride 1 are computed in tiles (machine code alone)   within a bound
//!         and large windows in blocks through an FFT (machine code alone)           within a bound
//! ```
//!
//! In: a program and how exact its result must be. Out: a program of the same input, output and
//! arrays that come later, and what was done.

use std::borrow::Cow;
use std::fmt;

use super::{Program, Step, tiled};
use crate::accuracy::Accuracy;
use crate::fft::Blocks;
use crate::separate::{Separable, separate, separate_whole};
use crate::winograd::Tiles;
use crate::{Conv, Element, Error, Reduction};

/// How the sums of one step are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// As the contract says: a chain of multiply-adds each.
    Direct,
    /// In tiles of fewer multiplications.
    Tiles(Tiles),
    /// In blocks through an FFT, of the model's size.
    Blocks,
}

impl Algorithm {
    /// Every algorithm that a step may have under an accuracy; direct sums come first.
    ///
    /// ```
    /// use conv_ir::{Accuracy, Conv, program::Algorithm};
    /// let conv: Conv = "conv2d ic64 oc64 in 56x56 kernel 3x3 pad 1".parse()?;
    /// assert_eq!(Algorithm::of(&conv, Accuracy::Exact), [Algorithm::Direct]);
    /// assert_eq!(Algorithm::of(&conv, Accuracy::within(1e-4)?).len(), 2);
    /// assert!(Algorithm::of(&conv, Accuracy::Fast).len() > 20);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn of(conv: &Conv, accuracy: Accuracy) -> Vec<Algorithm> {
        let most = accuracy.admits().unwrap_or(0.0);
        let fits =
            |tiles: &Tiles| tiles.relative_bound(conv) <= most && tiled::price(conv, tiles).is_ok();
        let tiles = Tiles::of(conv).unwrap_or_default().into_iter().filter(fits);
        let blocks = crate::fft::choose(conv, most).is_ok().then_some(Algorithm::Blocks);
        let all = std::iter::once(Algorithm::Direct).chain(tiles.map(Algorithm::Tiles));
        all.chain(blocks).collect()
    }

    /// The model's choice.
    pub fn choose(conv: &Conv, accuracy: Accuracy) -> Algorithm {
        let Some(most) = accuracy.admits() else { return Algorithm::Direct };
        match (crate::fft::choose(conv, most), tiled::choose(conv, most)) {
            (Ok(_), _) => Algorithm::Blocks,
            (Err(_), Ok(tiles)) => Algorithm::Tiles(tiles),
            (Err(_), Err(_)) => Algorithm::Direct,
        }
    }

    /// What the model expects it to cost, in multiply-adds of direct sums, where sizes are known,
    /// it is one of [`of`](Self::of), and the model's price is in them: that of an FFT is not.
    pub fn price(&self, conv: &Conv) -> Option<f64> {
        match self {
            Algorithm::Direct => Some(tiled::direct(conv)),
            Algorithm::Tiles(tiles) => tiled::price(conv, tiles).ok(),
            Algorithm::Blocks => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Algorithm::Direct => f.write_str("direct"),
            Algorithm::Tiles(tiles) => tiles.fmt(f),
            Algorithm::Blocks => f.write_str("FFT"),
        }
    }
}

/// A program in the place of another: the same input and output, and the same weights to pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    /// What is computed.
    pub program: Program,
    /// For each of its steps, the step described that it belongs to, by position.
    pub origins: Vec<usize>,
    /// Windows that are two steps now, with the step described, by position.
    pub separated: Vec<(usize, Separable)>,
    /// Whether strides moved to the step before.
    pub skips: bool,
    /// Steps of [`program`](Self::program) that are computed in tiles, by position, in order.
    pub tiled: Vec<(usize, Tiles)>,
    /// Steps of [`program`](Self::program) that are computed in blocks through an FFT, by position,
    /// in order.
    pub in_blocks: Vec<(usize, Blocks)>,
    /// Steps that could be computed in tiles or blocks and are not, with the reason.
    pub direct: Vec<(usize, String)>,
}

impl Rewritten {
    /// The weights that the nest of a step of [`program`](Self::program) takes, of those described.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn weights_of<'w, T: Element>(
        &self,
        step: usize,
        weight: &'w [T],
    ) -> Result<Cow<'w, [T]>, Error> {
        Ok(match self.tiles(step) {
            Some(tiles) => Cow::Owned(tiles.weights(&self.program.steps()[step].conv, weight)?),
            None => Cow::Borrowed(weight),
        })
    }

    /// The same, with steps in tiles where that pays and is as exact ([`tiled::choose`]).
    pub fn in_tiles(mut self, accuracy: Accuracy) -> Rewritten {
        let Some(most) = accuracy.admits() else { return self };
        let weights = tiled::Weights::of(&self.program);
        for (at, conv) in self.program.convs().enumerate() {
            if self.blocks(at).is_some() || self.is_pass(at) {
                continue;
            }
            match tiled::chosen(conv, most, weights) {
                Ok(tiles) => self.tiled.push((at, tiles)),
                Err(why) if is_dense(conv) => {
                    self.direct.push((at, format!("not in tiles: {why}")));
                }
                Err(_) => {}
            }
        }
        self
    }

    /// The same, with the only step computed by this algorithm.
    ///
    /// # Errors
    /// [`Error::Argument`] where there are several steps, or it is not one of
    /// [`Algorithm::of`].
    pub fn computed_by(
        mut self,
        accuracy: Accuracy,
        algorithm: Algorithm,
    ) -> Result<Rewritten, Error> {
        let Some(conv) = self.program.single() else {
            let count = self.program.steps().len();
            let message = format!("an algorithm is for one step, but there are {count}");
            return Err(Error::Argument(message));
        };
        if !Algorithm::of(conv, accuracy).contains(&algorithm) {
            let message =
                format!("{algorithm} is not computed under accuracy {accuracy} of {conv}");
            return Err(Error::Argument(message));
        }
        match algorithm {
            Algorithm::Direct => self.direct.push((0, "direct sums were asked for".to_owned())),
            Algorithm::Tiles(tiles) => self.tiled.push((0, tiles)),
            Algorithm::Blocks => return Ok(self.in_blocks(accuracy)),
        }
        Ok(self)
    }

    /// The same, where steps for which `keep` is false have direct sums.
    pub fn tiled_where(mut self, keep: impl Fn(usize) -> bool) -> Rewritten {
        let (tiled, direct) = self.tiled.into_iter().partition(|(at, _)| keep(*at));
        self.tiled = tiled;
        let fused: Vec<(usize, Tiles)> = direct;
        let why = |(at, _)| (at, "not in tiles: it is fused with others".to_owned());
        self.direct.extend(fused.into_iter().map(why));
        self
    }

    /// Whether a step of [`program`](Self::program) is one of the two that a window of low rank
    /// became: their bound is of direct sums, which they have.
    pub(super) fn is_pass(&self, step: usize) -> bool {
        self.separated.iter().any(|(origin, _)| *origin == self.origins[step])
    }

    /// The tiles of a step of [`program`](Self::program).
    pub fn tiles(&self, step: usize) -> Option<Tiles> {
        self.tiled.iter().find(|(at, _)| *at == step).map(|(_, tiles)| *tiles)
    }

    /// What was done, a sentence each.
    pub fn reasons(&self) -> Vec<String> {
        let split = |(at, found): &(usize, Separable)| {
            format!("step {}: the window is of {found}; computed as these two", at + 1)
        };
        let moved = "strides of 1x1 windows moved to the step before".to_owned();
        let tiled = |(at, tiles): &(usize, Tiles)| {
            let conv = &self.program.steps()[*at].conv;
            let outputs: usize = tiles.outputs().iter().product();
            let pairs = conv.in_channels_per_group() * conv.spec().out_channels;
            let bytes = |each: usize| (pairs * conv.dtype().bytes()).saturating_mul(each);
            format!(
                "step {}: in tiles, Winograd's {tiles}: {} multiplications for {}; error at most \
                 {:.1e} of the largest input times the channel's sum of |weights|; {} bytes of \
                 weights, transformed from {}",
                at + 1,
                tiles.points(),
                outputs * conv.kernel_volume(),
                tiles.relative_bound(conv),
                bytes(tiles.points()),
                bytes(conv.kernel_volume())
            )
        };
        let blocks = |(at, blocks): &(usize, Blocks)| {
            format!("step {}: {}", at + 1, blocks.reason(&self.program.steps()[*at].conv))
        };
        let direct = |(at, why): &(usize, String)| format!("step {}: {why}", at + 1);
        let algorithms = self.tiled.iter().map(tiled).chain(self.in_blocks.iter().map(blocks));
        let algorithms = algorithms.chain(self.direct.iter().map(direct));
        let split = self.separated.iter().map(split).chain(self.skips.then_some(moved));
        split.chain(algorithms).collect()
    }
}

/// Whether a step is of a kind that is computed in tiles where the rest allows it.
fn is_dense(conv: &Conv) -> bool {
    let spec = conv.spec();
    let is_sum = spec.reduction == Reduction::Sum && !spec.transposed;
    let is_dense = spec.groups == 1 || conv.in_channels_per_group() > 1;
    is_sum && is_dense && conv.kernel_volume() > 1
}

impl Program {
    /// What is computed in the place of this program.
    ///
    /// ```
    /// use conv_ir::separate::Accuracy;
    /// let chain: conv_ir::Program = "conv2d in 9 kernel 3; conv2d kernel 1 stride 2".parse()?;
    /// let rewritten = chain.rewritten(Accuracy::Exact);
    /// assert_eq!(rewritten.program.shape(1), [1, 1, 4, 4]);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn rewritten(&self, accuracy: Accuracy) -> Rewritten {
        let mut rewritten = self.with_strides_kept(accuracy);
        let program = rewritten.program.skipping_strides();
        rewritten.skips = program != rewritten.program;
        Rewritten { program, ..rewritten }
    }

    /// The same, but strides stay where they are.
    pub(super) fn with_strides_kept(&self, accuracy: Accuracy) -> Rewritten {
        let (program, origins, separated) = self.split_windows(accuracy.admits());
        let (tiled, in_blocks, direct) = (Vec::new(), Vec::new(), Vec::new());
        Rewritten { program, origins, separated, skips: false, tiled, in_blocks, direct }
    }

    fn whole_windows(&self) -> Split {
        (self.clone(), (0..self.steps.len()).collect(), Vec::new())
    }

    /// Windows of floating-point numbers only where results may be off by so much.
    fn split_windows(&self, most: Option<f64>) -> Split {
        let (mut steps, mut origins, mut separated) = (Vec::new(), Vec::new(), Vec::new());
        // Where each tensor is, counted in the steps made.
        let mut tensors = vec![0];
        for (at, step) in self.steps.iter().enumerate() {
            let residual = step.residual.map(|tensor| tensors[tensor]);
            let from: Vec<usize> = step.from.iter().map(|&tensor| tensors[tensor]).collect();
            let as_exact = |found: &Separable| {
                most.is_some_and(|most| found.relative_bound(&step.conv) <= most)
            };
            let found = match step.conv.dtype().is_integer() {
                true => separate_whole(&step.conv),
                false if most.is_some() => separate(&step.conv).filter(as_exact),
                false => None,
            };
            match found.filter(|_| !step.given) {
                Some(found) => {
                    steps.push(Step { from, ..found.first.clone().into() });
                    steps.push(Step { residual, ..found.second.clone().into() });
                    origins.extend([at, at]);
                    separated.push((at, found));
                }
                None => {
                    steps.push(Step { from, residual, ..step.clone() });
                    origins.push(at);
                }
            }
            tensors.push(steps.len());
        }
        if separated.is_empty() {
            return self.whole_windows();
        }
        let outputs = self.outputs().iter().map(|&tensor| tensors[tensor]).collect();
        match Program::giving(steps, outputs) {
            Ok(program) => (program, origins, separated),
            Err(_) => self.whole_windows(),
        }
    }
}

/// The program, the origin of each step, and the windows that became two.
type Split = (Program, Vec<usize>, Vec<(usize, Separable)>);
