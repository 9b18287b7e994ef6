//! Whether products of bytes can be summed four at a time.

use super::{Access, Affine, AxisId, Expr, Leaf, Nest, Op, Role, Stmt};
use crate::dtype::{DType, Kind};

/// Products in an instruction.
pub(crate) const FOUR: i64 = 4;

/// Bytes of two arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signs {
    /// Those of one have a sign, as the instruction wants it.
    Differ,
    /// The others are shifted, and what that adds is a sum of its own.
    Alike,
}

impl Nest {
    /// Where every sum of the body, before it has a tile, is of bytes times bytes over blocks of
    /// four channels that lie side by side in the input: whether their signs differ.
    pub(crate) fn fours(&self) -> Option<Signs> {
        fn all(nest: &Nest, stmts: &[Stmt], found: &mut Option<Signs>) -> bool {
            stmts.iter().all(|stmt| match stmt {
                Stmt::For(_, body) => all(nest, body, found),
                Stmt::Leaf(leaf) => match factors(leaf) {
                    Some((input, weight)) => {
                        *found = nest.of_fours(leaf, input, weight);
                        found.is_some()
                    }
                    None => true,
                },
                Stmt::Call(_) => false,
            })
        }
        let mut found = None;
        (self.dtype == DType::I32 && all(self, &self.body, &mut found)).then_some(found).flatten()
    }

    fn of_fours(&self, leaf: &Leaf, input: &Access, weight: &Access) -> Option<Signs> {
        let dtype = |a: &Access| self.buffer(self.buffer_behind(leaf, a.base)).dtype;
        let (input_type, weight_type) = (dtype(input), dtype(weight));
        let has_sign = |dtype: DType| dtype.format().kind == Kind::Signed;
        if input_type.bytes() > 1 || weight_type.bytes() > 1 {
            return None;
        }
        let is_channel = |axis: AxisId| self.role(axis) == Role::InChannel;
        let l = leaf.reduce.iter().find(|l| is_channel(l.axis))?;
        let is_whole = l.constant_range().is_some_and(|(lo, hi)| lo == 0 && hi % FOUR == 0);
        let along = |a: Option<&Affine>| a.map_or(0, |a| a.of_axis(l.axis));
        let is_in_fours = is_whole && along(input.index.last().and_then(|i| i.as_affine())) == 1;
        let signs = match has_sign(input_type) == has_sign(weight_type) {
            true => Signs::Alike,
            false => Signs::Differ,
        };
        is_in_fours.then_some(signs)
    }
}

/// The loads of input and weight that are multiplied in a leaf.
fn factors(leaf: &Leaf) -> Option<(&Access, &Access)> {
    fn loaded(e: &Expr) -> Option<&Access> {
        match e {
            Expr::Load(access) => Some(access),
            Expr::Select { then, .. } => loaded(then),
            _ => None,
        }
    }
    let mut pair = None;
    for op in &leaf.update {
        op.visit(&mut |op| {
            if let Op::Set { value: Expr::Fma(input, weight, _), .. } = op {
                pair = loaded(input).zip(loaded(weight));
            }
        });
    }
    pair
}
