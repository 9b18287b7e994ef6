//! Convolutions, and what stands behind them.

use super::{Random, ints};
use crate::graph::Attribute::{Float, Int};

impl Random {
    pub fn convolution(&mut self, x: usize) -> Option<usize> {
        let kernel = self.list(|random| random.one_of(&[1, 1, 2, 3, 3, 5]));
        let stride = self.list(|random| random.one_of(&[1, 1, 1, 2, 3]));
        let channels = self.one_of(&[1, 3, 4, 8, 8, 12, 16, 17]);
        self.windowed(x, kernel, stride, channels)
    }

    /// One that keeps the extents.
    pub fn kept(&mut self, x: usize, channels: usize) -> Option<usize> {
        let kernel = self.list(|random| random.one_of(&[1, 3]));
        let stride = vec![1; self.axes];
        self.windowed(x, kernel, stride, channels)
    }

    fn windowed(
        &mut self,
        x: usize,
        kernel: Vec<usize>,
        stride: Vec<usize>,
        outputs: usize,
    ) -> Option<usize> {
        let shape = self.shape(x);
        let inputs = shape[1];
        let by_channel = outputs == inputs && self.below(2) == 0;
        let groups = match by_channel {
            true => inputs,
            false if inputs.is_multiple_of(4) && outputs.is_multiple_of(4) => {
                self.one_of(&[1, 2, 4])
            }
            false => 1,
        };
        let dilation = self.list(|random| random.one_of(&[1, 1, 1, 2]));
        let mut output = vec![shape[0], outputs];
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for axis in 0..self.axes {
            let window = dilation[axis] * (kernel[axis] - 1) + 1;
            before.push((window - 1) / 2);
            behind.push(window - 1 - (window - 1) / 2);
            output.push((shape[2 + axis] - 1) / stride[axis] + 1);
        }
        let mut weight = vec![outputs, inputs / groups];
        weight.extend(&kernel);
        let taps = weight[1..].iter().product::<usize>();
        let weight = self.constant(&weight, 0.0, (3.0 / taps as f32).sqrt());
        let mut constants = vec![weight];
        if self.below(3) > 0 {
            constants.push(self.constant(&[outputs], 0.0, 0.5));
        }
        let attributes = vec![
            ints("strides", stride),
            ints("dilations", dilation),
            ints("pads", before.into_iter().chain(behind)),
            Int("group", groups as i64),
        ];
        self.node("Conv", &[x], &constants, attributes, output)
    }

    pub fn layer(&mut self, x: usize) -> Option<usize> {
        let mut y = self.convolution(x)?;
        if self.below(2) == 0 {
            y = self.batch_norm(y)?;
        }
        self.activation(y)
    }

    pub fn transposed(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let kernel = self.list(|random| random.one_of(&[2, 3, 4]));
        let outputs = self.one_of(&[1, 3, 8]);
        let mut weight = vec![shape[1], outputs];
        weight.extend(&kernel);
        let mut output = vec![shape[0], outputs];
        output.extend(shape[2..].iter().zip(&kernel).map(|(&n, &k)| 2 * (n - 1) + k));
        let taps = shape[1] * kernel.iter().product::<usize>();
        let weight = self.constant(&weight, 0.0, (6.0 / taps as f32).sqrt());
        let bias = self.constant(&[outputs], 0.0, 0.5);
        let strides = ints("strides", vec![2; self.axes]);
        self.node("ConvTranspose", &[x], &[weight, bias], vec![strides], output)
    }

    pub fn batch_norm(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let around = [1.0, 0.0, 0.0, 1.0];
        let parts = around.map(|around| self.constant(&shape[1..2], around, 0.4));
        self.node("BatchNormalization", &[x], &parts, vec![], shape)
    }

    pub fn activation(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let plain = ["Relu", "Sigmoid", "Tanh", "Elu", "Softplus", "HardSwish", "LeakyRelu", "Abs"];
        match self.below(14) {
            0 => {
                let s = self.node("Sigmoid", &[x], &[], vec![], shape.clone())?;
                self.node("Mul", &[s, x], &[], vec![], shape)
            }
            1 => {
                let half = self.constant(&[], 0.5f32.sqrt(), 0.0);
                let y = self.node("Mul", &[x], &[half], vec![], shape.clone())?;
                let y = self.node("Erf", &[y], &[], vec![], shape.clone())?;
                let one = self.constant(&[], 1.0, 0.0);
                let y = self.node("Add", &[y], &[one], vec![], shape.clone())?;
                let y = self.node("Mul", &[x, y], &[], vec![], shape.clone())?;
                let half = self.constant(&[1], 0.5, 0.0);
                self.node("Mul", &[y], &[half], vec![], shape)
            }
            2 => {
                let ends = [self.constant(&[], 0.0, 0.0), self.constant(&[], 1.5, 0.0)];
                self.node("Clip", &[x], &ends, vec![], shape)
            }
            3 => {
                let y = self.node("Softplus", &[x], &[], vec![], shape.clone())?;
                let y = self.node("Tanh", &[y], &[], vec![], shape.clone())?;
                self.node("Mul", &[x, y], &[], vec![], shape)
            }
            4 => {
                let mut slopes = vec![1; shape.len() - 1];
                slopes[0] = shape[1];
                let slopes = self.constant(&slopes, 0.2, 0.2);
                self.node("PRelu", &[x], &[slopes], vec![], shape)
            }
            5 => {
                let part = vec![Float("alpha", 1.0 / 6.0), Float("beta", 0.5)];
                self.node("HardSigmoid", &[x], &[], part, shape)
            }
            _ => {
                let op = self.one_of(&plain);
                self.node(op, &[x], &[], vec![], shape)
            }
        }
    }

    pub fn arithmetic(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let mut by_channel = vec![1; shape.len()];
        by_channel[1] = shape[1];
        let constant = match self.below(5) {
            0 => vec![],
            1 => shape.clone(),
            2 => by_channel[1..].to_vec(),
            _ => by_channel,
        };
        let constant = self.constant(&constant, 1.0, 0.5);
        let op = self.one_of(&["Add", "Sub", "Mul", "Div"]);
        self.node(op, &[x], &[constant], vec![], shape)
    }
}
