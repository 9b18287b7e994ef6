//! A strip's convolution, lowered once and embedded as often as strips compute it.

use super::buffers::{Port, reaches, same_numbers};
use super::{Compute, Fusing, Lower, Moves};
use crate::lower::Layouts;
use crate::nest::{Access, Affine, Base, BufferId, BufferRole, Stmt, for_pointers};
use crate::{Conv, Error};

/// A strip's nest, embedded.
pub(super) struct Template {
    pub step: usize,
    pub conv: Conv,
    pub body: Vec<Stmt>,
    pub ports: Vec<Port>,
}

impl Fusing<'_> {
    /// The position of the template of a strip's convolution, made where there is none yet.
    pub(super) fn template(
        &mut self,
        (step, conv): &(usize, Conv),
        lower: &mut Lower<'_>,
    ) -> Result<usize, Error> {
        let known = |t: &Template| t.step == *step && t.conv == *conv;
        if let Some(at) = self.templates.iter().position(known) {
            return Ok(at);
        }
        let layout = |role| self.layout(self.tensor(*step, role));
        let layouts = Layouts::new(
            layout(BufferRole::Input),
            layout(BufferRole::Residual),
            layout(BufferRole::Output),
        );
        let mut lowered = match &self.schedules[*step] {
            Some(schedule) => {
                lower(conv, layouts, Some(schedule)).or_else(|_| lower(conv, layouts, None))?
            }
            None => lower(conv, layouts, None)?,
        };
        if self.schedules[*step].is_none() {
            self.schedules[*step] = Some(lowered.schedule.clone());
        }
        let mut ports = Vec::new();
        let mut fresh = Vec::new();
        let mut buffers = Vec::new();
        for at in 0..lowered.nest.buffers.len() {
            let id = BufferId(at as u32);
            if lowered.nest.buffer(id).values.is_some() {
                buffers.push(same_numbers(&mut self.nest, lowered.nest.buffer(id)));
                continue;
            }
            buffers.push(match lowered.nest.buffer(id).role {
                role @ (BufferRole::Input | BufferRole::Residual | BufferRole::Output) => {
                    let port = self.port(*step, conv, role, &mut lowered.nest, id)?;
                    ports.push(port);
                    port.view
                }
                role @ (BufferRole::Weight | BufferRole::Bias) => {
                    self.constant(*step, role, &lowered.nest.buffer(id).extents)?
                }
                BufferRole::Packed => self.packed(*step, &lowered, id, &mut fresh),
                BufferRole::Scratch => self.scratch(&lowered.nest, id)?,
            });
        }
        let suffix = format!("_s{}", self.steps.start + step + 1);
        let embedded = self.embedding.embed(&mut self.nest, &lowered.nest, &buffers, &suffix);
        let writes_fresh = |stmt: &Stmt| fresh.iter().any(|&id| reaches(&self.nest, stmt, id));
        let setup: Vec<Stmt> = embedded.setup.into_iter().filter(writes_fresh).collect();
        self.nest.setup.extend(setup);
        self.templates.push(Template {
            step: *step,
            conv: conv.clone(),
            body: embedded.body,
            ports,
        });
        Ok(self.templates.len() - 1)
    }
}

impl Template {
    /// The body with its buffers' rows where the strip wants them.
    pub fn at(
        &self,
        compute: &Compute,
        by: &Moves,
        strip: &Affine,
        image: Option<&Affine>,
    ) -> Vec<Stmt> {
        let mut body = self.body.clone();
        for_pointers(&mut body, &mut |pointer| {
            let Some(port) = self.ports.iter().find(|p| pointer.base == Base::Buffer(p.view))
            else {
                return;
            };
            let rows = match port.role {
                BufferRole::Input => strip.times(by.input).plus_constant(compute.input),
                BufferRole::Residual => {
                    strip.times(by.residual).plus_constant(compute.residual.unwrap_or(0))
                }
                _ => strip.times(by.output).plus_constant(compute.output),
            };
            add(pointer, port.dimension, &rows.times(port.scale));
            if let (Some(image), Some(len)) = (image, port.image) {
                add(pointer, 0, &image.times(len));
            }
        });
        body
    }
}

fn add(pointer: &mut Access, dimension: usize, by: &Affine) {
    let index = pointer.index[dimension].as_affine().map(|a| a.plus(by));
    if let Some(index) = index {
        pointer.index[dimension] = index.into();
    }
}
