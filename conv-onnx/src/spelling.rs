//! Nodes of a file in the spelling that tract reads as ONNX means them.
//!
//! ```text
//! NonMaxSuppression(scalars)              ->   lists of one
//! MaxPool(auto_pad: VALID, ceil_mode)     ->   no auto_pad, which would take the mode away
//! Pad(pads: [.., -1]), before opset 11    ->   pads as an input, which may be negative
//! ```

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// i64 in a file.
const I64: i32 = 7;

/// Rewrites what needs it, in place, in the graphs of loops and branches too.
pub fn spell(graph: &mut GraphProto) {
    for mut node in std::mem::take(&mut graph.node) {
        node.attribute.iter_mut().filter_map(|a| a.g.as_mut()).for_each(spell);
        match &node.op_type[..] {
            "NonMaxSuppression" => listed(graph, &mut node),
            "MaxPool" | "AveragePool" => {
                node.attribute.retain(|a| !is_text(a, "auto_pad", "VALID"))
            }
            "Pad" => crop(graph, &mut node),
            _ => {}
        }
        graph.node.push(node);
    }
}

fn is_text(attribute: &AttributeProto, name: &str, text: &str) -> bool {
    attribute.name == name && attribute.s == text.as_bytes()
}

/// A node before another, whose output has a new name.
fn before(graph: &mut GraphProto, node: &NodeProto, op: &str, inputs: &[&str]) -> String {
    let of = node.output.first().map_or("", String::as_str);
    let name = format!("{of}/{op}/{}", graph.node.len());
    graph.node.push(NodeProto {
        name: name.clone(),
        op_type: op.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![name.clone()],
        ..NodeProto::default()
    });
    name
}

/// A constant beside a node.
fn constant(graph: &mut GraphProto, node: &NodeProto, tensor: TensorProto) -> String {
    let of = node.output.first().map_or("", String::as_str);
    let name = format!("{of}/constant/{}", graph.initializer.len());
    graph.initializer.push(TensorProto { name: name.clone(), ..tensor });
    name
}

fn longs(values: Vec<i64>) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto { dims, data_type: I64, int64_data: values, ..TensorProto::default() }
}

/// Numbers as lists of one, which tract asks for; others take scalars.
fn listed(graph: &mut GraphProto, node: &mut NodeProto) {
    for at in 2..node.input.len() {
        if !node.input[at].is_empty() {
            let one = constant(graph, node, longs(vec![1]));
            node.input[at] = before(graph, node, "Reshape", &[&node.input[at], &one]);
        }
    }
}

/// Padding below zero, as an input.
fn crop(graph: &mut GraphProto, node: &mut NodeProto) {
    let pads = node.attribute.iter().find(|a| a.name == "pads" && a.ints.iter().any(|&n| n < 0));
    let Some(pads) = pads.map(|pads| pads.ints.clone()) else { return };
    let pads = constant(graph, node, longs(pads));
    node.input.truncate(1);
    node.input.push(pads);
    node.attribute.retain(|a| a.name != "pads");
}
