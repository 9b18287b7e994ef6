//! A convolution in tiles: which may be, and what becomes of its weights.

use std::fmt;

use super::Transform;
use crate::conv::EquationAxis;
use crate::values::room;
use crate::{Conv, DType, Element, Error, PaddingMode, Reduction};

/// How a convolution of two axes is cut into tiles: outputs of a tile and taps of the window, rows
/// first.
///
/// ```
/// use conv_ir::{Conv, winograd::Tiles};
/// let conv: Conv = "conv2d ic64 oc64 in 56x56 kernel 3x3 pad 1".parse()?;
/// let [tiles, smaller] = Tiles::of(&conv).unwrap();
/// assert_eq!((tiles.to_string(), tiles.points()), ("F(4x4, 3x3)".to_owned(), 36));
/// assert_eq!((smaller.to_string(), smaller.points()), ("F(2x2, 3x3)".to_owned(), 16));
/// let conv: Conv = "conv2d ic64 oc64 in 56x56 kernel 3x3 stride 2".parse()?;
/// assert_eq!(Tiles::of(&conv).unwrap_err(), "the stride is not 1");
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tiles {
    outputs: [usize; 2],
    taps: [usize; 2],
}

impl fmt::Display for Tiles {
    /// `F(4x4, 3x3)`, as the literature has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([m, n], [r, s]) = (self.outputs, self.taps);
        write!(f, "F({m}x{n}, {r}x{s})")
    }
}

impl Tiles {
    /// The tiles that this convolution may have, larger ones first. Those multiply less, and their
    /// errors are larger.
    ///
    /// # Errors
    /// Why it has none.
    pub fn of(conv: &Conv) -> Result<[Tiles; 2], &'static str> {
        let spec = conv.spec();
        let equation = conv.equation();
        let all = |f: &dyn Fn(&EquationAxis) -> bool| equation.iter().all(f);
        let padded_less = |axis: &EquationAxis| {
            let (input, output) = (axis.input.known(), axis.output.known());
            let behind = input.zip(output).map(|(input, output)| {
                output as i64 - 1 + axis.kernel - axis.pad_lo - input as i64
            });
            axis.pad_lo < axis.kernel && behind.is_some_and(|pad| pad < axis.kernel)
        };
        let rules = [
            (conv.rank() == 2, "it has not two spatial axes"),
            (spec.dtype == DType::F32, "the type is not f32"),
            (spec.reduction == Reduction::Sum, "it is no convolution"),
            (!spec.transposed, "it is transposed"),
            (spec.groups == 1, "it has groups"),
            (all(&|axis| axis.kernel == 3), "the window is not 3x3"),
            (all(&|axis| axis.stride == 1), "the stride is not 1"),
            (all(&|axis| axis.dilation == 1), "it is dilated"),
            (conv.free_sizes().is_empty(), "a size is known only at run time"),
            (spec.padding_mode == PaddingMode::Zeros, "the padding is not of zeros"),
            (all(&padded_less), "the padding is wider than the window"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(why),
            None => Ok([4, 2].map(|outputs| Tiles { outputs: [outputs; 2], taps: [3, 3] })),
        }
    }

    /// Outputs of a tile, rows and columns.
    pub fn outputs(&self) -> [usize; 2] {
        self.outputs
    }

    /// The matrices of rows and of columns.
    pub fn transforms(&self) -> [Transform; 2] {
        [0, 1].map(|at| {
            Transform::new(self.outputs[at], self.taps[at])
                .unwrap_or_else(|| unreachable!("{self} was made without a transform"))
        })
    }

    /// Multiplications of a tile, for each pair of channels.
    pub fn points(&self) -> usize {
        (0..2).map(|at| self.outputs[at] + self.taps[at] - 1).product()
    }

    /// Whether numbers on the way from these weights stay finite: none of them is infinite or NaN,
    /// nor so large that inputs which leave exact sums finite may overflow here. Inputs times
    /// channels have 2^64 left.
    pub fn keeps_finite<T: Element>(&self, weight: &[T]) -> bool {
        let size = |row: &Vec<f64>| row.iter().map(|x| x.abs()).sum::<f64>();
        let most = |matrix: &[Vec<f64>]| matrix.iter().map(size).fold(1.0, f64::max);
        let grows = |axis: Transform| most(&axis.a) * most(&axis.g) * most(&axis.b);
        let grows: f64 = self.transforms().map(grows).iter().product();
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
        if !Tiles::of(conv).is_ok_and(|all| all.contains(self)) {
            return Err(Error::Argument(format!("{self} are no tiles of {conv}")));
        }
        match shape.iter().product() {
            needed if needed == found => Ok(()),
            needed => Err(Error::Length { name, found, needed, shape: format!("{shape:?}") }),
        }
    }

    /// The transformed weights, `[points, out, in]`: computed in f64, rounded once.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Length`] and [`Error::Argument`] where these are not the
    /// weights, or not tiles, of `conv`.
    pub fn weights<T: Element>(&self, conv: &Conv, weight: &[T]) -> Result<Vec<T>, Error> {
        self.check(conv, "weight", weight.len(), conv.weight_shape())?;
        let [rows, columns] = self.transforms().map(|axis| axis.g);
        let flip = conv.spec().flip;
        let [height, width] = self.taps;
        let pairs = conv.spec().out_channels * conv.spec().in_channels;
        let mut made = room("transformed weights", self.points() * pairs)?;
        made.resize(self.points() * pairs, T::default());
        let mut halfway = vec![0.0; rows.len() * width];
        for (pair, window) in weight.chunks(height * width).enumerate() {
            let tap = |at: usize| match flip {
                true => window[window.len() - 1 - at].to_f64(),
                false => window[at].to_f64(),
            };
            for (k, g) in rows.iter().enumerate() {
                for j in 0..width {
                    halfway[k * width + j] =
                        g.iter().enumerate().map(|(i, g)| g * tap(i * width + j)).sum();
                }
                let row = &halfway[k * width..][..width];
                for (l, g) in columns.iter().enumerate() {
                    let sum: f64 = row.iter().zip(g).map(|(x, g)| x * g).sum();
                    made[(k * columns.len() + l) * pairs + pair] = T::from_f64(sum);
                }
            }
        }
        Ok(made)
    }
}
