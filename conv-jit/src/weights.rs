//! The weights of a program, checked and in the order of their use.

use std::borrow::Cow;
use std::sync::Arc;

use conv_ir::program::Rewritten;
use conv_ir::winograd::Tiles;
use conv_ir::{Array, Bound, Conv, DType, Element, Program, Reduction, Stored, Values};

use crate::Error;
use crate::compiled::Compiled;
use crate::engine::{self, Constants};
use crate::fft::Spectra;
use crate::lowered::LoweredGroup;
use crate::memory::Room;
use crate::options::Options;
use crate::scratch::Pool;
use crate::shared::{GroupCode, Shared};

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
    /// For arrays that do not lie row by row.
    #[cfg(feature = "ndarray")]
    pub strided: crate::strided::Ready,
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

/// The weights of one step, each array of a type of its own. `None` where there is no such array,
/// or it is compiled in.
#[derive(Clone, Debug, Default)]
pub struct StepArrays<'a> {
    /// As in [`StepWeights`].
    pub weight: Option<Array<'a>>,
    /// As in [`StepWeights`].
    pub bias: Option<Array<'a>>,
}

impl<'a, T: Stored> StepWeights<'a, T> {
    /// # Errors
    /// [`Error::Argument`] for numbers that only judge code.
    pub(crate) fn arrays(&self) -> Result<StepArrays<'a>, Error> {
        let array = |numbers: &'a [T]| T::array(numbers).ok_or_else(only_judges::<T>);
        let weight = Some(self.weight).filter(|weight| !weight.is_empty());
        Ok(StepArrays {
            weight: weight.map(array).transpose()?,
            bias: self.bias.map(array).transpose()?,
        })
    }
}

impl StepArrays<'_> {
    pub(crate) fn borrowed(&self) -> StepArrays<'_> {
        StepArrays {
            weight: self.weight.as_ref().map(Array::borrowed),
            bias: self.bias.as_ref().map(Array::borrowed),
        }
    }
}

/// Copies of the weights of the steps that are computed, for code that is made later. They were
/// checked.
pub(crate) fn kept(
    rewritten: &Rewritten,
    weights: &[StepArrays<'_>],
) -> Result<Vec<StepArrays<'static>>, Error> {
    let steps = rewritten.program.convs().zip(&rewritten.origins);
    let copies = steps.map(|(conv, &origin)| {
        let StepArrays { weight, bias } = &weights[origin];
        let weight = weight.as_ref().filter(|_| conv.known().is_none());
        let bias = bias.as_ref().filter(|_| bias_comes_later(conv));
        Ok(StepArrays {
            weight: weight.map(Array::copied).transpose()?,
            bias: bias.map(Array::copied).transpose()?,
        })
    });
    copies.collect()
}

impl Inner {
    /// Packs the weights of every step as it was described.
    pub fn new(shared: Arc<Shared>, weights: &[StepArrays<'_>]) -> Result<Inner, Error> {
        check_weights(&shared.described, weights)?;
        let shared = match shared.needs_finite_weights() && !are_finite(&shared, weights) {
            true => for_any_weights(&shared)?,
            false => shared,
        };
        let rewritten = &shared.lowered.rewritten;
        let (mut constants, mut spectra, mut bound) = (Vec::new(), Vec::new(), None);
        let groups = || shared.lowered.groups.iter().zip(&shared.codes);
        let packed = |(group, compiled): (&LoweredGroup, &GroupCode)| {
            engine::packed_bytes(&group.nest, &compiled.code.slack)
        };
        let mut room = Room::new(groups().map(packed).fold(0, usize::saturating_add))?;
        for (lowered, compiled) in groups() {
            let steps = lowered.group.steps.clone();
            let origins = rewritten.origins[steps.clone()].iter();
            let own = || rewritten.program.convs().skip(steps.start).zip(origins.clone());
            // What is compiled in has no buffer of its own.
            let asked = own().filter(|(conv, _)| conv.known().is_none());
            let given = asked.filter_map(|(_, &origin)| weights[origin].borrowed().weight);
            let mut weight: Vec<Array<'_>> = given.collect();
            let asked = own().filter(|(conv, _)| bias_comes_later(conv));
            let bias = asked.filter_map(|(_, &origin)| weights[origin].borrowed().bias);
            let bias: Vec<Array<'_>> = bias.collect();
            let to = (&*compiled.code, &compiled.arrays);
            // A step in tiles has a group of its own.
            if let Some(weight) = weight.first_mut()
                && rewritten.tiles(steps.start).is_some()
            {
                *weight = transformed(rewritten, steps.start, weight)?;
            }
            let blocks = spectra_of(&shared, steps.start, (weight.first(), bias.first()))?;
            if steps.start == 0 {
                bound = bound_of(&shared, weights, (weight.first(), blocks.as_ref()))?;
            }
            spectra.push(blocks);
            // SAFETY: every array has the length of its shape, and they stand in the order of the
            // group's steps, which is that of its nest's buffers. Rewriting leaves the shapes of
            // weights that come later, but for those of a step in tiles, whose nest's weight is as
            // long as what its tiles make of them.
            constants
                .push(unsafe { engine::pack(&lowered.nest, to, (&weight, &bias), &mut room)? });
        }
        Ok(Inner {
            shared,
            constants,
            spectra,
            bound,
            pool: Pool::default(),
            #[cfg(feature = "ndarray")]
            strided: crate::strided::Ready::default(),
        })
    }
}

/// The spectra of a step in blocks, with the weights and the bias that come later.
fn spectra_of(
    shared: &Shared,
    step: usize,
    (weight, bias): (Option<&Array<'_>>, Option<&Array<'_>>),
) -> Result<Option<Spectra>, Error> {
    let rewritten = &shared.lowered.rewritten;
    let Some(blocks) = rewritten.blocks(step) else { return Ok(None) };
    let conv = &rewritten.program.steps()[step].conv;
    let (weight, bias) = values_of(conv, weight, bias);
    let given = (&weight[..], bias.as_deref());
    Spectra::new(conv, blocks, shared.options.target.isa, given).map(Some)
}

/// Weights and bias as numbers: those that are compiled in, or those that come later.
fn values_of(
    conv: &Conv,
    weight: Option<&Array<'_>>,
    bias: Option<&Array<'_>>,
) -> (Vec<f64>, Option<Vec<f64>>) {
    let later = bias.map(Array::values);
    match conv.known() {
        Some(known) => {
            let bias = known.bias.as_ref().map(|bias| bias.to_vec());
            (known.weight.to_vec(), bias.or(later))
        }
        None => (weight.map(Array::values).unwrap_or_default(), later),
    }
}

/// The weights that a step in tiles takes.
fn transformed(
    rewritten: &Rewritten,
    step: usize,
    weight: &Array<'_>,
) -> Result<Array<'static>, Error> {
    fn of<T: Element>(rewritten: &Rewritten, step: usize, weight: &[T]) -> Result<Vec<T>, Error> {
        Ok(rewritten.weights_of(step, weight)?.into_owned())
    }
    Ok(match weight {
        Array::F64(weight) => of(rewritten, step, weight)?.into(),
        Array::F32(weight) => of(rewritten, step, weight)?.into(),
        other => unreachable!("tiles are of f32 and f64, not of {}", other.dtype()),
    })
}

/// How far off a program of one step may be, where its sums may be put together in another order;
/// `used` are the weights that its nest takes, where they come later, and its spectra.
fn bound_of(
    shared: &Shared,
    weights: &[StepArrays<'_>],
    (used, spectra): (Option<&Array<'_>>, Option<&Spectra>),
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
    if let Some(tiles) = rewritten.tiles(0) {
        return Ok(Some(match conv.dtype() {
            DType::F64 => tiled_bound::<f64>(conv, (rewritten, tiles), given, used)?,
            _ => tiled_bound::<f32>(conv, (rewritten, tiles), given, used)?,
        }));
    }
    let (weight, bias) = values_of(conv, given.weight.as_ref(), given.bias.as_ref());
    let bias = bias.as_deref();
    Ok(Some(match (rewritten.blocks(0), spectra) {
        (Some(blocks), Some(spectra)) => blocks.bound(conv, (&spectra.gains, &weight), bias),
        _ => Bound::direct(conv, &weight, bias),
    }))
}

/// The same of a step in tiles, whose numbers are of type `T`.
fn tiled_bound<T: Element>(
    conv: &Conv,
    (rewritten, tiles): (&Rewritten, Tiles),
    given: &StepArrays<'_>,
    used: Option<&Array<'_>>,
) -> Result<Bound, Error> {
    let known = conv.known();
    let weight = numbers::<T>(known.map(|known| &known.weight), given.weight.as_ref());
    let weight = weight.unwrap_or_default();
    let bias = numbers::<T>(known.and_then(|known| known.bias.as_ref()), given.bias.as_ref());
    let used = match used.and_then(|used| T::numbers(used)) {
        Some(used) => Cow::Borrowed(used),
        None => rewritten.weights_of(0, &weight)?,
    };
    Ok(tiles.bound(conv, (&used, &weight), bias.as_deref())?)
}

/// An array's numbers: those that are compiled in, or those that come later.
fn numbers<'a, T: Element>(
    known: Option<&Values>,
    later: Option<&'a Array<'_>>,
) -> Option<Cow<'a, [T]>> {
    match known {
        Some(known) => Some(known.iter().map(|&x| T::from_f64(x)).collect()),
        None => later.and_then(|later| T::numbers(later)).map(Cow::Borrowed),
    }
}

/// The same code for weights that may be infinite or NaN.
fn for_any_weights(shared: &Shared) -> Result<Arc<Shared>, Error> {
    let mut options = Options { finite_weights: false, ..shared.options.clone() };
    if !shared.lowered.rewritten.in_blocks.is_empty() {
        // The plan counts steps that are in blocks, as these are not.
        options.plan = None;
    }
    Ok(Compiled::new(shared.described.clone(), options)?.shared)
}

/// Arrays are of the type that machine code reads, not of one that is named so and computes in
/// another way.
pub(crate) fn check_dtype<T: Stored>(needed: DType) -> Result<(), Error> {
    match T::array(&[]) {
        Some(_) if T::DTYPE == needed => Ok(()),
        Some(_) => Err(Error::DType { found: T::DTYPE, needed }),
        None => Err(only_judges::<T>()),
    }
}

/// Fails where not all arrays of a program are of one type, which `what` is about.
pub(crate) fn one_type(program: &Program, what: &str) -> Result<(), Error> {
    let Some(conv) = program.convs().find(|conv| conv.types().single().is_none()) else {
        return Ok(());
    };
    let types = conv.types();
    let message = format!("{what} are of programs of f32 or f64, not of {types}");
    Err(Error::Unsupported(message))
}

/// The weights of a program that has one type for all arrays, which `what` is about; they fit it.
pub(crate) fn of_one_type<'a, T: Stored>(
    program: &Program,
    weights: &[StepWeights<'a, T>],
    what: &str,
) -> Result<Vec<StepArrays<'a>>, Error> {
    check_dtype::<T>(program.dtype())?;
    one_type(program, what)?;
    let arrays = weights.iter().map(StepWeights::arrays).collect::<Result<Vec<_>, _>>()?;
    check_weights(program, &arrays)?;
    Ok(arrays)
}

fn only_judges<T: Stored>() -> Error {
    Error::Argument(format!(
        "arrays are of {}, which judges code, but machine code takes {}",
        std::any::type_name::<T>(),
        T::DTYPE
    ))
}

/// Every array that comes later is there and has the length of its shape, and no other is.
pub(crate) fn check_weights(program: &Program, weights: &[StepArrays<'_>]) -> Result<(), Error> {
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

fn check_step(conv: &Conv, given: &StepArrays<'_>) -> Result<(), Error> {
    let types = conv.types();
    let check = |name, array: &Array<'_>, needed, shape| match array.dtype() == needed {
        true => check_len(name, array.len(), shape),
        false => Err(Error::DType { found: array.dtype(), needed }),
    };
    match (conv.known(), &given.weight) {
        (None, Some(weight)) => check("weight", weight, types.weight, conv.weight_shape())?,
        (None, None) => check_len("weight", 0, conv.weight_shape())?,
        (Some(_), None) => {}
        (Some(_), Some(_)) => {
            let message = "weights were given, but this convolution has its weights compiled in";
            return Err(Error::Argument(message.to_owned()));
        }
    }
    match (bias_comes_later(conv), &given.bias) {
        (true, Some(bias)) => check("bias", bias, types.bias, conv.bias_shape()),
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
pub(crate) fn are_finite(shared: &Shared, weights: &[StepArrays<'_>]) -> bool {
    let rewritten = &shared.lowered.rewritten;
    let mut tiled = rewritten.tiled.iter();
    let keeps = |(at, tiles): &(usize, Tiles)| match &weights[rewritten.origins[*at]].weight {
        Some(Array::F32(weight)) => tiles.keeps_finite(weight),
        Some(Array::F64(weight)) => tiles.keeps_finite(weight),
        _ => true,
    };
    tiled.all(keeps) && weights.iter().flat_map(|step| &step.weight).all(Array::is_finite)
}

pub(crate) fn bias_comes_later(conv: &Conv) -> bool {
    conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none())
}

pub(crate) fn check_len(name: &'static str, found: usize, shape: Vec<usize>) -> Result<(), Error> {
    let needed = shape.iter().product();
    if found == needed { Ok(()) } else { Err(Error::Length { name, found, needed, shape }) }
}
