//! Free sizes: names whose values come at run time.
//!
//! In: a checked [`Conv`] with names and a value for each. Out: the same convolution with numbers,
//! checked again, because some rules (a window must fit, a reflected edge must exist, a tensor must
//! be addressable) need the numbers.

use super::{Conv, ConvSpec, Size};
use crate::error::Error;

impl Conv {
    /// Names of the free sizes, the batch first, then the axes from the outermost.
    pub fn free_sizes(&self) -> Vec<&str> {
        std::iter::once(&self.spec.batch)
            .chain(&self.spec.input)
            .filter_map(|size| match size {
                Size::Known(_) => None,
                Size::Free(name) => Some(name.as_str()),
            })
            .collect()
    }

    /// The same convolution with values for its free sizes.
    ///
    /// # Errors
    /// [`Error::Argument`] where a name is missing, unknown or given twice; [`Error::Invalid`]
    /// where a value breaks a rule.
    pub fn with_sizes(&self, free: &[(&str, usize)]) -> Result<Conv, Error> {
        let names = self.free_sizes();
        for (i, (name, _)) in free.iter().enumerate() {
            if !names.contains(name) {
                return Err(Error::Argument(format!(
                    "there is no free size {name}: {}",
                    known_names(&names)
                )));
            }
            if free[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Argument(format!("the size {name} is given twice")));
            }
        }
        let value = |size: &Size| match size {
            Size::Known(n) => Ok(Size::Known(*n)),
            Size::Free(name) => match free.iter().find(|(given, _)| given == name) {
                Some((_, n)) => Ok(Size::Known(*n)),
                None => Err(Error::Argument(format!(
                    "the size {name} is missing: {}",
                    known_names(&names)
                ))),
            },
        };
        let batch = value(&self.spec.batch)?;
        let input = self.spec.input.iter().map(value).collect::<Result<_, _>>()?;
        let conv = Conv::new(ConvSpec { batch, input, ..self.spec.clone() })?;
        Ok(Conv { known: self.known.clone(), ..conv })
    }
}

fn known_names(names: &[&str]) -> String {
    match names {
        [] => "every size of this convolution is known".to_owned(),
        names => format!("the free sizes are {}", names.join(", ")),
    }
}
