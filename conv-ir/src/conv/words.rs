//! The small words of the text form: types, layouts, padding, activations.

use std::fmt;

use super::PaddingMode;

/// A float as short as it reads back exactly: `6`, `0.01`, `1e300`.
pub(super) struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

impl fmt::Display for PaddingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PaddingMode::Zeros => f.write_str("zeros"),
            PaddingMode::Constant(value) => write!(f, "constant({})", Number(*value)),
            PaddingMode::Reflect => f.write_str("reflect"),
            PaddingMode::Symmetric => f.write_str("symmetric"),
            PaddingMode::Replicate => f.write_str("replicate"),
            PaddingMode::Circular => f.write_str("circular"),
        }
    }
}
