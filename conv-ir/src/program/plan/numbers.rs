//! What the model knows of a step: whole numbers, by which equal steps are told.
//!
//! Everything that a step costs follows from these and the target, so that a network of fifty steps
//! of ten kinds is priced as ten.

use crate::conv::ConvAxis;
use crate::program::rows::RowAxis;
use crate::{Conv, Layout, Target};

/// Cycles an element that a tile with channels in the lanes turns around to store it along columns.
/// Measured on 1x1 with 16 to 96 input channels: 0.17 to 0.4.
const TURNED: f64 = 0.2;
/// Cycles of an output of a depthwise step between two layouts, whose vectors are stored an element
/// at a time. Measured on 14x14 from channels last to channels first.
const SCATTERED: f64 = 14.0;
/// Columns of the usual wide tile, and of the narrowest that costs little more.
const TILES: std::ops::RangeInclusive<i64> = 7..=14;
/// What each column less than the widest costs, as a part of the whole: weights are loaded for
/// fewer of them.
const NARROWER: f64 = 0.006;
/// Rows up to which a tile of columns is as high as the image; above, a high window's rows come
/// from the second-level cache for each row of tiles, which takes so much longer.
const HIGHEST: i64 = 24;
const AGAIN: f64 = 1.3;

/// The numbers of a step, of one image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Numbers {
    pub rows: RowAxis,
    pub layout: Layout,
    /// Bytes of a row of the output.
    pub row_bytes: i64,
    pub weight_bytes: i64,
    /// Bytes of an element.
    bytes: i64,
    /// One input channel a group, in several groups.
    depthwise: bool,
    /// Multiply-adds of an output; transposed, on the mean, as its phases have different taps.
    taps: i64,
    /// Outputs of a row.
    outputs: i64,
    out_channels: i64,
    groups: i64,
    /// Rows of the window.
    window: i64,
    /// Columns along the innermost axis; rows where it is the only one.
    columns: Option<i64>,
    /// Points of a row that a window of one element sees as one with those of other rows.
    merged: Option<i64>,
}

impl Numbers {
    pub fn of(conv: &Conv) -> Numbers {
        let (spec, rows) = (conv.spec(), RowAxis::of(conv));
        let extent = |axis: &ConvAxis| axis.output.known().unwrap_or(0) as i64;
        let images = spec.batch.known().unwrap_or(1).max(1) as i64;
        let outputs = conv.output_len().unwrap_or(0) as i64 / images / rows.output.max(1);
        let bytes = conv.dtype().bytes() as i64;
        let stride = |axis: &ConvAxis| axis.stride as i64;
        let phases = match spec.transposed {
            true => conv.axes().iter().map(stride).fold(1, i64::saturating_mul),
            false => 1,
        };
        let within: i64 = conv.axes()[1..].iter().map(extent).product();
        Numbers {
            rows,
            layout: spec.layout,
            row_bytes: outputs * spec.types.output.bytes() as i64,
            weight_bytes: conv.weight_len() as i64 * bytes,
            bytes,
            depthwise: conv.in_channels_per_group() == 1 && conv.groups() > 1,
            taps: ((conv.in_channels_per_group() * conv.kernel_volume()) as i64)
                .div_euclid(phases)
                .max(1),
            outputs,
            out_channels: spec.out_channels as i64,
            groups: conv.groups() as i64,
            window: spec.kernel[0] as i64,
            columns: conv.axes()[1..].last().map(extent),
            merged: (conv.kernel_volume() == 1).then_some(within),
        }
    }

    /// Where channels stand in its line buffer, behind one of layout `before`: last where a step
    /// with channels in the lanes writes them, as its tile lies in registers, and as long as
    /// depthwise steps go on.
    pub fn line(&self, before: Layout, target: &Target) -> Layout {
        let lanes = target.lanes(self.bytes as usize) as i64;
        let full = self.out_channels % lanes == 0 || self.out_channels >= 4 * lanes;
        let vectors = if self.depthwise {
            before == Layout::ChannelsLast && full && self.out_channels == self.groups
        } else {
            full && self.groups == 1 && target.packs
        };
        if vectors { Layout::ChannelsLast } else { self.layout }
    }

    /// Whether its cost does not depend on the layout of its input.
    pub fn is_same_behind_any(&self) -> bool {
        !self.depthwise
    }

    /// Cycles of so many rows' multiply-adds with all lanes full and nothing around them: no
    /// layout makes it less.
    pub fn least(&self, rows: i64, target: &Target) -> f64 {
        let sums = rows as f64 * self.outputs as f64 * self.taps as f64;
        sums * self.bytes as f64 / target.fma_bytes.min(target.vector_bytes * 2) as f64
    }

    /// Cycles of so many rows' multiply-adds on arrays of these layouts.
    pub fn compute(&self, rows: i64, (input, output): (Layout, Layout), target: &Target) -> f64 {
        let cycles = self.least(rows, target);
        let outputs = rows as f64 * self.outputs as f64;
        let lanes = target.lanes(self.bytes as usize) as i64;
        let columns = self.columns.unwrap_or(rows).max(1);
        let whole =
            |extent: i64, tile: i64| ((extent + tile - 1) / tile * tile) as f64 / extent as f64;
        if self.depthwise {
            // Channels in the lanes fill them; columns leave lanes over, and load each vector at
            // several places. Between two layouts elements are stored one by one.
            return match (input, output) {
                (Layout::ChannelsLast, Layout::ChannelsLast) => 1.15 * cycles,
                (Layout::ChannelsFirst, Layout::ChannelsFirst) => {
                    1.3 * cycles * whole(columns, lanes)
                }
                _ => cycles + SCATTERED * outputs,
            };
        }
        let few = self.out_channels / self.groups * 4 < lanes;
        let cycles =
            if self.window >= 8 && rows > HIGHEST && few { AGAIN * cycles } else { cycles };
        let points = self.merged.map_or(columns, |within| (rows * within).max(1));
        let turned = if output == Layout::ChannelsFirst && self.out_channels >= lanes {
            TURNED * outputs
        } else {
            0.0
        };
        let tiles =
            TILES.map(|tile| whole(points, tile) * (1.0 + NARROWER * (TILES.end() - tile) as f64));
        cycles * tiles.fold(f64::INFINITY, f64::min) + turned
    }
}
