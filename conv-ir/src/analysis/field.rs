//! The receptive field of a stack: what one output sees of the input.
//!
//! After Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks"
//! (Distill, 2019), carried over to transposed steps. From the output down, each step turns an
//! output position into positions of its input, so that a stack is
//!
//! ```text
//! stride <- stride * step.stride / step.lhs_dilation
//! centre <- (centre * step.stride + reach / 2 - pad_lo) / step.lhs_dilation
//!
//! where no step is transposed:
//! size   <- (size - 1) * step.stride + reach + 1
//! start  <- start * step.stride - pad_lo
//! ```
//!
//! The centre of output `p` is `p * stride + centre`, and the effective padding is `-start`.
//!
//! Strides become fractions, and with them the fields of neighbouring outputs are no longer the
//! same one moved: a transposed step's holes make them differ. But outputs `period` apart see the
//! same moved by a whole number, where `period` is the least common multiple of the denominators
//! that `stride` goes through on its way down. So size and start are not computed by a formula of
//! their own: the halo arithmetic, [`Window::needed`], is asked for every output of one period.
//! Forward, a range of outputs needs what its ends need, and ranges are passed down; through holes
//! that is not so, and the elements that matter are passed down one by one. Either way the field is
//! exact.

use std::ops::Range;

use super::ratio::{Ratio, lcm};
use super::stack::{Node, Stack};
use super::window::{Window, hull};
use crate::conv::Conv;
use crate::error::Error;

/// What one output of a stack sees of the input, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceptiveField {
    /// Elements from the first to the last that matter, for the output that sees most.
    pub size: i64,
    /// The same for the output that sees least. Less than `size` only where a step is transposed.
    pub least: i64,
    /// Neighbouring outputs see fields this far apart.
    pub stride: Ratio,
    /// First input element that the first output sees (the first that sees any); negative in the
    /// padding. The effective padding, negated.
    pub start: i64,
    /// Where the first output's field has its centre.
    pub centre: Ratio,
    /// Outputs this far apart see the same, moved.
    pub period: i64,
    /// All branches that join have the same centre. Otherwise the field is that of all of them
    /// together.
    pub aligned: bool,
}

/// More outputs than this, all different, are not looked at.
const MOST_PHASES: i64 = 1 << 12;

/// More elements of a layer than this are not passed down one by one.
const MOST_ELEMENTS: usize = 1 << 16;

/// Nor more than this for all outputs of a period.
const MOST_IN_ALL: usize = 1 << 22;

/// The receptive field of convolutions applied one after the other, per spatial axis.
///
/// ```
/// use conv_ir::analysis::receptive_field;
/// let dilated = [
///     "conv1d in 64 kernel 3".parse()?,
///     "conv1d in 62 kernel 3 dilation 2".parse()?,
///     "conv1d in 58 kernel 3 dilation 4".parse()?,
/// ];
/// assert_eq!(receptive_field(&dilated)?[0].size, 15);
/// # Ok::<(), conv_ir::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] where the ranks differ, or the field is too large to count.
pub fn receptive_field(convs: &[Conv]) -> Result<Vec<ReceptiveField>, Error> {
    Stack::of(convs)?.fields()
}

impl Stack {
    /// The receptive field along every axis.
    ///
    /// # Errors
    /// As [`Stack::field`].
    pub fn fields(&self) -> Result<Vec<ReceptiveField>, Error> {
        (0..self.rank()).map(|axis| self.field(axis)).collect()
    }

    /// The receptive field along one axis.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such axis, branches that join have different strides,
    /// or a number is too large to count.
    pub fn field(&self, axis: usize) -> Result<ReceptiveField, Error> {
        self.check_axis(axis)?;
        let map = Map::UNIT.through(self, axis)?;
        if map.period > MOST_PHASES {
            let message = format!(
                "{} neighbouring outputs all see different fields, which is too many to look at",
                map.period
            );
            return Err(Error::Argument(message));
        }
        let most = MOST_ELEMENTS.min(MOST_IN_ALL / map.period as usize);
        let seen = (0..map.period).map(|p| match map.holes {
            true => one_by_one(self, axis, p, most),
            false => by_ends(self, axis, p..p + 1),
        });
        let seen: Vec<_> = seen.collect::<Option<_>>().ok_or_else(too_large)?;
        let sizes = || seen.iter().map(|range| range.end - range.start);
        Ok(ReceptiveField {
            size: sizes().max().unwrap_or(0),
            least: sizes().min().unwrap_or(0),
            stride: map.stride,
            start: seen.iter().find(|range| !range.is_empty()).map_or(0, |range| range.start),
            centre: map.centre,
            period: map.period,
            aligned: map.aligned,
        })
    }
}

impl Stack {
    /// The receptive field along one axis of the first so many nodes, for none of them, one, and so
    /// on up to all: in time linear in the nodes where no step is transposed.
    ///
    /// # Errors
    /// As [`Stack::field`].
    pub fn fields_of_firsts(&self, axis: usize) -> Result<Vec<ReceptiveField>, Error> {
        self.check_axis(axis)?;
        let mut below = Some(Below::NOTHING);
        let mut fields = vec![Below::NOTHING.field()];
        for (at, node) in self.nodes().iter().enumerate() {
            let map = Map::UNIT.through_node(node, axis)?;
            below = match below.filter(|_| !map.holes) {
                Some(below) => Some(below.and(&map, node, axis).ok_or_else(too_large)?),
                // Neighbouring outputs see differently: each stack is looked at by itself.
                None => None,
            };
            fields.push(match &below {
                Some(below) => below.field(),
                None => self.first(at + 1).field(axis)?,
            });
        }
        Ok(fields)
    }
}

/// The nodes so far, none of them transposed: outputs are a whole number apart in the input.
#[derive(Clone)]
struct Below {
    stride: i64,
    centre: Ratio,
    aligned: bool,
    /// What the first output sees.
    seen: Range<i64>,
}

impl Below {
    const NOTHING: Below = Below { stride: 1, centre: Ratio::ZERO, aligned: true, seen: 0..1 };

    /// With one more node on top, whose own map this is.
    fn and(&self, map: &Map, node: &Node, axis: usize) -> Option<Below> {
        let needed = node_by_ends(node, axis, 0..1)?;
        let at = |output: i64, from: i64| output.checked_mul(self.stride)?.checked_add(from);
        Some(Below {
            stride: map.stride.whole()?.checked_mul(self.stride)?,
            centre: map.centre.times(self.stride)?.plus(self.centre)?,
            aligned: self.aligned && map.aligned,
            seen: at(needed.start, self.seen.start)?..at(needed.end - 1, self.seen.end)?,
        })
    }

    fn field(&self) -> ReceptiveField {
        let size = self.seen.end - self.seen.start;
        ReceptiveField {
            size,
            least: size,
            stride: self.stride.into(),
            start: self.seen.start,
            centre: self.centre,
            period: 1,
            aligned: self.aligned,
        }
    }
}

/// What forward steps need, without edges: ends go to ends.
fn by_ends(stack: &Stack, axis: usize, outputs: Range<i64>) -> Option<Range<i64>> {
    let mut from_the_output = stack.nodes().iter().rev();
    from_the_output.try_fold(outputs, |range, node| node_by_ends(node, axis, range))
}

fn node_by_ends(node: &Node, axis: usize, outputs: Range<i64>) -> Option<Range<i64>> {
    match node {
        Node::Layer(layer) => layer.windows[axis].needed(outputs),
        Node::Join(branches) => branches
            .iter()
            .try_fold(0..0, |all, branch| Some(hull(all, by_ends(branch, axis, outputs.clone())?))),
    }
}

/// What one output needs, whatever the steps: every element that matters is looked at.
fn one_by_one(stack: &Stack, axis: usize, output: i64, most: usize) -> Option<Range<i64>> {
    let elements = elements(stack, axis, &[output], most)?;
    Some(match elements[..] {
        [first, .., last] => first..last + 1,
        [only] => only..only + 1,
        [] => 0..0,
    })
}

/// The elements, in order, that these meet; `None` where a layer has more than `most`.
fn elements(stack: &Stack, axis: usize, outputs: &[i64], most: usize) -> Option<Vec<i64>> {
    let mut from_the_output = stack.nodes().iter().rev();
    from_the_output.try_fold(outputs.to_vec(), |above, node| below(node, axis, &above, most))
}

/// The elements of a node's input, in order, that these of its output meet.
fn below(node: &Node, axis: usize, above: &[i64], most: usize) -> Option<Vec<i64>> {
    let mut below = Vec::new();
    match node {
        Node::Layer(layer) => {
            for &output in above {
                let Some(met) = layer.windows[axis].met_by(output) else { continue };
                if met.count > most.saturating_sub(below.len()) as i128 {
                    return None;
                }
                for at in 0..met.count {
                    below.push(i64::try_from(met.first + at * met.apart).ok()?);
                }
            }
        }
        Node::Join(branches) => {
            for branch in branches {
                below.extend(elements(branch, axis, above, most)?);
            }
        }
    }
    below.sort_unstable();
    below.dedup();
    Some(below)
}

impl Stack {
    /// The elements of every layer that one output depends on, along one axis: of the input first,
    /// the output itself last. Those outside of a layer's extent lie in its padding; what lies
    /// below them is listed as if the layer went on.
    ///
    /// # Errors
    /// As [`Stack::field`].
    pub fn met(&self, axis: usize, output: i64) -> Result<Vec<Vec<i64>>, Error> {
        self.check_axis(axis)?;
        let mut layers = vec![vec![output]];
        for node in self.nodes().iter().rev() {
            let above = &layers[layers.len() - 1];
            layers.push(below(node, axis, above, MOST_ELEMENTS).ok_or_else(too_large)?);
        }
        layers.reverse();
        Ok(layers)
    }
}

/// Output `p` has its centre at `p * stride + centre`.
#[derive(Clone, Copy)]
struct Map {
    stride: Ratio,
    centre: Ratio,
    /// Multiples of it are at whole distances in every layer passed so far.
    period: i64,
    aligned: bool,
    /// A step is transposed.
    holes: bool,
    /// To tell which branch sees most: the field's extent as a fraction, as if no hole made it
    /// smaller.
    extent: Ratio,
}

impl Map {
    const UNIT: Map = Map {
        stride: Ratio::ONE,
        centre: Ratio::ZERO,
        period: 1,
        aligned: true,
        holes: false,
        extent: Ratio::ZERO,
    };

    /// From the stack's output down to its input.
    fn through(self, stack: &Stack, axis: usize) -> Result<Map, Error> {
        stack.nodes().iter().rev().try_fold(self, |map, node| map.through_node(node, axis))
    }

    fn through_node(self, node: &Node, axis: usize) -> Result<Map, Error> {
        match node {
            Node::Layer(layer) => self.below(&layer.windows[axis]).ok_or_else(too_large),
            Node::Join(branches) => {
                let below: Vec<Map> = branches
                    .iter()
                    .map(|branch| self.through(branch, axis))
                    .collect::<Result<_, _>>()?;
                below.into_iter().map(Ok).reduce(|a, b| a?.and(b?)).unwrap_or(Ok(self))
            }
        }
    }

    fn below(self, window: &Window) -> Option<Map> {
        let stride = self.stride.times(window.stride)?.over(window.lhs_dilation)?;
        let half = Ratio::from(window.reach()).over(2)?;
        let centre =
            self.centre.times(window.stride)?.plus(half)?.plus(Ratio::from(-window.pad_lo))?;
        let extent = self.extent.times(window.stride)?.plus(Ratio::from(window.reach()))?;
        Some(Map {
            stride,
            centre: centre.over(window.lhs_dilation)?,
            period: lcm(self.period, stride.denominator())?,
            aligned: self.aligned,
            holes: self.holes || window.lhs_dilation > 1,
            extent: extent.over(window.lhs_dilation)?,
        })
    }

    /// Two branches join: the one that sees more has the say.
    fn and(self, other: Map) -> Result<Map, Error> {
        if self.stride != other.stride {
            let message = format!(
                "branches join whose outputs are {} and {} apart in the input: they cannot have the same size",
                self.stride, other.stride
            );
            return Err(Error::Argument(message));
        }
        let larger = if other.extent.to_f64() > self.extent.to_f64() { other } else { self };
        Ok(Map {
            period: lcm(self.period, other.period).ok_or_else(too_large)?,
            holes: self.holes || other.holes,
            aligned: self.aligned && other.aligned && self.centre == other.centre,
            ..larger
        })
    }
}

fn too_large() -> Error {
    Error::Argument("the receptive field is too large to count".to_owned())
}
