//! What an emitted item says of itself, and what its arrays are called.

use conv_ir::nest::{BufferId, BufferRole};
use conv_ir::separate::separate;
use conv_ir::{Conv, Nest, Program, Schedule};

use crate::emit::Version;
use crate::lowered::Lowered;

/// The description, what was found in it, how it is computed and why, and what the leaves cost that
/// do most of the work; by the names of the steps, where they have some.
pub(crate) fn notes(described: &Program, lowered: &Lowered, names: &[String]) -> Vec<String> {
    let mut notes = match described.single() {
        Some(conv) => of_conv(conv, lowered.schedule.as_ref()),
        None => of_steps(described, names),
    };
    notes.extend(in_tiles(lowered));
    notes.extend(windows(described, lowered, names));
    if lowered.rewritten.program.single().is_none() {
        notes.extend([String::new(), "Plan:".to_owned()]);
        if lowered.rewritten.skips {
            notes.push("* strides of 1x1 windows moved to the step before".to_owned());
        }
        notes.extend(lowered.plan.reasons.iter().map(|reason| format!("* {reason}")));
    }
    notes.extend(lowered.tuning.iter().flat_map(|said| [String::new(), said.clone()]));
    notes.push(String::new());
    if lowered.versions.iter().any(|version| !version.rounds_once) {
        notes.push("Each multiply-add rounds twice: the product, then the sum.".to_owned());
        notes.push(String::new());
    }
    notes.extend(crate::emit::bills(&lowered.versions));
    notes
}

/// The description alone.
pub(crate) fn of_stream(described: &Program, names: &[String]) -> Vec<String> {
    let mut notes = match described.single() {
        Some(conv) => vec![format!("`{conv}`")],
        None => of_steps(described, names),
    };
    notes.push(String::new());
    notes
}

fn of_conv(conv: &Conv, schedule: Option<&Schedule>) -> Vec<String> {
    let mut notes = vec![format!("`{conv}`"), String::new()];
    if let Some(found) = conv.found_in_weights() {
        notes.push(format!("The weights are compiled in: {found}."));
        notes.push(String::new());
    }
    notes.extend(sizes(conv));
    notes.extend(schedule.map(|schedule| format!("Schedule: `{schedule}`.")));
    notes
}

/// What sizes that come at run time must be.
fn sizes(conv: &Conv) -> Vec<String> {
    let batch = conv.spec().batch.known().is_none().then_some(0);
    let inputs = conv.axes().iter().enumerate().filter(|(_, axis)| axis.input.known().is_none());
    let least = batch.into_iter().chain(inputs.map(|(at, _)| conv.least_input(at)));
    let sizes = conv.free_sizes().into_iter().zip(least);
    let sizes: Vec<String> = sizes.map(|(name, least)| format!("`{name}` >= {least}")).collect();
    match sizes.is_empty() {
        true => Vec::new(),
        false => vec![
            format!("Panics unless {}, and arrays are as long as the sizes say.", sizes.join(", ")),
            String::new(),
        ],
    }
}

fn of_steps(described: &Program, names: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for (at, step) in described.steps().iter().enumerate() {
        let name = names.get(at).cloned().unwrap_or_else(|| format!("step {}", at + 1));
        notes.push(format!("* {name}: `{}`", described.line(at)));
        if let Some(found) = step.conv.found_in_weights() {
            notes.push(format!("  The weights are compiled in: {found}."));
        }
    }
    notes
}

/// What a type in tiles says of them, and of the weights that it takes.
fn in_tiles(lowered: &Lowered) -> Vec<String> {
    if lowered.rewritten.tiled.is_empty() {
        return Vec::new();
    }
    let mut notes = lowered.rewritten.reasons();
    notes.push("A weight that is infinite or NaN makes its whole output channel NaN.".to_owned());
    notes
}

/// Windows of low rank, whether or not they are two steps.
fn windows(described: &Program, lowered: &Lowered, names: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for (at, conv) in described.convs().enumerate() {
        let split = lowered.rewritten.separated.iter().find(|(step, _)| *step == at);
        let (found, how) = match split {
            Some((_, found)) => (Some(found.clone()), "Computed as these two"),
            None => (separate(conv), "One pass: `accuracy: fast` is not asked for"),
        };
        let whose = names.get(at).map(|name| format!("`{name}`: ")).unwrap_or_default();
        let said = found.map(|found| format!("{whose}The window is of {found}. {how}."));
        notes.extend(said.into_iter().flat_map(|said| [String::new(), said]));
    }
    notes
}

/// Calls weight and bias of each step, where the caller passes them, by the step's name
/// (`expand_weight`) or number (`weight_1`), and several inputs and outputs by their steps'. Those
/// of a convolution have names of their own.
pub(crate) fn rename(described: &Program, lowered: &mut Lowered, names: &[String]) {
    if described.single().is_some() {
        return;
    }
    let (program, origins) = (&lowered.rewritten.program, &lowered.rewritten.origins);
    let unknown = |conv: &Conv| conv.known().is_none();
    let comes =
        |conv: &Conv| conv.spec().bias && conv.known().is_none_or(|known| known.bias.is_none());
    let called = |asked: &dyn Fn(&Conv) -> bool, word: &str| -> Vec<String> {
        let steps = program.convs().zip(origins).filter(|(conv, _)| asked(conv));
        let name = |(_, &origin): (_, &usize)| match names.get(origin) {
            Some(name) => format!("{name}_{word}"),
            None => format!("{word}_{}", origin + 1),
        };
        steps.map(name).collect()
    };
    let (weights, biases) = (called(&unknown, "weight"), called(&comes, "bias"));
    let tensors = |all: &[usize], first: Option<&str>, word: &str| -> Vec<String> {
        let name = |(at, &tensor): (usize, &usize)| match first.filter(|_| at == 0) {
            Some(first) => first.to_owned(),
            None => {
                let origin = origins[tensor - 1];
                names.get(origin).cloned().unwrap_or_else(|| format!("{word}_{}", origin + 1))
            }
        };
        all.iter().enumerate().map(name).collect()
    };
    let inputs = tensors(program.inputs(), Some("input"), "input");
    let one = (program.outputs().len() == 1).then_some("output");
    let outputs = tensors(program.outputs(), one, "output");
    let (inputs, outputs) = ((BufferRole::Input, &inputs), (BufferRole::Output, &outputs));
    let constants = [(BufferRole::Weight, &weights), (BufferRole::Bias, &biases)];
    for Version { nest, .. } in &mut lowered.versions {
        for (role, names) in constants.into_iter().chain([inputs, outputs]) {
            for (id, name) in given(nest, role).into_iter().zip(names) {
                nest.buffers[id.index()].name.clone_from(name);
            }
        }
    }
}

/// The buffers of a role that a caller passes.
fn given(nest: &Nest, role: BufferRole) -> Vec<BufferId> {
    let passed = |id: &BufferId| {
        let buffer = nest.buffer(*id);
        buffer.values.is_none() && buffer.view_of.is_none()
    };
    nest.buffers_of(role).filter(passed).collect()
}
