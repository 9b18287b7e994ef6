//! Transposed convolutions whose padding follows from what they give.
//!
//! ```text
//! output = stride * (input - 1) + output padding + window - padding
//!
//! output_shape        ->   the padding that gives it
//! auto_pad: SAME_*    ->   the same, of an output of stride * input
//! ```
//!
//! tract reads `output_shape` as more output at the end, and cannot run `SAME` with it. Half of the
//! padding is before and half behind; an odd one is behind with `SAME_UPPER`, else before. Padding
//! below zero is output padding.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::cnn::{Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

/// tract's own reader, by a name that is none.
const CONV_TRANSPOSE: &str = "conv_onnx.ConvTranspose";

/// Puts it into tract's reader.
pub fn register(operators: &mut OnnxOpRegister) {
    let Some(&tracts) = operators.0.get("ConvTranspose") else { return };
    operators.insert(CONV_TRANSPOSE, tracts);
    operators.insert("ConvTranspose", |context, node| match Transposed::of(node)? {
        Some(op) => Ok((expand(op), vec![])),
        None => context.framework.op_register.0[CONV_TRANSPOSE](context, node),
    });
}

/// What the node says.
#[derive(Clone, Debug)]
struct Transposed {
    strides: Option<TVec<usize>>,
    dilations: Option<TVec<usize>>,
    output_padding: Option<TVec<usize>>,
    groups: usize,
    /// None where it is the stride times the input.
    output_shape: Option<TVec<usize>>,
    /// Where an odd one of the padding goes.
    is_upper: bool,
    has_bias: bool,
}

impl Transposed {
    /// None where the padding is said.
    fn of(node: &NodeProto) -> TractResult<Option<Transposed>> {
        let auto = node.get_attr_opt::<&str>("auto_pad")?.unwrap_or("NOTSET");
        let output_shape = node.get_attr_opt_tvec::<usize>("output_shape")?;
        let output_shape = output_shape.filter(|shape| !shape.is_empty());
        if output_shape.is_none() && !auto.starts_with("SAME") {
            return Ok(None);
        }
        let groups = node.get_attr_opt("group")?.unwrap_or(1);
        ensure!(groups > 0, "ConvTranspose {}: group is 0, but there is at least one", node.name);
        Ok(Some(Transposed {
            strides: node.get_attr_opt_tvec("strides")?,
            dilations: node.get_attr_opt_tvec("dilations")?,
            output_padding: node.get_attr_opt_tvec("output_padding")?,
            groups,
            output_shape,
            is_upper: auto == "SAME_UPPER",
            has_bias: node.input.get(2).is_some_and(|name| !name.is_empty()),
        }))
    }

    /// The extents of an input that are known become those of the output.
    fn given(&self, axis: usize, input: usize) -> TractResult<usize> {
        match &self.output_shape {
            Some(shape) => {
                let extent = shape.get(axis).copied();
                extent.with_context(|| format!("output_shape {shape:?} has no axis {axis}"))
            }
            None => self.stride(axis).checked_mul(input).context("the output is too large"),
        }
    }

    fn stride(&self, axis: usize) -> usize {
        self.strides.as_ref().and_then(|all| all.get(axis)).copied().unwrap_or(1)
    }

    /// Of one axis: the padding before and behind, and the output padding.
    fn axis(&self, axis: usize, input: usize, taps: usize) -> TractResult<(usize, usize, usize)> {
        let of = |list: &Option<TVec<usize>>, otherwise| {
            list.as_ref().and_then(|all| all.get(axis)).copied().unwrap_or(otherwise)
        };
        let extra = of(&self.output_padding, 0);
        let product = |a: usize, b: usize| a.checked_mul(b.saturating_sub(1));
        let window = product(of(&self.dilations, 1), taps).and_then(|reach| reach.checked_add(1));
        let full = product(self.stride(axis), input)
            .zip(window)
            .and_then(|(full, window)| full.checked_add(window)?.checked_add(extra))
            .context("the output is too large")?;
        let output = self.given(axis, input)?;
        let Some(padding) = full.checked_sub(output) else {
            return Ok((0, 0, extra + output - full));
        };
        let (less, more) = (padding / 2, padding - padding / 2);
        Ok(if self.is_upper { (less, more, extra) } else { (more, less, extra) })
    }
}

impl Expansion for Transposed {
    fn name(&self) -> StaticName {
        "ConvTranspose".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2 + usize::from(self.has_bias))?;
        check_output_arity(outputs, 1)?;
        let (x, weight, y) = (&inputs[0], &inputs[1], &outputs[0]);
        s.equals(&x.datum_type, &y.datum_type)?;
        s.equals(&x.datum_type, &weight.datum_type)?;
        s.equals(&x.rank, &weight.rank)?;
        s.equals(&x.rank, &y.rank)?;
        s.equals(&x.shape[0], &y.shape[0])?;
        s.equals(&x.shape[1], &weight.shape[0])?;
        s.equals(&y.shape[1], self.groups as i64 * weight.shape[1].bex())?;
        s.given(&x.rank, move |s, rank| {
            for axis in 0..(rank as usize).saturating_sub(2) {
                s.given(&x.shape[2 + axis], move |s, input| match input.to_usize() {
                    Ok(input) => s.equals(&y.shape[2 + axis], self.given(axis, input)?.to_dim()),
                    Err(_) => Ok(()),
                })?;
            }
            Ok(())
        })
    }

    fn wire(
        &self,
        prefix: &str,
        target: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        // The weights of ONNX are `[in, out/groups, k..]`, tract's `[out, in/groups, k..]`.
        let name = |what: &str| format!("{prefix}.{what}");
        let split = AxisOp::wire_split_axis(target, name("groups"), inputs[1], 0, self.groups)?;
        let moved = target.wire_node(name("outputs_first"), AxisOp::Move(1, 2), &split)?;
        let weight = AxisOp::wire_collapse_axis(target, name("weight"), moved[0], 0)?[0];
        let input = target.outlet_fact(inputs[0])?.clone();
        let bias = match inputs.get(2) {
            Some(&bias) => bias,
            None => target.add_const(name("bias"), Tensor::zero_scalar_dt(input.datum_type)?)?,
        };
        let known = "a transposed convolution of this padding needs known extents";
        let extents = input.shape.as_concrete().context(known)?.to_vec();
        let shape = target.outlet_fact(weight)?.shape.as_concrete().context(known)?.to_vec();
        let format = KernelFormat::OIHW;
        let (mut before, mut behind, mut extra) = (tvec![], tvec![], tvec![]);
        for (axis, (&input, &taps)) in extents[2..].iter().zip(&shape[2..]).enumerate() {
            let found = self.axis(axis, input, taps)?;
            before.push(found.0);
            behind.push(found.1);
            extra.push(found.2);
        }
        let pool = PoolSpec::new(
            DataFormat::NCHW,
            shape[2..].into(),
            PaddingSpec::Explicit(before, behind),
            self.dilations.clone(),
            self.strides.clone(),
            format.input_channels(&shape, self.groups).into_owned(),
            format.output_channels(&shape, self.groups).into_owned(),
        );
        let op = Deconv::new(pool, format, extra, self.groups);
        target.wire_node(prefix, op, &[inputs[0], weight, bias])
    }
}
