//! One version of an item: what all of its text is made with.

use std::collections::BTreeSet;

use conv_ir::Nest;
use conv_ir::nest::Leaf;

use super::emission::Emission;
use super::expr::{Declared, LeafText};
use super::range::Range;
use super::scope::Scope;
use super::{Transformed, Unsupported, Version, reach};

/// Who owns the packed buffers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// A function packs on its stack.
    Function,
    /// A type has packed before.
    Packed,
}

/// Where a version keeps the arrays of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Home {
    /// On its stack.
    Stack,
    /// In an array of so many elements that its caller passes.
    Callers(i64),
}

/// The ranges of a leaf's parameters over all its calls.
#[derive(Clone, Default)]
pub(super) struct Parameters {
    pub called: bool,
    pub pointers: Vec<Range>,
    pub ints: Vec<Range>,
    /// By parameter of the emitted function: its text has a use for it.
    pub used: Vec<bool>,
}

pub(super) struct Item<'a> {
    pub nest: &'a Nest,
    pub scope: Scope<'a>,
    pub emission: Emission,
    pub parameters: Vec<Parameters>,
    pub leaf_names: Vec<String>,
    pub form: Form,
    pub boxes: bool,
    pub transformed: Option<&'a Transformed>,
}

impl<'a> Item<'a> {
    pub fn new(version: &'a Version, form: Form) -> Result<Item<'a>, Unsupported> {
        let nest = &version.nest;
        let mut scope = Scope::new(nest);
        scope.fresh("run");
        let leaf_names = nest.leaves.iter().map(|leaf| scope.fresh(&leaf.name)).collect();
        let emission = Emission {
            isa: version.isa,
            runtime: version.runtime,
            rounds_once: version.rounds_once,
            dtype: nest.dtype,
            called: BTreeSet::new(),
        };
        let parameters = vec![Parameters::default(); nest.leaves.len()];
        let (boxes, transformed) = (version.boxes, version.transformed.as_ref());
        scope.transforms = transformed.is_some();
        Ok(Item { nest, scope, emission, parameters, leaf_names, form, boxes, transformed })
    }
}

/// The text of a leaf, to be made.
pub(super) fn leaf_text<'s, 'a>(
    leaf: &'a Leaf,
    scope: &'s mut Scope<'a>,
    emission: &'s mut Emission,
) -> LeafText<'s, 'a> {
    let registers = leaf
        .registers
        .iter()
        .map(|r| Declared { name: r.name.clone(), axes: r.axes.clone() })
        .collect();
    LeafText { leaf, scope, emission, registers, asserted: reach::Asserted::default() }
}
