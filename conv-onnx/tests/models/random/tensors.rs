//! Several tensors at a time, and their places.

use super::{Random, Value, ints};
use crate::graph::Attribute::{Int, Text};

/// Several tensors.
impl Random {
    /// Another tensor of the same shape: one that is there, or one that is computed.
    pub fn like(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let alike: Vec<usize> =
            (0..self.tensors.len()).filter(|&at| at != x && self.shape(at) == shape).collect();
        match alike.is_empty() || self.below(2) == 0 {
            true => self.kept(x, shape[1]),
            false => Some(self.one_of(&alike)),
        }
    }

    pub fn residual(&mut self, x: usize) -> Option<usize> {
        let y = self.like(x)?;
        let op = self.one_of(&["Add", "Add", "Add", "Mul", "Sub", "Max"]);
        let pair = if self.below(2) == 0 { [x, y] } else { [y, x] };
        let shape = self.shape(x);
        self.node(op, &pair, &[], vec![], shape)
    }

    /// Numbers that scale channels, computed of their means.
    pub fn excitation(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let (channels, inner) = (shape[1], shape[1].div_ceil(2));
        let mut ones = shape.clone();
        ones[2..].fill(1);
        let mut s = match self.below(3) {
            0 => {
                let axes = ints("axes", 2..shape.len());
                self.node("ReduceMean", &[x], &[], vec![axes], ones.clone())?
            }
            1 => self.node("GlobalMaxPool", &[x], &[], vec![], ones.clone())?,
            _ => self.node("GlobalAveragePool", &[x], &[], vec![], ones.clone())?,
        };
        for (from, to, op) in [(channels, inner, "Relu"), (inner, channels, "Sigmoid")] {
            let mut weight = vec![1; shape.len()];
            (weight[0], weight[1], ones[1]) = (to, from, to);
            let weight = self.constant(&weight, 0.0, 1.0);
            let bias = self.constant(&[to], 0.0, 0.5);
            s = self.node("Conv", &[s], &[weight, bias], vec![], ones.clone())?;
            s = self.node(op, &[s], &[], vec![], ones.clone())?;
        }
        let op = self.one_of(&["Mul", "Mul", "Add"]);
        let pair = if self.below(2) == 0 { [x, s] } else { [s, x] };
        let y = self.node(op, &pair, &[], vec![], shape.clone())?;
        match self.below(3) {
            0 => self.node("Add", &[x, y], &[], vec![], shape),
            _ => Some(y),
        }
    }

    /// Numbers that scale places.
    pub fn gate(&mut self, x: usize) -> Option<usize> {
        let y = self.kept(x, 1)?;
        let one = self.shape(y);
        let y = self.node("Sigmoid", &[y], &[], vec![], one)?;
        let shape = self.shape(x);
        self.node("Mul", &[x, y], &[], vec![], shape)
    }

    pub fn joined(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let axis = self.one_of(&[1, 1, 1, shape.len() - 1]);
        let fits = |value: &Value| {
            let pairs = value.shape.iter().zip(&shape).enumerate();
            value.shape.len() == shape.len()
                && pairs.into_iter().all(|(at, (a, b))| at == axis || a == b)
        };
        let there: Vec<usize> =
            (0..self.tensors.len()).filter(|&at| fits(&self.tensors[at])).collect();
        let mut parts = vec![x];
        for _ in 0..self.below(2) + 1 {
            let part = match self.below(2) {
                0 => self.one_of(&there),
                _ => self.kept(x, shape[1])?,
            };
            let at = self.below(parts.len() + 1);
            parts.insert(at, part);
        }
        let mut output = shape;
        output[axis] = parts.iter().map(|&part| self.tensors[part].shape[axis]).sum();
        self.node("Concat", &parts, &[], vec![Int("axis", axis as i64)], output)
    }

    pub fn slice(
        &mut self,
        x: usize,
        axis: usize,
        from: usize,
        to: usize,
        step: usize,
    ) -> Option<usize> {
        let mut shape = self.shape(x);
        shape[axis] = (to - from).div_ceil(step);
        let parts = [from, to, axis, step].map(|n| self.longs([n]));
        self.node("Slice", &[x], &parts, vec![], shape)
    }

    /// Parts of the channels, which are joined again, or multiplied.
    pub fn parted(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        if self.below(4) == 0 {
            let (axis, step) = (self.below(self.axes) + 2, self.one_of(&[1, 2]));
            return self.slice(x, axis, 1, shape[axis], step);
        }
        let at = match self.below(2) {
            0 => shape[1] / 2,
            _ => self.below(shape[1]),
        };
        if at == 0 {
            return None;
        }
        let (mut first, second) = (self.slice(x, 1, 0, at, 1)?, self.slice(x, 1, at, shape[1], 1)?);
        if self.below(2) == 0 {
            first = self.activation(first)?;
        }
        if 2 * at == shape[1] && self.below(3) == 0 {
            let half = self.shape(first);
            return self.node("Mul", &[first, second], &[], vec![], half);
        }
        let second = if self.below(2) == 0 { self.kept(second, shape[1] - at)? } else { second };
        self.node("Concat", &[first, second], &[], vec![Int("axis", 1)], shape)
    }
}

/// Places.
impl Random {
    pub fn padded(&mut self, x: usize) -> Option<usize> {
        let mut shape = self.shape(x);
        let mode = self.one_of(&["constant", "constant", "edge", "reflect"]);
        let (mut before, mut behind) = (vec![0, 0], vec![0, 0]);
        for n in &mut shape[2..] {
            let most = if mode == "reflect" { *n - 1 } else { 2 };
            let pair = [self.below(most.min(2) + 1), self.below(most.min(2) + 1)];
            before.push(pair[0]);
            behind.push(pair[1]);
            *n += pair[0] + pair[1];
        }
        let pads = self.longs(before.into_iter().chain(behind));
        let value = self.constant(&[], 0.0, 0.5);
        let constants = if mode == "constant" { vec![pads, value] } else { vec![pads] };
        let y = self.node("Pad", &[x], &constants, vec![Text("mode", mode)], shape)?;
        if self.below(3) == 0 { Some(y) } else { self.convolution(y) }
    }

    pub fn pool(&mut self, x: usize) -> Option<usize> {
        let mut shape = self.shape(x);
        let (kernel, stride) = (self.one_of(&[2, 3, 5]), self.one_of(&[1, 2, 2, 3]));
        let pad = self.below(kernel / 2 + 1);
        let op = self.one_of(&["MaxPool", "MaxPool", "AveragePool"]);
        for n in &mut shape[2..] {
            *n = (*n + 2 * pad).checked_sub(kernel)? / stride + 1;
        }
        let all = |n: usize| vec![n; self.axes];
        let mut attributes = vec![
            ints("kernel_shape", all(kernel)),
            ints("strides", all(stride)),
            ints("pads", vec![pad; 2 * self.axes]),
        ];
        if op == "AveragePool" {
            attributes.push(Int("count_include_pad", self.below(2) as i64));
        }
        self.node(op, &[x], &[], attributes, shape)
    }

    pub fn resized(&mut self, x: usize) -> Option<usize> {
        let mut shape = self.shape(x);
        let factors = self.list(|random| random.one_of(&[1, 2, 2, 3]));
        shape[2..].iter_mut().zip(&factors).for_each(|(n, by)| *n *= by);
        let by_sizes = self.below(3) == 0;
        if by_sizes {
            shape[2] += 1;
        }
        let sizes = self.longs(shape.clone());
        let scales = [1, 1].into_iter().chain(factors).map(|by| by as f32).collect::<Vec<f32>>();
        let scales = self.graph.constant(&[scales.len() as i64], scales);
        let none = String::new();
        let constants = if by_sizes { vec![none.clone(), none, sizes] } else { vec![none, scales] };
        let place = match self.below(2) {
            0 => [Text("mode", "nearest"), Text("coordinate_transformation_mode", "asymmetric")],
            _ => [Text("mode", "linear"), Text("coordinate_transformation_mode", "half_pixel")],
        };
        let floor = [Text("nearest_mode", "floor")];
        self.node("Resize", &[x], &constants, place.into_iter().chain(floor).collect(), shape)
    }

    /// Channels of several groups in turns.
    pub fn shuffled(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let groups = [2, 3, 4].into_iter().find(|&by| shape[1].is_multiple_of(by))?;
        let mut apart = vec![shape[0], groups, shape[1] / groups];
        apart.extend(&shape[2..]);
        let order = [0, 2, 1].into_iter().chain(3..apart.len());
        let mut turned = apart.clone();
        turned.swap(1, 2);
        let constants = [self.longs(apart.clone())];
        let y = self.node("Reshape", &[x], &constants, vec![], apart)?;
        let y = self.node("Transpose", &[y], &[], vec![ints("perm", order)], turned)?;
        let constants = [self.longs(shape.clone())];
        self.node("Reshape", &[y], &constants, vec![], shape)
    }

    /// A product of each place's channels, which are last there.
    pub fn channels_last(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let rank = shape.len();
        let mut last: Vec<usize> = [0].into_iter().chain(2..rank).map(|at| shape[at]).collect();
        last.push(shape[1]);
        let order = [0].into_iter().chain(2..rank).chain([1]);
        let mut y = self.node("Transpose", &[x], &[], vec![ints("perm", order)], last.clone())?;
        if self.below(2) == 0 {
            let outputs = self.one_of(&[3, 8]);
            let weight = self.constant(&[shape[1], outputs], 0.0, 0.7);
            last[rank - 1] = outputs;
            y = self.node("MatMul", &[y], &[weight], vec![], last.clone())?;
        }
        let bias = self.constant(&[last[rank - 1]], 0.0, 0.5);
        y = self.node("Add", &[y], &[bias], vec![], last.clone())?;
        let mut first = shape;
        first[1] = last[rank - 1];
        let order = [0, rank - 1].into_iter().chain(1..rank - 1);
        self.node("Transpose", &[y], &[], vec![ints("perm", order)], first)
    }

    pub fn softmax(&mut self, x: usize) -> Option<usize> {
        let shape = self.shape(x);
        let axis = self.one_of(&[1, shape.len() - 1]) as i64;
        self.node("Softmax", &[x], &[], vec![Int("axis", axis)], shape)
    }
}
