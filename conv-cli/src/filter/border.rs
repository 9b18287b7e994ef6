//! What lies around a picture, copied beside it.

use conv_ir::PaddingMode;

use super::picture::Depth;
use crate::failure::Failure;
use crate::route;

/// A number of a picture.
pub trait Pixel: Copy + Default {
    /// The number that is nearest to one that is not below 0.
    fn kept_within(number: i64) -> Self;
}

impl Pixel for u8 {
    fn kept_within(number: i64) -> u8 {
        u8::try_from(number).unwrap_or(u8::MAX)
    }
}

impl Pixel for u16 {
    fn kept_within(number: i64) -> u16 {
        u16::try_from(number).unwrap_or(u16::MAX)
    }
}

/// What lies outside a picture, in its own numbers.
#[derive(Clone, Copy)]
pub enum Outside {
    Folded(PaddingMode),
    Constant(i32),
}

impl Outside {
    /// None where it is no number of the picture.
    pub fn of(mode: PaddingMode, depth: Depth) -> Option<Outside> {
        match mode {
            PaddingMode::Constant(value) => {
                let value = value * f64::from(depth.steps());
                let most = 255.0 * f64::from(depth.steps());
                let fits = value.fract() == 0.0 && (0.0..=most).contains(&value);
                fits.then_some(Outside::Constant(value as i32))
            }
            PaddingMode::Zeros => Some(Outside::Constant(0)),
            folded => Some(Outside::Folded(folded)),
        }
    }

    /// The place in a row of `size` that is read at `at`; none where that is a constant.
    fn place(self, at: i64, size: i64) -> Option<usize> {
        let turned = |period: i64, last: i64| {
            let at = at.rem_euclid(period);
            at.min(last - at)
        };
        let found = match self {
            Outside::Folded(PaddingMode::Reflect) if size == 1 => 0,
            Outside::Folded(PaddingMode::Reflect) => turned(2 * size - 2, 2 * size - 2),
            Outside::Folded(PaddingMode::Symmetric) => turned(2 * size, 2 * size - 1),
            Outside::Folded(PaddingMode::Circular) => at.rem_euclid(size),
            Outside::Folded(PaddingMode::Replicate) => at.clamp(0, size - 1),
            Outside::Folded(_) | Outside::Constant(_) if (0..size).contains(&at) => at,
            Outside::Folded(_) | Outside::Constant(_) => return None,
        };
        Some(found as usize)
    }

    /// The picture with so many pixels around it.
    pub fn copied<T: Pixel>(
        self,
        samples: &[T],
        [height, width, planes]: [usize; 3],
        [rows, columns]: [(usize, usize); 2],
    ) -> Result<Vec<T>, Failure> {
        let places = |(before, behind): (usize, usize), size: usize| -> Vec<Option<usize>> {
            let all = -(before as i64)..(size + behind) as i64;
            all.map(|at| self.place(at, size as i64)).collect()
        };
        let (rows, left) = (places(rows, height), columns.0);
        let columns = places(columns, width);
        let value = match self {
            Outside::Constant(value) => T::kept_within(value.into()),
            Outside::Folded(_) => T::default(),
        };
        let stride = columns.len() * planes;
        let mut all = route::zeros(rows.len().saturating_mul(stride))?;
        for (row, to) in rows.iter().zip(all.chunks_exact_mut(stride)) {
            let Some(row) = row else {
                to.fill(value);
                continue;
            };
            let from = &samples[row * width * planes..][..width * planes];
            to[left * planes..][..from.len()].copy_from_slice(from);
            for at in (0..left).chain(left + width..columns.len()) {
                let pixel = &mut to[at * planes..][..planes];
                match columns[at] {
                    Some(column) => pixel.copy_from_slice(&from[column * planes..][..planes]),
                    None => pixel.fill(value),
                }
            }
        }
        Ok(all)
    }
}
