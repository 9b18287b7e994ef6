//! Every n-th row and column of an image, joined as channels.
//!
//! ```text
//! region(concat(x[.., ::2, ::2], x[.., 1::2, ::2], ..))   ->   region(x) of twice the stride
//! ```
//!
//! So some detectors begin. The sums are of the same products: a tap of the window that stands at
//! `t` in a part that begins at `m` stands at `2 t + m` of the image.

use std::sync::Arc;

use conv_ir::{ConvSpec, Padding, PaddingMode, PerAxis};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Slice, TypedConcat};
use tract_onnx::tract_core::ops::downsample::Downsample;

use super::{put, region};
use crate::picks::Picked;
use crate::region::{Region, Step, Work};

pub fn fold(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(Region(work)) = region(node) else { return Ok(None) };
    let [step] = &work.steps[..] else { return Ok(None) };
    let Some(parts) = Parts::of(model, node.inputs[0]).filter(|_| work.view.is_none()) else {
        return Ok(None);
    };
    let Some(whole) = parts.read_by(step) else { return Ok(None) };
    let mut inputs = node.inputs.clone();
    inputs[0] = parts.image;
    let region = Region(Arc::new(Work { steps: vec![whole], ..Work::clone(work) }));
    put(model, node, &inputs, region, node.id)
}

/// What is joined along the channels: rows and columns of one image, with all its channels.
struct Parts {
    image: OutletId,
    channels: usize,
    /// The extents of the image, of a part, and the distance of a part's elements in the image.
    axes: Vec<(usize, usize, usize)>,
    /// Where each part begins.
    starts: Vec<Vec<usize>>,
}

impl Parts {
    fn of(model: &TypedModel, joined: OutletId) -> Option<Parts> {
        let node = model.node(joined.node);
        node.op_as::<TypedConcat>().filter(|concat| concat.axis == 1)?;
        let all: Vec<Part> =
            node.inputs.iter().map(|&outlet| Part::of(model, outlet)).collect::<Option<_>>()?;
        let image = all.first()?.of;
        let shape = |outlet| model.outlet_fact(outlet).ok()?.shape.as_concrete();
        let (whole, part) = (shape(image)?, shape(node.inputs[0])?);
        let by: Vec<usize> = all[0].axes.iter().map(|&(_, by)| by).collect();
        let extents = whole.iter().zip(part).zip(&by);
        let axes: Vec<_> = extents.map(|((&whole, &part), &by)| (whole, part, by)).collect();
        // Behind a part's last element there is no other one of the image.
        let is_whole = axes.iter().all(|&(whole, part, by)| part.saturating_mul(by) >= whole);
        let alike = |part: &Part| {
            part.of == image
                && part.axes.iter().zip(&by).all(|(axis, by)| axis.1 == *by && axis.0 < *by)
        };
        if !is_whole
            || !all.iter().all(alike)
            || by[..2] != [1, 1]
            || by[2..].iter().all(|&by| by == 1)
        {
            return None;
        }
        let starts = all.iter().map(|part| part.axes[2..].iter().map(|axis| axis.0).collect());
        Some(Parts {
            image,
            channels: whole[1],
            axes: axes[2..].to_vec(),
            starts: starts.collect(),
        })
    }

    /// The step that reads the image in the place of one that reads the parts.
    fn read_by(&self, step: &Step) -> Option<Step> {
        let spec = &step.spec;
        let ConvSpec { groups: 1, transposed: false, padding_mode: PaddingMode::Zeros, .. } = spec
        else {
            return None;
        };
        let (PerAxis::Each(stride), Padding::Explicit(PerAxis::Each(padding))) =
            (&spec.stride, &spec.padding)
        else {
            return None;
        };
        let is_near = matches!(&spec.dilation, PerAxis::Each(by) if by.iter().all(|&by| by == 1));
        let fits = spec.in_channels == self.starts.len() * self.channels && self.are_all();
        if !fits || !is_near || !spec.reduction.has_weight() || spec.ceil_mode {
            return None;
        }
        let mut whole = ConvSpec { in_channels: self.channels, ..spec.clone() };
        whole.input = self.axes.iter().map(|axis| axis.0.into()).collect();
        whole.kernel =
            spec.kernel.iter().zip(&self.axes).map(|(taps, axis)| taps * axis.2).collect();
        whole.stride =
            stride.iter().zip(&self.axes).map(|(by, axis)| by * axis.2).collect::<Vec<_>>().into();
        let pad =
            |(&(before, after), &(whole, part, by)): (&(usize, usize), &(usize, usize, usize))| {
                (before * by, after * by + (part * by - whole))
            };
        whole.padding = padding.iter().zip(&self.axes).map(pad).collect::<Vec<_>>().into();
        let weight = self.weight(step, &whole.kernel);
        Some(Step { bias: step.bias.clone(), residual: step.residual, ..Step::of(whole, weight) })
    }

    /// Whether every element of the image is in a part: another would be multiplied by zero, which
    /// costs time, and is not zero where it is infinite.
    fn are_all(&self) -> bool {
        let window: usize = self.axes.iter().map(|axis| axis.2).product();
        let mut starts: Vec<&Vec<usize>> = self.starts.iter().collect();
        starts.sort();
        starts.dedup();
        starts.len() == window
    }

    fn weight(&self, step: &Step, kernel: &[usize]) -> Vec<f32> {
        let taps: usize = step.spec.kernel.iter().product();
        let window: usize = kernel.iter().product();
        let rows = step.spec.out_channels;
        let mut weight = vec![0.0; rows * self.channels * window];
        for (at, value) in step.weight.iter().enumerate() {
            let (row, tap) = (at / taps, at % taps);
            let (output, input) = (row / step.spec.in_channels, row % step.spec.in_channels);
            let (part, channel) = (input / self.channels, input % self.channels);
            // The tap's position, innermost axis last, in the image's window.
            let (mut rest, mut place, mut stride) = (tap, 0, 1);
            for axis in (0..kernel.len()).rev() {
                let size = step.spec.kernel[axis];
                place += stride * (rest % size * self.axes[axis].2 + self.starts[part][axis]);
                (rest, stride) = (rest / size, stride * kernel[axis]);
            }
            weight[(output * self.channels + channel) * window + place] += value;
        }
        weight
    }
}

/// Some elements of a tensor, in equal distances.
struct Part {
    of: OutletId,
    /// For each axis: where it begins, the distance.
    axes: Vec<(usize, usize)>,
}

impl Part {
    fn of(model: &TypedModel, mut of: OutletId) -> Option<Part> {
        let mut axes = vec![(0, 1); model.outlet_fact(of).ok()?.rank()];
        loop {
            let node = model.node(of.node);
            if let Some(slice) = node.op_as::<Slice>() {
                axes[slice.axis].0 += slice.start.to_usize().ok()?;
            } else if let Some(down) =
                node.op_as::<Downsample>().or(node.op_as::<Picked>().map(|picked| &picked.0))
            {
                let by = usize::try_from(down.stride).ok()?;
                let (start, distance) = axes[down.axis];
                axes[down.axis] = (down.modulo + by * start, by * distance);
            } else {
                return Some(Part { of, axes });
            }
            of = node.inputs[0];
        }
    }
}
