//! stub
use crate::{Element, Error, Nest};
/// The arrays of one run.
pub struct Arguments<'a, T> {
    /// Input.
    pub input: &'a [T],
    /// Weight.
    pub weight: &'a [T],
    /// Bias.
    pub bias: Option<&'a [T]>,
    /// Residual.
    pub residual: Option<&'a [T]>,
    /// Output.
    pub output: &'a mut [T],
}
/// Runs setup and body.
pub fn run<T: Element>(_nest: &Nest, _arguments: Arguments<'_, T>, _free: &[(&str, usize)]) -> Result<(), Error> { todo!() }
