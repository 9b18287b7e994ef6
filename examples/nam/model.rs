//! A model of Neural Amp Modeler as a program: the published format of a `.nam` file, architecture
//! "WaveNet", without gates.
//!
//! A layer adds its activations to a sum in front of the head, and sees the sound itself beside
//! what the layers before it made. So the tensor between layers has three parts, which a 1x1 step
//! with a residual changes at once:
//!
//! ```text
//! x (channels) | sum (channels) | sound (1)
//! z  = activation(conv(x) + mixin * sound)        a step of `kernel_size` taps
//! x' = x + layer1x1(z),  sum' = sum + z           a step of one tap
//! ```

use conv_ir::{Activation, Program};
use conv_jit::{Padding, chain};
use serde_json::Value;

/// Weight and bias of a step.
pub type Weights = (Vec<f32>, Vec<f32>);

/// Reads a model: a program along the axis `T`, and the weights of its steps.
///
/// # Errors
/// What is missing or cannot be read.
pub fn read(text: &str) -> Result<(Program, Vec<Weights>), String> {
    let model: Value = serde_json::from_str(text).map_err(|e| format!("no JSON: {e}"))?;
    match model["architecture"].as_str() {
        Some("WaveNet") => {}
        other => return Err(format!("architecture {other:?}: only \"WaveNet\" is read")),
    }
    let weights = model["weights"].as_array().ok_or("`weights` is missing")?;
    let weights: Option<Vec<f32>> =
        weights.iter().map(|weight| weight.as_f64().map(|w| w as f32)).collect();
    let mut from = Taken { all: weights.ok_or("`weights` must be numbers")?, at: 0 };
    let arrays = model["config"]["layers"].as_array().ok_or("`config.layers` is missing")?;
    let arrays = arrays.iter().map(Array::read).collect::<Result<Vec<_>, _>>()?;
    let mut steps = chain(1, ["T"]);
    let mut all: Vec<Weights> = Vec::new();
    let mut before: Option<(usize, Head)> = None;
    for array in &arrays {
        let state = State { channels: array.channels };
        let (rows, heads) = (state.rows(), before.take());
        all.push(state.enter(array, heads, &mut from)?);
        steps = steps.pointwise(rows).bias(true);
        for layer in &array.layers {
            let at = all.len();
            steps = steps.conv(array.channels, layer.taps).dilation(layer.dilation);
            steps = steps.padding(Padding::Causal).bias(true).activation(layer.activation.clone());
            steps = steps.pointwise(rows).bias(true).residual(at);
            all.push(state.sees(layer.taps, &mut from)?);
            all.push(state.adds(&mut from)?);
        }
        let head = Head::read(array, &mut from)?;
        before = Some((array.channels, head));
    }
    let (channels, mut head) = before.ok_or("`config.layers` is empty")?;
    let scale = from.take(1)?[0];
    if from.at < from.all.len() {
        return Err(format!("{} weights, of which {} are read", from.all.len(), from.at));
    }
    if head.outputs != 1 {
        return Err(format!("a head of {} outputs: only 1 is read", head.outputs));
    }
    head.weight.iter_mut().chain(&mut head.bias).for_each(|weight| *weight *= scale);
    let state = State { channels };
    let mut last = vec![0.0; state.rows() * head.taps];
    last[channels * head.taps..][..head.weight.len()].copy_from_slice(&head.weight);
    all.push((last, head.bias));
    steps = steps.conv(1, head.taps).padding(Padding::Causal).bias(true);
    Ok((steps.describe().map_err(|e| e.to_string())?, all))
}

/// The weights that are still to be read.
struct Taken {
    all: Vec<f32>,
    at: usize,
}

impl Taken {
    fn take(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.all.len());
        let end = end.ok_or_else(|| format!("{} weights are too few", self.all.len()))?;
        let taken = self.all[self.at..end].to_vec();
        self.at = end;
        Ok(taken)
    }
}

/// Layers of as many channels.
struct Array {
    inputs: usize,
    channels: usize,
    layers: Vec<Layer>,
    outputs: usize,
    head_taps: usize,
    head_bias: bool,
}

struct Layer {
    taps: usize,
    dilation: usize,
    activation: Activation,
}

impl Array {
    fn read(found: &Value) -> Result<Array, String> {
        let number = |key: &str| {
            let value = found[key].as_u64().filter(|n| (1..=1 << 16).contains(n));
            value.map(|n| n as usize).ok_or_else(|| format!("`{key}` must be a number from 1"))
        };
        let channels = number("channels")?;
        let no = |what: &str| Err(format!("{what}: such layers are not read"));
        let modes = found["gating_mode"].as_array().into_iter().flatten();
        if found["gated"] == true || modes.into_iter().any(|mode| mode != "none") {
            return no("gated");
        }
        if found["condition_size"].as_u64().unwrap_or(1) != 1 {
            return no("`condition_size` other than 1");
        }
        if found["bottleneck"].as_u64().is_some_and(|n| n as usize != channels) {
            return no("`bottleneck` other than `channels`");
        }
        let inner = &found["layer1x1"];
        if inner["active"] == false || inner["groups"].as_u64().unwrap_or(1) != 1 {
            return no("`layer1x1` left out, or in groups");
        }
        let dilations = found["dilations"].as_array().ok_or("`dilations` is missing")?;
        let of = |key: &str, at: usize| match &found[key] {
            Value::Array(all) => all.get(at).cloned().unwrap_or(Value::Null),
            one => one.clone(),
        };
        let layer = |(at, dilation): (usize, &Value)| {
            let several =
                if found["kernel_sizes"].is_null() { "kernel_size" } else { "kernel_sizes" };
            let positive = |value: &Value, key: &str| {
                let value = value.as_u64().filter(|n| (1..=1 << 16).contains(n));
                value.map(|n| n as usize).ok_or_else(|| format!("`{key}` must be numbers from 1"))
            };
            Ok(Layer {
                taps: positive(&of(several, at), several)?,
                dilation: positive(dilation, "dilations")?,
                activation: activation(&of("activation", at))?,
            })
        };
        let layers = dilations.iter().enumerate().map(layer).collect::<Result<_, String>>()?;
        let head = &found["head"];
        let (outputs, head_taps, head_bias) = match head.is_object() {
            true => (
                head["out_channels"].as_u64().unwrap_or(1).clamp(1, 1 << 16) as usize,
                head["kernel_size"].as_u64().unwrap_or(1).clamp(1, 1 << 16) as usize,
                head["bias"] == true,
            ),
            false => (number("head_size")?, 1, found["head_bias"] == true),
        };
        Ok(Array { inputs: number("input_size")?, channels, layers, outputs, head_taps, head_bias })
    }
}

fn activation(found: &Value) -> Result<Activation, String> {
    let name = found["type"].as_str().or(found.as_str()).unwrap_or_default();
    match name {
        "Tanh" | "Fasttanh" => Ok(Activation::Tanh),
        "ReLU" => Ok(Activation::Relu),
        "LeakyReLU" => Ok(Activation::LeakyRelu(found["negative_slope"].as_f64().unwrap_or(0.01))),
        "Sigmoid" => Ok(Activation::Sigmoid),
        "SiLU" => Ok(Activation::Silu),
        other => {
            Err(format!("activation `{other}`: Tanh, ReLU, LeakyReLU, Sigmoid and SiLU are read"))
        }
    }
}

/// What becomes of the sums of an array.
struct Head {
    outputs: usize,
    taps: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Head {
    fn read(array: &Array, from: &mut Taken) -> Result<Head, String> {
        let (outputs, taps) = (array.outputs, array.head_taps);
        let weight = from.take(outputs * array.channels * taps)?;
        let bias = if array.head_bias { from.take(outputs)? } else { vec![0.0; outputs] };
        Ok(Head { outputs, taps, weight, bias })
    }
}

/// The tensor between the layers of an array.
struct State {
    channels: usize,
}

impl State {
    fn rows(&self) -> usize {
        2 * self.channels + 1
    }

    /// From the sound, or from the state of the array before, whose head gives the sum.
    fn enter(
        &self,
        array: &Array,
        before: Option<(usize, Head)>,
        from: &mut Taken,
    ) -> Result<Weights, String> {
        let (rows, own) = (self.rows(), from.take(self.channels * array.inputs)?);
        let (wide, inputs) =
            before.as_ref().map_or((1, 1), |(channels, _)| (2 * channels + 1, *channels));
        if array.inputs != inputs {
            return Err(format!("`input_size` is {}, but {inputs} come", array.inputs));
        }
        let (mut weight, mut bias) = (vec![0.0; rows * wide], vec![0.0; rows]);
        for row in 0..self.channels {
            weight[row * wide..][..inputs].copy_from_slice(&own[row * inputs..][..inputs]);
        }
        if let Some((channels, head)) = before {
            if (head.outputs, head.taps) != (self.channels, 1) {
                return Err("a head between layers must have their channels and one tap".to_owned());
            }
            for row in 0..self.channels {
                let part = &head.weight[row * channels..][..channels];
                weight[(self.channels + row) * wide + channels..][..channels].copy_from_slice(part);
            }
            bias[self.channels..2 * self.channels].copy_from_slice(&head.bias);
        }
        weight[rows * wide - 1] = 1.0;
        Ok((weight, bias))
    }

    /// What a layer sees: the window over `x`, and the sound of now.
    fn sees(&self, taps: usize, from: &mut Taken) -> Result<Weights, String> {
        let (channels, rows) = (self.channels, self.rows());
        let own = from.take(channels * channels * taps)?;
        let (bias, mixin) = (from.take(channels)?, from.take(channels)?);
        let mut weight = vec![0.0; channels * rows * taps];
        for (row, to) in weight.chunks_exact_mut(rows * taps).enumerate() {
            to[..channels * taps].copy_from_slice(&own[row * channels * taps..][..channels * taps]);
            to[rows * taps - 1] = mixin[row];
        }
        Ok((weight, bias))
    }

    /// What a layer adds to `x` and to the sum.
    fn adds(&self, from: &mut Taken) -> Result<Weights, String> {
        let (channels, rows) = (self.channels, self.rows());
        let mut weight = from.take(channels * channels)?;
        let mut bias = from.take(channels)?;
        weight.resize(rows * channels, 0.0);
        (0..channels).for_each(|at| weight[(channels + at) * channels + at] = 1.0);
        bias.resize(rows, 0.0);
        Ok((weight, bias))
    }
}
