//! The rules between steps: what each reads must be there and must fit, and is of use.

use super::Step;
use crate::conv::axis_name;
use crate::{Conv, DType, Error, Issue, Layout, Size};

/// A rule broken between steps.
pub(super) fn issue(message: String) -> Issue {
    Issue { field: "chain", axis: None, rank: 0, message }
}

/// Every broken rule of steps that say what they read, and of the tensors that are given.
pub(super) fn issues(steps: &[Step], outputs: &[usize]) -> Vec<Issue> {
    if steps.is_empty() {
        return vec![issue("there is no step, but a chain has at least one".to_owned())];
    }
    let mut found: Vec<Issue> = Vec::new();
    // What is not there has no shape to compare.
    for at in 0..steps.len() {
        found.extend(source(steps, at).map(issue));
    }
    found.extend(given(steps, outputs).map(issue));
    if !found.is_empty() {
        return found;
    }
    for at in (1..steps.len()).filter(|&at| !steps[at].given) {
        found.extend(edge(steps, at).into_iter().map(issue));
    }
    for at in 0..steps.len() {
        found.extend(residual(steps, at).map(issue));
    }
    // Only of tensors that are there.
    if found.is_empty() {
        found.extend(unread(steps, outputs).map(issue));
    }
    found
}

/// What is wrong with the tensors that the step at position `at` names.
fn source(steps: &[Step], at: usize) -> Option<String> {
    let number = at + 1;
    let late = steps[at].from.iter().find(|&&from| from > at);
    if let Some(from) = late {
        return Some(format!("step {number} reads tensor {from}, but only {}", there(at)));
    }
    if steps[at].given {
        let reads = !steps[at].from.is_empty() || steps[at].residual.is_some();
        return reads.then(|| format!("step {number} is an input, which reads no tensor"));
    }
    if at == 0 && steps[at].from != [0] {
        return Some("step 1 says what the input is: it reads tensor 0, once".to_owned());
    }
    None
}

/// `tensors 0 (the input) to 3 are there before it`
pub(super) fn there(last: usize) -> String {
    match last {
        0 => "tensor 0 (the input) is there before it".to_owned(),
        last => format!("tensors 0 (the input) to {last} are there before it"),
    }
}

/// What is wrong with the tensors that a run gives.
fn given(steps: &[Step], outputs: &[usize]) -> Option<String> {
    let last = steps.len();
    if outputs.is_empty() {
        return Some("outputs: none is named, but a program gives at least one tensor".to_owned());
    }
    if let Some(output) = outputs.iter().find(|&&output| !(1..=last).contains(&output)) {
        let why = if *output == 0 { "0 is the input" } else { "no step gives it" };
        return Some(format!(
            "outputs: there is no output {output}, {why}: the steps give 1 to {last}"
        ));
    }
    if let Some(output) = outputs.iter().find(|&&output| steps[output - 1].given) {
        return Some(format!("outputs: tensor {output} is an input, which no step computes"));
    }
    let mut sorted = outputs.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(format!("outputs: tensor {} is named twice", twice[0]))
}

/// A tensor that nobody reads.
fn unread(steps: &[Step], outputs: &[usize]) -> Option<String> {
    let mut read = vec![false; steps.len() + 1];
    let from = steps.iter().flat_map(|step| step.from.iter().chain(&step.residual));
    from.chain(outputs).for_each(|&tensor| read[tensor] = true);
    // Two numbers of one input.
    read[1] |= steps[0].given && read[0];
    let tensor = (1..=steps.len()).find(|&tensor| !read[tensor])?;
    if steps[tensor - 1].given {
        return Some(format!("nobody reads input {tensor}: leave it out"));
    }
    Some(format!(
        "nobody reads what step {tensor} gives: leave the step out, or name {tensor} as an output"
    ))
}

/// What a tensor is, as its reader finds it.
pub(super) use crate::conv::Given as Read;

/// A tensor: 0 is the input, `k` what step `k` gives. None where it is not there.
fn tensor(steps: &[Step], tensor: usize) -> Option<Read> {
    let conv = &steps.get(tensor.saturating_sub(1))?.conv;
    let spec = conv.spec();
    let (types, channels, extents) = match tensor {
        0 => (spec.types, spec.in_channels, spec.input.clone()),
        k => (spec.types.next(), spec.out_channels, conv.sizes_behind(k)),
    };
    let (layout, batch) = (spec.layout, spec.batch.clone());
    Some(Read { types, layout, batch, channels, extents })
}

/// Its sizes in the description's layout: `[1, 8, 7, W]`.
fn sizes(of: &Read) -> Vec<Size> {
    let mut sizes = vec![of.batch.clone()];
    sizes.extend(of.extents.iter().cloned());
    let position = match of.layout {
        Layout::ChannelsFirst => 1,
        Layout::ChannelsLast => sizes.len(),
    };
    sizes.insert(position, of.channels.into());
    sizes
}

/// What the step at position `at` finds in the tensors `from`, joined along the channels; in the
/// one before it where there are none. The first says what all are. None where one is not there.
pub(super) fn read(steps: &[Step], from: &[usize], at: usize) -> Option<Read> {
    let before = [at];
    let from = if from.is_empty() { &before } else { from };
    let parts = from.iter().map(|&at| tensor(steps, at));
    let all: Vec<Read> = parts.collect::<Option<_>>()?;
    let channels = all.iter().try_fold(0usize, |sum, part| sum.checked_add(part.channels))?;
    let first = all.into_iter().next()?;
    Some(Read { channels, ..first })
}

/// `[1, 8, 7, W]`
fn list(sizes: &[Size]) -> String {
    format!("[{}]", sizes.iter().map(Size::to_string).collect::<Vec<_>>().join(", "))
}

/// `step 2 gives`
fn gives(tensor: usize) -> String {
    match tensor {
        0 => "the input is".to_owned(),
        k => format!("step {k} gives"),
    }
}

/// What a step behind these finds in the tensors `from`, joined along the channels; in the last one
/// where there are none.
///
/// # Errors
/// [`Error::Invalid`] where one is not there.
pub fn read_behind(steps: &[Step], from: &[usize]) -> Result<Read, Error> {
    let (last, number) = (steps.len(), steps.len() + 1);
    read(steps, from, last).ok_or_else(|| {
        let late = from.iter().find(|&&tensor| tensor > last);
        Error::Invalid(vec![issue(match late {
            Some(from) => format!("step {number} reads tensor {from}, but only {}", there(last)),
            None => format!("step {number} joins more channels than can be counted"),
        })])
    })
}

/// What does not fit between the step at position `at` and what it reads.
fn edge(steps: &[Step], at: usize) -> Vec<String> {
    let step = &steps[at];
    let mut sources = step.from.clone();
    sources.sort_unstable();
    sources.dedup();
    let unlike: Vec<String> =
        sources.iter().flat_map(|&tensor| unlike(steps, tensor, at)).collect();
    if !unlike.is_empty() {
        return unlike;
    }
    let parts: Vec<Read> = step.from.iter().filter_map(|&at| tensor(steps, at)).collect();
    for (part, &other) in parts.iter().zip(&step.from) {
        if (&part.batch, &part.extents) != (&parts[0].batch, &parts[0].extents) {
            let pair = [&parts[0], part].map(|part| list(&sizes(part)));
            return vec![format!(
                "step {} joins tensors {} and {other} along the channels, but one is {} and the \
                 other {}",
                at + 1,
                step.from[0],
                pair[0],
                pair[1]
            )];
        }
    }
    let Some(found) = read(steps, &step.from, at) else {
        return vec![format!("step {} joins more channels than can be counted", at + 1)];
    };
    let takes = taken(&step.conv);
    if sizes(&found) == sizes(&takes) {
        return Vec::new();
    }
    let subject = match step.from[..] {
        [tensor] => gives(tensor),
        _ => format!("tensors {} joined are", numbers(&step.from)),
    };
    let why = differences(&found, &takes, step.conv.rank());
    let (found, takes) = (list(&sizes(&found)), list(&sizes(&takes)));
    vec![format!("{subject} {found}, but step {} takes {takes}: {why}", at + 1)]
}

/// `1,3`
pub(super) fn numbers(tensors: &[usize]) -> String {
    tensors.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Types, layout and rank, which are those of the whole program.
fn unlike(steps: &[Step], tensor: usize, at: usize) -> Vec<String> {
    // The first step says what the input is.
    let (number, next) = (tensor.max(1), at + 1);
    let (before, after) = (&steps[number - 1].conv, &steps[at].conv);
    let mut found = Vec::new();
    let types = (type_of(steps, tensor), after.types().input);
    if before.dtype() != after.dtype() {
        found.push(format!(
            "step {number} computes in {}, but step {next} in {}: a chain has one type",
            before.dtype(),
            after.dtype()
        ));
    } else if types.0 != types.1 {
        found.push(format!("{} {}, but step {next} takes {}", gives(tensor), types.0, types.1));
    }
    if before.spec().layout != after.spec().layout {
        found.push(format!(
            "step {number} has {}, but step {next} {}: a chain has one layout",
            layout_name(before),
            layout_name(after)
        ));
    }
    if before.rank() != after.rank() {
        found.push(format!(
            "step {number} has {} spatial axes, but step {next} has {}",
            before.rank(),
            after.rank()
        ));
    }
    found
}

fn taken(conv: &Conv) -> Read {
    let spec = conv.spec();
    Read {
        types: spec.types,
        layout: spec.layout,
        batch: spec.batch.clone(),
        channels: spec.in_channels,
        extents: spec.input.clone(),
    }
}

fn layout_name(conv: &Conv) -> &'static str {
    match conv.spec().layout {
        Layout::ChannelsFirst => "channels first",
        Layout::ChannelsLast => "channels last",
    }
}

/// `channels 32 and 64, width 56 and 28`.
fn differences(gives: &Read, takes: &Read, rank: usize) -> String {
    let mut differences = vec![
        ("batch".to_owned(), gives.batch.clone(), takes.batch.clone()),
        ("channels".to_owned(), gives.channels.into(), takes.channels.into()),
    ];
    let spatial = gives.extents.iter().zip(&takes.extents).enumerate();
    differences.extend(spatial.map(|(axis, (gives, takes))| {
        (axis_name(rank, axis).into_owned(), gives.clone(), takes.clone())
    }));
    differences.retain(|(_, gives, takes)| gives != takes);
    let texts =
        differences.iter().map(|(name, gives, takes)| format!("{name} {gives} and {takes}"));
    texts.collect::<Vec<_>>().join(", ")
}

/// The type of a tensor that is no join.
pub(super) fn type_of(steps: &[Step], tensor: usize) -> DType {
    match tensor.checked_sub(1) {
        None => steps[0].conv.types().input,
        Some(step) => steps[step].conv.types().output,
    }
}

/// What is wrong with the residual of the step at position `at`.
fn residual(steps: &[Step], at: usize) -> Option<String> {
    let (step, number) = (&steps[at], at + 1);
    let from = match (step.conv.spec().residual, step.residual) {
        (_, None) => return None,
        (false, Some(from)) => {
            return Some(format!(
                "step {number} has a residual from {from}, but its convolution adds none"
            ));
        }
        (true, Some(from)) if from > at => {
            return Some(format!(
                "step {number} adds a residual from {from}, but only tensors 0 (the input) to {at} are there before it"
            ));
        }
        (true, Some(from)) => from,
    };
    let there = sizes(&tensor(steps, from)?);
    let mut needed = tensor(steps, number)?;
    if step.conv.scales() {
        needed.extents.fill(Size::Known(1));
    }
    let needed = sizes(&needed);
    if there != needed {
        let (needed, there) = (list(&needed), list(&there));
        if step.conv.scales() {
            return Some(format!(
                "step {number} scales each channel by a number of {needed}, but tensor {from} has shape {there}"
            ));
        }
        return Some(format!(
            "step {number} gives {needed}, but the residual from {from} has shape {there}"
        ));
    }
    let [gives, adds] = [number, from].map(|tensor| type_of(steps, tensor));
    (gives != adds)
        .then(|| format!("step {number} gives {gives}, but the residual from {from} is {adds}"))
}
