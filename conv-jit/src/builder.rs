//! The builder: a program said in PyTorch's words, step by step.
//!
//! Parameters per axis are one number for all axes or an array, outermost axis first. What is said
//! is said about the step before it; batch, element type, layout and options are the whole
//! program's. Channels and sizes follow from step to step. Nothing is checked before
//! [`Builder::describe`] or [`Builder::compile`], which report every broken rule at once.

mod graph;
mod pools;
mod starts;
mod words;

use conv_ir::conv::Given;
use conv_ir::program::{Step, of_step, read_behind};
use conv_ir::{Conv, ConvSpec, Error as IrError, Issue, PerAxis, Program, Size};

use crate::Error;
use crate::compiled::Compiled;
use crate::options::Options;
pub use graph::{Graph, Tensor, graph};
pub use starts::{
    chain, conv_nd, conv_transpose_nd, conv_transpose1d, conv_transpose2d, conv_transpose3d,
    conv1d, conv2d, conv3d,
};

/// A program being described. A step begins with one of the functions of this module, or with
/// [`conv`](Self::conv), [`depthwise`](Self::depthwise), [`pointwise`](Self::pointwise) or a pool
/// ([`max_pool`](Self::max_pool), [`avg_pool`](Self::avg_pool), ..).
///
/// ```
/// let builder = conv_jit::conv2d(3, 8, [3, 1]).input([16, 20]).stride([2, 1]).padding([1, 0]);
/// assert_eq!(builder.describe()?.output_shape(), [1, 8, 8, 20]);
/// // Every broken rule is told at once.
/// let error = builder.groups(2).dilation(0).compile().unwrap_err().to_string();
/// assert!(error.contains("groups") && error.contains("dilation"), "{error}");
/// # Ok::<(), conv_jit::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `compile`"]
pub struct Builder {
    /// Of the input: channels, extents, batch, type and layout.
    start: ConvSpec,
    steps: Vec<Said>,
    /// What the next step reads; none: the tensor before it.
    next: Vec<usize>,
    /// The tensors that a run gives; none: the last step's.
    outputs: Vec<usize>,
    /// Words that say nothing where they stand, and why.
    misplaced: Vec<(&'static str, &'static str)>,
    pub(crate) options: Options,
}

/// What is said of one step.
#[derive(Clone, Debug)]
struct Said {
    spec: ConvSpec,
    from: Vec<usize>,
    residual: Residual,
    weight: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
    /// The window is the whole input.
    global: bool,
    /// It is an input.
    declared: Option<Declared>,
    /// The window is of ones.
    repeats: bool,
    /// Of average pooling, where it was said.
    count_include_pad: Option<bool>,
}

/// An input of the program.
#[derive(Clone, Debug)]
enum Declared {
    /// That which the builder began with.
    First,
    /// Of these extents.
    Of(Vec<Size>),
}

/// A tensor of the output's shape that a step adds before its activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// None.
    #[default]
    None,
    /// The caller's, given for each run.
    Outside,
    /// A tensor of the program: 0 is its input, `k` the output of the `k`-th step.
    Tensor(usize),
}

impl From<bool> for Residual {
    fn from(outside: bool) -> Self {
        if outside { Residual::Outside } else { Residual::None }
    }
}

impl From<usize> for Residual {
    fn from(tensor: usize) -> Self {
        Residual::Tensor(tensor)
    }
}

/// One number stands for a cube. An array of another length than `rank` is kept, for the rules to
/// report.
fn window(rank: usize, kernel: PerAxis<usize>) -> Vec<usize> {
    match kernel {
        PerAxis::All(size) => vec![size; rank],
        PerAxis::Each(sizes) => sizes,
    }
}

/// Steps.
impl Builder {
    /// The next step: a convolution to so many channels, with this window.
    pub fn conv(self, out_channels: usize, kernel: impl Into<PerAxis<usize>>) -> Self {
        let windows = self.steps.iter().rev().filter(|step| step.declared.is_none());
        let rank = windows.map(|step| step.spec.kernel.len()).next();
        let rank = rank.unwrap_or(self.start.input.len());
        self.step(out_channels, window(rank, kernel.into()))
    }

    /// The next step: each channel by itself, with this window.
    pub fn depthwise(self, kernel: impl Into<PerAxis<usize>>) -> Self {
        let channels = self.channels();
        self.conv(channels, kernel).groups(channels)
    }

    /// The next step: 1x1 to so many channels.
    pub fn pointwise(self, out_channels: usize) -> Self {
        self.conv(out_channels, 1)
    }

    /// The next step: a linear layer, which sees the whole input of an image. Its weight is
    /// `[out_channels, in_channels * extents]` in the order of a flattened input.
    ///
    /// ```
    /// let classifier = conv_jit::chain(2, [2, 2]).linear(1).compile()?;
    /// let classifier = classifier.pack(&[1.0f32, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 10.0], None)?;
    /// let mut output = [0.0];
    /// classifier.run(&[1.0; 8], &mut output)?;
    /// assert_eq!(output, [20.0]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn linear(self, out_channels: usize) -> Self {
        self.conv(out_channels, 1).said("kernel", |step| step.global = true)
    }

    /// The next step: each element is repeated so often along each axis.
    ///
    /// ```
    /// let twice = conv_jit::chain(1, [1, 2]).upsample_nearest(2).compile()?.ready::<f32>()?;
    /// let mut output = [0.0; 8];
    /// twice.run(&[3.0, 4.0], &mut output)?;
    /// assert_eq!(output, [3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn upsample_nearest(self, scale: impl Into<PerAxis<usize>>) -> Self {
        let scale = scale.into();
        let step = self.depthwise(scale.clone()).stride(scale).transposed(true);
        step.said("scale", |step| step.repeats = true)
    }

    /// An input of the program behind the first: a tensor that the caller gives, with a number of
    /// its own, as a step's output has. Batch, type and layout are the program's.
    ///
    /// ```
    /// // The second input, which is tensor 1, is joined to what the third step gives.
    /// let net = conv_jit::chain(3, [8, 8])
    ///     .conv(4, 3).padding(1)
    ///     .input_of(2, [8, 8])
    ///     .from([1, 2]).pointwise(5);
    /// let program = net.describe()?;
    /// assert_eq!(program.inputs(), [0, 2]);
    /// assert_eq!(program.input_shape(), [1, 3, 8, 8]);
    /// # Ok::<(), conv_jit::Error>(())
    /// ```
    pub fn input_of<S: Into<Size>>(
        mut self,
        channels: usize,
        extents: impl IntoIterator<Item = S>,
    ) -> Self {
        if !self.next.is_empty() {
            self.misplaced.push(("from", "said before an input, which reads nothing"));
            self.next.clear();
        }
        if self.steps.is_empty() {
            let channels = self.start.in_channels;
            self = self.declare(channels, Declared::First);
        }
        let extents = extents.into_iter().map(Into::into).collect();
        self.declare(channels, Declared::Of(extents))
    }

    fn declare(self, channels: usize, declared: Declared) -> Self {
        let mut builder = self.step(channels, Vec::new());
        if let Some(said) = builder.steps.last_mut() {
            said.spec.in_channels = channels;
            said.declared = Some(declared);
        }
        builder
    }

    fn step(mut self, out_channels: usize, kernel: Vec<usize>) -> Self {
        let in_channels = self.channels();
        let from = std::mem::take(&mut self.next);
        let spec = ConvSpec { in_channels, out_channels, ..ConvSpec::new([], kernel) };
        self.steps.push(Said {
            spec,
            from,
            residual: Residual::None,
            weight: None,
            bias: None,
            global: false,
            declared: None,
            repeats: false,
            count_include_pad: None,
        });
        self
    }

    /// Those that the next step takes.
    fn channels(&self) -> usize {
        let of = |tensor: usize| match tensor.checked_sub(1).map(|at| self.steps.get(at)) {
            Some(step) => step.map_or(0, |step| step.spec.out_channels),
            None => self.start.in_channels,
        };
        match &self.next[..] {
            [] => of(self.steps.len()),
            // Too many are reported when it is described.
            from => from.iter().fold(0, |sum, &tensor| sum.saturating_add(of(tensor))),
        }
    }
}

/// What comes of it.
impl Builder {
    /// The checked description.
    ///
    /// # Errors
    /// [`Error::Conv`] with every broken rule of the first step that breaks one, of the edges
    /// between steps, or with the words that stand before the first step.
    pub fn describe(&self) -> Result<Program, Error> {
        let behind = [("from", "said behind the last step, but it is about the next one")];
        let behind = behind.iter().filter(|_| !self.next.is_empty());
        let misplaced = self.misplaced.iter().chain(behind).map(|&(field, message)| Issue {
            field,
            axis: None,
            rank: 0,
            message: message.to_owned(),
        });
        let misplaced: Vec<Issue> = misplaced.collect();
        if !misplaced.is_empty() {
            return Err(IrError::Invalid(misplaced).into());
        }
        if self.start.input.is_empty() {
            let message =
                "its extents are missing: say `.input([height, width])`, or names".to_owned();
            let issue = Issue { field: "input", axis: None, rank: 0, message };
            return Err(IrError::Invalid(vec![issue]).into());
        }
        let mut steps: Vec<Step> = Vec::with_capacity(self.steps.len());
        for said in &self.steps {
            let number = steps.len() + 1;
            if let Some(declared) = &said.declared {
                let declared = self.declared(said, declared);
                steps.push(declared.map_err(|error| of_step(number, error))?);
                continue;
            }
            let conv = self.checked(said, &steps);
            let conv = conv.map_err(|error| match self.steps.len() {
                1 => error,
                _ => of_step(number, error),
            })?;
            let residual = match said.residual {
                Residual::Tensor(from) => Some(from),
                Residual::None | Residual::Outside => None,
            };
            steps.push(Step { from: said.from.clone(), residual, ..conv.into() });
        }
        let last = vec![steps.len()];
        let outputs = if self.outputs.is_empty() { last } else { self.outputs.clone() };
        Ok(Program::giving(steps, outputs)?)
    }

    /// An input.
    fn declared(&self, said: &Said, declared: &Declared) -> Result<Step, IrError> {
        let ConvSpec { types, layout, ref batch, .. } = self.start;
        let extents = match declared {
            Declared::First => self.start.input.clone(),
            Declared::Of(extents) => extents.clone(),
        };
        let channels = said.spec.in_channels;
        let plain = ConvSpec::new([], []);
        let plain = ConvSpec { in_channels: channels, out_channels: channels, ..plain };
        if said.spec != plain || said.weight.is_some() || said.bias.is_some() {
            let message = "an input computes nothing: words of a step say nothing of it".to_owned();
            let issue = Issue { field: "input", axis: None, rank: 0, message };
            return Err(IrError::Invalid(vec![issue]));
        }
        let batch = batch.clone();
        Step::input(Given { types, layout, batch, channels, extents })
    }

    /// A step behind others.
    fn checked(&self, said: &Said, before: &[Step]) -> Result<Conv, IrError> {
        let ConvSpec { types, layout, ref batch, ref input, .. } = self.start;
        let batch = batch.clone();
        let (types, input) = match before {
            [] => (types, input.clone()),
            steps => {
                let read = read_behind(steps, &said.from)?;
                (read.types, read.extents)
            }
        };
        let spec = ConvSpec { types, layout, batch, input, ..said.spec.clone() };
        let conv = Conv::new(said.pooled(spec)?)?;
        match (&said.weight, &said.bias) {
            (None, None) if said.repeats => conv.with_ones(),
            (None, None) => Ok(conv),
            (weight, bias) => {
                conv.with_weights(weight.as_deref().unwrap_or_default(), bias.as_deref())
            }
        }
    }

    /// Machine code.
    ///
    /// # Errors
    /// As [`describe`](Self::describe) and [`Compiled::new`].
    pub fn compile(&self) -> Result<Compiled, Error> {
        Compiled::new(self.describe()?, self.options.clone())
    }
}
