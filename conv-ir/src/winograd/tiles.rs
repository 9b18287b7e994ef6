//! A convolution in tiles: which may be, and what becomes of its weights.

use std::fmt;

use super::{MOST_OUTPUTS, MOST_TAPS, Transform};
use crate::conv::EquationAxis;
use crate::{Conv, Element, Error, PaddingMode, Reduction};

/// The most spatial axes of a convolution in tiles.
pub(crate) const MOST_AXES: usize = 3;

/// The largest worst case of what is called fast: that of the usual F(4x4, 3x3) of the literature
/// is 860. F(6x6, 3x3) has 1565.
const MOST_WORST: f64 = 1000.0;

/// How a convolution is cut into tiles: along each axis, outermost first, the outputs of a tile and
/// the taps of the window. An axis with one tap has tiles of one output, which are left alone.
///
/// ```
/// use conv_ir::{Conv, winograd::Tiles};
/// let conv: Conv = "conv2d ic64 oc64 in 56x56 kernel 3x3 pad 1".parse()?;
/// let tiles = Tiles::new(&conv, &[4, 4]).unwrap();
/// assert_eq!((tiles.to_string(), tiles.points()), ("F(4x4, 3x3)".to_owned(), 36));
/// let smaller = Tiles::new(&conv, &[2, 2]).unwrap();
/// assert_eq!((smaller.to_string(), smaller.points()), ("F(2x2, 3x3)".to_owned(), 16));
/// let conv: Conv = "conv1d ic64 oc64 in 560 kernel 5".parse()?;
/// assert_eq!(Tiles::new(&conv, &[4]).unwrap().to_string(), "F(4, 5)");
/// let conv: Conv = "conv2d ic64 oc64 in 56x56 kernel 3x3 stride 2".parse()?;
/// assert_eq!(Tiles::of(&conv).unwrap_err(), "the stride is not 1");
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tiles {
    outputs: [usize; MOST_AXES],
    taps: [usize; MOST_AXES],
    rank: usize,
}

impl fmt::Display for Tiles {
    /// `F(4x4, 3x3)`, as the literature has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |of: &[usize]| of.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        write!(f, "F({}, {})", by(self.outputs()), by(self.taps()))
    }
}

impl Tiles {
    /// All tiles that this convolution may have, by the outputs of a tile. Larger ones multiply
    /// less, and their errors are larger; there is none that may be further off than what is
    /// usual.
    ///
    /// # Errors
    /// Why it has none.
    pub fn of(conv: &Conv) -> Result<Vec<Tiles>, &'static str> {
        allowed(conv)?;
        if conv.spec().multiplies() {
            return Err("it is multiplied by a tensor, of which the bound says nothing");
        }
        let mut all = vec![Tiles { outputs: [1; MOST_AXES], taps: [1; MOST_AXES], rank: 0 }];
        for axis in conv.axes() {
            let longer = |tiles: Tiles| {
                let sizes = (1..=MOST_OUTPUTS).filter(|m| Transform::of(*m, axis.kernel).is_some());
                sizes.map(move |outputs| tiles.with_axis(outputs, axis.kernel))
            };
            all = all.into_iter().flat_map(longer).collect();
        }
        all.retain(|tiles| tiles.worst() <= MOST_WORST);
        match all.is_empty() {
            true => Err("no tiles of its window are exact enough"),
            false => Ok(all),
        }
    }

    /// Tiles of so many outputs along each axis, where they are among those of the convolution.
    pub fn new(conv: &Conv, outputs: &[usize]) -> Option<Tiles> {
        Tiles::of(conv).ok()?.into_iter().find(|tiles| tiles.outputs() == outputs)
    }

    fn with_axis(mut self, outputs: usize, taps: usize) -> Tiles {
        (self.outputs[self.rank], self.taps[self.rank]) = (outputs, taps);
        self.rank += 1;
        self
    }

    /// Outputs of a tile along each axis.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs[..self.rank]
    }

    /// Taps of the window along each axis.
    pub fn taps(&self) -> &[usize] {
        &self.taps[..self.rank]
    }

    /// The matrices of each axis.
    pub fn transforms(&self) -> Vec<&'static Transform> {
        let of = |(outputs, taps): (&usize, &usize)| {
            Transform::of(*outputs, *taps)
                .unwrap_or_else(|| unreachable!("{self} was made without a transform"))
        };
        self.outputs().iter().zip(self.taps()).map(of).collect()
    }

    /// Multiplications of a tile, for each pair of channels.
    pub fn points(&self) -> usize {
        self.outputs().iter().zip(self.taps()).map(|(outputs, taps)| outputs + taps - 1).product()
    }

    /// The [worst case](Transform::worst) of all axes.
    pub fn worst(&self) -> f64 {
        self.transforms().iter().map(|axis| axis.worst()).product()
    }

    /// Whether numbers on the way from these weights stay finite: none of them is infinite or NaN,
    /// nor so large that inputs which leave exact sums finite may overflow here. Inputs times
    /// channels have 2^64 left.
    pub fn keeps_finite<T: Element>(&self, weight: &[T]) -> bool {
        let size = |row: &Vec<f64>| row.iter().map(|x| x.abs()).sum::<f64>();
        let most = |matrix: &[Vec<f64>]| matrix.iter().map(size).fold(1.0, f64::max);
        let grows = |axis: &Transform| most(&axis.a) * most(&axis.g) * most(&axis.b);
        let grows: f64 = self.transforms().into_iter().map(grows).product();
        let largest = f64::from(f32::MAX) / 64f64.exp2() / grows;
        weight.iter().all(|w| w.to_f64().abs() < largest)
    }

    /// Whether an array of `conv`, which these tiles fit, has the length that it should.
    pub(super) fn check(
        &self,
        conv: &Conv,
        name: &'static str,
        found: usize,
        shape: Vec<usize>,
    ) -> Result<(), Error> {
        if Tiles::new(conv, self.outputs()) != Some(*self) {
            return Err(Error::Argument(format!("{self} are no tiles of {conv}")));
        }
        match shape.iter().product() {
            needed if needed == found => Ok(()),
            needed => Err(Error::Length { name, found, needed, shape: format!("{shape:?}") }),
        }
    }
}

/// Inputs that a window spans; the largest number where that is more.
fn span(axis: &EquationAxis) -> i64 {
    axis.dilation.saturating_mul(axis.kernel - 1).saturating_add(1)
}

/// Whether a convolution can be computed in tiles.
fn allowed(conv: &Conv) -> Result<(), &'static str> {
    let spec = conv.spec();
    let equation = conv.equation();
    let all = |f: &dyn Fn(&EquationAxis) -> bool| equation.iter().all(f);
    let padded_less = |axis: &EquationAxis| {
        let (input, output) = (axis.input.known(), axis.output.known());
        let behind = input
            .zip(output)
            .map(|(input, output)| output as i64 - 1 + span(axis) - axis.pad_lo - input as i64);
        axis.pad_lo < span(axis) && behind.is_some_and(|pad| pad < span(axis))
    };
    let is_small = |axis: &EquationAxis| {
        let output = axis.output.known().and_then(|output| i64::try_from(output).ok());
        axis.kernel == 1 || output.is_some_and(|output| axis.dilation <= output.max(1))
    };
    let has_points =
        |axis: &EquationAxis| usize::try_from(axis.kernel).is_ok_and(|taps| taps <= MOST_TAPS);
    let rules = [
        ((1..=MOST_AXES).contains(&conv.rank()), "it has more than three spatial axes"),
        (spec.types.single().is_some(), "the type is not f32 or f64"),
        (spec.reduction == Reduction::Sum, "it is no convolution"),
        (!spec.transposed, "it is transposed"),
        (conv.kernel_volume() > 1, "the window is one element"),
        (all(&has_points), "the window is longer than 7"),
        (all(&|axis| axis.stride == 1), "the stride is not 1"),
        (all(&is_small), "it is dilated by more than its output is long"),
        (conv.free_sizes().is_empty(), "a size is known only at run time"),
        (spec.padding_mode == PaddingMode::Zeros, "the padding is not of zeros"),
        (all(&padded_less), "the padding is wider than the window"),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, why)) => Err(why),
        None => Ok(()),
    }
}
