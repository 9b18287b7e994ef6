//! Two nests written by hand for unit tests: the same 1-D convolution (2 channels in, 6 out, width
//! 6, window 3, padding 1, bias), as it is said and as it could be lowered.

use super::{
    Access, Affine, Axis, AxisId, Base, Bound, Buffer, BufferId, BufferRole, Call, Cond, Expr,
    Lanes, Leaf, LeafId, Loop, LoopKind, Nest, Op, Part, PointerId, RegId, Register, Role, Stmt,
    TileAxis,
};
use crate::DType;

pub(crate) const INPUT: BufferId = BufferId(0);
pub(crate) const WEIGHT: BufferId = BufferId(1);
pub(crate) const BIAS: BufferId = BufferId(2);
pub(crate) const OUTPUT: BufferId = BufferId(3);
pub(crate) const PACKED: BufferId = BufferId(4);
pub(crate) const PADDED: BufferId = BufferId(5);

pub(crate) fn ax(axis: u32) -> Affine {
    Affine::axis(AxisId(axis))
}

fn constants(of: &[i64]) -> Vec<Affine> {
    of.iter().map(|c| Affine::constant(*c)).collect()
}

fn nest(axes: &[&str], buffers: &[(&str, BufferRole, &[i64])]) -> Nest {
    let axis = |name: &&str| Axis { name: (*name).into(), role: Role::Copy, part: Part::Whole };
    let buffer = |(name, role, extents): &(&str, BufferRole, &[i64])| Buffer {
        name: (*name).into(),
        role: *role,
        dtype: DType::F32,
        extents: constants(extents),
        values: None,
        view_of: None,
    };
    Nest {
        dtype: DType::F32,
        rank: 1,
        axes: axes.iter().map(axis).collect(),
        symbols: Vec::new(),
        buffers: buffers.iter().map(buffer).collect(),
        leaves: Vec::new(),
        setup: Vec::new(),
        body: Vec::new(),
        needs_finite_weights: false,
    }
}

const GIVEN: [(&str, BufferRole, &[i64]); 4] = [
    ("input", BufferRole::Input, &[2, 6]),
    ("weight", BufferRole::Weight, &[6, 2, 3]),
    ("bias", BufferRole::Bias, &[6]),
    ("output", BufferRole::Output, &[6, 6]),
];

fn leaf(name: &str) -> Leaf {
    Leaf::copy(name, Vec::new(), Vec::new())
}

fn register(name: &str, axes: &[u32]) -> Register {
    Register { name: name.into(), axes: axes.iter().map(|a| AxisId(*a)).collect() }
}

fn loops(loops: Vec<Loop>, leaf: Leaf) -> Stmt {
    loops.into_iter().rev().fold(Stmt::Leaf(Box::new(leaf)), |inner, l| Stmt::For(l, vec![inner]))
}

fn range(axis: u32, extent: i64) -> Loop {
    Loop::serial(AxisId(axis), extent)
}

fn load(access: Access) -> Box<Expr> {
    Box::new(Expr::Load(access))
}

fn reg(reg: u32) -> Box<Expr> {
    Box::new(Expr::Reg(RegId(reg)))
}

/// As the equation says it.
pub(crate) fn naive() -> Nest {
    let (oc, ow, ic, kw) = (0, 1, 2, 3);
    let mut nest = nest(&["oc", "ow", "ic", "kw"], &GIVEN);
    let taps = Loop {
        axis: AxisId(kw),
        lo: Bound::Max(vec![0.into(), Affine::constant(1).minus(&ax(ow)).into()]),
        hi: Bound::Min(vec![3.into(), Affine::constant(7).minus(&ax(ow)).into()]),
        kind: LoopKind::Serial,
    };
    let input = Access::buffer(INPUT, [ax(ic), ax(ow).plus(&ax(kw)).plus_constant(-1)]);
    let weight = Access::buffer(WEIGHT, [ax(oc), ax(ic), ax(kw)]);
    let point = Leaf {
        registers: vec![register("acc", &[])],
        init: vec![Op::set(RegId(0), *load(Access::buffer(BIAS, [ax(oc)])))],
        reduce: vec![range(ic, 2), taps],
        update: vec![Op::set(RegId(0), Expr::Fma(load(input), load(weight), reg(0)))],
        finish: vec![Op::Store {
            to: Access::buffer(OUTPUT, [ax(oc), ax(ow)]),
            value: *reg(0),
            when: Vec::new(),
        }],
        ..leaf("point")
    };
    nest.body = vec![loops(vec![range(oc, 6), range(ow, 6)], point)];
    nest
}

/// Six output channels in two vectors of four lanes, two positions a tile, weights packed, input
/// padded in scratch, the tile outlined.
pub(crate) fn lowered() -> Nest {
    let mut buffers = GIVEN.to_vec();
    buffers.push(("packed", BufferRole::Packed, &[2, 2, 3, 4]));
    buffers.push(("padded", BufferRole::Scratch, &[2, 8]));
    let mut nest = nest(&["oc.i", "oc.l", "ow.o", "ow.i", "ic", "kw", "x"], &buffers);
    nest.setup = vec![pack()];
    nest.leaves = vec![row()];
    let origin = |buffer, n| Access::buffer(buffer, vec![Affine::default(); n]);
    let at = |buffer| Access::buffer(buffer, [Affine::default(), ax(2).times(2)]);
    let pointers = vec![at(PADDED), origin(PACKED, 4), origin(BIAS, 1), at(OUTPUT)];
    let call = Stmt::Call(Call { leaf: LeafId(0), pointers, ints: Vec::new() });
    nest.body =
        vec![pad(), Stmt::For(Loop { kind: LoopKind::Parallel, ..range(2, 3) }, vec![call])];
    nest
}

fn copy(name: &str, to: Access, from: Access, when: Vec<Cond>) -> Leaf {
    let value = Expr::Select { when, then: load(from), otherwise: Box::new(Expr::Const(0.0)) };
    Leaf { finish: vec![Op::Store { to, value, when: Vec::new() }], ..leaf(name) }
}

fn pack() -> Stmt {
    let oc = ax(0).times(4).plus(&ax(1));
    let to = Access::buffer(PACKED, [ax(0), ax(4), ax(5), ax(1)]);
    let from = Access::buffer(WEIGHT, [oc.clone(), ax(4), ax(5)]);
    let when = vec![Cond::NonNegative(Affine::constant(5).minus(&oc))];
    loops(vec![range(0, 2), range(1, 4), range(4, 2), range(5, 3)], copy("pack", to, from, when))
}

fn pad() -> Stmt {
    let (to, from) = (
        Access::buffer(PADDED, [ax(4), ax(6)]),
        Access::buffer(INPUT, [ax(4), ax(6).plus_constant(-1)]),
    );
    let inside = [ax(6).plus_constant(-1), Affine::constant(6).minus(&ax(6))];
    loops(
        vec![range(4, 2), range(6, 8)],
        copy("pad", to, from, inside.map(Cond::NonNegative).to_vec()),
    )
}

fn row() -> Leaf {
    let [oc_i, oc_l, ow_i, ic, kw] = [0, 1, 3, 4, 5];
    let each = |axis, op| Op::Each(AxisId(axis), vec![op]);
    let through = |pointer, index: Vec<Affine>| Access {
        base: Base::Pointer(PointerId(pointer)),
        index: index.into_iter().map(Into::into).collect(),
    };
    let oc = ax(oc_i).times(4).plus(&ax(oc_l));
    let input = through(0, vec![ax(ic), ax(ow_i).plus(&ax(kw))]);
    let weight = through(1, vec![ax(oc_i), ax(ic), ax(kw), ax(oc_l)]);
    let tile = |axis| TileAxis { axis: AxisId(axis), extent: 2 };
    let multiply = Op::set(RegId(0), Expr::Fma(load(input), reg(1), reg(0)));
    Leaf {
        pointers: vec![PADDED, PACKED, BIAS, OUTPUT],
        tile: vec![tile(oc_i), tile(ow_i)],
        lanes: Some(Lanes {
            axis: AxisId(oc_l),
            width: 4,
            vectors: Some(AxisId(oc_i)),
            cut: Some(6),
        }),
        registers: vec![register("acc", &[oc_i, ow_i]), register("b", &[oc_i])],
        init: vec![each(oc_i, each(ow_i, Op::set(RegId(0), *load(through(2, vec![oc.clone()])))))],
        reduce: vec![range(ic, 2), Loop { kind: LoopKind::Unrolled, ..range(kw, 3) }],
        update: vec![
            each(oc_i, Op::set(RegId(1), *load(weight))),
            each(oc_i, each(ow_i, multiply)),
        ],
        finish: vec![each(
            oc_i,
            Op::StoreBlock {
                to: through(3, vec![oc, ax(ow_i)]),
                reg: RegId(0),
                along: AxisId(ow_i),
            },
        )],
        ..leaf("row")
    }
}
