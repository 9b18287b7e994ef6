//! How large index arithmetic gets where sizes come at run time: what the door must refuse.
//!
//! ```text
//! input[oh + kh - 1, ow + kw - 1], oh < h, ow < w, kh < 3, kw < 3   ->   (h + 5) * (w + 5)
//! ```
//!
//! In: a nest after all passes. Out: a few products of sizes. The proof, in three steps:
//!
//! 1. Every variable (a loop's axis, a leaf's parameter) lies between two linear functions of the
//!    sizes, found from the bounds of its loop or from its values in all calls.
//! 2. So does the sum of the magnitudes of all terms of an index, a bound or a condition; and with
//!    it every part of it, in whatever order and type it is added up.
//! 3. An offset is the sum of `index * stride` over the dimensions, and a stride is the product of
//!    the extents behind it. Let `a` be one more than the bound of a dimension's index, and at
//!    least its extent. Then all terms of the offset together are less than the product of the
//!    `a`: the largest number of as many digits, in the bases `a`.
//!
//! Whatever is added up in the emitted text is part of one of these sums. The door asserts that
//! each product is at most half of `isize::MAX`. The other half is for what is added to an offset
//! by hand: the width of a vector, the distance of a prefetch.

use std::collections::{BTreeMap, BTreeSet};

use conv_ir::Nest;
use conv_ir::nest::{
    Access, Affine, AxisId, Base, Bound, Call, Index, Leaf, Loop, Quotient, Stmt, SymbolId, Var,
};

/// `(constant + sum of coefficient * symbol) / over`; no number is negative.
#[derive(Clone, Debug, PartialEq)]
struct Linear {
    constant: u128,
    terms: BTreeMap<SymbolId, u128>,
    over: u128,
}

/// A value is at least `-below` and at most `above`.
#[derive(Clone, Debug)]
struct Interval {
    below: Linear,
    above: Linear,
}

/// The product of a number and of sums of sizes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Product {
    pub number: u128,
    pub factors: Vec<Factor>,
}

/// `constant + sum of coefficient * symbol`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Factor {
    pub constant: u128,
    pub terms: BTreeMap<SymbolId, u128>,
}

impl Linear {
    fn constant(constant: u128) -> Linear {
        Linear { constant, terms: BTreeMap::new(), over: 1 }
    }

    fn symbol(symbol: SymbolId) -> Linear {
        Linear { constant: 0, terms: BTreeMap::from([(symbol, 1)]), over: 1 }
    }

    fn times(&self, by: u128) -> Option<Linear> {
        let terms = self.terms.iter().map(|(symbol, n)| Some((*symbol, n.checked_mul(by)?)));
        Some(Linear {
            constant: self.constant.checked_mul(by)?,
            terms: terms.collect::<Option<_>>()?,
            over: self.over,
        })
    }

    fn divided(mut self, by: i64) -> Option<Linear> {
        self.over = self.over.checked_mul(by.unsigned_abs().into())?;
        Some(self)
    }

    /// Both over one denominator, joined term by term.
    fn join(&self, other: &Linear, how: impl Fn(u128, u128) -> Option<u128>) -> Option<Linear> {
        let common = gcd(self.over, other.over);
        let (mut a, b) = (self.times(other.over / common)?, other.times(self.over / common)?);
        a.over = self.over.checked_mul(other.over / common)?;
        a.constant = how(a.constant, b.constant)?;
        for symbol in b.terms.keys() {
            a.terms.entry(*symbol).or_insert(0);
        }
        for (symbol, n) in &mut a.terms {
            *n = how(*n, b.terms.get(symbol).copied().unwrap_or(0))?;
        }
        Some(a)
    }

    fn plus(&self, other: &Linear) -> Option<Linear> {
        self.join(other, u128::checked_add)
    }

    /// At least as large as both.
    fn max(&self, other: &Linear) -> Option<Linear> {
        self.join(other, |a, b| Some(a.max(b)))
    }

    /// The value where every size is a million: to choose the closer one of two bounds.
    fn typical(&self) -> u128 {
        let terms = self.terms.values().fold(0, |sum: u128, n| sum.saturating_add(*n));
        terms.saturating_mul(1 << 20).saturating_add(self.constant) / self.over
    }

    /// Rounded up to whole coefficients.
    fn whole(&self) -> Factor {
        let up = |n: &u128| n.div_ceil(self.over);
        Factor {
            constant: up(&self.constant),
            terms: self.terms.iter().map(|(symbol, n)| (*symbol, up(n))).collect(),
        }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What is known so far, while walking a nest.
struct Walk<'a> {
    nest: &'a Nest,
    symbols: Vec<Interval>,
    axes: BTreeMap<AxisId, Interval>,
    /// Outlined leaves.
    called: BTreeSet<usize>,
    /// By leaf and pointer: the largest index of each dimension over all calls.
    pointers: BTreeMap<(usize, usize), Vec<Linear>>,
    /// By leaf and int: between which values it lies over all calls.
    ints: BTreeMap<(usize, usize), Interval>,
    /// By buffer: the largest index of each dimension over all accesses.
    indices: BTreeMap<usize, Vec<Linear>>,
    /// Of everything else that is linear, by the symbols in it, the largest.
    linear: BTreeMap<Vec<SymbolId>, Linear>,
}

/// The products that bound all index arithmetic of a nest; `None` where they do not fit numbers of
/// ours either.
pub(super) fn of(nest: &Nest) -> Option<Vec<Product>> {
    let mut walk = Walk {
        nest,
        symbols: Vec::new(),
        axes: BTreeMap::new(),
        called: BTreeSet::new(),
        pointers: BTreeMap::new(),
        ints: BTreeMap::new(),
        indices: BTreeMap::new(),
        linear: BTreeMap::new(),
    };
    for (at, symbol) in nest.symbols.iter().enumerate() {
        let interval = match &symbol.value {
            Some(value) => walk.bound(value)?,
            None => {
                Interval { below: Linear::constant(0), above: Linear::symbol(SymbolId(at as u32)) }
            }
        };
        walk.symbols.push(interval);
    }
    walk.stmts(&nest.setup)?;
    walk.stmts(&nest.body)?;
    for at in std::mem::take(&mut walk.called) {
        walk.leaf(Some(at), &nest.leaves[at])?;
    }
    walk.products()
}

impl Walk<'_> {
    fn stmts(&mut self, stmts: &[Stmt]) -> Option<()> {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => {
                    self.enter(l)?;
                    self.stmts(body)?;
                }
                Stmt::Leaf(leaf) => self.leaf(None, leaf)?,
                Stmt::Call(call) => self.call(call)?,
            }
        }
        Some(())
    }

    /// An axis runs from its lower bound to below the upper one, wherever its loop runs at all.
    fn enter(&mut self, l: &Loop) -> Option<()> {
        let (lo, hi) = (self.bound(&l.lo)?, self.bound(&l.hi)?);
        self.axes.insert(l.axis, Interval { below: lo.below, above: hi.above });
        Some(())
    }

    fn call(&mut self, call: &Call) -> Option<()> {
        let leaf = call.leaf.index();
        self.called.insert(leaf);
        for (at, access) in call.pointers.iter().enumerate() {
            let indices = self.indices_of(&access.index)?;
            let known = self.pointers.remove(&(leaf, at));
            self.pointers.insert((leaf, at), largest(known, indices)?);
        }
        for (at, bound) in call.ints.iter().enumerate() {
            let mut value = self.bound(bound)?;
            if let Some(known) = self.ints.get(&(leaf, at)) {
                value.below = value.below.max(&known.below)?;
                value.above = value.above.max(&known.above)?;
            }
            self.ints.insert((leaf, at), value);
        }
        Some(())
    }

    fn leaf(&mut self, id: Option<usize>, leaf: &Leaf) -> Option<()> {
        for (at, axis) in leaf.ints.iter().enumerate() {
            // Leaves share the axes that name their parameters.
            let value = self.ints.get(&(id?, at))?.clone();
            self.axes.insert(*axis, value);
        }
        let tile = leaf.tile.iter().map(|tile| (tile.axis, tile.extent));
        let lanes = leaf.lanes.iter().map(|lanes| (lanes.axis, lanes.width));
        for (axis, extent) in tile.chain(lanes) {
            let (below, above) = (Linear::constant(0), Linear::constant(extent.max(0) as u128));
            self.axes.insert(axis, Interval { below, above });
        }
        for l in &leaf.reduce {
            self.enter(l)?;
        }
        for cond in leaf.conditions() {
            self.affine(cond.expression())?;
        }
        for access in leaf.accesses() {
            self.access(id, leaf, access)?;
        }
        Some(())
    }

    fn access(&mut self, id: Option<usize>, leaf: &Leaf, access: &Access) -> Option<()> {
        let mut indices = self.indices_of(&access.index)?;
        if let (Base::Pointer(pointer), Some(id)) = (access.base, id) {
            let from = self.pointers.get(&(id, pointer.index()))?;
            let both = indices.iter().zip(from).map(|(index, from)| index.plus(from));
            indices = both.collect::<Option<_>>()?;
        }
        let buffer = self.nest.buffer_behind(leaf, access.base).index();
        let known = self.indices.remove(&buffer);
        self.indices.insert(buffer, largest(known, indices)?);
        Some(())
    }

    fn indices_of(&mut self, index: &[Index]) -> Option<Vec<Linear>> {
        index.iter().map(|index| self.index(index)).collect()
    }

    /// The magnitude of an index, all its terms together.
    fn index(&mut self, index: &Index) -> Option<Linear> {
        match index {
            Index::Affine(a) => Some(self.affine(a)?.1),
            Index::Quotient(q) => self.quotient(q)?.1.plus(&Linear::constant(1)),
            // On its way back it is twice the extent and itself at most.
            Index::Folded { index, extent, .. } => {
                let (index, extent) = (self.affine(index)?.1, self.affine(extent)?.1);
                let most = index.plus(&extent)?.plus(&extent)?.plus(&Linear::constant(2))?;
                self.note(&most)?;
                Some(most)
            }
        }
    }

    /// Where an expression lies, and the magnitudes of all its terms together.
    fn affine(&mut self, a: &Affine) -> Option<(Interval, Linear)> {
        let constant = Linear::constant(a.constant.unsigned_abs().into());
        let zero = Linear::constant(0);
        let mut all = constant.clone();
        let (mut below, mut above) =
            if a.constant < 0 { (constant, zero) } else { (zero, constant) };
        for &(var, by) in a.terms() {
            let Interval { below: low, above: high } = self.var(var)?;
            let scale: u128 = by.unsigned_abs().into();
            let (low, high) = (low.times(scale)?, high.times(scale)?);
            all = all.plus(&low.max(&high)?)?;
            let (down, up) = if by < 0 { (high, low) } else { (low, high) };
            (below, above) = (below.plus(&down)?, above.plus(&up)?);
        }
        self.note(&all)?;
        Some((Interval { below, above }, all))
    }

    fn quotient(&mut self, q: &Quotient) -> Option<(Interval, Linear)> {
        let (Interval { below, above }, all) = self.affine(&q.numerator)?;
        // Rounded down: what is below zero, up.
        let below = match below == Linear::constant(0) {
            true => below,
            false => below.divided(q.divisor)?.plus(&Linear::constant(1))?,
        };
        Some((Interval { below, above: above.divided(q.divisor)? }, all.divided(q.divisor)?))
    }

    /// A maximum is at least any of its quotients, a minimum at most any: the closest will do.
    fn bound(&mut self, bound: &Bound) -> Option<Interval> {
        let quotients = bound.quotients().iter().map(|q| Some(self.quotient(q)?.0));
        let of = quotients.collect::<Option<Vec<Interval>>>()?;
        let (below, above) = of.into_iter().map(|i| (i.below, i.above)).unzip();
        match bound {
            Bound::Max(_) => Some(Interval { below: closest(below), above: farthest(above)? }),
            Bound::Min(_) => Some(Interval { below: farthest(below)?, above: closest(above) }),
        }
    }

    fn var(&self, var: Var) -> Option<Interval> {
        match var {
            Var::Symbol(symbol) => self.symbols.get(symbol.index()).cloned(),
            Var::Axis(axis) => self.axes.get(&axis).cloned(),
        }
    }

    fn note(&mut self, linear: &Linear) -> Option<()> {
        let symbols: Vec<SymbolId> = linear.terms.keys().copied().collect();
        let most = match self.linear.get(&symbols) {
            Some(known) => known.max(linear)?,
            None => linear.clone(),
        };
        self.linear.insert(symbols, most);
        Some(())
    }

    fn products(mut self) -> Option<Vec<Product>> {
        let mut products = Vec::new();
        for (buffer, indices) in std::mem::take(&mut self.indices) {
            let mut product = Product { number: 1, factors: Vec::new() };
            for (index, extent) in indices.iter().zip(&self.nest.buffers[buffer].extents) {
                let digit = index.plus(&Linear::constant(1))?.max(&self.affine(extent)?.1)?;
                product.take(digit.whole())?;
            }
            merge(&mut products, product);
        }
        for linear in self.linear.values() {
            let mut product = Product { number: 1, factors: Vec::new() };
            product.take(linear.whole())?;
            merge(&mut products, product);
        }
        Some(products)
    }
}

fn largest(known: Option<Vec<Linear>>, new: Vec<Linear>) -> Option<Vec<Linear>> {
    match known {
        Some(known) => known.iter().zip(&new).map(|(a, b)| a.max(b)).collect(),
        None => Some(new),
    }
}

fn closest(of: Vec<Linear>) -> Linear {
    of.into_iter().min_by_key(Linear::typical).unwrap_or(Linear::constant(0))
}

fn farthest(of: Vec<Linear>) -> Option<Linear> {
    of.iter().try_fold(Linear::constant(0), |most, one| most.max(one))
}

impl Factor {
    fn raise(&mut self, other: &Factor) {
        self.constant = self.constant.max(other.constant);
        for (symbol, n) in &other.terms {
            let own = self.terms.entry(*symbol).or_insert(0);
            *own = (*own).max(*n);
        }
    }
}

impl Product {
    fn take(&mut self, factor: Factor) -> Option<()> {
        match factor.terms.is_empty() {
            true => self.number = self.number.checked_mul(factor.constant.max(1))?,
            false => self.factors.push(factor),
        }
        Some(())
    }

    /// Of factors of the same sizes.
    fn is_like(&self, other: &Product) -> bool {
        let symbols = |product: &Product| -> Vec<Vec<SymbolId>> {
            product.factors.iter().map(|f| f.terms.keys().copied().collect()).collect()
        };
        symbols(self) == symbols(other)
    }
}

/// Puts a product to the others, or raises one of them to be at least as large. Every factor is at
/// least 1, and a sum of numbers of at least 2 is no more than their product.
pub(super) fn merge(products: &mut Vec<Product>, product: Product) {
    if let Some(known) = products.iter_mut().find(|known| known.is_like(&product)) {
        known.number = known.number.max(product.number);
        known.factors.iter_mut().zip(&product.factors).for_each(|(f, other)| f.raise(other));
        return;
    }
    let ([sum], 1) = (&product.factors[..], product.number) else {
        return products.push(product);
    };
    let place = |known: &Product, symbol: &SymbolId| {
        known.factors.iter().position(|f| f.terms.keys().eq([symbol]))
    };
    let has_all = |known: &&mut Product| sum.terms.keys().all(|s| place(known, s).is_some());
    let Some(known) = products.iter_mut().find(has_all) else {
        return products.push(product);
    };
    for (symbol, n) in &sum.terms {
        let constant = sum.constant.max(2);
        let at = place(known, symbol).expect("`has_all` has found each");
        known.factors[at].raise(&Factor { constant, terms: BTreeMap::from([(*symbol, *n)]) });
    }
}

#[cfg(test)]
#[path = "magnitude_tests.rs"]
mod tests;
