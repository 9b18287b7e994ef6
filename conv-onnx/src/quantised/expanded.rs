//! Operators of bytes, spelled as real ones between `DequantizeLinear` and `QuantizeLinear`.
//!
//! ```text
//! y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)
//!   -> QuantizeLinear(Conv(dequantised x, dequantised w, b * xs * ws), ys, yz)
//! ```
//!
//! In: the file. Out: the same with those nodes replaced, in place. An operator that is not listed
//! stays, and tract says what it thinks of it. Names of what is new begin with that of the node's
//! output, which is the graph's own.

use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, attribute_proto};

/// How many inputs, of three each, an operator has, and by which one it is spelled.
const ELEMENTWISE: [(&str, usize, &str); 6] = [
    ("QLinearAdd", 2, "Add"),
    ("QLinearMul", 2, "Mul"),
    ("QLinearSigmoid", 1, "Sigmoid"),
    ("QLinearLeakyRelu", 1, "LeakyRelu"),
    ("QLinearAveragePool", 1, "AveragePool"),
    ("QLinearGlobalAveragePool", 1, "GlobalAveragePool"),
];

/// Replaces what it knows.
pub fn expand(model: &mut ModelProto) {
    let Some(graph) = &mut model.graph else { return };
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes {
        let has_channels_last =
            node.attribute.iter().any(|a| a.name == "channels_last" && a.i != 0);
        let given = |count: usize| node.input.len() >= count && node.output.len() == 1;
        let listed = ELEMENTWISE.iter().find(|(name, ..)| *name == node.op_type);
        match (&node.op_type[..], listed) {
            ("QLinearConv", _) if given(8) => convolution(graph, &node),
            ("QLinearMatMul", _) if given(8) => product(graph, &node),
            ("QLinearConcat", _) if given(5) => joined(graph, &node),
            (_, Some(&(_, count, op))) if given(3 * count + 1) && !has_channels_last => {
                elementwise(graph, &node, count, op);
            }
            _ => graph.node.push(node),
        }
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: attribute_proto::AttributeType::Int.into(),
        i: value,
        ..AttributeProto::default()
    }
}

/// A new node, whose output has a new name.
fn push(
    graph: &mut GraphProto,
    of: &NodeProto,
    op: &str,
    inputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> String {
    let name = format!("{}/{}/{}", of.output[0], op, graph.node.len());
    graph.node.push(NodeProto {
        name: name.clone(),
        op_type: op.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![name.clone()],
        attribute: attributes,
        ..NodeProto::default()
    });
    name
}

/// The input at a place and the two behind it, as real numbers.
fn real(
    graph: &mut GraphProto,
    of: &NodeProto,
    at: usize,
    attributes: Vec<AttributeProto>,
) -> String {
    let mut inputs: Vec<&str> = of.input[at..].iter().take(3).map(String::as_str).collect();
    while inputs.last() == Some(&"") {
        inputs.pop();
    }
    push(graph, of, "DequantizeLinear", &inputs, attributes)
}

/// The node's output, quantised by the two inputs at a place.
fn quantised(graph: &mut GraphProto, of: &NodeProto, real: &str, at: usize) {
    let mut input = vec![real.to_owned()];
    input.extend(of.input.iter().skip(at).take(2).filter(|name| !name.is_empty()).cloned());
    graph.node.push(NodeProto {
        name: of.name.clone(),
        op_type: "QuantizeLinear".to_owned(),
        input,
        output: of.output.clone(),
        ..NodeProto::default()
    });
}

fn convolution(graph: &mut GraphProto, node: &NodeProto) {
    let x = real(graph, node, 0, vec![]);
    let w = real(graph, node, 3, vec![int("axis", 0)]);
    let bias = node.input.get(8).filter(|name| !name.is_empty()).map(|bias| {
        let scale = push(graph, node, "Mul", &[&node.input[1], &node.input[4]], vec![]);
        push(graph, node, "DequantizeLinear", &[bias, &scale], vec![int("axis", 0)])
    });
    let inputs: Vec<&str> = [&x, &w].into_iter().chain(&bias).map(String::as_str).collect();
    let y = push(graph, node, "Conv", &inputs, node.attribute.clone());
    quantised(graph, node, &y, 6);
}

fn product(graph: &mut GraphProto, node: &NodeProto) {
    // Scales of the first are by row, of the second by column.
    let a = real(graph, node, 0, vec![int("axis", -2)]);
    let b = real(graph, node, 3, vec![int("axis", -1)]);
    let y = push(graph, node, "MatMul", &[&a, &b], vec![]);
    quantised(graph, node, &y, 6);
}

fn elementwise(graph: &mut GraphProto, node: &NodeProto, count: usize, op: &str) {
    let inputs: Vec<String> = (0..count).map(|at| real(graph, node, 3 * at, vec![])).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = node.attribute.iter().filter(|a| a.name != "channels_last").cloned();
    let y = push(graph, node, op, &inputs, attributes.collect());
    quantised(graph, node, &y, 3 * count);
}

fn joined(graph: &mut GraphProto, node: &NodeProto) {
    let inputs = (2..node.input.len()).step_by(3).map(|at| real(graph, node, at, vec![]));
    let inputs: Vec<String> = inputs.collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = push(graph, node, "Concat", &inputs, node.attribute.clone());
    quantised(graph, node, &y, 0);
}
