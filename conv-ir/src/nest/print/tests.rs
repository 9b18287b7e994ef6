//! The two hand-written nests as text, and the small print.

use crate::nest::samples::{ax, lowered, naive};
use crate::nest::{Affine, Axis, Bound, Cond, Fold, Index, Names, Nest, Part, Quotient, Role};

#[test]
fn a_nest_as_it_is_said() {
    assert_eq!(
        naive().to_string(),
        "\
nest f32
buffer input: input f32[2, 6]
buffer weight: weight f32[6, 2, 3]
buffer bias: bias f32[6]
buffer output: output f32[6, 6]
body:
  for oc in 0..6, ow in 0..6:
    ; tile 1, lanes 1: 1 acc, 2 live; a step: 1 fma, 2 load, 0 splat; 1 store
    leaf point:
      acc = load bias[oc]
      for ic in 0..2, kw in max(0, 1 - ow)..min(3, 7 - ow):
        acc = fma(load input[ic, ow + kw - 1], load weight[oc, ic, kw], acc)
      store output[oc, ow] = acc
"
    );
}

#[test]
fn a_nest_as_it_is_lowered() {
    assert_eq!(
        lowered().to_string(),
        "\
nest f32
buffer input: input f32[2, 6]
buffer weight: weight f32[6, 2, 3]
buffer bias: bias f32[6]
buffer output: output f32[6, 6]
buffer packed: packed f32[2, 2, 3, 4]
buffer padded: scratch f32[2, 8]
; tile 2 x 2, lanes 4: 4 acc, 7 live; a step: 12 fma, 6 load, 6 splat; 4 store
leaf row(@padded, @packed, @bias, @output): tile oc.i 2, ow.i 2, lanes oc.l 4 of oc.i cut 6
  each oc.i, ow.i: acc[oc.i, ow.i] = load @bias[4 oc.i + oc.l]
  for ic in 0..2, kw in 0..3 unrolled:
    each oc.i: b[oc.i] = load @packed[oc.i, ic, kw, oc.l]
    each oc.i, ow.i: acc[oc.i, ow.i] = fma(splat @padded[ic, ow.i + kw], b[oc.i], acc[oc.i, ow.i])
  each oc.i: store block @output[4 oc.i + oc.l, ow.i] = acc[oc.i, ow.i], lanes x ow.i
setup:
  for oc.i in 0..2, oc.l in 0..4, ic in 0..2, kw in 0..3:
    ; tile 1, lanes 1: 0 acc, 1 live; a step: 0 fma, 0 load, 0 splat; 1 store
    leaf pack:
      store packed[oc.i, ic, kw, oc.l] = (if 5 >= 4 oc.i + oc.l then load weight[4 oc.i + oc.l, ic, kw] else 0)
body:
  for ic in 0..2, x in 0..8:
    ; tile 1, lanes 1: 0 acc, 1 live; a step: 0 fma, 0 load, 0 splat; 1 store
    leaf pad:
      store padded[ic, x] = (if x >= 1 and 6 >= x then load input[ic, x - 1] else 0)
  for ow.o in 0..3 parallel:
    call row(padded[0, 2 ow.o], packed[0, 0, 0, 0], bias[0], output[0, 2 ow.o])
"
    );
}

#[test]
fn small_print() {
    let axis = |name: &str| Axis { name: name.into(), role: Role::Copy, part: Part::Whole };
    let nest = Nest { axes: vec![axis("a"), axis("b")], ..naive() };
    let names = Names { nest: &nest, leaf: None };
    let affine = |a: Affine| names.affine(&a);
    assert_eq!(affine(0.into()), "0");
    assert_eq!(affine(ax(0).times(-2).plus(&ax(1)).plus_constant(3)), "b + 3 - 2 a");
    assert_eq!(affine(ax(0).times(-1).plus_constant(-3)), "-a - 3");
    let quotient = Quotient::floor(ax(0).plus_constant(1), 2);
    assert_eq!(names.quotient(&quotient), "(a + 1) / 2");
    assert_eq!(names.bound(&Bound::Min(vec![quotient, 4.into()])), "min((a + 1) / 2, 4)");
    let folded = |pixel| Index::Folded {
        index: ax(0).plus_constant(-1),
        extent: Box::new(6.into()),
        fold: Fold::Reflect,
        pixel,
    };
    assert_eq!(names.index(&folded(1)), "reflect(a - 1, 6)");
    assert_eq!(names.index(&folded(3)), "reflect(a - 1, 6 by 3)");
    assert_eq!(names.cond(&Cond::NonNegative(ax(0).times(-1))), "0 >= a");
    assert_eq!(names.cond(&Cond::Divides(2, ax(0).minus(&ax(1)))), "(a - b) % 2 == 0");
}
