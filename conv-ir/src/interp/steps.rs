//! A spelled-out activation, step by step. Stands in until `activation::eval` is there.

use super::leaf::{binary, unary};
use crate::Element;
use crate::activation::Step;

pub(super) fn eval<T: Element>(steps: &[Step], x: T) -> T {
    let mut v: Vec<T> = Vec::with_capacity(steps.len());
    for step in steps {
        v.push(match *step {
            Step::Input => x,
            Step::Const(c) => T::from_f64(c),
            Step::Unary(op, a) => unary(op, v[a]),
            Step::Binary(op, a, b) => binary(op, v[a], v[b]),
            Step::Fma(a, b, c) => v[a].fma(v[b], v[c]),
            Step::Choose { a, b, then, otherwise } => v[if v[a] < v[b] { then } else { otherwise }],
        });
    }
    v.last().copied().unwrap_or(x)
}
