//! stub
use crate::nest::{Chain, Nest};
use crate::Error;
pub(super) fn panel(_: &mut Nest, _: Chain, _: i64) -> Result<Vec<Chain>, Error> { Err(Error::IllegalSchedule("panel".into())) }
