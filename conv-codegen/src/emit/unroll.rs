//! Which loops of a leaf stay loops, and which are written out.
//!
//! ```text
//! each ow.i { acc[ow.i] = fma(a, b, acc[ow.i]) when ow.i >= 1 }
//!     ->  for ow_i in 1..14 { .. }
//! for kw in 0..3 unrolled { .. when ow.i + kw >= 1 }
//!     ->  { kw is 0: .. when ow.i >= 1 }  for kw in 1..3 { .. }
//! ```
//!
//! Tile loops stay loops: rustc unrolls them, those that it would not in parts that it does. Loops
//! over taps stay loops too, except for the taps that a test depends on: they are repeated, so that
//! the test becomes the bounds of a tile loop. A loop of one turn is its body.

use conv_ir::nest::{AxisId, Cond, Loop, LoopKind, Var};
use proc_macro2::TokenStream;

use super::Unsupported;
use super::expr::LeafText;
use super::loops::{LoopHead, braced, loop_head};
use super::node::Node;
use super::range::Range;
use super::scope::Truth;

/// Assignments that rustc unrolls in a tile loop: it counts instructions, 300 at most, about 6 for
/// each of these. Measured: 50 are unrolled, 56 are not.
const MOST: i64 = 45;

/// What a loop repeats, given the leaf's text with the loop's axis bound.
type Body<'b, L> = &'b mut dyn FnMut(&mut L) -> Result<TokenStream, Unsupported>;

impl<'a> LeafText<'_, 'a> {
    /// A loop of the reduction, or its body once for each value that a test depends on.
    pub fn around(
        &mut self,
        l: &Loop,
        mut body: impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        if let (true, Some(range)) = (self.is_repeated(l), l.constant_range()) {
            let mut all = TokenStream::new();
            for (lo, hi) in self.runs(l.axis, range) {
                let turns = self.turns(l.axis, (lo, hi), &mut body)?;
                // What one turn declares is its own.
                all.extend(if hi - lo == 1 { braced(turns) } else { turns });
            }
            return Ok(all);
        }
        if let Some(value) = l.one_turn() {
            return self.turns(l.axis, (value, value + 1), &mut body);
        }
        let mark = self.scope.open();
        let head = loop_head(self.scope, l);
        let body = body(self)?;
        self.scope.close(mark);
        Ok(head.around(body))
    }

    /// Unrolled, and tests depend on it.
    fn is_repeated(&self, l: &Loop) -> bool {
        let tested = |c: &&Cond| c.expression().of_axis(l.axis) != 0;
        self.lanes().is_some()
            && l.kind == LoopKind::Unrolled
            && self.leaf.conditions().iter().any(tested)
    }

    /// The values of a repeated loop: each one by itself, neighbours for which every test holds
    /// together.
    fn runs(&mut self, axis: AxisId, (lo, hi): (i64, i64)) -> Vec<(i64, i64)> {
        let mut runs: Vec<((i64, i64), bool)> = Vec::new();
        for value in lo..hi {
            let free = self.is_untested(axis, value);
            match runs.last_mut() {
                Some((run, true)) if free => run.1 = value + 1,
                _ => runs.push(((value, value + 1), free)),
            }
        }
        runs.into_iter().map(|(run, _)| run).collect()
    }

    /// With this value all tests that depend on the axis hold, wherever in the tile and in the
    /// lanes.
    fn is_untested(&mut self, axis: AxisId, value: i64) -> bool {
        let leaf = self.leaf;
        let mark = self.scope.open();
        self.scope.bind_constant(axis, value);
        for tile in &leaf.tile {
            self.scope.bind_axis(tile.axis, Range::below(tile.extent));
        }
        if let Some(lanes) = leaf.lanes {
            self.scope.bind_axis(lanes.axis, Range::below(lanes.width));
        }
        let conditions = leaf.conditions();
        let mut tested = conditions.iter().filter(|cond| cond.expression().of_axis(axis) != 0);
        let holds = tested
            .all(|cond| matches!(self.scope.conds(std::slice::from_ref(cond)), Truth::Always));
        self.scope.close(mark);
        holds
    }

    /// Assignments in a body, loops inside counted.
    pub fn weight(&self, list: &[Node<'_>]) -> i64 {
        let of = |node: &Node<'_>| match node {
            Node::Each(axis, body) => self.leaf.extent(*axis) * self.weight(body),
            Node::When(_, body) => self.weight(body),
            Node::Set(..) | Node::Store(..) | Node::StoreBlock { .. } => 1,
        };
        list.iter().map(of).sum()
    }

    /// The values that a tile loop runs over: where all of its body is under tests of its axis
    /// alone, those that pass, and the body without the tests.
    pub fn values<'n>(
        &mut self,
        axis: AxisId,
        body: &'n [Node<'a>],
    ) -> ((i64, i64), &'n [Node<'a>]) {
        let all = (0, self.leaf.extent(axis));
        match body {
            [Node::When(when, inner)] => match self.values_where(all, axis, when) {
                Some(values) => (values, inner),
                None => (all, body),
            },
            _ => (all, body),
        }
    }

    /// The values for which conditions hold, where they depend on nothing else and are neighbours.
    fn values_where(
        &mut self,
        (lo, hi): (i64, i64),
        axis: AxisId,
        when: &[Cond],
    ) -> Option<(i64, i64)> {
        let mut passing = Vec::new();
        for value in lo..hi {
            let mark = self.scope.open();
            self.scope.bind_constant(axis, value);
            let truth = self.scope.conds(when);
            self.scope.close(mark);
            match truth {
                Truth::Always => passing.push(value),
                Truth::Never => {}
                Truth::If(_) => return None,
            }
        }
        match (passing.first(), passing.last()) {
            (Some(&first), Some(&last)) => {
                (last - first + 1 == passing.len() as i64).then_some((first, last + 1))
            }
            _ => Some((lo, lo)),
        }
    }

    /// A tile loop, in parts that are short enough for rustc to unroll each: one that it does not
    /// unroll keeps the whole tile in memory.
    pub fn each_in_parts(
        &mut self,
        axis: AxisId,
        (lo, hi): (i64, i64),
        weight: i64,
        body: Body<'_, Self>,
    ) -> Result<TokenStream, Unsupported> {
        let extent = hi - lo;
        let parts = match self.lanes() {
            Some(_) => (extent * weight + MOST - 1) / MOST,
            None => 1,
        };
        let step = (extent + parts.max(1) - 1) / parts.max(1);
        let mut all = TokenStream::new();
        for first in (lo..hi).step_by(step.max(1) as usize) {
            all.extend(self.each_of(axis, (first, (first + step).min(hi)), body)?);
        }
        Ok(all)
    }

    /// The body for each of the values of a tile axis.
    pub fn each_written_out(
        &mut self,
        axis: AxisId,
        (lo, hi): (i64, i64),
        mut body: impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        (lo..hi).map(|value| self.turns(axis, (value, value + 1), &mut body)).collect()
    }

    /// `for axis in 0..extent { body }`.
    pub fn each(
        &mut self,
        axis: AxisId,
        mut body: impl FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        self.each_of(axis, (0, self.leaf.extent(axis)), &mut body)
    }

    /// `for axis in lo..hi { body }` over a tile axis.
    fn each_of(
        &mut self,
        axis: AxisId,
        values: (i64, i64),
        body: Body<'_, Self>,
    ) -> Result<TokenStream, Unsupported> {
        if self.scope.is_bound(Var::Axis(axis)) {
            return Err(Unsupported("a tile axis inside itself".to_owned()));
        }
        self.turns(axis, values, body)
    }

    /// A loop over known values, or the body itself where there is only one.
    fn turns(
        &mut self,
        axis: AxisId,
        (lo, hi): (i64, i64),
        body: Body<'_, Self>,
    ) -> Result<TokenStream, Unsupported> {
        let mark = self.scope.open();
        if lo + 1 == hi {
            self.scope.bind_constant(axis, lo);
            let body = body(self)?;
            self.scope.close(mark);
            return Ok(body);
        }
        let range = Range { lo: Some(lo), hi: Some(hi - 1) };
        let name = self.scope.bind_axis(axis, range);
        let body = body(self)?;
        self.scope.close(mark);
        let head =
            LoopHead { name, lo: lo.to_string(), hi: hi.to_string(), counted: self.scope.is_const };
        Ok(head.around(body))
    }
}
