//! Operators of bytes, spelled as real ones between `DequantizeLinear` and `QuantizeLinear`.
//!
//! ```text
//! y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)
//!   -> QuantizeLinear(Conv(dequantised x, dequantised w, b * xs * ws), ys, yz)
//! ```
//!
//! Those of ONNX, and those of `com.microsoft` that ONNX Runtime's quantiser and optimiser write.
//!
//! In: the file. Out: the same with those nodes replaced, in place. An operator that is not listed
//! stays, and tract says what it thinks of it. Names of what is new begin with that of the node's
//! output, which is the graph's own.

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, attribute_proto,
};
use tract_onnx::tract_core::internal::*;

/// How many inputs, of three each, an operator has, and by which one it is spelled.
const ELEMENTWISE: [(&str, usize, &str); 7] = [
    ("QLinearAdd", 2, "Add"),
    ("QLinearMul", 2, "Mul"),
    ("QLinearSigmoid", 1, "Sigmoid"),
    ("QLinearLeakyRelu", 1, "LeakyRelu"),
    ("QLinearSoftmax", 1, "Softmax"),
    ("QLinearAveragePool", 1, "AveragePool"),
    ("QLinearGlobalAveragePool", 1, "GlobalAveragePool"),
];

/// Operators of `com.microsoft` that have no spelling here, and what a user can do instead.
const REFUSED: [(&str, &str); 4] = [
    ("QAttention", "quantise the model without Attention nodes, which are its optimiser's"),
    ("QEmbedLayerNormalization", "quantise the model without nodes of ONNX Runtime's optimiser"),
    ("DynamicQuantizeLSTM", "leave LSTM out of op_types_to_quantize"),
    ("QGemmFloat8", "quantise to u8 or i8"),
];

/// Replaces what it knows.
pub fn expand(model: &mut ModelProto) -> TractResult<()> {
    let opset = model.opset_import.iter().find(|set| set.domain.is_empty());
    let opset = opset.map_or(0, |set| set.version);
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes {
        let given = |count: usize| node.input.len() >= count && node.output.len() == 1;
        let listed = ELEMENTWISE.iter().find(|(name, ..)| *name == node.op_type);
        match (&node.op_type[..], listed) {
            ("QLinearConv", _) if given(8) => convolution(graph, &node)?,
            ("QLinearMatMul", _) if given(8) => product(graph, &node),
            ("QGemm", _) if given(6) => rows(graph, &node),
            ("MatMulIntegerToFloat", _) if given(4) => scaled(graph, &node),
            ("DynamicQuantizeMatMul", _) if given(3) => dynamic(graph, &node),
            ("QLinearConcat", _) if given(5) => joined(graph, &node),
            ("QLinearWhere", _) if given(9) => chosen(graph, &node),
            ("QLinearReduceMean", _) if given(5) => mean(graph, &node, opset),
            (_, Some(&(_, count, op))) if given(3 * count + 1) => {
                elementwise(graph, &node, (count, op), opset)?;
            }
            (name, _) => {
                if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
                    bail!("{name} of ONNX Runtime is not read (node '{}'): {instead}", node.name);
                }
                graph.node.push(node);
            }
        }
    }
    Ok(())
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

/// Refuses what ONNX Runtime's optimiser for its own machine leaves behind.
fn channels_first(node: &NodeProto) -> TractResult<()> {
    ensure!(
        !node.attribute.iter().any(|a| a.name == "channels_last" && a.i != 0),
        "{} with channels_last is not read (node '{}'): save the model without ONNX Runtime's \
         layout optimisation (graph_optimization_level up to ORT_ENABLE_EXTENDED)",
        node.op_type,
        node.name,
    );
    Ok(())
}

/// Attributes that the real operator has too.
fn kept(node: &NodeProto, without: &[&str]) -> Vec<AttributeProto> {
    node.attribute.iter().filter(|a| !without.contains(&&a.name[..])).cloned().collect()
}

fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == name).map(|a| a.i)
}

fn convolution(graph: &mut GraphProto, node: &NodeProto) -> TractResult<()> {
    channels_first(node)?;
    let x = real(graph, node, 0, vec![]);
    let w = real(graph, node, 3, vec![int("axis", 0)]);
    let bias = node.input.get(8).filter(|name| !name.is_empty()).map(|bias| {
        let scale = push(graph, node, "Mul", &[&node.input[1], &node.input[4]], vec![]);
        push(graph, node, "DequantizeLinear", &[bias, &scale], vec![int("axis", 0)])
    });
    let inputs: Vec<&str> = [&x, &w].into_iter().chain(&bias).map(String::as_str).collect();
    let y = push(graph, node, "Conv", &inputs, kept(node, &["channels_last"]));
    quantised(graph, node, &y, 6);
    Ok(())
}

fn product(graph: &mut GraphProto, node: &NodeProto) {
    // Scales of the first are by row, of the second by column.
    let a = real(graph, node, 0, vec![int("axis", -2)]);
    let b = real(graph, node, 3, vec![int("axis", -1)]);
    let y = push(graph, node, "MatMul", &[&a, &b], vec![]);
    quantised(graph, node, &y, 6);
}

/// `alpha * a * b + c`, where `c` counts in the scale of the product.
fn rows(graph: &mut GraphProto, node: &NodeProto) {
    let turned = |name: &str| attribute(node, name).is_some_and(|value| value != 0);
    let a = real(graph, node, 0, vec![int("axis", turned("transA").into())]);
    let b = real(graph, node, 3, vec![int("axis", i64::from(!turned("transB")))]);
    let input = |at: usize| node.input.get(at).map(String::as_str).filter(|name| !name.is_empty());
    let c = input(6).map(|c| {
        let mut scale = push(graph, node, "Mul", &[&node.input[1], &node.input[4]], vec![]);
        let alpha = node.attribute.iter().find(|a| a.name == "alpha").map_or(1.0, |a| a.f);
        if alpha != 1.0 {
            let name = format!("{}/alpha", node.output[0]);
            graph.initializer.push(TensorProto {
                name: name.clone(),
                data_type: 1,
                float_data: vec![alpha],
                ..TensorProto::default()
            });
            scale = push(graph, node, "Mul", &[&scale, &name], vec![]);
        }
        push(graph, node, "DequantizeLinear", &[c, &scale], vec![int("axis", -1)])
    });
    let inputs: Vec<&str> = [&a, &b].into_iter().chain(&c).map(String::as_str).collect();
    if input(7).is_some() {
        let y = push(graph, node, "Gemm", &inputs, node.attribute.clone());
        quantised(graph, node, &y, 7);
    } else {
        named(graph, node, "Gemm", &inputs, node.attribute.clone());
    }
}

/// `MatMulIntegerToFloat(a, b, as, bs, az, bz, bias)`.
fn scaled(graph: &mut GraphProto, node: &NodeProto) {
    let input = |at: usize| node.input.get(at).map_or("", String::as_str);
    let side = |graph: &mut GraphProto, at: usize, axis: i64| {
        let mut inputs = vec![input(at), input(at + 2), input(at + 4)];
        inputs.retain(|name| !name.is_empty());
        push(graph, node, "DequantizeLinear", &inputs, vec![int("axis", axis)])
    };
    let (a, b) = (side(graph, 0, -2), side(graph, 1, -1));
    with_bias(graph, node, (&a, &b), input(6));
}

/// `DynamicQuantizeMatMul(a, b, bs, bz, bias)`: `a` is quantised by its own range.
fn dynamic(graph: &mut GraphProto, node: &NodeProto) {
    let input = |at: usize| node.input.get(at).map_or("", String::as_str);
    let names = ["bytes", "scale", "zero"].map(|part| format!("{}/a/{part}", node.output[0]));
    graph.node.push(NodeProto {
        name: names[0].clone(),
        op_type: "DynamicQuantizeLinear".to_owned(),
        input: vec![input(0).to_owned()],
        output: names.to_vec(),
        ..NodeProto::default()
    });
    let inputs = [&names[0], &names[1], &names[2]].map(String::as_str);
    let a = push(graph, node, "DequantizeLinear", &inputs, vec![]);
    let mut inputs = vec![input(1), input(2), input(3)];
    inputs.retain(|name| !name.is_empty());
    let b = push(graph, node, "DequantizeLinear", &inputs, vec![int("axis", -1)]);
    with_bias(graph, node, (&a, &b), input(4));
}

fn with_bias(graph: &mut GraphProto, node: &NodeProto, (a, b): (&str, &str), bias: &str) {
    if bias.is_empty() {
        named(graph, node, "MatMul", &[a, b], vec![]);
    } else {
        let y = push(graph, node, "MatMul", &[a, b], vec![]);
        named(graph, node, "Add", &[&y, bias], vec![]);
    }
}

/// A new node in the place of one.
fn named(
    graph: &mut GraphProto,
    of: &NodeProto,
    op: &str,
    inputs: &[&str],
    attribute: Vec<AttributeProto>,
) {
    graph.node.push(NodeProto {
        name: of.name.clone(),
        op_type: op.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: of.output.clone(),
        attribute,
        ..NodeProto::default()
    });
}

fn elementwise(
    graph: &mut GraphProto,
    node: &NodeProto,
    (count, op): (usize, &str),
    opset: i64,
) -> TractResult<()> {
    channels_first(node)?;
    // Before opset 13 a softmax is over all axes from its own one on.
    let own = attribute(node, "opset").unwrap_or(opset);
    ensure!(
        op != "Softmax" || (own < 13) == (opset < 13),
        "QLinearSoftmax of opset {own} in a model of opset {opset} is not read (node '{}')",
        node.name,
    );
    let inputs: Vec<String> = (0..count).map(|at| real(graph, node, 3 * at, vec![])).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = push(graph, node, op, &inputs, kept(node, &["channels_last", "opset"]));
    quantised(graph, node, &y, 3 * count);
    Ok(())
}

/// `QLinearWhere(condition, x, xs, xz, y, ys, yz, zs, zz)`.
fn chosen(graph: &mut GraphProto, node: &NodeProto) {
    let (x, y) = (real(graph, node, 1, vec![]), real(graph, node, 4, vec![]));
    let z = push(graph, node, "Where", &[&node.input[0], &x, &y], vec![]);
    quantised(graph, node, &z, 7);
}

/// `QLinearReduceMean`, whose axes are an attribute; those of the real one are an input since 18.
fn mean(graph: &mut GraphProto, node: &NodeProto, opset: i64) {
    let x = real(graph, node, 0, vec![]);
    let axes = node.attribute.iter().find(|a| a.name == "axes");
    let y = match axes {
        Some(axes) if opset >= 18 => {
            let name = format!("{}/axes", node.output[0]);
            graph.initializer.push(TensorProto {
                name: name.clone(),
                dims: vec![axes.ints.len() as i64],
                data_type: 7,
                int64_data: axes.ints.clone(),
                ..TensorProto::default()
            });
            push(graph, node, "ReduceMean", &[&x, &name], kept(node, &["axes"]))
        }
        _ => push(graph, node, "ReduceMean", &[&x], node.attribute.clone()),
    };
    quantised(graph, node, &y, 3);
}

fn joined(graph: &mut GraphProto, node: &NodeProto) {
    let inputs = (2..node.input.len()).step_by(3).map(|at| real(graph, node, at, vec![]));
    let inputs: Vec<String> = inputs.collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = push(graph, node, "Concat", &inputs, node.attribute.clone());
    quantised(graph, node, &y, 0);
}
