//! Rows that outputs share under their windows, loaded once.
//!
//! ```text
//! each oh in 0..4: for kh in 0..3 unrolled, kw in 0..3:
//!     acc[oh] = fma(in[oh + kh, kw], w[kh, kw], acc[oh])
//!
//! ->   row 0:  for kw: a = in[0, kw];  acc[0] = fma(a, w[0, kw], acc[0])
//!      row 1:  for kw: a = in[1, kw];  acc[0] = fma(a, w[1, kw], acc[0])
//!                                      acc[1] = fma(a, w[0, kw], acc[1])
//!      ..
//! ```
//!
//! Each sum keeps its order: the rows that one output sees come in the order of its taps. Applies
//! where the input is in the lanes, and a tile axis and an unrolled tap together say which row is
//! read. Weights stay in registers where they fit; elsewhere they are splat from memory row by row.

use conv_ir::nest::{Access, AxisId, Base, Cond, Expr, Leaf, Loop, LoopKind, Op, RegId, Var};
use proc_macro2::TokenStream;
use quote::quote;

use super::expr::{Declared, LeafText};
use super::scope::Truth;
use super::{Unsupported, tokens};

pub(super) struct Rows<'a> {
    /// The tile axis that counts rows of the output, how many, and the rows of the input between
    /// two.
    out: (AxisId, i64, i64),
    /// The position of the loop over taps, its values, and the rows of the input between two.
    tap: (usize, (i64, i64), i64),
    vector: Operand<'a>,
    scalar: Operand<'a>,
    accumulator: RegId,
    when: &'a [Cond],
}

/// A loaded factor.
struct Operand<'a> {
    reg: RegId,
    value: &'a Expr,
}

/// The only assignments of the update: two loads and the multiply-add.
fn assignments(ops: &[Op]) -> Vec<(RegId, &Expr, &[Cond])> {
    let mut all = Vec::new();
    for op in ops {
        op.visit(&mut |op| {
            if let Op::Set { reg, value, when } = op {
                all.push((*reg, value, when.as_slice()));
            }
        });
    }
    all
}

fn loaded(value: &Expr) -> Option<&Access> {
    match value {
        Expr::Load(access) => Some(access),
        Expr::Select { then, .. } if value.is_masked_load() => match &**then {
            Expr::Load(access) => Some(access),
            _ => None,
        },
        _ => None,
    }
}

fn mentions(access: &Access, axis: AxisId) -> bool {
    access.index.iter().any(|i| i.as_affine().is_none_or(|a| a.of_axis(axis) != 0))
}

impl<'a> Rows<'a> {
    pub fn of(leaf: &'a Leaf) -> Option<Rows<'a>> {
        let lanes = leaf.lanes?;
        let [first, second, fma] = assignments(&leaf.update)[..] else {
            return None;
        };
        let (accumulator, Expr::Fma(..), when) = fma else {
            return None;
        };
        let by_lane = |value: &Expr| loaded(value).map(|access| mentions(access, lanes.axis));
        let (vector, scalar) = match (by_lane(first.1)?, by_lane(second.1)?) {
            (true, false) => (first, second),
            (false, true) => (second, first),
            _ => return None,
        };
        let access = loaded(vector.1)?;
        let (out, tap) = shared_row(leaf, access)?;
        if mentions(loaded(scalar.1)?, out.0) {
            return None;
        }
        let operand = |(reg, value, _)| Operand { reg, value };
        Some(Rows { out, tap, vector: operand(vector), scalar: operand(scalar), accumulator, when })
    }

    pub fn is_operand(&self, reg: RegId) -> bool {
        reg == self.vector.reg || reg == self.scalar.reg
    }

    /// The rows of the input, each with the outputs and taps that see it.
    fn rows(&self) -> Vec<Vec<(i64, i64)>> {
        let (_, count, step) = self.out;
        let (_, (lo, hi), apart) = self.tap;
        let mut all: Vec<(i64, Vec<(i64, i64)>)> = Vec::new();
        for out in 0..count {
            for tap in lo..hi {
                let row = out * step + tap * apart;
                match all.iter_mut().find(|(known, _)| *known == row) {
                    Some((_, pairs)) => pairs.push((out, tap)),
                    None => all.push((row, vec![(out, tap)])),
                }
            }
        }
        all.sort_by_key(|(row, _)| *row);
        all.into_iter().map(|(_, pairs)| pairs).collect()
    }
}

type OutAxis = (AxisId, i64, i64);
type TapLoop = (usize, (i64, i64), i64);

/// A tile axis and an unrolled loop, both forwards in one dimension of the index and in no other.
fn shared_row(leaf: &Leaf, access: &Access) -> Option<(OutAxis, TapLoop)> {
    for (at, l) in leaf.reduce.iter().enumerate() {
        let Some(range) =
            l.constant_range().filter(|r| l.kind == LoopKind::Unrolled && r.1 - r.0 > 1)
        else {
            continue;
        };
        for tile in &leaf.tile {
            let dims = access.index.iter().filter_map(|i| i.as_affine());
            let about: Vec<(i64, i64)> = dims
                .map(|a| (a.of_axis(tile.axis), a.of_axis(l.axis)))
                .filter(|d| *d != (0, 0))
                .collect();
            let is_vectors = leaf.lanes.is_some_and(|lanes| lanes.vectors == Some(tile.axis));
            if let ([(step, apart)], false) = (&about[..], is_vectors)
                && *step > 0
                && *apart > 0
            {
                return Some(((tile.axis, tile.extent, *step), (at, range, *apart)));
            }
        }
    }
    None
}

impl<'a> LeafText<'_, 'a> {
    /// The reduction, row by row.
    pub fn rows(&mut self, rows: &Rows<'a>) -> Result<TokenStream, Unsupported> {
        self.down_to(rows, 0)
    }

    /// The loops outside the taps' one.
    fn down_to(&mut self, rows: &Rows<'a>, depth: usize) -> Result<TokenStream, Unsupported> {
        let leaf = self.leaf;
        if depth < rows.tap.0 {
            return self.around(&leaf.reduce[depth], |text| text.down_to(rows, depth + 1));
        }
        let mark = self.scope.open();
        let held = self.hold_weights(rows)?;
        let mut all = held.clone().unwrap_or_default();
        for pairs in rows.rows() {
            let opaque = match (held.is_some(), loaded(rows.scalar.value).map(|access| access.base))
            {
                (false, Some(Base::Pointer(pointer))) => self.opaque(pointer),
                _ => TokenStream::new(),
            };
            let row = self.row(rows, &pairs, depth + 1)?;
            if !row.is_empty() {
                all.extend(super::loops::beside(opaque, row));
            }
        }
        self.scope.close(mark);
        Ok(all)
    }

    /// The loops inside the taps' one, then the row.
    fn row(
        &mut self,
        rows: &Rows<'a>,
        pairs: &[(i64, i64)],
        depth: usize,
    ) -> Result<TokenStream, Unsupported> {
        let leaf = self.leaf;
        if let Some(l) = leaf.reduce.get(depth) {
            return self.loop_around(l, |text| text.row(rows, pairs, depth + 1));
        }
        let axes = self.tile_axes_of(rows.vector.value, rows.out.0);
        self.under(&axes, &mut |text| text.sums(rows, pairs, &axes))
    }

    /// A loop that stays one.
    fn loop_around(
        &mut self,
        l: &Loop,
        body: impl FnOnce(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        let mark = self.scope.open();
        let head = super::loops::loop_head(self.scope, l);
        let body = body(self)?;
        self.scope.close(mark);
        Ok(head.around(body))
    }

    /// The vector, and every sum that it is part of.
    fn sums(
        &mut self,
        rows: &Rows<'a>,
        pairs: &[(i64, i64)],
        around: &[AxisId],
    ) -> Result<TokenStream, Unsupported> {
        let mut load = None;
        let mut sums = TokenStream::new();
        let rest: Vec<AxisId> = self.leaf.registers[rows.accumulator.index()]
            .axes
            .iter()
            .copied()
            .filter(|axis| *axis != rows.out.0 && !around.contains(axis))
            .collect();
        for &(out, tap) in pairs {
            let mark = self.scope.open();
            self.scope.bind_constant(rows.out.0, out);
            self.scope.bind_constant(self.leaf.reduce[rows.tap.0].axis, tap);
            let truth = self.scope.conds(rows.when);
            if !matches!(truth, Truth::Never) {
                if load.is_none() {
                    load = Some(self.expr(rows.vector.value)?);
                }
                let sum = self.under(&rest, &mut |text| {
                    let b = match text.registers[rows.scalar.reg.index()].name.is_empty() {
                        true => text.expr(rows.scalar.value)?,
                        false => text.register_with(rows.scalar.reg),
                    };
                    let acc = text.register(rows.accumulator);
                    let fma =
                        text.call_tokens(super::lanes::LaneFn::Fma, &[quote!(row), b, acc.clone()]);
                    Ok(quote!(#acc = #fma;))
                })?;
                sums.extend(match truth {
                    Truth::If(test) => {
                        let test = tokens(&test);
                        quote!(if #test { #sum })
                    }
                    Truth::Always | Truth::Never => sum,
                });
            }
            self.scope.close(mark);
        }
        Ok(match load {
            Some(load) => quote!(let row = #load; #sums),
            None => TokenStream::new(),
        })
    }

    /// The tile axes, but for one, that an operand depends on.
    fn tile_axes_of(&self, value: &Expr, but: AxisId) -> Vec<AxisId> {
        let used = |axis: AxisId| loaded(value).is_some_and(|access| mentions(access, axis));
        let axes = self.leaf.tile.iter().map(|t| t.axis);
        axes.filter(|&axis| axis != but && used(axis)).collect()
    }

    /// Nested tile loops.
    fn under(
        &mut self,
        axes: &[AxisId],
        body: &mut dyn FnMut(&mut Self) -> Result<TokenStream, Unsupported>,
    ) -> Result<TokenStream, Unsupported> {
        match axes {
            [] => body(self),
            [first, rest @ ..] => self.each(*first, |text| text.under(rest, body)),
        }
    }

    /// All weights of a step in an array of vectors, where the registers have room for them:
    /// `b[kh][kw][oc]`.
    fn hold_weights(&mut self, rows: &Rows<'a>) -> Result<Option<TokenStream>, Unsupported> {
        let leaf = self.leaf;
        let loops: Vec<&Loop> = leaf.reduce[rows.tap.0..].iter().collect();
        let tile = self.tile_axes_of(rows.scalar.value, rows.out.0);
        let ranges: Option<Vec<(i64, i64)>> = loops.iter().map(|l| l.constant_range()).collect();
        self.registers[rows.scalar.reg.index()].name.clear();
        let Some(ranges) = ranges.filter(|all| all.iter().all(|(lo, _)| *lo == 0)) else {
            return Ok(None);
        };
        let extents: Vec<i64> =
            ranges.iter().map(|r| r.1).chain(tile.iter().map(|&t| self.leaf.extent(t))).collect();
        let sums: i64 = leaf.registers[rows.accumulator.index()]
            .axes
            .iter()
            .map(|&axis| self.leaf.extent(axis))
            .product();
        let (weights, rows_each) = (extents.iter().product::<i64>(), rows.out.1);
        // A splat is an operand in memory on AVX-512 only; elsewhere a vector that rustc spills is
        // one too, which beats another splat once it is used again.
        let machine = self.emission.isa.machine();
        let fits = weights + sums + 3 <= machine.vector_registers as i64
            || !machine.embeds_broadcasts && rows_each >= 2;
        if !fits {
            return Ok(None);
        }
        let axes = loops.iter().map(|l| l.axis).chain(tile.iter().copied()).collect();
        let name = self.name_register(rows.scalar.reg, axes);
        let zero = self.everywhere(super::lanes::zero(self.emission.dtype));
        let zeros = extents.iter().rev().fold(zero, |zero, extent| {
            let extent = tokens(&extent.to_string());
            quote!([#zero; #extent])
        });
        let fill = self.fill_weights(rows, &loops, &tile)?;
        Ok(Some(quote!(let mut #name = #zeros; #fill)))
    }

    fn fill_weights(
        &mut self,
        rows: &Rows<'a>,
        loops: &[&Loop],
        tile: &[AxisId],
    ) -> Result<TokenStream, Unsupported> {
        match loops {
            [] => self.under(tile, &mut |text| {
                let (to, value) =
                    (text.register_with(rows.scalar.reg), text.expr(rows.scalar.value)?);
                Ok(quote!(#to = #value;))
            }),
            [first, rest @ ..] => {
                self.loop_around(first, |text| text.fill_weights(rows, rest, tile))
            }
        }
    }

    /// A register indexed by loops as well as tile axes.
    fn register_with(&self, reg: RegId) -> TokenStream {
        let Declared { name, axes } = &self.registers[reg.index()];
        let name = tokens(name);
        let points = axes.iter().map(|&axis| {
            tokens(self.scope.factor(Var::Axis(axis)).map_or("0", |f| f.text.as_str()))
        });
        quote!(#name #([#points])*)
    }
}
