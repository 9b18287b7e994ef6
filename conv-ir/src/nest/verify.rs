//! What every nest keeps, in any state; checked after every pass.
//!
//! In: a nest. Out: a list of broken rules, empty for a legal nest. A pass that breaks one is a bug
//! of ours. The rules are about form and need no input data; what only running can show (each
//! output written once, scratch written before it is read) is the interpreter's.
//!
//! * V1 Every id is in its table. (Where one is not, nothing else is checked.)
//! * V2 An axis is used only where a loop, `each`, the lanes or an int parameter binds it; `each`
//!   runs over tile axes.
//! * V3 An axis is not bound again where it is bound.
//! * V4 An access has one index per dimension of its buffer.
//! * V5 A register's axes are distinct tile axes, and it is used only where all of them are bound.
//! * V6 A register is read only after an operation that sets it.
//! * V7 Where vectors have more than one lane, conditions, folds, quotients and loop bounds do not
//!   depend on the lane.
//! * V8 Tile extents and the lane count are at least 1; `vectors` is a tile axis; `cut` leaves
//!   between one lane and all of them alive.
//! * V9 Bounds are not empty; only reduce loops are unrolled, and these have constant bounds.
//! * V10 Only driver loops are parallel, none inside another.
//! * V11 A block store runs over a tile axis that indexes its register and is not bound around it.
//! * V12 Given symbols come first; others follow from earlier ones alone.
//! * V13 Extents name no axes; inputs have names of their own, as outputs have; a view is of a
//!   buffer with memory, of its role, and no longer.
//! * V14 Setup reads weight, bias and packed, and writes packed. Body reads everything but the only
//!   output, and writes output and scratch.
//! * V15 A call gives one address per pointer, in the same buffer, and one value per int.
//! * V16 An outlined leaf reaches buffers through pointers alone and names no symbols; its ints
//!   have role `Param`. A leaf in place has no parameters.
//! * V17 No access leaves its buffer, as far as constant loops can tell. (Checked where everything
//!   else holds.)
//! * V18 Divisors are at least 1.
//! * V19 If a loop of the body is parallel, every store to the output is inside a parallel one
//!   (else each thread would do it).
//! * V20 A store of more than one lane depends on the lane.
//! * V21 A buffer of known numbers has as many of them as elements, and nothing is stored in it.
//! * V22 Dead lanes that a load touches stay within their buffer's slack (see `slack`), as far as
//!   constant loops can tell. The interpreter sees each.

mod bounds;
mod ids;
mod leaf;

use super::{
    Access, Affine, AxisId, Bound, BufferId, BufferRole, Call, Index, Leaf, Loop, LoopKind, Names,
    Nest, Stmt, Var,
};
use std::fmt;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the list of the module.
    pub rule: u32,
    /// The loops and the leaf around it.
    pub place: String,
    /// What breaks it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V{} at {}: {}", self.rule, self.place, self.message)
    }
}

/// All broken rules, in the order of the text.
pub fn verify(nest: &Nest) -> Vec<Violation> {
    let unknown = ids::unknown_ids(nest);
    if !unknown.is_empty() {
        return unknown;
    }
    let mut checker = Checker::new(nest);
    checker.tables();
    for leaf in &nest.leaves {
        checker.outlined(leaf);
    }
    checker.phase(Phase::Setup, &nest.setup);
    checker.phase(Phase::Body, &nest.body);
    if checker.found.is_empty() { bounds::leaving_accesses(nest) } else { checker.found }
}

/// Which list of statements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Setup,
    Body,
}

impl Phase {
    fn reads(self, nest: &Nest, role: BufferRole) -> bool {
        match self {
            Phase::Setup => {
                matches!(role, BufferRole::Weight | BufferRole::Bias | BufferRole::Packed)
            }
            // Of several outputs, some are read by later steps.
            Phase::Body => role != BufferRole::Output || nest.has_several_outputs(),
        }
    }

    fn writes(self, role: BufferRole) -> bool {
        match self {
            Phase::Setup => role == BufferRole::Packed,
            Phase::Body => matches!(role, BufferRole::Output | BufferRole::Scratch),
        }
    }
}

struct Checker<'a> {
    nest: &'a Nest,
    names: Names<'a>,
    found: Vec<Violation>,
    /// Axes bound here, outermost first.
    bound: Vec<AxisId>,
    /// Words for the statements around.
    path: Vec<String>,
    phase: Phase,
    in_parallel: bool,
    /// Whether the phase has a parallel loop anywhere.
    has_parallel: bool,
    outlined: bool,
    /// By register: whether an earlier operation sets it.
    set: Vec<bool>,
}

impl<'a> Checker<'a> {
    fn new(nest: &'a Nest) -> Self {
        Checker {
            nest,
            names: Names { nest, leaf: None },
            found: Vec::new(),
            bound: Vec::new(),
            path: Vec::new(),
            phase: Phase::Setup,
            in_parallel: false,
            has_parallel: false,
            outlined: false,
            set: Vec::new(),
        }
    }

    fn report(&mut self, rule: u32, message: impl Into<String>) {
        self.found.push(Violation { rule, place: self.path.join(" > "), message: message.into() });
    }

    fn require(&mut self, holds: bool, rule: u32, message: impl FnOnce(&Names<'a>) -> String) {
        if !holds {
            let message = message(&self.names);
            self.report(rule, message);
        }
    }

    fn at(&mut self, place: impl Into<String>, check: impl FnOnce(&mut Self)) {
        self.path.push(place.into());
        check(self);
        self.path.pop();
    }

    /// Runs `check` with an axis bound.
    fn binding(&mut self, axis: AxisId, check: impl FnOnce(&mut Self)) {
        let free = !self.bound.contains(&axis);
        self.require(free, 3, |names| format!("{} is bound already", names.axis(axis)));
        self.bound.push(axis);
        check(self);
        self.bound.pop();
    }

    fn tables(&mut self) {
        let nest = self.nest;
        for (at, symbol) in nest.symbols.iter().enumerate() {
            self.at(format!("size {}", symbol.name), |c| match &symbol.value {
                None => {
                    let first = nest.symbols[..at].iter().all(|s| s.value.is_none());
                    c.require(first, 12, |_| {
                        "a given size after one that follows from others".into()
                    });
                }
                Some(value) => c.symbol_value(at, value),
            });
        }
        for (at, buffer) in nest.buffers.iter().enumerate() {
            self.at(format!("buffer {}", buffer.name), |c| {
                let constant = buffer.extents.iter().all(|e| e.axes().next().is_none());
                c.require(constant, 13, |_| "an extent names an axis".into());
                let id = BufferId(at as u32);
                let named = |other: &super::Buffer| {
                    (other.role, &other.name) == (buffer.role, &buffer.name)
                };
                let callers = matches!(buffer.role, BufferRole::Input | BufferRole::Output);
                let twin =
                    callers && buffer.view_of.is_none() && nest.buffers[..at].iter().any(named);
                c.require(!twin, 13, |_| "there is another buffer of its role and name".into());
                let count = buffer.values.as_ref().map(|values| values.len() as i64);
                let fits = count.is_none() || count == nest.constant_len(id);
                c.require(fits, 21, |_| format!("{} known numbers", count.unwrap_or(0)));
                let base = buffer.view_of.map(|of| nest.buffer(of));
                let fits = base.is_none_or(|b| {
                    b.role == buffer.role && b.view_of.is_none() && b.dtype == buffer.dtype
                });
                c.require(fits, 13, |_| "it is no view of that buffer".into());
                let lens = buffer.view_of.map(|of| (nest.constant_len(id), nest.constant_len(of)));
                let longer = matches!(lens, Some((Some(view), Some(of))) if view > of);
                c.require(!longer, 13, |_| "a view is longer than its buffer".into());
            });
        }
    }

    fn symbol_value(&mut self, at: usize, value: &Bound) {
        let earlier = |var: &Var| matches!(var, Var::Symbol(s) if s.index() < at);
        let known = value
            .quotients()
            .iter()
            .all(|q| q.numerator.terms().iter().all(|(var, _)| earlier(var)));
        self.require(known, 12, |names| {
            format!("{} is not made of earlier sizes", names.bound(value))
        });
        self.divisors(value);
    }

    fn divisors(&mut self, bound: &Bound) {
        self.require(!bound.quotients().is_empty(), 9, |_| "a bound of nothing".into());
        for q in bound.quotients() {
            self.require(q.divisor >= 1, 18, |names| {
                format!("divisor {} in {}", q.divisor, names.quotient(q))
            });
        }
    }

    fn phase(&mut self, phase: Phase, stmts: &'a [Stmt]) {
        self.phase = phase;
        self.has_parallel = has_parallel(stmts);
        self.at(if phase == Phase::Setup { "setup" } else { "body" }, |c| c.stmts(stmts));
    }

    fn stmts(&mut self, stmts: &'a [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => self.driver_loop(l, body),
                Stmt::Leaf(leaf) => self.in_place(leaf),
                Stmt::Call(call) => self.call(call),
            }
        }
    }

    fn driver_loop(&mut self, l: &'a Loop, body: &'a [Stmt]) {
        self.at(format!("for {}", self.names.axis(l.axis)), |c| {
            c.bound(&l.lo);
            c.bound(&l.hi);
            c.require(l.kind != LoopKind::Unrolled, 9, |_| "a driver loop is unrolled".into());
            let outer = c.in_parallel;
            c.in_parallel |= l.kind == LoopKind::Parallel;
            c.require(!(outer && l.kind == LoopKind::Parallel), 10, |_| {
                "parallel inside parallel".into()
            });
            c.binding(l.axis, |c| c.stmts(body));
            c.in_parallel = outer;
        });
    }

    fn bound(&mut self, bound: &Bound) {
        self.divisors(bound);
        for q in bound.quotients() {
            self.affine(&q.numerator);
        }
    }

    /// Every variable is known here.
    fn affine(&mut self, a: &Affine) {
        for (var, _) in a.terms() {
            match var {
                Var::Axis(axis) => {
                    let bound = self.bound.contains(axis);
                    self.require(bound, 2, |names| format!("{} is not bound", names.axis(*axis)));
                }
                Var::Symbol(_) => {
                    let visible = !self.outlined;
                    self.require(visible, 16, |names| {
                        format!("names the size in {}", names.affine(a))
                    });
                }
            }
        }
    }

    fn index(&mut self, index: &Index) {
        match index {
            Index::Affine(a) => self.affine(a),
            Index::Quotient(q) => self.bound(&Bound::Min(vec![q.clone()])),
            Index::Folded { index, extent, .. } => {
                self.affine(index);
                self.affine(extent);
            }
        }
    }

    /// The indices of an access into `buffer`.
    fn indices(&mut self, access: &Access, buffer: BufferId) {
        let (found, needed) = (access.index.len(), self.nest.buffer(buffer).extents.len());
        self.require(found == needed, 4, |names| {
            format!("{} needs {needed} indices", names.access(access))
        });
        access.index.iter().for_each(|index| self.index(index));
    }

    fn call(&mut self, call: &'a Call) {
        let leaf = &self.nest.leaves[call.leaf.index()];
        self.at(format!("call {}", leaf.name), |c| {
            let buffers: Vec<BufferId> = call.pointers.iter().filter_map(buffer_of).collect();
            let same = buffers == leaf.pointers && call.pointers.len() == leaf.pointers.len();
            c.require(same, 15, |_| "pointers do not match the leaf's".into());
            c.require(call.ints.len() == leaf.ints.len(), 15, |_| {
                "ints do not match the leaf's".into()
            });
            for pointer in &call.pointers {
                if let Some(buffer) = buffer_of(pointer) {
                    c.indices(pointer, buffer);
                }
            }
            call.ints.iter().for_each(|int| c.bound(int));
            c.roles(leaf);
        });
    }

    fn outlined(&mut self, leaf: &'a Leaf) {
        self.outlined = true;
        self.at(format!("leaf {}", leaf.name), |c| {
            c.bound.extend(&leaf.ints);
            for int in &leaf.ints {
                let is_param = c.nest.axis(*int).role == super::Role::Param;
                c.require(is_param, 16, |names| {
                    format!("int {} has another role", names.axis(*int))
                });
            }
            c.leaf(leaf);
            c.bound.clear();
        });
        self.outlined = false;
    }

    fn in_place(&mut self, leaf: &'a Leaf) {
        self.at(format!("leaf {}", leaf.name), |c| {
            let none = leaf.pointers.is_empty() && leaf.ints.is_empty();
            c.require(none, 16, |_| "a leaf in place has parameters".into());
            c.leaf(leaf);
            c.roles(leaf);
        });
    }
}

fn buffer_of(access: &Access) -> Option<BufferId> {
    match access.base {
        super::Base::Buffer(buffer) => Some(buffer),
        super::Base::Pointer(_) => None,
    }
}

fn has_parallel(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|stmt| match stmt {
        Stmt::For(l, body) => l.kind == LoopKind::Parallel || has_parallel(body),
        Stmt::Leaf(_) | Stmt::Call(_) => false,
    })
}

#[cfg(test)]
mod tests;
