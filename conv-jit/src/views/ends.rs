//! Which code takes a run's arrays as they lie.

use std::sync::Arc;

use conv_ir::lower::{Gaps, Layouts, Within};

use crate::boxes::{Made, Placed};
use crate::shared::Shared;
use crate::strided::{Lies, around, dense};
use crate::weights::Inner;

/// A run's arrays, as far as code takes them as they lie.
#[derive(Default)]
pub(super) struct Ends {
    /// Instead of a group's code.
    pub placed: Vec<(usize, Arc<Placed>)>,
    /// Whether it takes the input, and the output.
    pub input: bool,
    pub output: bool,
}

impl Ends {
    /// Code for an input and an output that lie like this, of those that do not lie row by row.
    pub fn of(inner: &Inner, input: Option<Lies<'_>>, output: Option<Lies<'_>>) -> Ends {
        let groups = &inner.shared.lowered.groups;
        let steps = inner.shared.lowered.program().steps();
        let last = groups.len() - 1;
        // Who reads or adds the input behind the first step does so row by row.
        let reads =
            |step: &conv_ir::program::Step| step.from.contains(&0) || step.residual == Some(0);
        let input = input.filter(|_| steps[0].residual != Some(0) && !steps[1..].iter().any(reads));
        let of = |lies: Option<Lies<'_>>, step: usize| {
            lies.and_then(|lies| around(lies, steps[step].conv.spec().layout))
        };
        let (input_around, output_around) = (of(input, 0), of(output, steps.len() - 1));
        let mut ends = Ends::default();
        for group in if last == 0 { vec![0] } else { vec![0, last] } {
            let input_around = input_around.as_ref().filter(|_| group == 0);
            let output_around = output_around.as_ref().filter(|_| group == last);
            if input_around.is_none() && output_around.is_none() {
                continue;
            }
            let conv = &steps[groups[group].group.steps.start].conv;
            // Where what stays inside is laid out in another way, arrays are copied.
            let layouts = groups[group].layouts;
            let gaps = layouts.gaps;
            if (Layouts { gaps: Gaps::default(), ..layouts }) != Layouts::of(conv) {
                continue;
            }
            let Some(mut dense) = dense(conv) else { continue };
            // Channels stand in front.
            dense.input[0] += gaps.input as i64;
            dense.residual[0] += gaps.residual as i64;
            dense.output[0] += gaps.output as i64;
            let within = Within {
                input: input_around.cloned().unwrap_or(dense.input),
                residual: dense.residual,
                output: output_around.cloned().unwrap_or(dense.output),
            };
            let bytes =
                |lies: Option<Lies<'_>>, is: bool| lies.filter(|_| is).map_or(0, |lies| lies.bytes);
            let bytes = bytes(input, input_around.is_some())
                .saturating_add(bytes(output, output_around.is_some()));
            let Some(placed) = find_or_make(inner, group, within, bytes) else { continue };
            ends.input |= input_around.is_some();
            ends.output |= output_around.is_some();
            ends.placed.push((group, placed));
        }
        ends
    }
}

fn find_or_make(inner: &Inner, group: usize, within: Within, bytes: usize) -> Option<Arc<Placed>> {
    inner.strided.find_or_make((group, &within), || {
        let shared = &inner.shared;
        let made = || make(shared, group, &within);
        let made = shared.strided.find_or_make((group, &within), bytes, made)?;
        Some(Placed::with_constants(made, &inner.constants[group]))
    })
}

/// Code for a group of one step whose arrays lie like this; none where there is no such code.
fn make(shared: &Shared, group: usize, within: &Within) -> Option<Made> {
    let lowered = &shared.lowered;
    let group = &lowered.groups[group];
    let at = group.group.steps.start;
    let schedule = &group.choice.as_ref()?.schedule;
    if lowered.rewritten.blocks(at).is_some() {
        return None;
    }
    let conv = &lowered.program().steps()[at].conv;
    let how = (&shared.options, &shared.backend);
    // Without a legal schedule, or memory for code, arrays are copied.
    Made::like((conv, &group.nest, schedule), within, how).ok().flatten()
}
