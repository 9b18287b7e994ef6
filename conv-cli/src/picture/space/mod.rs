//! What one output sees: every layer's grid, the input below, and the field of one output in the
//! middle growing down to it.
//!
//! All layers stand in the input's coordinates: an element of a layer lies over the centre of what
//! it sees, and is as large as the layer's step, so that a field is a straight cone. (Where a
//! convolution leaves the size as it is, an output stands over the input of the same index, which
//! is the same unless it is causal.) The input of a transposed convolution is drawn spread out,
//! with the holes between its elements.

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
    let met: Vec<Vec<Vec<i64>>> =
        (0..stack.rank()).map(|axis| looked_at(convs, &stack, axis)).collect::<Result<_, _>>()?;
    let places: Vec<Vec<(f64, f64)>> =
        (0..stack.rank()).map(|axis| layer::places(convs, axis)).collect();
    let layer = |at: usize| {
        let fields = stack.first(at).fields()?;
        let axis =
            |axis: usize| Axis::new(convs, (at, axis), places[axis][at], met[axis][at].clone());
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
        Ok(Layer { name, lines, axes, colour: colour::layer(at, last) })
    };
    let mut layers: Vec<Layer> = (0..=last).map(layer).collect::<Result<_, Failure>>()?;
    layer::crop(&mut layers);
    Ok(layers)
}

/// More outputs than this are not tried.
const MOST_TRIED: i64 = 400;

/// What one output depends on in every layer, along one axis: of the outputs whose field lies
/// inside of every layer the one nearest to the middle, if there is any.
fn looked_at(convs: &[Conv], stack: &Stack, axis: usize) -> Result<Vec<Vec<i64>>, Failure> {
    let outputs = convs[convs.len() - 1].axes()[axis].output.known().unwrap_or(1) as i64;
    let middle = (outputs - 1) / 2;
    let in_turn = (0..outputs.min(MOST_TRIED)).flat_map(|far| [middle - far, middle + far]);
    for output in in_turn.filter(|output| (0..outputs).contains(output)) {
        let layers = stack.trace(axis, output..output + 1)?;
        if layers
            .iter()
            .all(|needed| needed.before == 0 && needed.after == 0 && !needed.inside.is_empty())
        {
            return Ok(stack.met(axis, output)?);
        }
    }
    Ok(stack.met(axis, middle)?)
}
