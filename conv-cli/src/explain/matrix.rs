//! A convolution as a matrix, as far as that can be looked at.

use std::io::Write;

use conv_ir::Conv;
use conv_ir::analysis::Matrix;

use crate::failure::Failure;

/// More entries than this are not printed.
const MOST_ENTRIES: usize = 1 << 14;

/// Prints it, lined up.
pub fn show(conv: &Conv, out: &mut dyn Write) -> Result<(), Failure> {
    let matrix = Matrix::of(conv)?;
    let entries = matrix.rows().saturating_mul(matrix.columns());
    if entries > MOST_ENTRIES {
        return Err(Failure::usage(format!(
            "the matrix has {} rows and {} columns: --matrix shows up to {MOST_ENTRIES} entries, so describe a smaller input",
            matrix.rows(),
            matrix.columns()
        )));
    }
    writeln!(
        out,
        "{conv}\n{} outputs = this matrix * {} inputs\n\n{matrix}",
        matrix.rows(),
        matrix.columns()
    )?;
    let mut places: Vec<_> = matrix.terms().iter().map(|term| (term.row, term.column)).collect();
    places.dedup();
    let (nonzero, zeros) = (places.len(), entries - places.len());
    Ok(writeln!(out, "{nonzero} places have a weight, {zeros} are zero")?)
}
