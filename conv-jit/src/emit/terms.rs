//! What a function under construction works with: integers, and what addresses have in common.

use std::collections::BTreeMap;

use conv_ir::nest::{AxisId, Base};
use cranelift_codegen::ir::Value;

/// An `i64`: known now, or an SSA value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Int {
    Known(i64),
    Value(Value),
}

/// A factor known only at run time: an axis, a value, or both multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Term {
    pub axis: Option<AxisId>,
    pub by: Option<Value>,
}

/// `base + far + sum of bytes * term`: what accesses that share a pointer have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub base: Base,
    /// The part of the displacement that no instruction can hold.
    pub far: i64,
    pub terms: BTreeMap<Term, i64>,
}

impl Key {
    /// Without what moves along `axis`.
    pub(super) fn without(&self, axis: AxisId) -> Key {
        self.keeping(|a| a != axis)
    }

    /// Only with what moves along axes that `keep` accepts, and what stands still.
    pub(super) fn keeping(&self, keep: impl Fn(AxisId) -> bool) -> Key {
        let terms = self.terms.iter().filter(|(t, _)| t.axis.is_none_or(&keep));
        Key { base: self.base, far: self.far, terms: terms.map(|(t, b)| (*t, *b)).collect() }
    }

    /// The terms that move along `axis`.
    pub(super) fn along(&self, axis: AxisId) -> impl Iterator<Item = (Term, i64)> + '_ {
        self.terms.iter().filter(move |(t, _)| t.axis == Some(axis)).map(|(t, b)| (*t, *b))
    }
}
