//! Choices that were measured, in the place of the model's.
//!
//! What is known of a layer is one line: how exact its sums must be, by which algorithm they are
//! computed, and under which schedule where they are direct. A layer is found by what is summed:
//! bias, residual and activation do not count. Who measured, on which machine, is for the reader of
//! the file to ask (`conv_files::tuning`); nothing here does.

use std::hash::{Hash, Hasher};

use super::Algorithm;
use crate::conv::Combine;
use crate::{Accuracy, Conv, ConvSpec, Error, Schedule};

/// What was measured to be the fastest for a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuned {
    conv: Conv,
    accuracy: Accuracy,
    algorithm: Algorithm,
    schedule: Option<Schedule>,
}

impl Tuned {
    /// For a layer under an accuracy. A schedule is for direct sums.
    ///
    /// # Errors
    /// [`Error::Argument`] where the accuracy does not admit the algorithm, or there is a schedule
    /// of something else than direct sums; [`Error::IllegalSchedule`].
    pub fn new(
        conv: &Conv,
        accuracy: Accuracy,
        (algorithm, schedule): (Algorithm, Option<Schedule>),
    ) -> Result<Tuned, Error> {
        if let Some(schedule) = &schedule {
            schedule.check_words()?;
            if algorithm != Algorithm::Direct {
                let message = format!("a schedule is for direct sums, not for {algorithm}");
                return Err(Error::Argument(message));
            }
        }
        let conv = sums_of(conv).ok_or_else(|| {
            let why = "of floats of one type, sizes known, weights not";
            Error::Argument(format!("what is tuned is a convolution {why}, but not {conv}"))
        })?;
        if !Algorithm::of(&conv, accuracy).contains(&algorithm) {
            let message = format!("accuracy {accuracy} does not admit {algorithm} of {conv}");
            return Err(Error::Argument(message));
        }
        Ok(Tuned { conv, accuracy, algorithm, schedule })
    }

    /// The layer, without what follows its sums.
    pub fn conv(&self) -> &Conv {
        &self.conv
    }

    /// How exact its sums must be.
    pub fn accuracy(&self) -> Accuracy {
        self.accuracy
    }

    /// How they are computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Under which schedule, where they are direct.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }
}

/// What was measured, by layer and accuracy.
///
/// ```
/// use conv_ir::program::{Algorithm, Tuned, Tuning};
/// use conv_ir::{Accuracy, Conv};
/// let conv: Conv = "conv2d ic64 oc64 in 56 kernel 3 pad 1".parse()?;
/// let schedule = "lanes oc:16 tile oc:16,ow:28 borders exact unroll kw pack".parse()?;
/// let way = (Algorithm::Direct, Some(schedule));
/// let tuning: Tuning = [Tuned::new(&conv, Accuracy::Exact, way)?].into_iter().collect();
/// // The same sums, with a bias and an activation behind them.
/// let conv: Conv = "conv2d ic64 oc64 in 56 kernel 3 pad 1 + bias, relu".parse()?;
/// assert!(tuning.find(&conv, Accuracy::Exact).is_some());
/// assert!(tuning.find(&conv, Accuracy::Fast).is_none());
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    layers: Vec<Tuned>,
}

impl Tuning {
    /// What is known of a layer.
    pub fn find(&self, conv: &Conv, accuracy: Accuracy) -> Option<&Tuned> {
        let conv = sums_of(conv)?;
        self.layers.iter().find(|tuned| tuned.accuracy == accuracy && tuned.conv == conv)
    }

    /// All of it.
    pub fn layers(&self) -> &[Tuned] {
        &self.layers
    }
}

/// The last one of a layer and accuracy counts.
impl FromIterator<Tuned> for Tuning {
    fn from_iter<I: IntoIterator<Item = Tuned>>(all: I) -> Tuning {
        let mut layers: Vec<Tuned> = Vec::new();
        for tuned in all {
            let is_same =
                |other: &&mut Tuned| other.accuracy == tuned.accuracy && other.conv == tuned.conv;
            match layers.iter_mut().find(is_same) {
                Some(other) => *other = tuned,
                None => layers.push(tuned),
            }
        }
        Tuning { layers }
    }
}

/// Options are hashed for each look into the cache, and seldom differ in this.
impl Hash for Tuning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.layers.len().hash(state);
    }
}

/// The convolution without what follows its sums; `None` where nothing is measured of its kind.
fn sums_of(conv: &Conv) -> Option<Conv> {
    let spec = conv.spec();
    let is_measured = spec.types.single().is_some()
        && !spec.types.accumulator.is_integer()
        && conv.known().is_none()
        && conv.free_sizes().is_empty();
    let spec = ConvSpec {
        bias: false,
        residual: false,
        combine: Combine::Add,
        activation: None,
        ..spec.clone()
    };
    is_measured.then(|| Conv::new(spec).ok()).flatten()
}
