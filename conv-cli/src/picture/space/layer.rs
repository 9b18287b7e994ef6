//! Where a layer's elements are, in the coordinates of the input.

use std::ops::Range;

use conv_ir::Conv;
use conv_ir::analysis::Window;
use conv_ir::conv::EquationAxis;

/// One array.
pub struct Layer {
    /// What made it.
    pub name: String,
    /// What else is said beside it.
    pub lines: Vec<String>,
    /// Outermost first.
    pub axes: Vec<Axis>,
    /// Of its marks.
    pub colour: String,
}

/// One axis of an array, as a row of places: the array's elements, with holes between them where the next convolution is transposed, and the padding.
pub struct Axis {
    /// Elements.
    pub extent: i64,
    /// Places from one element to the next.
    pub spread: i64,
    /// The places that the next convolution can look at, and those of all elements.
    pub places: Range<i64>,
    /// The places that are drawn.
    pub drawn: Range<i64>,
    /// The elements that the output in the middle depends on.
    pub marks: Vec<i64>,
    /// The places between the first and the last that the window covers.
    pub frame: Range<i64>,
    /// A place's size.
    pub cell: f64,
    /// The centre of place 0.
    centre: f64,
    /// How the next convolution slides over the places.
    slide: Option<Window>,
}

impl Axis {
    /// The axis of the layer below convolution `at`.
    pub fn new(convs: &[Conv], (at, axis): (usize, usize), (stride, centre): (f64, f64), marks: Vec<i64>) -> Axis {
        let of = |conv: &Conv| conv.axes()[axis].clone();
        let extent = match at {
            0 => of(&convs[0]).input.known(),
            _ => of(&convs[at - 1]).output.known(),
        };
        let extent = extent.unwrap_or(0) as i64;
        let frame = marks.first().map_or(0..0, |first| *first..marks[marks.len() - 1] + 1);
        Axis {
            extent,
            spread: 1,
            places: 0..extent,
            drawn: 0..extent,
            marks,
            frame,
            cell: stride,
            centre,
            slide: None,
        }
    }

    /// Makes room for what a convolution on this layer looks at, and frames what its marked outputs look at.
    pub fn look_from(&mut self, axis: &EquationAxis, above: &[i64]) {
        // In places there are no holes: the window slides over them like a forward one.
        let slide = Window {
            lhs_dilation: 1,
            ..Window::from(axis)
        };
        self.spread = axis.lhs_dilation;
        self.cell /= self.spread as f64;
        let outputs = axis.output.known().unwrap_or(0) as i64;
        let looked = slide.needed(0..outputs).unwrap_or(0..0);
        let ends = |of: &Range<i64>| of.start.min(0)..of.end.max((self.extent - 1) * axis.lhs_dilation + 1);
        self.places = ends(&looked);
        self.drawn = self.places.clone();
        if let [first, ..] = above {
            self.frame = slide.needed(*first..above[above.len() - 1] + 1).unwrap_or(0..0);
        }
        self.slide = Some(slide);
    }

    /// The places under each tap of an output of the next convolution.
    pub fn looked_at(&self, output: i64) -> Vec<i64> {
        let at = |slide: Window| {
            (0..slide.kernel).map(move |tap| output * slide.stride + tap * slide.dilation - slide.pad_lo)
        };
        self.slide.into_iter().flat_map(at).collect()
    }

    /// Where a place starts; where the one before it ends.
    pub fn edge(&self, place: i64) -> f64 {
        self.centre + (place as f64 - 0.5) * self.cell
    }

    /// The middle of a place.
    pub fn middle(&self, place: i64) -> f64 {
        self.centre + place as f64 * self.cell
    }

    /// Places before and after those that are drawn are left out.
    pub fn is_cut(&self) -> [bool; 2] {
        [self.drawn.start > self.places.start, self.drawn.end < self.places.end]
    }

    /// There is an element here, no hole and no padding.
    pub fn is_element(&self, place: i64) -> bool {
        place % self.spread == 0 && (0..self.extent).contains(&(place / self.spread))
    }

    /// The places of all elements, the holes between them included.
    pub fn elements(&self) -> Range<i64> {
        0..(self.extent - 1) * self.spread + 1
    }

    /// The places of the marks that are drawn.
    pub fn marked(&self) -> impl Iterator<Item = i64> {
        let places = self.marks.iter().map(|mark| mark * self.spread);
        places.filter(|place| self.drawn.contains(place))
    }
}

/// How large an element of each layer is, and where the first has its middle, from the input on.
pub fn places(convs: &[Conv], axis: usize) -> Vec<(f64, f64)> {
    let mut places = vec![(1.0, 0.0)];
    let (mut size, mut first) = (1.0, 0.0);
    for conv in convs {
        let (of, window) = (&conv.axes()[axis], Window::from(&conv.equation()[axis]));
        let same = window.stride == 1 && window.lhs_dilation == 1 && of.input.known() == of.output.known();
        size /= window.lhs_dilation as f64;
        if !same {
            first += size * (window.reach() as f64 / 2.0 - window.pad_lo as f64);
        }
        size *= window.stride as f64;
        places.push((size, first));
    }
    places
}

/// Longer axes are cut around the field.
const MOST_PLACES: i64 = 26;

/// Leaves out what is far from the field, so that every layer shows the same piece of the input.
pub fn crop(layers: &mut [Layer]) {
    let whole = |layer: &Layer| layer.axes.iter().all(|axis| axis.is_cut() == [false; 2]);
    cut(layers);
    for layer in layers.iter_mut().filter(|layer| !whole(layer)) {
        if let Some(shape) = layer.lines.first_mut() {
            *shape += ", in part";
        }
    }
}

fn cut(layers: &mut [Layer]) {
    for axis in 0..layers[0].axes.len() {
        let longest = layers
            .iter()
            .map(|layer| layer.axes[axis].places.end - layer.axes[axis].places.start)
            .max();
        if longest.unwrap_or(0) <= MOST_PLACES {
            continue;
        }
        let lowest = &layers[0].axes[axis];
        let (from, to) = (lowest.edge(lowest.frame.start), lowest.edge(lowest.frame.end));
        let room = ((to - from) / 4.0).max(3.0);
        for layer in layers.iter_mut() {
            let axis = &mut layer.axes[axis];
            let inside = |place: &i64| axis.edge(*place) >= from - room && axis.edge(place + 1) <= to + room;
            let first = axis.places.clone().find(inside).unwrap_or(axis.frame.start);
            let count = (axis
                .places
                .clone()
                .skip_while(|place| !inside(place))
                .take_while(inside))
            .count() as i64;
            axis.drawn = first..first + count.max(axis.frame.end - axis.frame.start);
        }
    }
}

/// Every how many places a line is drawn, so that there are not too many.
pub fn every(places: &Range<i64>) -> usize {
    ((places.end - places.start) as usize).div_ceil(64).max(1)
}
