//! The buffers of a strip's nest in the memory of the fused one: rows of larger arrays, weights
//! that all strips share, numbers that are known.

use super::{Fusing, Lowered, refused};
use crate::nest::{Affine, Buffer, BufferId, BufferRole, Nest, Stmt, add_unit_dimension};
use crate::{Conv, Error, Schedule};

/// A buffer of a strip's nest that is rows of a larger one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub view: BufferId,
    pub role: BufferRole,
    /// The dimension that counts rows, perhaps with columns, and elements of it a row.
    pub dimension: usize,
    pub scale: i64,
    /// What an image is along the first dimension, where there are several.
    pub image: Option<i64>,
}

/// A packed buffer, and what decides its contents.
pub(super) struct PackedBuffer {
    pub step: usize,
    pub role: BufferRole,
    pub schedule: Schedule,
    pub id: BufferId,
}

impl Fusing<'_> {
    /// Extents of a buffer of the fused nest, which are known.
    pub(super) fn shape(&self, of: BufferId) -> Vec<i64> {
        self.nest.buffer(of).extents.iter().filter_map(Affine::as_constant).collect()
    }

    /// The weight or bias of a step, seen with these extents.
    pub(super) fn constant(
        &mut self,
        step: usize,
        role: BufferRole,
        extents: &[Affine],
    ) -> Result<BufferId, Error> {
        let of = match role {
            BufferRole::Bias => self.biases[step],
            _ => self.weights[step],
        };
        let of = of.ok_or_else(|| {
            refused(format!("step {} has no {role:?} of its own", self.steps.start + step + 1))
        })?;
        Ok(self.view(of, extents))
    }

    /// The buffer of these extents in that memory.
    pub(super) fn view(&mut self, of: BufferId, extents: &[Affine]) -> BufferId {
        match self.nest.buffer(of).extents == extents {
            true => of,
            false => self.named_view(of, extents, "view"),
        }
    }

    /// The view of that name and these extents.
    pub(super) fn named_view(&mut self, of: BufferId, extents: &[Affine], name: &str) -> BufferId {
        let name = format!("{}_{name}", self.nest.buffer(of).name);
        let known = |id: &BufferId| {
            let buffer = self.nest.buffer(*id);
            buffer.view_of == Some(of) && buffer.extents == extents && buffer.name == name
        };
        let found = (0..self.nest.buffers.len() as u32).map(BufferId).find(known);
        found.unwrap_or_else(|| {
            let id = self.nest.add_view(of, extents.to_vec());
            self.nest.buffers[id.index()].name = name;
            id
        })
    }

    /// The rows of a tensor that a buffer of a strip's nest is.
    pub(super) fn port(
        &mut self,
        step: usize,
        conv: &Conv,
        role: BufferRole,
        nest: &mut Nest,
        id: BufferId,
    ) -> Result<Port, Error> {
        let tensor = self.tensor(step, role);
        let of = self.memory(tensor);
        let shape = self.shape(of);
        let local = match role {
            BufferRole::Input => crate::program::rows::extents(conv).0,
            _ => crate::program::rows::extents(conv).1,
        };
        let rows = self.row_dimension(tensor);
        let row: i64 = shape[rows + 1..].iter().product();
        let constants = |nest: &Nest| -> Vec<i64> {
            let all = nest.buffer(id).extents.iter().map(Affine::as_constant).collect();
            Option::unwrap_or_default(all)
        };
        if row * local == 1 && dimension_of_rows(&constants(nest), row, local).is_none() {
            // One row of one element: `canonicalise` has left nothing that counts them.
            add_unit_dimension(nest, id);
        }
        let mut extents = constants(nest);
        let Some((dimension, scale)) = dimension_of_rows(&extents, row, local) else {
            return Err(refused(format!(
                "rows of {local} x {row} elements of step {} are no dimension of {extents:?}",
                self.steps.start + step + 1
            )));
        };
        extents[dimension] = scale * shape[rows];
        let image = (shape[0] > 1).then_some(extents[0]);
        extents[0] *= shape[0];
        let extents: Vec<Affine> = extents.into_iter().map(Affine::constant).collect();
        // A step may add a tensor that it also convolves, from another row on: pointers are told
        // apart by their buffers.
        let view = match role {
            BufferRole::Residual => self.named_view(of, &extents, "added"),
            _ => self.view(of, &extents),
        };
        Ok(Port { view, role, dimension, scale, image })
    }

    /// The packed buffer of the same contents, or a new one.
    pub(super) fn packed(
        &mut self,
        step: usize,
        lowered: &Lowered,
        id: BufferId,
        fresh: &mut Vec<BufferId>,
    ) -> BufferId {
        let buffer = lowered.nest.buffer(id);
        let role = match lowered.nest.buffer_of(BufferRole::Bias) {
            Some(bias) if copies(&lowered.nest, bias, id) => BufferRole::Bias,
            _ => BufferRole::Weight,
        };
        let same = |p: &&PackedBuffer| {
            (p.step, p.role) == (step, role)
                && p.schedule == lowered.schedule
                && self.nest.buffer(p.id).extents == buffer.extents
        };
        if let Some(known) = self.packed.iter().find(same) {
            return known.id;
        }
        let name = format!("{}_{}", buffer.name, self.steps.start + step + 1);
        let id = self.nest.add_buffer(name, BufferRole::Packed, buffer.extents.clone());
        self.nest.store_as(id, buffer.dtype);
        fresh.push(id);
        self.packed.push(PackedBuffer { step, role, schedule: lowered.schedule.clone(), id });
        id
    }

    /// A view of the scratch that all strips' nests share, of those of its type.
    pub(super) fn scratch(&mut self, nest: &Nest, id: BufferId) -> Result<BufferId, Error> {
        let Some(len) = nest.constant_len(id) else {
            return Err(refused("a scratch buffer has a size known only at run time".to_owned()));
        };
        let dtype = nest.buffer(id).dtype;
        let known = self.shared.iter().find(|id| self.nest.buffer(**id).dtype == dtype).copied();
        let shared = known.unwrap_or_else(|| {
            let id = self.nest.add_buffer("panels", BufferRole::Scratch, vec![len.into()]);
            self.nest.store_as(id, dtype);
            self.shared.push(id);
            id
        });
        let before = self.nest.constant_len(shared).expect("it was made with a known length");
        let longest = before.max(len);
        self.nest.buffers[shared.index()].extents = vec![longest.into()];
        // Two buffers of one nest would overlap; no pass makes a second one.
        if nest.buffers_of(BufferRole::Scratch).count() > 1 {
            return Err(refused("a strip has several scratch buffers".to_owned()));
        }
        Ok(self.view(shared, &nest.buffer(id).extents))
    }
}

/// Buffers for weight and bias of a step, which the caller passes; none where their numbers are
/// known.
pub(in crate::program) fn constants(
    nest: &mut Nest,
    conv: &Conv,
    number: usize,
) -> (Option<BufferId>, Option<BufferId>) {
    let types = conv.types();
    let mut add = |name: &str, role, len: usize| {
        let id = nest.add_buffer(format!("{name}_{number}"), role, vec![(len as i64).into()]);
        nest.store_as(id, if role == BufferRole::Bias { types.bias } else { types.weight });
        id
    };
    let (known, has_bias) = (conv.known(), conv.spec().bias);
    let weight = known.is_none().then(|| add("weight", BufferRole::Weight, conv.weight_len()));
    let is_passed = has_bias && known.is_none_or(|known| known.bias.is_none());
    (weight, is_passed.then(|| add("bias", BufferRole::Bias, conv.bias_len())))
}

/// The buffer of the same role, extents and known numbers, added where there is none.
pub(in crate::program) fn same_numbers(nest: &mut Nest, buffer: &Buffer) -> BufferId {
    let same = |b: &Buffer| {
        (b.role, &b.extents, &b.values) == (buffer.role, &buffer.extents, &buffer.values)
    };
    if let Some(at) = nest.buffers.iter().position(same) {
        return BufferId(at as u32);
    }
    let id = nest.add_buffer(buffer.name.clone(), buffer.role, buffer.extents.clone());
    nest.store_as(id, buffer.dtype);
    nest.buffers[id.index()].values.clone_from(&buffer.values);
    id
}

/// The dimension that counts `rows` rows of `row` elements, perhaps with columns, and how many of
/// its elements are a row.
fn dimension_of_rows(extents: &[i64], row: i64, rows: i64) -> Option<(usize, i64)> {
    let mut stride = 1;
    for (dimension, &extent) in extents.iter().enumerate().rev() {
        if stride * extent == row * rows && row % stride == 0 {
            return Some((dimension, row / stride));
        }
        stride *= extent;
    }
    None
}

/// Whether setup copies `from` into `to`.
fn copies(nest: &Nest, from: BufferId, to: BufferId) -> bool {
    let both = |stmt: &Stmt| reaches(nest, stmt, from) && reaches(nest, stmt, to);
    nest.setup.iter().any(both)
}

/// Whether a statement's calls reach into a buffer.
pub(super) fn reaches(nest: &Nest, stmt: &Stmt, buffer: BufferId) -> bool {
    match stmt {
        Stmt::For(_, body) => body.iter().any(|stmt| reaches(nest, stmt, buffer)),
        Stmt::Call(call) => nest.leaves[call.leaf.index()].pointers.contains(&buffer),
        Stmt::Leaf(_) => false,
    }
}
