//! The leaf of a piece whose taps are inside the input: its tests and folds go.
//!
//! ```text
//! before  acc = fma(in[fold(ow + kw - 1)], ..) when ow + kw - 1 >= 0
//! after   acc = fma(in[ow + kw - 1], ..)
//! ```
//!
//! requires: the indices given are inside for the whole piece. gives: no condition, select or fold
//! of theirs.

use crate::nest::{Access, Affine, Cond, Expr, Index, Leaf, Op};

/// The leaf without these conditions, without selects that test only them, and with their folds
/// undone.
pub(super) fn drop_tests(leaf: &Leaf, inside: &[Affine]) -> Leaf {
    let always = Cond::NonNegative(Affine::constant(0));
    let unfold = &mut |access: &Access| {
        let mut access = access.clone();
        for i in &mut access.index {
            if let Index::Folded { index, .. } = i
                && inside.contains(index)
            {
                *i = Index::Affine(index.clone());
            }
        }
        access
    };
    let known = &mut |cond: &Cond| match inside.contains(cond.expression()) {
        true => always.clone(),
        false => cond.clone(),
    };
    let mut leaf = leaf.map(unfold, known, &mut |b| b.clone());
    for op in &mut leaf.update {
        if let Op::Set { when, value, .. } = op {
            when.retain(|c| *c != always);
            *value = without_selects(value, &always);
        }
    }
    leaf
}

fn without_selects(e: &Expr, always: &Cond) -> Expr {
    match e {
        Expr::Select { when, then, otherwise } => {
            let when: Vec<Cond> = when.iter().filter(|c| *c != always).cloned().collect();
            match when.is_empty() {
                true => (**then).clone(),
                false => Expr::Select { when, then: then.clone(), otherwise: otherwise.clone() },
            }
        }
        Expr::Fma(a, b, c) => {
            let [a, b, c] = [a, b, c].map(|e| Box::new(without_selects(e, always)));
            Expr::Fma(a, b, c)
        }
        Expr::Binary(op, a, b) => {
            let [a, b] = [a, b].map(|e| Box::new(without_selects(e, always)));
            Expr::Binary(*op, a, b)
        }
        other => other.clone(),
    }
}
