//! What a leaf asks for ahead of the leaves behind it: a part of the weights that the next tile of
//! channels reads.
//!
//! ```text
//! for oc.o in 0..16 { for ow.o in 0..4 { call tile(p, w + 65536 oc.o, ..) } }
//!   ->  each call asks for a quarter of the 64 KiB behind its own
//! ```
//!
//! A tile of channels reads its weights once for each tile of the image. Only the first time they
//! come from far away, faster than memory gives them; meanwhile nothing else is asked of it. So
//! each call asks for its share of the next ones, into the second-level cache. Behind the last
//! weights of a buffer lie those of the next, of the program's next step
//! ([`Room`](crate::memory::Room)). Asking for what is not there does nothing.

use conv_ir::nest::{AxisId, BufferId, BufferRole, Call, LeafId, Stmt};
use conv_ir::{Isa, Nest};

/// What the calls of a leaf ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// Which pointer of the leaf is to the weights, and which buffer they are in.
    pub pointer: usize,
    pub buffer: BufferId,
    /// Bytes from a tile's weights to those of the next.
    pub panel: i64,
    /// Bytes that each call asks for.
    pub share: i64,
}

/// Bytes of a cache line.
pub(crate) const LINE: i64 = 64;
/// Weights up to which nobody asks: they stay in a second-level cache, or are there soon.
const NEAR: i64 = 64 << 10;

/// What the calls of a leaf in `stmts` ask for; none where they read their weights once, where it
/// is not known how far the next ones are, or how often these are read.
pub(crate) fn ahead(nest: &Nest, stmts: &[Stmt], leaf: LeafId) -> Option<Ahead> {
    find(nest, stmts, leaf, &mut Vec::new())
}

/// The same of the leaf at a position, as the assembler makes it for a nest of known sizes.
pub(crate) fn of_leaf(nest: &Nest, at: usize, isa: Isa) -> Option<Ahead> {
    if isa == Isa::Portable || !nest.symbols.is_empty() {
        return None;
    }
    ahead(nest, &nest.body, LeafId(at as u32))
}

/// A loop around a call: its axis and what it repeats.
type Around<'a> = (AxisId, &'a [Stmt]);

fn find<'a>(
    nest: &Nest,
    stmts: &'a [Stmt],
    leaf: LeafId,
    around: &mut Vec<Around<'a>>,
) -> Option<Ahead> {
    stmts.iter().find_map(|stmt| match stmt {
        Stmt::For(l, body) => {
            around.push((l.axis, body));
            let found = find(nest, body, leaf, around);
            around.pop();
            found
        }
        Stmt::Call(call) if call.leaf == leaf => of_call(nest, call, around),
        Stmt::Call(_) | Stmt::Leaf(_) => None,
    })
}

fn of_call(nest: &Nest, call: &Call, around: &[Around<'_>]) -> Option<Ahead> {
    let (pointer, buffer) =
        nest.leaves[call.leaf.index()].pointers.iter().enumerate().find_map(|(at, &buffer)| {
            let is_far = || bytes(nest, buffer).is_some_and(|bytes| bytes > NEAR);
            (nest.buffer(buffer).role == BufferRole::Packed && is_far()).then_some((at, buffer))
        })?;
    let step = |axis: AxisId| step(nest, call, (pointer, buffer), axis);
    // The innermost loop that moves on to other weights; the loops inside read the same again.
    let mut outwards = around.iter().rev();
    let (panel, body) = outwards.find_map(|&(axis, body)| match step(axis) {
        Some(0) => None,
        moves => Some((moves, body)),
    })?;
    let (panel, calls) = (panel.filter(|bytes| *bytes > 0)?, calls(nest, body, buffer)?);
    let share = (panel + calls - 1).checked_div(calls)?;
    let share = (share + LINE - 1) / LINE * LINE;
    (calls > 1).then_some(Ahead { pointer, buffer, panel, share })
}

/// Bytes that a call's pointer moves with an axis; `None` where that is no number.
fn step(
    nest: &Nest,
    call: &Call,
    (pointer, buffer): (usize, BufferId),
    axis: AxisId,
) -> Option<i64> {
    let access = &call.pointers[pointer];
    let (mut stride, mut sum) = (nest.buffer(buffer).dtype.bytes() as i64, 0i64);
    for (index, extent) in access.index.iter().zip(&nest.buffer(buffer).extents).rev() {
        let moves = match index.as_affine() {
            Some(affine) => affine.of_axis(axis),
            None if index.follows(axis) => return None,
            None => 0,
        };
        sum = sum.checked_add(moves.checked_mul(stride)?)?;
        stride = stride.checked_mul(extent.as_constant()?)?;
    }
    Some(sum)
}

/// How many calls read a buffer in one turn of a loop.
fn calls(nest: &Nest, stmts: &[Stmt], buffer: BufferId) -> Option<i64> {
    stmts.iter().try_fold(0i64, |sum, stmt| {
        let more = match stmt {
            Stmt::For(l, body) => match calls(nest, body, buffer)? {
                0 => 0,
                each => each.checked_mul(l.constant_extent()?)?,
            },
            Stmt::Call(call) => {
                i64::from(nest.leaves[call.leaf.index()].pointers.contains(&buffer))
            }
            Stmt::Leaf(_) => 0,
        };
        sum.checked_add(more)
    })
}

fn bytes(nest: &Nest, buffer: BufferId) -> Option<i64> {
    nest.constant_len(buffer)?.checked_mul(nest.buffer(buffer).dtype.bytes() as i64)
}

#[cfg(test)]
mod tests {
    use conv_ir::{Conv, Program, Schedule, Target, passes};

    use super::*;
    use crate::{Compiled, CurrentThread, Options, host};

    /// What the leaves of a convolution ask for, under the model's schedule or a given one.
    fn asked(text: &str, schedule: Option<&str>) -> Vec<Ahead> {
        let conv: Conv = text.parse().unwrap();
        let schedule = match schedule {
            Some(text) => text.parse().unwrap(),
            None => Schedule::choose(&conv, &Target::AVX512).schedule,
        };
        let nest = passes::compile(&conv, &schedule, &Target::AVX512, &mut |_, _| {}).unwrap();
        let leaves = (0..nest.leaves.len() as u32).map(LeafId);
        leaves.filter_map(|leaf| ahead(&nest, &nest.body, leaf)).collect()
    }

    #[test]
    fn each_call_asks_for_its_share_of_the_next_tile() {
        let found = asked("conv2d ic64 oc64 in 14 kernel 3 pad 1", None);
        assert!(!found.is_empty());
        for Ahead { panel, share, .. } in found {
            assert_eq!(panel, 64 * 9 * 32 * 4, "64 channels, 9 taps, a tile of 32 channels");
            assert_eq!(share, 5312, "a 14th of it, as there are 14 rows, in whole lines");
        }
    }

    #[test]
    fn nobody_asks_for_what_is_read_once_or_near() {
        assert_eq!(asked("conv2d ic32 oc32 in 14 kernel 3 pad 1", None), [], "36 KiB");
        let innermost = "lanes oc:16 tile oc:32,ow:14 order n,g,oh,ow,oc unroll kw pack";
        assert_eq!(asked("conv2d ic64 oc64 in 14 kernel 3 pad 1", Some(innermost)), []);
        assert_eq!(asked("conv2d ic512 oc512 in 1 kernel 1", None), [], "each weight is read once");
    }

    #[test]
    fn code_that_asks_has_the_same_bits() {
        let texts = [
            "conv2d ic64 oc64 in 7 kernel 3 pad 1 + bias, relu",
            "conv2d ic96 oc192 in 9x5 kernel 1 stride 2 + bias",
            "conv1d g2 ic128 oc160 in 30 kernel 3 + residual",
            "conv2d-transposed ic80 oc96 in 5 kernel 2 stride 2",
        ];
        for text in texts {
            let program = Program::from(text.parse::<Conv>().unwrap());
            let numbers = |len: usize| -> Vec<f32> {
                (0..len).map(|at| (at * 37 % 101) as f32 / 64.0 - 0.75).collect()
            };
            let conv = program.single().unwrap();
            let run = |target: Target, threads: usize| -> Vec<f32> {
                let options = Options { target, threads, cache: false, ..Options::default() };
                let compiled = Compiled::new(program.clone(), options).unwrap();
                let bias = numbers(conv.spec().out_channels);
                let bias = conv.spec().bias.then_some(&bias[..]);
                let packed = compiled.pack(&numbers(conv.weight_len()), bias).unwrap();
                let mut output = vec![0.0; conv.output_len().unwrap()];
                let (input, residual) = (numbers(conv.input_len().unwrap()), output.clone());
                let call = packed.call(&input, &mut output).threads(threads);
                let call = call.executor(&CurrentThread);
                match conv.spec().residual {
                    true => call.residual(&residual).run().unwrap(),
                    false => call.run().unwrap(),
                }
                output
            };
            let wanted = run(Target::CRANELIFT, 1);
            for target in host::targets_here() {
                for threads in 1..=3 {
                    assert_eq!(run(target, threads), wanted, "{text}, {target}, {threads}");
                }
            }
        }
    }
}
