//! What a group costs, by counting: cycles of one image on one core.
//!
//! In: the numbers of its steps, strips, a target. Out: [`Cost`], cycles by cause. Only differences
//! between plans matter, so that what every plan pays (a step's own loads, the ends' traffic) is
//! left out. Constants were measured on a Zen 4 with MobileNet's blocks and say so.

use super::numbers::Numbers;
use crate::program::rows::{RowAxis, Rows};
use crate::program::strips::Halos;
use crate::{Layout, Target};

/// Cycles a byte of weights that each strip reads again. Measured between 2 and 4 strips of 14x14
/// and 7x7 blocks.
const WEIGHTS: f64 = 0.01;
/// Cycles a byte of a row that is moved: a load and a store of 32 bytes a cycle.
const MOVED: f64 = 2.0 / 32.0;
/// Cycles of a strip's calls, by step: loops, and a pipeline that runs empty.
const CALL: f64 = 400.0;

/// Cycles by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Multiply-adds, with what tiles leave over.
    pub compute: f64,
    /// Of those, rows that are computed again.
    pub again: f64,
    /// Rows moved in line buffers.
    pub moved: f64,
    /// Tensors between steps, written and read.
    pub traffic: f64,
    /// Weights read again, and calls, for each strip.
    pub strips: f64,
}

impl Cost {
    /// All together.
    pub fn total(&self) -> f64 {
        self.compute + self.moved + self.traffic + self.strips
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.compute += other.compute;
        self.again += other.again;
        self.moved += other.moved;
        self.traffic += other.traffic;
        self.strips += other.strips;
    }
}

/// Cycles of a step by itself.
pub(super) fn alone(step: &Numbers, target: &Target) -> Cost {
    let layouts = (step.layout, step.layout);
    let compute = step.compute(step.rows.output, layouts, target);
    Cost { compute, strips: CALL, ..Cost::default() }
}

/// Cycles of a step's output where it exists as a whole between two groups, in a batch of so many
/// images.
pub(super) fn whole(step: &Numbers, images: usize, target: &Target) -> Cost {
    let image = step.row_bytes as f64 * step.rows.output as f64;
    let rate = whole_rate(image * images as f64, target);
    Cost { traffic: 2.0 * image * rate, ..Cost::default() }
}

/// Cycles a byte of a tensor of so many bytes that exists as a whole.
pub fn whole_rate(bytes: f64, target: &Target) -> f64 {
    let is_near = bytes <= (target.l2_bytes / 2) as f64;
    if is_near { near(target) } else { far(target) }
}

/// Cycles a byte for a tensor that is written as a whole and read again, where it fits in half of
/// the second-level cache.
fn near(target: &Target) -> f64 {
    target.l2_cycles as f64 / 1024.0
}

/// And where it does not.
fn far(target: &Target) -> f64 {
    target.far_cycles as f64 / 1024.0
}

/// From this strip on (but for the last, which may be shorter) all may do the same: one that does
/// what the strip before it did is counted as often as there are more.
const STEADY: i64 = 5;
/// Strips that are gone through at most. Lines of a window are filled by as many strips as it has
/// rows: until then none are moved.
const MOST_SWEPT: i64 = 32;

/// What all strips of a group do for one of its steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Swept {
    /// Rows that a strip computes, and how many strips compute so many.
    computed: Vec<(i64, i64)>,
    /// Rows that all strips move.
    pub moved: i64,
    /// The most rows that its line buffer holds.
    pub most: i64,
    /// Why a strip is no convolution.
    pub refused: Option<&'static str>,
}

/// Goes through the strips of `each` rows of a group's output. What is found of a step does not
/// depend on the steps before it, so that one sweep prices all groups with the same last step.
pub(super) fn sweep(
    axes: Vec<RowAxis>,
    residual: Vec<Option<usize>>,
    keep: &[bool],
    each: i64,
) -> Vec<Swept> {
    let mut all = vec![Swept::default(); axes.len()];
    let rows = axes.last().map_or(0, |axis| axis.output);
    let each = each.clamp(1, rows.max(1));
    let count = (rows + each - 1) / each;
    let mut halos = Halos::new(axes, residual, keep.to_vec());
    for at in 0..count.min(MOST_SWEPT) {
        let before = halos.parts.clone();
        halos.strip(Rows { lo: at * each, hi: ((at + 1) * each).min(rows) });
        let is_steady = at + 1 >= STEADY && halos.steady(&before, each) > 0;
        let is_last = is_steady || at + 1 == MOST_SWEPT;
        let times = if is_last { count - at } else { 1 };
        for (step, (axis, part)) in all.iter_mut().zip(halos.axes.iter().zip(&halos.parts)) {
            step.moved += times * part.moved;
            if part.computed.is_empty() {
                continue;
            }
            step.refused = step.refused.or(axis.refusal(part.computed));
            match step.computed.last_mut() {
                Some(last) if last.0 == part.computed.len() => last.1 += times,
                _ => step.computed.push((part.computed.len(), times)),
            }
        }
        if is_last {
            break;
        }
    }
    for (step, most) in all.iter_mut().zip(halos.most) {
        step.most = most;
    }
    all
}

impl Swept {
    /// Cycles of a step's strips in these layouts; the traffic of line buffers is their group's.
    pub fn cost(&self, step: &Numbers, layouts: (Layout, Layout), target: &Target) -> Cost {
        let mut cost =
            Cost { moved: MOVED * self.moved as f64 * step.row_bytes as f64, ..Cost::default() };
        let (mut rows, mut strips) = (0, 0);
        for &(computed, times) in &self.computed {
            cost.compute += times as f64 * step.compute(computed, layouts, target);
            rows += computed * times;
            strips += times;
        }
        cost.strips = strips as f64 * (CALL + WEIGHTS * step.weight_bytes as f64);
        let of = step.rows.output.max(1);
        let more = (rows - of).max(0) as f64 / of as f64;
        cost.again = more * alone(step, target).compute;
        cost
    }

    /// Bytes of the line buffer.
    pub fn line_bytes(&self, step: &Numbers) -> i64 {
        self.most.saturating_mul(step.row_bytes)
    }
}

/// Cycles of the tensors inside a group, which take so many bytes an image as a whole and go
/// through line buffers; weights share the caches with those, and all of it goes round: the more of
/// a cache they fill, the more the ends push them out.
pub(super) fn through_lines(tensors: f64, lines_and_weights: i64, target: &Target) -> f64 {
    let rate = match lines_and_weights as usize {
        bytes if bytes <= 2 * target.l1_bytes => near(target) / 4.0,
        bytes if bytes <= target.l2_bytes / 4 => near(target) / 2.0,
        bytes if bytes <= target.l2_bytes => near(target),
        _ => far(target),
    };
    2.0 * rate * tensors
}

/// What the strips of a group do, in the layouts of its line buffers: its cost, and the most rows
/// of each.
///
/// # Errors
/// Why these strips cannot be.
pub(super) fn fused(
    steps: &[&Numbers],
    residual: Vec<Option<usize>>,
    strips: &super::Strips,
    target: &Target,
) -> Result<(Cost, Vec<i64>), &'static str> {
    let axes = steps.iter().map(|step| step.rows).collect();
    let each = i64::try_from(strips.rows).unwrap_or(i64::MAX);
    let swept = sweep(axes, residual, &strips.keep, each);
    let (mut cost, mut before) = (Cost::default(), steps[0].layout);
    let (mut tensors, mut lines) = (0.0, 0i64);
    for (at, (step, swept)) in steps.iter().zip(&swept).enumerate() {
        if let Some(why) = swept.refused {
            return Err(why);
        }
        let is_last = at + 1 == steps.len();
        let after = if is_last { step.layout } else { strips.layouts[at] };
        cost += swept.cost(step, (before, after), target);
        lines = lines.saturating_add(step.weight_bytes);
        if !is_last {
            tensors += step.row_bytes as f64 * step.rows.output as f64;
            lines = lines.saturating_add(swept.line_bytes(step));
        }
        before = after;
    }
    cost.traffic += through_lines(tensors, lines, target);
    Ok((cost, swept.iter().map(|step| step.most).collect()))
}
