//! `Conv` to the naive nest: the equation, word for word.
//!
//! ```text
//! for n, g, oc, oh, ow:
//!   acc = bias[g, oc]
//!   for ic, kh, kw:
//!     acc = fma(input[n, g, ic, oh + kh - 1, ow + kw - 1], weight[g, oc, ic, kh, kw], acc)
//!       when inside
//!   output[n, g, oc, oh, ow] = f16(activation(acc + residual[n, g, oc, oh, ow]))
//! ```
//!
//! Loads widen to the type of the sums; what is stored is rounded first, where the output is of
//! another type than the sums.
//!
//! Another [`Reduction`] has another update in the place of `fma`, and an average is divided by the
//! number of its elements: a constant, or a table for each axis where it depends on the position.
//!
//! gives: one chain of serial loops around one leaf without a tile; conditions and folds wherever
//! an index may leave the image. After this nobody looks at `Conv`.

mod divisor;
pub(crate) mod prelu;
mod requantise;
mod within;

use crate::conv::{Conv, EquationAxis, Extent, Layout, PaddingMode, Reduction, Size};
use crate::nest::{
    Access, Affine, AxisId, Binary, BufferId, BufferRole, Cond, Expr, Fold, Index, Leaf, Loop,
    LoopPath, Nest, Op, Part, Quotient, RegId, Register, Role, Symbol, SymbolId, Unary,
};
use divisor::Divisor;
pub use within::{Within, lower_within};

/// Where the channels stand in each of a convolution's arrays. A user's are all alike; what stays
/// inside a fused chain may be laid out as its readers like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layouts {
    /// Of the input.
    pub input: Layout,
    /// Of the residual.
    pub residual: Layout,
    /// Of the output.
    pub output: Layout,
    /// What stands between positions, where channels are last.
    pub gaps: Gaps,
}

/// Elements behind the channels of each position of an array that are nobody's: so many that
/// neighbouring positions are not in the same sets of a cache. For convolutions of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gaps {
    /// Of the input.
    pub input: usize,
    /// Of the residual.
    pub residual: usize,
    /// Of the output.
    pub output: usize,
}

impl Layouts {
    /// Those that the description says.
    pub fn of(conv: &Conv) -> Layouts {
        let layout = conv.spec().layout;
        Layouts::new(layout, layout, layout)
    }

    /// Layouts of arrays without gaps.
    pub fn new(input: Layout, residual: Layout, output: Layout) -> Layouts {
        Layouts { input, residual, output, gaps: Gaps::default() }
    }
}

/// The naive nest of a convolution.
pub fn lower(conv: &Conv) -> Nest {
    lower_as(conv, Layouts::of(conv))
}

/// The naive nest of a convolution whose arrays are laid out like this.
pub fn lower_as(conv: &Conv, layouts: Layouts) -> Nest {
    let nest = Nest::new(conv.dtype(), conv.rank());
    Lowering { conv, layouts, equation: conv.equation(), nest }.run()
}

struct Lowering<'a> {
    conv: &'a Conv,
    layouts: Layouts,
    equation: Vec<EquationAxis>,
    nest: Nest,
}

/// The axes of the naive nest.
struct Axes {
    n: AxisId,
    g: AxisId,
    oc: AxisId,
    ic: AxisId,
    out: Vec<AxisId>,
    kernel: Vec<AxisId>,
}

/// The buffers of the naive nest.
struct Buffers {
    input: BufferId,
    weight: Option<BufferId>,
    bias: Option<BufferId>,
    residual: Option<BufferId>,
    output: BufferId,
    /// Of an average: what it is divided by.
    divisor: Option<Divisor>,
    /// The slopes of prelu, by channel.
    slopes: Option<BufferId>,
    /// What requantises a sum, in order: an operation, and its second operand by channel.
    tables: Vec<(Binary, BufferId)>,
}

impl Lowering<'_> {
    fn run(mut self) -> Nest {
        let sizes = self.sizes();
        let axes = self.axes();
        let buffers = self.buffers(&sizes);
        self.known(&buffers);
        let leaf = self.leaf(&axes, &buffers, &sizes);
        let (groups, channels) =
            (self.conv.spec().groups as i64, self.conv.spec().out_channels as i64);
        let mut loops = vec![
            Loop::serial(axes.n, sizes.batch),
            Loop::serial(axes.g, groups),
            Loop::serial(axes.oc, channels / groups),
        ];
        loops.extend(
            axes.out.iter().zip(sizes.output).map(|(&axis, extent)| Loop::serial(axis, extent)),
        );
        self.nest.body = vec![LoopPath { loops, leaf }.into_stmt()];
        self.nest
    }

    fn axes(&mut self) -> Axes {
        let rank = self.equation.len();
        let mut axis = |role: Role| self.nest.add_axis(role.to_string(), role, Part::Whole);
        Axes {
            n: axis(Role::Batch),
            g: axis(Role::Group),
            oc: axis(Role::OutChannel),
            out: (0..rank).rev().map(|at| axis(Role::Out(at))).collect(),
            ic: axis(Role::InChannel),
            kernel: (0..rank).rev().map(|at| axis(Role::Kernel(at))).collect(),
        }
    }

    fn sizes(&mut self) -> Sizes {
        let spec = self.conv.spec();
        let inputs = self.equation.iter().enumerate();
        let inputs = inputs.map(|(at, axis)| (&axis.input, self.conv.least_input(at)));
        for (size, least) in std::iter::once((&spec.batch, 0)).chain(inputs) {
            if let Size::Free(name) = size {
                let (name, least) = (name.clone(), least as i64);
                self.nest.symbols.push(Symbol { name, value: None, least });
            }
        }
        let batch = self.size(&spec.batch);
        let input = self.equation.iter().map(|axis| self.size(&axis.input)).collect();
        let output = self.equation.iter().map(|axis| axis.output.clone()).collect::<Vec<_>>();
        let output = output.iter().map(|extent| self.extent(extent)).collect();
        Sizes { batch, input, output }
    }

    fn symbol(&self, name: &str) -> Affine {
        let at = self.nest.symbols.iter().position(|s| s.name == name);
        let at = at.expect("every free size of a description has its symbol");
        Affine::symbol(SymbolId(at as u32))
    }

    fn size(&self, size: &Size) -> Affine {
        match size {
            Size::Known(n) => Affine::constant(*n as i64),
            Size::Free(name) => self.symbol(name),
        }
    }

    fn extent(&mut self, extent: &Extent) -> Affine {
        match extent {
            Extent::Known(n) => Affine::constant(*n as i64),
            Extent::Derived { of, scale, add, div } => {
                let value =
                    Quotient::floor(self.symbol(of).times(*scale).plus_constant(*add), *div);
                self.nest.add_symbol(format!("out_{}", of.to_lowercase()), value)
            }
        }
    }

    fn buffers(&mut self, sizes: &Sizes) -> Buffers {
        let spec = self.conv.spec();
        let groups = spec.groups as i64;
        let (ic, oc) = (spec.in_channels as i64 / groups, spec.out_channels as i64 / groups);
        let kernel: Vec<Affine> = self.equation.iter().map(|axis| axis.kernel.into()).collect();
        let Layouts { gaps, .. } = self.layouts;
        let image = |(layout, gap): (Layout, usize), channels: i64, spatial: &[Affine]| {
            debug_assert!(gap == 0 || groups == 1 && layout == Layout::ChannelsLast);
            let channels = [groups.into(), (channels + gap as i64).into()];
            in_layout(layout, sizes.batch.clone(), channels, spatial.to_vec())
        };
        let (input, output) = (
            image((self.layouts.input, gaps.input), ic, &sizes.input),
            image((self.layouts.output, gaps.output), oc, &sizes.output),
        );
        let channels = if spec.transposed { [ic, oc] } else { [oc, ic] };
        let weight = [groups, channels[0], channels[1]].into_iter().map(Affine::constant);
        let weight = self.conv.has_weight().then(|| weight.chain(kernel).collect());
        let ones = vec![Affine::constant(1); sizes.output.len()];
        let added = if spec.scales() { &ones } else { &sizes.output };
        let residual =
            spec.residual.then(|| image((self.layouts.residual, gaps.residual), oc, added));
        let bias = spec.bias.then(|| vec![groups.into(), oc.into()]);
        let types = spec.types;
        let mut add = |role, extents, dtype| {
            let name = match role {
                BufferRole::Weight => "weight",
                BufferRole::Bias => "bias",
                BufferRole::Residual => "residual",
                BufferRole::Output => "output",
                _ => "input",
            };
            let id = self.nest.add_buffer(name, role, extents);
            self.nest.store_as(id, dtype);
            id
        };
        Buffers {
            input: add(BufferRole::Input, input, types.input),
            weight: weight.map(|extents| add(BufferRole::Weight, extents, types.weight)),
            bias: bias.map(|extents| add(BufferRole::Bias, extents, types.bias)),
            residual: residual.map(|extents| add(BufferRole::Residual, extents, types.output)),
            output: add(BufferRole::Output, output, types.output),
            divisor: self.divisor(),
            slopes: prelu::slopes(self.conv, &mut self.nest, &[groups, oc]),
            tables: self.tables(),
        }
    }

    /// Weights that are compiled in. They are numbers of their type, kept in the nest's.
    fn known(&mut self, buffers: &Buffers) {
        let Some(known) = self.conv.known() else { return };
        let dtype = self.nest.dtype;
        if let Some(weight) = buffers.weight {
            self.nest.buffers[weight.index()].values = Some(known.weight.clone());
            self.nest.store_as(weight, dtype);
        }
        if let (Some(bias), Some(values)) = (buffers.bias, &known.bias) {
            self.nest.buffers[bias.index()].values = Some(values.clone());
            self.nest.store_as(bias, dtype);
        }
    }

    fn leaf(&self, axes: &Axes, buffers: &Buffers, sizes: &Sizes) -> Leaf {
        let acc = RegId(0);
        let at = Affine::axis;
        let out = axes.out.iter().map(|&axis| at(axis)).collect::<Vec<_>>();
        let image = |layout| in_layout(layout, at(axes.n), [at(axes.g), at(axes.oc)], out.clone());
        let init = match buffers.bias {
            Some(bias) => Expr::Load(Access::buffer(bias, [at(axes.g), at(axes.oc)])),
            None => Expr::Const(self.conv.spec().reduction.start()),
        };
        let (input, when) = self.input(axes, buffers.input, sizes);
        let weight = buffers.weight.map(|weight| Expr::Load(self.weight(axes, weight)));
        let value = self.update(input, weight, Expr::Reg(acc));
        let divisor = buffers.divisor.as_ref().map(|divisor| divisor.at(&out));
        let store = Op::Store {
            to: Access::buffer(buffers.output, image(self.layouts.output)),
            value: {
                let layout = self.layouts.residual;
                // One number for each channel, wherever it is.
                let index = match self.conv.scales() {
                    true => {
                        let origin = vec![Affine::constant(0); out.len()];
                        in_layout(layout, at(axes.n), [at(axes.g), at(axes.oc)], origin)
                    }
                    false => image(layout),
                };
                let residual = buffers.residual.map(|residual| Access::buffer(residual, index));
                let slope = buffers
                    .slopes
                    .map(|slopes| Expr::Load(Access::buffer(slopes, [at(axes.g), at(axes.oc)])));
                let value = self.epilogue(acc, divisor, residual);
                let value = prelu::activated(self.conv, value, slope);
                self.narrowed(self.requantised(value, axes, &buffers.tables))
            },
            when: Vec::new(),
        };
        let kernel =
            axes.kernel.iter().zip(&self.equation).map(|(&axis, e)| Loop::serial(axis, e.kernel));
        let channels = (self.conv.spec().in_channels / self.conv.spec().groups) as i64;
        Leaf {
            name: "point".to_owned(),
            pointers: Vec::new(),
            ints: Vec::new(),
            tile: Vec::new(),
            lanes: None,
            registers: vec![Register { name: "acc".to_owned(), axes: Vec::new() }],
            init: vec![Op::set(acc, init)],
            reduce: std::iter::once(Loop::serial(axes.ic, channels)).chain(kernel).collect(),
            update: vec![Op::Set { reg: acc, value, when }],
            finish: vec![store],
        }
    }

    /// The accumulator with one more element. The element comes first, the accumulator last: where
    /// they are equal, or cannot be compared, it stays what it was; but one element alone is taken.
    fn update(&self, input: Expr, weight: Option<Expr>, acc: Expr) -> Expr {
        let two = |op, a, b| Expr::Binary(op, Box::new(a), Box::new(b));
        let (op, element) = match (self.conv.spec().reduction, weight) {
            (Reduction::Sum, Some(weight)) => {
                return Expr::Fma(Box::new(input), Box::new(weight), Box::new(acc));
            }
            (Reduction::Dilation, Some(weight)) => (Binary::Max, two(Binary::Add, input, weight)),
            (Reduction::Erosion, Some(weight)) => (Binary::Min, two(Binary::Sub, input, weight)),
            // A NaN is the second operand, which passes.
            (Reduction::Max, _) if self.conv.takes_one() => return two(Binary::Max, acc, input),
            (Reduction::Min, _) if self.conv.takes_one() => return two(Binary::Min, acc, input),
            (Reduction::Max, _) => (Binary::Max, input),
            (Reduction::Min, _) => (Binary::Min, input),
            (Reduction::Average { .. }, _) => (Binary::Add, input),
            (Reduction::Sum | Reduction::Dilation | Reduction::Erosion, None) => {
                unreachable!("lower: {} has a weight", self.conv)
            }
        };
        two(op, element, acc)
    }

    fn weight(&self, axes: &Axes, weight: BufferId) -> Access {
        let at = Affine::axis;
        let channels =
            if self.conv.spec().transposed { [axes.ic, axes.oc] } else { [axes.oc, axes.ic] };
        let taps = axes.kernel.iter().zip(&self.equation).map(|(&axis, e)| match e.flip {
            true => at(axis).times(-1).plus_constant(e.kernel - 1),
            false => at(axis),
        });
        Access::buffer(
            weight,
            [at(axes.g), at(channels[0]), at(channels[1])].into_iter().chain(taps),
        )
    }

    /// The input under the window, and when it counts at all.
    fn input(&self, axes: &Axes, input: BufferId, sizes: &Sizes) -> (Expr, Vec<Cond>) {
        let mode = self.conv.spec().padding_mode;
        let (mut spatial, mut inside) = (Vec::new(), Vec::new());
        for (at, e) in self.equation.iter().enumerate() {
            let position = Affine::axis(axes.out[at])
                .times(e.stride)
                .plus(&Affine::axis(axes.kernel[at]).times(e.dilation))
                .plus_constant(-e.pad_lo);
            let conditions = range(e, &position, &sizes.input[at], &sizes.output[at]);
            spatial.push(match fold(mode) {
                Some(fold) if !conditions.is_empty() => Index::Folded {
                    index: position,
                    extent: Box::new(sizes.input[at].clone()),
                    fold,
                    pixel: 1,
                },
                _ if e.lhs_dilation > 1 => {
                    Index::Quotient(Quotient::floor(position, e.lhs_dilation))
                }
                _ => Index::Affine(position),
            });
            inside.extend(conditions);
        }
        let channels = [Affine::axis(axes.g).into(), Affine::axis(axes.ic).into()];
        let index = in_layout(self.layouts.input, Affine::axis(axes.n).into(), channels, spatial);
        let load = Expr::Load(Access { base: crate::nest::Base::Buffer(input), index });
        match mode {
            PaddingMode::Zeros => (load, inside),
            PaddingMode::Constant(value) if !inside.is_empty() => {
                let (then, otherwise) = (Box::new(load), Box::new(Expr::Const(value)));
                (Expr::Select { when: inside, then, otherwise }, Vec::new())
            }
            _ => (load, Vec::new()),
        }
    }

    fn epilogue(&self, acc: RegId, divisor: Option<Expr>, residual: Option<Access>) -> Expr {
        let mut value = Expr::Reg(acc);
        if let Some(divisor) = divisor {
            value = Expr::Binary(Binary::Div, Box::new(value), Box::new(divisor));
        }
        if let Some(residual) = residual {
            let op = if self.conv.spec().multiplies() { Binary::Mul } else { Binary::Add };
            value = Expr::Binary(op, Box::new(value), Box::new(Expr::Load(residual)));
        }
        value
    }

    /// Rounded to the type of the output.
    fn narrowed(&self, value: Expr) -> Expr {
        match self.conv.types().output {
            output if output == self.nest.dtype => value,
            output => Expr::Unary(Unary::To(output), Box::new(value)),
        }
    }
}

/// Dimensions of an image.
fn in_layout<T>(layout: Layout, batch: T, channels: [T; 2], spatial: Vec<T>) -> Vec<T> {
    let channels = channels.into_iter();
    match layout {
        Layout::ChannelsFirst => std::iter::once(batch).chain(channels).chain(spatial).collect(),
        Layout::ChannelsLast => std::iter::once(batch).chain(spatial).chain(channels).collect(),
    }
}

struct Sizes {
    batch: Affine,
    input: Vec<Affine>,
    output: Vec<Affine>,
}

/// What brings an index outside the input back; `None` where nothing of it is read there.
pub(crate) fn fold(mode: PaddingMode) -> Option<Fold> {
    match mode {
        PaddingMode::Zeros | PaddingMode::Constant(_) => None,
        PaddingMode::Reflect => Some(Fold::Reflect),
        PaddingMode::Symmetric => Some(Fold::Symmetric),
        PaddingMode::Replicate => Some(Fold::Replicate),
        PaddingMode::Circular => Some(Fold::Circular),
    }
}

/// The conditions under which `position` (in the lhs-dilated input) is an element of the input;
/// none that always hold.
fn range(e: &EquationAxis, position: &Affine, input: &Affine, output: &Affine) -> Vec<Cond> {
    let last = input.plus_constant(-1).times(e.lhs_dilation);
    let highest = output
        .plus_constant(-1)
        .times(e.stride)
        .plus_constant((e.kernel - 1) * e.dilation - e.pad_lo);
    let mut conditions = Vec::new();
    if e.lhs_dilation > 1 {
        conditions.push(Cond::Divides(e.lhs_dilation, position.clone()));
    }
    if e.pad_lo > 0 {
        conditions.push(Cond::NonNegative(position.clone()));
    }
    if last.minus(&highest).as_constant().is_none_or(|slack| slack < 0) {
        conditions.push(Cond::NonNegative(last.minus(position)));
    }
    conditions
}
