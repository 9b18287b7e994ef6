//! A convolution on the command line: its text form, a benchdnn problem string, or flags.

use clap::{ArgAction, Args};
use conv_ir::{
    Activation, Conv, ConvSpec, DType, Layout, Padding, PerAxis, Program, Reduction, Size,
};

use crate::failure::Failure;
use crate::values::{self, Extents, Outside};

/// The text form, for `--help`.
pub const GRAMMAR: &str = "\
The text form of a convolution:
  conv2d in 224x224 kernel 7x7 stride 2 pad 3 ic3 oc64 + bias, relu
  HEAD CLAUSE.. [+ bias] [+ residual] [, ACTIVATION] [, REQUANTISE], the clauses in any order
  HEAD        conv1d .. conv8d, conv2d-transposed (also conv_transpose2d, deconv2d); maxpool2d, minpool2d, avgpool2d, and
              global_maxpool2d, global_avgpool2d over the whole input; dilation2d, erosion2d by a structuring element;
              linear, which sees the whole input; upsample_nearest2d scale LIST, which repeats each element
  CLAUSE      in SIZES, kernel SIZES; and if need be
              f32, f64, f16, bf16, or integers: u8 x i8 -> u8; nchw, nhwc, .., channels-first or channels-last; nN, gN, icN, ocN (also batch N, groups N, in_channels N, out_channels N)
              stride LIST, dilation LIST, out_pad LIST (also output_padding) or output_size LIST of transposed ones; flip
              pad LIST (also padding), each entry N or BEFORE:AFTER; or valid, same, same-upper, same-lower, full, causal
              of pools and their like also ceil_mode, and of averages count_include_pad
              mode MODE (also padding_mode): zeros, constant(V), reflect, symmetric, replicate, circular
  SIZES       56x56, or 56 for all axes; a name in capitals is known only at run time
  LIST        1x2 or 1,2, or 1 for all axes
  ACTIVATION  relu, relu6, leaky_relu(S), clamp(LO,HI), sigmoid, tanh, silu, gelu, hardswish, hardsigmoid, elu(A), softplus, mish,
              prelu(S[,S..]) (a slope for each output channel)
  REQUANTISE  requantise ROUNDING scale S[,S..] [zero_point Z], of integers: onnx, xnnpack-f32, tflite-double,
              tflite-single; a scale for all output channels, or one each
  Steps       step; step; .., where a step takes over what it does not say, and '+ residual from N' adds the output of step N (0 is the input);
              'from 1,2' of a step reads those outputs joined along the channels; a last 'outputs 2,5' says what a run gives";

/// The parameters that do not follow from the shapes of arrays.
#[derive(Args, Debug, Default, PartialEq)]
pub struct Parameters {
    /// Step of the window (transposed: of the output), per axis
    #[arg(long, value_name = "N[,N..]", allow_negative_numbers = true)]
    stride: Option<PerAxis<usize>>,
    /// Padding per axis, before:after; or valid, same, same-upper, same-lower, full, causal
    #[arg(long, visible_alias = "pad", value_name = "P[,LO:HI..]", allow_negative_numbers = true)]
    padding: Option<Padding>,
    /// What lies outside the input. Zeros are skipped, not multiplied: a weight over them has no
    /// effect, were it infinite or NaN
    #[arg(long, visible_alias = "mode", value_name = "MODE", value_enum, default_value_t = Outside::Zeros)]
    padding_mode: Outside,
    /// The value for --padding-mode constant
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    padding_value: Option<f64>,
    /// Distance between taps, 1 = none
    #[arg(long, value_name = "N[,N..]", allow_negative_numbers = true)]
    dilation: Option<PerAxis<usize>>,
    /// Groups; depthwise is as many as input channels [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    groups: Option<usize>,
    /// The transposed convolution, also called deconvolution
    #[arg(long)]
    pub transposed: bool,
    /// Transposed only: extra outputs at the end of each axis
    #[arg(long, visible_alias = "out-pad", value_name = "N[,N..]", allow_negative_numbers = true)]
    output_padding: Option<PerAxis<usize>>,
    /// Transposed only, in the place of --output-padding: the extents of the output
    #[arg(
        long,
        value_name = "HxW",
        allow_negative_numbers = true,
        conflicts_with = "output_padding"
    )]
    output_size: Option<PerAxis<usize>>,
    /// What is made of a window: sum, max, min, average, dilation or erosion
    #[arg(long, value_name = "WORD", default_value = "sum", value_parser = values::reduction)]
    reduction: Reduction,
    /// Pools: the last window may hang over the end
    #[arg(long)]
    ceil_mode: bool,
    /// Average pooling: padding counts
    #[arg(long)]
    count_include_pad: bool,
    /// True convolution: the window is reversed
    #[arg(long)]
    flip: bool,
    /// Applied last: relu, relu6, leaky_relu(0.01), clamp(0,1), sigmoid, tanh, silu, gelu,
    /// hardswish, hardsigmoid, elu(1), softplus, mish, prelu(0.25,0.1) (a slope for each output
    /// channel)
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// Where the channels stand in input and output: nchw or nhwc (also ncw, ncdhw, channels-last,
    /// ..)
    #[arg(long, value_name = "LAYOUT", default_value = "nchw")]
    layout: Layout,
}

impl Parameters {
    /// Where the channels stand.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// 1 where nothing was said.
    pub fn groups(&self) -> usize {
        self.groups.unwrap_or(1)
    }

    /// The convolution of `spec` with these parameters.
    pub fn conv(&self, spec: ConvSpec) -> Result<Conv, Failure> {
        let reduction = match (self.reduction, self.count_include_pad) {
            (Reduction::Average { .. }, true) => Reduction::Average { count_include_pad: true },
            (other, false) => other,
            (_, true) => {
                let message = "--count-include-pad is about --reduction average";
                return Err(Failure::usage(message));
            }
        };
        // Of pools and their like, each channel by itself is the rule.
        let groups = match reduction {
            Reduction::Sum => 1,
            _ => spec.in_channels,
        };
        let conv = Conv::new(ConvSpec {
            layout: self.layout(),
            reduction,
            ceil_mode: self.ceil_mode,
            groups: self.groups.unwrap_or(groups),
            stride: self.stride.clone().unwrap_or(1.into()),
            padding: self.padding.clone().unwrap_or(Padding::Valid),
            dilation: self.dilation.clone().unwrap_or(1.into()),
            padding_mode: self
                .padding_mode
                .with_value(self.padding_value)
                .map_err(Failure::Usage)?,
            output_padding: self.output_padding.clone().unwrap_or(0.into()),
            transposed: self.transposed,
            flip: self.flip,
            activation: self.activation.clone(),
            ..spec
        })?;
        Ok(match &self.output_size {
            None => conv,
            Some(PerAxis::All(all)) => conv.with_output_size(&vec![*all; conv.rank()])?,
            Some(PerAxis::Each(each)) => conv.with_output_size(each)?,
        })
    }
}

/// The rest of a description, for commands without arrays.
#[derive(Args, Debug, Default, PartialEq)]
pub struct Sizes {
    /// Input extents, as in 224x224; a name in capitals is known only at run time
    #[arg(long, value_name = "HxW", allow_negative_numbers = true, value_parser = values::extents)]
    size: Option<Extents>,
    /// Window size, as in 3 or 3x3
    #[arg(long, alias = "kernel-size", value_name = "KxK", allow_negative_numbers = true)]
    kernel: Option<PerAxis<usize>>,
    /// Input channels over all groups [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    in_channels: Option<usize>,
    /// Output channels over all groups [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    out_channels: Option<usize>,
    /// Images [default: 1]
    #[arg(long, value_name = "N", value_parser = values::size, allow_negative_numbers = true)]
    batch: Option<Size>,
    /// Element type, such as f64 or f16 [default: f32]
    #[arg(long = "type", value_name = "TYPE")]
    dtype: Option<DType>,
    /// A bias per output channel is added
    #[arg(long, action = ArgAction::SetTrue)]
    bias: bool,
    /// A tensor of the output's shape is added before the activation
    #[arg(long, action = ArgAction::SetTrue)]
    residual: bool,
}

/// One convolution, or several in a row, or flags for one.
#[derive(Args, Debug)]
pub struct Description {
    /// The text form (in quotes) or a benchdnn problem string such as g32ic64ih56oc64oh56kh3ph1
    #[arg(value_name = "DESCRIPTION")]
    texts: Vec<String>,
    #[command(flatten, next_help_heading = "Instead of DESCRIPTION")]
    sizes: Sizes,
    #[command(flatten)]
    parameters: Parameters,
}

/// The program that a text is: one convolution (a benchdnn problem string too), or steps in a row.
/// Only steps are separated by `;` or lines, or say where a residual is from.
pub fn program(text: &str) -> Result<Program, Failure> {
    match text.trim().contains([';', '\n']) || text.contains(" from ") {
        true => Ok(text.parse()?),
        false => Ok(text.parse::<Conv>()?.into()),
    }
}

/// The program that several texts are: each of them a step, or steps.
pub fn joined(texts: &[String]) -> Result<Program, Failure> {
    program(&texts.join("\n")).map_err(|error| {
        let is_cut = texts.len() > 1 && !texts.iter().any(|text| text.contains(' '));
        let hint = if is_cut { ": a text form with spaces needs quotes" } else { "" };
        Failure::usage(format!("{error}{hint}"))
    })
}

impl Description {
    /// What was described, by texts or by flags.
    pub fn program(&self) -> Result<Program, Failure> {
        if self.texts.is_empty() {
            return Ok(self.flags()?.into());
        }
        self.only_texts()?;
        joined(&self.texts)
    }

    /// Several convolutions that need not follow each other.
    pub fn stack(&self) -> Result<Vec<Conv>, Failure> {
        self.only_texts()?;
        self.texts.iter().map(|text| Ok(text.parse()?)).collect()
    }

    fn only_texts(&self) -> Result<(), Failure> {
        if self.sizes != Sizes::default() || self.parameters != Parameters::default() {
            return Err(Failure::usage(
                "give either a DESCRIPTION or flags, not both: say everything in one of them",
            ));
        }
        Ok(())
    }

    fn flags(&self) -> Result<Conv, Failure> {
        let Sizes { size, kernel, in_channels, out_channels, batch, dtype, bias, residual } =
            &self.sizes;
        let (Some(Extents(input)), Some(kernel)) = (size, kernel) else {
            return Err(Failure::usage("give a DESCRIPTION, or both --size and --kernel"));
        };
        let kernel = match kernel {
            PerAxis::All(one) => vec![*one; input.len()],
            PerAxis::Each(each) => each.clone(),
        };
        let spec = ConvSpec {
            types: dtype.unwrap_or(DType::F32).into(),
            batch: batch.clone().unwrap_or(1.into()),
            in_channels: in_channels.unwrap_or(1),
            out_channels: out_channels.unwrap_or(match self.parameters.reduction {
                Reduction::Sum => 1,
                _ => in_channels.unwrap_or(1),
            }),
            input: input.clone(),
            bias: *bias,
            residual: *residual,
            ..ConvSpec::new([], kernel)
        };
        self.parameters.conv(spec)
    }
}
