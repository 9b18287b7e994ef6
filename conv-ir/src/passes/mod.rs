//! stub
use crate::{Conv, Error, Nest, Schedule, Target};
/// One pass.
pub struct Pass {
    /// Name.
    pub name: &'static str,
    /// Must hold before.
    pub requires: &'static str,
    /// Holds after.
    pub gives: &'static str,
    /// The pass.
    pub run: fn(&mut Nest, &Schedule, &Target) -> Result<(), Error>,
}
/// The pipeline.
pub const PASSES: &[Pass] = &[];
/// Lowers `conv` through every pass under `schedule`; `observe` sees the nest after `lower` and after each pass.
pub fn compile(_conv: &Conv, _schedule: &Schedule, _target: &Target, _observe: &mut dyn FnMut(&str, &Nest)) -> Result<Nest, Error> { todo!() }
