//! How much code an item may become: a size that is too large is an error that names it, in place
//! of a build of minutes.
//!
//! Tiles and unrolled taps have limits of their own, in the passes, so one leaf is at most some
//! hundred lines. Two things grow with what a user writes: kinds of positions in the image (a free
//! size has two edges and an inside, a transposed stride a phase for each of its values; over the
//! axes they multiply, and each kind is a leaf), and known weights, whose bytes rustc holds.

use conv_ir::conv::axis_name;
use conv_ir::nest::{Leaf, LoopKind, Stmt};
use conv_ir::{Conv, Error, Issue, Nest, Size};

use crate::{Form, Options};

/// Statements of a version: rustc takes half a minute for three versions of 2400 each.
const STATEMENTS: usize = 5_000;

/// Kinds of positions, whatever comes of them: more take minutes before there is a statement to
/// count.
const KINDS: usize = 4_096;

/// Known numbers of an item: ResNet-50 has 25 million. An array is one token, but rustc holds its
/// bytes, and their text, several times over: some 30 bytes a number.
pub(crate) const NUMBERS: usize = 1 << 25;

/// What can be told of descriptions before they are lowered: the steps of an item whose known
/// numbers are there so many times.
///
/// # Errors
/// [`Error::Invalid`] about the weight or a size of the input.
pub(crate) fn check<'a>(convs: impl Iterator<Item = &'a Conv>, copies: usize) -> Result<(), Error> {
    let mut before = 0;
    for conv in convs {
        if conv.known().is_some() {
            before = numbers(conv, before, copies)?;
        }
        positions(conv)?;
    }
    Ok(())
}

/// How many times the numbers of an item are there: a type packs once for all its versions.
pub(crate) fn copies(options: &Options) -> usize {
    match options.form {
        Form::Type => 1,
        Form::Function => options.isas.len() + 1,
    }
}

/// The known numbers so far, and those of a step.
fn numbers(conv: &Conv, before: usize, copies: usize) -> Result<usize, Error> {
    let all = before.saturating_add(conv.weight_len().saturating_mul(copies));
    if all <= NUMBERS {
        return Ok(all);
    }
    let shape: Vec<String> = conv.weight_shape().iter().map(usize::to_string).collect();
    let (shape, len) = (shape.join(" x "), conv.weight_len());
    let times =
        if copies > 1 { format!(", once for each of {copies} versions,") } else { String::new() };
    let steps =
        if before > 0 { format!(" and {before} of steps before it") } else { String::new() };
    let message = format!(
        "{shape} = {len} numbers{times}{steps} are {all}, but at most {NUMBERS} are compiled in: make it a parameter, which a `struct` packs once"
    );
    Err(issue(conv, "weight", None, message))
}

/// Kinds of positions multiply.
fn positions(conv: &Conv) -> Result<(), Error> {
    let all = kinds(conv).iter().fold(1usize, |product, kinds| product.saturating_mul(*kinds));
    match all > KINDS {
        true => Err(too_many(
            conv,
            &format!("{all} kinds of positions, but at most {KINDS} are written out"),
        )),
        false => Ok(()),
    }
}

/// What came of it.
///
/// # Errors
/// [`Error::Invalid`] about a size of the input.
pub(crate) fn check_nest(conv: &Conv, nest: &Nest) -> Result<(), Error> {
    let all = all_statements(nest);
    match all > STATEMENTS {
        true => Err(too_many(
            conv,
            &format!("{all} statements a version, but at most {STATEMENTS} are written out"),
        )),
        false => Ok(()),
    }
}

/// What came of a chain of so many steps, each of which may become as much as a convolution by
/// itself.
///
/// # Errors
/// [`Error::Unsupported`]: strips at the edges of the image have nests of their own, for each kind
/// of edge.
pub(crate) fn check_chain(steps: usize, nest: &Nest) -> Result<(), Error> {
    let (all, most) = (all_statements(nest), steps.saturating_mul(STATEMENTS));
    if all > most {
        return Err(Error::Unsupported {
            route: "rust",
            message: format!(
                "the code would have {all} statements a version, but at most {most} are written out for {steps} steps"
            ),
        });
    }
    Ok(())
}

fn all_statements(nest: &Nest) -> usize {
    let leaves: usize = nest.leaves.iter().map(statements).sum();
    leaves + calls(&nest.body)
}

/// Operations, and how often their text is repeated.
fn statements(leaf: &Leaf) -> usize {
    let mut operations = 0;
    leaf.ops().for_each(|op| op.visit(&mut |_| operations += 1));
    let tested = leaf.conditions();
    let repeated = leaf.reduce.iter().filter(|l| {
        let tests = tested.iter().any(|cond| cond.expression().of_axis(l.axis) != 0);
        l.kind == LoopKind::Unrolled && tests
    });
    let turns = repeated.map(|l| l.constant_extent().unwrap_or(1).max(1) as usize);
    turns.fold(operations, usize::saturating_mul)
}

fn calls(stmts: &[Stmt]) -> usize {
    let of = |stmt: &Stmt| match stmt {
        Stmt::For(_, body) => 1 + calls(body),
        Stmt::Leaf(leaf) => statements(leaf),
        Stmt::Call(_) => 1,
    };
    stmts.iter().map(of).sum()
}

/// Kinds of positions along each axis: phases of a transposed stride, and edges of a free size.
fn kinds(conv: &Conv) -> Vec<usize> {
    let of = |axis: &conv_ir::conv::ConvAxis| {
        // More than four phases are a loop.
        let phases = if conv.spec().transposed && axis.stride <= 4 { axis.stride } else { 1 };
        let edges = if matches!(axis.input, Size::Free(_)) { 3 } else { 1 };
        phases * edges
    };
    conv.axes().iter().map(of).collect()
}

/// The pieces of a stream so far, and one more. A step's are in an item of their own.
///
/// # Errors
/// [`Error::Argument`].
pub(crate) fn check_stream(before: usize, nest: &Nest) -> Result<usize, Error> {
    let all = before + all_statements(nest);
    match all > STATEMENTS {
        true => Err(Error::Argument(format!(
            "the pieces of the stream have {all} statements a version, but at most {STATEMENTS} \
             are written out: give one length of pieces, as in `stream: w(64)`"
        ))),
        false => Ok(all),
    }
}

/// Names the axis with the most kinds, and how they multiply.
fn too_many(conv: &Conv, found: &str) -> Error {
    let kinds = kinds(conv);
    let worst = (0..kinds.len()).rev().max_by_key(|&axis| kinds[axis]).unwrap_or(0);
    let named = |axis: usize| format!("{} along {}", kinds[axis], axis_name(kinds.len(), axis));
    let product: Vec<String> = (0..kinds.len()).map(named).collect();
    let message = format!(
        "the code would have {found}; kinds of positions are {}: give numbers for free sizes, or a smaller stride",
        product.join(" x ")
    );
    issue(conv, "input", Some(worst), message)
}

fn issue(conv: &Conv, field: &'static str, axis: Option<usize>, message: String) -> Error {
    let rank = conv.axes().len();
    Error::Invalid(vec![Issue { field, axis, rank, message }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, lowered};

    fn refused(conv: &Conv) -> String {
        lowered(conv, &Options::default()).unwrap_err().to_string()
    }

    #[test]
    fn weights_that_fill_the_memory_are_refused_with_their_number() {
        let conv: Conv = "conv2d ic4096 oc2800 in 7x7 kernel 1x1".parse().unwrap();
        let known = conv.with_weights(&vec![0.5; conv.weight_len()], None).unwrap();
        assert_eq!(
            refused(&known),
            "weight: 2800 x 4096 x 1 x 1 = 11468800 numbers, once for each of 3 versions, are 34406400, but at most 33554432 are compiled in: make it a parameter, which a `struct` packs once"
        );
        let steps = [&known, &known, &known];
        assert!(check(steps.into_iter().take(2), 1).is_ok());
        let message = check(steps.into_iter(), 1).unwrap_err().to_string();
        assert!(
            message.contains("numbers and 22937600 of steps before it are 34406400"),
            "{message}"
        );
    }

    #[test]
    fn positions_that_multiply_are_refused_before_and_after_lowering() {
        let before = "conv6d-transposed ic2 oc2 in AxBxCxDxExF kernel 3 stride 2 pad 1";
        // Left to itself, the model makes no such code: a schedule does, of edges in two axes.
        let schedule = "lanes none tile oh:2,ow:2 borders exact unroll kh,kw".parse().unwrap();
        let given = Options { schedule: Some(schedule), ..Options::default() };
        for (text, options, axis, says) in [
            (before, Options::default(), "axis 0", "46656 kinds of positions, but at most 4096"),
            (
                "conv2d in 80 kernel 15 pad 7",
                given,
                "height",
                "statements a version, but at most 5000",
            ),
        ] {
            let conv: Conv = text.parse().unwrap();
            let message = lowered(&conv, &options).unwrap_err().to_string();
            assert!(message.starts_with(&format!("input ({axis}): ")), "{message}");
            assert!(message.contains(says), "{message}");
        }
    }
}
