//! Sums of bytes as tiles: where a machine multiplies sixteen rows of 64 bytes by as many columns.
//!
//! ```text
//! for ic.t, ic.r in 0..16:                                      zero t0
//!   %1 += dot(c1[0..4] in every lane, c2[0..64])                for ic.t:
//!   %2 += dot(c1[64..68] in every lane, c2[0..64])        ->      t4 = 16 rows of c1, 64 apart
//!   ..                                                            t6 = 16 rows of c2, 480 apart
//!   %16 += dot(c1[960..964] in every lane, c2[0..64])             t0 += t4 * t6
//!                                                               store t0; %1 += its first row; ..
//! ```
//!
//! One loop goes: the one whose turns move splats on by their four bytes. Its turns are the columns
//! of the tile of splats, of which each sum's is a row, and the rows of the tile of vectors.
//!
//! Tiles begin with zeros. What sums begin with is added behind the loops, where all of it is
//! computed store by store: no vector register is taken in the loops, and few behind them.
//!
//! All four combinations of signs have an instruction, so that nothing is shifted. Sums are modulo
//! 2^32, in any order.
//!
//! Nothing is touched that was not touched before: rows are as long as there are live lanes.

use conv_ir::{DType, Machine};
use rustc_hash::FxHashMap as HashMap;
use smallvec::{SmallVec, smallvec};

use super::dots::{PRODUCTS, Product, Splat, fours, products};
use super::inst::{
    Arg, Cursor, Form, Inst, Kind, LeafCode, Live, LoopEnd, Place, SerialLoop, Source, TileOp,
    Value,
};

/// Rows of a tile, and lanes of one.
const ROWS: i64 = Machine::TILE_ROWS;
/// Bytes of a row as it is stored.
const ROW_BYTES: i64 = Machine::TILE_ROW;
/// Bytes of a lane: four products, or a sum.
const LANE: i64 = 4;
/// Tile registers.
const TILES: usize = 8;

/// Four products of one sum.
#[derive(Clone, Copy)]
struct Four {
    sum: Value,
    row: Place,
    column: Place,
    live: i64,
    signs: [DType; 2],
}

/// A tile of sums: which, by row.
struct Sums {
    /// The first of its rows, of all that the leaf has.
    first: usize,
    rows: usize,
    column: usize,
}

/// The sums of a leaf as rows and columns of vectors: `of[row][column]`.
struct Grid {
    of: Vec<Vec<Value>>,
    /// Live lanes of each column.
    live: Vec<i64>,
    signs: [DType; 2],
    /// For each tap where rows and columns are.
    taps: Vec<(Vec<Place>, Vec<Place>)>,
}

/// The leaf in tiles; none where its sums have no such form, or its tiles no registers.
pub(super) fn in_tiles(code: &LeafCode, width: i64) -> Option<LeafCode> {
    if width != ROWS {
        return None;
    }
    let code = &asking_nothing(code);
    let found = all_fours(code)?;
    let (at, turns) = inner_loop(code, &found)?;
    let grid = Grid::of(&found)?;
    let step = |place: Place| code.cursors[place.cursor.0 as usize].moves[at];
    let apart = step(grid.taps[0].1[0]);
    if grid.taps.iter().any(|(_, columns)| columns.iter().any(|c| step(*c) != apart)) {
        return None;
    }
    let sums = grid.sums()?;
    let mut registers = Registers::of(&grid, &sums, turns)?;
    let mut update = Vec::new();
    for (rows, columns) in &grid.taps {
        for (number, tile) in sums.iter().enumerate() {
            let row_step = distance(&rows[tile.first..tile.first + tile.rows])?;
            let form = Form { rows: tile.rows as u8, bytes: (turns * LANE) as u8 };
            let a = registers.load(&mut update, form, (rows[tile.first], row_step))?;
            let form = Form { rows: turns as u8, bytes: (grid.live[tile.column] * LANE) as u8 };
            let b = registers.load(&mut update, form, (columns[tile.column], apart))?;
            let has_sign = grid.signs.map(|dtype| dtype == DType::I8);
            update.push(Inst::Tile(TileOp::Dot { has_sign, sum: number as u8, a, b }));
        }
    }
    let mut tiled = LeafCode { update, tiles: registers.forms, ..code.clone() };
    tiled.loops.remove(at);
    for cursor in &mut tiled.cursors {
        cursor.moves.remove(at);
    }
    let zero = |number: usize| Inst::Tile(TileOp::Zero { tile: number as u8 });
    tiled.init = (0..sums.len()).map(zero).collect();
    tiled.finish = finish(code, &grid, &sums);
    let values = renamed(&mut tiled.finish)?;
    tiled.carried = vec![false; values].into();
    tiled.finish = by_stores(std::mem::take(&mut tiled.finish), values);
    Some(tiled)
}

/// The code without the cursor over what later calls read, which is the last: turns are few where
/// each multiplies tiles.
fn asking_nothing(code: &LeafCode) -> LeafCode {
    let mut code = code.clone();
    let is_last = |cursor: Cursor| cursor.0 as usize + 1 == code.cursors.len();
    if code.ahead.take().is_some_and(|(cursor, _)| is_last(cursor)) {
        code.cursors.pop();
    }
    code
}

/// The update as products of fours, where there is nothing else in it.
fn all_fours(code: &LeafCode) -> Option<Vec<Four>> {
    let is_product = |inst: &&Inst| matches!(inst, Inst::Set { kind: Kind::Fma, .. });
    let count = code.update.iter().filter(is_product).count();
    let is_other = |inst: &Inst| match inst.load() {
        Some((value, _)) => code.carried[value],
        None => !is_product(&inst),
    };
    if count == 0 || code.update.iter().any(is_other) {
        return None;
    }
    let mut found = fours(products(&code.update, &code.carried));
    found.sort_by_key(|four| four[0].at);
    let found: Option<Vec<Four>> = found.iter().map(Four::of).collect();
    found.filter(|found| found.len() * PRODUCTS == count)
}

impl Four {
    fn of(products: &[Product; PRODUCTS]) -> Option<Four> {
        let (Splat::At(splat, row), Source::Stored { dtype, place, step: LANE, live }) =
            (products[0].splat, products[0].vector)
        else {
            return None;
        };
        let is_next = |(at, product): (i64, &Product)| {
            product.vector == Source::Stored { dtype, place: place.offset(at), step: LANE, live }
        };
        let (0, end) = live.range() else { return None };
        let can = (0..).zip(products).all(is_next) && (1..=ROWS).contains(&end);
        let is_byte = |dtype: DType| matches!(dtype, DType::I8 | DType::U8);
        (can && is_byte(splat) && is_byte(dtype)).then_some(Four {
            sum: products[0].sum,
            row,
            column: place,
            live: end,
            signs: [splat, dtype],
        })
    }
}

/// The loop whose turns move every splat on by four bytes, and how often it turns.
fn inner_loop(code: &LeafCode, found: &[Four]) -> Option<(usize, i64)> {
    let moves = |place: Place, at: usize| code.cursors[place.cursor.0 as usize].moves[at];
    let turns = |l: &SerialLoop| {
        l.count().filter(|count| l.lo == LoopEnd::Known(0) && (2..=ROWS).contains(count))
    };
    let fits = |at: usize| found.iter().all(|four| moves(four.row, at) == LANE);
    let mut loops = code.loops.iter().enumerate();
    loops.find_map(|(at, l)| turns(l).filter(|_| fits(at)).map(|turns| (at, turns)))
}

/// How far apart the places are, where all are as far.
fn distance(places: &[Place]) -> Option<i64> {
    let &[first, second, ..] = places else { return Some(ROW_BYTES) };
    let step = second.bytes - first.bytes;
    let is_next = |pair: &[Place]| pair[0].offset(step) == pair[1];
    places.windows(2).all(is_next).then_some(step)
}

/// The position of something in a list, to which it is added.
fn position<T: PartialEq>(list: &mut Vec<T>, of: T) -> usize {
    list.iter().position(|known| *known == of).unwrap_or_else(|| {
        list.push(of);
        list.len() - 1
    })
}

impl Grid {
    fn of(found: &[Four]) -> Option<Grid> {
        // Every sum has as many products, of which the first are the first tap's.
        let mut taps: Vec<Vec<Four>> = Vec::new();
        let mut met: HashMap<Value, usize> = HashMap::default();
        for four in found {
            let tap = met.entry(four.sum).and_modify(|tap| *tap += 1).or_insert(0);
            if *tap == taps.len() {
                taps.push(Vec::new());
            }
            taps[*tap].push(*four);
        }
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        let places: Vec<(usize, usize)> = taps[0]
            .iter()
            .map(|four| (position(&mut rows, four.row), position(&mut columns, four.column)))
            .collect();
        let mut of = vec![vec![None; columns.len()]; rows.len()];
        let mut place_of: HashMap<Value, (usize, usize)> = HashMap::default();
        for (four, &(row, column)) in taps[0].iter().zip(&places) {
            of[row][column] = Some(four.sum);
            place_of.insert(four.sum, (row, column));
        }
        let of: Option<Vec<Vec<Value>>> =
            of.into_iter().map(|row| row.into_iter().collect()).collect();
        let mut live = vec![0; columns.len()];
        taps[0].iter().zip(&places).for_each(|(four, place)| live[place.1] = four.live);
        let signs = found[0].signs;
        let mut all = Vec::new();
        for tap in &taps {
            let (mut of_rows, mut of_columns) = (vec![None; rows.len()], vec![None; columns.len()]);
            for four in tap {
                let &(row, column) = place_of.get(&four.sum)?;
                let is_same = *of_rows[row].get_or_insert(four.row) == four.row
                    && *of_columns[column].get_or_insert(four.column) == four.column;
                if !is_same || four.live != live[column] || four.signs != signs {
                    return None;
                }
            }
            let of_rows: Option<Vec<Place>> = of_rows.into_iter().collect();
            let of_columns: Option<Vec<Place>> = of_columns.into_iter().collect();
            if tap.len() != rows.len() * columns.len() {
                return None;
            }
            all.push((of_rows?, of_columns?));
        }
        Some(Grid { of: of?, live, signs, taps: all })
    }

    /// The sums cut in tiles, rows whose places are equally far apart in every tap. Neighbours have
    /// rows or columns in common.
    fn sums(&self) -> Option<Vec<Sums>> {
        let step = |at: usize| {
            let steps = self.taps.iter().map(|(rows, _)| rows[at + 1].bytes - rows[at].bytes);
            steps.collect::<SmallVec<[i64; 4]>>()
        };
        let is_near =
            |at: usize| self.taps.iter().all(|(rows, _)| rows[at + 1].cursor == rows[at].cursor);
        let mut runs: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        for at in 1..=self.of.len() {
            let goes_on = at < self.of.len()
                && is_near(at - 1)
                && (at == start + 1 || step(at - 1) == step(at - 2));
            if !goes_on {
                let (rows, most) = (at - start, ROWS as usize);
                // As even as they can be.
                let tiles = rows.div_ceil(most);
                let mut first = start;
                for tile in 0..tiles {
                    let end = start + rows * (tile + 1) / tiles;
                    runs.push((first, end - first));
                    first = end;
                }
                start = at;
            }
        }
        let mut sums = Vec::new();
        for (number, &(first, rows)) in runs.iter().enumerate() {
            let columns = 0..self.live.len();
            let tile = |column| Sums { first, rows, column };
            // There and back: the last column is the next rows' first.
            match number % 2 {
                0 => sums.extend(columns.map(tile)),
                _ => sums.extend(columns.rev().map(tile)),
            }
        }
        (sums.len() <= TILES - 2).then_some(sums)
    }
}

/// Who has which tile register.
struct Registers {
    forms: Vec<Form>,
    /// Tiles of sums, which stay.
    sums: usize,
    /// What is in the others, and when it was used last.
    holds: Vec<(Option<(Place, i64)>, usize)>,
    clock: usize,
}

impl Registers {
    /// A register for each tile of sums, one at least for each form of a factor, and one more for
    /// each while there are any.
    fn of(grid: &Grid, sums: &[Sums], turns: i64) -> Option<Registers> {
        let of_sums = sums.iter().map(|tile| Form {
            rows: tile.rows as u8,
            bytes: (grid.live[tile.column] * LANE) as u8,
        });
        let mut forms: Vec<Form> = of_sums.collect();
        let (mut factors, mut twins) = (Vec::new(), Vec::new());
        for tile in sums {
            let a = Form { rows: tile.rows as u8, bytes: (turns * LANE) as u8 };
            let b = Form { rows: turns as u8, bytes: (grid.live[tile.column] * LANE) as u8 };
            position(&mut factors, a);
            position(&mut factors, b);
            if a == b {
                position(&mut twins, a);
            }
        }
        // Both factors of a product have a register each, even if they are alike.
        factors.extend(twins);
        let left = TILES.checked_sub(forms.len()).filter(|left| *left >= factors.len())?;
        let factors: Vec<Form> = factors.iter().cycle().take(left).copied().collect();
        forms.extend(&factors);
        let holds = vec![(None, 0); left];
        Some(Registers { forms, sums: sums.len(), holds, clock: 0 })
    }

    /// The register that has the tile, which is loaded if none has; none where no register has its
    /// form.
    fn load(&mut self, update: &mut Vec<Inst>, form: Form, from: (Place, i64)) -> Option<u8> {
        self.clock += 1;
        let (sums, forms) = (self.sums, &self.forms);
        let fits = |at: &usize| forms[sums + at] == form;
        let all = 0..self.holds.len();
        let known = all.clone().filter(fits).find(|&at| self.holds[at].0 == Some(from));
        let at = known.or_else(|| all.filter(fits).min_by_key(|&at| self.holds[at].1))?;
        if known.is_none() {
            let (place, step) = from;
            update.push(Inst::Tile(TileOp::Load { tile: (sums + at) as u8, place, step }));
        }
        self.holds[at] = (Some(from), self.clock);
        Some((sums + at) as u8)
    }
}

/// Where tiles of sums are stored: a cursor behind those of the code.
fn stored(code: &LeafCode, number: usize, row: usize) -> Place {
    let bytes = (number as i64 * ROWS + row as i64) * ROW_BYTES;
    Place { cursor: Cursor(code.cursors.len() as u32), bytes }
}

/// What sums begin with, the tiles, and what is done with both.
fn finish(code: &LeafCode, grid: &Grid, sums: &[Sums]) -> Vec<Inst> {
    let mut all = code.init.clone();
    for (number, tile) in sums.iter().enumerate() {
        let place = stored(code, number, 0);
        all.push(Inst::Tile(TileOp::Store { tile: number as u8, place, step: ROW_BYTES }));
        for row in 0..tile.rows {
            let to = grid.of[tile.first + row][tile.column];
            let live = Live::first(ROWS);
            let row = Source::Vector { place: stored(code, number, row), live };
            let args = smallvec![Arg::Value(to), Arg::From(row)];
            all.push(Inst::Set { to, kind: Kind::Add, args });
        }
    }
    all.extend(code.finish.iter().cloned());
    all
}

/// Gives each result a value of its own, and leaves out moves; how many values there are.
fn renamed(insts: &mut Vec<Inst>) -> Option<usize> {
    let mut count = 0;
    let mut now: HashMap<Value, Arg> = HashMap::default();
    let mut out = Vec::with_capacity(insts.len());
    for mut inst in insts.drain(..) {
        let is_known = |value: &Value| matches!(now.get(value), Some(Arg::From(_)));
        if let Inst::Block { values, .. } = &inst
            && values.iter().any(is_known)
        {
            return None; // what a block stores is in registers
        }
        inst.map_reads(|value| now.get(&value).copied().unwrap_or(Arg::Value(value)));
        let mut fresh = |now: &mut HashMap<Value, Arg>, value: &mut Value| {
            let new = Value(count);
            now.insert(*value, Arg::Value(new));
            *value = new;
            count += 1;
        };
        match &mut inst {
            Inst::Set { to, kind: Kind::Copy, args } if is_free(&args[0]) => {
                now.insert(*to, args[0]);
                continue;
            }
            Inst::Set { to, kind, args } => {
                // A sum of nothing and something.
                if *kind == Kind::Add
                    && let Some(at) = args.iter().position(|a| *a == Arg::From(Source::Bits(0)))
                {
                    (*kind, *args) = (Kind::Copy, smallvec![args[1 - at]]);
                }
                fresh(&mut now, to);
            }
            Inst::Turned { to, .. } => {
                to.iter_mut().flatten().for_each(|value| fresh(&mut now, value));
            }
            Inst::Store { .. } | Inst::Block { .. } | Inst::Prefetch { .. } | Inst::Tile(_) => {}
        }
        out.push(inst);
    }
    *insts = out;
    Some(count as usize)
}

/// Whether an operand may stand for a value wherever that is read.
fn is_free(arg: &Arg) -> bool {
    matches!(arg, Arg::Value(_) | Arg::From(Source::Bits(_)))
}

/// The same in the order of stores, each behind what it needs and nothing else does before.
fn by_stores(insts: Vec<Inst>, values: usize) -> Vec<Inst> {
    let mut setter = vec![None; values];
    for (at, inst) in insts.iter().enumerate() {
        inst.sets().into_iter().for_each(|value| setter[value.0 as usize] = Some(at));
    }
    let mut is_done = vec![false; insts.len()];
    let mut order = Vec::with_capacity(insts.len());
    let is_first = |inst: &Inst| matches!(inst, Inst::Tile(_));
    for want in [true, false] {
        for (at, inst) in insts.iter().enumerate() {
            let is_root = if want { is_first(inst) } else { inst.stores() };
            if is_root {
                visit(&insts, &setter, (&mut is_done, &mut order), at);
            }
        }
    }
    let mut insts: Vec<Option<Inst>> = insts.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at: usize| insts[at].take()).collect()
}

fn visit(
    insts: &[Inst],
    setter: &[Option<usize>],
    (is_done, order): (&mut [bool], &mut Vec<usize>),
    at: usize,
) {
    if std::mem::replace(&mut is_done[at], true) {
        return;
    }
    for value in insts[at].reads() {
        if let Some(before) = setter[value.0 as usize] {
            visit(insts, setter, (is_done, order), before);
        }
    }
    order.push(at);
}
