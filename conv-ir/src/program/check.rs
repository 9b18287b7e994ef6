//! The rules between steps: what each reads must be there and must fit, and is of use.

use super::Step;
use crate::conv::axis_name;
use crate::{Conv, DType, Error, Issue, Layout, Size};

/// A rule broken between steps.
pub(super) fn issue(message: String) -> Issue {
    Issue { field: "chain", axis: None, rank: 0, message }
}

/// Steps, and what messages call them and their tensors.
#[derive(Clone, Copy)]
struct Steps<'a> {
    steps: &'a [Step],
    /// By tensor, the input first; where there are none, numbers are what they are called.
    names: &'a [String],
}

impl std::ops::Deref for Steps<'_> {
    type Target = [Step];
    fn deref(&self) -> &[Step] {
        self.steps
    }
}

impl Steps<'_> {
    /// `step 2`, or its name.
    fn step(&self, number: usize) -> String {
        self.called("step", number)
    }

    /// `tensor 2`, or the name of its step.
    fn tensor(&self, tensor: usize) -> String {
        self.called("tensor", tensor)
    }

    fn called(&self, what: &str, number: usize) -> String {
        match self.names.get(number) {
            Some(name) => format!("`{name}`"),
            None => format!("{what} {number}"),
        }
    }

    /// `2`, or the name of its step.
    fn from(&self, tensor: usize) -> String {
        self.names.get(tensor).map_or(tensor.to_string(), |name| format!("`{name}`"))
    }

    /// `step 2 gives`
    fn gives(&self, tensor: usize) -> String {
        match tensor {
            0 if self.names.is_empty() => "the input is".to_owned(),
            0 => format!("{} is", self.tensor(0)),
            k => format!("{} gives", self.step(k)),
        }
    }

    /// `tensors 1,3`
    fn tensors(&self, all: &[usize]) -> String {
        let names: Vec<String> = all.iter().map(|&tensor| self.from(tensor)).collect();
        match self.names.is_empty() {
            true => format!("tensors {}", numbers(all)),
            false => names.join(", "),
        }
    }
}

/// Every broken rule of steps that say what they read, and of the tensors that are given. Where
/// there are names of the tensors, the input's first, messages have those for their numbers.
pub(super) fn issues(steps: &[Step], outputs: &[usize], names: &[String]) -> Vec<Issue> {
    let steps = Steps { steps, names };
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
fn source(steps: Steps<'_>, at: usize) -> Option<String> {
    let number = at + 1;
    let late = steps[at].from.iter().find(|&&from| from > at);
    if let Some(from) = late {
        return Some(format!("{} reads tensor {from}, but only {}", steps.step(number), there(at)));
    }
    if steps[at].given {
        let reads = !steps[at].from.is_empty() || steps[at].residual.is_some();
        return reads.then(|| format!("{} is an input, which reads no tensor", steps.step(number)));
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
fn given(steps: Steps<'_>, outputs: &[usize]) -> Option<String> {
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
        let output = steps.tensor(*output);
        return Some(format!("outputs: {output} is an input, which no step computes"));
    }
    let mut sorted = outputs.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(format!("outputs: {} is named twice", steps.tensor(twice[0])))
}

/// A tensor that nobody reads.
fn unread(steps: Steps<'_>, outputs: &[usize]) -> Option<String> {
    let mut read = vec![false; steps.len() + 1];
    let from = steps.iter().flat_map(|step| step.from.iter().chain(&step.residual));
    from.chain(outputs).for_each(|&tensor| read[tensor] = true);
    // Two numbers of one input.
    read[1] |= steps[0].given && read[0];
    let tensor = (1..=steps.len()).find(|&tensor| !read[tensor])?;
    if steps[tensor - 1].given {
        let input = steps.called("input", tensor);
        return Some(format!("nobody reads {input}: leave it out"));
    }
    let (step, output) = (steps.step(tensor), steps.from(tensor));
    Some(format!(
        "nobody reads what {step} gives: leave the step out, or name {output} as an output"
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
fn edge(steps: Steps<'_>, at: usize) -> Vec<String> {
    let step = &steps[at];
    let mut sources = step.from.clone();
    sources.sort_unstable();
    sources.dedup();
    let unlike: Vec<String> =
        sources.iter().flat_map(|&tensor| unlike(steps, tensor, at)).collect();
    if !unlike.is_empty() {
        return unlike;
    }
    let parts: Vec<Read> = step.from.iter().filter_map(|&at| tensor(&steps, at)).collect();
    for (part, &other) in parts.iter().zip(&step.from) {
        if (&part.batch, &part.extents) != (&parts[0].batch, &parts[0].extents) {
            let pair = [&parts[0], part].map(|part| list(&sizes(part)));
            let (step, first) = (steps.step(at + 1), steps.tensor(step.from[0]));
            let (one, another) = (&pair[0], &pair[1]);
            return vec![format!(
                "{step} joins {first} and {} along the channels, but one is {one} and the other \
                 {another}",
                steps.tensor(other)
            )];
        }
    }
    let Some(found) = read(&steps, &step.from, at) else {
        let step = steps.step(at + 1);
        return vec![format!("{step} joins more channels than can be counted")];
    };
    let takes = taken(&step.conv);
    if sizes(&found) == sizes(&takes) {
        return Vec::new();
    }
    let subject = match step.from[..] {
        [tensor] => steps.gives(tensor),
        _ => format!("{} joined are", steps.tensors(&step.from)),
    };
    let why = differences(&found, &takes, step.conv.rank());
    let (found, takes) = (list(&sizes(&found)), list(&sizes(&takes)));
    vec![format!("{subject} {found}, but {} takes {takes}: {why}", steps.step(at + 1))]
}

/// `1,3`
pub(super) fn numbers(tensors: &[usize]) -> String {
    tensors.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Types, layout and rank, which are those of the whole program.
fn unlike(steps: Steps<'_>, tensor: usize, at: usize) -> Vec<String> {
    // The first step says what the input is.
    let (number, next) = (tensor.max(1), at + 1);
    let (before, after) = (&steps[number - 1].conv, &steps[at].conv);
    let (number, next) = (steps.step(number), steps.step(next));
    let mut found = Vec::new();
    let types = (type_of(&steps, tensor), after.types().input);
    if before.dtype() != after.dtype() {
        found.push(format!(
            "{number} computes in {}, but {next} in {}: a chain has one type",
            before.dtype(),
            after.dtype()
        ));
    } else if types.0 != types.1 {
        let gives = steps.gives(tensor);
        found.push(format!("{gives} {}, but {next} takes {}", types.0, types.1));
    }
    if before.spec().layout != after.spec().layout {
        found.push(format!(
            "{number} has {}, but {next} {}: a chain has one layout",
            layout_name(before),
            layout_name(after)
        ));
    }
    if before.rank() != after.rank() {
        found.push(format!(
            "{number} has {} spatial axes, but {next} has {}",
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
fn residual(steps: Steps<'_>, at: usize) -> Option<String> {
    let (conv, number) = (&steps[at].conv, at + 1);
    let step = steps.step(number);
    let from = match (conv.spec().residual, steps[at].residual) {
        (_, None) => return None,
        (false, Some(from)) => {
            return Some(format!(
                "{step} has a residual from {from}, but its convolution adds none"
            ));
        }
        (true, Some(from)) if from > at => {
            return Some(format!(
                "{step} adds a residual from {from}, but only tensors 0 (the input) to {at} are there before it"
            ));
        }
        (true, Some(from)) => from,
    };
    let there = sizes(&tensor(&steps, from)?);
    let mut needed = tensor(&steps, number)?;
    if conv.scales() {
        needed.extents.fill(Size::Known(1));
    }
    let needed = sizes(&needed);
    if there != needed {
        let (needed, there) = (list(&needed), list(&there));
        if conv.scales() {
            return Some(format!(
                "{step} scales each channel by a number of {needed}, but {} has shape {there}",
                steps.tensor(from)
            ));
        }
        return Some(format!(
            "{step} gives {needed}, but the residual from {} has shape {there}",
            steps.from(from)
        ));
    }
    let [gives, adds] = [number, from].map(|tensor| type_of(&steps, tensor));
    let from = steps.from(from);
    (gives != adds).then(|| format!("{step} gives {gives}, but the residual from {from} is {adds}"))
}
