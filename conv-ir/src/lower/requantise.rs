//! The operations that make integers of few bits of sums.

use super::{Axes, Lowering};
use crate::nest::{Access, Affine, Binary, BufferId, BufferRole, Expr};

impl Lowering<'_> {
    /// The tables, where sums are requantised.
    pub(super) fn tables(&mut self) -> Vec<(Binary, BufferId)> {
        let Some(requantised) = self.conv.requantisation() else { return Vec::new() };
        let spec = self.conv.spec();
        let (groups, channels) = (spec.groups as i64, (spec.out_channels / spec.groups) as i64);
        let mut tables = Vec::new();
        for (name, op, values) in requantised.tables() {
            let extents = vec![groups.into(), channels.into()];
            let table = self.nest.add_buffer(name, BufferRole::Packed, extents);
            self.nest.buffers[table.index()].values = Some(values);
            tables.push((op, table));
        }
        tables
    }

    /// A sum times its channel's scale, rounded, and the zero point.
    pub(super) fn requantised(
        &self,
        sum: Expr,
        axes: &Axes,
        tables: &[(Binary, BufferId)],
    ) -> Expr {
        let two = |op, a, b| Expr::Binary(op, Box::new(a), Box::new(b));
        let at = || [Affine::axis(axes.g), Affine::axis(axes.oc)];
        let value = tables.iter().fold(sum, |value, (op, table)| {
            two(*op, value, Expr::Load(Access::buffer(*table, at())))
        });
        // Where the zero point would lead beyond i32, the output is at its end anyway.
        match self.conv.requantisation().map_or(0, |requantised| requantised.zero_point()) {
            0 => value,
            zero => {
                let (op, end) = match zero > 0 {
                    true => (Binary::Min, i32::MAX - zero),
                    false => (Binary::Max, i32::MIN - zero),
                };
                let number = |x: i32| Expr::Const(x.into());
                two(Binary::Add, two(op, value, number(end)), number(zero))
            }
        }
    }
}
