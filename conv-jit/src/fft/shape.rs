//! A convolution in blocks, in numbers: three axes, the outer ones of length 1 where there are
//! fewer.

use conv_ir::conv::EquationAxis;
use conv_ir::fft::{BlockAxis, Blocks};
use conv_ir::nest::Fold;
use conv_ir::{Conv, Layout, PaddingMode};

use super::transform::{Grid, Point};

/// What a run must know of the convolution and its blocks.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub images: usize,
    pub groups: usize,
    /// Of a group.
    pub in_channels: usize,
    pub out_channels: usize,
    /// The axis whose second half is the imaginary part: the outermost of the convolution.
    pub folded: usize,
    pub axes: [AxisShape; 3],
    pub input: Strides,
    pub output: Strides,
    pub padding: PaddingMode,
    /// The channels of a block stand in the lanes; else blocks of a group.
    pub by_channel: bool,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxisShape {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub pad_lo: usize,
    pub flip: bool,
    pub blocks: BlockAxis,
}

/// How far apart things lie in an array, in elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strides {
    pub image: usize,
    pub channel: usize,
    pub axes: [usize; 3],
}

impl Strides {
    fn of(layout: Layout, channels: usize, extents: [usize; 3]) -> Strides {
        let [_, rows, columns] = extents;
        let volume: usize = extents.iter().product();
        let (apart, channel) = match layout {
            Layout::ChannelsFirst => (1, volume),
            Layout::ChannelsLast => (channels, 1),
        };
        let axes = [rows * columns * apart, columns * apart, apart];
        Strides { image: channels * volume, channel, axes }
    }
}

const ABSENT: AxisShape = AxisShape {
    input: 1,
    output: 1,
    kernel: 1,
    stride: 1,
    dilation: 1,
    pad_lo: 0,
    flip: false,
    blocks: BlockAxis { points: 1, outputs: 1, blocks: 1 },
};

impl Shape {
    /// Of what [`conv_ir::fft::choose`] has found blocks for, `lanes` of them side by side.
    pub fn new(conv: &Conv, blocks: &Blocks, lanes: usize) -> Shape {
        let spec = conv.spec();
        let known = "fft: a size of what has blocks is not known";
        let folded = 3 - conv.rank();
        let mut axes = [ABSENT; 3];
        for (at, (axis, blocks)) in conv.equation().iter().zip(blocks.axes()).enumerate() {
            axes[folded + at] = AxisShape::of(axis, *blocks).expect(known);
        }
        let images = spec.batch.known().expect(known);
        let (in_channels, out_channels) =
            (conv.in_channels_per_group(), conv.out_channels_per_group());
        let items = images * blocks.count();
        let by_block = spec.groups * items.div_ceil(lanes);
        let by_channel = items * spec.groups.div_ceil(lanes);
        Shape {
            images,
            groups: spec.groups,
            in_channels,
            out_channels,
            folded,
            input: Strides::of(spec.layout, spec.in_channels, axes.map(|axis| axis.input)),
            output: Strides::of(spec.layout, spec.out_channels, axes.map(|axis| axis.output)),
            axes,
            padding: spec.padding_mode,
            by_channel: (in_channels, out_channels) == (1, 1) && by_channel < by_block,
        }
    }

    /// Complex points of a block by axis.
    pub fn points(&self) -> [usize; 3] {
        [0, 1, 2].map(|at| self.axes[at].blocks.points / if at == self.folded { 2 } else { 1 })
    }

    /// Blocks of all images.
    pub fn items(&self) -> usize {
        self.images * self.axes.iter().map(|axis| axis.blocks.blocks).product::<usize>()
    }

    /// Pieces of work, each as many blocks as there are lanes.
    pub fn units(&self, lanes: usize) -> usize {
        match self.by_channel {
            true => self.items() * self.groups.div_ceil(lanes),
            false => self.groups * self.items().div_ceil(lanes),
        }
    }

    /// What stands in the lanes of a unit: first the group of all, where they share it.
    pub fn lanes<const L: usize>(&self, unit: usize) -> [Option<Lane>; L] {
        let items = self.items();
        std::array::from_fn(|lane| {
            let (item, group) = match self.by_channel {
                true => (unit % items, unit / items * L + lane),
                false => {
                    let per_group = items.div_ceil(L);
                    (unit % per_group * L + lane, unit / per_group)
                }
            };
            (item < items && group < self.groups).then(|| self.lane(item, group))
        })
    }

    /// A block of all images, of a group's channels.
    fn lane(&self, item: usize, group: usize) -> Lane {
        let [_, rows, columns] = self.axes.map(|axis| axis.blocks.blocks);
        let volume: usize = self.axes.iter().map(|axis| axis.blocks.blocks).product();
        let (image, block) = (item / volume, item % volume);
        let block = [block / (rows * columns), block / columns % rows, block % columns];
        Lane { image, group, at: [0, 1, 2].map(|at| block[at] * self.axes[at].blocks.outputs) }
    }
}

/// A block: its image, its group and its first position of the window along each axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub image: usize,
    pub group: usize,
    pub at: [usize; 3],
}

impl AxisShape {
    fn of(axis: &EquationAxis, blocks: BlockAxis) -> Option<AxisShape> {
        let number = |n: i64| usize::try_from(n).ok();
        Some(AxisShape {
            input: axis.input.known()?,
            output: axis.output.known()?,
            kernel: number(axis.kernel)?,
            stride: number(axis.stride)?,
            dilation: number(axis.dilation)?,
            pad_lo: number(axis.pad_lo)?,
            flip: axis.flip,
            blocks,
        })
    }

    /// The input that position `at` of the padded axis reads, if it is one.
    #[inline(always)]
    pub fn source(&self, padding: PaddingMode, at: usize) -> Option<usize> {
        let (index, n) = (at as i64 - self.pad_lo as i64, self.input as i64);
        if (0..n).contains(&index) {
            return Some(index as usize);
        }
        let fold = match padding {
            PaddingMode::Replicate => Fold::Replicate,
            PaddingMode::Circular => Fold::Circular,
            PaddingMode::Symmetric => Fold::Symmetric,
            PaddingMode::Reflect => Fold::Reflect,
            _ => return None,
        };
        Some(fold.apply(index, n) as usize)
    }

    /// Outputs of a block that begins at position `at`.
    pub fn kept(&self, at: usize) -> usize {
        let first = at / self.stride;
        self.blocks.outputs.div_ceil(self.stride).min(self.output.saturating_sub(first))
    }
}

impl Shape {
    /// Puts the window of a pair of channels where its product with a block is their correlation:
    /// tap `k` at `-k`, which is `n - k` with another sign on the folded axis.
    pub fn place<const L: usize>(
        &self,
        grid: &Grid<f64>,
        weight: &dyn Fn(usize) -> f64,
        pair: usize,
        lane: usize,
        data: &mut [Point<f64, L>],
    ) {
        let [planes, rows, columns] = self.axes.map(|axis| axis.kernel);
        let taps = planes * rows * columns;
        let half = grid.points()[self.folded];
        for tap in 0..taps {
            let ks = [tap / (rows * columns), tap / columns % rows, tap % columns];
            let (mut at, mut own) = (0, 0);
            let (mut sign, mut imaginary) = (1.0, false);
            for (which, (axis, k)) in self.axes.iter().zip(ks).enumerate() {
                let n = axis.blocks.points;
                let mut place = (n - k * axis.dilation) % n;
                if which == self.folded {
                    sign = if place > 0 { -1.0 } else { 1.0 };
                    imaginary = place >= half;
                    place -= if imaginary { half } else { 0 };
                }
                at += place * grid.strides[which];
                own = own * axis.kernel + if axis.flip { axis.kernel - 1 - k } else { k };
            }
            let value = sign * weight(pair * taps + own);
            let point = &mut data[at];
            *if imaginary { &mut point.im[lane] } else { &mut point.re[lane] } = value;
        }
    }
}
