//! The words of activations.

use std::fmt;

use super::{Number, write_list};
use crate::activation::Activation;
use crate::conv::scan::Scanner;
use crate::error::Error;

/// PyTorch's slope where none is given.
const LEAKY_SLOPE: f64 = 0.01;

const ACTIVATIONS: [&str; 14] = [
    "relu",
    "relu6",
    "leaky_relu",
    "clamp",
    "sigmoid",
    "tanh",
    "silu",
    "gelu",
    "hardswish",
    "hardsigmoid",
    "elu",
    "softplus",
    "mish",
    "prelu",
];

pub(in crate::conv) fn scan_activation(scan: &mut Scanner) -> Result<Activation, Error> {
    scan.skip_spaces();
    let start = scan.position();
    let said = scan.word();
    match said.to_ascii_lowercase().as_str() {
        "relu" => Ok(Activation::Relu),
        "relu6" => Ok(Activation::Relu6),
        "leaky_relu" | "leakyrelu" if scan.peek() == Some('(') => {
            scan.arguments("leaky_relu(0.01)").map(|[slope]| Activation::LeakyRelu(slope))
        }
        "leaky_relu" | "leakyrelu" => Ok(Activation::LeakyRelu(LEAKY_SLOPE)),
        "clamp" => scan.arguments("clamp(0,6)").map(|[lo, hi]| Activation::Clamp(lo, hi)),
        "sigmoid" => Ok(Activation::Sigmoid),
        "tanh" => Ok(Activation::Tanh),
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "hardswish" | "hard_swish" => Ok(Activation::HardSwish),
        "hardsigmoid" | "hard_sigmoid" => Ok(Activation::HardSigmoid),
        "elu" if scan.peek() == Some('(') => {
            scan.arguments("elu(1)").map(|[alpha]| Activation::Elu(alpha))
        }
        "elu" => Ok(Activation::Elu(1.0)),
        "softplus" => Ok(Activation::Softplus),
        "mish" => Ok(Activation::Mish),
        "prelu" if scan.peek() != Some('(') => {
            let message = "prelu has a slope for each output channel, or one for all, as in \
                           `prelu(0.25,0.1)`";
            Err(scan.error(start, message.to_owned()))
        }
        "prelu" => scan.any_arguments("prelu(0.25,0.1)").map(|slopes| Activation::prelu(&slopes)),
        // Near to one of ours by letters alone.
        "celu" | "selu" | "rrelu" | "softmax" => Err(scan.not_there(start, said, &ACTIVATIONS)),
        _ => Err(scan.unknown(start, said, &ACTIVATIONS)),
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Activation::Relu => f.write_str("relu"),
            Activation::Relu6 => f.write_str("relu6"),
            Activation::LeakyRelu(slope) => write!(f, "leaky_relu({})", Number(*slope)),
            Activation::Clamp(lo, hi) => write!(f, "clamp({},{})", Number(*lo), Number(*hi)),
            Activation::Sigmoid => f.write_str("sigmoid"),
            Activation::Tanh => f.write_str("tanh"),
            Activation::Silu => f.write_str("silu"),
            Activation::Gelu => f.write_str("gelu"),
            Activation::HardSwish => f.write_str("hardswish"),
            Activation::HardSigmoid => f.write_str("hardsigmoid"),
            Activation::Elu(alpha) => write!(f, "elu({})", Number(*alpha)),
            Activation::Softplus => f.write_str("softplus"),
            Activation::Mish => f.write_str("mish"),
            Activation::Prelu(slopes) => {
                f.write_str("prelu(")?;
                write_list(f, ",", slopes.iter().map(|slope| Number(*slope)))?;
                f.write_str(")")
            }
        }
    }
}
