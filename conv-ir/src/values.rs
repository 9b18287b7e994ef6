//! Numbers that are part of a description or a program.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::{DType, Element, Error};

/// Finite numbers of one array, in its order. Cheap to clone; equal where all bits are.
#[derive(Clone)]
pub struct Values(Arc<Vec<f64>>);

/// The most numbers that a window is repeated to: a gibibyte of them.
const MOST_REPEATED: usize = 1 << 27;

/// A lone window, once for each of `count` channels.
///
/// # Errors
/// [`Error::Argument`] where that is more than 2^27 numbers, [`Error::Memory`] where there is no
/// room for them.
///
/// ```
/// assert_eq!(conv_ir::repeated(&[1.0, 2.0], 2), Ok(vec![1.0, 2.0, 1.0, 2.0]));
/// assert!(conv_ir::repeated(&[1.0, 2.0], 1 << 30).is_err());
/// ```
pub fn repeated(window: &[f64], count: usize) -> Result<Vec<f64>, Error> {
    let taps = window.len();
    match taps.checked_mul(count) {
        Some(numbers) if numbers <= MOST_REPEATED => {
            let mut all = room("weight", numbers)?;
            (0..count).for_each(|_| all.extend_from_slice(window));
            Ok(all)
        }
        _ => Err(Error::Argument(format!(
            "a lone window of {taps} taps for {count} channels is more than {MOST_REPEATED} \
             numbers: such weights cannot be compiled in"
        ))),
    }
}

/// An empty vector with room for so many elements of the array `name`.
pub(crate) fn room<T>(name: &str, count: usize) -> Result<Vec<T>, Error> {
    let mut room = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    let refused = |_| Error::Memory(format!("{name} needs {bytes} bytes, more than there is"));
    room.try_reserve_exact(count).map_err(refused)?;
    Ok(room)
}

impl Values {
    /// Takes numbers that are exact already.
    pub(crate) fn exact(values: impl Into<Vec<f64>>) -> Values {
        Values(Arc::new(values.into()))
    }

    /// Rounds each number to `dtype`.
    pub(crate) fn rounded<T: Element>(
        name: &str,
        dtype: DType,
        numbers: &[T],
    ) -> Result<Values, Error> {
        let mut values = room(name, numbers.len())?;
        values.extend(numbers.iter().map(|x| dtype.round(x.to_f64())));
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(Error::Argument(format!(
                "{name}[{at}] is {:?}, which is no finite {dtype}: known weights must be numbers",
                numbers[at]
            ))),
            None => Ok(Values(Arc::new(values))),
        }
    }
}

impl std::ops::Deref for Values {
    type Target = [f64];
    fn deref(&self) -> &[f64] {
        &self.0
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Values) -> bool {
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        Arc::ptr_eq(&self.0, &other.0)
            || self.len() == other.len() && self.iter().zip(other.iter()).all(same)
    }
}

impl Eq for Values {}

impl Hash for Values {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|x| x.to_bits().hash(state));
    }
}
