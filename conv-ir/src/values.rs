//! Numbers that are part of a description or a program.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::{DType, Element, Error};

/// Finite numbers of one array, in its order. Cheap to clone; equal where all bits are.
#[derive(Clone)]
pub struct Values(Arc<[f64]>);

impl Values {
    /// Takes numbers that are exact already.
    pub(crate) fn exact(values: impl Into<Arc<[f64]>>) -> Values {
        Values(values.into())
    }

    /// Rounds each number to `dtype`.
    pub(crate) fn rounded<T: Element>(
        name: &str,
        dtype: DType,
        numbers: &[T],
    ) -> Result<Values, Error> {
        let round = |x: f64| match dtype {
            DType::F32 => f64::from(x as f32),
            DType::F64 => x,
        };
        let values: Arc<[f64]> = numbers.iter().map(|x| round(x.to_f64())).collect();
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(Error::Argument(format!(
                "{name}[{at}] is {:?}, which is no finite {dtype}: known weights must be numbers",
                numbers[at]
            ))),
            None => Ok(Values(values)),
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
