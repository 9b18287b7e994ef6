//! What one output sees: every layer's grid, the input below, and the field of one output in the middle growing down to it.
//!
//! All layers stand in the input's coordinates: an element of a layer lies over the centre of what it sees, and is as large as the layer's
//! step, so that a field is a straight cone. The input of a transposed convolution is drawn spread out, with the holes between its elements.

mod layer;
mod planes;
mod rows;
mod solids;

use conv_ir::Conv;
use conv_ir::analysis::Stack;

use super::svg::Svg;
use super::{colour, label};
use crate::failure::Failure;
use layer::{Axis, Layer};

/// The picture, for one to three spatial axes.
pub fn draw(convs: &[Conv]) -> Result<String, Failure> {
    let layers = layers(convs)?;
    let mut svg = Svg::default();
    match convs[0].rank() {
        1 => rows::draw(&layers, &mut svg),
        2 => planes::draw(&layers, &mut svg),
        3 => solids::draw(&layers, &mut svg),
        rank => {
            return Err(Failure::usage(format!(
                "a picture has at most 3 spatial axes, but there are {rank}"
            )));
        }
    }
    let described: Vec<String> = convs.iter().map(Conv::to_string).collect();
    Ok(svg.finish(&described.join("; ")))
}

/// The input, then what each convolution makes.
fn layers(convs: &[Conv]) -> Result<Vec<Layer>, Failure> {
    let stack = Stack::of(convs)?;
    let last = convs.len();
    let middle = |axis: usize| (convs[last - 1].axes()[axis].output.known().unwrap_or(1) as i64 - 1) / 2;
    let met: Vec<Vec<Vec<i64>>> = (0..stack.rank())
        .map(|axis| stack.met(axis, middle(axis)))
        .collect::<Result<_, _>>()?;
    let layer = |at: usize| {
        let fields = stack.first(at).fields()?;
        let axis = |axis: usize| Axis::new(convs, at, axis, fields.get(axis), met[axis][at].clone());
        let mut axes: Vec<Axis> = (0..stack.rank()).map(axis).collect();
        if at < last {
            for (i, window) in convs[at].equation().iter().enumerate() {
                axes[i].look_from(window, &met[i][at + 1]);
            }
        }
        let extents: Vec<i64> = axes.iter().map(|axis| axis.extent).collect();
        let (name, lines) = match at {
            0 => ("input".to_owned(), vec![label::shape(convs[0].in_channels(), &extents)]),
            _ => {
                let conv = &convs[at - 1];
                let lines = vec![
                    label::shape(conv.out_channels(), &extents),
                    label::costs(conv),
                    label::sees(&fields),
                ];
                (label::window(conv), lines)
            }
        };
        Ok(Layer {
            name,
            lines,
            axes,
            colour: colour::layer(at, last),
        })
    };
    let mut layers: Vec<Layer> = (0..=last).map(layer).collect::<Result<_, Failure>>()?;
    layer::crop(&mut layers);
    Ok(layers)
}
