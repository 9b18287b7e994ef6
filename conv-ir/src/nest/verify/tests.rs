//! The two hand-written nests keep every rule, and one broken nest for each rule names it.

use super::verify;
use crate::nest::samples::{BIAS, INPUT, OUTPUT, PACKED, WEIGHT, ax, lowered, naive};
use crate::nest::{
    Access, Affine, AxisId, Base, Bound, Cond, Expr, Fold, Index, Leaf, Loop, LoopKind, Nest, Op,
    Quotient, RegId, Role, Stmt, Symbol, SymbolId,
};

/// The leaf in place under the loops of the first statement.
fn innermost(stmts: &mut [Stmt]) -> &mut Leaf {
    match &mut stmts[0] {
        Stmt::For(_, body) => innermost(body),
        Stmt::Leaf(leaf) => leaf,
        Stmt::Call(_) => unreachable!("no call stands first in a sample"),
    }
}

/// A sample, changed, and the rules that it breaks.
fn naive_with(change: impl Fn(&mut Leaf)) -> Vec<u32> {
    let mut nest = naive();
    change(innermost(&mut nest.body));
    rules(&nest)
}

fn row_with(change: impl Fn(&mut Leaf)) -> Vec<u32> {
    lowered_with(|nest| change(&mut nest.leaves[0]))
}

fn lowered_with(change: impl Fn(&mut Nest)) -> Vec<u32> {
    let mut nest = lowered();
    change(&mut nest);
    rules(&nest)
}

fn rules(nest: &Nest) -> Vec<u32> {
    let mut rules: Vec<u32> = verify(nest).iter().map(|v| v.rule).collect();
    rules.dedup();
    rules
}

fn store(access: Access, value: Expr) -> Op {
    Op::Store { to: access, value, when: Vec::new() }
}

fn call(nest: &mut Nest) -> &mut crate::nest::Call {
    match &mut nest.body[1] {
        Stmt::For(_, body) => match &mut body[0] {
            Stmt::Call(call) => call,
            Stmt::For(..) | Stmt::Leaf(_) => unreachable!("the sample calls its leaf"),
        },
        Stmt::Leaf(_) | Stmt::Call(_) => unreachable!("the sample calls in a loop"),
    }
}

fn lane_cond() -> Vec<Cond> {
    vec![Cond::NonNegative(ax(1))]
}

#[test]
fn the_samples_keep_every_rule() {
    assert_eq!(verify(&naive()), []);
    assert_eq!(verify(&lowered()), []);
}

#[test]
fn a_violation_says_where_and_what() {
    let mut nest = naive();
    innermost(&mut nest.body).init.clear();
    let text = verify(&nest).iter().map(|v| v.to_string()).collect::<Vec<_>>();
    assert_eq!(
        text,
        [
            "V6 at body > for oc > for ow > leaf point > for ic > for kw: acc is read before it is set"
        ]
    );
}

#[test]
fn v1_ids() {
    assert_eq!(naive_with(|l| l.finish.push(Op::set(RegId(9), Expr::Const(0.0)))), [1]);
    assert_eq!(lowered_with(|n| call(n).leaf.0 = 1), [1]);
    assert_eq!(row_with(|l| l.reduce[0].hi = Affine::symbol(SymbolId(0)).into()), [1]);
}

#[test]
fn v2_to_v6_axes_and_registers() {
    let late = Access::buffer(OUTPUT, [ax(2), ax(1)]);
    assert_eq!(naive_with(|l| l.finish = vec![store(late.clone(), Expr::Const(0.0))]), [2]);
    assert_eq!(row_with(|l| l.init.push(Op::Each(AxisId(6), vec![]))), [2]);
    assert_eq!(
        row_with(|l| l.init.push(Op::Each(AxisId(0), vec![Op::Each(AxisId(0), vec![])]))),
        [3]
    );
    assert_eq!(
        lowered_with(|n| n.body[1] = Stmt::For(Loop::serial(AxisId(2), 3), vec![n.body[1].clone()])),
        [3]
    );
    let flat = Expr::Load(Access::buffer(BIAS, [ax(0), ax(0)]));
    assert_eq!(naive_with(|l| l.init.push(Op::set(RegId(0), flat.clone()))), [4]);
    assert_eq!(row_with(|l| l.init.push(Op::set(RegId(0), Expr::Const(0.0)))), [5]);
    assert_eq!(row_with(|l| l.registers[1].axes.push(AxisId(0))), [5]);
    assert_eq!(row_with(|l| l.update.swap(0, 1)), [6]);
}

#[test]
fn v7_v8_lanes() {
    let set = Op::Set { reg: RegId(1), value: Expr::Const(0.0), when: lane_cond() };
    assert_eq!(row_with(|l| l.finish.push(Op::Each(AxisId(0), vec![set.clone()]))), [7]);
    assert_eq!(row_with(|l| l.tile[1].extent = 0), [8]);
    assert_eq!(row_with(|l| l.lanes.as_mut().unwrap().cut = Some(9)), [8]);
    assert_eq!(row_with(|l| l.lanes.as_mut().unwrap().vectors = Some(AxisId(6))), [8]);
}

#[test]
fn v9_v10_loops() {
    assert_eq!(naive_with(|l| l.reduce[1].kind = LoopKind::Unrolled), [9]);
    assert_eq!(naive_with(|l| l.reduce[0].lo = Bound::Max(vec![])), [9]);
    assert_eq!(naive_with(|l| l.reduce[0].kind = LoopKind::Parallel), [10]);
    let nested = |n: &mut Nest| {
        let l = Loop { kind: LoopKind::Parallel, ..Loop::serial(AxisId(6), 1) };
        n.body[1] = Stmt::For(l, vec![n.body[1].clone()]);
    };
    assert_eq!(lowered_with(nested), [10]);
}

#[test]
fn v11_block_stores() {
    let block = |l: &mut Leaf, axis| {
        let Op::Each(_, body) = &mut l.finish[0] else { unreachable!("the sample stores in each") };
        let Op::StoreBlock { along, .. } = &mut body[0] else {
            unreachable!("the sample stores blocks")
        };
        *along = axis;
    };
    assert!(row_with(|l| block(l, AxisId(0))).contains(&11));
    assert!(row_with(|l| block(l, AxisId(6))).contains(&11));
}

#[test]
fn v12_v13_tables() {
    let size = |name: &str, value| Symbol { name: name.into(), value, least: 0 };
    let of_itself = Some(Bound::from(Affine::symbol(SymbolId(0))));
    assert_eq!(lowered_with(|n| n.symbols = vec![size("A", of_itself.clone())]), [12]);
    assert_eq!(
        lowered_with(|n| n.symbols = vec![size("A", Some(1.into())), size("B", None)]),
        [12]
    );
    assert!(lowered_with(|n| n.buffers[0].extents[0] = ax(0)).contains(&13));
    assert_eq!(lowered_with(|n| n.buffers.push(n.buffers[0].clone())), [13]);
}

#[test]
fn v14_v19_roles_and_threads() {
    let to =
        |buffer, n| store(Access::buffer(buffer, vec![Affine::default(); n]), Expr::Const(0.0));
    assert_eq!(naive_with(|l| l.finish.push(to(INPUT, 2))), [14]);
    assert_eq!(lowered_with(|n| innermost(&mut n.body).finish.push(to(PACKED, 4))), [14]);
    assert_eq!(lowered_with(|n| innermost(&mut n.setup).finish.push(to(OUTPUT, 2))), [14]);
    assert_eq!(lowered_with(|n| innermost(&mut n.body).finish.push(to(OUTPUT, 2))), [19]);
    let output = Expr::Load(Access::buffer(OUTPUT, [ax(0), ax(1)]));
    assert_eq!(naive_with(|l| l.finish.push(Op::set(RegId(0), output.clone()))), [14]);
}

#[test]
fn v15_v16_calls_and_parameters() {
    assert_eq!(lowered_with(|n| call(n).ints.push(1.into())), [15]);
    assert_eq!(lowered_with(|n| call(n).pointers.swap(0, 1)), [15]);
    assert_eq!(lowered_with(|n| drop(call(n).pointers.pop())), [15]);
    let direct = Expr::Load(Access::buffer(BIAS, [ax(1)]));
    let each = |op| Op::Each(AxisId(0), vec![op]);
    assert_eq!(row_with(|l| l.finish.push(each(Op::set(RegId(1), direct.clone())))), [16]);
    assert_eq!(naive_with(|l| l.pointers.push(INPUT)), [16]);
    let sized = |n: &mut Nest| {
        n.symbols.push(Symbol { name: "A".into(), value: None, least: 0 });
        n.leaves[0].reduce[0].hi = Affine::symbol(SymbolId(0)).into();
    };
    assert_eq!(lowered_with(sized), [16]);
    let int = |n: &mut Nest, role| {
        let axis = n.add_axis("p", role, crate::nest::Part::Whole);
        n.leaves[0].ints.push(axis);
        n.leaves[0].reduce[0].hi = Affine::axis(axis).into();
        call(n).ints.push(2.into());
    };
    assert_eq!(lowered_with(|n| int(n, Role::Param)), []);
    assert_eq!(lowered_with(|n| int(n, Role::Copy)), [16]);
}

#[test]
fn v17_bounds() {
    let load = |index: Vec<Index>| {
        Op::set(RegId(0), Expr::Load(Access { base: Base::Buffer(WEIGHT), index }))
    };
    let at = |oc: Affine| vec![oc.into(), Affine::default().into(), Affine::default().into()];
    assert_eq!(naive_with(|l| l.init.push(load(at(ax(0).plus_constant(1))))), [17]);
    assert_eq!(naive_with(|l| l.init.push(load(at(ax(0).plus_constant(-1))))), [17]);
    let folded = |by: i64, extent: i64, fold| {
        vec![Index::Folded {
            index: ax(0).plus_constant(by),
            extent: Box::new(extent.into()),
            fold,
            pixel: 1,
        }]
    };
    let fold =
        |by, extent, how| load([folded(by, extent, how), at(0.into())[1..].to_vec()].concat());
    for how in [Fold::Reflect, Fold::Symmetric, Fold::Replicate, Fold::Circular] {
        assert_eq!(naive_with(|l| l.init.push(fold(-5, 6, how))), []);
        assert_eq!(naive_with(|l| l.init.push(fold(-60, 6, how))), []);
        assert_eq!(naive_with(|l| l.init.push(fold(0, 7, how))), []);
        assert_eq!(naive_with(|l| l.init.push(fold(-1, 7, how))), [17]);
    }
    assert_eq!(row_with(|l| l.lanes.as_mut().unwrap().cut = None), [17]);
    assert_eq!(row_with(|l| l.lanes.as_mut().unwrap().cut = Some(7)), [17]);
    assert_eq!(row_with(|l| l.tile[1].extent = 3), [17]);
    let guarded = |op: Op| match op {
        Op::Set { reg, value, .. } => {
            Op::Set { reg, value, when: vec![Cond::NonNegative(ax(0).times(-1))] }
        }
        other => other,
    };
    assert_eq!(naive_with(|l| l.init.push(guarded(load(at(ax(0).plus_constant(5)))))), []);
}

/// Lanes in steps that V17 does not follow, in a row of scratch that ends with its buffer.
#[test]
fn v22_dead_lanes_stay_in_the_slack() {
    let touching = |from: i64| {
        row_with(move |leaf| {
            let lanes = leaf.lanes.unwrap();
            let vector = lanes.vectors.unwrap();
            let lane = Affine::axis(lanes.axis).plus(&Affine::axis(vector).times(3));
            let index = vec![Affine::constant(1).into(), lane.plus_constant(from).into()];
            let base = Base::Pointer(crate::nest::PointerId(0));
            let load = Op::set(RegId(1), Expr::Load(Access { base, index }));
            leaf.init.push(Op::Each(vector, vec![load]));
        })
    };
    assert_eq!(touching(-1), []);
    assert_eq!(touching(0), [22], "behind");
    assert_eq!(touching(-8), []);
    assert_eq!(touching(-9), [22], "before");
}

#[test]
fn v18_v20_divisors_and_splat_stores() {
    let by_zero = Bound::Min(vec![Quotient { numerator: 2.into(), divisor: 0 }]);
    let hidden = Bound::Min(vec![Quotient { numerator: ax(0), divisor: 0 }]);
    assert_eq!(naive_with(|l| l.reduce[0].hi = hidden.clone()), [18]);
    assert_eq!(naive_with(|l| l.reduce[0].hi = by_zero.clone()), [18]);
    let same = |l: &mut Leaf| {
        let index = vec![Index::Affine(0.into()), Index::Affine(0.into())];
        l.finish.push(store(
            Access { base: Base::Pointer(crate::nest::PointerId(3)), index },
            Expr::Const(0.0),
        ));
    };
    assert_eq!(row_with(same), [20]);
}

#[test]
fn v21_known_numbers_fill_their_buffer_and_stay() {
    let known = |at: crate::nest::BufferId, count: usize| {
        lowered_with(|nest| {
            nest.buffers[at.index()].values = Some(crate::Values::exact(vec![1.0; count]))
        })
    };
    assert!(known(WEIGHT, 36).is_empty());
    assert_eq!(known(WEIGHT, 35), [21]);
    // Setup stores to the packed buffer, and the body to the output.
    assert_eq!(known(PACKED, 48), [21]);
    assert_eq!(known(OUTPUT, 36), [21]);
}
