//! What stands behind the clauses: what is added, and the activation.

use super::Reader;
use crate::conv::words::{scan_activation, scan_bias_type};
use crate::error::Error;

impl Reader<'_> {
    pub(super) fn epilogue(&mut self) -> Result<(), Error> {
        while self.scan.eat('+') {
            self.scan.skip_spaces();
            let at = self.scan.position();
            match self.scan.word() {
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
        if self.scan.eat(',') {
            self.spec.activation = Some(scan_activation(&mut self.scan)?);
        }
        self.scan.skip_spaces();
        match self.scan.peek() {
            None => Ok(()),
            Some('+') => Err(self.scan.expected("nothing more: the activation comes last")),
            Some(_) => {
                Err(self.scan.expected("`+ bias`, `+ residual` or `, activation` at the end"))
            }
        }
    }

    /// `from 2`, which a step of a chain says behind `residual`.
    fn source(&mut self) -> Result<(), Error> {
        let Some(from) = &mut self.from else { return Ok(()) };
        self.scan.skip_spaces();
        if !self.scan.eat_word("from") {
            return Err(self
                .scan
                .expected("`from` and the number of a tensor: 0 is the chain's input, 1 the first step's output"));
        }
        self.scan.skip_spaces();
        *from = Some(self.scan.number()?);
        Ok(())
    }
}
