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

    /// Every occurrence of `axis` replaced by `by`, in the leaf and in the bounds of inner loops.
    pub fn substitute(&self, axis: AxisId, by: &Affine) -> LoopPath {
        let mut f = |a: &Affine| a.substitute(Var::Axis(axis), by);
        let bounds = |l: &Loop, f: &mut dyn FnMut(&Affine) -> Affine| {
            let mut g = |a: &Affine| f(a);
            Loop { lo: l.lo.map(&mut g), hi: l.hi.map(&mut g), ..l.clone() }
        };
        LoopPath {
            loops: self.loops.iter().map(|l| bounds(l, &mut f)).collect(),
            leaf: self.leaf.map_affine(&mut f),
        }
    }

    /// The loop over `axis`.
    pub fn find(&self, axis: AxisId) -> Option<usize> {
        self.loops.iter().position(|l| l.axis == axis)
    }

    /// The path without loop `at`, whose axis takes the one value `value`.
    pub fn without(&self, at: usize, value: &Affine) -> LoopPath {
        let mut rest = self.clone();
        let gone = rest.loops.remove(at);
        rest.substitute(gone.axis, value)
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
            Stmt::Leaf(leaf) => Stmt::Leaf(Box::new(leaf.map_affine(&mut f))),
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
