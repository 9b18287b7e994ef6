//! Weights on the command line: numbers in brackets, or a file.
//!
//! In: `[[1,2,1],[0,0,0],[-1,-2,-1]]`, `stem.npy` or `model.safetensors#conv1.weight`. Out: the
//! description with these numbers compiled in. They have the weight's shape or that of a lone
//! window, which serves every channel, as in `conv!`; a 1x1 window may be a matrix.

use std::path::Path;

use conv_ir::{Conv, Layout, Program};
use serde_json::Value;

use crate::failure::Failure;

/// The files that weights on the command line are read from.
pub fn files(weights: &[String]) -> Vec<&Path> {
    let places = weights.iter().filter(|weight| !weight.starts_with('['));
    places.map(|place| Path::new(conv_files::split_place(place).0)).collect()
}

/// The program with its weights, one for each step, or as it is where there are none.
pub fn known(program: &Program, weights: &[String]) -> Result<Program, Failure> {
    if weights.is_empty() {
        return Ok(program.clone());
    }
    counted("weight", weights.len(), weighted(program), "step that has one")?;
    let mut steps = program.steps().to_vec();
    let weighted = steps.iter_mut().filter(|step| step.conv.known().is_none());
    for (step, weight) in weighted.zip(weights) {
        step.conv = known_of(&step.conv, weight)?;
    }
    Ok(program.with_steps(steps)?)
}

/// How many steps have a weight that comes later: pools have none, and upsampling knows its own.
pub fn weighted(program: &Program) -> usize {
    program.convs().filter(|conv| conv.known().is_none()).count()
}

/// As many as there are steps that want one.
pub fn counted(role: &str, given: usize, needed: usize, what: &str) -> Result<(), Failure> {
    if given == needed {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--{role} is given {given} times, but {needed} needed: one for each {what}"
    )))
}

fn known_of(conv: &Conv, weight: &str) -> Result<Conv, Failure> {
    let (shape, numbers) = match weight.starts_with('[') {
        true => {
            literal(weight).map_err(|message| Failure::usage(format!("--weight: {message}")))?
        }
        false => {
            let array = conv_files::read_place(Path::new(""), weight, usize::MAX)?;
            (array.shape.clone(), array.exact())
        }
    };
    let needed = conv.weight_shape();
    let times = repeats(conv, &shape, |ours| ours == needed)
        .map_err(|message| Failure::usage(format!("--weight {message}")))?;
    let numbers = if times == 1 { numbers } else { conv_ir::repeated(&numbers, times)? };
    Ok(conv.with_weights(&numbers, None)?)
}

/// How often the numbers of an array of this shape are repeated to be the weight: a lone window
/// serves every channel. Of a shape that cannot be, what it must be, and whose order it has; `fits`
/// looks at the shape in our order.
pub fn repeats(
    conv: &Conv,
    shape: &[usize],
    fits: impl Fn(&[usize]) -> bool,
) -> Result<usize, String> {
    let needed = conv.weight_shape();
    if is_lone(conv, shape) {
        return Ok(conv.out_channels());
    }
    if shape == needed || is_matrix(conv, shape) {
        return Ok(1);
    }
    let lone = match conv.in_channels_per_group() {
        1 => format!(", or {:?} for a window that every channel shares", &needed[2..]),
        _ => String::new(),
    };
    let hint = other_order(conv.spec().transposed, shape, fits);
    let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
    Err(format!("has shape {shape:?}, but must have {needed:?}{lone}: {}{hint}", axes(conv)))
}

/// What the axes of a weight are.
fn axes(conv: &Conv) -> String {
    let spec = conv.spec();
    let axes = match spec.transposed {
        true => "[in, out/groups, kernel..]",
        false => "[out, in/groups, kernel..]",
    };
    let place = match spec.layout {
        Layout::ChannelsFirst => "",
        Layout::ChannelsLast => ", the last axis of the input,",
    };
    format!("{axes} with {} input channels{place} and groups {}", spec.in_channels, spec.groups)
}

/// One window for every output channel.
fn is_lone(conv: &Conv, shape: &[usize]) -> bool {
    let needed = conv.weight_shape();
    shape == &needed[2..] && needed[1] == 1 && conv.in_channels() == conv.groups()
}

/// The weight of a linear layer is that of a window of one element.
fn is_matrix(conv: &Conv, shape: &[usize]) -> bool {
    conv.kernel_volume() == 1 && shape == &conv.weight_shape()[..2]
}

/// Whose order of axes a weight has that does not fit, and how to mend it. `fits` looks at the
/// shape in our order.
fn other_order(
    is_transposed: bool,
    shape: &[usize],
    fits: impl Fn(&[usize]) -> bool,
) -> Option<String> {
    let rank = shape.len().checked_sub(2)?;
    let swapped = match is_transposed {
        true => "[out, in, kernel..], the order of a convolution that is not transposed",
        false => "[in, out, kernel..], the order of a transposed convolution",
    };
    // Where TensorFlow has our first two axes, which it turns round for transposed ones as we do.
    let last = [rank + 1, rank].into_iter().chain(0..rank);
    let between = [0, rank + 1].into_iter().chain(1..rank + 1);
    let orders: [(&str, Vec<usize>); 3] = [
        ("[kernel.., in, out], TensorFlow's order", last.collect()),
        ("[out, kernel.., in], the order of channels last", between.collect()),
        (swapped, [1, 0].into_iter().chain(2..rank + 2).collect()),
    ];
    let ours = |order: &[usize]| order.iter().map(|&axis| shape[axis]).collect::<Vec<_>>();
    // Most windows are as wide as high.
    let is_square = |order: &[usize]| ours(order)[2..].windows(2).all(|pair| pair[0] == pair[1]);
    let fitting = || orders.iter().filter(|(_, order)| fits(&ours(order)));
    let as_it_is: Vec<usize> = (0..rank + 2).collect();
    let any = || fitting().next().filter(|_| !is_square(&as_it_is));
    let (whose, order) = fitting().find(|(_, order)| is_square(order)).or_else(any)?;
    let order: Vec<String> = order.iter().map(usize::to_string).collect();
    Some(format!("this looks like {whose}: in NumPy, w.transpose({}) is ours", order.join(", ")))
}

/// Numbers in brackets: the extent of each level, outermost first, and the numbers.
pub fn literal(text: &str) -> Result<(Vec<usize>, Vec<f64>), String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| format!("numbers in brackets, as in [[1,0,-1],[2,0,-2],[1,0,-1]]: {e}"))?;
    let mut numbers = Vec::new();
    let shape = flatten(&value, &mut numbers)?;
    Ok((shape, numbers))
}

/// Rows of one level have the same shape.
fn flatten(value: &Value, numbers: &mut Vec<f64>) -> Result<Vec<usize>, String> {
    let Some(rows) = value.as_array() else {
        numbers.push(value.as_f64().ok_or_else(|| format!("{value} is no number"))?);
        return Ok(Vec::new());
    };
    let mut first: Option<Vec<usize>> = None;
    for (at, row) in rows.iter().enumerate() {
        let found = flatten(row, numbers)?;
        match &first {
            Some(first) if *first != found => {
                let count = |shape: &[usize]| shape.iter().product::<usize>();
                return Err(format!(
                    "row {at} has {} numbers, but row 0 has {}",
                    count(&found),
                    count(first)
                ));
            }
            Some(_) => {}
            None => first = Some(found),
        }
    }
    Ok([&[rows.len()], &first.unwrap_or_default()[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(text: &str) -> Conv {
        text.parse().expect("legal")
    }

    fn refused(conv: &Conv, weight: &str) -> String {
        known_of(conv, weight).expect_err(weight).to_string()
    }

    #[test]
    fn brackets_are_read_row_by_row() {
        assert_eq!(literal("[[1, 2], [-3, 4.5]]"), Ok((vec![2, 2], vec![1.0, 2.0, -3.0, 4.5])));
        assert_eq!(
            literal("[[1, 2], [3]]"),
            Err("row 1 has 1 numbers, but row 0 has 2".to_owned())
        );
        assert!(literal("[[1, x]]").is_err_and(|e| e.contains("numbers in brackets")));
        assert!(literal("[[1, null]]").is_err_and(|e| e.contains("null is no number")));
    }

    #[test]
    fn a_lone_window_serves_every_channel() {
        let conv = conv("conv2d g3 ic3 oc3 in 8x8 kernel 3x1");
        let found = known_of(&conv, "[[1],[2],[1]]").expect("a lone window");
        assert_eq!(found.known().map(|k| k.weight.len()), Some(9));
        assert_eq!(
            refused(&conv, "[1, 2]"),
            "--weight has shape [2], but must have [3, 1, 3, 1], or [3, 1] for a window that every channel shares: \
             [out, in/groups, kernel..] with 3 input channels and groups 3"
        );
    }

    /// Nine numbers, for a description that would make 72 GB of them.
    #[test]
    fn a_lone_window_must_fit_into_memory() {
        let conv = conv("conv2d g1000000000 ic1000000000 oc1000000000 in 8 kernel 3");
        let message = "a lone window of 9 taps for 1000000000 channels is more than";
        assert!(refused(&conv, "[[1,2,1],[0,0,0],[1,2,1]]").starts_with(message));
    }

    #[test]
    fn shapes_count_and_not_only_numbers() {
        let tall = conv("conv2d in 8 kernel 3x2");
        assert!(known_of(&tall, "[[1,2],[3,4],[5,6]]").is_ok());
        assert!(refused(&tall, "[[1,2,3],[4,5,6]]").contains("shape [2, 3], but must have"));
        assert!(refused(&tall, "[1,2,3,4,5,6]").contains("shape [6], but must have"));
        let dense = conv("conv2d ic2 oc2 in 8 kernel 2");
        assert!(refused(&dense, "[[1,2],[3,4]]").contains("shape [2, 2], but must have"));
    }

    #[test]
    fn a_matrix_is_the_weight_of_one_element() {
        let linear = conv("conv2d ic3 oc2 in 4 kernel 1");
        assert!(known_of(&linear, "[[1,2,3],[4,5,6]]").is_ok());
        assert!(refused(&linear, "[[1,2],[3,4],[5,6]]").contains("shape [3, 2], but must have"));
    }

    #[test]
    fn the_order_of_others_is_recognised() {
        let says = |text: &str, shape: &[usize]| {
            let conv = conv(text);
            other_order(conv.spec().transposed, shape, |ours| ours == conv.weight_shape())
        };
        let ours = "conv2d ic3 oc2 in 6 kernel 5x4";
        assert_eq!(
            says(ours, &[5, 4, 3, 2]).as_deref(),
            Some(
                "this looks like [kernel.., in, out], TensorFlow's order: in NumPy, w.transpose(3, 2, 0, 1) is ours"
            )
        );
        assert!(says(ours, &[2, 5, 4, 3]).is_some_and(|s| s.contains("w.transpose(0, 3, 1, 2)")));
        assert!(says(ours, &[3, 2, 5, 4]).is_some_and(|s| s.contains("w.transpose(1, 0, 2, 3)")));
        assert_eq!(says(ours, &[4, 5, 3, 2]), None);
        // Rather another number of channels than windows of 8x4.
        assert_eq!(says("conv2d ic3 oc3 in 9 kernel 8x4", &[8, 4, 3, 3]), None);
        let up = "conv1d-transposed ic3 oc2 in 6 kernel 5";
        assert!(says(up, &[2, 3, 5]).is_some_and(|s| s.contains("not transposed")));
        assert!(says(up, &[5, 2, 3]).is_some_and(|s| s.contains("w.transpose(2, 1, 0)")));
    }
}
