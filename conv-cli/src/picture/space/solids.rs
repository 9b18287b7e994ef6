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

/// From the input's coordinates to the page.
struct Page {
    scale: f64,
    /// From one layer to the next.
    step: f64,
}

impl Page {
    fn of(layers: &[Layer]) -> Page {
        let wide = |layer: &Layer| {
            let [depth, _, width] = drawn(layer);
            (width.1 - width.0) + RECEDE.0 * (depth.1 - depth.0)
        };
        let widest = layers.iter().map(wide).fold(1.0, f64::max);
        let scale = (WIDE / widest).min(LARGEST / smallest(layers));
        let lines = layers.iter().flat_map(|layer| &layer.lines);
        let letters = lines.map(|line| line.chars().count()).max().unwrap_or(0);
        Page { scale, step: (widest * scale + GAP).max(7.1 * letters as f64 + 16.0) }
    }

    fn at(&self, level: usize, [z, y, x]: [f64; 3]) -> Point {
        let left = level as f64 * self.step;
        (left + self.scale * (x + RECEDE.0 * z), self.scale * (y - RECEDE.1 * z))
    }
}

/// Draws all blocks and what is said below them.
pub fn draw(layers: &[Layer], svg: &mut Svg) {
    let page = Page::of(layers);
    for (level, layer) in layers.iter().enumerate() {
        solid(&page, level, layer, svg);
    }
    for (level, pair) in layers.windows(2).enumerate() {
        let (from, to) = (corners(&framed(&pair[0])), corners(&framed(&pair[1])));
        let rays = from
            .iter()
            .zip(to)
            .map(|(&from, to)| vec![page.at(level, from), page.at(level + 1, to)]);
        svg.lines("ray", Some(&pair[1].colour), &rays.collect::<Vec<_>>());
    }
    let bottom = svg.bounds()[3] + 30.0;
    for (level, layer) in layers.iter().enumerate() {
        let [depth, _, width] = drawn(layer);
        let (x, _) = page.at(level, [depth.0, 0.0, width.0]);
        svg.text("title", (x, bottom), &layer.name);
        for (line, text) in layer.lines.iter().enumerate() {
            svg.text("line", (x, bottom + 18.0 * (line + 1) as f64), text);
        }
    }
}

/// One layer: its elements, the room for padding around them, and the field inside.
fn solid(page: &Page, level: usize, layer: &Layer, svg: &mut Svg) {
    let place = |point| page.at(level, point);
    let elements = block(layer, |axis| {
        let range = axis.elements();
        let (first, end) = (range.start.max(axis.drawn.start), range.end.min(axis.drawn.end));
        (axis.edge(first), axis.edge(end))
    });
    let (room, field) = (drawn(layer), framed(layer));
    if elements != room {
        svg.lines("empty", None, &edges(&room).map(|edge| edge.map(place).to_vec()));
    }
    svg.shapes("plane", None, &faces(&elements).map(|face| face.map(place).to_vec()));
    let grid = grid(layer, &elements).into_iter().map(|line| line.map(place).to_vec());
    svg.lines("grid", None, &grid.collect::<Vec<_>>());
    let colour = Some(layer.colour.as_str());
    svg.shapes("solid", colour, &faces(&field).map(|face| face.map(place).to_vec()));
    svg.lines("ray", colour, &edges(&field).map(|edge| edge.map(place).to_vec()));
}

fn drawn(layer: &Layer) -> Block {
    block(layer, |axis| (axis.edge(axis.drawn.start), axis.edge(axis.drawn.end)))
}

fn framed(layer: &Layer) -> Block {
    block(layer, |axis| (axis.edge(axis.frame.start), axis.edge(axis.frame.end)))
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
    [[c[0], c[1], c[3], c[2]], [c[0], c[1], c[5], c[4]], [c[1], c[5], c[7], c[3]]]
}

/// The lines between elements on the faces that one sees.
fn grid(layer: &Layer, block: &Block) -> Vec<[[f64; 3]; 2]> {
    let [(near, far), (top, bottom), (left, right)] = *block;
    let between = |axis: usize, (from, to): (f64, f64)| {
        let axis = &layer.axes[axis];
        let edges = axis.drawn.clone().step_by(every(&axis.drawn)).map(|place| axis.edge(place));

        edges.filter(move |edge| *edge > from + 0.01 && *edge < to - 0.01).collect::<Vec<_>>()
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
