//! The reader of `examples/nam`: a model's program is the model, and what is none is refused.

use conv_jit::{Options, StepWeights, Stream};
use conv_tests::{Fill, Rng};
use serde_json::{Value, json};

#[path = "../../examples/nam/model.rs"]
mod model;

/// Two arrays of layers, of 3 and 2 channels.
fn small(weights: &[f32]) -> Value {
    json!({
        "version": "0.5.4", "architecture": "WaveNet",
        "config": {
            "layers": [
                {"input_size": 1, "condition_size": 1, "head_size": 2, "channels": 3,
                 "kernel_size": 3, "dilations": [1, 2], "activation": "Tanh", "gated": false,
                 "head_bias": false},
                {"input_size": 3, "condition_size": 1, "head_size": 1, "channels": 2,
                 "kernel_size": 2, "dilations": [4], "activation": "ReLU", "gated": false,
                 "head_bias": true}
            ],
            "head": null, "head_scale": 0.02
        },
        "weights": weights
    })
}

/// Rows over time.
type Rows = Vec<Vec<f32>>;

/// The weights that are still to be read.
struct Taken<'a>(&'a [f32]);

impl Taken<'_> {
    fn take(&mut self, count: usize) -> Vec<f32> {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }

    /// `outputs` sums over inputs and taps, `dilation` apart, the last of which is now.
    fn sums(&mut self, x: &Rows, outputs: usize, (taps, dilation): (usize, usize)) -> Rows {
        let weight = self.take(outputs * x.len() * taps);
        let (inputs, len) = (x.len(), x[0].len());
        (0..outputs)
            .map(|o| {
                (0..len)
                    .map(|t| {
                        let mut sum = 0.0;
                        for (i, x) in x.iter().enumerate() {
                            for k in 0..taps {
                                let back = (taps - 1 - k) * dilation;
                                if t >= back {
                                    sum += weight[(o * inputs + i) * taps + k] * x[t - back];
                                }
                            }
                        }
                        sum
                    })
                    .collect()
            })
            .collect()
    }

    fn bias(&mut self, rows: &mut Rows) {
        let bias = self.take(rows.len());
        rows.iter_mut().zip(bias).for_each(|(row, bias)| row.iter_mut().for_each(|x| *x += bias));
    }
}

fn add(to: &mut Rows, from: &Rows) {
    for (to, from) in to.iter_mut().zip(from) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    }
}

/// Channels, taps, dilations, activation and outputs of an array of layers.
type Array<'a> = (usize, usize, &'a [usize], fn(f32) -> f32, usize);

/// The model as its authors describe it, layer by layer.
fn direct(weights: &[f32], sound: &[f32]) -> Vec<f32> {
    let (mut from, sound) = (Taken(weights), vec![sound.to_vec()]);
    let (mut x, mut head): (Rows, Option<Rows>) = (sound.clone(), None);
    let arrays: [Array<'_>; 2] =
        [(3, 3, &[1, 2], |x| f64::from(x).tanh() as f32, 2), (2, 2, &[4], |x| x.max(0.0), 1)];
    for (channels, taps, dilations, activation, outputs) in arrays {
        x = from.sums(&x, channels, (1, 1));
        let mut sum = head.unwrap_or_else(|| vec![vec![0.0; sound[0].len()]; channels]);
        for &dilation in dilations {
            let mut z = from.sums(&x, channels, (taps, dilation));
            from.bias(&mut z);
            add(&mut z, &from.sums(&sound, channels, (1, 1)));
            z.iter_mut().flatten().for_each(|z| *z = activation(*z));
            add(&mut sum, &z);
            let mut inner = from.sums(&z, channels, (1, 1));
            from.bias(&mut inner);
            add(&mut x, &inner);
        }
        head = Some(from.sums(&sum, outputs, (1, 1)));
    }
    let mut head = head.unwrap_or_default();
    from.bias(&mut head);
    let scale = from.take(1)[0];
    assert!(from.0.is_empty());
    head[0].iter().map(|x| x * scale).collect()
}

fn weights() -> Vec<f32> {
    let first = 3 + 2 * (3 * 3 * 3 + 3 + 3 + 3 * 3 + 3) + 3 * 2;
    let second = 2 * 3 + (2 * 2 * 2 + 2 + 2 + 2 * 2 + 2) + 2 + 1;
    Rng(5).array::<f32>(Fill::Reals, first + second + 1)
}

#[test]
fn a_model_that_is_read_is_the_model() {
    let weights = weights();
    let (program, arrays) = model::read(&small(&weights).to_string()).expect("a model");
    let steps: Vec<StepWeights<'_, f32>> =
        arrays.iter().map(|(weight, bias)| StepWeights { weight, bias: Some(&bias[..]) }).collect();
    let stream = Stream::new(&program, (0, &[16, 1]), &steps, &Options::default());
    let stream = stream.expect("a stream");
    let sound = Rng(6).array::<f32>(Fill::Reals, 100);
    let (mut state, mut output) = (stream.state().expect("memory"), vec![0.0; 100]);
    for (block, output) in sound.chunks(13).zip(output.chunks_mut(13)) {
        stream.push(&mut state, block, output).expect("a block");
    }
    let wanted = direct(&weights, &sound);
    let most = wanted.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(most > 0.01, "{most}");
    for (at, (found, wanted)) in output.iter().zip(&wanted).enumerate() {
        assert!((found - wanted).abs() < 1e-5 * most.max(1.0), "{at}: {found} {wanted}");
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let refused = |text: &str| model::read(text).expect_err("no model");
    assert!(refused("{").starts_with("no JSON"));
    assert!(refused("{\"architecture\": \"LSTM\"}").contains("only \"WaveNet\""));
    let weights = weights();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut model = small(&weights);
        change(&mut model);
        refused(&model.to_string())
    };
    let layers = |model: &mut Value, key: &str, value: Value| {
        model["config"]["layers"][0][key] = value;
    };
    assert!(with(&|m| layers(m, "gated", json!(true))).contains("gated"));
    assert!(with(&|m| layers(m, "activation", json!("Softsign"))).contains("`Softsign`"));
    assert!(with(&|m| layers(m, "dilations", json!([0]))).contains("`dilations`"));
    assert!(with(&|m| layers(m, "channels", json!(1u64 << 40))).contains("`channels`"));
    let few = with(&|m| m["weights"] = json!(weights[1..]));
    assert!(few.contains("are too few"), "{few}");
    let many = with(&|m| m["weights"] = json!([&weights[..], &[0.0]].concat()));
    assert!(many.contains("of which"), "{many}");
}
