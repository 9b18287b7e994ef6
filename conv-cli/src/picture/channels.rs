//! How channels go together: arrays as blocks, the windows between them, groups by colour.
//!
//! Height and width face the reader, channels recede. Long sides are drawn shorter than they are,
//! without a grid: the numbers below say how long.

use conv_ir::Conv;

use super::svg::{Point, Svg};
use super::{colour, label};
use crate::failure::Failure;
use crate::table::thousands;

/// An element's size on the page in height and width, and in channels.
const ELEMENT: f64 = 13.0;
const CHANNEL: f64 = 10.0;
/// Sides of more elements than this are drawn shorter, without a grid.
const MOST_ELEMENTS: usize = 12;
/// How channels recede: to the right and up.
const RECEDE: (f64, f64) = (0.62, 0.42);
/// What is marked is at least this large.
const LEAST: f64 = 5.0;
/// Groups whose windows are drawn; there are more where it says so.
const MOST_GROUPS: usize = 4;
/// Between neighbours.
const GAP: f64 = 44.0;

/// The picture, for one or two spatial axes.
pub fn draw(convs: &[Conv]) -> Result<String, Failure> {
    let rank = convs[0].rank();
    if rank > 2 {
        return Err(Failure::usage(format!(
            "blocks of channels have at most 2 spatial axes, but there are {rank}"
        )));
    }
    let mut svg = Svg::default();
    let mut pen = Pen { svg: &mut svg, x: 0.0, labels: Vec::new() };
    let input = Block::of(convs[0].in_channels(), &extents(&convs[0], true), convs[0].groups());
    let shape = |conv: &Conv, input: bool| {
        let channels = if input { conv.in_channels() } else { conv.out_channels() };
        label::shape(channels, &extents(conv, input))
    };
    pen.array(&input, &convs[0], true, vec!["input".to_owned(), shape(&convs[0], true)]);
    for (at, conv) in convs.iter().enumerate() {
        pen.arrow();
        pen.windows(conv);
        pen.arrow();
        let output = Block::of(conv.out_channels(), &extents(conv, false), conv.groups());
        let name = if at + 1 == convs.len() { "output".to_owned() } else { "between".to_owned() };
        pen.array(
            &output,
            convs.get(at + 1).unwrap_or(conv),
            at + 1 < convs.len(),
            vec![name, shape(conv, false)],
        );
    }
    pen.say();
    let described: Vec<String> = convs.iter().map(Conv::to_string).collect();
    Ok(svg.finish(&described.join("; ")))
}

/// Height and width, one of them 1 where there is only one axis.
fn extents(conv: &Conv, input: bool) -> Vec<i64> {
    let of =
        conv.axes().iter().map(|axis| if input { axis.input.known() } else { axis.output.known() });
    of.map(|extent| extent.unwrap_or(0) as i64).collect()
}

/// A side on the page, and in how many elements a grid divides it.
#[derive(Clone, Copy)]
struct Side {
    elements: usize,
    length: f64,
    parts: usize,
}

impl Side {
    fn of(elements: usize, size: f64) -> Side {
        if elements <= MOST_ELEMENTS {
            return Side { elements, length: elements as f64 * size, parts: elements };
        }
        let longer = (elements as f64 / MOST_ELEMENTS as f64).sqrt().sqrt();
        Side { elements, length: MOST_ELEMENTS as f64 * size * longer.min(2.0), parts: 1 }
    }
}

/// An array: channels, height, width.
struct Block {
    sides: [Side; 3],
    groups: usize,
}

impl Block {
    fn of(channels: usize, extents: &[i64], groups: usize) -> Block {
        let (height, width) = match extents {
            [width] => (1, *width),
            [height, width, ..] => (*height, *width),
            [] => (1, 1),
        };
        let sides = [
            Side::of(channels, CHANNEL),
            Side::of(height as usize, ELEMENT),
            Side::of(width as usize, ELEMENT),
        ];
        Block { sides, groups }
    }

    fn width(&self) -> f64 {
        self.sides[2].length + RECEDE.0 * self.sides[0].length
    }

    fn height(&self) -> f64 {
        self.sides[1].length + RECEDE.1 * self.sides[0].length
    }
}

/// Draws from left to right; everything is centred on a height of zero.
struct Pen<'a> {
    svg: &'a mut Svg,
    x: f64,
    /// Said once all is drawn, below the lowest: where its middle is, and the lines.
    labels: Vec<(f64, Vec<String>)>,
}

impl Pen<'_> {
    /// A point of a block whose left end is at `left` and whose middle is at `middle`.
    fn place(block: &Block, left: f64, middle: f64) -> impl Fn([f64; 3]) -> Point {
        let bottom = middle + block.height() / 2.0;
        let front = block.sides[1].length;
        move |[c, y, x]| (left + x + RECEDE.0 * c, bottom - front + y - RECEDE.1 * c)
    }

    /// An array, and what the first window of the next convolution sees of it, or one element that
    /// has been made.
    fn array(&mut self, block: &Block, next: &Conv, is_input: bool, label: Vec<String>) {
        let left = self.x;
        self.block(block, left, 0.0);
        let place = Pen::place(block, left, 0.0);
        let seen = |elements: usize, side: Side| {
            (elements as f64 / side.elements as f64 * side.length)
                .clamp(LEAST, side.length.max(LEAST))
        };
        let kernel = match next.spec().kernel[..] {
            [width] => [1, width],
            [height, width, ..] => [height, width],
            [] => [1, 1],
        };
        let [channels, height, width] = block.sides;
        let corner = match is_input {
            true => [
                channels.length / next.groups() as f64,
                seen(kernel[0], height),
                seen(kernel[1], width),
            ],
            false => [seen(1, channels), seen(1, height), seen(1, width)],
        };
        let faces = faces([0.0; 3], corner).map(|face| face.map(&place).to_vec());
        self.svg.shapes("tint", Some(colour::group(0)), &faces);
        self.labels.push((left + block.width() / 2.0, label));
        self.x += block.width() + GAP;
    }

    /// A block with its grid, its groups in their colours.
    fn block(&mut self, block: &Block, left: f64, middle: f64) {
        let place = Pen::place(block, left, middle);
        let [channels, height, width] = block.sides;
        let slabs = block.groups.min(MOST_ELEMENTS);
        let thick = channels.length / slabs as f64;
        for slab in (0..slabs).rev() {
            let (near, far) = (slab as f64 * thick, (slab + 1) as f64 * thick);
            let faces = faces([near, 0.0, 0.0], [far, height.length, width.length])
                .map(|face| face.map(&place).to_vec());
            self.svg.shapes("plane", None, &faces);
            if slabs > 1 {
                self.svg.shapes("solid", Some(colour::group(slab)), &faces);
            }
        }
        let part = |side: Side, at: usize| side.length * at as f64 / side.parts as f64;
        let mut lines = Vec::new();
        let (depth, tall, wide) = (channels.length, height.length, width.length);
        for x in (1..width.parts).map(|at| part(width, at)) {
            lines.push(vec![place([0.0, tall, x]), place([0.0, 0.0, x]), place([depth, 0.0, x])]);
        }
        for y in (1..height.parts).map(|at| part(height, at)) {
            lines.push(vec![place([0.0, y, 0.0]), place([0.0, y, wide]), place([depth, y, wide])]);
        }
        for c in (1..channels.parts).map(|at| part(channels, at)) {
            lines.push(vec![place([c, 0.0, 0.0]), place([c, 0.0, wide]), place([c, tall, wide])]);
        }
        self.svg.lines("grid", None, &lines);
    }

    /// The windows of a convolution, one a group, with how many there are of each.
    fn windows(&mut self, conv: &Conv) {
        let (groups, each) = (conv.groups(), conv.out_channels_per_group());
        let kernel: Vec<i64> = conv.spec().kernel.iter().map(|&k| k as i64).collect();
        let block = Block::of(conv.in_channels_per_group(), &kernel, 1);
        let shown = if groups > MOST_GROUPS { MOST_GROUPS - 1 } else { groups };
        let step = block.height() + 16.0;
        let rows = shown + usize::from(shown < groups);
        let top = -step * (rows as f64 - 1.0) / 2.0;
        let left = self.x;
        for group in 0..shown {
            let middle = top + step * group as f64;
            self.block(&block, left, middle);
            let place = Pen::place(&block, left, middle);
            let [channels, height, width] = block.sides.map(|side| side.length);
            let faces =
                faces([0.0; 3], [channels, height, width]).map(|face| face.map(&place).to_vec());
            self.svg.shapes("tint", Some(colour::group(group)), &faces);
            self.svg.text(
                "name",
                (left + block.width() + 6.0, middle + 5.0),
                &format!("× {}", thousands(each as u128)),
            );
        }
        if shown < groups {
            let middle = top + step * shown as f64;
            self.svg.text(
                "middle",
                (left + block.width() / 2.0, middle + 4.0),
                &format!("… {groups} groups"),
            );
        }
        let times = 6.0 + 8.0 * (2 + thousands(each as u128).len()) as f64;
        let costs = label::costs(conv);
        let (weights, work) = costs.split_once(" · ").unwrap_or((&costs, ""));
        let lines = vec![label::window(conv), weights.to_owned(), work.to_owned()];
        self.labels.push((left + (block.width() + times) / 2.0, lines));
        self.x += block.width() + times + GAP;
    }

    fn arrow(&mut self) {
        let (from, to) = (self.x - GAP + 12.0, self.x + 4.0);
        let head = vec![(to - 6.0, -4.0), (to, 0.0), (to - 6.0, 4.0)];
        self.svg.lines("arrow", None, &[vec![(from, 0.0), (to, 0.0)], head]);
        self.x += 18.0;
    }

    fn say(self) {
        let bottom = self.svg.bounds()[3] + 26.0;
        let half = |lines: &[String]| {
            3.8 * lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) as f64
        };
        // Long lines of neighbours take turns, so that they do not meet.
        let crowded = self
            .labels
            .windows(2)
            .any(|pair| pair[0].0 + half(&pair[0].1) + 8.0 > pair[1].0 - half(&pair[1].1));
        for (at, (middle, lines)) in self.labels.iter().enumerate() {
            let top = bottom + if crowded && at % 2 == 1 { 40.0 } else { 0.0 };
            for (line, text) in lines.iter().enumerate() {
                let class = if line == 0 { "name middle" } else { "middle" };
                self.svg.text(class, (*middle, top + 17.0 * line as f64), text);
            }
        }
    }
}

/// Front, top and right side of the block between two corners: channels, height, width.
fn faces(near: [f64; 3], far: [f64; 3]) -> [[[f64; 3]; 4]; 3] {
    let ([c, y, x], [d, z, w]) = (near, far);
    [
        [[c, y, x], [c, y, w], [c, z, w], [c, z, x]],
        [[c, y, x], [c, y, w], [d, y, w], [d, y, x]],
        [[c, y, w], [d, y, w], [d, z, w], [c, z, w]],
    ]
}
