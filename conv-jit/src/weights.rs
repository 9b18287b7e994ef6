//! The weights of a program, checked and in the order of their use.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::Arc;

use conv_ir::program::Rewritten;
use conv_ir::{Bound, Conv, DType, Element, Program, Reduction, with_element};

use crate::Error;
use crate::compiled::Compiled;
use crate::engine::{self, Constants};
use crate::fft::Spectra;
use crate::options::Options;
use crate::scratch::Pool;
use crate::shared::Shared;

/// Code with the weights that it computes with.
pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    /// One per group.
    pub constants: Vec<Constants>,
    /// One per group: those of a step in blocks.
    pub spectra: Vec<Option<Spectra>>,
    /// Of a program of one step that need not have the contract's bits.
    pub bound: Option<Bound>,
    pub pool: Pool,
}

/// The weights of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepWeights<'a, T> {
    /// `[out, in/groups, k..]`; transposed `[in, out/groups, k..]`. Empty where the weights are
    /// compiled in: others would have no meaning, and are refused.
    pub weight: &'a [T],
    /// One per output channel, where the step has a bias that is not compiled in.
    pub bias: Option<&'a [T]>,
}

impl<T> Default for StepWeights<'_, T> {
    /// Of a step that has all of them compiled in.
    fn default() -> Self {
        StepWeights { weight: &[], bias: None }
    }
}

impl<'a, T> From<&'a [T]> for StepWeights<'a, T> {
    fn from(weight: &'a [T]) -> Self {
        StepWeights { weight, bias: None }
    }
}

impl<'a, T> From<(&'a [T], &'a [T])> for StepWeights<'a, T> {
    /// Weight and bias.
    fn from((weight, bias): (&'a [T], &'a [T])) -> Self {
        StepWeights { weight, bias: Some(bias) }
    }
}

/// The weights of one step that is computed, as they were given.
pub(crate) struct Kept<T> {
    /// Empty where they are compiled in.
    weight: Vec<T>,
    bias: Option<Vec<T>>,
}

impl<T> Kept<T> {
    pub fn as_given(&self) -> StepWeights<'_, T> {
        StepWeights { weight: &self.weight, bias: self.bias.as_deref() }
    }
}

/// Copies of the weights of the steps that are computed, for code that is made later. They were
/// checked.
pub(crate) fn kept<T: Element>(
    rewritten: &Rewritten,
    weights: &[StepWeights<'_, T>],
) -> Result<Vec<Kept<T>>, Error> {
    let steps = rewritten.program.convs().zip(&rewritten.origins);
    let copies = steps.map(|(conv, &origin)| {
        let StepWeights { weight, bias } = weights[origin];
        let weight = if conv.known().is_none() { copy_of(weight)? } else { Vec::new() };
        let bias = bias.filter(|_| bias_comes_later(conv)).map(copy_of).transpose()?;
        Ok(Kept { weight, bias })
    });
    copies.collect()
}

fn copy_of<T: Element>(from: &[T]) -> Result<Vec<T>, Error> {
    let mut copy = Vec::new();
    let refused = |e| Error::Memory(format!("a copy of {} weights: {e}", from.len()));
    copy.try_reserve_exact(from.len()).map_err(refused)?;
    copy.extend_from_slice(from);
    Ok(copy)
}

impl Inner {
    /// Packs the weights of every step as it was described.
    pub fn new<T: Element>(
        shared: Arc<Shared>,
        weights: &[StepWeights<'_, T>],
    ) -> Result<Inner, Error> {
        check::<T>(&shared.described, weights)?;
        let shared = match shared.needs_finite_weights() && !are_finite(&shared, weights) {
            true => for_any_weights(&shared)?,
            false => shared,
        };
        let rewritten = &shared.lowered.rewritten;
        let (mut constants, mut spectra, mut bound) = (Vec::new(), Vec::new(), None);
        for (lowered, compiled) in shared.lowered.groups.iter().zip(&shared.codes) {
            let steps = lowered.group.steps.clone();
            let origins = rewritten.origins[steps.clone()].iter();
            let own = || rewritten.program.convs().skip(steps.start).zip(origins.clone());
            // What is compiled in has no buffer of its own.
            let asked = own().filter(|(conv, _)| conv.known().is_none());
            let mut weight: Vec<&[T]> = asked.map(|(_, &origin)| weights[origin].weight).collect();
            let asked = own().filter(|(conv, _)| bias_comes_later(conv));
            let bias: Vec<&[T]> = asked.filter_map(|(_, &origin)| weights[origin].bias).collect();
            let to = (&compiled.code, &compiled.arrays);
            // A step in tiles has a group of its own.
            let first = weight.first().map(|weight| rewritten.weights_of(steps.start, weight));
            let first = first.transpose()?;
            if let (Some(first), Some(weight)) = (&first, weight.first_mut()) {
                *weight = first;
            }
            let blocks = spectra_of::<T>(&shared, steps.start, (weight.first(), bias.first()))?;
            if steps.start == 0 {
                bound = bound_of(&shared, weights, (first.as_deref(), blocks.as_ref()))?;
            }
            spectra.push(blocks);
            // SAFETY: every array has the length of its shape, and they stand in the order of the
            // group's steps, which is that of its nest's buffers. Rewriting leaves the shapes of
            // weights that come later, but for those of a step in tiles, whose nest's weight is as
            // long as what its tiles make of them.
            constants.push(unsafe { engine::pack(&lowered.nest, to, &weight, &bias)? });
        }
        Ok(Inner { shared, constants, spectra, bound, pool: Pool::default() })
    }
}

/// The spectra of a step in blocks, with the weights and the bias that come later.
fn spectra_of<T: Element>(
    shared: &Shared,
    step: usize,
    (weight, bias): (Option<&&[T]>, Option<&&[T]>),
) -> Result<Option<Spectra>, Error> {
    let rewritten = &shared.lowered.rewritten;
    let Some(blocks) = rewritten.blocks(step) else { return Ok(None) };
    let conv = &rewritten.program.steps()[step].conv;
    let known = known_arrays::<T>(conv);
    let (known_weight, known_bias) = known.unwrap_or_default();
    let weight = weight.copied().unwrap_or(&known_weight);
    let bias = bias.copied().or(known_bias.as_deref());
    Spectra::new(conv, blocks, shared.options.target.isa, (weight, bias)).map(Some)
}

/// Weights and bias that are compiled in.
fn known_arrays<T: Element>(conv: &Conv) -> Option<(Vec<T>, Option<Vec<T>>)> {
    let array = |values: &[f64]| values.iter().map(|x| T::from_f64(*x)).collect::<Vec<T>>();
    conv.known().map(|known| (array(&known.weight), known.bias.as_deref().map(array)))
}

/// How far off a program of one step may be, where its sums may be put together in another order;
/// `used` are the weights that its nest takes, where they come later, and its spectra.
fn bound_of<T: Element>(
    shared: &Shared,
    weights: &[StepWeights<'_, T>],
    (used, spectra): (Option<&[T]>, Option<&Spectra>),
) -> Result<Option<Bound>, Error> {
    let (Some(conv), [given]) = (shared.described.single(), weights) else { return Ok(None) };
    let rewritten = &shared.lowered.rewritten;
    let admits = shared.options.accuracy.admits().is_some();
    if !admits || conv.spec().reduction != Reduction::Sum {
        return Ok(None);
    }
    if let Some((_, found)) = rewritten.separated.first() {
        let (fixed, whole) = (found.bound(0.0), found.bound(1.0));
        let channels = conv.spec().out_channels;
        return Ok(Some(Bound::everywhere(channels, whole - fixed, fixed)));
    }
    let known = known_arrays(conv);
    let (weight, bias) = match &known {
        Some((weight, bias)) => (&weight[..], bias.as_deref().or(given.bias)),
        None => (given.weight, given.bias),
    };
    if let (Some(blocks), Some(spectra)) = (rewritten.blocks(0), spectra) {
        return Ok(Some(blocks.bound(conv, (&spectra.gains, weight), bias)));
    }
    let Some(tiles) = rewritten.tiles(0) else {
        return Ok(Some(Bound::direct(conv, weight, bias)));
    };
    let used = match used {
        Some(used) => Cow::Borrowed(used),
        None => rewritten.weights_of(0, weight)?,
    };
    Ok(Some(tiles.bound(conv, (&used, weight), bias)?))
}

/// The same code for weights that may be infinite or NaN.
fn for_any_weights(shared: &Shared) -> Result<Arc<Shared>, Error> {
    let options = Options { finite_weights: false, ..shared.options.clone() };
    Ok(Compiled::new(shared.described.clone(), options)?.shared)
}

/// Arrays are of the type that machine code reads, not of one that is named so and computes in
/// another way.
fn check_dtype<T: Element>(needed: DType) -> Result<(), Error> {
    let found = T::DTYPE;
    let is_machines = with_element!(found, M => TypeId::of::<T>() == TypeId::of::<M>());
    match is_machines {
        true if found == needed => Ok(()),
        true => Err(Error::DType { found, needed }),
        false => Err(Error::Argument(format!(
            "arrays are of {}, which judges code, but machine code takes {needed}",
            std::any::type_name::<T>()
        ))),
    }
}

/// The weights of a program, as it was described, fit it.
pub(crate) fn check<T: Element>(
    program: &Program,
    weights: &[StepWeights<'_, T>],
) -> Result<(), Error> {
    check_dtype::<T>(program.dtype())?;
    check_weights(program, weights)
}

/// Every array that comes later is there and has the length of its shape, and no other is.
fn check_weights<T: Element>(
    program: &Program,
    weights: &[StepWeights<'_, T>],
) -> Result<(), Error> {
    let count = program.steps().len();
    if weights.len() != count {
        let given = weights.len();
        let message = format!("there are weights for {given} steps, but the program has {count}");
        return Err(Error::Argument(message));
    }
    for (at, (conv, weights)) in program.convs().zip(weights).enumerate() {
        check_step(conv, weights).map_err(|error| match count {
            1 => error,
            _ => Error::Argument(format!("step {}: {error}", at + 1)),
        })?;
    }
    Ok(())
}

fn check_step<T: Element>(conv: &Conv, given: &StepWeights<'_, T>) -> Result<(), Error> {
    match (conv.known(), given.weight) {
        (None, weight) => check_len("weight", weight.len(), conv.weight_shape())?,
        (Some(_), []) => {}
        (Some(_), _) => {
            let message = "weights were given, but this convolution has its weights compiled in";
            return Err(Error::Argument(message.to_owned()));
        }
    }
    match (bias_comes_later(conv), given.bias) {
        (true, Some(bias)) => check_len("bias", bias.len(), conv.bias_shape()),
        (false, None) => Ok(()),
        (true, None) => {
            Err(Error::Argument("the convolution adds a bias, but none was given".to_owned()))
        }
        (false, Some(_)) => {
            Err(Error::Argument("a bias was given, but the convolution adds none".to_owned()))
        }
    }
}

/// Whether all weights are finite, and what is made of them.
pub(crate) fn are_finite<T: Element>(shared: &Shared, weights: &[StepWeights<'_, T>]) -> bool {
    let rewritten = &shared.lowered.rewritten;
    let mut tiled = rewritten.tiled.iter();
    tiled.all(|(at, tiles)| tiles.keeps_finite(weights[rewritten.origins[*at]].weight))
        && weights.iter().flat_map(|step| step.weight).all(|w| w.to_f64().is_finite())
}

pub(crate) fn bias_comes_later(conv: &Conv) -> bool {
    conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none())
}

pub(crate) fn check_len(name: &'static str, found: usize, shape: Vec<usize>) -> Result<(), Error> {
    let needed = shape.iter().product();
    if found == needed { Ok(()) } else { Err(Error::Length { name, found, needed, shape }) }
}
