//! What the model asks a convolution: extents, steps and edges, read off the canonical nest.

use crate::nest::{Affine, BufferRole, Cond, Expr, FOUR, Index, Leaf, Nest, Role, Signs, Stmt};

use super::REPEATS;
use crate::{Dots, Target};

/// Outputs of one channel that share a leaf, at least, for its taps to be worth spelling out: fewer
/// would not hide the latency.
const FEW_OUTPUTS: i64 = 4;

/// Vectors of sums whose columns are stored together where two taps are multiplied at a time.
pub(super) const TOGETHER: i64 = 4;

/// Bytes that shuffles move at the least.
const CHUNK: i64 = 16;

/// Ways of the second-level cache: 8 to 20, where more come with fewer sets.
const WAYS: i64 = 8;

/// Cycles that a tile waits for the first line of a row of a channel that comes from beyond the
/// second-level cache; the prefetcher brings those behind it. Measured on Granite Rapids with tiles
/// of 14 and of 48 columns, 15 to 50: taps of three planes of 16x56x56, 144 to 64 channels, take
/// 25.6 and 18.5 ms, 1x1 over 250x250, 64 to 64, 4.6 and 3.5, over 160x160, 256 to 128, 16 and 12,
/// but over 112x112, 128 to 96, 1.70 and 1.77.
const FIRST_LINE: f64 = 20.0;

/// Streams that a core's prefetcher follows: Intel's, 32 of pages.
pub(super) const STREAMS: i64 = 32;

/// Bytes of a cache line.
pub(super) const LINE: i64 = 64;

/// What the model needs to know of a canonical nest. An axis that is not there counts 1; a run-time
/// size counts as a large one.
#[derive(Clone)]
pub(super) struct Shape {
    pub bytes: usize,
    pub groups: i64,
    pub out_channels: i64,
    pub in_channels: i64,
    /// Output extents, innermost first.
    pub out: Vec<i64>,
    /// Kernel extents, innermost first.
    pub taps: Vec<i64>,
    /// Input elements, rows, .. between neighbouring taps, innermost first.
    pub dilation: Vec<i64>,
    /// Input elements between neighbouring columns of the output; 0 where the input does not have
    /// columns innermost.
    pub column_step: i64,
    /// Input rows between neighbouring rows of the output.
    pub row_step: i64,
    /// Input elements between neighbouring channels.
    pub channel_step: i64,
    /// The output stores channels innermost.
    pub channels_last: bool,
    /// A sum of integers.
    pub is_integer: bool,
    /// Products of bytes can be summed four at a time.
    pub fours: Option<Signs>,
    /// The same of a copy of the input's rows.
    pub woven: Option<Signs>,
    /// Neighbouring taps of bytes can be multiplied at a time.
    pub slides: bool,
    /// The same where taps are known and spelled out.
    pub slides_where_spelled: bool,
    /// Two known taps can be multiplied at a time, of elements of so many bytes.
    pub interleaves: Option<i64>,
    /// The input is of bytes that are integers.
    pub is_of_bytes: bool,
    /// Sums beside those of a column's channels: of splats, where bytes are alike.
    pub beside: i64,
    /// Steps are products of two words, with a sum of their own.
    pub in_pairs: bool,
    /// The output has the type of the sums, no integer: a tile of channels is turned in registers.
    pub stores_sums: bool,
    /// Taps may fall outside along the columns.
    pub ragged: bool,
    /// What lies outside is not zero.
    pub folds: bool,
    /// Of a transposed convolution: outputs fall into so many classes, each under its own taps.
    pub phases: i64,
    /// Output elements between neighbouring columns of a class.
    pub apart: i64,
    /// Weights lie in panels of so many channels, whatever the tile.
    pub panel: Option<i64>,
    /// Code may keep sums in scratch between blocks of input channels.
    pub keeps_sums: bool,
    /// The taps that are not zero, of known weights that are the same in every group: of all
    /// output channels, input channels and places.
    pub known_taps: Option<i64>,
}

/// A run-time size, for the model: a large one that no block divides. A known size that is the same
/// is taken for one, which costs speed alone.
const UNKNOWN: i64 = (1 << 16) + 1;

/// Whether a size is known when code is made.
pub(super) const fn is_known(extent: i64) -> bool {
    extent != UNKNOWN
}

impl Shape {
    pub(super) fn of(nest: &Nest) -> Shape {
        let (loops, leaf) = chain(&nest.body);
        let extent = |role: Role| {
            let mut all =
                loops.iter().copied().chain(&leaf.reduce).filter(|l| nest.role(l.axis) == role);
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
            a.axes().find(|&axis| nest.role(axis) == Role::Out(0)).map_or(0, |axis| a.of_axis(axis))
        };
        let column_step = match last_index(BufferRole::Input) {
            Some(Index::Affine(a)) => column(&a),
            Some(Index::Folded { index, .. }) => column(&index),
            Some(Index::Quotient(_)) => 1,
            None => 0,
        };
        let is_channel = |i: &Index| {
            i.as_affine().is_some_and(|a| {
                a.axes().any(|axis| matches!(nest.role(axis), Role::OutChannel | Role::Group))
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
            dilation: dilation(nest, leaf),
            column_step,
            row_step: row_step(nest, leaf),
            channel_step: channel_step(nest, leaf),
            is_integer: nest.dtype.is_integer(),
            fours: nest.fours(),
            woven: nest.weaves(),
            slides: nest.slides(),
            slides_where_spelled: nest.slides_where_spelled(),
            interleaves: nest.interleaves(),
            is_of_bytes: nest.buffer_of(BufferRole::Input).is_some_and(|input| {
                let dtype = nest.buffer(input).dtype;
                dtype.is_integer() && dtype.bytes() == 1
            }),
            beside: 0,
            in_pairs: false,
            stores_sums: !nest.dtype.is_integer()
                && nest
                    .buffer_of(BufferRole::Output)
                    .is_some_and(|output| nest.buffer(output).dtype == nest.dtype),
            channels_last: last_index(BufferRole::Output).is_some_and(|i| is_channel(&i)),
            ragged,
            folds,
            phases: phases(leaf, |_| true),
            apart: phases(leaf, about_columns),
            panel: None,
            keeps_sums: is_known(extent(Role::InChannel)),
            known_taps: known_taps(nest, leaf),
        }
    }

    /// The same with what an instruction multiplies as one element of 32 bits: four bytes, or two
    /// words, whose signs are their own.
    pub(super) fn in_dots(&self, target: &Target) -> Shape {
        let fours = (self.in_channels + FOUR - 1) / FOUR;
        if target.dots == Dots::Pairs {
            return Shape { in_channels: 2 * fours, in_pairs: true, ..self.clone() };
        }
        let beside = i64::from(self.fours.or(self.woven) == Some(Signs::Alike));
        Shape { in_channels: fours, beside, ..self.clone() }
    }

    /// Multiply-adds of one output, where its known taps can all be spelled out in the code beside
    /// those of a few other outputs.
    pub(super) fn spelled_taps(&self) -> Option<i64> {
        let all = self.steps();
        let few = self.phases == 1
            && self.out_channels <= 4
            && !self.channels_last
            && product([all, self.out_channels, FEW_OUTPUTS]) <= REPEATS;
        self.known_taps.filter(|_| few).map(|_| all)
    }

    /// Bytes of an element of rows that are copied for columns in the lanes.
    pub(super) fn copied_bytes(&self, target: &Target) -> i64 {
        let stays = target.slides() || target.interleaves() && self.interleaves.is_some();
        if self.is_of_bytes && stays { 1 } else { self.bytes as i64 }
    }

    /// The bytes of an element where two taps are multiplied at a time on this machine: the columns
    /// of four vectors of sums come together.
    pub(super) fn interleaves_on(&self, target: &Target) -> Option<i64> {
        let lanes = target.lanes(self.bytes) as i64;
        let can = target.interleaves()
            && self.spelled_taps().is_some()
            && self.column_step == 1
            && is_known(self.columns())
            && self.columns() >= TOGETHER * lanes;
        self.interleaves.filter(|_| can)
    }

    /// Whether taps are multiplied at a time on this machine.
    pub(super) fn slides_on(&self, target: &Target) -> bool {
        let spelled = self.slides_where_spelled && self.spelled_taps().is_some();
        (self.slides || spelled) && target.slides()
    }

    /// Whether a window has many taps. Where rows fold, each of an edge has an address of its own,
    /// which is found as the code runs.
    pub(super) fn has_many_taps(&self) -> bool {
        product(self.taps.iter().copied()) > 64
    }

    pub(super) fn columns(&self) -> i64 {
        self.out.first().copied().unwrap_or(1)
    }

    /// Columns of a class, which is cut into tiles of its own.
    pub(super) fn columns_of_class(&self) -> i64 {
        self.columns().saturating_add(self.apart - 1) / self.apart
    }

    /// Taps of a class along each axis, innermost first, at most.
    pub(super) fn taps_of_class(&self) -> Vec<i64> {
        let mut others = self.phases / self.apart;
        let mut of_axis = |(at, taps): (usize, &i64)| {
            // Which axis has which classes is not known beyond the first: those that fit.
            let classes = if at == 0 { self.apart } else { common(others, *taps) };
            others /= if at == 0 { 1 } else { classes };
            (taps + classes - 1) / classes
        };
        self.taps.iter().enumerate().map(&mut of_axis).collect()
    }

    /// Vectors of so many lanes along the columns of a class.
    pub(super) fn vectors_across(&self, lanes: i64) -> i64 {
        self.columns_of_class().saturating_add(lanes - 1) / lanes
    }

    pub(super) fn rows(&self) -> i64 {
        self.out.get(1).copied().unwrap_or(1)
    }

    /// What the window covers along an axis, holes included.
    pub(super) fn span(&self, at: usize) -> i64 {
        let (Some(taps), Some(dilation)) = (self.taps.get(at), self.dilation.get(at)) else {
            return 1;
        };
        dilation.saturating_mul(taps - 1).saturating_add(1)
    }

    /// Elements of a group's input under the image, padding left out.
    pub(super) fn input_elements(&self) -> i64 {
        let planes = self.out.iter().skip(2).copied();
        let plane = [self.rows(), self.row_step, self.columns(), self.column_step.max(1)];
        product(planes.chain(plane).chain([self.in_channels])) / self.phases
    }

    /// Multiply-adds of an output, over all phases.
    pub(super) fn steps(&self) -> i64 {
        product(self.taps.iter().copied().chain([self.in_channels]))
    }

    /// Elements of a group's weights.
    pub(super) fn weight_elements(&self) -> i64 {
        self.out_channels.saturating_mul(self.steps())
    }

    /// Whether columns of a class, in vectors of so many lanes, are stored as whole vectors under a
    /// mask: every second or fourth element, where the target masks stores.
    pub(super) fn spreads(&self, lanes: i64, target: &Target) -> bool {
        let whole = lanes * self.bytes as i64 / self.apart >= CHUNK;
        target.isa.machine().mask_registers && matches!(self.apart, 2 | 4) && whole
    }

    /// Rows of a channel under the window, of all planes.
    pub(super) fn rows_under(&self) -> i64 {
        product(self.taps.iter().skip(1).copied())
    }

    /// Whether the channels of a group lie so far apart, by a power of two or nearly, that they
    /// fall into few sets of the second-level cache and push each other out: of 512 channels with
    /// planes of 32x32 in f32, 4 KiB apart, a 2 MiB cache holds half.
    pub(super) fn crowds(&self, target: &Target) -> bool {
        let bytes = self.channel_step.saturating_mul(self.bytes as i64);
        let way = (target.l2_bytes as i64 / WAYS).max(1);
        // Half is for weights and outputs.
        self.in_channels > way / common(bytes, way) * WAYS / 2
    }

    /// Cycles that tiles of so many columns wait for a plane of the image, where windows have one
    /// row and the image is far larger than the cache: nothing but columns of the same row finds a
    /// line again.
    pub(super) fn waits(&self, target: &Target, columns: i64) -> f64 {
        let bytes = self.input_elements().saturating_mul(self.bytes as i64);
        let is_far = bytes as usize > 2 * target.l2_bytes && bytes < i64::MAX;
        let streams = self.in_channels.saturating_mul(self.rows_under());
        let has_rows = self.taps.get(1).is_some_and(|rows| *rows > 1);
        // In a panel no line is waited for.
        if !is_far || has_rows || streams <= STREAMS || self.crowds(target) {
            return 0.0;
        }
        // Tiles in the same line find it.
        let columns = columns.max(LINE / self.bytes as i64);
        let across = (self.columns() + columns - 1) / columns;
        FIRST_LINE * product([self.rows(), across, streams]) as f64
    }

    /// Input planes under the window, of a convolution with more than two axes.
    pub(super) fn planes(&self) -> i64 {
        product(self.taps.iter().skip(2).copied())
    }
}

/// No more than the largest number there is, where that is as good as any other: nothing of that
/// size is near.
pub(super) fn product(factors: impl IntoIterator<Item = i64>) -> i64 {
    factors.into_iter().fold(1, i64::saturating_mul)
}

/// The greatest common divisor.
fn common(a: i64, b: i64) -> i64 {
    if b == 0 { a.max(1) } else { common(b, a % b) }
}

/// See [`Shape::known_taps`].
fn known_taps(nest: &Nest, leaf: &Leaf) -> Option<i64> {
    let weight = nest.buffer_of(BufferRole::Weight)?;
    let values = nest.buffer(weight).values.as_ref()?;
    let load = leaf.accesses().into_iter().find(|a| nest.buffer_behind(leaf, a.base) == weight)?;
    let by_group = |i: &Index| {
        i.as_affine().is_some_and(|a| a.axes().any(|axis| nest.role(axis) == Role::Group))
    };
    let count = values.iter().filter(|tap| **tap != 0.0).count() as i64;
    (!load.index.iter().any(by_group)).then_some(count)
}

/// Classes of outputs by their taps, along some axes: the product of the divisors that are tested.
fn phases(leaf: &Leaf, along: impl Fn(&Affine) -> bool) -> i64 {
    let divisor = |c: &&Cond| match c {
        Cond::Divides(by, a) if along(a) => *by,
        Cond::Divides(..) | Cond::NonNegative(_) => 1,
    };
    product(leaf.conditions().iter().map(divisor))
}

/// See [`Shape::dilation`]: the coefficients of kernel axes beside their output axes.
fn dilation(nest: &Nest, leaf: &Leaf) -> Vec<i64> {
    let mut dilation = vec![1; nest.rank];
    leaf.visit_affine(&mut |a| {
        for axis in a.axes() {
            if let Role::Kernel(at) = nest.role(axis)
                && a.axes().any(|out| nest.role(out) == Role::Out(at))
            {
                dilation[at] = dilation[at].max(a.of_axis(axis).abs());
            }
        }
    });
    dilation
}

/// Input rows between neighbouring output rows: the coefficient of the row axis in an input index.
fn row_step(nest: &Nest, leaf: &Leaf) -> i64 {
    let mut step = 1;
    leaf.visit_affine(&mut |a| {
        let rows = |axis: &crate::nest::AxisId| nest.role(*axis) == Role::Out(1);
        let taps = a.axes().any(|axis| nest.role(axis) == Role::Kernel(1));
        if let Some(axis) = a.axes().find(rows).filter(|_| taps) {
            step = a.of_axis(axis).abs().max(1);
        }
    });
    step
}

/// See [`Shape::channel_step`]: what lies behind the channel's dimension of the input.
fn channel_step(nest: &Nest, leaf: &Leaf) -> i64 {
    let Some(input) = nest.buffer_of(BufferRole::Input) else { return 1 };
    let mut all = leaf.accesses().into_iter();
    let Some(access) = all.find(|a| nest.buffer_behind(leaf, a.base) == input) else {
        return 1;
    };
    let by_channel = |index: &Index| {
        index.as_affine().is_some_and(|a| a.axes().any(|axis| nest.role(axis) == Role::InChannel))
    };
    let Some(at) = access.index.iter().position(by_channel) else { return 1 };
    let behind = nest.buffer(input).extents.iter().skip(at + 1);
    product(behind.map(|extent| extent.as_constant().unwrap_or(UNKNOWN)))
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
