//! Quantised models: convolutions of bytes, and what stands between them.
//!
//! ```text
//! QLinearConv, QLinearAdd, ..  --expanded-->  dequantise, Conv, Add, .., quantise
//! dequantise(x), dequantise(w) -> Conv -> [Relu, Clip] -> quantise   ->  one layer of bytes
//! dequantise(x), dequantise(w) -> MatMul or Gemm -> quantise         ->  the same
//! dequantise(x) -> any function of one number -> quantise            ->  a table of 256 bytes
//! dequantise(x), dequantise(y) -> Add or Mul -> [Relu] -> quantise   ->  one pass over both
//! ```
//!
//! A model says its bytes in one of two ways: by operators of bytes, or by real ones between
//! `DequantizeLinear` and `QuantizeLinear`. The first are [spelled](expanded) as the second before
//! tract sees them, so that there is one form. [`rewrite`] then goes through the graph once: a
//! tensor that is dequantised stays bytes until someone needs real numbers. Sums are exact, and
//! rounded as ONNX says; the graph's own floating-point sums, computed as they stand, differ where
//! two numbers are equally near.
//!
//! Layers of bytes have their channels last, where four of a pixel make one product. Tensors are
//! turned where that begins and ends. A layer of few channels reads its [windows](gather) from an
//! image whose channels are first.

mod dynamic;
mod ends;
pub mod expanded;
mod expression;
mod gather;
mod grid;
mod layer;
mod linear;
mod operands;
mod passes;
mod product;
mod rewrite;
mod state;
mod tail;

pub use layer::{Layer, Run};
pub use rewrite::rewrite;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::tract_core::internal::TypedOp;

/// Puts what is quantised into tract's reader.
pub fn register(operators: &mut OnnxOpRegister) {
    linear::register(operators);
    dynamic::register(operators);
}

/// What a node computes that is one of the passes here, which no convolution says.
pub fn pass(op: &dyn TypedOp) -> Option<&'static str> {
    if op.is::<passes::Table>() {
        return Some("a function of bytes, as a table");
    }
    if let Some(pair) = op.downcast_ref::<passes::Pair>() {
        return Some(if pair.is_product { "products of bytes" } else { "sums of bytes" });
    }
    if op.is::<passes::Mean>() {
        return Some("means of images of bytes");
    }
    if op.is::<gather::Gather>() {
        return Some("windows of bytes side by side");
    }
    if op.is::<linear::Quantise>() {
        return Some("bytes of real numbers");
    }
    if op.is::<dynamic::Dynamic>() {
        return Some("bytes of real numbers, by their range");
    }
    if op.is::<dynamic::Taken>() {
        return Some("sums without a zero point");
    }
    if op.is::<tail::Real>() {
        return Some("sums as real numbers");
    }
    op.is::<linear::Dequantise>().then_some("real numbers of whole ones")
}
