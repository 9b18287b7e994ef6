//! When descriptions are equal: where all their numbers are, to the last bit.
//!
//! Zero and minus zero differ in what is computed, so they differ here. So equal descriptions may
//! share their code.

use std::hash::{Hash, Hasher};
use std::mem::{Discriminant, discriminant};

use super::{Conv, PaddingMode};
use crate::activation::Activation;
use crate::values::Values;

impl PaddingMode {
    fn bits(&self) -> (Discriminant<Self>, u64) {
        let value = match self {
            PaddingMode::Constant(value) => value.to_bits(),
            PaddingMode::Zeros
            | PaddingMode::Reflect
            | PaddingMode::Symmetric
            | PaddingMode::Replicate
            | PaddingMode::Circular => 0,
        };
        (discriminant(self), value)
    }
}

impl Activation {
    fn bits(&self) -> (Discriminant<Self>, [u64; 2], Option<&Values>) {
        let values = match self {
            Activation::LeakyRelu(number) | Activation::Elu(number) => [number.to_bits(), 0],
            Activation::Clamp(lo, hi) => [lo.to_bits(), hi.to_bits()],
            Activation::Relu
            | Activation::Relu6
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Silu
            | Activation::Gelu
            | Activation::HardSwish
            | Activation::HardSigmoid
            | Activation::Softplus
            | Activation::Mish
            | Activation::Prelu(_) => [0; 2],
        };
        let slopes = match self {
            Activation::Prelu(slopes) => Some(slopes),
            _ => None,
        };
        (discriminant(self), values, slopes)
    }
}

macro_rules! by_bits {
    ($($name:ty),*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.bits() == other.bits()
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.bits().hash(state);
            }
        }
    )*};
}

by_bits!(PaddingMode, Activation);

impl Hash for Conv {
    /// The axes follow from what was said.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.spec, &self.known).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::DefaultHasher;

    fn hash(conv: &Conv) -> u64 {
        let mut hasher = DefaultHasher::new();
        conv.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn descriptions_are_equal_to_the_last_bit() {
        let read = |text: &str| text.parse::<Conv>().unwrap_or_else(|e| panic!("{text}: {e}"));
        let texts = [
            "conv2d in 8 kernel 3 pad 1",
            "conv2d in 8 kernel 3 pad 1 mode constant(0)",
            "conv2d in 8 kernel 3 pad 1 mode constant(-0)",
            "conv2d in 8 kernel 3 pad 1, clamp(0,1)",
            "conv2d in 8 kernel 3 pad 1, clamp(-0,1)",
            "conv2d in 8 kernel 3 pad 1, leaky_relu(0)",
            "conv2d in 8 kernel 3 pad 1, leaky_relu(-0)",
            "conv2d oc2 in 8 kernel 3 pad 1, prelu(0,1)",
            "conv2d oc2 in 8 kernel 3 pad 1, prelu(-0,1)",
        ];
        for a in texts {
            for b in texts {
                let (one, other) = (read(a), read(b));
                assert_eq!(one == other, a == b, "{a}; {b}");
                assert_eq!(hash(&one) == hash(&other), a == b, "{a}; {b}");
            }
        }
        let written = read("conv2d n1 in 8x8 kernel 3x3 stride 1x1 pad 1:1,1:1");
        assert_eq!((hash(&written), &written), (hash(&read(texts[0])), &read(texts[0])));
        let known = |tap: f64| read("conv1d in 8 kernel 1").with_weights(&[tap], None);
        assert_ne!(known(0.0), known(-0.0));
    }
}
