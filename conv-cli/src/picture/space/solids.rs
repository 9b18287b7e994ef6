//! Three axes: blocks beside each other, the input to the left, the field as a block inside.

use super::layer::{Axis, Layer, every};
use super::planes::smallest;
use crate::picture::svg::{Point, Svg};

/// How wide a block is on the page, at most, and how large one place is, at most.
const WIDE: f64 = 190.0;
const LARGEST: f64 = 24.0;
/// How the depth recedes: to the right and up.
const RECEDE: (f64, f64) = (0.45, 0.35);
/// Between blocks.
const GAP: f64 = 70.0;

/// Ends of a block along depth, height and width.
type Block = [(f64, f64); 3];

/// Draws all blocks and what is said below them.
pub fn draw(layers: &[Layer], svg: &mut Svg) {
    let whole: Vec<Block> = layers
        .iter()
        .map(|layer| block(layer, |axis| (axis.edge(axis.drawn.start), axis.edge(axis.drawn.end))))
        .collect();
    let wide = |block: &Block| (block[2].1 - block[2].0) + RECEDE.0 * (block[0].1 - block[0].0);
    let widest = whole.iter().map(wide).fold(1.0, f64::max);
    let scale = (WIDE / widest).min(LARGEST / smallest(layers));
    let letters = layers
        .iter()
        .flat_map(|layer| &layer.lines)
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let step = (widest * scale + GAP).max(7.1 * letters as f64 + 16.0);

    let at = |level: usize, [z, y, x]: [f64; 3]| -> Point {
        let left = level as f64 * step;
        (left + scale * (x + RECEDE.0 * z), scale * (y - RECEDE.1 * z))
    };
    let fields: Vec<Block> = layers
        .iter()
        .map(|layer| block(layer, |axis| (axis.edge(axis.frame.start), axis.edge(axis.frame.end))))
        .collect();
    for (level, layer) in layers.iter().enumerate() {
        let place = |point| at(level, point);
        let elements = block(layer, |axis| {
            let range = axis.elements();
            (
                axis.edge(range.start.max(axis.drawn.start)),
                axis.edge(range.end.min(axis.drawn.end)),
            )
        });
        if elements != whole[level] {
            svg.lines(
                "empty",
                None,
                &edges(&whole[level]).map(|edge| edge.map(place).to_vec()),
            );
        }
        svg.shapes("plane", None, &faces(&elements).map(|face| face.map(place).to_vec()));
        svg.lines(
            "grid",
            None,
            &grid(layer, &elements)
                .into_iter()
                .map(|line| line.map(place).to_vec())
                .collect::<Vec<_>>(),
        );
        svg.shapes(
            "solid",
            Some(&layer.colour),
            &faces(&fields[level]).map(|face| face.map(place).to_vec()),
        );
        svg.lines(
            "ray",
            Some(&layer.colour),
            &edges(&fields[level]).map(|edge| edge.map(place).to_vec()),
        );
    }
    for level in 1..layers.len() {
        let (from, to) = (corners(&fields[level - 1]), corners(&fields[level]));
        let rays = (0..8)
            .map(|i| vec![at(level - 1, from[i]), at(level, to[i])])
            .collect::<Vec<_>>();
        svg.lines("ray", Some(&layers[level].colour), &rays);
    }
    let bottom = svg.bounds()[3] + 30.0;
    for (level, layer) in layers.iter().enumerate() {
        let (x, _) = at(level, [whole[level][0].0, 0.0, whole[level][2].0]);
        svg.text("title", (x, bottom), &layer.name);
        for (line, text) in layer.lines.iter().enumerate() {
            svg.text("line", (x, bottom + 18.0 * (line + 1) as f64), text);
        }
    }
}

fn block(layer: &Layer, ends: impl Fn(&Axis) -> (f64, f64)) -> Block {
    [0, 1, 2].map(|axis| ends(&layer.axes[axis]))
}

fn corners(block: &Block) -> [[f64; 3]; 8] {
    let end = |axis: usize, high: bool| if high { block[axis].1 } else { block[axis].0 };
    [0, 1, 2, 3, 4, 5, 6, 7].map(|i| [end(0, i & 4 != 0), end(1, i & 2 != 0), end(2, i & 1 != 0)])
}

fn edges(block: &Block) -> [[[f64; 3]; 2]; 12] {
    let corners = corners(block);
    const PAIRS: [(usize, usize); 12] = [
        (0, 1),
        (2, 3),
        (4, 5),
        (6, 7),
        (0, 2),
        (1, 3),
        (4, 6),
        (5, 7),
        (0, 4),
        (1, 5),
        (2, 6),
        (3, 7),
    ];
    PAIRS.map(|(a, b)| [corners[a], corners[b]])
}

/// The three that one sees: the front, the top and the right side.
fn faces(block: &Block) -> [[[f64; 3]; 4]; 3] {
    let c = corners(block);
    [
        [c[0], c[1], c[3], c[2]],
        [c[0], c[1], c[5], c[4]],
        [c[1], c[5], c[7], c[3]],
    ]
}

/// The lines between elements on the faces that one sees.
fn grid(layer: &Layer, block: &Block) -> Vec<[[f64; 3]; 2]> {
    let [(near, far), (top, bottom), (left, right)] = *block;
    let between = |axis: usize, (from, to): (f64, f64)| {
        let axis = &layer.axes[axis];
        let edges = axis
            .drawn
            .clone()
            .step_by(every(&axis.drawn))
            .map(|place| axis.edge(place));

        edges
            .filter(move |edge| *edge > from + 0.01 && *edge < to - 0.01)
            .collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for x in between(2, block[2]) {
        lines.extend([[[near, top, x], [near, bottom, x]], [[near, top, x], [far, top, x]]]);
    }
    for y in between(1, block[1]) {
        lines.extend([[[near, y, left], [near, y, right]], [[near, y, right], [far, y, right]]]);
    }
    for z in between(0, block[0]) {
        lines.extend([[[z, top, left], [z, top, right]], [[z, top, right], [z, bottom, right]]]);
    }
    lines
}
