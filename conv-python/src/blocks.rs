//! A block of a program's output, as a program of its own.
//!
//! In: a program and the outputs of a block, a range for each spatial axis. Out: which inputs the
//! block needs, and the program that makes it of them. From the last step to the first each asks
//! [`Window::needed`]; what of it lies beyond the input is the block's padding, so that an inner
//! block has none and one at the edge the step's own.

use std::ops::Range;

use conv_ir::analysis::{Needed, Window};
use conv_ir::conv::axis_name;
use conv_jit::{Conv, Padding, PaddingMode, PerAxis, Program, Size, Step};

/// What of the input a block needs, for each spatial axis.
pub type Inputs = Vec<Range<i64>>;

/// The inputs and the program of a block of outputs; a sentence where a block cannot be cut.
pub fn block(
    program: &Program,
    batch: usize,
    outputs: &[Range<i64>],
) -> Result<(Inputs, Program), String> {
    if !program.is_row() {
        return Err("a program with branches is not cut into blocks".to_owned());
    }
    let mut ranges = outputs.to_vec();
    let mut steps: Vec<Step> = Vec::new();
    for (at, conv) in program.convs().enumerate().collect::<Vec<_>>().into_iter().rev() {
        let cut =
            step(conv, batch, &mut ranges).map_err(|why| format!("step {}: {why}", at + 1))?;
        steps.insert(0, cut.into());
    }
    let program = Program::new(steps).map_err(|error| error.to_string())?;
    Ok((ranges, program))
}

/// A step that makes these outputs; `ranges` becomes what it needs.
fn step(conv: &Conv, batch: usize, ranges: &mut [Range<i64>]) -> Result<Conv, String> {
    let spec = conv.spec();
    if spec.transposed {
        return Err("a transposed convolution is not cut into blocks".to_owned());
    }
    if spec.residual {
        return Err("a step with a residual is not cut into blocks".to_owned());
    }
    if spec.ceil_mode {
        return Err("a step with ceil_mode is not cut into blocks".to_owned());
    }
    let mut padding = Vec::new();
    for (at, (range, axis)) in ranges.iter_mut().zip(conv.axes()).enumerate() {
        let needed = Window::from(&conv.equation()[at]).needed(range.clone());
        let needed = needed.ok_or("positions are too large to count")?;
        let extent = axis.input.known().ok_or("a size is free: give it as a number")? as i64;
        let needed = Needed::cut(needed, extent);
        check(&needed, extent, spec.padding_mode)
            .map_err(|why| format!("{}: {why}", axis_name(conv.rank(), at)))?;
        padding.push((needed.before as usize, needed.after as usize));
        *range = needed.inside;
    }
    let mut cut = spec.clone();
    cut.batch = Size::Known(batch);
    cut.input =
        ranges.iter().map(|range| Size::Known((range.end - range.start) as usize)).collect();
    cut.padding = Padding::Explicit(PerAxis::Each(padding));
    Conv::new(cut).map_err(|error| error.to_string())
}

/// Whether the block's own padding reads what the whole input's does.
fn check(needed: &Needed, extent: i64, mode: PaddingMode) -> Result<(), String> {
    let (has, pads) = (needed.inside.end - needed.inside.start, needed.before.max(needed.after));
    if has == 0 {
        return Err("a block of outputs sees the padding alone: make blocks larger".to_owned());
    }
    match mode {
        _ if has == extent || pads == 0 => Ok(()),
        PaddingMode::Zeros | PaddingMode::Constant(_) | PaddingMode::Replicate => Ok(()),
        // As many elements behind the edge are read, and one more.
        PaddingMode::Reflect | PaddingMode::Symmetric if has > pads => Ok(()),
        PaddingMode::Reflect | PaddingMode::Symmetric => {
            Err(format!("a block has {has} elements where {pads} are mirrored: make blocks larger"))
        }
        _ => Err(format!("padding mode {mode} reads the other end: give one block there")),
    }
}
