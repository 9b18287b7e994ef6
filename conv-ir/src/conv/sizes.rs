//! Sizes in the text form: numbers, and names where a size may be free.

use super::scan::Scanner;
use super::{Size, validate};
use crate::error::{Error, cut};

impl Scanner<'_> {
    /// A number; no name.
    pub fn count(&self, at: usize, value: &str) -> Result<usize, Error> {
        match self.size(at, value)? {
            Size::Known(n) => Ok(n),
            Size::Free(_) => {
                let message = format!(
                    "`{}` is a name, but only the batch and the input's extents can be free",
                    cut(value)
                );
                Err(self.error(at, message))
            }
        }
    }

    /// A number, or the name of a size.
    pub fn size(&self, at: usize, text: &str) -> Result<Size, Error> {
        match text.parse() {
            Ok(n) => Ok(Size::Known(n)),
            Err(_) if validate::is_name(text) => Ok(Size::from(text)),
            Err(_) if text.is_empty() => Err(self
                .error(at, "the value is missing: it follows, such as `n1` or `ic64`".to_owned())),
            Err(_) if text.bytes().all(|b| b.is_ascii_digit()) => {
                Err(self.error(at, format!("{} is too large", cut(text))))
            }
            Err(_) => Err(self.error(
                at,
                format!("found `{}`, expected a number or an upper-case name", cut(text)),
            )),
        }
    }
}

pub(super) fn size_item(scan: &mut Scanner) -> Result<Size, Error> {
    if scan.peek().is_some_and(|c| c.is_ascii_uppercase()) {
        let name = scan.run(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        return Ok(Size::from(name));
    }
    if scan.peek().is_some_and(|c| c.is_ascii_digit()) {
        return scan.number().map(Size::Known);
    }
    Err(scan.expected("a number or an upper-case name"))
}
