//! Random graphs, compiled, against tract alone.
//!
//! Steps of the kinds that networks have are put behind tensors that are there, most often behind
//! the last one. Everything that nobody reads is an output, and sometimes a tensor that is read.

use conv_onnx::Tensor;

use crate::check_within;
use crate::graph::{Attribute, Graph, numbers};
use Attribute::Ints;

mod layers;
mod tensors;

/// Graphs of each number of axes.
const GRAPHS: u64 = 20;

#[test]
fn of_one_axis() {
    run(1, GRAPHS);
}

#[test]
fn of_two_axes() {
    run(2, 2 * GRAPHS);
}

#[test]
fn of_three_axes() {
    run(3, GRAPHS);
}

fn run(axes: usize, graphs: u64) {
    let mut tensors = 0;
    for seed in 0..graphs {
        println!("axes {axes} seed {seed}");
        let mut random = Random::new(axes, seed);
        let steps = random.below(10) + 3;
        (0..steps).for_each(|_| random.step());
        tensors += random.tensors.len();
        let shape = random.tensors[0].shape.clone();
        let x = Tensor::new(&shape, &numbers(shape.iter().product(), seed + 1)).expect("a tensor");
        check_within(&random.bytes(), &[("x", x)], 1e-4);
    }
    // Steps that do not fit are left out, but not most of them.
    assert!(tensors > 10 * graphs as usize, "{tensors}");
}

/// A tensor of the graph.
#[derive(Clone)]
struct Value {
    name: String,
    shape: Vec<usize>,
    is_read: bool,
}

/// A graph that grows.
struct Random {
    graph: Graph,
    state: u64,
    tensors: Vec<Value>,
    axes: usize,
}

/// More numbers than this has no tensor.
const MOST: usize = 20_000;

impl Random {
    fn new(axes: usize, seed: u64) -> Random {
        let state = (seed * 3 + axes as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let (graph, tensors) = (Graph::default(), Vec::new());
        let mut random = Random { graph, state, tensors, axes };
        let longest = [40, 14, 7][axes - 1];
        let mut shape = vec![random.below(2) + 1, random.one_of(&[1, 3, 4, 8])];
        shape.extend((0..axes).map(|_| random.below(longest) + 4));
        let declared: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        random.graph = Graph::new(&declared);
        random.put("x".to_owned(), shape);
        random
    }

    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.state >> 33) as usize % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn list(&mut self, mut of: impl FnMut(&mut Random) -> usize) -> Vec<usize> {
        (0..self.axes).map(|_| of(self)).collect()
    }

    fn put(&mut self, name: String, shape: Vec<usize>) -> usize {
        self.tensors.push(Value { name, shape, is_read: false });
        self.tensors.len() - 1
    }

    /// A node of some of the tensors and constants, if what it gives is neither empty nor large.
    fn node(
        &mut self,
        op: &str,
        of: &[usize],
        constants: &[String],
        attributes: Vec<Attribute>,
        shape: Vec<usize>,
    ) -> Option<usize> {
        let size: usize = shape.iter().product();
        if size == 0 || size > MOST {
            return None;
        }
        of.iter().for_each(|&at| self.tensors[at].is_read = true);
        let names: Vec<String> = of.iter().map(|&at| self.tensors[at].name.clone()).collect();
        let inputs: Vec<&str> = names.iter().chain(constants).map(String::as_str).collect();
        let name = self.graph.node(op, &inputs, attributes);
        Some(self.put(name, shape))
    }

    /// Numbers around a value.
    fn constant(&mut self, shape: &[usize], around: f32, by: f32) -> String {
        let seed = self.below(1 << 20) as u64;
        let values = numbers(shape.iter().product(), seed).into_iter().map(|x| around + by * x);
        let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        self.graph.constant(&shape, values.collect())
    }

    fn longs(&mut self, values: impl IntoIterator<Item = usize>) -> String {
        let values: Vec<i64> = values.into_iter().map(|n| n as i64).collect();
        self.graph.longs_constant(&values)
    }

    fn shape(&self, at: usize) -> Vec<usize> {
        self.tensors[at].shape.clone()
    }

    /// One more step; nothing where it does not fit.
    fn step(&mut self) {
        let last = self.tensors.len() - 1;
        let x = if self.below(6) == 0 { self.below(last + 1) } else { last };
        // Heads stay as they are.
        if self.shape(x).len() != self.axes + 2 {
            return;
        }
        let steps: [fn(&mut Random, usize) -> Option<usize>; 22] = [
            Random::layer,
            Random::layer,
            Random::convolution,
            Random::convolution,
            Random::transposed,
            Random::activation,
            Random::activation,
            Random::batch_norm,
            Random::arithmetic,
            Random::arithmetic,
            Random::residual,
            Random::residual,
            Random::excitation,
            Random::gate,
            Random::joined,
            Random::parted,
            Random::padded,
            Random::pool,
            Random::resized,
            Random::shuffled,
            Random::channels_last,
            Random::softmax,
        ];
        self.one_of(&steps)(self, x);
    }

    fn bytes(mut self) -> Vec<u8> {
        let mut outputs: Vec<usize> =
            (1..self.tensors.len()).filter(|&at| !self.tensors[at].is_read).collect();
        if self.tensors.len() > 2 && self.below(3) == 0 {
            outputs.push(1 + self.below(self.tensors.len() - 1));
        }
        outputs.sort_unstable();
        outputs.dedup();
        let mut names: Vec<&str> =
            outputs.iter().map(|&at| self.tensors[at].name.as_str()).collect();
        let copy;
        if names.is_empty() {
            copy = self.graph.node("Neg", &["x"], vec![]);
            names.push(&copy);
        }
        self.graph.bytes(&names)
    }
}

fn ints(name: &'static str, values: impl IntoIterator<Item = usize>) -> Attribute {
    Ints(name, values.into_iter().map(|n| n as i64).collect())
}
