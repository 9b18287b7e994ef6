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

/// One axis of an array, as a row of places: the array's elements, with holes between them where
/// the next convolution is transposed, and the padding.
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
    pub fn new(
        convs: &[Conv],
        (at, axis): (usize, usize),
        (stride, centre): (f64, f64),
        marks: Vec<i64>,
    ) -> Axis {
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

    /// Makes room for what a convolution on this layer looks at, and frames what its marked outputs
    /// look at.
    pub fn look_from(&mut self, axis: &EquationAxis, above: &[i64]) {
        // In places there are no holes: the window slides over them like a forward one.
        let slide = Window { lhs_dilation: 1, ..Window::from(axis) };
        self.spread = axis.lhs_dilation;
        self.cell /= self.spread as f64;
        let outputs = axis.output.known().unwrap_or(0) as i64;
        let looked = slide.needed(0..outputs).unwrap_or(0..0);
        self.places =
            looked.start.min(0)..looked.end.max((self.extent - 1) * axis.lhs_dilation + 1);
        self.drawn = self.places.clone();
        if let [first, ..] = above {
            self.frame = slide.needed(*first..above[above.len() - 1] + 1).unwrap_or(0..0);
        }
        self.slide = Some(slide);
    }

    /// The places under each tap of an output of the next convolution.
    pub fn looked_at(&self, output: i64) -> Vec<i64> {
        let at = |slide: Window| {
            (0..slide.kernel)
                .map(move |tap| output * slide.stride + tap * slide.dilation - slide.pad_lo)
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
        let same =
            window.stride == 1 && window.lhs_dilation == 1 && of.input.known() == of.output.known();
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

/// Leaves out what is far from the field, so that every layer shows the same piece of the input,
/// and says so.
pub fn crop(layers: &mut [Layer]) {
    for axis in 0..layers[0].axes.len() {
        let longest = layers.iter().map(|layer| length(&layer.axes[axis].places)).max();
        if longest.unwrap_or(0) > MOST_PLACES {
            let lowest = &layers[0].axes[axis];
            let (from, to) = (lowest.edge(lowest.frame.start), lowest.edge(lowest.frame.end));
            let room = ((to - from) / 4.0).max(3.0);
            for layer in layers.iter_mut() {
                layer.axes[axis].cut(from - room, to + room);
            }
        }
    }
    for axis in 0..layers[0].axes.len() {
        // Far from zero the page's numbers would have too few digits.
        let first = layers.iter().map(|layer| layer.axes[axis].edge(layer.axes[axis].drawn.start));
        let first = first.fold(f64::MAX, f64::min);
        for layer in layers.iter_mut() {
            layer.axes[axis].centre -= first;
        }
    }
    for layer in layers {
        let (axes, shape) = (&layer.axes, layer.lines.first_mut());
        if let Some(shape) = shape {
            if axes.iter().any(|axis| axis.is_cut() != [false; 2]) {
                *shape += ", in part";
            }
            let mut steps: Vec<String> =
                axes.iter().map(|axis| every(&axis.drawn).to_string()).collect();
            steps.dedup();
            if axes.len() > 1 && steps != ["1"] {
                *shape += &format!(", lines every {}", steps.join(" × "));
            }
        }
    }
}

impl Axis {
    /// Draws the places that lie between two coordinates of the input, and those of the frame.
    fn cut(&mut self, from: f64, to: f64) {
        let place = |at: f64| (at - self.edge(0)) / self.cell;
        let (first, end) = (place(from).ceil() as i64, place(to).floor() as i64);
        let (first, end) = (first.max(self.places.start), end.min(self.places.end));
        self.drawn = match first < end {
            true => first.min(self.frame.start)..end.max(self.frame.end),
            false => self.frame.clone(),
        };
    }
}

/// Every how many places a line is drawn, so that there are not too many.
pub fn every(places: &Range<i64>) -> usize {
    let step = (length(places) as usize).div_ceil(40);
    if step <= 1 { 1 } else { step.next_multiple_of(5) }
}

fn length(places: &Range<i64>) -> i64 {
    (places.end - places.start).max(0)
}
