//! What a stream of a program holds between calls, and how far its outputs look ahead.

use conv_ir::program::stream::Stream;
use conv_ir::{Accuracy, Program};
use conv_jit::PIECES;

use super::costs::size;
use crate::failure::Failure;
use crate::table::thousands;

/// Names of axes, from the innermost.
const AXES: [&str; 3] = ["w", "h", "d"];

/// The axis with this letter, counted from the outermost.
///
/// # Errors
/// Which letters there are.
pub fn axis_named(axis: &str, rank: usize) -> Result<usize, Failure> {
    let letters = &AXES[..rank.min(AXES.len())];
    let found = letters.iter().position(|letter| letter.eq_ignore_ascii_case(axis));
    let Some(from_inside) = found else {
        let known = letters.join(", ");
        return Err(Failure::usage(format!("--stream {axis}: the axes are {known}")));
    };
    Ok(rank - 1 - from_inside)
}

/// The lines about the stream along an axis.
pub fn lines(
    program: &Program,
    axis: &str,
    accuracy: Accuracy,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let along = axis_named(axis, program.steps()[0].conv.rank())?;
    let stream = Stream::new(program, along, &PIECES)?.in_partitions(program, accuracy)?;
    let bytes = conv_jit::state_bytes(program, &stream)?;
    let held = stream.held.iter().enumerate().map(|(tensor, held)| match tensor {
        0 => format!("{} of the input", thousands(*held as u128)),
        step => format!("{} of step {step}", thousands(*held as u128)),
    });
    let held: Vec<String> = held.collect();
    let pieces = PIECES.map(|piece| piece.to_string()).join(", ");
    let mut lines = vec![
        ("stream", format!("along {axis}, blocks of any length, put together of {pieces}")),
        ("state", size(bytes as u64)),
        ("", format!("positions still read: {}", held.join(", "))),
        (
            "delay",
            match stream.first() {
                1 => "none: the first input gives the first output".to_owned(),
                first => {
                    format!("the first output is known with input {}", thousands(first as u128))
                }
            },
        ),
    ];
    let several = stream.steps.len() > 1;
    for (at, (step, of)) in stream.steps.iter().zip(program.steps()).enumerate() {
        let said = match (&step.cut, &step.whole) {
            (Some(cut), _) => cut.parts.reason(&of.conv),
            (None, Some(why)) => format!("direct sums of all taps: {why}"),
            (None, None) => continue,
        };
        let number = if several { format!("step {}: ", at + 1) } else { String::new() };
        lines.push(("window", number + &said));
    }
    Ok(lines)
}
