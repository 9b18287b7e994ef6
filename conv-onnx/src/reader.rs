//! tract's reader of ONNX, with what it lacks.
//!
//! - Shapes in a file are never needed, and often wrong, or of another size than the one that is
//!   run. So they are not read.
//! - `Upsample`, which was before `Resize`.
//! - `Resize` of opset 10 takes the nearest element at or before a position.
//! - `NonMaxSuppression` takes numbers that are scalars.
//! - What is quantised, in one form: [`quantised`].
//! - Elu, its kin and softplus are one node each: [`activations`].
//! - `SpaceToDepth` with channels first (mode `CRD`), which tract would run in the other order, is
//!   refused.

use std::path::Path;

use tract_onnx::model::ParseResult;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto};
use tract_onnx::prelude::{Framework as _, InferenceModel};
use tract_onnx::tract_core::internal::*;

use crate::activations;
use crate::options::Route;
use crate::quantised::{self, expanded};

/// tract's own operators, by names that are none.
const RESIZE: &str = "conv_onnx.Resize";
const SPACE_TO_DEPTH: &str = "conv_onnx.SpaceToDepth";

/// Reads a model: from a file, whose folder has what the model keeps outside, or from bytes.
pub fn read(from: From<'_>, route: Route) -> TractResult<InferenceModel> {
    let reader = reader(route);
    let (mut proto, folder) = match from {
        From::Path(path) => {
            (reader.proto_model_for_path(path)?, path.parent().and_then(Path::to_str))
        }
        From::Bytes(mut bytes) => (reader.proto_model_for_read(&mut bytes)?, None),
    };
    if let Some(graph) = &mut proto.graph {
        listed(graph);
    }
    match (route, &proto.graph) {
        (Route::Compiled, _) => expanded::expand(&mut proto)?,
        (Route::Tract, Some(graph)) => known(graph, &reader)?,
        (Route::Tract, None) => {}
    }
    let ParseResult { model, unresolved_inputs, .. } = reader.parse(&proto, folder)?;
    ensure!(unresolved_inputs.is_empty(), "nothing gives {}", unresolved_inputs.join(", "));
    Ok(model)
}

/// What tract alone has no operators for is said at once, and who has.
fn known(graph: &GraphProto, reader: &tract_onnx::Onnx) -> TractResult<()> {
    let is_strange = |node: &&NodeProto| {
        node.domain == "com.microsoft" && !reader.op_register.0.contains_key(&*node.op_type)
    };
    if let Some(node) = graph.node.iter().find(is_strange) {
        bail!(
            "tract has no operator {} of ONNX Runtime's (node '{}'): leave the route tract out, so \
             that the model is compiled",
            node.op_type,
            node.name
        );
    }
    Ok(())
}

/// Where a model is.
pub enum From<'a> {
    Path(&'a Path),
    Bytes(&'a [u8]),
}

fn reader(route: Route) -> tract_onnx::Onnx {
    let onnx = tract_onnx::onnx();
    let mut onnx = onnx.with_ignore_output_shapes(true).with_ignore_value_info(true);
    let operators = &mut onnx.op_register;
    for (operator, own) in [("Resize", RESIZE), ("SpaceToDepth", SPACE_TO_DEPTH)] {
        let Some(&tracts) = operators.0.get(operator) else { return onnx };
        operators.insert(own, tracts);
    }
    activations::register(operators);
    if route == Route::Compiled {
        quantised::register(operators);
    }
    operators.insert("Resize", |context, node| {
        let node = match context.onnx_operator_set_version {
            10 => &floored(node),
            _ => node,
        };
        context.framework.op_register.0[RESIZE](context, node)
    });
    operators.insert("Upsample", |context, node| {
        let version = context.onnx_operator_set_version;
        if version < 9 {
            bail!(
                "Upsample of opset {version} has its scales in an attribute, which tract cannot \
                 read: convert the model to opset 9 or later"
            );
        }
        // As `Resize` began.
        let mut context = context.clone();
        context.onnx_operator_set_version = 10;
        context.framework.op_register.0[RESIZE](&context, &floored(node))
    });
    operators.insert("SpaceToDepth", |context, node| {
        if node.attribute.iter().any(|attribute| attribute.name == "mode" && attribute.s != b"DCR")
        {
            bail!(
                "SpaceToDepth in another mode than DCR, which is tract's: use Reshape and Transpose"
            );
        }
        context.framework.op_register.0[SPACE_TO_DEPTH](context, node)
    });
    onnx
}

/// The numbers of `NonMaxSuppression` as lists of one, which tract asks for; others take scalars.
fn listed(graph: &mut GraphProto) {
    const ONE: &str = "conv_onnx.one";
    let nodes = std::mem::take(&mut graph.node);
    for mut node in nodes {
        if node.op_type == "NonMaxSuppression" {
            for at in 2..node.input.len() {
                let name = format!("{}/list/{at}", node.output.first().map_or("", String::as_str));
                let given = std::mem::replace(&mut node.input[at], name.clone());
                if given.is_empty() {
                    node.input[at] = given;
                    continue;
                }
                graph.node.push(NodeProto {
                    name: name.clone(),
                    op_type: "Reshape".to_owned(),
                    input: vec![given, ONE.to_owned()],
                    output: vec![name],
                    ..NodeProto::default()
                });
            }
        }
        graph.node.push(node);
    }
    if graph.node.iter().any(|node| node.input.iter().any(|input| input == ONE)) {
        graph.initializer.push(TensorProto {
            name: ONE.to_owned(),
            dims: vec![1],
            // i64
            data_type: 7,
            int64_data: vec![1],
            ..TensorProto::default()
        });
    }
}

/// With the mode that such a node does not say.
fn floored(node: &NodeProto) -> NodeProto {
    let mut node = node.clone();
    node.attribute.push(AttributeProto {
        name: "nearest_mode".to_owned(),
        r#type: attribute_proto::AttributeType::String.into(),
        s: b"floor".to_vec(),
        ..AttributeProto::default()
    });
    node
}
