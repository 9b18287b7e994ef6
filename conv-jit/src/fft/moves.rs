//! Blocks into the lanes, and out of them.

use conv_ir::PaddingMode;

use super::shape::{Lane, Shape};
use super::transform::{Grid, Point};
use super::vector::{Real, Vector};

/// A part of a row of points: the real one, or the imaginary one.
#[derive(Clone, Copy)]
enum Part {
    Re,
    Im,
}

impl<T, const L: usize> Point<T, L> {
    #[inline(always)]
    fn part(&self, part: Part) -> &[T; L] {
        match part {
            Part::Re => &self.re,
            Part::Im => &self.im,
        }
    }

    #[inline(always)]
    fn part_mut(&mut self, part: Part) -> &mut [T; L] {
        match part {
            Part::Re => &mut self.re,
            Part::Im => &mut self.im,
        }
    }
}

/// Where a row of a block reads: its first element, and the position of the block's first point.
#[derive(Clone, Copy, Default)]
struct Row {
    base: usize,
    at: usize,
    /// No row is there: padding, or no block in this lane.
    empty: bool,
}

/// Rows in lanes: number `k` of lane `l` becomes lane `l` of number `k`. Halves are exchanged, then
/// quarters, and so on, so that each is a shuffle of two vectors.
#[inline(always)]
fn turned<T: Real, V: Vector<T, L>, const L: usize>(tile: &mut [[T; L]; L]) {
    let mut rows = [V::of(tile[0]); L];
    for lane in 1..L {
        rows[lane] = V::of(tile[lane]);
    }
    exchange::<T, V, L, 8>(&mut rows);
    exchange::<T, V, L, 4>(&mut rows);
    exchange::<T, V, L, 2>(&mut rows);
    exchange::<T, V, L, 1>(&mut rows);
    for lane in 0..L {
        tile[lane] = rows[lane].numbers();
    }
}

#[inline(always)]
fn exchange<T: Real, V: Vector<T, L>, const L: usize, const APART: usize>(rows: &mut [V; L]) {
    for first in 0..L {
        if first & APART == 0 && APART < L {
            let (low, high) = rows[first].exchanged::<APART>(rows[first + APART]);
            (rows[first], rows[first + APART]) = (low, high);
        }
    }
}

/// Brings channel `channel` of each lane's group into the grid.
#[inline(always)]
pub(super) fn load<T: Real, V: Vector<T, L>, const L: usize>(
    shape: &Shape,
    grid: &Grid<T>,
    lanes: &[Option<Lane>; L],
    channel: usize,
    (input, data): (&[T], &mut [Point<T, L>]),
) {
    let points = grid.points();
    let outside = match shape.padding {
        PaddingMode::Constant(value) => T::of(value),
        _ => T::default(),
    };
    for i in 0..points[0] {
        for j in 0..points[1] {
            let start = i * grid.strides[0] + j * grid.strides[1];
            let end = if points[0] * points[1] > 1 { start + grid.strides[1] } else { points[2] };
            let row = &mut data[start..end];
            row[points[2]..].fill(Point::zero());
            for part in [Part::Re, Part::Im] {
                let mut at = [i, j, 0];
                if let Part::Im = part {
                    at[shape.folded] += points[shape.folded];
                }
                let mut rows = [Row::default(); L];
                for lane in 0..L {
                    rows[lane] = row_of(shape, lanes[lane].as_ref(), channel, at);
                }
                fill::<T, V, L>(shape, &rows, (input, outside), part, &mut row[..points[2]]);
            }
        }
    }
}

/// The row of a block at this point.
#[inline(always)]
fn row_of(shape: &Shape, lane: Option<&Lane>, channel: usize, at: [usize; 3]) -> Row {
    let mut row = Row { empty: true, ..Row::default() };
    let Some(lane) = lane else { return row };
    row.at = lane.at[2] + at[2];
    let [planes, rows, _] = &shape.axes;
    let plane = planes.source(shape.padding, lane.at[0] + at[0]);
    let (Some(i), Some(j)) = (plane, rows.source(shape.padding, lane.at[1] + at[1])) else {
        return row;
    };
    let strides = &shape.input;
    row.base = lane.image * strides.image
        + (lane.group * shape.in_channels + channel) * strides.channel
        + i * strides.axes[0]
        + j * strides.axes[1];
    row.empty = false;
    row
}

/// One row of every lane.
#[inline(always)]
fn fill<T: Real, V: Vector<T, L>, const L: usize>(
    shape: &Shape,
    rows: &[Row; L],
    (input, outside): (&[T], T),
    part: Part,
    to: &mut [Point<T, L>],
) {
    for (piece, to) in to.chunks_mut(L).enumerate() {
        let mut tile = [[outside; L]; L];
        for (lane, row) in rows.iter().enumerate() {
            if !row.empty {
                fill_piece(shape, (row.base, row.at + piece * L), input, &mut tile[lane]);
            }
        }
        turned::<T, V, L>(&mut tile);
        for (point, values) in to.iter_mut().zip(tile) {
            *point.part_mut(part) = values;
        }
    }
}

/// As many numbers as there are lanes of the row that begins at `base`, from position `at` of the
/// padded axis; what is there stays where nothing is read.
#[inline(always)]
fn fill_piece<T: Real, const L: usize>(
    shape: &Shape,
    (base, at): (usize, usize),
    input: &[T],
    to: &mut [T; L],
) {
    let (axis, apart) = (&shape.axes[2], shape.input.axes[2]);
    let behind = axis.pad_lo + axis.input;
    if at >= axis.pad_lo && at + L <= behind && apart == 1 {
        let from = base + at - axis.pad_lo;
        to.copy_from_slice(&input[from..from + L]);
        return;
    }
    for (k, to) in to.iter_mut().enumerate() {
        if let Some(from) = axis.source(shape.padding, at + k) {
            *to = input[base + from * apart];
        }
    }
}

/// Takes the outputs of channel `channel` of each lane's group out of the grid, `bias` added where
/// there is one for it. Whether all of them are finite.
///
/// # Safety
/// `output` has as many elements as the convolution's output, and nobody else reads or writes those
/// of these lanes.
#[inline(always)]
pub(super) unsafe fn store<T: Real, V: Vector<T, L>, const L: usize>(
    shape: &Shape,
    grid: &Grid<T>,
    lanes: &[Option<Lane>; L],
    (channel, bias): (usize, Option<&[T]>),
    (data, output): (&[Point<T, L>], *mut T),
) -> bool {
    let [planes, rows, columns] = &shape.axes;
    let half = grid.points()[shape.folded];
    let mut sum = [T::default(); L];
    for i in 0..planes.blocks.outputs.div_ceil(planes.stride) {
        for j in 0..rows.blocks.outputs.div_ceil(rows.stride) {
            let mut at = [i * planes.stride, j * rows.stride, 0];
            let imaginary = at[shape.folded] >= half;
            if imaginary {
                at[shape.folded] -= half;
            }
            let start = at[0] * grid.strides[0] + at[1] * grid.strides[1];
            let mut ends = [End::default(); L];
            for lane in 0..L {
                if let Some(block) = &lanes[lane] {
                    ends[lane] = End::of(shape, block, (channel, bias), [i, j]);
                }
            }
            for first in (0..columns.blocks.outputs.div_ceil(columns.stride)).step_by(L) {
                let mut tile = [[T::default(); L]; L];
                for k in 0..L {
                    let x = (first + k) * columns.stride;
                    let (x, part) = match imaginary {
                        true => (x, Part::Im),
                        false if shape.folded == 2 && x >= half => (x - half, Part::Im),
                        false => (x, Part::Re),
                    };
                    if x < grid.points()[2] {
                        tile[k] = *data[start + x].part(part);
                    }
                }
                turned::<T, V, L>(&mut tile);
                for lane in 0..L {
                    let End { to, count, bias } = ends[lane];
                    let count = count.saturating_sub(first).min(L);
                    let apart = shape.output.axes[2];
                    if count == 0 {
                        continue;
                    }
                    if let Some(bias) = bias {
                        tile[lane] = tile[lane].map(|x| x + bias);
                    }
                    if count == L {
                        for k in 0..L {
                            sum[k] = sum[k] + tile[lane][k] * T::default();
                        }
                    } else {
                        for k in 0..count {
                            sum[k] = sum[k] + tile[lane][k] * T::default();
                        }
                    }
                    // SAFETY: `End::of` has seen that the row's outputs lie in the output.
                    unsafe {
                        let to = output.add(to + first * apart);
                        if apart == 1 {
                            std::ptr::copy_nonoverlapping(tile[lane].as_ptr(), to, count);
                        } else {
                            (0..count).for_each(|k| to.add(k * apart).write(tile[lane][k]));
                        }
                    }
                }
            }
        }
    }
    // What is not finite times zero is NaN.
    sum.iter().all(|sum| *sum == T::default())
}

/// Where a row of outputs of a block goes, how many, and what is added to them.
#[derive(Clone, Copy, Default)]
struct End<T> {
    to: usize,
    count: usize,
    bias: Option<T>,
}

impl<T: Real> End<T> {
    #[inline(always)]
    fn of(
        shape: &Shape,
        block: &Lane,
        (channel, bias): (usize, Option<&[T]>),
        [i, j]: [usize; 2],
    ) -> End<T> {
        let [planes, rows, columns] = &shape.axes;
        let mut end = End { to: 0, count: 0, bias: None };
        if i >= planes.kept(block.at[0]) || j >= rows.kept(block.at[1]) {
            return end;
        }
        let channel = block.group * shape.out_channels + channel;
        end.to = block.image * shape.output.image
            + channel * shape.output.channel
            + (block.at[0] / planes.stride + i) * shape.output.axes[0]
            + (block.at[1] / rows.stride + j) * shape.output.axes[1]
            + block.at[2] / columns.stride * shape.output.axes[2];
        end.count = columns.kept(block.at[2]);
        if let Some(bias) = bias {
            end.bias = Some(bias[channel]);
        }
        let last = end.to + end.count.saturating_sub(1) * shape.output.axes[2];
        assert!(last < shape.images * shape.output.image, "fft: a row of outputs lies outside");
        end
    }
}
