//! tract's reader of ONNX, with what it lacks.
//!
//! - Shapes in a file are never needed, and often wrong, or of another size than the one that is
//!   run. So they are not read.
//! - `Upsample`, which was before `Resize`.
//! - `Resize` of opset 10 takes the nearest element at or before a position.
//! - Nodes that tract would read otherwise are spelled anew: [`spelling`](crate::spelling).
//! - What is quantised, in one form: [`quantised`].
//! - Elu, its kin and softplus are one node each: [`activations`].
//! - Padding of transposed convolutions that follows from what they give: [`transposed`].
//! - `SpaceToDepth` with channels first (mode `CRD`), which tract would run in the other order, and
//!   `GlobalLpPool`, of which it takes a mean, are refused.

use std::path::Path;

use tract_onnx::model::ParseResult;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, attribute_proto};
use tract_onnx::prelude::{Framework as _, InferenceModel};
use tract_onnx::tract_core::internal::*;

use crate::activations;
use crate::options::Route;
use crate::quantised::{self, expanded};
use crate::spelling::spell;
use crate::transposed;

/// tract's own operators, by names that are none.
const RESIZE: &str = "conv_onnx.Resize";
const SPACE_TO_DEPTH: &str = "conv_onnx.SpaceToDepth";
const PAD: &str = "conv_onnx.Pad";

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
        spell(graph);
    }
    if route == Route::Compiled {
        expanded::expand(&mut proto)?;
    }
    if let Some(graph) = &proto.graph {
        known(graph, &reader, route)?;
    }
    let ParseResult { model, unresolved_inputs, .. } = reader.parse(&proto, folder)?;
    ensure!(unresolved_inputs.is_empty(), "nothing gives {}", unresolved_inputs.join(", "));
    Ok(model)
}

/// An operator that nobody has is said at once; one that tract alone has not, with who has.
fn known(graph: &GraphProto, reader: &tract_onnx::Onnx, route: Route) -> TractResult<()> {
    let is_strange = |node: &&NodeProto| !reader.op_register.0.contains_key(&*node.op_type);
    let Some(NodeProto { op_type, name, domain, .. }) = graph.node.iter().find(is_strange) else {
        return Ok(());
    };
    if route == Route::Tract && domain == "com.microsoft" {
        bail!(
            "tract has no operator {op_type} of ONNX Runtime's (node '{name}'): leave the route \
             tract out, so that the model is compiled"
        );
    }
    bail!("operator {op_type} is not supported (node '{name}')")
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
    for (operator, own) in [("Resize", RESIZE), ("SpaceToDepth", SPACE_TO_DEPTH), ("Pad", PAD)] {
        let Some(&tracts) = operators.0.get(operator) else { return onnx };
        operators.insert(own, tracts);
    }
    activations::register(operators);
    transposed::register(operators);
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
    operators.insert("Pad", |context, node| {
        let mut context = context.clone();
        if node.input.len() > 1 {
            // Its pads are an input, as from opset 11 on.
            context.onnx_operator_set_version = context.onnx_operator_set_version.max(11);
        }
        context.framework.op_register.0[PAD](&context, node)
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
    operators.insert("GlobalLpPool", |_, _| {
        bail!("GlobalLpPool is a mean in tract, where ONNX has a sum: use ReduceL1 or ReduceL2")
    });
    onnx
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
