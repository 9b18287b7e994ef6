//! stub
use crate::{Conv, Element, Error};
/// The arrays of one convolution.
pub struct Arguments<'a, T> {
    /// Input.
    pub input: &'a [T],
    /// Weight.
    pub weight: &'a [T],
    /// Bias.
    pub bias: Option<&'a [T]>,
    /// Residual.
    pub residual: Option<&'a [T]>,
}
/// Runs.
pub fn run<T: Element>(_conv: &Conv, _arguments: Arguments<'_, T>, _free: &[(&str, usize)]) -> Result<Vec<T>, Error> { todo!() }
