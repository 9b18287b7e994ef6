//! What an average is divided by: how many elements of a window count.

use super::Lowering;
use crate::conv::{Count, Reduction, count};
use crate::nest::{Access, Affine, Binary, BufferId, BufferRole, Expr, Role};

/// A product: a constant, and a table for each axis along which it varies.
pub(super) struct Divisor {
    constant: f64,
    tables: Vec<(usize, BufferId)>,
}

impl Divisor {
    /// The number of elements that count, at an output.
    pub fn at(&self, out: &[Affine]) -> Expr {
        let tables = self
            .tables
            .iter()
            .map(|&(axis, table)| Expr::Load(Access::buffer(table, [out[axis].clone()])));
        let constant = (self.constant != 1.0).then_some(Expr::Const(self.constant));
        let product = |a, b| Expr::Binary(Binary::Mul, Box::new(a), Box::new(b));
        tables.chain(constant).reduce(product).unwrap_or(Expr::Const(1.0))
    }
}

impl Lowering<'_> {
    /// How many elements of each window count. Only what depends on the position needs a table.
    pub(super) fn divisor(&mut self) -> Option<Divisor> {
        let Reduction::Average { count_include_pad } = self.conv.spec().reduction else {
            return None;
        };
        let mode = self.conv.spec().padding_mode;
        let mut divisor = Divisor { constant: 1.0, tables: Vec::new() };
        for (at, axis) in self.equation.iter().enumerate() {
            match count(axis, count_include_pad, mode) {
                Count::Same(n) => divisor.constant *= n as f64,
                Count::Each(each) => {
                    let name = format!("count_{}", Role::Out(self.equation.len() - 1 - at));
                    let extents = vec![Affine::constant(each.len() as i64)];
                    let table = self.nest.add_buffer(name, BufferRole::Packed, extents);
                    self.nest.buffers[table.index()].values = Some(each);
                    divisor.tables.push((at, table));
                }
            }
        }
        Some(divisor)
    }
}
