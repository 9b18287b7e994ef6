//! What is done to sums before they are stored: the same to four of them and in every lane, or
//! columns must stay where they are.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use smallvec::SmallVec;

use conv_ir::DType;

use super::super::dots::without_unread;
use super::super::inst::{Arg, Carried, Inst, Kind, LeafCode, Place, Source, Value};
use super::{LANES, Quad, TOGETHER, is_every};

/// What is done to one sum, in normal form, and where it is stored.
#[derive(Clone)]
pub(super) struct Chain {
    steps: Vec<Act>,
    pub stores: Vec<(DType, Place)>,
}

/// An instruction, and what it does that to.
pub(super) type Act = (Kind, SmallVec<[Operand; 3]>);

/// An operand of such an instruction.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Operand {
    /// What so many steps made; of 0 the sum.
    Made(usize),
    /// The same in every lane.
    Every(Arg),
}

impl Chain {
    /// Of sums that start so, which is added to them.
    fn of(start: Source) -> Chain {
        let args = [Operand::Made(0), Operand::Every(Arg::From(start))];
        let add = (start != Source::Bits(0)).then(|| (Kind::Add, SmallVec::from_slice(&args)));
        Chain { steps: add.into_iter().collect(), stores: Vec::new() }
    }

    /// The steps before those that narrowing does, which saturates.
    pub fn before_narrowing(&self, dtype: DType) -> &[Act] {
        let steps = &self.steps[..];
        let Some((least, most)) = dtype.range().filter(|_| dtype != DType::I32) else {
            return steps;
        };
        let [before @ .., raised, lowered] = steps else { return steps };
        let bits = |x: i64| Operand::Every(Arg::From(Source::Bits(DType::I32.bits_of(x as f64))));
        let is = |(kind, args): &Act, wanted: Kind, of: usize, to: i64| {
            *kind == wanted && args[..] == [Operand::Made(of), bits(to)]
        };
        let clamps = is(raised, Kind::Max, before.len(), least)
            && is(lowered, Kind::Min, before.len() + 1, most);
        if clamps { before } else { steps }
    }
}

/// What is done to the sums of each quad and where they are stored; none where that is not the same
/// for all four and in every lane.
pub(super) fn chains(code: &LeafCode, quads: &[Quad]) -> Vec<Option<Chain>> {
    // What each value is made of, and by how many steps.
    let mut made: HashMap<Value, (usize, usize)> = HashMap::default();
    let mut chains: Vec<Option<Chain>> = Vec::new();
    for quad in quads {
        for sum in quad.sums {
            let chain = Chain::of(quad.start);
            made.insert(sum, (chains.len(), chain.steps.len()));
            chains.push(Some(chain));
        }
    }
    let mut every: HashMap<Value, Arg> = HashMap::default();
    for inst in &code.finish {
        let of: SmallVec<[usize; 4]> =
            inst.reads().iter().filter_map(|value| made.get(value)).map(|made| made.0).collect();
        let Some(&chain) = of.first() else {
            if let Some((value, source)) = inst.load().filter(|(_, source)| is_every(source)) {
                every.insert(value, Arg::From(source));
            }
            // A name that is used again is no part of a chain any more.
            made.retain(|value, _| !inst.sets().contains(value));
            continue;
        };
        let whole = step(inst, &made, &every);
        if of.iter().any(|other| *other != chain) || whole.is_none() {
            of.iter().for_each(|at| chains[*at] = None);
            // Nor is what comes of it.
            made.extend(inst.sets().into_iter().map(|value| (value, (chain, 0))));
            continue;
        }
        let Some(found) = &mut chains[chain] else { continue };
        match whole {
            Some(Whole::Step(to, kind, args)) => {
                found.steps.push((kind, args));
                made.insert(to, (chain, found.steps.len()));
            }
            Some(Whole::Store(dtype, place, of)) if of == found.steps.len() => {
                found.stores.push((dtype, place));
            }
            _ => chains[chain] = None,
        }
    }
    chains.chunks_exact(TOGETHER).map(together).collect()
}

/// An instruction of a chain.
enum Whole {
    Step(Value, Kind, SmallVec<[Operand; 3]>),
    /// Of what so many steps made.
    Store(DType, Place, usize),
}

fn step(
    inst: &Inst,
    made: &HashMap<Value, (usize, usize)>,
    every: &HashMap<Value, Arg>,
) -> Option<Whole> {
    match inst {
        Inst::Set { to, kind, args } if !matches!(kind, Kind::Pick(_)) => {
            let step = |arg: &Arg| match arg {
                Arg::Value(value) => match made.get(value) {
                    Some((_, steps)) => Some(Operand::Made(*steps)),
                    None => every.get(value).map(|arg| Operand::Every(*arg)),
                },
                Arg::From(Source::Bits(_) | Source::Splat(_)) => Some(Operand::Every(*arg)),
                Arg::From(_) => None,
            };
            let args: Option<_> = args.iter().map(step).collect();
            Some(Whole::Step(*to, *kind, args?))
        }
        Inst::Store { dtype, place, step, live, value: Arg::Value(value) } => {
            let is_row = *step == dtype.bytes() as i64 && *live == LANES;
            let known =
                matches!(dtype, DType::U8 | DType::I8 | DType::U16 | DType::I16 | DType::I32);
            (is_row && known).then(|| Whole::Store(*dtype, *place, made[value].1))
        }
        _ => None,
    }
}

/// The chain of the first of four, where all are alike and their stores are side by side.
fn together(four: &[Option<Chain>]) -> Option<Chain> {
    let first = four[0].as_ref()?;
    let &[(dtype, place)] = &first.stores[..] else { return None };
    let is_alike = |(at, chain): (i64, &Option<Chain>)| {
        let to = place.offset(at * LANES * dtype.bytes() as i64);
        chain.as_ref().is_some_and(|c| c.steps == first.steps && c.stores[..] == [(dtype, to)])
    };
    (0..).zip(four).all(is_alike).then(|| first.clone())
}

/// A section without what is made of these sums.
pub(super) fn without_chains(
    insts: &[Inst],
    sums: &HashSet<Value>,
    carried: &Carried,
) -> Vec<Inst> {
    let mut gone = sums.clone();
    let mut kept = Vec::new();
    for inst in insts {
        if inst.reads().iter().any(|value| gone.contains(value)) {
            gone.extend(inst.sets());
        } else {
            gone.retain(|value| !inst.sets().contains(value));
            kept.push(inst.clone());
        }
    }
    without_unread(kept, carried)
}
