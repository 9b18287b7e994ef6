//! The model's plan: the cheapest way to cut a chain into groups.
//!
//! Dynamic programming over where groups end, in time linear in the steps: a group has at most
//! [`MOST_STEPS`], equal runs of steps are priced once, and one sweep through the strips of a last
//! step prices all groups that end with it. A run is not grown to the front where what is left to
//! gain there cannot win back what it has lost.
//!
//! Each group is decided by itself: it is fused where it gains by [`WORTH`] against its own steps
//! one by one, whatever stands around it. Its line buffers are shorter than their tensors and stay
//! in the second-level cache ([`most_lines`]). A tensor that a later step reads or adds, or that a
//! run gives, is never inside of a group that ends before; a step that reads another tensor than
//! the one before it begins a group.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::cost::{self, sweep};
use super::numbers::Numbers;
use super::{Group, Strips};
use crate::program::{Program, Step};
use crate::{Layout, Target};

/// Steps of a group at most: a longer one would save less than one whole tensor in eight, while its
/// strips share the cache with the line buffers and weights of all its steps.
pub(super) const MOST_STEPS: usize = 8;

/// What is left of the unfused cost where fusing is worth it: less is within what the model does
/// not know.
pub(super) const WORTH: f64 = 0.985;

/// Bytes of a group's line buffers at most, however large the second-level cache: each thread has
/// its own, and on the widest CPUs two of them share 2 MiB.
const MOST_LINES: usize = 1 << 20;

/// Bytes of the line buffers of a group: half of the second-level cache. Through the other half go
/// its input, output and weights.
pub(super) fn most_lines(target: &Target) -> i64 {
    MOST_LINES.min(target.l2_bytes / 2) as i64
}

/// The cheapest strips of a run of steps, or why there are none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    Strips { cost: f64, rows: i64, keep: bool },
    None(&'static str),
}

const NO_LINES: &str = "line buffers of any strips would hold a whole tensor, or more than half of the second-level cache";

/// What a kind of step costs where it is not fused.
struct Kind {
    numbers: Numbers,
    alone: f64,
    /// Its output as a whole.
    whole: f64,
    /// What it and its output may cost less in a group, at most.
    to_gain: f64,
}

/// A chain as the model sees it.
pub(super) struct Steps<'a> {
    target: &'a Target,
    kinds: Vec<Kind>,
    /// The kind of each step.
    of: Vec<usize>,
    /// The tensor that each step adds.
    residual: Vec<Option<usize>>,
    /// The last step, counted from 1, that adds a tensor, or reads it from elsewhere than behind
    /// it; 0 where none does, and beyond the last one of what a run gives.
    last_reader: Vec<usize>,
    /// The last step up to each that reads another tensor than the one before it; 0 if none does.
    begins: Vec<usize>,
    /// Whether each step must have a group of its own.
    alone: Vec<bool>,
    /// The cycles of the first so many steps one by one, whole tensors behind them included.
    apart: Vec<f64>,
    /// How often the strips of a step were swept through: what planning takes.
    swept: Cell<usize>,
}

/// The cheapest plan of the first so many steps.
struct Cut {
    cost: f64,
    start: usize,
    /// Rows of a strip, and whether halos are kept, where the last group is fused.
    strips: Option<(i64, bool)>,
}

/// Steps in a row by their kinds and by where their residuals are from: equal ones are priced
/// once.
type Window = Vec<(usize, Option<usize>)>;

/// The runs that end with a step, by their first one.
#[derive(Clone)]
pub(super) struct Ending {
    first: usize,
    runs: Rc<[Run]>,
}

/// A plan that has been found, and how.
pub(super) struct Found {
    pub groups: Vec<Group>,
    /// For each step the runs that end with it.
    pub endings: Vec<Ending>,
}

impl<'a> Steps<'a> {
    /// Of a chain, of which the steps at these positions, in order, and transposed ones, must have
    /// a group of their own.
    pub fn of(chain: &Program, alone: &[usize], target: &'a Target) -> Steps<'a> {
        let count = chain.steps().len();
        let mut known: BTreeMap<Numbers, usize> = BTreeMap::new();
        let mut kinds: Vec<Kind> = Vec::new();
        let of = chain.convs().map(|conv| {
            let numbers = Numbers::of(conv);
            *known.entry(numbers).or_insert_with_key(|numbers| {
                let alone = cost::alone(numbers, target).total();
                let whole = cost::whole(numbers, chain.batch().max(1), target).total();
                let least = numbers.least(numbers.rows.output, target);
                let to_gain = alone + whole - least;
                kinds.push(Kind { numbers: numbers.clone(), alone, whole, to_gain });
                kinds.len() - 1
            })
        });
        let of: Vec<usize> = of.collect();
        let residual: Vec<_> = chain.steps().iter().map(|step| step.residual).collect();
        let mut last_reader = vec![0; count + 1];
        let mut begins = vec![0; count];
        for (at, step) in chain.steps().iter().enumerate() {
            let reads_before = step.reads_before(at);
            begins[at] = if reads_before { begins[at.saturating_sub(1)] } else { at };
            let read = step.from.iter().filter(|_| !reads_before);
            read.chain(&step.residual).for_each(|&tensor| last_reader[tensor] = at + 1);
        }
        chain.outputs().iter().for_each(|&tensor| last_reader[tensor] = count + 1);
        let mut apart = vec![0.0];
        for &kind in &of {
            apart.push(apart[apart.len() - 1] + kinds[kind].alone + kinds[kind].whole);
        }
        let is_alone = |(at, step): (usize, &Step)| {
            step.given
                || step.conv.scales()
                || step.conv.spec().transposed
                || alone.binary_search(&at).is_ok()
        };
        let alone = chain.steps().iter().enumerate().map(is_alone).collect();
        let swept = Cell::default();
        Steps { target, kinds, of, residual, last_reader, begins, alone, apart, swept }
    }

    fn numbers(&self, step: usize) -> &Numbers {
        &self.kinds[self.of[step]].numbers
    }

    /// Cycles of the steps `start..end` one by one, the last one's output left out.
    pub fn apart(&self, start: usize, end: usize) -> f64 {
        self.apart[end] - self.apart[start] - self.kinds[self.of[end - 1]].whole
    }

    /// A tensor inside of these steps that is read or added behind them, or given.
    pub fn read_behind(&self, start: usize, end: usize) -> Option<usize> {
        (start + 1..end).find(|&tensor| self.last_reader[tensor] > end)
    }

    /// Who reads a tensor last.
    pub fn reader(&self, tensor: usize) -> &'static str {
        match self.last_reader[tensor] {
            reader if reader > self.of.len() => "given",
            reader if self.residual[reader - 1] == Some(tensor) => "added by a later step",
            _ => "read by a later step",
        }
    }

    /// The position, from `first` on, of the step whose output a step adds; none where that is not
    /// among them.
    fn residual_within(&self, step: usize, first: usize) -> Option<usize> {
        self.residual[step].and_then(|from| from.checked_sub(first + 1))
    }

    /// The first step that may be in a group with this one.
    fn first_with(&self, last: usize) -> usize {
        let least = (last + 1).saturating_sub(MOST_STEPS).max(self.begins[last]);
        let alone = (least..=last).rev().find(|&at| self.alone[at]);
        alone.map_or(least, |at| (at + 1).min(last))
    }

    /// The cheapest plan for so many threads.
    pub fn cheapest(&self, chain: &Program, threads: usize) -> Found {
        let mut known: BTreeMap<Window, Rc<[Run]>> = BTreeMap::new();
        let mut cuts = vec![Cut { cost: 0.0, start: 0, strips: None }];
        let mut endings = Vec::new();
        for end in 1..=self.of.len() {
            let first = self.first_with(end - 1);
            let key = (first..end).map(|at| (self.of[at], self.residual_within(at, first)));
            let runs = known.entry(key.collect()).or_insert_with(|| self.runs(first, end).into());
            endings.push(Ending { first, runs: Rc::clone(runs) });
            let cut = self.cut(end, &endings[end - 1], &cuts);
            cuts.push(cut);
        }
        Found { groups: self.groups(&cuts, chain, threads), endings }
    }

    /// The cheapest last group of the first `end` steps.
    fn cut(&self, end: usize, ending: &Ending, cuts: &[Cut]) -> Cut {
        let before = |start: usize| {
            let whole = if start > 0 { self.kinds[self.of[start - 1]].whole } else { 0.0 };
            cuts[start].cost + whole
        };
        let alone = self.kinds[self.of[end - 1]].alone;
        let mut best = Cut { cost: before(end - 1) + alone, start: end - 1, strips: None };
        for (start, run) in ending.starts() {
            let Run::Strips { cost, rows, keep } = *run else { continue };
            let gains = cost <= WORTH * self.apart(start, end);
            if gains && self.read_behind(start, end).is_none() && before(start) + cost < best.cost {
                best = Cut { cost: before(start) + cost, start, strips: Some((rows, keep)) };
            }
        }
        best
    }

    fn groups(&self, cuts: &[Cut], chain: &Program, threads: usize) -> Vec<Group> {
        // With several images threads take whole images.
        let chunks = if chain.batch() > 1 { 1 } else { threads.max(1) };
        let mut groups = Vec::new();
        let mut end = self.of.len();
        while end > 0 {
            let Cut { start, strips, .. } = cuts[end];
            let strips = strips.map(|(rows, keep)| Strips {
                rows: rows as usize,
                keep: vec![keep; end - start],
                layouts: self.layouts(start, end),
                chunks,
            });
            groups.push(Group { steps: start..end, strips });
            end = start;
        }
        groups.reverse();
        groups
    }

    /// The layouts of the line buffers of a group.
    fn layouts(&self, start: usize, end: usize) -> Vec<Layout> {
        let mut before = self.numbers(start).layout;
        let mut next = |step: usize| {
            before = self.numbers(step).line(before, self.target);
            before
        };
        (start..end).map(&mut next).collect()
    }

    /// The cheapest strips of the runs from each step from `first` on to the one before `end`.
    fn runs(&self, first: usize, end: usize) -> Vec<Run> {
        let count = end - first;
        let mut runs = vec![Run::None(NO_LINES); count - 1];
        if count == 1 {
            return runs;
        }
        let axes: Vec<_> = (first..end).map(|at| self.numbers(at).rows).collect();
        let residual: Vec<_> = (first..end).map(|at| self.residual_within(at, first)).collect();
        for rows in heights(axes[count - 1].output) {
            for keep in [true, false] {
                let strips = sweep(axes.clone(), residual.clone(), &[keep; MOST_STEPS], rows);
                self.swept.set(self.swept.get() + count);
                let mut growing = Growing::new(self, (first, end), &strips);
                for start in (0..count - 1).rev() {
                    match growing.grow(start) {
                        Err(why) => {
                            if let Run::None(known) = &mut runs[start] {
                                *known = why;
                            }
                            break;
                        }
                        Ok(cost) => {
                            let known = runs[start].cost();
                            if known.is_none_or(|known| cost < known) {
                                runs[start] = Run::Strips { cost, rows, keep };
                            }
                        }
                    }
                    if growing.cannot_win(start) {
                        break;
                    }
                }
            }
        }
        runs
    }
}

impl Run {
    pub fn cost(&self) -> Option<f64> {
        match self {
            Run::Strips { cost, .. } => Some(*cost),
            Run::None(_) => None,
        }
    }
}

impl Ending {
    /// The runs by their first step, the longest first.
    pub fn starts(&self) -> impl Iterator<Item = (usize, &Run)> {
        self.runs.iter().enumerate().map(|(at, run)| (self.first + at, run))
    }
}

/// A run under certain strips that grows to the front. Steps are counted from the first that it may
/// have.
struct Growing<'a> {
    steps: &'a Steps<'a>,
    first: usize,
    end: usize,
    strips: &'a [cost::Swept],
    /// Cycles of each step behind one whose output has the callers' layout, or channels last.
    cycles: Vec<[f64; 2]>,
    /// Of all steps in their better layout.
    floor: f64,
    tensors: f64,
    lines: i64,
    weights: i64,
}

impl<'a> Growing<'a> {
    fn new(steps: &'a Steps<'a>, (first, end): (usize, usize), strips: &'a [cost::Swept]) -> Self {
        let mut growing = Growing {
            steps,
            first,
            end,
            strips,
            cycles: vec![[0.0; 2]; end - first],
            floor: 0.0,
            tensors: 0.0,
            lines: 0,
            weights: 0,
        };
        growing.add(end - first - 1);
        growing
    }

    fn numbers(&self, at: usize) -> &'a Numbers {
        self.steps.numbers(self.first + at)
    }

    /// The layout behind a step.
    fn after(&self, at: usize, before: Layout) -> Layout {
        let step = self.numbers(at);
        match self.first + at + 1 == self.end {
            true => step.layout,
            false => step.line(before, self.steps.target),
        }
    }

    fn add(&mut self, at: usize) {
        let step = self.numbers(at);
        let behind = |before: Layout| {
            let layouts = (before, self.after(at, before));
            self.strips[at].cost(step, layouts, self.steps.target).total()
        };
        let given = behind(step.layout);
        let last = if step.is_same_behind_any() { given } else { behind(Layout::ChannelsLast) };
        self.cycles[at] = [given, last];
        self.floor += given.min(last);
        self.weights = self.weights.saturating_add(step.weight_bytes);
    }

    /// The cycles of the run that begins with step `start`, one before where it began.
    fn grow(&mut self, start: usize) -> Result<f64, &'static str> {
        let (step, strips) = (self.numbers(start), &self.strips[start]);
        let last = &self.strips[self.end - self.first - 1];
        if let Some(why) = strips.refused.or(last.refused) {
            return Err(why);
        }
        self.lines = self.lines.saturating_add(strips.line_bytes(step));
        if strips.most >= step.rows.output || self.lines > most_lines(self.steps.target) {
            return Err(NO_LINES);
        }
        self.tensors += step.row_bytes as f64 * step.rows.output as f64;
        self.add(start);
        let bytes = self.lines.saturating_add(self.weights);
        let mut cost = cost::through_lines(self.tensors, bytes, self.steps.target);
        let mut before = step.layout;
        for at in start..self.cycles.len() {
            cost += self.cycles[at][usize::from(before != step.layout)];
            before = self.after(at, before);
        }
        Ok(cost)
    }

    /// Whether the run has lost more than steps before it could gain.
    fn cannot_win(&self, start: usize) -> bool {
        let more = self.first..self.first + start;
        let to_gain: f64 = more.map(|at| self.steps.kinds[self.steps.of[at]].to_gain).sum();
        self.floor > self.steps.apart(self.first + start, self.end) + to_gain
    }
}

/// Strip heights that cut so many rows evenly: any number of strips up to 32, then an eighth more
/// each time, up to strips of one row.
fn heights(rows: i64) -> Vec<i64> {
    let counts = std::iter::successors(Some(2), |&count| Some(count + (count / 8).max(1)));
    let counts = counts.take_while(|&count| count < rows).chain((rows > 1).then_some(rows));
    let mut heights: Vec<i64> = counts.map(|count| (rows + count - 1) / count).collect();
    heights.dedup();
    heights
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
