//! Multiply-adds (and additions, where a known tap is 1 or -1, and greatest and least) that read
//! the same vector come together, so that it is loaded once.
//!
//! ```text
//! two rows under a window of two    regrouped, by address
//! r0 = fma(in[0], k0, r0)           r0 = fma(in[0], k0, r0)
//! r1 = fma(in[1], k0, r1)           r0 = fma(in[1], k1, r0)
//! r0 = fma(in[1], k1, r0)           r1 = fma(in[1], k0, r1)
//! r1 = fma(in[2], k1, r1)           r1 = fma(in[2], k1, r1)
//! ```
//!
//! This is for tiles with columns in the lanes, whose taps overlap: a window of 3 x 3 over 4 rows
//! loads 18 vectors instead of 36. Where no vector is read twice the order stays as it is, and so
//! it does where taps that come apart take more loads than vectors that come together save: then
//! each multiply-add has its own splat, which one tap of all rows and columns shared before. Each
//! accumulator keeps the order of its own sum, and so its bits; where the order by address would
//! change that, nothing is done.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use smallvec::SmallVec;

use super::Shape;
use super::inst::{Arg, Carried, Inst, Kind, LeafCode, Source, Value};

/// What a value that is set once is: never a carried one.
type Meaning = (Kind, SmallVec<[Arg; 3]>);

/// The middle section regrouped, which is `shared`, with what is carried then; none where that
/// saves no load. Whether it fits is only known once it is emitted: what is loaded once lives
/// longer.
pub(super) fn regrouped(
    code: &LeafCode,
    shared: &Shared,
    shape: Shape,
) -> Option<(Vec<Inst>, Carried)> {
    let order = shared.by_address()?;
    let (mut carried, bytes) = (code.carried.clone(), shape.bytes());
    // Accumulators live through the section, whether it adds to them or not.
    let sums = carried.lasting() as i64;
    let keep = shape.machine().keeps_splats(sums, shared.splats());
    let regrouped = shared.write(&order, &mut carried, keep);
    (loads(&regrouped, bytes) < loads(&code.update, bytes)).then_some((regrouped, carried))
}

/// What the loads of a section take: as many as there are of elements, and vectors more by those
/// that lie across two lines of 64 bytes.
fn loads(insts: &[Inst], bytes: i64) -> i64 {
    const LINE: i64 = 64;
    let load = |inst: &Inst| match inst {
        Inst::Set { kind: Kind::Copy, args, .. } => match args[0] {
            Arg::From(Source::Splat(_)) => LINE,
            Arg::From(_) => LINE + bytes,
            Arg::Value(_) => 0,
        },
        Inst::Set { kind: Kind::Pick(_), .. } => LINE + bytes,
        _ => 0,
    };
    insts.iter().map(load).sum()
}

/// A section in which equal values have one name.
pub(super) struct Shared {
    /// Per value that is set once: what it is.
    meanings: HashMap<Value, Meaning>,
    /// The multiply-adds: accumulator, and what is done to it.
    sums: Vec<(Value, Meaning)>,
}

impl Shared {
    /// `None` where no vector is read twice, or something else than loads and multiply-adds is
    /// there.
    pub(super) fn of(insts: &[Inst], carried: &Carried) -> Option<Shared> {
        if !may_share(insts, carried) {
            return None;
        }
        let mut names: HashMap<Value, Value> = HashMap::default();
        let mut known: HashMap<Meaning, Value> = HashMap::default();
        let mut shared = Shared { meanings: HashMap::default(), sums: Vec::new() };
        let mut saved = false;
        for inst in insts {
            let Inst::Set { to, kind, args } = inst else {
                return None;
            };
            let args: SmallVec<[Arg; 3]> = args.iter().map(|arg| renamed(*arg, &names)).collect();
            match (carried[*to], kind) {
                (true, kind) if sum_at(*to, *kind, &args).is_some() => {
                    shared.sums.push((*to, (*kind, args)));
                }
                (false, Kind::Copy | Kind::Pick(_) | Kind::Or) => {
                    let meaning = (*kind, args);
                    if let Some(twin) = known.get(&meaning) {
                        saved |= !is_splat(&meaning);
                        names.insert(*to, *twin);
                    } else {
                        known.insert(meaning.clone(), *to);
                        shared.meanings.insert(*to, meaning);
                    }
                }
                _ => return None,
            }
        }
        saved.then_some(shared)
    }

    /// The multiply-adds by the address of their vectors; `None` where an accumulator's sum would
    /// change its order.
    pub(super) fn by_address(&self) -> Option<Vec<usize>> {
        let keys: Option<Vec<(u32, i64)>> =
            self.sums.iter().map(|(to, sum)| self.address(*to, sum)).collect();
        let keys = keys?;
        let mut order: Vec<usize> = (0..self.sums.len()).collect();
        order.sort_by_key(|&at| keys[at]);
        let mut last: HashMap<Value, usize> = HashMap::default();
        for &at in &order {
            let before = last.insert(self.sums[at].0, at);
            if before.is_some_and(|before| before > at) {
                return None;
            }
        }
        Some(order)
    }

    /// Where the vector among the operands comes from.
    fn address(&self, to: Value, (_, args): &Meaning) -> Option<(u32, i64)> {
        let others = args.iter().filter(|arg| **arg != Arg::Value(to));
        others.copied().find_map(|arg| self.address_of(arg))
    }

    fn address_of(&self, arg: Arg) -> Option<(u32, i64)> {
        let (kind, of) = self.meaning(arg)?;
        match (kind, of[0]) {
            (Kind::Copy, Arg::From(Source::Vector { place, .. })) => {
                Some((place.cursor.0, place.bytes))
            }
            (Kind::Copy, Arg::From(Source::Stored { place, step, .. })) if step > 0 => {
                Some((place.cursor.0, place.bytes))
            }
            (Kind::Copy, Arg::From(Source::Words { place, step, .. })) if step > 0 => {
                Some((place.cursor.0, place.bytes))
            }
            (Kind::Pick(parity), first) => {
                let (cursor, bytes) = self.address_of(first)?;
                Some((cursor, bytes + *parity as i64))
            }
            (Kind::Or, loaded) => self.address_of(loaded),
            _ => None,
        }
    }

    fn meaning(&self, arg: Arg) -> Option<&Meaning> {
        match arg {
            Arg::Value(value) => self.meanings.get(&value),
            Arg::From(_) => None,
        }
    }

    /// Different splats.
    pub(super) fn splats(&self) -> i64 {
        self.meanings.values().filter(|m| is_splat(m)).count() as i64
    }

    /// Accumulators that are alive at once, at the most, where each lives from its first
    /// multiply-add to its last.
    pub(super) fn most_alive(&self, order: &[usize]) -> i64 {
        let mut last: HashMap<Value, usize> = HashMap::default();
        let sums = || order.iter().map(|&at| self.sums[at].0).enumerate();
        last.extend(sums().map(|(at, sum)| (sum, at)));
        let (mut alive, mut most) = (SmallVec::<[Value; 32]>::new(), 0);
        for (at, sum) in sums() {
            if !alive.contains(&sum) {
                alive.push(sum);
            }
            most = most.max(alive.len());
            alive.retain(|sum| last[sum] > at);
        }
        most as i64
    }

    /// The instructions again: operands just before their first use. Splats stay in registers, or
    /// each use has its own, to be folded into it.
    pub(super) fn write(&self, order: &[usize], carried: &mut Carried, keep: bool) -> Vec<Inst> {
        let mut out = Vec::new();
        let mut written = vec![false; carried.len()];
        for &at in order {
            let (to, (kind, args)) = &self.sums[at];
            let args = args.iter().map(|arg| match arg {
                Arg::Value(value) if self.meanings.contains_key(value) => {
                    Arg::Value(self.operand(*value, keep, (&mut out, &mut written), carried))
                }
                arg => *arg,
            });
            let args = args.collect();
            out.push(Inst::Set { to: *to, kind: *kind, args });
        }
        out
    }

    /// The name of an operand that stands ready.
    fn operand(
        &self,
        value: Value,
        keep: bool,
        (out, written): (&mut Vec<Inst>, &mut [bool]),
        carried: &mut Carried,
    ) -> Value {
        let meaning = &self.meanings[&value];
        let mut to = value;
        if is_splat(meaning) && !keep {
            to = carried.fresh(false);
        } else if written[value.0 as usize] {
            return value;
        }
        for arg in &meaning.1 {
            if let Arg::Value(inner) = arg {
                self.operand(*inner, keep, (&mut *out, &mut *written), carried);
            }
        }
        out.push(Inst::Set { to, kind: meaning.0, args: meaning.1.clone() });
        if let Some(done) = written.get_mut(to.0 as usize) {
            *done = true;
        }
        to
    }
}

/// Whether a vector may be read twice, by a first look: most leaves read none so, and their sums
/// are never compared.
fn may_share(insts: &[Inst], carried: &Carried) -> bool {
    let mut read: HashSet<&Source> = HashSet::default();
    insts.iter().any(|inst| match inst {
        Inst::Set { to, kind: Kind::Copy, args } if !carried[*to] => match &args[0] {
            Arg::From(Source::Splat(_)) => false,
            Arg::From(source) => !read.insert(source),
            Arg::Value(_) => true,
        },
        Inst::Set { to, kind: Kind::Pick(_) | Kind::Or, .. } => !carried[*to],
        _ => false,
    })
}

/// Which operand is the sum, or the greatest or least, so far.
fn sum_at(to: Value, kind: Kind, args: &[Arg]) -> Option<usize> {
    let at = match kind {
        Kind::Fma | Kind::Words => 2,
        Kind::Sub => 0,
        Kind::Max | Kind::Min => 1,
        Kind::Add => args.iter().position(|arg| *arg == Arg::Value(to))?,
        _ => return None,
    };
    (args[at] == Arg::Value(to)).then_some(at)
}

fn renamed(arg: Arg, names: &HashMap<Value, Value>) -> Arg {
    match arg {
        Arg::Value(value) => Arg::Value(names.get(&value).copied().unwrap_or(value)),
        arg => arg,
    }
}

fn is_splat((kind, args): &Meaning) -> bool {
    let is_splat = |source| matches!(source, Source::Splat(_) | Source::Words { step: 0, .. });
    *kind == Kind::Copy && matches!(args[0], Arg::From(source) if is_splat(source))
}
