//! Random graphs of small convolutions, and random plans for them.

use super::random::{convs, work};
use super::random_chains::{DrawnChain, MOST_WORK, planned, reading, step_dice};
use conv_ir::conv::{Combine, Given};
use conv_ir::program::{Step, read_behind};
use conv_ir::{Accuracy, Conv, ConvSpec, Program};
use proptest::prelude::*;

/// What a step of a graph reads: each number chooses among those that fit.
#[derive(Clone, Debug)]
enum Reads {
    Before,
    Other(usize),
    Joined(Vec<usize>),
}

fn reads() -> impl Strategy<Value = Reads> {
    let joined = proptest::collection::vec(any::<usize>(), 1..=3).prop_map(Reads::Joined);
    prop_oneof![
        4 => Just(Reads::Before),
        3 => any::<usize>().prop_map(Reads::Other),
        3 => joined,
    ]
}

/// The tensors that the step behind these reads: a joined one begins with any, and goes on with
/// such as have its extents.
fn sources(steps: &[Step], reads: &Reads) -> Vec<usize> {
    let last = steps.len();
    match reads {
        Reads::Before => vec![last],
        Reads::Other(at) => vec![at % (last + 1)],
        Reads::Joined(all) => {
            let found = |tensor: usize| read_behind(steps, &[tensor]).ok();
            let like = |tensor: &usize| {
                let pair = found(*tensor).zip(found(last));
                pair.is_some_and(|(a, b)| a.extents == b.extents && a.types.input == b.types.input)
            };
            let fitting: Vec<usize> = (0..=last).filter(like).collect();
            let others = all.iter().map(|at| fitting[at % fitting.len()]);
            std::iter::once(last).chain(others).collect()
        }
    }
}

/// Steps whose output reaches the last one, or all, in which case what nobody reads is given.
fn giving(steps: Vec<Step>, is_pruned: bool) -> Option<Program> {
    let mut read = vec![false; steps.len() + 1];
    read[steps.len()] = true;
    let mut outputs = Vec::new();
    for (at, step) in steps.iter().enumerate().rev() {
        if !read[at + 1] && !is_pruned && !step.given {
            read[at + 1] = true;
            outputs.push(at + 1);
        }
        if read[at + 1] {
            step.from.iter().chain(&step.residual).for_each(|&tensor| read[tensor] = true);
        }
    }
    // Two numbers of one input.
    read[1] |= steps[0].given && read[0];
    outputs.push(steps.len());
    // Without the first step another one would say what the input is.
    if !read[1] {
        return None;
    }
    // Where each tensor is, counted in the steps that stay.
    let mut tensors = vec![0];
    let mut kept: Vec<Step> = Vec::new();
    for (mut step, read) in steps.into_iter().zip(&read[1..]) {
        if *read {
            step.from.iter_mut().for_each(|tensor| *tensor = tensors[*tensor]);
            step.residual = step.residual.map(|tensor| tensors[tensor]);
            kept.push(step);
        }
        tensors.push(kept.len());
    }
    let outputs = outputs.into_iter().map(|tensor| tensors[tensor]).collect();
    Program::new_giving(kept, outputs).ok()
}

/// An input beside the last of these tensors, of its extents.
fn beside(steps: &[Step], channels: usize) -> Option<Step> {
    Step::input(Given { channels, ..read_behind(steps, &[]).ok()? }).ok()
}

/// The step with a number for each channel that multiplies, which is an input in front of it.
fn scaled(step: &Step, before: usize) -> Option<[Step; 2]> {
    let spec = step.conv.spec();
    if spec.residual {
        return None;
    }
    let conv = Conv::new(ConvSpec { residual: true, combine: Combine::Scale, ..spec.clone() });
    let scaled = Step { residual: Some(before + 1), conv: conv.ok()?, ..step.clone() };
    let types = spec.types.giving(spec.types.output).next();
    let (layout, batch, channels) = (spec.layout, spec.batch.clone(), spec.out_channels);
    let extents = vec![1.into(); step.conv.rank()];
    let scale = Step::input(Given { types, layout, batch, channels, extents }).ok()?;
    Some([scale, scaled])
}

/// Random graphs of two to twelve steps, all sizes known: with one output, or several.
pub fn graphs(several: bool) -> impl Strategy<Value = Program> {
    let first = convs().prop_filter_map("a first step without residual", |conv| {
        let spec = ConvSpec { residual: false, ..conv.spec().clone() };
        Conv::new(spec).ok().filter(|conv| work(conv) <= MOST_WORK / 8)
    });
    let inputs = prop_oneof![5 => Just(None), 1 => (1usize..=5).prop_map(Some)];
    let steps = proptest::collection::vec((step_dice(), reads(), inputs.clone()), 1..=11);
    (first, inputs, steps).prop_filter_map("little work", move |(first, is_declared, dice)| {
        let mut steps = vec![Step { from: vec![0], ..first.clone().into() }];
        if is_declared.is_some() {
            let spec = first.spec();
            let (types, layout, batch) = (spec.types, spec.layout, spec.batch.clone());
            let (channels, extents) = (spec.in_channels, spec.input.clone());
            let declared = Step::input(Given { types, layout, batch, channels, extents }).ok()?;
            steps = vec![declared, Step { from: vec![1], ..first.into() }];
        }
        for (dice, reads, input) in &dice {
            steps.extend(input.and_then(|channels| beside(&steps, channels)));
            let from = sources(&steps, reads);
            let step = reading(&steps, from, dice);
            let Some(step) = step.filter(|step| work(&step.conv) <= MOST_WORK / 4) else {
                continue;
            };
            match scaled(&step, steps.len()).filter(|_| dice.scales) {
                Some(both) => steps.extend(both),
                None => steps.push(step),
            }
        }
        let graph = giving(steps, !several)?;
        let all: usize = graph.convs().map(work).sum();
        (all <= MOST_WORK && !graph.is_row()).then_some(graph)
    })
}

/// A random graph, in random groups.
pub fn drawn_graphs(several: bool) -> impl Strategy<Value = DrawnChain> {
    // Machine code's plan is of what is computed, where strides have moved.
    planned(graphs(several)).prop_filter("strips of what is computed", |drawn| {
        let computed = drawn.chain.rewritten(Accuracy::Exact).program;
        drawn.plan.check(&computed).is_ok()
    })
}
