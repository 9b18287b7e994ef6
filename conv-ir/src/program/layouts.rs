//! How the tensors between groups are laid out: nobody but the steps around them sees them, so each
//! is laid out as those like it.
//!
//! In: a program and its groups. Out: a layout for each tensor. Bits do not depend on it.

use super::plan::{self, Plan};
use super::{Program, Step};
use crate::analysis::multiply_adds_inside;
use crate::lower::{Gaps, Layouts};
use crate::{Conv, Layout, Reduction, Target};

/// The layout of each tensor of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arranged {
    /// By tensor, joined ones among them.
    layouts: Vec<Layout>,
    /// The elements behind the channels of each position.
    gaps: Vec<usize>,
}

impl Arranged {
    /// All as the description says.
    pub fn as_described(program: &Program) -> Arranged {
        let layout = program.steps()[0].conv.spec().layout;
        let count = program.tensors();
        Arranged { layouts: vec![layout; count], gaps: vec![0; count] }
    }

    /// The tensors whose channels stand elsewhere than the description says, as a sentence.
    pub fn reason(&self) -> Option<String> {
        let is_other = |(_, layout): &(usize, &Layout)| **layout != self.layouts[0];
        let others = self.layouts.iter().enumerate().filter(is_other);
        let others: Vec<String> = others.map(|(tensor, _)| tensor.to_string()).collect();
        let noun = if others.len() == 1 { "tensor" } else { "tensors" };
        (!others.is_empty()).then(|| {
            let list = others.join(", ");
            format!("{noun} {list} channels last inside: the steps around take less time so")
        })
    }

    /// Those of a step's arrays.
    pub fn of_step(&self, program: &Program, step: usize) -> Layouts {
        let Step { conv, residual, .. } = &program.steps()[step];
        let (input, output) = (program.input_of(step), step + 1);
        Layouts {
            input: self.layouts[input],
            residual: residual.map_or(conv.spec().layout, |tensor| self.layouts[tensor]),
            output: self.layouts[output],
            gaps: Gaps {
                input: self.gaps[input],
                residual: residual.map_or(0, |tensor| self.gaps[tensor]),
                output: self.gaps[output],
            },
        }
    }
}

/// Cycles of an element that a tile with channels in the lanes turns around, to store it along
/// columns.
const TURNED: f64 = 0.2;
/// What short runs of a channel each, as channels first are written and added in, take of the
/// cycles that a tensor takes in one piece; and as they are read by a window of one element, whose
/// tile of channels needs all of them. Measured with ResNet-50's 1x1 layers on Granite Rapids, in
/// cycles an element: 0.5 read from the second-level cache, 3 from the third.
const WRITTEN: f64 = 4.0;
const READ: f64 = 6.0;
/// What a window of several elements takes longer where channels are last, as a part of its
/// multiply-adds: positions lie some KiB apart, in few sets of the first-level cache; with a stride
/// those of a tile are too many for them. Measured there: 0.1 to 0.14, and 0.5 to 0.8.
const APART: f64 = 0.12;
const FAR_APART: f64 = 0.7;
/// What a window of one element takes longer then, whose weights no cache holds: a tile has fewer
/// positions. Measured there: 0.08 to 0.18.
const FEWER: f64 = 0.12;

/// What there is of a program.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Its steps.
    pub program: &'a Program,
    /// Whether the step at a position is in tiles.
    pub is_tiled: &'a dyn Fn(usize) -> bool,
    /// Whether it is in blocks.
    pub is_in_blocks: &'a dyn Fn(usize) -> bool,
}

impl Around<'_> {
    /// The layout of each tensor: channels last where the steps around it are expected to take less
    /// time so, and have groups of their own. Of channels last no layout is changed. Either way
    /// there are gaps between positions that would be in the same sets of a cache.
    pub fn choose(&self, plan: &Plan, target: &Target) -> Arranged {
        let mut arranged = Arranged::as_described(self.program);
        for (tensor, _) in self.gains(plan, target) {
            arranged.layouts[tensor] = Layout::ChannelsLast;
        }
        if !target.packs || !self.program.free_sizes().is_empty() {
            return arranged;
        }
        let own = self.own(plan);
        for tensor in 1..=self.program.steps().len() {
            if arranged.layouts[tensor] == Layout::ChannelsLast && self.is_inside(tensor, &own) {
                arranged.gaps[tensor] = gap(&self.program.steps()[tensor - 1].conv);
            }
        }
        arranged
    }

    /// The plan without the groups that save less than the layouts of what would be between their
    /// steps: line buffers have theirs, but what a group reads and writes is as described.
    pub fn with_layouts(&self, mut plan: Plan, target: &Target) -> Plan {
        let sum = |plan: &Plan| self.gains(plan, target).iter().map(|(_, gain)| gain).sum::<f64>();
        let mut gained = sum(&plan);
        let mut at = 0;
        while let Some(group) = plan.groups.get(at) {
            let steps = group.steps.clone();
            if group.strips.is_some() && steps.clone().all(|step| self.is_dense(step)) {
                let apart = plan.apart(at);
                let more = sum(&apart) - gained;
                if Plan::saved(self.program, group, target).is_some_and(|saved| saved < more) {
                    let (first, last) = (steps.start + 1, steps.end);
                    plan = apart;
                    gained += more;
                    plan.reasons.push(format!(
                        "steps {first} to {last} go apart: tensors that are channels last save more"
                    ));
                }
            }
            at += 1;
        }
        plan
    }

    /// The tensors that are better channels last, and the cycles of an image that this saves.
    fn gains(&self, plan: &Plan, target: &Target) -> Vec<(usize, f64)> {
        let first = &self.program.steps()[0].conv;
        let is_known = self.program.free_sizes().is_empty();
        if first.spec().layout != Layout::ChannelsFirst || !target.packs || !is_known {
            return Vec::new();
        }
        let own = self.own(plan);
        let gain = |tensor| Some((tensor, self.gain(tensor, &own, target)?));
        let tensors = (1..=self.program.steps().len()).filter_map(gain);
        tensors.filter(|(_, gain)| *gain > 0.0).collect()
    }

    /// By step: whether it is dense and has a group of its own.
    fn own(&self, plan: &Plan) -> Vec<bool> {
        let mut own = vec![false; self.program.steps().len()];
        let alone = plan.groups.iter().filter(|group| group.strips.is_none());
        alone.for_each(|group| own[group.steps.start] = self.is_dense(group.steps.start));
        own
    }

    /// Whether a step sums all channels, in numbers of one type that come later: then what a layout
    /// costs is known.
    fn is_dense(&self, at: usize) -> bool {
        let step = &self.program.steps()[at];
        let spec = step.conv.spec();
        let is_float = step.conv.types().single().is_some_and(|dtype| !dtype.is_integer());
        spec.groups == 1
            && spec.reduction == Reduction::Sum
            && is_float
            && !spec.transposed
            && !step.given
            && step.conv.known().is_none()
            && !(self.is_in_blocks)(at)
    }

    /// Whether nobody but dense steps of groups of their own see a tensor, each by itself.
    fn is_inside(&self, tensor: usize, own: &[bool]) -> bool {
        let sees = |step: &Step| step.from.contains(&tensor) || step.residual == Some(tensor);
        let mut seeing = self.program.steps().iter().zip(own).filter(|(step, _)| sees(step));
        own[tensor - 1]
            && !self.program.outputs().contains(&tensor)
            && seeing.all(|(step, own)| *own && step.from.len() <= 1)
    }

    /// Cycles of an image that channels last are expected to save; `None` of a tensor that others
    /// see as well.
    fn gain(&self, tensor: usize, own: &[bool], target: &Target) -> Option<f64> {
        let steps = self.program.steps();
        let writer = &steps[tensor - 1].conv;
        let positions: usize =
            writer.axes().iter().map(|axis| axis.output.known()).product::<Option<usize>>()?;
        let elements = (positions * writer.spec().out_channels) as f64;
        let full = writer.spec().out_channels.is_multiple_of(target.lanes(writer.dtype().bytes()));
        if !full || positions == 1 || !self.is_inside(tensor, own) {
            return None;
        }
        let bytes = elements * writer.dtype().bytes() as f64;
        let rate = plan::whole_rate(bytes, target) * writer.dtype().bytes() as f64;
        let tiled = |at: usize| (self.is_tiled)(at);
        let mut gain = elements * (TURNED + WRITTEN * rate) - self.fewer(tensor - 1, target);
        for (at, step) in steps.iter().enumerate() {
            let is_read = step.from.contains(&tensor);
            if !is_read && step.residual != Some(tensor) {
                continue;
            }
            if step.residual == Some(tensor) {
                gain += elements * WRITTEN * rate;
            }
            if is_read && step.conv.kernel_volume() == 1 {
                gain += elements * READ * rate - self.fewer(at, target);
            } else if is_read && !tiled(at) {
                let is_strided = step.conv.axes().iter().any(|axis| axis.stride > 1);
                gain -= if is_strided { FAR_APART } else { APART } * cycles(&step.conv, target);
            }
        }
        Some(gain)
    }

    /// Cycles that a step takes longer with one of its tensors channels last, as its weights come
    /// from far away.
    fn fewer(&self, at: usize, target: &Target) -> f64 {
        let conv = &self.program.steps()[at].conv;
        let bytes = conv.weight_len() * conv.dtype().bytes();
        let is_far = conv.kernel_volume() == 1 && bytes > target.l2_bytes;
        if is_far { FEWER / 2.0 * cycles(conv, target) } else { 0.0 }
    }
}

/// Bytes of the sets of a first-level cache, a line each, on every x86: a page.
const SETS: usize = 4096;
/// Bytes of a line.
const LINE: usize = 64;
/// The fewest sets, in lines, that neighbouring positions may share.
const FEW_SETS: usize = 8;

/// Elements behind the channels of a position of a step's output, channels last: a line where
/// positions would lie in few sets of the first-level cache. A tile reads a line of each of its
/// positions, and under a window of their neighbours, for as many channels as are in one, while
/// weights pass by. Measured on Granite Rapids inside ResNet-50, described channels last: 3x3 with
/// stride 2 over 28x28, 256 channels, takes 0.60 of the time, over 14x14, 512 channels, 0.66.
fn gap(conv: &Conv) -> usize {
    let bytes = conv.types().output.bytes();
    let apart = conv.spec().out_channels * bytes;
    // The largest power of two in it, up to all sets.
    let common = apart & apart.wrapping_neg();
    if common >= SETS / FEW_SETS { LINE / bytes } else { 0 }
}

/// Cycles of a step's multiply-adds.
fn cycles(conv: &Conv, target: &Target) -> f64 {
    let sums = multiply_adds_inside(conv).unwrap_or(0) as f64;
    sums * conv.dtype().bytes() as f64 / target.fma_bytes as f64
}
