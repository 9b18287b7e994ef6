//! Which taps and channels are repeated in the code of a leaf.

use super::shape::Shape;
use super::{REPEATS, counted};
use crate::nest::Role;
use crate::schedule::{Borders, Choice};
use crate::{Isa, Target};

/// Taps are repeated in the code from the innermost axis on, while the body stays small.
pub fn taps(choice: &mut Choice, shape: &Shape, target: &Target) {
    let points: i64 = choice.schedule.tile.iter().map(|t| t.1).product::<i64>()
        / choice.schedule.lanes.map_or(1, |l| l.1);
    let mut body = points.max(1);
    if let Some(taps) = shape.spelled_taps().filter(|taps| body * taps <= REPEATS) {
        spell_taps(choice, shape, taps);
        return;
    }
    // A compiler that does not keep all of a long step in registers gets short ones.
    let is_ours = target.isa != Isa::Portable && !target.masks_free;
    let classes = if is_ours { shape.taps_of_class() } else { shape.taps.clone() };
    for (at, taps) in classes.into_iter().enumerate() {
        // 128 multiply-adds: by then the loop costs nothing, and the code still fits the op cache
        // beside its neighbours. Rows that share what they load want more.
        let most = if choice.schedule.borders == Borders::Mask { 512 } else { 128 };
        if body * taps > most {
            choice.schedule.step = Some((Role::Kernel(at), (most / body).max(1)));
            break;
        }
        body *= taps;
        if shape.taps[at] > 1 {
            choice.schedule.unroll.insert(0, Role::Kernel(at));
        }
    }
    // Where there are few taps, channels fill the step: going round the loop costs a move per
    // accumulator.
    if choice.schedule.step.is_some() {
        choice
            .reasons
            .push(format!("unroll: {body} multiply-adds, and steps of the loop around them"));
        return;
    }
    // The taps of one class of outputs are few, and so is what goes around them: with steps twice
    // as long transposed 2x2 windows with stride 2 take 0.84 to 0.92 of the time (Granite Rapids).
    let room = if is_ours && shape.phases > 1 { 128 } else { 64 };
    let most = (room / body).clamp(1, 8);
    choice.schedule.step = Some((Role::InChannel, most));
    let channels = (1..=most).rev().find(|s| shape.in_channels % s == 0).unwrap_or(1);
    let (sums, channels) = (body * channels, counted(channels, "channel"));
    choice.reasons.push(format!("unroll: {sums} multiply-adds a step of {channels}"));
}

/// Known taps: all of them are repeated in the code, which leaves out those of zero.
fn spell_taps(choice: &mut Choice, shape: &Shape, taps: i64) {
    let kernel = shape.taps.iter().enumerate().filter(|t| *t.1 > 1).map(|(at, _)| Role::Kernel(at));
    choice.schedule.unroll =
        kernel.chain((shape.in_channels > 1).then_some(Role::InChannel)).collect();
    choice.schedule.unroll.reverse();
    let (all, some) = (taps * shape.out_channels, shape.known_taps.unwrap_or(0));
    choice.reasons.push(format!(
        "unroll: the weights are known, so all {all} taps are spelled out, of which {some} are not zero"
    ));
}
