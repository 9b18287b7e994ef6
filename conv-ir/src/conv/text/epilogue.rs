//! What stands behind the clauses: what is added, the activation, and what makes integers of few
//! bits of sums.

use super::Reader;
use crate::conv::Combine;
use crate::conv::scan::Scanner;
use crate::conv::words::{scan_activation, scan_bias_type, scan_rounding};
use crate::error::Error;
use crate::requantise::Rounding;

/// `requantise onnx scale 0.02,0.5 zero_point 3`.
pub(super) struct Requantise {
    pub rounding: Rounding,
    pub scales: Vec<f64>,
    pub zero_point: i32,
}

impl Reader<'_> {
    pub(super) fn epilogue(&mut self) -> Result<(), Error> {
        while let Some(sign) = self.scan.peek().filter(|sign| ['+', '*'].contains(sign)) {
            self.scan.eat(sign);
            self.scan.skip_spaces();
            let at = self.scan.position();
            match self.scan.word() {
                word @ ("residual" | "scale") if sign == '*' => {
                    let is_scale = word == "scale";
                    self.spec.combine = if is_scale { Combine::Scale } else { Combine::Multiply };
                    self.spec.residual = true;
                    self.once(at, "residual")?;
                    self.source()?;
                }
                word if sign == '*' => {
                    return Err(self.scan.unknown(at, word, &["residual", "scale"]));
                }
                "bias" => {
                    self.spec.bias = true;
                    self.once(at, "bias")?;
                    if let Some(dtype) = scan_bias_type(&mut self.scan) {
                        self.spec.types.bias = dtype;
                    }
                }
                "residual" => {
                    self.spec.residual = true;
                    self.once(at, "residual")?;
                    self.source()?;
                }
                word => return Err(self.scan.unknown(at, word, &["bias", "residual"])),
            }
            self.scan.skip_spaces();
        }
        while self.requantised.is_none() && self.scan.eat(',') {
            self.scan.skip_spaces();
            if self.scan.eat_alone("requantise") || self.scan.eat_alone("requantize") {
                self.requantised = Some(requantise(&mut self.scan)?);
            } else if self.spec.activation.is_none() {
                self.spec.activation = Some(scan_activation(&mut self.scan)?);
            } else {
                return Err(self.scan.expected("`requantise` behind the activation"));
            }
            self.scan.skip_spaces();
        }
        match self.scan.peek() {
            None => Ok(()),
            Some('+' | '*') => Err(self.scan.expected("nothing more: the activation comes last")),
            Some(_) if self.requantised.is_some() => {
                Err(self.scan.expected("nothing more: `requantise` comes last"))
            }
            Some(_) => {
                Err(self.scan.expected("`+ bias`, `+ residual` or `, activation` at the end"))
            }
        }
    }

    /// `from 2`, which a step of a chain says behind `residual`.
    fn source(&mut self) -> Result<(), Error> {
        let Some(from) = &mut self.residual else { return Ok(()) };
        self.scan.skip_spaces();
        if !self.scan.eat_word("from") {
            return Err(self
                .scan
                .expected("`from` and the number of a tensor: 0 is the chain's input, 1 the first step's output"));
        }
        self.scan.skip_spaces();
        *from = Some(self.scan.number()?);
        self.scan.skip_spaces();
        if self.scan.eat_before_digit(',') {
            let message = "one tensor is added or multiplies: a step by itself adds another, as \
                           `maxpool2d kernel 1 from 2 + residual from 3` does";
            return Err(self.scan.error(self.scan.position(), message.to_owned()));
        }
        Ok(())
    }
}

/// What stands behind `requantise`.
fn requantise(scan: &mut Scanner) -> Result<Requantise, Error> {
    let rounding = scan_rounding(scan)?;
    scan.skip_spaces();
    if !scan.eat_alone("scale") {
        return Err(
            scan.expected("`scale` and a number, or one for each output channel: `0.02,0.5`")
        );
    }
    let scales = scan.floats()?;
    scan.skip_spaces();
    let zero_point = match scan.eat_alone("zero_point") || scan.eat_alone("zero") {
        true => scan.integer()?,
        false => 0,
    };
    Ok(Requantise { rounding, scales, zero_point })
}
