//! A convolution of bytes: its description, its weights, and what runs.

use std::fmt;
use std::sync::Arc;

use conv_ir::requantise::Rounding;
use conv_ir::{Array, Conv, ConvSpec, DType, Program, Stored, Types, zero_point};
use conv_jit::{Options, Packed, StepArrays};
use tract_onnx::tract_core::internal::*;

use super::grid::Grid;
use crate::node::op;

/// A convolution whose input and weights are bytes, before it is known what becomes of its sums.
#[derive(Clone, Debug)]
pub struct Sums {
    /// In the order of the graph's axes, of f32.
    pub spec: ConvSpec,
    /// Of the input.
    pub grid: Grid,
    /// The weights' numbers, in the order of the description's.
    pub weight: Arc<Weight>,
    /// One for each output channel, in units of a sum; all zero where there is none.
    pub bias: Vec<i32>,
    /// The extents of a product's output in the graph. Then its numbers, and those of its input,
    /// are in the graph's order.
    pub view: Option<TVec<usize>>,
}

/// Known bytes.
#[derive(Debug)]
pub struct Weight {
    pub is_signed: bool,
    /// The bytes, by their bits.
    pub bytes: Vec<u8>,
    /// One, or one for each output channel.
    pub scales: Vec<f32>,
    pub zeros: Vec<i32>,
}

/// A layer that will be compiled. It is never run.
#[derive(Clone, Debug)]
pub struct Layer(pub Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    pub conv: Conv,
    arrays: Vec<StepArrays<'static>>,
    /// Of the graph's tensor.
    pub output: TVec<usize>,
    pub dtype: DatumType,
    pub folded: Vec<&'static str>,
}

impl PartialEq for Layer {
    fn eq(&self, other: &Layer) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Layer {}

impl Weight {
    fn array(&self) -> Array<'static> {
        match self.is_signed {
            true => self.bytes.iter().map(|&byte| byte as i8).collect::<Vec<_>>().into(),
            false => self.bytes.clone().into(),
        }
    }
}

fn stored(is_signed: bool) -> DType {
    if is_signed { DType::I8 } else { DType::U8 }
}

impl Sums {
    /// What a sum of each output channel stands for.
    pub fn scales(&self) -> Vec<f32> {
        let each = |o: usize| self.grid.scale * self.weight.scales[o % self.weight.scales.len()];
        (0..self.spec.out_channels).map(each).collect()
    }

    /// The sums of an input of ones, channels last: of each output of an image, or of each channel,
    /// where none sees padding.
    pub fn of_ones(&self) -> Option<Tensor> {
        let Weight { is_signed, bytes, zeros, .. } = &*self.weight;
        let conv = Conv::new(self.spec.clone()).ok()?;
        let (channels, taps) = (self.spec.out_channels, conv.kernel_volume());
        let inputs = conv.in_channels_per_group();
        let wide = |byte: u8| if *is_signed { i32::from(byte as i8) } else { i32::from(byte) };
        // By channel and tap.
        let mut of_taps = vec![0i32; channels * taps];
        for (at, &byte) in bytes.iter().enumerate() {
            let o = at / (inputs * taps);
            of_taps[o * taps + at % taps] += wide(byte) - zeros[o % zeros.len()];
        }
        if conv.axes().iter().all(|axis| axis.padding == (0, 0)) {
            let sums: Vec<i32> = of_taps.chunks(taps).map(|taps| taps.iter().sum()).collect();
            return Some(tensor1(&sums));
        }
        let shape = conv.output_shape()?;
        let mut sums = Vec::new();
        let image = &shape[1..shape.len() - 1];
        for at in 0..image.iter().product() {
            let inside: Vec<usize> =
                (0..taps).filter(|&tap| is_inside(&conv, image, at, tap)).collect();
            sums.extend(
                (0..channels)
                    .map(|o| -> i32 { inside.iter().map(|tap| of_taps[o * taps + tap]).sum() }),
            );
        }
        Some(tensor1(&sums))
    }

    /// As sums of 32 bits.
    pub fn layer(&self, folded: Vec<&'static str>) -> Result<Layer, conv_ir::Error> {
        self.with(DType::I32, folded, Ok)
    }

    /// As numbers of another scale.
    pub fn requantised(
        &self,
        to: Grid,
        is_positive: bool,
        folded: Vec<&'static str>,
    ) -> Result<Layer, conv_ir::Error> {
        let scale = |&weight: &f32| Rounding::Onnx.scale(self.grid.scale, weight, to.scale);
        let scales: Vec<f64> = self.weight.scales.iter().map(scale).collect();
        let mut own = self.clone();
        own.spec.activation = is_positive.then_some(conv_ir::Activation::Relu);
        own.with(stored(to.is_signed), folded, |conv| {
            conv.requantised(Rounding::Onnx, &scales, to.zero)
        })
    }

    fn with(
        &self,
        output: DType,
        folded: Vec<&'static str>,
        end: impl FnOnce(Conv) -> Result<Conv, conv_ir::Error>,
    ) -> Result<Layer, conv_ir::Error> {
        let types = Types::of(stored(self.grid.is_signed), stored(self.weight.is_signed));
        let types = types.giving(output).adding(DType::I32);
        let mut spec = ConvSpec { types, ..self.spec.clone() };
        // The bias of what has a zero point is there anyway.
        spec.bias = true;
        let conv = end(Conv::new(spec)?)?;
        let (conv, weight) = match self.weight.zeros.iter().all(|&zero| zero == 0) {
            true => (conv, self.weight.array()),
            false => match self.weight.is_signed {
                true => {
                    let bytes: Vec<i8> = self.weight.bytes.iter().map(|&b| b as i8).collect();
                    zero_point::without_of_weight(&conv, &self.weight.zeros, &bytes)?
                }
                false => {
                    zero_point::without_of_weight(&conv, &self.weight.zeros, &self.weight.bytes)?
                }
            },
        };
        let (conv, bias) = match (&weight, self.grid.zero) {
            (_, 0) => (conv, self.bias.clone()),
            (Array::I8(w), zero) => zero_point::without(&conv, zero, w, Some(&self.bias))?,
            (Array::U8(w), zero) => zero_point::without(&conv, zero, w, Some(&self.bias))?,
            (Array::I16(w), zero) => zero_point::without(&conv, zero, w, Some(&self.bias))?,
            _ => unreachable!("weights of a layer are of 8 or 16 bits"),
        };
        let own = || conv.output_shape().unwrap_or_default().into();
        let shape = self.view.clone().unwrap_or_else(own);
        let dtype = match output {
            DType::I32 => i32::datum_type(),
            DType::I8 => i8::datum_type(),
            _ => u8::datum_type(),
        };
        let arrays = vec![StepArrays { weight: Some(weight), bias: Some(bias.into()) }];
        Ok(Layer(Arc::new(Inner { conv, arrays, output: shape, dtype, folded })))
    }
}

/// Whether a tap of an output is on the image, both counted along the last axis first.
fn is_inside(conv: &Conv, image: &[usize], mut at: usize, mut tap: usize) -> bool {
    conv.axes().iter().zip(image).rev().all(|(axis, extent)| {
        let place = at % extent * axis.stride + tap % axis.kernel * axis.dilation;
        at /= extent;
        tap /= axis.kernel;
        let input = axis.input.known().unwrap_or(0);
        place >= axis.padding.0 && place < axis.padding.0 + input
    })
}

impl Layer {
    /// A layer without weights: a maximum.
    pub fn of_maximum(spec: ConvSpec, grid: Grid) -> Result<Layer, conv_ir::Error> {
        let held = stored(grid.is_signed);
        let conv = Conv::new(ConvSpec { types: Types::from(held).giving(held), ..spec })?;
        let output = conv.output_shape().unwrap_or_default().into();
        let arrays = vec![StepArrays::default()];
        Ok(Layer(Arc::new(Inner { conv, arrays, output, dtype: grid.dtype(), folded: Vec::new() })))
    }

    /// Its code, with its weights.
    pub fn compiled(&self, options: &Options) -> TractResult<Box<dyn Run>> {
        let Inner { conv, arrays, .. } = &*self.0;
        let compiled = conv_jit::Compiled::new(Program::from(conv.clone()), options.clone())?;
        macro_rules! packed {
            ($i:ty, $o:ty) => {
                Ok(Box::new(compiled.pack_arrays::<$i, $o>(arrays)?))
            };
        }
        match (conv.types().input, conv.types().output) {
            (DType::U8, DType::U8) => packed!(u8, u8),
            (DType::U8, DType::I8) => packed!(u8, i8),
            (DType::U8, DType::I32) => packed!(u8, i32),
            (DType::I8, DType::U8) => packed!(i8, u8),
            (DType::I8, DType::I8) => packed!(i8, i8),
            (DType::I8, DType::I32) => packed!(i8, i32),
            (input, output) => bail!("layers of {input} that give {output} are not compiled"),
        }
    }
}

/// A compiled layer, whatever its types.
pub trait Run: fmt::Debug + Send + Sync {
    fn run(&self, input: &Tensor, output: &mut Tensor) -> TractResult<()>;
    fn program(&self) -> &Program;
}

impl<I: Stored + Datum, O: Stored + Datum> Run for Packed<I, O> {
    fn run(&self, input: &Tensor, output: &mut Tensor) -> TractResult<()> {
        let (input, mut output) = (input.try_as_plain_ram()?, output.try_as_plain_ram_mut()?);
        Ok(self.call(input.as_slice::<I>()?, output.as_slice_mut::<O>()?).run()?)
    }

    fn program(&self) -> &Program {
        Packed::program(self)
    }
}

op!(Layer, "Layer", |own, _inputs| tvec!(own.0.dtype.fact(&own.0.output)));
