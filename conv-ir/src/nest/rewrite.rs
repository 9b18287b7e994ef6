//! What passes do to a nest, in words they share: paths, substitution, fusion.
//!
//! A *path* is a maximal run of driver loops with one statement each, down to a leaf in place.
//! Most passes map one path to a few paths (a domain is cut, a loop is split) and never look at
//! the tree above; [`fuse`] then shares equal outer loops again.

use super::{Affine, AxisId, Bound, Leaf, Loop, Stmt, Var};

/// A run of loops around a leaf.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopPath {
    /// The loops, outermost first.
    pub loops: Vec<Loop>,
    /// The leaf.
    pub leaf: Leaf,
}

impl LoopPath {
    /// The statement that this path stands for.
    pub fn into_stmt(self) -> Stmt {
        let leaf = Stmt::Leaf(Box::new(self.leaf));
        self.loops.into_iter().rev().fold(leaf, |inner, l| Stmt::For(l, vec![inner]))
    }

    /// Puts `by` in the place of `axis`, in the leaf and in the bounds of inner loops.
    pub fn substitute(&mut self, axis: AxisId, by: &Affine) {
        self.loops.iter_mut().for_each(|l| l.substitute(axis, by));
        self.leaf.substitute(axis, by);
    }

    /// The loop over `axis`.
    pub fn find(&self, axis: AxisId) -> Option<usize> {
        self.loops.iter().position(|l| l.axis == axis)
    }

    /// The path without loop `at`, whose axis takes the one value `value`.
    pub fn without(mut self, at: usize, value: &Affine) -> LoopPath {
        let gone = self.loops.remove(at);
        self.substitute(gone.axis, value);
        self
    }

    /// Whether this only moves elements (no accumulator), which tiling and reordering leave alone.
    pub fn is_copy(&self) -> bool {
        self.leaf.init.is_empty()
    }
}

impl From<LoopPath> for Stmt {
    fn from(path: LoopPath) -> Stmt {
        path.into_stmt()
    }
}

/// Replaces every path by what `f` makes of it. Loops with several statements in them stay.
pub fn map_paths<S: Into<Stmt>, E>(
    stmts: Vec<Stmt>,
    f: &mut impl FnMut(LoopPath) -> Result<Vec<S>, E>,
) -> Result<Vec<Stmt>, E> {
    let mut out = Vec::new();
    for stmt in stmts {
        match path_of(stmt) {
            Ok(path) => out.extend(f(path)?.into_iter().map(S::into)),
            Err(Stmt::For(l, body)) => out.push(Stmt::For(l, map_paths(body, f)?)),
            Err(other) => out.push(other),
        }
    }
    Ok(out)
}

/// Replaces every run of neighbouring paths by what `f` makes of it. Loops with several statements
/// in them stay, and part runs.
pub fn map_runs<E>(
    stmts: Vec<Stmt>,
    f: &mut impl FnMut(Vec<LoopPath>) -> Result<Vec<LoopPath>, E>,
) -> Result<Vec<Stmt>, E> {
    let (mut out, mut run) = (Vec::new(), Vec::new());
    for stmt in stmts {
        match path_of(stmt) {
            Ok(path) => run.push(path),
            Err(other) => {
                out.extend(f(std::mem::take(&mut run))?.into_iter().map(Stmt::from));
                out.push(match other {
                    Stmt::For(l, body) => Stmt::For(l, map_runs(body, f)?),
                    other => other,
                });
            }
        }
    }
    out.extend(f(run)?.into_iter().map(Stmt::from));
    Ok(out)
}

/// The statement as a path, or the statement back.
fn path_of(stmt: Stmt) -> Result<LoopPath, Stmt> {
    match stmt {
        Stmt::Leaf(leaf) => Ok(LoopPath { loops: Vec::new(), leaf: *leaf }),
        Stmt::Call(_) => Err(stmt),
        Stmt::For(l, mut body) if body.len() == 1 => match path_of(body.remove(0)) {
            Ok(mut path) => {
                path.loops.insert(0, l);
                Ok(path)
            }
            Err(inner) => Err(Stmt::For(l, vec![inner])),
        },
        Stmt::For(..) => Err(stmt),
    }
}

/// Neighbouring loops over the same axis with the same bounds become one loop, all the way down.
pub fn fuse(stmts: Vec<Stmt>) -> Vec<Stmt> {
    let mut out: Vec<Stmt> = Vec::new();
    for stmt in stmts {
        match (out.last_mut(), stmt) {
            (Some(Stmt::For(last, body)), Stmt::For(l, more)) if *last == l => body.extend(more),
            (_, stmt) => out.push(stmt),
        }
    }
    for stmt in &mut out {
        if let Stmt::For(_, body) = stmt {
            *body = fuse(std::mem::take(body));
        }
    }
    out
}

/// Every occurrence of `axis` in `stmts` replaced by `by`.
pub fn substitute(stmts: &[Stmt], axis: AxisId, by: &Affine) -> Vec<Stmt> {
    let mut f = |a: &Affine| a.substitute(Var::Axis(axis), by);
    stmts
        .iter()
        .map(|stmt| match stmt {
            Stmt::For(l, body) => {
                let l = Loop { lo: l.lo.map(&mut f), hi: l.hi.map(&mut f), ..l.clone() };
                Stmt::For(l, substitute(body, axis, by))
            }
            Stmt::Leaf(leaf) => {
                let mut leaf = leaf.clone();
                leaf.substitute(axis, by);
                Stmt::Leaf(leaf)
            }
            Stmt::Call(call) => {
                let mut call = call.clone();
                call.pointers = call.pointers.iter().map(|p| p.map(&mut f)).collect();
                call.ints = call.ints.iter().map(|b: &Bound| b.map(&mut f)).collect();
                Stmt::Call(call)
            }
        })
        .collect()
}

/// Applies `f` to every leaf in place.
pub fn for_leaves<E>(
    stmts: &mut [Stmt],
    f: &mut impl FnMut(&mut Leaf) -> Result<(), E>,
) -> Result<(), E> {
    for stmt in stmts {
        match stmt {
            Stmt::For(_, body) => for_leaves(body, f)?,
            Stmt::Leaf(leaf) => f(leaf)?,
            Stmt::Call(_) => {}
        }
    }
    Ok(())
}
