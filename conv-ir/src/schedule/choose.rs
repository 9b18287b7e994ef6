//! The model: a schedule from (convolution, target), with a reason for each decision.
//!
//! It looks at the canonical nest, so that it speaks of the axes that schedules speak of. The rules come from register and load counting;
//! constants that were measured say so. It never fails: what fits no rule gets the scalar schedule.

use super::{Borders, Schedule};
use crate::nest::{Affine, BufferRole, Cond, Expr, Index, Leaf, Nest, Role, Stmt};
use crate::{Conv, Target, passes};

/// A schedule, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The schedule.
    pub schedule: Schedule,
    /// One sentence per decision.
    pub reasons: Vec<String>,
}

impl Schedule {
    /// The model's choice.
    ///
    /// ```
    /// use conv_ir::{Conv, Schedule, Target};
    /// let conv: Conv = "conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 pad 1".parse()?;
    /// let choice = Schedule::choose(&conv, &Target::CRANELIFT);
    /// assert_eq!(choice.schedule.tile_of(conv_ir::nest::Role::OutChannel), 8);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    pub fn choose(conv: &Conv, target: &Target) -> Choice {
        let nest = passes::canonical(conv);
        let shape = Shape::of(&nest);
        let mut choice = Choice {
            schedule: Schedule::default(),
            reasons: Vec::new(),
        };
        match pick_lanes(&shape, target) {
            LanesOn::Channels => channel_lanes(&mut choice, &shape, target),
            LanesOn::Groups => group_lanes(&mut choice, &shape, target),
            LanesOn::Columns => column_lanes(&mut choice, &shape, target),
            LanesOn::Nothing => choice.reasons.push("scalar: no axis is as long as a vector".to_owned()),
        }
        choice.schedule.pack = target.packs;
        taps(&mut choice, &shape);
        order(&mut choice, &shape);
        cache(&mut choice, &shape, target);
        choice
    }
}

/// What the model needs to know of a canonical nest. An axis that is not there counts 1; a run-time size counts as a large one.
struct Shape {
    bytes: usize,
    groups: i64,
    out_channels: i64,
    in_channels: i64,
    /// Output extents, innermost first.
    out: Vec<i64>,
    /// Kernel extents, innermost first.
    taps: Vec<i64>,
    /// Input elements between neighbouring columns of the output; 0 where the input does not have columns innermost.
    column_step: i64,
    /// Input rows between neighbouring rows of the output.
    row_step: i64,
    /// The output stores channels innermost.
    channels_last: bool,
    /// Taps may fall outside along the columns.
    ragged: bool,
    /// What lies outside is not zero.
    folds: bool,
    /// Of a transposed convolution: outputs fall into so many classes, each under its own taps.
    phases: i64,
}

/// A run-time size, for the model.
const UNKNOWN: i64 = 1 << 16;

impl Shape {
    fn of(nest: &Nest) -> Shape {
        let (loops, leaf) = chain(&nest.body);
        let extent = |role: Role| {
            let mut all = loops
                .iter()
                .copied()
                .chain(&leaf.reduce)
                .filter(|l| nest.role(l.axis) == role);
            all.next().map_or(1, |l| l.constant_extent().unwrap_or(UNKNOWN)).max(1)
        };
        let last_index = |role: BufferRole| {
            let buffer = nest.buffer_of(role);
            let found = leaf
                .accesses()
                .into_iter()
                .find(|a| Some(nest.buffer_behind(leaf, a.base)) == buffer);
            found.and_then(|a| a.index.last().cloned())
        };
        let column = |a: &Affine| {
            a.axes()
                .find(|&axis| nest.role(axis) == Role::Out(0))
                .map_or(0, |axis| a.of_axis(axis))
        };
        let column_step = match last_index(BufferRole::Input) {
            Some(Index::Affine(a)) => column(&a),
            Some(Index::Folded { index, .. }) => column(&index),
            Some(Index::Quotient(_)) => 1,
            None => 0,
        };
        let is_channel = |i: &Index| {
            i.as_affine().is_some_and(|a| {
                a.axes()
                    .any(|axis| matches!(nest.role(axis), Role::OutChannel | Role::Group))
            })
        };
        let about_columns = |a: &Affine| a.axes().any(|axis| nest.role(axis) == Role::Out(0));
        let mut folds = false;
        let mut ragged = leaf.conditions().iter().any(|c| about_columns(c.expression()));
        leaf.visit_exprs(&mut |e| {
            folds |= matches!(e, Expr::Select { .. }) && !e.is_masked_load();
            if let Expr::Load(access) = e {
                folds |= access.index.iter().any(|i| matches!(i, Index::Folded { .. }));
                ragged |= access
                    .index
                    .iter()
                    .any(|i| matches!(i, Index::Folded { index, .. } if about_columns(index)));
            }
        });
        Shape {
            bytes: nest.dtype.bytes(),
            groups: extent(Role::Group),
            out_channels: extent(Role::OutChannel),
            in_channels: extent(Role::InChannel),
            out: (0..nest.rank).map(|at| extent(Role::Out(at))).collect(),
            taps: (0..nest.rank).map(|at| extent(Role::Kernel(at))).collect(),
            column_step,
            row_step: row_step(nest, leaf),
            channels_last: last_index(BufferRole::Output).is_some_and(|i| is_channel(&i)),
            ragged,
            folds,
            phases: phases(leaf),
        }
    }

    fn columns(&self) -> i64 {
        self.out.first().copied().unwrap_or(1)
    }

    fn rows(&self) -> i64 {
        self.out.get(1).copied().unwrap_or(1)
    }

    /// Elements of a group's input under the image, padding left out.
    fn input_elements(&self) -> i64 {
        let planes: i64 = self.out.iter().skip(2).product();
        let plane = self.rows() * self.row_step * self.columns() * self.column_step.max(1);
        (self.in_channels * planes).saturating_mul(plane) / self.phases
    }

    /// Input planes under the window, of a convolution with more than two axes.
    fn planes(&self) -> i64 {
        self.taps.iter().skip(2).product()
    }
}

/// Classes of outputs by their taps: the product of the divisors that are tested.
fn phases(leaf: &Leaf) -> i64 {
    let divisor = |c: &&Cond| match c {
        Cond::Divides(by, _) => *by,
        Cond::NonNegative(_) => 1,
    };
    leaf.conditions().iter().map(divisor).product()
}

/// Input rows between neighbouring output rows: the coefficient of the row axis in an input index.
fn row_step(nest: &Nest, leaf: &Leaf) -> i64 {
    let mut step = 1;
    leaf.map_affine(&mut |a| {
        let rows = |axis: &crate::nest::AxisId| nest.role(*axis) == Role::Out(1);
        let taps = a.axes().any(|axis| nest.role(axis) == Role::Kernel(1));
        if let Some(axis) = a.axes().find(rows).filter(|_| taps) {
            step = a.of_axis(axis).abs().max(1);
        }
        a.clone()
    });
    step
}

/// The loops and the leaf of a canonical nest.
fn chain(stmts: &[Stmt]) -> (Vec<&crate::nest::Loop>, &Leaf) {
    match &stmts[0] {
        Stmt::For(l, body) => {
            let (mut loops, leaf) = chain(body);
            loops.insert(0, l);
            (loops, leaf)
        }
        Stmt::Leaf(leaf) => (Vec::new(), leaf),
        Stmt::Call(_) => unreachable!("schedule: a canonical nest has no calls"),
    }
}

enum LanesOn {
    Channels,
    Groups,
    Columns,
    Nothing,
}

fn pick_lanes(shape: &Shape, target: &Target) -> LanesOn {
    let lanes = target.lanes(shape.bytes) as i64;
    let depthwise = shape.in_channels == 1 && shape.groups > 1;
    if !target.packs && shape.columns() >= lanes {
        return LanesOn::Columns;
    }
    let masks = can_mask(shape, target) && shape.columns() > 1;
    // Three channels of four lanes still beat columns that must be gathered or scattered.
    if shape.out_channels * 4 >= lanes * 3 && !(depthwise && (masks || shape.column_step == 1) && !shape.channels_last)
    {
        return LanesOn::Channels;
    }
    if shape.channels_last && shape.groups >= lanes && shape.out_channels == 1 && shape.in_channels == 1 {
        return LanesOn::Groups;
    }
    if masks || shape.columns() >= lanes {
        return LanesOn::Columns;
    }
    if shape.out_channels > 1 {
        LanesOn::Channels
    } else {
        LanesOn::Nothing
    }
}

/// Whether columns can be in the lanes with their edges masked.
fn can_mask(shape: &Shape, target: &Target) -> bool {
    let is_known = shape.columns() < UNKNOWN && shape.rows() < UNKNOWN;
    let zeros = !(shape.ragged && shape.folds);
    target.masks && zeros && is_known && !shape.channels_last && matches!(shape.column_step, 1 | 2)
}

/// Whether the registers hold a tile of `vectors` x `points`: accumulators, the held operand's vectors, and what a step needs beside them.
fn fits(target: &Target, vectors: i64, points: i64) -> bool {
    vectors * points + vectors + target.step_registers as i64 <= target.vector_registers as i64
}

/// Vectors for which a splat is a memory operand, where the target has those; more of them, or narrower ones, share one in a register.
const INSIDE: i64 = 4;

/// Cycles from a multiply-add to the next one of the same sum (Zen 4; Intel is the same since Skylake).
const LATENCY: f64 = 4.0;

/// Multiply-adds in flight that hide it, on 2 pipes.
const IN_FLIGHT: i64 = 8;

/// Cycles of a multiply-add of `bytes`; however narrow, no more than two start at a time.
fn fma_cycles(target: &Target, bytes: i64) -> f64 {
    (bytes as f64 / target.fma_bytes as f64).max(0.5)
}

/// Channels in the lanes, and a tile of the image's rows and columns.
#[derive(Clone, Copy)]
struct Channels {
    lanes: i64,
    vectors: i64,
    rows: i64,
    columns: i64,
}

/// The extent in whole tiles and what is left: (size, how many).
fn cut(extent: i64, tile: i64) -> [(i64, i64); 2] {
    [(tile, extent / tile), (extent % tile, 1)]
}

impl Channels {
    fn points(self) -> i64 {
        self.rows * self.columns
    }

    /// Cycles of one tap and input channel over a plane and all output channels, by counting multiply-adds, loads (two a cycle, of at most 256 bits), latency, and what
    /// weights cost that come from far away.
    fn cycles(self, shape: &Shape, target: &Target) -> f64 {
        let whole = self.vectors * self.lanes;
        let rest = (shape.out_channels % whole + self.lanes - 1) / self.lanes;
        let mut cycles = 0.0;
        for (vectors, blocks) in [(self.vectors, shape.out_channels / whole), (rest, 1)] {
            for (rows, tall) in cut(shape.rows(), self.rows) {
                for (columns, wide) in cut(shape.columns(), self.columns) {
                    if vectors * rows * columns > 0 {
                        cycles += (blocks * tall * wide) as f64 * self.tile(shape, target, (vectors, rows, columns));
                    }
                }
            }
        }
        cycles
    }

    fn tile(self, shape: &Shape, target: &Target, (vectors, rows, columns): (i64, i64, i64)) -> f64 {
        let bytes = self.lanes * shape.bytes as i64;
        let points = rows * columns;
        let fma = (vectors * points) as f64 * fma_cycles(target, bytes);
        let weights = vectors as f64 * (bytes as f64 / 32.0).max(1.0);
        // A splat inside each multiply-add, or one for all vectors.
        let inside = target.step_registers == 0 && bytes == target.vector_bytes as i64 && vectors <= INSIDE;
        let splats = if inside { points * vectors } else { points };
        let loads = (weights + splats as f64) / 2.0;
        // Weights of a block of channels are read again for each tile, from where they fit. Measured on Zen 4.
        let block = vectors * bytes * shape.in_channels * shape.taps.iter().product::<i64>();
        let far = match block as usize {
            block if block <= target.l1_bytes / 2 => 0.05,
            block if block <= target.l2_bytes / 2 => 0.1,
            _ => 0.6,
        };
        // So is the input for each block of channels, once for all taps of a plane.
        let input = shape.input_elements() * shape.bytes as i64;
        let near = (shape.taps.iter().take(2).product::<i64>() / shape.phases).max(1);
        let lines = (points * shape.column_step.max(1) * shape.bytes as i64) as f64 / 32.0 / near as f64;
        let again = if input as usize <= target.l2_bytes / 2 {
            0.2
        } else {
            1.5
        };
        // A channel's outputs are a run of memory each: some cycles for it and for each of its lines, over all steps of the sum.
        let runs = (vectors * self.lanes * rows) as f64 * (1.0 + (columns * shape.bytes as i64) as f64 / 64.0);
        let steps = (shape.in_channels * shape.taps.iter().product::<i64>() / shape.phases).max(1);
        let stores = if shape.channels_last {
            0.0
        } else {
            3.0 * runs / steps as f64
        };
        fma.max(loads).max(LATENCY) + far * weights + again * lines + stores
    }
}

/// The tiles of channels that fit.
fn channel_tiles(shape: &Shape, target: &Target) -> Vec<Channels> {
    let native = target.lanes(shape.bytes) as i64;
    let is_wide = target.vector_bytes > 16;
    let narrow = if is_wide && target.fma_bytes > 32 && native > 4 {
        native / 2
    } else {
        native
    };
    let taps: i64 = shape.taps.iter().product();
    let mut all = Vec::new();
    for lanes in [native, narrow] {
        for vectors in (1..=6).take_while(|v| *v == 1 || (v - 1) * lanes < shape.out_channels) {
            let shared = i64::from(target.step_registers == 0 && (lanes < native || vectors > INSIDE));
            let fits = |points: i64| fits(target, vectors, points + shared);
            for columns in (1..=shape.columns()).take_while(|&c| fits(c)) {
                // Rows share a tile where a row is short; their edges are tests of constants, so all taps must be in the code.
                let several = |rows: &i64| {
                    *rows == 1 || is_wide && columns == shape.columns() && vectors * rows * columns * taps <= REPEATS
                };
                for rows in (1..=shape.rows()).take_while(|r| fits(r * columns)).take_while(several) {
                    all.push(Channels {
                        lanes,
                        vectors,
                        rows,
                        columns,
                    });
                }
            }
        }
    }
    all
}

/// Multiply-adds that a leaf may repeat in its code: about 4 KiB, an eighth of the first-level instruction cache.
const REPEATS: i64 = 512;

fn channel_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
    let native = target.lanes(shape.bytes) as i64;
    let mut best: Option<(f64, Channels)> = None;
    for channels in channel_tiles(shape, target) {
        let cycles = channels.cycles(shape, target);
        if best.is_none_or(|b| cycles < b.0) {
            best = Some((cycles, channels));
        }
    }
    let one = Channels {
        lanes: native,
        vectors: 1,
        rows: 1,
        columns: 1,
    };
    let tile = best.map_or(one, |b| b.1);
    let Channels {
        lanes,
        vectors,
        rows,
        columns,
    } = tile;
    choice.schedule.lanes = Some((Role::OutChannel, lanes));
    choice.schedule.tile = vec![
        (Role::OutChannel, vectors * lanes),
        (Role::Out(1), rows),
        (Role::Out(0), columns),
    ];
    choice.schedule.tile.retain(|t| t.0 != Role::Out(1) || t.1 > 1);
    choice.reasons.push(format!(
        "lanes oc:{lanes}: {} output channels a group fill vectors; weights load as vectors, the input is splat, and any stride or dilation costs nothing",
        shape.out_channels
    ));
    choice.reasons.push(format!(
        "tile oc:{} x {rows} row(s) x {columns} column(s): {} accumulators, {vectors} weights and {} for the input in {} registers; {} columns leave a tail of {}",
        vectors * lanes,
        vectors * tile.points(),
        target.step_registers,
        target.vector_registers,
        shape.columns(),
        shape.columns() % columns
    ));
}

fn group_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
    let lanes = target.lanes(shape.bytes) as i64;
    let vectors = if shape.groups >= 2 * lanes { 2 } else { 1 };
    let points = (1..=5)
        .filter(|&p| fits(target, vectors, p))
        .max()
        .unwrap_or(1)
        .min(shape.columns());
    choice.schedule.lanes = Some((Role::Group, lanes));
    choice.schedule.tile = vec![(Role::Group, vectors * lanes), (Role::Out(0), points)];
    choice.reasons.push(format!(
        "lanes g:{lanes}: depthwise with channels innermost, so neighbouring channels are one load"
    ));
}

/// Columns in the lanes, edges masked.
#[derive(Clone, Copy)]
struct Columns {
    lanes: i64,
    channels: i64,
    rows: i64,
    vectors: i64,
}

impl Columns {
    fn accumulators(self) -> i64 {
        self.channels * self.rows * self.vectors
    }

    /// Whether the weights of all taps of a channel stay in registers; then nothing but the input is loaded.
    fn keeps(self, shape: &Shape, target: &Target) -> bool {
        let weights = self.channels * shape.taps.iter().product::<i64>();
        shape.in_channels == 1 && self.accumulators() + weights + 4 <= target.vector_registers as i64
    }

    /// Cycles for all tiles of a plane, by a model of a core that loads two vectors of 256 bits a cycle, at half that rate where they cross a cache line (measured on Zen 4).
    fn cycles(self, shape: &Shape, target: &Target) -> f64 {
        let bytes = self.lanes * shape.bytes as i64;
        let (fma, load) = (
            bytes as f64 / target.fma_bytes as f64,
            if bytes >= 64 { 2.0 } else { 0.72 },
        );
        let across = (shape.columns() + self.lanes - 1) / self.lanes;
        let down = shape.rows();
        let mut cycles = 0.0;
        // Whole tiles, and those at the end of rows and columns.
        for (rows, tall) in [(self.rows, down / self.rows), (down % self.rows, 1)] {
            for (vectors, wide) in [(self.vectors, across / self.vectors), (across % self.vectors, 1)] {
                if rows * vectors > 0 {
                    cycles += (tall * wide) as f64 * self.tile(shape, target, (rows, vectors), (fma, load));
                }
            }
        }
        let blocks = (shape.out_channels + self.channels - 1) / self.channels;
        cycles * blocks as f64
    }

    fn tile(self, shape: &Shape, target: &Target, (rows, vectors): (i64, i64), (fma, load): (f64, f64)) -> f64 {
        let (window, taps) = (
            shape.taps.get(1).copied().unwrap_or(1),
            shape.taps.iter().product::<i64>(),
        );
        let sums = (self.channels * rows * vectors) as f64;
        let steps = (shape.in_channels * taps) as f64;
        // Rows that tiles share under their windows, if the taps of a column are repeated in the code.
        let lines = ((rows - 1) * shape.row_step + window).min(rows * window) * shape.planes();
        let reads = (shape.in_channels * lines * shape.taps[0] * vectors) as f64;
        let per_read = if shape.column_step == 2 { 1.5 * load + 0.5 } else { load };
        let splats = if self.keeps(shape, target) {
            0.0
        } else {
            0.5 * sums * steps
        };
        let latency = LATENCY * steps;
        let busy = (sums * steps * fma).max(latency).max(reads * per_read + splats);
        busy + 2.0 * sums * fma + 30.0
    }
}

/// The best tile of columns, by the model above.
fn masked_columns(choice: &mut Choice, shape: &Shape, target: &Target) {
    let native = target.lanes(shape.bytes) as i64;
    let mut best: Option<(f64, Columns)> = None;
    for lanes in [native, native / 2, native / 4] {
        for channels in 1..=shape.out_channels.min(4) {
            for (rows, vectors) in (1..=8).flat_map(|r| (1..=8).map(move |v| (r, v))) {
                let columns = Columns {
                    lanes,
                    channels,
                    rows,
                    vectors,
                };
                let across = (shape.columns() + lanes - 1) / lanes;
                // Two vectors and what is picked of them, a splat, and numbers for picking.
                let others = 4 + target.step_registers as i64 + if shape.column_step == 2 { 2 } else { 0 };
                let fits = columns.accumulators() + others <= target.vector_registers as i64;
                if lanes * (shape.bytes as i64) < 16 || rows > shape.rows() || vectors > across || !fits {
                    continue;
                }
                let cycles = columns.cycles(shape, target);
                if best.is_none_or(|b| cycles < b.0) {
                    best = Some((cycles, columns));
                }
            }
        }
    }
    let Some((_, columns)) = best else { return };
    let Columns {
        lanes,
        channels,
        rows,
        vectors,
    } = columns;
    choice.schedule.lanes = Some((Role::Out(0), lanes));
    let tile = [
        (Role::OutChannel, channels),
        (Role::Out(1), rows),
        (Role::Out(0), vectors * lanes),
    ];
    choice.schedule.tile = tile.into_iter().filter(|t| t.1 > 1).collect();
    choice.schedule.borders = Borders::Mask;
    choice.reasons.push(format!(
        "lanes ow:{lanes}: {} output channel(s) a group are too few for lanes; columns load and store as vectors, weights are splat",
        shape.out_channels
    ));
    choice.reasons.push(format!(
        "tile {channels} channel(s) x {rows} row(s) x {vectors} vector(s): {} accumulators; a vector is loaded once for all rows under whose windows it lies{}",
        columns.accumulators(),
        if columns.keeps(shape, target) { ", and weights stay in registers" } else { "" }
    ));
    choice
        .reasons
        .push("borders mask: lanes outside the image load zeros, nothing is copied".to_owned());
}

fn column_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
    let is_known = shape.columns() < UNKNOWN && shape.rows() < UNKNOWN;
    if target.masks
        && !(shape.ragged && shape.folds)
        && is_known
        && !shape.channels_last
        && matches!(shape.column_step, 1 | 2)
    {
        return masked_columns(choice, shape, target);
    }
    let lanes = target.lanes(shape.bytes) as i64;
    let across = (shape.columns() + lanes - 1) / lanes;
    // A splat weight serves every column vector and row of the tile; each of those loads its input once. One accumulator per load leaves
    // registers for 12 of them; 8 hide the latency, and more rows share more taps only where the panel holds them.
    let channels = shape.out_channels.clamp(1, 4);
    let vectors = across.min(8 / channels).max(1);
    let rows = if shape.out_channels == 1 && target.packs {
        (8 / vectors).clamp(1, shape.rows())
    } else {
        1
    };
    choice.schedule.lanes = Some((Role::Out(0), lanes));
    choice.schedule.tile = [
        (Role::OutChannel, channels),
        (Role::Out(1), rows),
        (Role::Out(0), vectors * lanes),
    ]
    .into_iter()
    .filter(|t| t.1 > 1)
    .collect();
    choice.reasons.push(format!(
        "lanes ow:{lanes}: {} output channel(s) a group are too few for lanes; columns load and store as vectors, weights are splat",
        shape.out_channels
    ));
    choice.reasons.push(format!(
        "tile {channels} channel(s) x {rows} row(s) x {vectors} vector(s): {} accumulators, at least {IN_FLIGHT} to hide the latency",
        channels * rows * vectors
    ));
    borders(choice, shape, target, rows);
}

/// Where lanes run along the columns, an edge inside a vector must be a panel or a scalar tile.
fn borders(choice: &mut Choice, shape: &Shape, target: &Target, tile_rows: i64) {
    if !shape.ragged || !target.packs {
        return;
    }
    let window = shape.taps.get(1).copied().unwrap_or(1);
    let row_bytes = shape.in_channels
        * shape.planes()
        * (shape.columns() * shape.column_step.max(1) + shape.taps[0])
        * shape.bytes as i64;
    let panel_bytes = |rows: i64| (rows * shape.row_step + window) * row_bytes;
    let room = target.l2_bytes as i64 / 2;
    if panel_bytes(tile_rows) > room {
        choice
            .reasons
            .push("borders exact: rows are too long for a panel in L2; edges get scalar tiles".to_owned());
        return;
    }
    // More rows copy their common rows once; half of L1 is enough to make that cheap, L2 is the limit.
    let fits = |rows: &i64| {
        panel_bytes(*rows)
            <= if *rows <= 4 * window {
                room
            } else {
                target.l1_bytes as i64 / 2
            }
    };
    let most = (tile_rows..=shape.rows())
        .step_by(tile_rows as usize)
        .filter(fits)
        .max()
        .unwrap_or(tile_rows);
    let rows = if most * 2 > shape.rows() && panel_bytes(shape.rows()) <= room {
        shape.rows()
    } else {
        most
    };
    choice.schedule.borders = Borders::Panel { rows };
    choice.reasons.push(format!(
        "borders panel:{rows}: padded rows of {row_bytes} bytes are copied once for {rows} output row(s), {} KiB in cache",
        panel_bytes(rows) / 1024
    ));
}

/// Taps are repeated in the code from the innermost axis on, while the body stays small.
fn taps(choice: &mut Choice, shape: &Shape) {
    let points: i64 =
        choice.schedule.tile.iter().map(|t| t.1).product::<i64>() / choice.schedule.lanes.map_or(1, |l| l.1);
    let mut body = points.max(1);
    for (at, &taps) in shape.taps.iter().enumerate() {
        // 128 multiply-adds: by then the loop costs nothing, and the code still fits the op cache beside its neighbours. Rows that share what they load want more.
        let most = if choice.schedule.borders == Borders::Mask {
            512
        } else {
            128
        };
        if body * taps > most {
            choice.schedule.step = Some((Role::Kernel(at), (most / body).max(1)));
            break;
        }
        body *= taps;
        if taps > 1 {
            choice.schedule.unroll.insert(0, Role::Kernel(at));
        }
    }
    // Where there are few taps, channels fill the step: going round the loop costs a move per accumulator.
    if choice.schedule.step.is_some() {
        choice.reasons.push(format!(
            "unroll: {body} multiply-adds, and steps of the loop around them"
        ));
        return;
    }
    let most = (64 / body).clamp(1, 8);
    choice.schedule.step = Some((Role::InChannel, most));
    let channels = (1..=most).rev().find(|s| shape.in_channels % s == 0).unwrap_or(1);
    choice.reasons.push(format!(
        "unroll: {} multiply-adds a step of {channels} channel(s)",
        body * channels
    ));
}

fn order(choice: &mut Choice, shape: &Shape) {
    let spatial: Vec<Role> = (0..shape.out.len()).rev().map(Role::Out).collect();
    let head = [Role::Batch, Role::Group];
    choice.schedule.order = head.into_iter().chain([Role::OutChannel]).chain(spatial).collect();
    let tiles = |role: Role, extent: i64| extent / choice.schedule.tile_of(role).max(1);
    let candidates = [
        (Role::OutChannel, shape.out_channels),
        (Role::Group, shape.groups),
        (Role::Out(1), shape.rows()),
        (Role::Out(0), shape.columns()),
    ];
    let enough = candidates.iter().find(|c| tiles(c.0, c.1) >= 16);
    let most = candidates.iter().max_by_key(|c| tiles(c.0, c.1));
    choice.schedule.parallel = enough.or(most).map(|c| c.0);
}

/// Without taps nothing but other output channels uses an input again, so where it is too large to stay near by itself blocks of channels take turns at each tile while their weights,
/// twice the first-level cache, stay near. Measured on ResNet's strided 1x1: 10 % over all channels in the outer loop.
fn cache(choice: &mut Choice, shape: &Shape, target: &Target) {
    let tile = choice.schedule.tile_of(Role::OutChannel);
    let weights = shape.in_channels * shape.bytes as i64;
    let block = (2 * target.l1_bytes as i64 / weights / tile * tile).max(tile);
    let input = weights * shape.columns() * shape.column_step.max(1) * shape.rows() * shape.row_step;
    let far = input > target.l2_bytes as i64 / 2;
    if far && shape.taps.iter().product::<i64>() == 1 && target.packs && shape.out_channels >= 2 * block && tile > 1 {
        choice.schedule.cache = block;
        choice.reasons.push(format!(
            "cache oc:{block}: their weights, {} KiB, stay near while a tile of the input is used",
            block * weights / 1024
        ));
    }
}
