//! Two axes: planes over each other, the input at the bottom.

use std::ops::Range;

use super::layer::{Axis, Layer, every};
use crate::picture::svg::{Point, Svg};

/// How wide a plane is on the page, at most, and how large one place is, at most.
const WIDE: f64 = 400.0;
const LARGEST: f64 = 30.0;
/// How far the far edge leans to the right, and how flat a plane lies, per unit of height.
const LEAN: f64 = 0.5;
const FLAT: f64 = 0.45;
/// Between a plane and the next.
const GAP: f64 = 42.0;
/// More marks than this are drawn as one.
const MOST_MARKS: usize = 1200;

/// From the input's coordinates to the page.
struct Page {
    scale: f64,
    /// The front edge of the lowest plane.
    front: f64,
    /// From one layer to the next.
    rise: f64,
}

impl Page {
    fn of(layers: &[Layer]) -> Page {
        let [tall, wide] = [0, 1].map(|axis| ends(layers, axis));
        let (width, height) = (wide.1 - wide.0, tall.1 - tall.0);
        let scale = (WIDE / (width + LEAN * height)).min(LARGEST / smallest(layers));

        Page { scale, front: tall.1, rise: scale * FLAT * height + GAP }
    }

    fn at(&self, level: usize, (y, x): (f64, f64)) -> Point {
        let up = level as f64 * self.rise;
        (self.scale * (x + LEAN * (self.front - y)), self.scale * FLAT * (y - self.front) - up)
    }
}

/// The size of the smallest place.
pub fn smallest(layers: &[Layer]) -> f64 {
    let cells = layers.iter().flat_map(|layer| &layer.axes).map(|axis| axis.cell);
    cells.fold(1.0, f64::min)
}

/// Where the drawn places of any layer start and end.
fn ends(layers: &[Layer], axis: usize) -> (f64, f64) {
    let of = |layer: &Layer| {
        let axis = &layer.axes[axis];
        (axis.edge(axis.drawn.start), axis.edge(axis.drawn.end))
    };
    layers
        .iter()
        .map(of)
        .fold((f64::MAX, f64::MIN), |all, one| (all.0.min(one.0), all.1.max(one.1)))
}

/// Draws all planes and what is said beside them.
pub fn draw(layers: &[Layer], svg: &mut Svg) {
    let page = Page::of(layers);
    for (level, layer) in layers.iter().enumerate() {
        plane(&page, level, layer, svg);
        if let Some(above) = layers.get(level + 1) {
            cone(&page, level, layer, above, svg);
        }
    }
    let right = svg.bounds()[2] + 26.0;
    for (level, layer) in layers.iter().enumerate() {
        let [tall, _] = [&layer.axes[0], &layer.axes[1]];
        let (_, y) =
            page.at(level, ((tall.edge(tall.drawn.start) + tall.edge(tall.drawn.end)) / 2.0, 0.0));
        beside(svg, (right, y), layer);
    }
}

/// The name and the lines, centred on a height.
pub fn beside(svg: &mut Svg, (x, y): Point, layer: &Layer) {
    let top = y - 8.5 * layer.lines.len() as f64 + 4.0;
    svg.text("title", (x, top), &layer.name);
    for (at, line) in layer.lines.iter().enumerate() {
        svg.text("line", (x, top + 18.0 * (at + 1) as f64), line);
    }
}

fn plane(page: &Page, level: usize, layer: &Layer, svg: &mut Svg) {
    let [tall, wide] = [&layer.axes[0], &layer.axes[1]];
    let rectangle = |y: Range<i64>, x: Range<i64>| {
        let corners = [(y.start, x.start), (y.start, x.end), (y.end, x.end), (y.end, x.start)];
        corners.map(|(y, x)| page.at(level, (tall.edge(y), wide.edge(x)))).to_vec()
    };
    let cell = |y: i64, x: i64| rectangle(y..y + 1, x..x + 1);
    let grid = |y: &Range<i64>, x: &Range<i64>| {
        let ((ys, top, bottom), (xs, left, right)) = (lines(tall, y), lines(wide, x));
        let across =
            ys.into_iter().map(|y| vec![page.at(level, (y, left)), page.at(level, (y, right))]);
        let down =
            xs.into_iter().map(|x| vec![page.at(level, (top, x)), page.at(level, (bottom, x))]);
        across.chain(down).collect::<Vec<_>>()
    };
    let (rows, columns) =
        (common(&tall.elements(), &tall.drawn), common(&wide.elements(), &wide.drawn));
    let few =
        |of: &Range<i64>, axis: &Axis| ((of.end - of.start) / axis.spread + 1).max(0) as usize;
    let spread = (tall.spread > 1 || wide.spread > 1)
        && few(&rows, tall) * few(&columns, wide) <= MOST_MARKS;

    if spread || (&rows, &columns) != (&tall.drawn, &wide.drawn) {
        svg.lines("empty", None, &grid(&tall.drawn, &wide.drawn));
    }
    if spread {
        let cells = rows.clone().filter(|&y| tall.is_element(y)).flat_map(|y| {
            let columns = columns.clone().filter(|&x| wide.is_element(x));
            columns.map(move |x| (y, x))
        });
        svg.shapes("plane", None, &cells.map(|(y, x)| cell(y, x)).collect::<Vec<_>>());
    } else if !rows.is_empty() && !columns.is_empty() {
        svg.shapes("ground", None, &[rectangle(rows.clone(), columns.clone())]);

        svg.lines("grid", None, &grid(&rows, &columns));
    }
    marks(tall, wide, layer, svg, &cell, &rectangle);
    if tall.frame.end - tall.frame.start > 1 || wide.frame.end - wide.frame.start > 1 {
        svg.shapes(
            "frame",
            Some(&layer.colour),
            &[rectangle(tall.frame.clone(), wide.frame.clone())],
        );
    }
}

fn marks(
    tall: &Axis,
    wide: &Axis,
    layer: &Layer,
    svg: &mut Svg,
    cell: &dyn Fn(i64, i64) -> Vec<Point>,
    rectangle: &dyn Fn(Range<i64>, Range<i64>) -> Vec<Point>,
) {
    let (rows, columns): (Vec<i64>, Vec<i64>) = (tall.marked().collect(), wide.marked().collect());
    if rows.len() * columns.len() > MOST_MARKS {
        svg.shapes(
            "mark",
            Some(&layer.colour),
            &[rectangle(tall.frame.clone(), wide.frame.clone())],
        );
        return;
    }
    let places = rows.iter().flat_map(|&y| columns.iter().map(move |&x| (y, x)));
    let (inside, outside): (Vec<_>, Vec<_>) =
        places.partition(|&(y, x)| tall.is_element(y) && wide.is_element(x));
    let shapes =
        |places: Vec<(i64, i64)>| places.into_iter().map(|(y, x)| cell(y, x)).collect::<Vec<_>>();
    svg.shapes("pad", Some(&layer.colour), &shapes(outside));
    svg.shapes("mark", Some(&layer.colour), &shapes(inside));
}

/// From the marks of a layer down to what they look at.
fn cone(page: &Page, level: usize, layer: &Layer, above: &Layer, svg: &mut Svg) {
    let corners = |level: usize, ends: [(f64, f64); 2]| {
        let [(top, bottom), (left, right)] = ends;
        [(top, left), (top, right), (bottom, right), (bottom, left)].map(|at| page.at(level, at))
    };
    let framed = |axis: &Axis| (axis.edge(axis.frame.start), axis.edge(axis.frame.end));
    let marked = |axis: &Axis| match axis.marks[..] {
        [] => (axis.middle(0), axis.middle(0)),
        [first, ..] => {
            let last = axis.marks[axis.marks.len() - 1];
            (axis.edge(first * axis.spread), axis.edge(last * axis.spread + 1))
        }
    };
    let low = corners(level, [framed(&layer.axes[0]), framed(&layer.axes[1])]);
    let high = corners(level + 1, [marked(&above.axes[0]), marked(&above.axes[1])]);
    let faces: Vec<Vec<Point>> =
        (0..4).map(|i| vec![low[i], low[(i + 1) % 4], high[(i + 1) % 4], high[i]]).collect();
    for face in faces {
        svg.shapes("face", Some(&above.colour), &[face]);
    }
    let rays: Vec<Vec<Point>> = (0..4).map(|i| vec![low[i], high[i]]).collect();
    svg.lines("ray", Some(&above.colour), &rays);
}

/// The lines between places, and where those across start and end. Where an axis is cut there is no
/// line, and those across go on a little.
fn lines(axis: &Axis, of: &Range<i64>) -> (Vec<f64>, f64, f64) {
    let [before, after] = axis.is_cut();
    let (before, after) =
        (before && of.start == axis.drawn.start, after && of.end == axis.drawn.end);
    let drawn = of.start + i64::from(before)..=of.end - i64::from(after);
    let more = |cut: bool| if cut { 0.5 * axis.cell } else { 0.0 };
    let mut edges: Vec<i64> = drawn.step_by(every(of)).collect();
    if !after && edges.last() != Some(&of.end) {
        edges.push(of.end);
    }
    let edges = edges.into_iter().map(|place| axis.edge(place)).collect();
    (edges, axis.edge(of.start) - more(before), axis.edge(of.end) + more(after))
}

/// What two ranges share.
fn common(a: &Range<i64>, b: &Range<i64>) -> Range<i64> {
    a.start.max(b.start)..a.end.min(b.end)
}
