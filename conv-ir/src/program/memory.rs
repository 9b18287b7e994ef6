//! Where the tensors between groups are: who is alive when, which tensors are written side by side
//! because somebody reads them joined, and what is copied.
//!
//! ```text
//! step 1 from 0, step 2 from 1, step 3 from 1, step 4 from 2,3; each a group
//!
//! group     1    2    3    4
//! tensor 1  |----|----|            read by groups 2 and 3
//! 2 joined 3     |----|----|       one array: 2 is its front, 3 its back
//! ```
//!
//! In: a program and its groups. Out: [`Lives`]. [`Slots`] gives memory to what is alive: what is
//! not alive at the same time shares it. Where channels are the outermost dimension with more than
//! one position, the parts of a joined tensor are ranges of it, and no copy is made, unless a part
//! is the caller's array, or a range of another joined tensor. A joined tensor whose parts are a
//! range of a longer one's is a range of that, as in a network whose steps read all before them.

use std::collections::BTreeSet;

use super::Program;
use super::plan::Group;

/// A tensor as a range of the channels of a joined one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// The joined tensor.
    pub join: usize,
    /// The first of the joined tensor's channels.
    pub channel: usize,
    /// Which of the joined tensor's parts it is, or begins with.
    part: usize,
}

/// A tensor that is copied into a joined one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The tensor.
    pub from: usize,
    /// The joined tensor.
    pub to: usize,
    /// The first of the joined tensor's channels that it becomes.
    pub channel: usize,
}

/// When tensors are alive, and how joined ones come about.
#[derive(Clone, Debug)]
pub struct Lives {
    /// By tensor: the groups from which on and up to which its memory is its own. None of what is
    /// the caller's, inside a group, or a range of another tensor.
    pub alive: Vec<Option<(usize, usize)>>,
    /// By tensor: the joined one that it is a range of.
    pub within: Vec<Option<Within>>,
    /// Before each group.
    pub copies: Vec<Vec<Copied>>,
}

/// Whether parts of joined tensors may be ranges of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Where they lie in one piece.
    InPlace,
    /// All are copied.
    ByCopies,
}

impl Lives {
    /// Of a plan's groups.
    pub fn of(program: &Program, groups: &[Group], joining: Joining) -> Lives {
        let mut finding = Finding::new(program, groups);
        let one_piece = program.batch() == 1 && program.channel_dimension() == 1;
        if joining == Joining::InPlace && one_piece {
            finding.find_ranges();
        }
        finding.copy();
        finding.merge();
        finding.lives
    }
}

struct Finding<'a> {
    program: &'a Program,
    lives: Lives,
    /// The first group that reads each tensor, joined ones among them.
    first_reader: Vec<Option<usize>>,
}

impl<'a> Finding<'a> {
    /// What each tensor's own readers say.
    fn new(program: &'a Program, groups: &[Group]) -> Self {
        let count = program.tensors();
        let mut alive: Vec<Option<(usize, usize)>> = vec![None; count];
        let mut first_reader = vec![None; count];
        let is_given =
            |tensor: usize| program.is_input(tensor) || program.outputs().contains(&tensor);
        for (at, group) in groups.iter().enumerate() {
            let steps = &program.steps()[group.steps.clone()];
            let added = steps.iter().filter_map(|step| step.residual);
            let added = added.filter(|&from| from <= group.steps.start);
            for tensor in added.chain([program.input_of(group.steps.start)]) {
                first_reader[tensor].get_or_insert(at);
                let is_join = !program.parts(tensor).is_empty();
                let known = alive[tensor].get_or_insert((at, at));
                if is_join {
                    known.0 = known.0.min(at);
                }
                known.1 = at;
            }
            alive[group.steps.end].get_or_insert((at, at)).0 = at;
        }
        for (tensor, alive) in alive.iter_mut().enumerate() {
            if is_given(tensor) {
                *alive = None;
            }
        }
        let copies = vec![Vec::new(); groups.len()];
        Finding { program, lives: Lives { alive, within: vec![None; count], copies }, first_reader }
    }

    fn channels(&self, tensor: usize) -> usize {
        match tensor {
            0 => self.program.steps()[0].conv.spec().in_channels,
            k => self.program.steps()[k - 1].conv.spec().out_channels,
        }
    }

    /// Joined tensors, the longest first.
    fn joins(&self) -> Vec<usize> {
        let first = self.program.steps().len() + 1;
        let mut joins: Vec<usize> = (first..self.program.tensors()).collect();
        joins.sort_by_key(|&join| std::cmp::Reverse(self.program.parts(join).len()));
        joins
    }

    /// Makes parts ranges of what they are joined to.
    fn find_ranges(&mut self) {
        for join in self.joins() {
            let parts = self.program.parts(join);
            if let Some(around) = self.range_of(parts) {
                self.lives.within[join] = Some(around);
                continue;
            }
            let mut channel = 0;
            for (part, &tensor) in parts.iter().enumerate() {
                let within = &mut self.lives.within[tensor];
                if self.lives.alive[tensor].is_some() && within.is_none() {
                    *within = Some(Within { join, channel, part });
                }
                channel += self.channels(tensor);
            }
        }
    }

    /// The range of a longer joined tensor that these are.
    fn range_of(&self, parts: &[usize]) -> Option<Within> {
        // Parts before the first range are copied there, once for all joins that begin with them.
        let mut ranges = parts.iter().enumerate();
        let (at, known) = ranges.find_map(|(at, &part)| Some((at, self.lives.within[part]?)))?;
        let part = known.part.checked_sub(at)?;
        let around = self.program.parts(known.join).get(part..)?;
        let before: usize = parts[..at].iter().map(|&part| self.channels(part)).sum();
        let channel = known.channel.checked_sub(before)?;
        around.starts_with(parts).then_some(Within { part, channel, ..known })
    }

    /// Lists what is copied: the parts that are no ranges, each once, before the first who reads
    /// it.
    fn copy(&mut self) {
        let mut copied = BTreeSet::new();
        let first = self.program.steps().len() + 1;
        for join in first..self.program.tensors() {
            let Some(group) = self.first_reader[join] else { continue };
            let around = self.lives.within[join];
            let start = around.map_or(0, |around| around.part);
            let root = around.map_or(join, |around| around.join);
            let mut channel = around.map_or(0, |around| around.channel);
            for (part, &from) in self.program.parts(join).iter().enumerate() {
                let here = |within: Within| (within.join, within.part) == (root, start + part);
                let is_range = self.lives.within[from].is_some_and(here);
                if !is_range && copied.insert((from, root, channel)) {
                    self.lives.copies[group].push(Copied { from, to: root, channel });
                    if let Some(alive) = &mut self.lives.alive[from] {
                        alive.1 = alive.1.max(group);
                    }
                }
                channel += self.channels(from);
            }
        }
    }

    /// What is a range of another tensor has no memory of its own: that lives as long.
    fn merge(&mut self) {
        for tensor in 0..self.program.tensors() {
            let Some(Within { join, .. }) = self.lives.within[tensor] else { continue };
            let (own, around) = (self.lives.alive[tensor].take(), self.lives.alive[join]);
            let both = |a: (usize, usize), b: (usize, usize)| (a.0.min(b.0), a.1.max(b.1));
            self.lives.alive[join] = match (own, around) {
                (Some(own), Some(around)) => Some(both(own, around)),
                (own, around) => own.or(around),
            };
        }
    }
}

/// Memory that several tenants use one after the other: as long as the longest of them.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// Length, and the last group that needs what it holds now.
    slots: Vec<(u64, usize)>,
}

impl Slots {
    /// The slot of so many elements or bytes, from group `from` to group `until`. Groups come in
    /// order.
    pub fn take(&mut self, len: u64, (from, until): (usize, usize)) -> usize {
        let free = (0..self.slots.len()).filter(|&at| self.slots[at].1 < from);
        // The one that grows least, and of those the shortest.
        let best = free.min_by_key(|&at| {
            let before = self.slots[at].0;
            (len.max(before) - before, before)
        });
        match best {
            Some(at) => {
                let slot = &mut self.slots[at];
                *slot = (slot.0.max(len), until);
                at
            }
            None => {
                self.slots.push((len, until));
                self.slots.len() - 1
            }
        }
    }

    /// How long each is.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = u64> {
        self.slots.iter().map(|slot| slot.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::plan::Plan;

    fn lives(text: &str, joining: Joining) -> Lives {
        let program: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        Lives::of(&program, &Plan::unfused(&program).groups, joining)
    }

    const BRANCH: &str = "conv1d ic2 oc2 in 8 kernel 1; conv1d oc3 kernel 1; \
        conv1d oc4 kernel 1 from 1; conv1d oc1 kernel 1 from 2,3";

    #[test]
    fn parts_are_ranges_of_what_is_joined() {
        let found = lives(BRANCH, Joining::InPlace);
        assert_eq!(found.alive, [None, Some((0, 2)), None, None, None, Some((1, 3))]);
        let at = |tensor: usize| found.within[tensor].map(|within| (within.join, within.channel));
        assert_eq!((at(2), at(3)), (Some((5, 0)), Some((5, 3))));
        assert!(found.copies.iter().all(Vec::is_empty));
    }

    #[test]
    fn what_is_not_in_one_piece_is_copied() {
        let several = BRANCH.replace("in 8", "n2 in 8");
        for found in [lives(BRANCH, Joining::ByCopies), lives(&several, Joining::InPlace)] {
            let own = [None, Some((0, 2)), Some((1, 3)), Some((2, 3)), None, Some((3, 3))];
            assert_eq!(found.alive, own);
            assert_eq!(
                found.copies[3],
                [Copied { from: 2, to: 5, channel: 0 }, Copied { from: 3, to: 5, channel: 3 }]
            );
        }
    }

    #[test]
    fn the_input_and_what_is_given_are_copied() {
        let found = lives(
            "conv1d ic2 oc2 in 8 kernel 1; conv1d oc1 kernel 1 from 0,1,1; outputs 1,2",
            Joining::InPlace,
        );
        let copies: Vec<_> = found.copies[1].iter().map(|c| (c.from, c.channel)).collect();
        assert_eq!(copies, [(0, 0), (1, 2), (1, 4)]);
        assert_eq!(found.alive, [None, None, None, Some((1, 1))]);
    }

    /// Each step of a dense block reads all before it.
    #[test]
    fn a_dense_block_copies_nothing_but_the_input() {
        let text = "conv1d ic2 oc2 in 8 kernel 1; conv1d oc3 kernel 1 from 1; \
            conv1d oc4 kernel 1 from 1,2; conv1d oc5 kernel 1 from 1,2,3; \
            conv1d oc1 kernel 1 from 1,2,3,4";
        let found = lives(text, Joining::InPlace);
        assert!(found.copies.iter().all(Vec::is_empty), "{found:?}");
        // Joins 6, 7 and 8: two are ranges of the last.
        assert_eq!(found.alive.iter().flatten().count(), 1);
        assert_eq!(found.alive[8], Some((0, 4)));
    }

    /// The input is the caller's array: it alone is copied, once.
    #[test]
    fn a_dense_block_that_begins_at_the_input_copies_that_alone() {
        let text = "conv1d ic2 oc3 in 8 kernel 1; conv1d oc4 kernel 1 from 0,1; \
            conv1d oc5 kernel 1 from 0,1,2; conv1d oc1 kernel 1 from 0,1,2,3";
        let found = lives(text, Joining::InPlace);
        let copies: Vec<_> = found.copies.iter().map(Vec::as_slice).collect();
        let once = [Copied { from: 0, to: 7, channel: 0 }];
        assert_eq!(copies, [&[][..], &once[..], &[], &[]]);
        assert_eq!(found.alive[7], Some((0, 3)));
        assert_eq!(found.alive.iter().flatten().count(), 1);
    }

    #[test]
    fn slots_are_shared_one_after_the_other() {
        let mut slots = Slots::default();
        let taken: Vec<usize> = [(8, (0, 1)), (9, (1, 2)), (4, (2, 3)), (20, (3, 4))]
            .map(|(len, life)| slots.take(len, life))
            .to_vec();
        assert_eq!(taken, [0, 1, 0, 1]);
        assert_eq!(slots.lengths().collect::<Vec<_>>(), [8, 20]);
    }
}
