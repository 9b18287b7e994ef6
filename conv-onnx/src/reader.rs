//! tract's reader of ONNX, with what it lacks.
//!
//! - Shapes in a file are never needed, and often wrong, or of another size than the one that is
//!   run. So they are not read.
//! - `Upsample`, which was before `Resize`.
//! - `Resize` of opset 10 takes the nearest element at or before a position.
//! - `SpaceToDepth` with channels first (mode `CRD`), which tract would run in the other order, is
//!   refused.

use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto};
use tract_onnx::tract_core::internal::*;

/// tract's own operators, by names that are none.
const RESIZE: &str = "conv_onnx.Resize";
const SPACE_TO_DEPTH: &str = "conv_onnx.SpaceToDepth";

/// The reader.
pub fn reader() -> tract_onnx::Onnx {
    let onnx = tract_onnx::onnx();
    let mut onnx = onnx.with_ignore_output_shapes(true).with_ignore_value_info(true);
    let operators = &mut onnx.op_register;
    for (operator, own) in [("Resize", RESIZE), ("SpaceToDepth", SPACE_TO_DEPTH)] {
        let Some(&tracts) = operators.0.get(operator) else { return onnx };
        operators.insert(own, tracts);
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
