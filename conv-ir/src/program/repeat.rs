//! Strips that do the same become a loop, found without walking through each of them.
//!
//! ```text
//! strips 0..100 of 4 rows
//!
//! once      strip 0, at the upper edge
//! 97 times  strip 1, each time 4 rows further on
//! once      strip 98
//! once      strip 99
//! ```
//!
//! Once a strip is the one before it, moved, so are those behind it until a window reaches the end
//! of the image: they are counted, not walked through.

use std::ops::Range;

use super::rows::Rows;
use super::strips::{Action, Compute, Walk};
use crate::Error;

/// Strips that do the same `count` times, each time `by` rows further on.
#[derive(Clone, Debug)]
pub(crate) struct Repeated {
    pub count: i64,
    pub first: Vec<Action>,
    /// How far each action moves from one strip to the next.
    pub by: Vec<Moves>,
}

/// Rows from one strip to the next, in each buffer of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub input: i64,
    pub output: i64,
    pub residual: i64,
}

/// The strips `within` of `each` rows, one after the other in one thread.
///
/// # Errors
/// Those of [`Walk::strip`].
pub(crate) fn repeated(
    walk: &mut Walk<'_>,
    within: Range<i64>,
    each: i64,
) -> Result<Vec<Repeated>, Error> {
    walk.halos.restart();
    let rows = walk.halos.axes.last().map_or(0, |axis| axis.output);
    let mut runs: Vec<Repeated> = Vec::new();
    let mut at = within.start;
    while at < within.end {
        let before = walk.halos.parts.clone();
        let strip = walk.strip(Rows { lo: at * each, hi: ((at + 1) * each).min(rows) })?;
        at += 1;
        if !runs.last_mut().is_some_and(|run| run.takes(&strip)) {
            let by = vec![Moves::default(); strip.len()];
            runs.push(Repeated { count: 1, first: strip, by });
            continue;
        }
        // The last strip may be shorter.
        let same = walk.halos.steady(&before, each).min(within.end - 1 - at);
        if let Some(run) = runs.last_mut().filter(|_| same > 0) {
            walk.halos.skip(same, each);
            run.count += same;
            at += same;
        }
    }
    Ok(runs)
}

impl Repeated {
    /// Counts the next strip, if it is this one again.
    fn takes(&mut self, strip: &[Action]) -> bool {
        let by = match self.count {
            1 => moves(&self.first, strip),
            _ => Some(self.by.clone()),
        };
        let Some(by) = by.filter(|by| shifted(&self.first, by, self.count) == strip) else {
            return false;
        };
        (self.by, self.count) = (by, self.count + 1);
        true
    }
}

fn moves(from: &[Action], to: &[Action]) -> Option<Vec<Moves>> {
    let one = |pair: (&Action, &Action)| match pair {
        (Action::Compute(a), Action::Compute(b)) => Some(Moves {
            input: b.input - a.input,
            output: b.output - a.output,
            residual: b.residual.unwrap_or(0) - a.residual.unwrap_or(0),
        }),
        (Action::Keep { .. }, Action::Keep { .. }) => Some(Moves::default()),
        _ => None,
    };
    (from.len() == to.len()).then(|| from.iter().zip(to).map(one).collect())?
}

fn shifted(actions: &[Action], by: &[Moves], times: i64) -> Vec<Action> {
    let one = |(action, by): (&Action, &Moves)| match action {
        Action::Compute(compute) => Action::Compute(Box::new(Compute {
            input: compute.input + times * by.input,
            output: compute.output + times * by.output,
            residual: compute.residual.map(|at| at + times * by.residual),
            ..(**compute).clone()
        })),
        keep => keep.clone(),
    };
    actions.iter().zip(by).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    fn runs(text: &str, keep: bool, each: i64) -> (Vec<Repeated>, Vec<Vec<Action>>) {
        let chain: Program = text.parse().expect("legal");
        let keep = vec![keep; chain.steps().len()];
        let rows = chain.output_shape()[2] as i64;
        let count = (rows + each - 1) / each;
        let mut walk = Walk::new(chain.steps(), 0, &keep);
        let found = repeated(&mut walk, 0..count, each).expect("legal strips");
        walk.halos.restart();
        let strip = |at: i64| Rows { lo: at * each, hi: ((at + 1) * each).min(rows) };
        let all = (0..count).map(|at| walk.strip(strip(at)).expect("legal strips")).collect();
        (found, all)
    }

    #[test]
    fn equal_strips_are_a_loop() {
        let (runs, _) = runs("conv2d in 40 kernel 3 pad 1 stride 2; conv2d kernel 1", true, 2);
        assert_eq!(runs.iter().map(|run| run.count).collect::<Vec<_>>(), [1, 9]);
        assert_eq!((runs[1].by[0].input, runs[1].by[1].output), (4, 2));
    }

    #[test]
    fn counted_strips_are_those_that_were_walked_through() {
        for text in [
            "conv2d in 61x7 kernel 3 pad 1; conv2d kernel 3 pad 1",
            "conv2d in 61x7 kernel 3 pad 1; conv2d kernel 3 pad 1 + residual from 1",
            "conv2d in 122x7 kernel 5x3 pad 4:3,1; conv2d kernel 3 stride 2 dilation 3x1 pad 2; conv2d kernel 3",
            "conv2d in 90x7 kernel 3 pad 1 mode reflect; conv2d kernel 1 stride 3",
            "conv2d in 70x7 kernel 1x3; conv2d kernel 9x1 pad 4,0; conv2d kernel 1x3; conv2d kernel 9x1 pad 4,0",
        ] {
            for (keep, each) in [(true, 1), (false, 1), (true, 3), (false, 4), (true, 7)] {
                let (runs, wanted) = runs(text, keep, each);
                let expand = |run: &Repeated| {
                    (0..run.count).map(|at| shifted(&run.first, &run.by, at)).collect::<Vec<_>>()
                };
                let found: Vec<_> = runs.iter().flat_map(expand).collect();
                assert_eq!(found, wanted, "{text}, keep {keep}, {each} rows");
            }
        }
    }

    #[test]
    fn a_high_image_takes_no_longer() {
        let chain: Program =
            "conv1d in 1000000000 kernel 3 pad 1; conv1d kernel 3 pad 1".parse().expect("legal");
        let mut walk = Walk::new(chain.steps(), 0, &[true, true]);
        let runs = repeated(&mut walk, 0..500_000_000, 2).expect("legal strips");
        assert_eq!(runs.iter().map(|run| run.count).sum::<i64>(), 500_000_000);
        assert!(runs.len() < 6, "{}", runs.len());
    }
}
