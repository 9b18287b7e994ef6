//! The model: a schedule from (convolution, target), with a reason for each decision.
//!
//! It looks at the canonical nest, so that it speaks of the axes that schedules speak of. The rules come from register and load counting;
//! constants that were measured say so. It never fails: what fits no rule gets the scalar schedule.

use super::{Borders, Schedule};
use crate::nest::{Affine, BufferRole, Expr, Index, Leaf, Nest, Role, Stmt};
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
        let mut ragged = leaf.conditions().iter().any(|c| about_columns(c.expression()));
        leaf.visit_exprs(&mut |e| {
            if let Expr::Load(access) = e {
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
        }
    }

    fn columns(&self) -> i64 {
        self.out.first().copied().unwrap_or(1)
    }

    fn rows(&self) -> i64 {
        self.out.get(1).copied().unwrap_or(1)
    }

    /// Input planes under the window, of a convolution with more than two axes.
    fn planes(&self) -> i64 {
        self.taps.iter().skip(2).product()
    }
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
    // Three channels of four lanes still beat columns that must be gathered or scattered.
    if shape.out_channels * 4 >= lanes * 3 && !(depthwise && shape.column_step == 1 && !shape.channels_last) {
        return LanesOn::Channels;
    }
    if shape.channels_last && shape.groups >= lanes && shape.out_channels == 1 && shape.in_channels == 1 {
        return LanesOn::Groups;
    }
    if shape.columns() >= lanes {
        return LanesOn::Columns;
    }
    if shape.out_channels > 1 {
        LanesOn::Channels
    } else {
        LanesOn::Nothing
    }
}

/// Whether the registers hold a tile of `vectors` x `points`: accumulators, the held operand's vectors, and what a step needs beside them.
fn fits(target: &Target, vectors: i64, points: i64) -> bool {
    vectors * points + vectors + target.step_registers as i64 <= target.vector_registers as i64
}

/// Multiply-adds in flight that hide their latency: 4 cycles on 2 pipes (Zen 4; Intel is the same since Skylake).
const IN_FLIGHT: i64 = 8;

/// Share of the peak that a tile of `vectors x points` reaches by latency alone.
fn busy(vectors: i64, points: i64) -> f64 {
    (vectors * points).min(IN_FLIGHT) as f64 / IN_FLIGHT as f64
}

/// Cost of an extent cut into tiles of `points` and a tail, in units of full-speed points.
fn cut_cost(extent: i64, vectors: i64, points: i64) -> f64 {
    let (tiles, rest) = (extent / points, extent % points);
    let tail = if rest > 0 {
        rest as f64 / busy(vectors, rest)
    } else {
        0.0
    };
    (tiles * points) as f64 / busy(vectors, points) + tail
}

fn channel_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
    let lanes = target.lanes(shape.bytes) as i64;
    // More vectors reuse each splat more; but channels beyond the last are work for nothing.
    let waste = |v: i64| (shape.out_channels + v * lanes - 1) / (v * lanes) * v * lanes;
    let mut best: Option<(f64, i64, i64)> = None;
    for vectors in 1..=3 {
        if vectors > 1 && (vectors - 1) * lanes >= shape.out_channels {
            continue;
        }
        for points in (1..=target.vector_registers as i64).filter(|&p| fits(target, vectors, p)) {
            let loads = (vectors + points) as f64 / (vectors * points) as f64;
            // Two loads a cycle against two multiply-adds: below one load a multiply-add loads are free, and then fewer are still better.
            let cost = cut_cost(shape.columns(), vectors, points) * waste(vectors) as f64 * (1.0 + 0.1 * loads);
            if best.is_none_or(|b| cost < b.0) {
                best = Some((cost, vectors, points));
            }
        }
    }
    let (_, vectors, points) = best.unwrap_or((0.0, 1, 1));
    choice.schedule.lanes = Some((Role::OutChannel, lanes));
    choice.schedule.tile = vec![
        (Role::OutChannel, vectors * lanes),
        (Role::Out(0), points.min(shape.columns())),
    ];
    choice.reasons.push(format!(
        "lanes oc:{lanes}: {} output channels a group fill vectors; weights load as vectors, the input is splat, and any stride or dilation costs nothing",
        shape.out_channels
    ));
    choice.reasons.push(format!(
        "tile oc:{} x ow:{points}: {} accumulators, {vectors} weights and {} for the input in {} registers; {} columns leave a tail of {}",
        vectors * lanes,
        vectors * points,
        target.step_registers,
        target.vector_registers,
        shape.columns(),
        shape.columns() % points
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

fn column_lanes(choice: &mut Choice, shape: &Shape, target: &Target) {
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
        // 128 multiply-adds: by then the loop costs nothing, and the code still fits the op cache beside its neighbours.
        if body * taps > 128 {
            break;
        }
        body *= taps;
        if taps > 1 {
            choice.schedule.unroll.insert(0, Role::Kernel(at));
        }
    }
    // Where there are few taps, channels fill the step: going round the loop costs a move per accumulator.
    choice.schedule.step = (64 / body).clamp(1, 8);
    let channels = (1..=choice.schedule.step)
        .rev()
        .find(|s| shape.in_channels % s == 0)
        .unwrap_or(1);
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
