//! Whether products of bytes can be summed four at a time.

use super::{
    Access, Affine, AxisId, BufferRole, Expr, Index, Leaf, Loop, Nest, Op, Part, Role, Stmt,
};
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
        self.all_of_bytes(&|leaf, input| {
            let along = |l: &Loop| input.index.last()?.as_affine().map(|a| a.of_axis(l.axis));
            let is_whole = |l: &Loop| {
                let range = l.constant_range();
                self.is_block(l) || range.is_some_and(|(lo, hi)| lo == 0 && hi % FOUR == 0)
            };
            self.channels(leaf).any(|l| is_whole(l) && along(l) == Some(1))
        })
    }

    /// The same where a copy of rows of the input can put channels side by side: columns are there
    /// now.
    pub(crate) fn weaves(&self) -> Option<Signs> {
        self.all_of_bytes(&|leaf, input| {
            let mut channels = self.channels(leaf);
            let (Some(l), None) = (channels.next(), channels.next()) else { return false };
            let count = match l.constant_range() {
                Some((0, count)) if !self.is_block(l) => count,
                _ => return false,
            };
            let is_columns = |role| matches!(role, Role::Out(0) | Role::Kernel(0));
            let mut across = false;
            if let Some(last) = input.index.last() {
                last.map(&mut |a| {
                    across |= a.axes().any(|axis| is_columns(self.role(axis)));
                    a.clone()
                });
            }
            let of_channels = input.index.iter().filter(|index| index.follows(l.axis));
            let is_plain = |index: &Index| *index == Index::Affine(Affine::axis(l.axis));
            let (is_alone, is_plain) =
                (of_channels.clone().count() == 1, of_channels.clone().all(is_plain));
            // Of fewer than four the last is there again, under weights of zero.
            let fits = count % FOUR == 0 || (2..FOUR).contains(&count);
            fits && across && is_alone && is_plain
        })
    }

    /// Whether every sum is of bytes without a sign times bytes with one, of a single channel: taps
    /// beside each other may be multiplied at a time.
    pub(crate) fn slides(&self) -> bool {
        let is_alone = |leaf: &Leaf, input: &Access| {
            let is_plain = self.buffer(self.buffer_behind(leaf, input.base)).dtype == DType::U8;
            is_plain && self.channels(leaf).all(|l| l.constant_extent() == Some(1))
        };
        self.all_of_bytes(&is_alone) == Some(Signs::Differ)
    }

    /// The same of known weights that are bytes with a sign, where all of them are in the code.
    pub(crate) fn slides_where_spelled(&self) -> bool {
        let Some(id) = self.buffer_of(BufferRole::Weight) else { return false };
        let is_byte = |x: &f64| DType::I8.round(*x) == *x;
        let values = self.buffer(id).values.as_ref().filter(|_| self.dtype == DType::I32);
        if !values.is_some_and(|values| values.iter().all(is_byte)) {
            return false;
        }
        let mut bytes = self.clone();
        bytes.store_as(id, DType::I8);
        bytes.slides()
    }

    /// The bytes of an element of the input where every sum is of known numbers times elements of a
    /// single channel that are multiplied two at a time: words, or bytes without a sign, whose sums
    /// have 16 bits whatever they are.
    pub(crate) fn interleaves(&self) -> Option<i64> {
        let of = |role| self.buffer_of(role).map(|id| self.buffer(id));
        let (dtype, values) =
            (of(BufferRole::Input)?.dtype, of(BufferRole::Weight)?.values.as_ref()?);
        // What is done to a sum is the same for all columns.
        let is_word = |x: &f64| DType::I16.round(*x) == *x;
        let has_integers = of(BufferRole::Output)?.dtype.is_integer();
        let can = self.dtype == DType::I32 && has_integers && of(BufferRole::Residual).is_none();
        if !can || !values.iter().all(is_word) {
            return None;
        }
        let fits = |window: &[f64]| {
            let of_sign = |sign: f64| window.iter().map(|x| (sign * x).max(0.0)).sum::<f64>();
            let [most, least] = [of_sign(1.0), -of_sign(-1.0)].map(|sum| 255.0 * sum);
            let within = |dtype: DType| {
                let range = dtype.range();
                range.is_some_and(|(lo, hi)| lo as f64 <= least && most <= hi as f64)
            };
            within(DType::I16) || within(DType::U16)
        };
        let passes = |leaf: &Leaf| {
            let extents = leaf.reduce.iter().map(|l| l.constant_extent());
            let mut taps = extents.map(|extent| usize::try_from(extent?).ok());
            let taps = taps.try_fold(1usize, |all, extent| all.checked_mul(extent?));
            let is_alone = self.channels(leaf).all(|l| l.constant_extent() == Some(1));
            let taps = taps.filter(|taps| is_alone && *taps > 0 && values.len() % taps == 0);
            taps.is_some_and(|taps| dtype == DType::I16 || values.chunks(taps).all(fits))
        };
        let can = matches!(dtype, DType::U8 | DType::I16) && all_products(&self.body, &passes);
        can.then_some(dtype.bytes() as i64)
    }

    /// Whether a loop is over the channels of a block of four.
    pub(crate) fn is_block(&self, l: &Loop) -> bool {
        let axis = self.axis(l.axis);
        axis.role == Role::InChannel && axis.part == Part::Inner
    }

    /// Cuts the loop over the channels of the input in blocks of four. The last is what is left of
    /// channels that are no fours.
    pub(crate) fn cut_in_fours(&self, leaf: &mut Leaf, (block, inside): (AxisId, AxisId)) {
        let is_channels = |l: &Loop| self.role(l.axis) == Role::InChannel;
        let is_cut = leaf.reduce.iter().any(|l| self.is_block(l));
        if let Some(at) = leaf.reduce.iter().position(is_channels).filter(|_| !is_cut)
            && let Some((0, extent)) = leaf.reduce[at].constant_range()
        {
            let axis = leaf.reduce[at].axis;
            let by = Affine::axis(block).times(FOUR).plus(&Affine::axis(inside));
            leaf.substitute(axis, &by);
            leaf.reduce[at] = Loop::serial(block, (extent + FOUR - 1) / FOUR);
            leaf.reduce.insert(at + 1, Loop::serial(inside, extent.min(FOUR)));
        }
    }

    /// Cuts the loop over the four channels of a block in two: over those that are two apart, and
    /// over which of them come first.
    pub(crate) fn cut_in_pairs(&self, leaf: &mut Leaf, (inside, first): (AxisId, AxisId)) {
        if let Some(at) = leaf.reduce.iter().position(|l| self.is_block(l)) {
            let by = Affine::axis(inside).times(2).plus(&Affine::axis(first));
            leaf.substitute(leaf.reduce[at].axis, &by);
            leaf.reduce[at] = Loop::serial(inside, 2);
            leaf.reduce.insert(at + 1, Loop::serial(first, 2));
        }
    }

    fn channels<'a>(&'a self, leaf: &'a Leaf) -> impl Iterator<Item = &'a Loop> {
        leaf.reduce.iter().filter(|l| self.role(l.axis) == Role::InChannel)
    }

    /// Whether the signs differ of the bytes of every sum, where all of them pass a test of the
    /// input.
    fn all_of_bytes(&self, passes: &dyn Fn(&Leaf, &Access) -> bool) -> Option<Signs> {
        fn all(
            nest: &Nest,
            stmts: &[Stmt],
            passes: &dyn Fn(&Leaf, &Access) -> bool,
            found: &mut Option<Signs>,
        ) -> bool {
            stmts.iter().all(|stmt| match stmt {
                Stmt::For(_, body) => all(nest, body, passes, found),
                Stmt::Leaf(leaf) => match factors(leaf) {
                    Some((input, weight)) => {
                        *found = nest.signs(leaf, input, weight).filter(|_| passes(leaf, input));
                        found.is_some()
                    }
                    None => true,
                },
                Stmt::Call(_) => false,
            })
        }
        let mut found = None;
        let are_all = self.dtype == DType::I32 && all(self, &self.body, passes, &mut found);
        are_all.then_some(found).flatten()
    }

    /// Of bytes times bytes.
    fn signs(&self, leaf: &Leaf, input: &Access, weight: &Access) -> Option<Signs> {
        let dtype = |a: &Access| self.buffer(self.buffer_behind(leaf, a.base)).dtype;
        let (input_type, weight_type) = (dtype(input), dtype(weight));
        let has_sign = |dtype: DType| dtype.format().kind == Kind::Signed;
        if input_type.bytes() > 1 || weight_type.bytes() > 1 {
            return None;
        }
        Some(match has_sign(input_type) == has_sign(weight_type) {
            true => Signs::Alike,
            false => Signs::Differ,
        })
    }
}

/// Whether every leaf that multiplies passes a test.
fn all_products(stmts: &[Stmt], passes: &dyn Fn(&Leaf) -> bool) -> bool {
    stmts.iter().all(|stmt| match stmt {
        Stmt::For(_, body) => all_products(body, passes),
        Stmt::Leaf(leaf) => factors(leaf).is_none() || passes(leaf),
        Stmt::Call(_) => false,
    })
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
