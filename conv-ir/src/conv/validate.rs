//! stub
use super::{Conv, ConvSpec};
pub(super) fn validate(_spec: ConvSpec) -> Result<Conv, crate::Error> { todo!() }
