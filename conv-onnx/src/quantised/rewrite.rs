//! One way through the graph: what can be computed in bytes is.
//!
//! Requires a typed graph that is not decluttered, with [`Quantise`] and [`Dequantise`] nodes whose
//! constants are folded. Gives the same graph with [`Layer`]s, [`Table`]s, [`Pair`]s and [`Mean`]s;
//! the weights of convolutions that stay real are dequantised here.
//!
//! The graph is written anew, node by node. Every tensor of it is kept in as many forms as someone
//! asks for: as real numbers, as bytes, and as bytes with channels last. What nobody reads is
//! dropped in the end, so that a real convolution can be written first, and bytes in its place when
//! its reader turns out to quantise.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use conv_ir::Layout;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::konst::Const;

use super::dynamic::Dynamic;
use super::gather::Gather;
use super::grid::Grid;
use super::layer::{Layer, Sums};
use super::linear::{Dequantise, Quantise};
use super::operands::{average, constant, grid, layer_of, whole};
use super::state::{Forms, Found, Known, Rewrite, Tail, turned};
use crate::outputs::Outputs;
use crate::{found, pools};

/// Writes a graph anew, if it has something quantised.
pub fn rewrite(model: &mut TypedModel, outputs: &Arc<Outputs>) -> TractResult<()> {
    let is_quantised = |node: &TypedNode| {
        node.op_is::<Quantise>()
            || node.op_is::<Dequantise>()
            || node.op_as::<Conv>().is_some_and(|conv| conv.q_params.is_some())
            || node.op_as::<EinSum>().is_some_and(|op| op.q_params.is_some())
    };
    if !model.nodes.iter().any(is_quantised) {
        return Ok(());
    }
    let (symbols, properties) = (model.symbols.clone(), model.properties.clone());
    let new = TypedModel { symbols, properties, ..TypedModel::default() };
    let mut rewrite = Rewrite {
        old: model,
        new,
        plain: HashMap::new(),
        known: HashMap::new(),
        bytes: HashMap::new(),
        wholes: HashMap::new(),
        tails: HashMap::new(),
        reals: HashSet::new(),
        outputs: outputs.clone(),
        order: model.eval_order()?.into_iter().enumerate().map(|(at, id)| (id, at)).collect(),
        names: 0,
    };
    // Inputs keep their order.
    for &input in model.input_outlets()? {
        let fact = model.outlet_fact(input)?.clone();
        let source = rewrite.new.add_source(&model.node(input.node).name, fact)?;
        rewrite.plain.insert(input, source);
    }
    for id in model.eval_order()? {
        if !rewrite.plain.contains_key(&id.into()) {
            rewrite.node(model.node(id))?;
        }
    }
    let outlets = model.outputs.iter().map(|&outlet| rewrite.real(outlet));
    let outlets = outlets.collect::<TractResult<Vec<_>>>()?;
    let mut new = rewrite.new;
    new.select_output_outlets(&outlets)?;
    new.compact()?;
    *model = new;
    Ok(())
}

impl Rewrite<'_> {
    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{of}.quantised.{}", self.names)
    }

    pub fn wire(
        &mut self,
        of: &str,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        let name = self.name(of);
        Ok(self.new.wire_node(name, op, inputs)?[0])
    }

    pub fn shape(&self, outlet: OutletId) -> Option<&[usize]> {
        self.old.outlet_fact(outlet).ok()?.shape.as_concrete()
    }

    /// An old tensor as it is, in the new graph.
    pub fn real(&mut self, outlet: OutletId) -> TractResult<OutletId> {
        if let Some(&outlet) = self.plain.get(&outlet) {
            return Ok(outlet);
        }
        let name = self.old.node(outlet.node).name.clone();
        self.end(outlet)?;
        let found = if self.bytes.contains_key(&outlet) && !self.known.contains_key(&outlet) {
            self.first(outlet)?
        } else {
            match self.known.get(&outlet).cloned() {
                Some(Known::Bytes(of, grid)) => {
                    let bytes = self.first(of)?;
                    self.dequantised(&name, bytes, vec![grid.scale], zero_of(grid), 0)?
                }
                Some(Known::Sums(of, sums)) => self.sums(&name, of, &sums)?,
                None => match constant(self.old, outlet)? {
                    Some(value) => {
                        let name = self.name(&name);
                        self.new.add_const(name, value)?
                    }
                    None => bail!("{name}: its value is in no form"),
                },
            }
        };
        self.plain.insert(outlet, found);
        Ok(found)
    }

    fn dequantised(
        &mut self,
        name: &str,
        bytes: OutletId,
        scales: Vec<f32>,
        zero: Tensor,
        axis: i64,
    ) -> TractResult<OutletId> {
        let (scale_name, zero_name) = (self.name(name), self.name(name));
        let scale = match scales[..] {
            [one] => tensor0(one),
            _ => tensor1(&scales),
        };
        let scale = self.new.add_const(scale_name, scale)?;
        let zero = self.new.add_const(zero_name, zero)?;
        self.wire(name, Dequantise { axis }, &[bytes, scale, zero])
    }

    /// Sums as real numbers, channels first where they are a convolution's.
    fn sums(&mut self, name: &str, of: OutletId, sums: &Sums) -> TractResult<OutletId> {
        let layer = self.of_sums(name, of, sums, |sums| sums.layer(Vec::new()))??;
        let rank = self.new.outlet_fact(layer)?.rank();
        let axis = rank as i64 - 1;
        let real = self.dequantised(name, layer, sums.scales(), tensor0(0i32), axis)?;
        match sums.view {
            Some(_) => Ok(real),
            None => self.wire(name, AxisOp::Move(rank - 1, 1), &[real]),
        }
    }

    /// The layer of sums, of bytes in the form that it asks for.
    pub fn of_sums(
        &mut self,
        name: &str,
        of: OutletId,
        sums: &Sums,
        layer: impl FnOnce(&Sums) -> Result<Layer, conv_ir::Error>,
    ) -> TractResult<Result<OutletId, conv_ir::Error>> {
        let (input, made) = match Gather::of(sums, &self.outputs) {
            Some((gather, sums)) => {
                let first = self.first(of)?;
                (self.wire(name, gather, &[first])?, layer(&sums))
            }
            None => (self.form(of, sums.view.is_none())?, layer(sums)),
        };
        Ok(match made {
            Ok(layer) => Ok(self.wire(name, layer, &[input])?),
            Err(error) => Err(error),
        })
    }

    /// The bytes of an old tensor, with channels last or as it has them.
    pub fn form(&mut self, of: OutletId, is_last: bool) -> TractResult<OutletId> {
        if is_last { self.last(of) } else { self.first(of) }
    }

    /// The bytes of an old tensor.
    pub fn first(&mut self, of: OutletId) -> TractResult<OutletId> {
        self.end(of)?;
        let forms = self.bytes.get(&of).copied().unwrap_or_default();
        let found = match (forms.first, forms.last) {
            (Some(first), _) => first,
            (None, Some(last)) => {
                let rank = self.new.outlet_fact(last)?.rank();
                self.wire(&self.old.node(of.node).name.clone(), AxisOp::Move(rank - 1, 1), &[last])?
            }
            (None, None) => match self.plain.get(&of) {
                Some(&plain) => plain,
                None => bail!("{}: it has no bytes", self.old.node(of.node).name),
            },
        };
        self.bytes.entry(of).or_default().first = Some(found);
        Ok(found)
    }

    /// The same with channels last.
    pub fn last(&mut self, of: OutletId) -> TractResult<OutletId> {
        self.end(of)?;
        if let Some(last) = self.bytes.get(&of).and_then(|forms| forms.last) {
            return Ok(last);
        }
        let first = self.first(of)?;
        let rank = self.new.outlet_fact(first)?.rank();
        let name = self.old.node(of.node).name.clone();
        let last = self.wire(&name, AxisOp::Move(1, rank - 1), &[first])?;
        self.bytes.entry(of).or_default().last = Some(last);
        Ok(last)
    }

    /// Whether channels of a tensor's bytes are last, and nowhere first.
    pub fn is_last(&self, of: OutletId) -> bool {
        self.bytes.get(&of).is_some_and(|forms| forms.last.is_some())
    }

    fn node(&mut self, node: &TypedNode) -> TractResult<()> {
        let out = OutletId::new(node.id, 0);
        if let Some(found) = self.found(node)? {
            match found {
                Found::Known(known) => self.known.insert(out, known).map(drop),
                Found::Bytes(forms) => self.bytes.insert(out, forms).map(drop),
                Found::Both(grid, forms) => {
                    self.known.insert(out, Known::Bytes(out, grid));
                    self.bytes.insert(out, forms).map(drop)
                }
                Found::Nothing => None,
            };
            return Ok(());
        }
        let inputs = node.inputs.iter().map(|&input| self.real(input));
        let inputs = inputs.collect::<TractResult<TVec<_>>>()?;
        let wires = if let Some(op) = node.op_as::<Const>() {
            tvec!(self.new.add_const(&node.name, op.val().clone())?)
        } else {
            self.new.wire_node(&node.name, node.op.clone(), &inputs)?
        };
        for (slot, wire) in wires.into_iter().enumerate() {
            self.plain.insert(OutletId::new(node.id, slot), wire);
        }
        Ok(())
    }

    /// What a node's output is, if it can be bytes or made of them.
    fn found(&mut self, node: &TypedNode) -> TractResult<Option<Found>> {
        if node.op_is::<Dequantise>() {
            return self.dequantise(node);
        }
        if node.op_is::<Quantise>() {
            return self.quantise(node);
        }
        if let Some(tail) = self.longer(node)? {
            self.tails.insert(node.id.into(), tail);
            return Ok(Some(Found::Nothing));
        }
        if let Some(found) = self.sum_of_tails(node)? {
            return Ok(Some(found));
        }
        let Some(&input) = node.inputs.first() else { return Ok(None) };
        if node.op_is::<Dynamic>() {
            return self.dynamic(node, input);
        }
        if let Some((sums, zero)) =
            node.op_as::<Conv>().and_then(|conv| whole(self.old, node, conv))
        {
            let Some(last) = self.whole_layer(node, &sums, zero)? else { return Ok(None) };
            self.wholes.insert(node.id.into(), Tail::new(last, sums.spec.out_channels));
            return Ok(Some(Found::Bytes(Forms::of(true, last))));
        }
        if let Some(conv) = node.op_as::<Conv>() {
            let Some((of, grid)) = self.grid_of(input) else { return Ok(None) };
            let sums = layer_of(self.old, node, conv, grid);
            return Ok(sums.map(|sums| Found::Known(Known::Sums(of, Arc::new(sums)))));
        }
        if let Some(op) = node.op_as::<EinSum>() {
            return self.product(node, op);
        }
        if let Some(op) = node.op_as::<TypedBinOp>()
            && let Some(found) = self.affine(node, op)?
        {
            return Ok(Some(found));
        }
        if let Some(pool) = node.op_as::<SumPool>() {
            let Some((of, grid)) = self.grid_of(input) else { return Ok(None) };
            let sums = average(self.old, node, pool, grid);
            return Ok(sums.map(|sums| Found::Known(Known::Sums(of, Arc::new(sums)))));
        }
        if let Some(pool) = node.op_as::<MaxPool>() {
            return self.maximum(node, pool);
        }
        self.moved(node)
    }

    /// Of a tensor whose channels are last the bytes have them last.
    fn dynamic(&mut self, node: &TypedNode, input: OutletId) -> TractResult<Option<Found>> {
        if !self.tails.contains_key(&input) && !self.reals.contains(&input) {
            return Ok(None);
        }
        let last = self.last(input)?;
        let wires = self.new.wire_node(&node.name, Dynamic, &[last])?;
        for slot in 1..3 {
            self.plain.insert(OutletId::new(node.id, slot), wires[slot]);
        }
        Ok(Some(Found::Bytes(Forms::of(true, wires[0]))))
    }

    pub fn grid_of(&self, outlet: OutletId) -> Option<(OutletId, Grid)> {
        match self.known.get(&outlet)? {
            Known::Bytes(of, grid) => Some((*of, *grid)),
            Known::Sums(..) => None,
        }
    }

    fn dequantise(&mut self, node: &TypedNode) -> TractResult<Option<Found>> {
        let input = node.inputs[0];
        if self.old.outlet_fact(input)?.konst.is_some() {
            // Computed when someone asks.
            return Ok(constant(self.old, node.id.into())?.map(|_| Found::Nothing));
        }
        let grid = grid(self.old, node, self.old.outlet_fact(input)?.datum_type);
        Ok(grid.map(|grid| Found::Known(Known::Bytes(input, grid))))
    }

    /// A node that moves numbers and computes none.
    fn moved(&mut self, node: &TypedNode) -> TractResult<Option<Found>> {
        let grids = node.inputs.iter().map(|&input| self.grid_of(input));
        let Some(known) = grids.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let Some(&(of, grid)) = known.first() else { return Ok(None) };
        if known.iter().any(|(_, other)| *other != grid) {
            return Ok(None);
        }
        let rank = self.old.outlet_fact(node.inputs[0])?.rank();
        let all_last = rank > 2 && known.iter().any(|&(of, _)| self.is_last(of));
        if all_last {
            let op: Box<dyn TypedOp> = if let Some(op) = node.op_as::<Slice>() {
                Box::new(Slice { axis: turned(op.axis, rank), ..op.clone() })
            } else if let Some(op) = node.op_as::<TypedConcat>() {
                Box::new(TypedConcat { axis: turned(op.axis, rank) })
            } else if node.op_is::<AxisOp>() {
                let first = self.first(of)?;
                let first = self.wire(&node.name, node.op.clone(), &[first])?;
                return Ok(Some(Found::Both(grid, Forms { first: Some(first), last: None })));
            } else {
                return Ok(None);
            };
            let inputs = known.iter().map(|&(of, _)| self.last(of));
            let inputs = inputs.collect::<TractResult<TVec<_>>>()?;
            let last = self.wire(&node.name, op, &inputs)?;
            return Ok(Some(Found::Both(grid, Forms { first: None, last: Some(last) })));
        }
        if !(node.op_is::<Slice>() || node.op_is::<TypedConcat>() || node.op_is::<AxisOp>()) {
            return Ok(None);
        }
        let inputs = known.iter().map(|&(of, _)| self.first(of));
        let inputs = inputs.collect::<TractResult<TVec<_>>>()?;
        let first = self.wire(&node.name, node.op.clone(), &inputs)?;
        Ok(Some(Found::Both(grid, Forms { first: Some(first), last: None })))
    }

    fn maximum(&mut self, node: &TypedNode, pool: &MaxPool) -> TractResult<Option<Found>> {
        let input = node.inputs[0];
        let known = self.grid_of(input);
        // An operator of bytes, of whatever they stand for.
        let of_bytes = |is_signed| (input, Grid { is_signed, scale: 1.0, zero: 0 });
        let (of, grid) = match (known, self.old.outlet_fact(input)?.datum_type) {
            (Some(known), _) => known,
            (None, DatumType::U8) => of_bytes(false),
            (None, DatumType::I8) => of_bytes(true),
            _ => return Ok(None),
        };
        let Some(shape) = self.shape(input) else { return Ok(None) };
        let is_plain = pool.with_index_outputs.is_none()
            || node.outputs.len() < 2
            || node.outputs[1].successors.is_empty();
        let spec = pools::windowed(conv_ir::Reduction::Max, shape, &pool.pool_spec);
        let Some(mut spec) = spec.filter(|_| is_plain) else { return Ok(None) };
        if !conv_ir::Conv::new(spec.clone())
            .is_ok_and(|conv| found::fits(&conv, &node.outputs[0].fact))
        {
            return Ok(None);
        }
        spec.layout = Layout::ChannelsLast;
        let Ok(layer) = Layer::of_maximum(spec, grid) else { return Ok(None) };
        let input = self.last(of)?;
        let forms = Forms::of(true, self.wire(&node.name, layer, &[input])?);
        Ok(Some(match known {
            Some(_) => Found::Both(grid, forms),
            None => Found::Bytes(forms),
        }))
    }
}

fn zero_of(grid: Grid) -> Tensor {
    match grid.is_signed {
        true => tensor0(grid.zero as i8),
        false => tensor0(grid.zero as u8),
    }
}
