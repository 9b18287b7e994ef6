//! One axis: rows over each other, the input at the bottom, every tap a line.

use super::layer::Layer;
use super::planes::{beside, smallest};
use crate::picture::svg::{Point, Svg};

/// How wide a row is on the page, at most, and how large one place is, at most.
const WIDE: f64 = 560.0;
const LARGEST: f64 = 34.0;
/// From one row to the next.
const RISE: f64 = 92.0;
/// Half the height of an element.
const HALF: f64 = 11.0;
/// More elements than this are drawn as one.
const MOST_BOXES: i64 = 400;
/// More lines than this are too many to see anything: then only those of the marks are drawn.
const MOST_LINES: usize = 1500;

/// Draws all rows and what is said beside them.
pub fn draw(layers: &[Layer], svg: &mut Svg) {
    let ends = layers.iter().map(|layer| {
        let axis = &layer.axes[0];
        (axis.edge(axis.drawn.start), axis.edge(axis.drawn.end))
    });
    let (left, right) =
        ends.fold((f64::MAX, f64::MIN), |all, one| (all.0.min(one.0), all.1.max(one.1)));
    let scale = (WIDE / (right - left)).min(LARGEST / smallest(layers));
    for (level, pair) in layers.windows(2).enumerate() {
        taps(&pair[0], &pair[1], level, scale, svg);
    }
    for (level, layer) in layers.iter().enumerate() {
        row(layer, level, scale, svg);
    }
    let right = svg.bounds()[2] + 26.0;
    for (level, layer) in layers.iter().enumerate() {
        beside(svg, (right, height(level)), layer);
    }
}

fn height(level: usize) -> f64 {
    -RISE * level as f64
}

fn row(layer: &Layer, level: usize, scale: f64, svg: &mut Svg) {
    let axis = &layer.axes[0];
    if axis.drawn.end - axis.drawn.start > MOST_BOXES {
        return long(layer, level, scale, svg);
    }
    let half = (0.42 * axis.cell * scale).min(2.4 * HALF);
    let tall = HALF.min(half.max(4.0));
    let boxed = |place: i64| {
        let (x, y) = (axis.middle(place) * scale, height(level));
        vec![(x - half, y - tall), (x + half, y - tall), (x + half, y + tall), (x - half, y + tall)]
    };
    let marked: Vec<i64> = axis.marked().collect();
    let (elements, others): (Vec<i64>, Vec<i64>) =
        axis.drawn.clone().partition(|&place| axis.is_element(place));
    let (on, off): (Vec<i64>, Vec<i64>) =
        elements.into_iter().partition(|place| marked.contains(place));
    let (padded, empty): (Vec<i64>, Vec<i64>) =
        others.into_iter().partition(|place| marked.contains(place));
    let shapes = |places: Vec<i64>| places.into_iter().map(boxed).collect::<Vec<_>>();
    svg.shapes("empty", None, &shapes(empty));
    svg.shapes("plane", None, &shapes(off));
    svg.shapes("pad", Some(&layer.colour), &shapes(padded));
    svg.shapes("mark", Some(&layer.colour), &shapes(on));
}

/// A row of too many elements to tell apart: one box, and one for what the window covers.
fn long(layer: &Layer, level: usize, scale: f64, svg: &mut Svg) {
    let axis = &layer.axes[0];
    let (y, tall) = (height(level), HALF);
    let boxed = |from: i64, to: i64| {
        let (left, right) = (axis.edge(from) * scale, axis.edge(to) * scale);
        vec![(left, y - tall), (right, y - tall), (right, y + tall), (left, y + tall)]
    };
    svg.shapes("empty", None, &[boxed(axis.drawn.start, axis.drawn.end)]);
    let elements = axis.elements();
    let (first, last) = (elements.start.max(axis.drawn.start), elements.end.min(axis.drawn.end));
    if first < last {
        svg.shapes("plane", None, &[boxed(first, last)]);
    }
    svg.shapes("mark", Some(&layer.colour), &[boxed(axis.frame.start, axis.frame.end)]);
}

/// From every output to the places that it looks at; those of the marks in colour.
fn taps(layer: &Layer, above: &Layer, level: usize, scale: f64, svg: &mut Svg) {
    let (below, over) = (&layer.axes[0], &above.axes[0]);
    let outputs = over.drawn.clone().filter(|&place| over.is_element(place));
    let outputs: Vec<i64> = outputs.map(|place| place / over.spread).collect();
    let line = |output: i64, place: i64| -> Vec<Point> {
        let (from, to) = (over.middle(output * over.spread), below.middle(place));
        vec![(from * scale, height(level + 1)), (to * scale, height(level))]
    };
    let lines = |output: i64| {
        let drawn = below.looked_at(output).into_iter().filter(|place| below.drawn.contains(place));
        drawn.map(|place| line(output, place)).collect::<Vec<_>>()
    };
    let (on, off): (Vec<i64>, Vec<i64>) =
        outputs.into_iter().partition(|output| over.marks.contains(output));
    let each = below.looked_at(0).len();
    if off.len() * each <= MOST_LINES {
        svg.lines("wire", None, &off.into_iter().flat_map(lines).collect::<Vec<_>>());
    }
    let rays = match on[..] {
        [first, ..] if on.len() * each > MOST_LINES => {
            let last = on[on.len() - 1];
            vec![line(first, below.frame.start), line(last, below.frame.end - 1)]
        }
        _ => on.into_iter().flat_map(lines).collect(),
    };
    svg.lines("ray", Some(&above.colour), &rays);
}
