//! `explain`: which part of a model is compiled, why the rest is not, and how long it takes.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use conv_onnx::{Explanation, Group, Node};

use crate::args::Explain;
use crate::failure::Failure;
use crate::inputs;
use crate::table::{lined_up, three_digits};

/// Nodes, and groups of a program, that are listed unless all are.
const SLOWEST: usize = 12;

pub fn explain(args: &Explain, out: &mut dyn Write) -> Result<(), Failure> {
    let model = args.model.load()?;
    let inputs = inputs::of_sizes(&model, &args.sizes)?;
    let explanation = model.explain(&inputs::by_name(&inputs))?;
    let shapes: Vec<String> =
        inputs.iter().map(|(name, tensor)| format!("{name} {:?}", tensor.shape())).collect();
    writeln!(out, "inputs    {}", shapes.join(", "))?;
    summary(&explanation, out)?;
    reasons(&explanation, out)?;
    nodes(&explanation, args.all, out)
}

fn summary(explanation: &Explanation, out: &mut dyn Write) -> Result<(), Failure> {
    let ours: Vec<&Node> = explanation.nodes.iter().filter(|node| node.is_ours).collect();
    let convolutions: usize = ours.iter().map(|node| node.convolutions).sum();
    let pools: usize = ours.iter().map(|node| node.pools).sum();
    let mut folded: BTreeMap<&str, usize> = BTreeMap::new();
    ours.iter()
        .flat_map(|node| &node.folded)
        .for_each(|what| *folded.entry(what).or_default() += 1);
    let folded: Vec<String> =
        folded.iter().map(|(what, count)| format!("{count} {what}")).collect();
    writeln!(
        out,
        "compiled  {convolutions} convolutions and {pools} pools in {} nodes, in {}",
        ours.len(),
        ms(explanation.compile_time)
    )?;
    if !folded.is_empty() {
        writeln!(out, "folded    {}", folded.join(", "))?;
    }
    let (all, own) = (explanation.time(), explanation.our_time());
    writeln!(
        out,
        "time      {}: compiled nodes {}, tract {}",
        ms(all),
        share(own, all),
        share(all.saturating_sub(own), all)
    )?;
    Ok(())
}

/// tract's part: by operator, and each convolution with its reason.
fn reasons(explanation: &Explanation, out: &mut dyn Write) -> Result<(), Failure> {
    for left in &explanation.left {
        writeln!(out, "left      {}: {}", left.node, left.reason)?;
    }
    let all = explanation.time();
    let mut by_op: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for node in explanation.nodes.iter().filter(|node| !node.is_ours) {
        let entry = by_op.entry(&node.op).or_default();
        *entry = (entry.0 + 1, entry.1 + node.time);
    }
    let mut by_op: Vec<_> = by_op.into_iter().collect();
    by_op.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
    let mut rows = vec![["tract runs", "nodes", "ms", "share"].map(str::to_owned).to_vec()];
    rows.extend(by_op.into_iter().map(|(op, (count, time))| {
        vec![op.to_owned(), count.to_string(), number(time), share(time, all)]
    }));
    if rows.len() > 1 {
        write!(out, "\n{}", lined_up(&[1, 2, 3], &rows))?;
    }
    Ok(())
}

fn nodes(explanation: &Explanation, every: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let all = explanation.time();
    let mut nodes: Vec<&Node> = explanation.nodes.iter().collect();
    let head = if every { "node" } else { "slowest nodes" };
    if !every {
        nodes.sort_by_key(|node| std::cmp::Reverse(node.time));
        nodes.truncate(SLOWEST);
    }
    let mut rows = vec![[head, "op", "ms", "share", "computes"].map(str::to_owned).to_vec()];
    for Node { name, op, time, what, groups, .. } in nodes {
        let what = match groups.len() {
            0 => what.clone(),
            count => format!("a program in {count} groups of steps"),
        };
        rows.push(vec![name.clone(), op.clone(), number(*time), share(*time, all), what]);
        let mut groups: Vec<&Group> = groups.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.time));
        let shown = if every { groups.len() } else { groups.len().min(SLOWEST) };
        let (shown, rest) = groups.split_at(shown);
        rows.extend(shown.iter().map(|Group { names, what, time }| {
            vec![
                format!("  {names}"),
                String::new(),
                number(*time),
                share(*time, all),
                what.clone(),
            ]
        }));
        if !rest.is_empty() {
            let (count, time) = (rest.len(), rest.iter().map(|group| group.time).sum());
            let name = format!("  {count} more");
            rows.push(vec![name, String::new(), number(time), share(time, all), String::new()]);
        }
    }
    write!(out, "\n{}", lined_up(&[2, 3], &rows))?;
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{} ms", number(time))
}

fn number(time: Duration) -> String {
    three_digits(time.as_secs_f64() * 1e3)
}

fn share(part: Duration, all: Duration) -> String {
    format!("{:.1} %", 100.0 * part.as_secs_f64() / all.as_secs_f64().max(1e-9))
}
