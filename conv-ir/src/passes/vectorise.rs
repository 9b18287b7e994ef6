//! One axis of the tile becomes lanes, and operands get registers, each loaded once per use.
//!
//! ```text
//! before  leaf tile oc.i 8 x ow.i 5:
//!           each oc.i, ow.i: acc[oc.i, ow.i] = fma(in[ow.i], w[oc.i], acc[oc.i, ow.i])
//! after   leaf tile oc.v 2 x ow.i 5, lanes oc.l 4:
//!           each oc.v: b[oc.v] = load w[4 oc.v + oc.l]
//!           each ow.i:
//!             a = load in[ow.i]
//!             each oc.v: acc[oc.v, ow.i] = fma(a, b[oc.v], acc[oc.v, ow.i])
//! ```
//!
//! requires: tiles; conditions and folds free of the lanes' axis, but for masked loads.
//! gives: lanes; the operand with fewer registers held for the whole tile, the other one at a time;
//! block stores where the output is not contiguous along the lanes.
//!
//! The same pass serves both choices: with output channels in the lanes weights are vectors and the
//! input is splat, with columns in the lanes it is the other way round; which is a splat follows
//! from the index alone. A tile that is no whole number of vectors is cut: the lanes beyond are
//! dead.

use crate::nest::{
    Access, Affine, AxisId, Cond, Expr, Index, Lanes, Leaf, Nest, Op, Part, RegId, Register, Role,
    TileAxis, for_leaves,
};
use crate::schedule::Borders;
use crate::{Error, Schedule, Target};

pub(super) fn vectorise(nest: &mut Nest, schedule: &Schedule, _: &Target) -> Result<(), Error> {
    let mut body = std::mem::take(&mut nest.body);
    for_leaves(&mut body, &mut |leaf| {
        if let Some((role, width)) = schedule.lanes {
            add_lanes(nest, schedule, leaf, (role, width));
        }
        share_start(leaf);
        share_operands(leaf);
        store_blocks(leaf);
        Ok::<_, Error>(())
    })?;
    nest.body = body;
    Ok(())
}

fn add_lanes(nest: &mut Nest, schedule: &Schedule, leaf: &mut Leaf, (role, width): (Role, i64)) {
    let Some(at) = leaf.tile.iter().position(|t| nest.role(t.axis) == role) else {
        return;
    };
    let TileAxis { axis, extent } = leaf.tile[at];
    let tests = |c: &Cond| c.expression().of_axis(axis) != 0;
    let masks = schedule.borders == Borders::Mask || !leaf.conditions().into_iter().any(tests);
    if extent == 1 || width == 1 || leaf.tests_depend_on(|a| a == axis) || !masks {
        return;
    }
    let lane = nest.add_axis(format!("{role}.l"), role, Part::Lane);
    let count = (extent + width - 1) / width;
    let mut by = Affine::axis(lane);
    let vectors = (count > 1).then(|| nest.add_axis(format!("{role}.v"), role, Part::Inner));
    match vectors {
        Some(vectors) => {
            by = by.plus(&Affine::axis(vectors).times(width));
            leaf.tile[at] = TileAxis { axis: vectors, extent: count };
        }
        None => {
            leaf.tile.remove(at);
        }
    }
    leaf.substitute(axis, &by);
    let rename = |axes: &mut Vec<AxisId>| {
        axes.iter_mut().for_each(|a| *a = if *a == axis { vectors.unwrap_or(lane) } else { *a });
        axes.retain(|a| *a != lane);
    };
    leaf.registers.iter_mut().for_each(|r| rename(&mut r.axes));
    for ops in [&mut leaf.init, &mut leaf.update, &mut leaf.finish] {
        *ops =
            std::mem::take(ops).into_iter().flat_map(|op| rename_each(op, axis, vectors)).collect();
    }
    leaf.lanes =
        Some(Lanes { axis: lane, width, vectors, cut: (extent % width != 0).then_some(extent) });
}

/// `each axis` becomes `each vectors`, or disappears into the lanes.
fn rename_each(op: Op, axis: AxisId, vectors: Option<AxisId>) -> Vec<Op> {
    match op {
        Op::Each(a, body) => {
            let body: Vec<Op> =
                body.into_iter().flat_map(|op| rename_each(op, axis, vectors)).collect();
            match (a == axis, vectors) {
                (false, _) => vec![Op::Each(a, body)],
                (true, Some(vectors)) => vec![Op::Each(vectors, body)],
                (true, None) => body,
            }
        }
        other => vec![other],
    }
}

/// The single operation under nested `each`.
fn innermost(ops: &[Op]) -> Option<&Op> {
    match ops {
        [Op::Each(_, body)] => innermost(body),
        [op] => Some(op),
        _ => None,
    }
}

fn under(axes: &[AxisId], ops: Vec<Op>) -> Vec<Op> {
    axes.iter().rev().fold(ops, |ops, &axis| vec![Op::Each(axis, ops)])
}

/// The tile axes that an expression's loads depend on, in tile order.
fn tile_axes(leaf: &Leaf, e: &Expr, when: &[Cond]) -> Vec<AxisId> {
    let mut used = Vec::new();
    let mut note = |a: &Affine| used.extend(a.axes());
    e.visit(&mut |e| match e {
        Expr::Load(access) => access.index.iter().for_each(|i| {
            i.map(&mut |a| {
                note(a);
                a.clone()
            });
        }),
        Expr::Select { when, .. } => when.iter().for_each(|c| note(c.expression())),
        _ => {}
    });
    when.iter().for_each(|c| note(c.expression()));
    leaf.tile.iter().map(|t| t.axis).filter(|axis| used.contains(axis)).collect()
}

fn add_register(leaf: &mut Leaf, name: &str, axes: Vec<AxisId>) -> RegId {
    leaf.registers.push(Register { name: name.to_owned(), axes });
    RegId(leaf.registers.len() as u32 - 1)
}

/// The bias is loaded once for all points that share it.
fn share_start(leaf: &mut Leaf) {
    let Some(Op::Set { reg, value: value @ Expr::Load(_), when }) = innermost(&leaf.init).cloned()
    else {
        return;
    };
    let axes = tile_axes(leaf, &value, &[]);
    let rest: Vec<AxisId> =
        leaf.tile.iter().map(|t| t.axis).filter(|a| !axes.contains(a)).collect();
    if rest.is_empty() || !when.is_empty() {
        return;
    }
    let start = add_register(leaf, "start", Vec::new());
    let mut ops = vec![Op::set(start, value)];
    ops.extend(under(&rest, vec![Op::set(reg, Expr::Reg(start))]));
    leaf.init = under(&axes, ops);
}

/// The operands of an update: of a multiply-add, of a maximum of sums, .. Of what has no weight
/// there is one.
fn operands(value: &mut Expr) -> Option<(&mut Expr, Option<&mut Expr>)> {
    match value {
        Expr::Fma(input, weight, _) => Some((input, Some(weight))),
        Expr::Binary(_, element, acc) if matches!(**acc, Expr::Reg(_)) => match &mut **element {
            Expr::Binary(_, input, weight) => Some((input, Some(weight))),
            input => Some((input, None)),
        },
        _ => None,
    }
}

/// The operands of the update get registers.
fn share_operands(leaf: &mut Leaf) {
    let Some(Op::Set { reg, mut value, when }) = innermost(&leaf.update).cloned() else {
        return;
    };
    let Some((input, weight)) = operands(&mut value) else { return };
    let Some(weight) = weight else { return share_input(leaf, (reg, value, when)) };
    let take = |e: &mut Expr| std::mem::replace(e, Expr::Const(0.0));
    let (input, weight) = (take(input), take(weight));
    let count = |leaf: &Leaf, axes: &[AxisId]| -> i64 {
        leaf.tile.iter().filter(|t| axes.contains(&t.axis)).map(|t| t.extent).product()
    };
    let input_axes = tile_axes(leaf, &input, &when);
    let weight_axes = tile_axes(leaf, &weight, &[]);
    let hold_input = count(leaf, &input_axes) < count(leaf, &weight_axes);
    let a = add_register(leaf, "a", if hold_input { input_axes.clone() } else { Vec::new() });
    let b = add_register(leaf, "b", if hold_input { Vec::new() } else { weight_axes.clone() });
    let load_a = Op::Set { reg: a, value: input, when: when.clone() };
    let load_b = Op::set(b, weight);
    if let Some((input, Some(weight))) = operands(&mut value) {
        (*input, *weight) = (Expr::Reg(a), Expr::Reg(b));
    }
    let combine = Op::Set { reg, value, when };
    let (held, held_axes, other, other_axes) = if hold_input {
        (load_a, input_axes, load_b, weight_axes)
    } else {
        (load_b, weight_axes, load_a, input_axes)
    };
    let rest: Vec<AxisId> =
        leaf.tile.iter().map(|t| t.axis).filter(|axis| !other_axes.contains(axis)).collect();
    let mut step = vec![other];
    step.extend(under(&rest, vec![combine]));
    let mut update = under(&held_axes, vec![held]);
    update.extend(under(&other_axes, step));
    leaf.update = update;
}

/// The only operand of the update gets a register, for all points of the tile that share it.
fn share_input(leaf: &mut Leaf, (reg, mut value, when): (RegId, Expr, Vec<Cond>)) {
    let Some((input, None)) = operands(&mut value) else { return };
    let axes = tile_axes(leaf, input, &when);
    let a = add_register(leaf, "a", Vec::new());
    let load = std::mem::replace(input, Expr::Reg(a));
    let load = Op::Set { reg: a, value: load, when: when.clone() };
    let rest: Vec<AxisId> =
        leaf.tile.iter().map(|t| t.axis).filter(|axis| !axes.contains(axis)).collect();
    let mut step = vec![load];
    step.extend(under(&rest, vec![Op::Set { reg, value, when }]));
    leaf.update = under(&axes, step);
}

/// The accumulator under an epilogue.
fn first_register(value: &Expr) -> Option<RegId> {
    let mut found = None;
    value.visit(&mut |e| {
        if let (Expr::Reg(reg), None) = (e, found) {
            found = Some(*reg);
        }
    });
    found
}

/// Stores whose lanes are apart become block stores along a tile axis that is contiguous.
fn store_blocks(leaf: &mut Leaf) {
    let Some(lanes) = leaf.lanes else { return };
    let Some(Op::Store { to, value, when }) = innermost(&leaf.finish).cloned() else {
        return;
    };
    let last =
        |to: &Access| to.index.last().and_then(Index::as_affine).cloned().unwrap_or_default();
    if last(&to).of_axis(lanes.axis) != 0 || !when.is_empty() {
        return;
    }
    let step = |t: &&TileAxis| last(&to).of_axis(t.axis);
    let Some(along) = leaf.tile.iter().filter(|t| step(t) != 0).min_by_key(step).map(|t| t.axis)
    else {
        return;
    };
    let Some(reg) = first_register(&value) else { return };
    let rest: Vec<AxisId> =
        leaf.tile.iter().map(|t| t.axis).filter(|axis| *axis != along).collect();
    let mut ops = Vec::new();
    if value != Expr::Reg(reg) {
        ops.push(Op::Each(along, vec![Op::set(reg, value)]));
    }
    ops.push(Op::StoreBlock { to, reg, along });
    leaf.finish = under(&rest, ops);
}
