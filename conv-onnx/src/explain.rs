//! What became of a model's nodes, and how long each of them takes.

use std::time::{Duration, Instant};

use tract_onnx::tract_core::ops::scan::OptScan;

use crate::compiled::Compiled;
use crate::found::Left;
use crate::quantised;
use crate::sized::{Sized, Timed};
use crate::{Error, Tensor};

/// Runs of which the fastest counts, node by node: so many at least, and for so long. A run of some
/// milliseconds can meet the same other process again and again.
const RUNS: usize = 3;
const TIME: Duration = Duration::from_millis(200);

/// Which part of a model is compiled, and why the rest is not.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The nodes that run, in order.
    pub nodes: Vec<Node>,
    /// Convolutions that tract runs.
    pub left: Vec<Left>,
    /// How long it took to compile.
    pub compile_time: Duration,
}

/// A node that runs.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name in the model, or tract's.
    pub name: String,
    /// What computes it: `Compiled`, or tract's operator.
    pub op: String,
    /// Whether it is compiled.
    pub is_ours: bool,
    /// Convolutions in it.
    pub convolutions: usize,
    /// Steps of pooling in it.
    pub pools: usize,
    /// What it computes, where it is compiled or a pass over bytes; what is compiled of a loop's
    /// body.
    pub what: String,
    /// What was folded into it: `affine`, `relu`, ..
    pub folded: Vec<&'static str>,
    /// The fastest of some runs.
    pub time: Duration,
    /// Of a program that computes its steps in several groups, each.
    pub groups: Vec<Group>,
}

/// Steps that are computed together, of a node of several.
#[derive(Clone, Debug)]
pub struct Group {
    /// The nodes of the model that they were joined from.
    pub names: String,
    /// What it computes.
    pub what: String,
    /// The fastest of some runs.
    pub time: Duration,
}

impl Explanation {
    pub(crate) fn of(sized: &Sized, inputs: &[Tensor]) -> Result<Explanation, Error> {
        let start = Instant::now();
        let (mut times, mut runs) = (sized.run_timed(inputs)?, 1);
        while runs < RUNS || start.elapsed() < TIME {
            runs += 1;
            let again = sized.run_timed(inputs)?;
            for (old, new) in times.iter_mut().zip(again) {
                old.time = old.time.min(new.time);
                let groups = old.groups.iter_mut().zip(new.groups);
                groups.for_each(|(old, new)| *old = new.min(*old));
            }
        }
        let graph = sized.graph();
        let node = |timed: &Timed| {
            let node = graph.node(timed.node);
            let ours = node.op_as::<Compiled>();
            let pass = quantised::pass(node.op.as_ref());
            Node {
                name: node.name.clone(),
                op: node.op.name().into_owned(),
                is_ours: ours.is_some() || pass.is_some(),
                convolutions: ours.map_or(0, Compiled::convolutions),
                pools: ours.map_or(0, Compiled::pools),
                what: ours
                    .map(Compiled::describe)
                    .or(pass.map(str::to_owned))
                    .or(node.op_as::<OptScan>().map(turn))
                    .unwrap_or_default(),
                folded: ours.map_or_else(Vec::new, |ours| ours.folded().to_vec()),
                time: timed.time,
                groups: ours
                    .map_or_else(Vec::new, Compiled::groups)
                    .into_iter()
                    .zip(&timed.groups)
                    .map(|((names, what), &time)| Group { names, what, time })
                    // A declared input is no node.
                    .filter(|group| !group.names.is_empty())
                    .collect(),
            }
        };
        let (nodes, left) = (times.iter().map(node).collect(), sized.left.clone());
        Ok(Explanation { nodes, left, compile_time: sized.took })
    }

    /// Time of all nodes.
    pub fn time(&self) -> Duration {
        self.nodes.iter().map(|node| node.time).sum()
    }

    /// Time of those that are compiled.
    pub fn our_time(&self) -> Duration {
        self.nodes.iter().filter(|node| node.is_ours).map(|node| node.time).sum()
    }
}

/// What is compiled of a turn of a loop.
fn turn(scan: &OptScan) -> String {
    let ours = scan.plan.model().nodes().iter().filter_map(|node| node.op_as::<Compiled>());
    ours.map(Compiled::describe).collect::<Vec<_>>().join("; ")
}
