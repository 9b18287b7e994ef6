//! Small models, written node by node.

use std::sync::atomic::{AtomicU32, Ordering};

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// A graph that grows. Names of values are the operators' with a number.
#[derive(Default)]
pub struct Graph(GraphProto);

/// An attribute of a node.
#[derive(Clone)]
pub enum Attribute {
    Ints(&'static str, Vec<i64>),
    Int(&'static str, i64),
    Float(&'static str, f32),
    Text(&'static str, &'static str),
}

/// A value that every test of the same name and position shares: in -1 to 1.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

impl Graph {
    /// With one input `x`, whose free extents are 0.
    pub fn new(shape: &[i64]) -> Graph {
        let mut graph = Graph::default();
        graph.0.name = "test".to_owned();
        graph.input("x", shape);
        graph
    }

    /// Another input.
    pub fn input(&mut self, name: &str, shape: &[i64]) {
        self.0.input.push(value(name, Some(shape)));
    }

    /// A constant of numbers in -1 to 1.
    pub fn weight(&mut self, shape: &[i64]) -> String {
        static SEED: AtomicU32 = AtomicU32::new(1);
        let count = shape.iter().product::<i64>() as usize;
        self.constant(shape, numbers(count, SEED.fetch_add(1, Ordering::Relaxed).into()))
    }

    /// A constant.
    pub fn constant(&mut self, shape: &[i64], values: Vec<f32>) -> String {
        let name = format!("constant/{}", self.0.initializer.len());
        self.0.initializer.push(TensorProto {
            dims: shape.to_vec(),
            data_type: 1,
            float_data: values,
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    /// Another input, of bytes.
    pub fn bytes_input(&mut self, name: &str, shape: &[i64], is_signed: bool) {
        self.0.input.push(value_of(name, Some(shape), if is_signed { 3 } else { 2 }));
    }

    /// Another input, of i64.
    pub fn longs_input(&mut self, name: &str, shape: &[i64]) {
        self.0.input.push(value_of(name, Some(shape), 7));
    }

    /// Another input, of halves.
    pub fn halves_input(&mut self, name: &str, shape: &[i64]) {
        self.0.input.push(value_of(name, Some(shape), 10));
    }

    /// A constant of halves.
    pub fn halves_constant(&mut self, shape: &[i64], values: &[conv_onnx::f16]) -> String {
        let bits: Vec<i32> = values.iter().map(|value| value.to_bits().into()).collect();
        self.whole(shape, &bits, 10)
    }

    /// A constant of bytes.
    pub fn bytes_constant(&mut self, shape: &[i64], values: &[i32], is_signed: bool) -> String {
        self.whole(shape, values, if is_signed { 3 } else { 2 })
    }

    /// A constant of i32.
    pub fn sums_constant(&mut self, shape: &[i64], values: &[i32]) -> String {
        self.whole(shape, values, 6)
    }

    /// A constant of truth values.
    pub fn truths_constant(&mut self, shape: &[i64], values: &[bool]) -> String {
        self.whole(shape, &values.iter().map(|&is| is.into()).collect::<Vec<i32>>(), 9)
    }

    /// A constant list of i64.
    pub fn longs_constant(&mut self, values: &[i64]) -> String {
        let name = format!("constant/{}", self.0.initializer.len());
        self.0.initializer.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: 7,
            int64_data: values.to_vec(),
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    fn whole(&mut self, shape: &[i64], values: &[i32], data_type: i32) -> String {
        let name = format!("constant/{}", self.0.initializer.len());
        self.0.initializer.push(TensorProto {
            dims: shape.to_vec(),
            data_type,
            int32_data: values.to_vec(),
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    /// One number.
    pub fn scalar(&mut self, value: f32) -> String {
        self.constant(&[], vec![value])
    }

    /// A node.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let name = format!("{op}/{}", self.0.node.len());
        self.0.node.push(NodeProto {
            name: name.clone(),
            op_type: op.to_owned(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            attribute: attributes.into_iter().map(attribute).collect(),
            ..NodeProto::default()
        });
        name
    }

    /// A node of several outputs.
    pub fn node_of(&mut self, op: &str, inputs: &[&str], outputs: usize) -> Vec<String> {
        let first = self.node(op, inputs, vec![]);
        let names: Vec<String> = (0..outputs).map(|at| format!("{first}/{at}")).collect();
        if let Some(node) = self.0.node.last_mut() {
            node.output.clone_from(&names);
        }
        names
    }

    /// A convolution without padding, with bias, over `x` of two spatial axes.
    pub fn conv(&mut self, x: &str, channels: [i64; 2], kernel: i64, padding: i64) -> String {
        let [input, output] = channels;
        let weight = self.weight(&[output, input, kernel, kernel]);
        let bias = self.weight(&[output]);
        self.node("Conv", &[x, &weight, &bias], vec![Attribute::Ints("pads", vec![padding; 4])])
    }

    /// The shape that the file claims of a value, with a free first extent.
    pub fn claim(&mut self, name: &str, rest: &[i64]) {
        let mut claimed = value(name, Some(&[&[1], rest].concat()));
        if let Some(type_proto::Value::TensorType(tensor)) =
            claimed.r#type.as_mut().and_then(|r#type| r#type.value.as_mut())
        {
            let first = tensor.shape.as_mut().expect("a shape").dim.first_mut().expect("an extent");
            first.value = Some(dimension::Value::DimParam("batch".to_owned()));
        }
        self.0.value_info.push(claimed);
    }

    /// The file's bytes.
    pub fn bytes(self, outputs: &[&str]) -> Vec<u8> {
        self.bytes_of(17, outputs)
    }

    /// The same, of an opset.
    pub fn bytes_of(mut self, opset: i64, outputs: &[&str]) -> Vec<u8> {
        self.0.output = outputs.iter().map(|name| value(name, None)).collect();
        let model = ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { version: opset, ..Default::default() }],
            graph: Some(self.0),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }
}

fn value(name: &str, shape: Option<&[i64]>) -> ValueInfoProto {
    value_of(name, shape, 1)
}

fn value_of(name: &str, shape: Option<&[i64]>, elem_type: i32) -> ValueInfoProto {
    let extent = |&n: &i64| {
        let free = || dimension::Value::DimParam("free".to_owned());
        let value = if n == 0 { free() } else { dimension::Value::DimValue(n) };
        // Free ones differ: two of one name would be equal.
        Dimension { value: (n != 0).then_some(value), ..Dimension::default() }
    };
    let shape = shape.map(|shape| TensorShapeProto { dim: shape.iter().map(extent).collect() });
    let tensor = type_proto::Value::TensorType(type_proto::Tensor { elem_type, shape });
    let r#type = Some(TypeProto { value: Some(tensor), ..TypeProto::default() });
    ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
}

fn attribute(from: Attribute) -> AttributeProto {
    let mut to = AttributeProto::default();
    let (name, kind) = match from {
        Attribute::Ints(name, values) => {
            to.ints = values;
            (name, AttributeType::Ints)
        }
        Attribute::Int(name, value) => {
            to.i = value;
            (name, AttributeType::Int)
        }
        Attribute::Float(name, value) => {
            to.f = value;
            (name, AttributeType::Float)
        }
        Attribute::Text(name, value) => {
            to.s = value.as_bytes().to_vec();
            (name, AttributeType::String)
        }
    };
    to.name = name.to_owned();
    to.r#type = kind as i32;
    to
}
