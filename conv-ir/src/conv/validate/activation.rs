//! The rules of activations: their numbers are finite, and fit the type of the sums and the
//! channels.

use super::Check;
use crate::activation::Activation;

impl Check<'_> {
    pub(super) fn activation(&mut self) {
        let dtype = self.spec.types.accumulator;
        let is_whole = |x: f64| !x.is_finite() || dtype.round(x) == x;
        match self.spec.activation.as_ref().filter(|_| dtype.is_integer()) {
            None | Some(Activation::Relu | Activation::Relu6) => {}
            Some(Activation::Clamp(lo, hi)) if is_whole(*lo) && is_whole(*hi) => {}
            Some(Activation::Clamp(lo, hi)) => {
                let message = format!("clamp from {lo} to {hi}: sums are {dtype}, whole numbers");
                self.broken("activation", message);
            }
            Some(other) => {
                let name = other.to_string();
                let name = name.split('(').next().filter(|_| name.len() > 40).unwrap_or(&name);
                let message =
                    format!("{name} of {dtype} is no whole number: relu, relu6 and clamp are");
                self.broken("activation", message);
            }
        }
        match &self.spec.activation {
            Some(Activation::LeakyRelu(slope)) => {
                self.finite("activation", "the slope of leaky_relu", *slope);
            }
            Some(Activation::Elu(alpha)) => {
                self.finite("activation", "the factor of elu", *alpha);
            }
            &Some(Activation::Clamp(lo, hi)) => {
                let low = self.finite("activation", "the lower bound of clamp", lo);
                let high = self.finite("activation", "the upper bound of clamp", hi);
                if low && high && lo > hi {
                    self.broken(
                        "activation",
                        format!("clamp from {lo} to {hi}: the lower bound is above the upper one"),
                    );
                }
            }
            Some(Activation::Prelu(slopes)) => self.slopes(slopes),
            _ => {}
        }
    }

    fn slopes(&mut self, slopes: &[f64]) {
        let (found, channels) = (slopes.len(), self.spec.out_channels);
        if found != 1 && found != channels {
            let message = format!(
                "prelu has {found} slopes, but there are {channels} output channels: give one for \
                 all, or one each"
            );
            self.broken("activation", message);
        }
        // One is enough to say.
        let dtype = self.spec.types.accumulator;
        if let Some(at) = slopes.iter().position(|slope| !dtype.round(*slope).is_finite()) {
            self.finite("activation", &format!("slope {at} of prelu"), slopes[at]);
        }
    }

    pub(super) fn finite(&mut self, field: &'static str, what: &str, value: f64) -> bool {
        let dtype = self.spec.types.accumulator;
        let fits = dtype.round(value).is_finite();
        if !value.is_finite() {
            self.broken(field, format!("{what} is {value}, but must be finite"));
        } else if !fits {
            self.broken(field, format!("{what} is {value:e}, too large for {dtype}"));
        }
        fits
    }
}

/// Slopes that are all the same are one.
pub(super) fn canonical(activation: Activation) -> Activation {
    match activation {
        Activation::Prelu(slopes) if is_one(&slopes) => Activation::LeakyRelu(slopes[0]),
        other => other,
    }
}

fn is_one(slopes: &[f64]) -> bool {
    slopes.iter().all(|slope| slope.to_bits() == slopes[0].to_bits())
}
