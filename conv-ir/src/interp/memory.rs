//! The buffers of one run, each with the rules of its role.

use super::Arrays;
use crate::nest::{Buffer, BufferId, BufferRole, Nest, Var};
use crate::{DType, Element, Error};
use std::collections::VecDeque;

/// What is behind a buffer.
enum Data<'a, T> {
    /// The caller's, only read.
    Given(&'a [T]),
    /// The caller's, with a mark on each element that has been written.
    Output(&'a mut [T], Vec<bool>),
    /// Ours, from setup to body.
    Packed(Vec<T>),
    /// Numbers of the nest itself.
    Known(Vec<T>),
    /// Ours, of one thread. `None` was never written.
    Scratch(Vec<Option<T>>),
    /// Another buffer's.
    View,
}

struct Array<'a, T> {
    extents: Vec<i64>,
    dtype: DType,
    /// Where its elements are: here, or where the buffer is whose view it is.
    memory: usize,
    data: Data<'a, T>,
}

/// All buffers of a nest.
pub(super) struct Memory<'a, T> {
    arrays: Vec<Array<'a, T>>,
    names: Vec<&'a str>,
    in_setup: bool,
    several_outputs: bool,
}

/// Why an access is wrong.
pub(super) enum Fault {
    /// The index along a dimension is outside `0..extent`.
    OutOfRange { dimension: usize, index: i64, extent: i64 },
    /// A dead lane is read before the buffer, or behind its slack.
    BeyondSlack { position: i64, len: i64, slack: i64 },
    /// The buffer has another number of dimensions.
    Dimensions { needed: usize },
    /// A scratch element that nothing was written to.
    NeverWritten,
    /// An output element for the second time.
    WrittenTwice,
    /// This buffer is not written, or not in this phase.
    ReadOnly,
    /// The output is not read.
    WriteOnly,
    /// The value is none of the buffer's type.
    NotRounded { value: f64, dtype: DType },
}

impl Fault {
    pub(super) fn text(&self) -> String {
        match self {
            Fault::OutOfRange { dimension, index, extent } => {
                format!("index {index} of dimension {dimension} is outside 0..{extent}")
            }
            Fault::BeyondSlack { position, len, slack } => {
                format!("a dead lane touches element {position} of {len}, slack {slack}")
            }
            Fault::Dimensions { needed } => format!("the buffer has {needed} dimensions"),
            Fault::NeverWritten => "that element was never written".into(),
            Fault::WrittenTwice => "that element was written before".into(),
            Fault::ReadOnly => "that buffer is not written here".into(),
            Fault::WriteOnly => "the output is not read".into(),
            Fault::NotRounded { value, dtype } => format!("{value:?} is no {dtype}"),
        }
    }
}

impl<'a, T: Element> Memory<'a, T> {
    /// Finds the array behind every buffer and checks its length.
    pub(super) fn new(
        nest: &'a Nest,
        arrays: Arrays<'a, T>,
        symbols: &[i64],
    ) -> Result<Self, Error> {
        let mut given = Given::from(arrays);
        let mut arrays = Vec::new();
        for (at, buffer) in nest.buffers.iter().enumerate() {
            let extents = extents(buffer, symbols)?;
            let data = match buffer.view_of {
                Some(_) => Data::View,
                None => given.data(buffer, &extents)?,
            };
            let memory = buffer.view_of.map_or(at, BufferId::index);
            arrays.push(Array { extents, dtype: buffer.dtype, memory, data });
        }
        given.nothing_left()?;
        Ok(Memory {
            arrays,
            names: nest.buffers.iter().map(|b| b.name.as_str()).collect(),
            in_setup: true,
            several_outputs: nest.has_several_outputs(),
        })
    }

    fn data(&self, buffer: BufferId) -> &Data<'a, T> {
        &self.arrays[self.arrays[buffer.index()].memory].data
    }

    /// From here on the packed buffers are only read.
    pub(super) fn setup_is_done(&mut self) {
        self.in_setup = false;
    }

    /// The scratch of a new thread.
    pub(super) fn forget_scratch(&mut self) {
        for array in &mut self.arrays {
            if let Data::Scratch(elements) = &mut array.data {
                elements.fill(None);
            }
        }
    }

    /// The position of an element.
    pub(super) fn position(
        &self,
        buffer: BufferId,
        index: impl ExactSizeIterator<Item = i64>,
    ) -> Result<usize, Fault> {
        let extents = &self.arrays[buffer.index()].extents;
        if index.len() != extents.len() {
            return Err(Fault::Dimensions { needed: extents.len() });
        }
        let mut position = 0;
        for (dimension, (index, &extent)) in index.zip(extents).enumerate() {
            if !(0..extent).contains(&index) {
                return Err(Fault::OutOfRange { dimension, index, extent });
            }
            position = position * extent + index;
        }
        Ok(position as usize)
    }

    /// Checks that an element, whatever its dimensions say, lies in its memory or in the slack
    /// behind it.
    pub(super) fn touch(
        &self,
        buffer: BufferId,
        index: impl ExactSizeIterator<Item = i64>,
        slack: i64,
    ) -> Result<(), Fault> {
        let Array { extents, memory, .. } = &self.arrays[buffer.index()];
        let len: i64 = self.arrays[*memory].extents.iter().product();
        let position = index.zip(extents).fold(0, |position, (i, extent)| position * extent + i);
        match (0..len + slack).contains(&position) {
            true => Ok(()),
            false => Err(Fault::BeyondSlack { position, len, slack }),
        }
    }

    /// Whether the caller owns the array.
    pub(super) fn is_callers(&self, buffer: BufferId) -> bool {
        matches!(self.data(buffer), Data::Given(_) | Data::Output(..))
    }

    pub(super) fn read(&self, buffer: BufferId, position: usize) -> Result<T, Fault> {
        match self.data(buffer) {
            Data::Given(elements) => Ok(elements[position]),
            Data::Packed(elements) | Data::Known(elements) => Ok(elements[position]),
            Data::Scratch(elements) => elements[position].ok_or(Fault::NeverWritten),
            // Later steps may read one of several tensors that a run gives.
            Data::Output(elements, written) if self.several_outputs => match written[position] {
                true => Ok(elements[position]),
                false => Err(Fault::NeverWritten),
            },
            Data::Output(..) | Data::View => Err(Fault::WriteOnly),
        }
    }

    pub(super) fn write(
        &mut self,
        buffer: BufferId,
        position: usize,
        value: T,
    ) -> Result<(), Fault> {
        let dtype = self.arrays[buffer.index()].dtype;
        if value.rounded_to(dtype) != value && !value.to_f64().is_nan() {
            return Err(Fault::NotRounded { value: value.to_f64(), dtype });
        }
        let setup = self.in_setup;
        let memory = self.arrays[buffer.index()].memory;
        match &mut self.arrays[memory].data {
            Data::Packed(elements) if setup => elements[position] = value,
            Data::Output(_, written) if !setup && written[position] => {
                return Err(Fault::WrittenTwice);
            }
            Data::Output(elements, written) if !setup => {
                elements[position] = value;
                written[position] = true;
            }
            Data::Scratch(elements) if !setup => elements[position] = Some(value),
            Data::Given(_)
            | Data::Known(_)
            | Data::Packed(_)
            | Data::Output(..)
            | Data::Scratch(_)
            | Data::View => {
                return Err(Fault::ReadOnly);
            }
        }
        Ok(())
    }

    /// Panics unless all of the output was written.
    pub(super) fn assert_output_complete(&self) {
        for (array, name) in self.arrays.iter().zip(&self.names) {
            let Data::Output(_, written) = &array.data else {
                continue;
            };
            if let Some(hole) = written.iter().position(|w| !w) {
                let holes = written.iter().filter(|w| !**w).count();
                let at = unflatten(hole as i64, &array.extents);
                panic!(
                    "interp: {holes} of {} elements of {name} were never written, first {at:?}",
                    written.len()
                );
            }
        }
    }
}

fn unflatten(mut position: i64, extents: &[i64]) -> Vec<i64> {
    let mut index: Vec<i64> =
        extents.iter().rev().map(|e| (position % e, position /= e).0).collect();
    index.reverse();
    index
}

fn extents(buffer: &Buffer, symbols: &[i64]) -> Result<Vec<i64>, Error> {
    let value = |var| match var {
        Var::Symbol(s) => symbols[s.index()],
        Var::Axis(_) => panic!("interp: an extent of {} names an axis", buffer.name),
    };
    let extents: Vec<i64> = buffer.extents.iter().map(|e| e.eval(value)).collect();
    match extents.iter().position(|e| *e < 0) {
        Some(d) => Err(Error::Argument(format!(
            "dimension {d} of {} would be {}: a free size is too small",
            buffer.name, extents[d]
        ))),
        None => Ok(extents),
    }
}

/// The caller's arrays, each taken by a buffer of its role, in order.
struct Given<'a, T> {
    inputs: VecDeque<&'a [T]>,
    weights: VecDeque<&'a [T]>,
    biases: VecDeque<&'a [T]>,
    residuals: VecDeque<&'a [T]>,
    /// Roles of buffers whose numbers the nest has.
    known: Vec<BufferRole>,
    outputs: VecDeque<&'a mut [T]>,
}

impl<'a, T: Element> Given<'a, T> {
    fn from(arrays: Arrays<'a, T>) -> Self {
        Given {
            inputs: arrays.inputs.into(),
            weights: arrays.weights.into_iter().filter(|weight| !weight.is_empty()).collect(),
            biases: arrays.biases.into(),
            residuals: arrays.residuals.into(),
            known: Vec::new(),
            outputs: arrays.outputs.into(),
        }
    }

    fn data(&mut self, buffer: &Buffer, extents: &[i64]) -> Result<Data<'a, T>, Error> {
        let len = extents.iter().try_fold(1i64, |len, e| len.checked_mul(*e));
        let Some(len) = len.and_then(|len| usize::try_from(len).ok()) else {
            return Err(Error::Argument(format!(
                "{} of {extents:?} elements has too many of them",
                buffer.name
            )));
        };
        if let Some(values) = &buffer.values {
            assert!(
                values.len() == len,
                "interp: {} has {} known numbers, but {len} elements",
                buffer.name,
                values.len()
            );
            self.known.push(buffer.role);
            return Ok(Data::Known(values.iter().map(|&x| T::from_f64(x)).collect()));
        }
        let check = |name, found| length(name, found, len, extents);
        Ok(match buffer.role {
            BufferRole::Input => Data::Given(taken("input", &mut self.inputs, check)?),
            BufferRole::Weight => Data::Given(taken("weight", &mut self.weights, check)?),
            BufferRole::Bias => Data::Given(taken("bias", &mut self.biases, check)?),
            BufferRole::Residual => Data::Given(taken("residual", &mut self.residuals, check)?),
            BufferRole::Output => {
                let output = self.outputs.pop_front().ok_or_else(|| missing("output"))?;
                check("output", output.len())?;
                Data::Output(output, vec![false; len])
            }
            BufferRole::Packed => Data::Packed(vec![T::default(); len]),
            BufferRole::Scratch => Data::Scratch(vec![None; len]),
        })
    }

    /// Arrays that no buffer took are a mistake of the caller's, but where the nest knows numbers
    /// of that role: then they may be those of its unknown twin.
    fn nothing_left(&self) -> Result<(), Error> {
        let left = [
            ("input", BufferRole::Input, &self.inputs),
            ("weight", BufferRole::Weight, &self.weights),
            ("bias", BufferRole::Bias, &self.biases),
            ("residual", BufferRole::Residual, &self.residuals),
        ];
        let mistaken = |(_, role, arrays): &&(_, BufferRole, &VecDeque<_>)| {
            !arrays.is_empty() && !self.known.contains(role)
        };
        match left.iter().find(mistaken) {
            Some((name, ..)) => {
                Err(Error::Argument(format!("{name} is given, but the convolution has none")))
            }
            None => Ok(()),
        }
    }
}

fn taken<'a, T>(
    name: &'static str,
    from: &mut VecDeque<&'a [T]>,
    check: impl Fn(&'static str, usize) -> Result<(), Error>,
) -> Result<&'a [T], Error> {
    let array = from.pop_front().ok_or_else(|| missing(name))?;
    check(name, array.len())?;
    Ok(array)
}

fn missing(name: &str) -> Error {
    Error::Argument(format!("the convolution has a {name}, but none is given"))
}

fn length(name: &'static str, found: usize, needed: usize, extents: &[i64]) -> Result<(), Error> {
    if found == needed {
        return Ok(());
    }
    Err(Error::Length { name, found, needed, shape: format!("{extents:?}") })
}
