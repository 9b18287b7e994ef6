//! Operations regrouped for printing: neighbours under the same conditions share one `if`.
//!
//! ```text
//! a = load x when c;  acc = fma(a, b, acc) when c
//!     ->  if c { let a = load x; acc = fma(a, b, acc) }
//! each oc.i { acc = fma(a, b, acc) when ow.i >= 1 }
//!     ->  if ow.i >= 1 { each oc.i { acc = fma(a, b, acc) } }
//! ```
//!
//! Legal because a condition is about loop variables, and no operation changes those.

use conv_ir::nest::{Access, AxisId, Cond, Expr, Op, RegId};

pub(super) enum Node<'a> {
    Each(AxisId, Vec<Node<'a>>),
    When(&'a [Cond], Vec<Node<'a>>),
    Set(RegId, &'a Expr),
    Store(&'a Access, &'a Expr),
    StoreBlock { to: &'a Access, reg: RegId, along: AxisId },
}

/// The operations as nodes, in order.
pub(super) fn nodes(ops: &[Op]) -> Vec<Node<'_>> {
    let mut list: Vec<Node<'_>> = Vec::new();
    for op in ops {
        let (node, when): (Node<'_>, &[Cond]) = match op {
            Op::Each(axis, body) => each(*axis, nodes(body)),
            Op::Set { reg, value, when } => (Node::Set(*reg, value), when),
            Op::Store { to, value, when } => (Node::Store(to, value), when),
            Op::StoreBlock { to, reg, along } => {
                (Node::StoreBlock { to, reg: *reg, along: *along }, &[])
            }
        };
        match list.last_mut() {
            _ if when.is_empty() => list.push(node),
            Some(Node::When(same, body)) if *same == when => body.push(node),
            _ => list.push(Node::When(when, vec![node])),
        }
    }
    list
}

/// A tile loop, and the conditions that all of it is under: those that do not speak of its axis
/// stand around it.
fn each(axis: AxisId, mut body: Vec<Node<'_>>) -> (Node<'_>, &[Cond]) {
    match body.as_mut_slice() {
        [Node::When(when, inner)]
            if when.iter().all(|cond| cond.expression().of_axis(axis) == 0) =>
        {
            (Node::Each(axis, std::mem::take(inner)), *when)
        }
        _ => (Node::Each(axis, body), &[]),
    }
}

impl Node<'_> {
    /// Somewhere in here the register occurs.
    pub fn mentions(&self, reg: RegId) -> bool {
        match self {
            Node::Each(_, body) | Node::When(_, body) => used(body, reg),
            Node::Set(to, value) => *to == reg || reads(value, reg),
            Node::Store(_, value) => reads(value, reg),
            Node::StoreBlock { reg: from, .. } => *from == reg,
        }
    }
}

pub(super) fn used(list: &[Node<'_>], reg: RegId) -> bool {
    list.iter().any(|node| node.mentions(reg))
}

pub(super) fn reads(value: &Expr, reg: RegId) -> bool {
    let mut found = false;
    value.visit(&mut |e| found |= *e == Expr::Reg(reg));
    found
}

/// Sets registers to zero, and does nothing else.
pub(super) fn zeroes(node: &Node<'_>) -> bool {
    match node {
        Node::Each(_, body) => body.iter().all(zeroes),
        Node::Set(_, Expr::Const(value)) => value.to_bits() == 0,
        Node::When(..) | Node::Set(..) | Node::Store(..) | Node::StoreBlock { .. } => false,
    }
}

/// All uses follow a write of the whole register.
pub(super) fn written_first(list: &[Node<'_>], reg: RegId) -> bool {
    let mut uses = list.iter().filter(|node| node.mentions(reg));
    match uses.next() {
        Some(Node::Each(_, body)) => written_first(body, reg),
        Some(Node::When(_, body)) => uses.next().is_none() && written_first(body, reg),
        Some(Node::Set(to, value)) => *to == reg && !reads(value, reg),
        Some(Node::Store(..) | Node::StoreBlock { .. }) | None => false,
    }
}
