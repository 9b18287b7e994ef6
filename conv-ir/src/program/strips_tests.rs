use super::*;
use crate::Program;
use crate::program::rows::extents;

fn walked(text: &str, keep: bool, each: i64) -> Vec<Vec<Action>> {
    let chain: Program = text.parse().expect("legal");
    let keep = vec![keep; chain.steps().len()];
    let mut walk = Walk::new(chain.steps(), 0, &keep);
    let rows = extents(&chain.steps()[chain.steps().len() - 1].conv).1;
    let strips = (0..rows).step_by(each as usize).map(|lo| Rows { lo, hi: (lo + each).min(rows) });
    strips.map(|rows| walk.strip(rows).expect("legal strips")).collect()
}

/// `compute 1 rows 5 from 0 to 0`, as short words.
fn words(actions: &[Action]) -> String {
    let word = |action: &Action| match action {
        Action::Keep { step, from, rows } => format!("keep {step}: {rows} from {from}"),
        Action::Compute(c) => {
            format!("step {}: {} rows of {} -> {}", c.step, extents(&c.conv).1, c.input, c.output)
        }
    };
    actions.iter().map(word).collect::<Vec<_>>().join("; ")
}

const TWO: &str = "conv2d in 10 kernel 3 pad 1; conv2d kernel 3 pad 1";

#[test]
fn the_picture_of_the_module() {
    let kept = walked(TWO, true, 4);
    assert_eq!(words(&kept[0]), "step 0: 5 rows of 0 -> 0; step 1: 4 rows of 0 -> 0");
    assert_eq!(
        words(&kept[1]),
        "keep 0: 2 from 3; step 0: 4 rows of 4 -> 2; step 1: 4 rows of 0 -> 4"
    );
    let again = walked(TWO, false, 4);
    assert_eq!(words(&again[1]), "step 0: 6 rows of 2 -> 0; step 1: 4 rows of 0 -> 4");
}

#[test]
fn edges_keep_their_padding_and_the_middle_has_none() {
    let strips = walked(TWO, false, 4);
    let padding = |strip: &[Action]| match &strip[1] {
        Action::Compute(c) => c.conv.axes()[0].padding,
        Action::Keep { .. } => (9, 9),
    };
    assert_eq!([0, 1, 2].map(|at| padding(&strips[at])), [(1, 0), (0, 0), (0, 1)]);
}

#[test]
fn strips_that_cannot_be_say_why() {
    let conv: Conv = "conv2d in 10 kernel 3 pad 1 mode circular".parse().expect("legal");
    let why = of_rows(&conv, Rows { lo: 0, hi: 4 }).expect_err("it wraps around");
    assert!(why.to_string().contains("the other end of the image"), "{why}");
    let conv: Conv = "conv2d in 10 kernel 9 pad 4 mode reflect".parse().expect("legal");
    let strip = of_rows(&conv, Rows { lo: 0, hi: 1 }).expect("five rows turn four");
    assert_eq!(strip.spec().input[0], Size::Known(5));
    let conv: Conv = "conv2d in 10 kernel 13 pad 9 mode symmetric".parse().expect("legal");
    let why = of_rows(&conv, Rows { lo: 0, hi: 1 }).expect_err("four rows turn four, not nine");
    assert!(why.to_string().contains("reads rows that a strip does not have"), "{why}");
}

#[test]
fn rows_are_refused_where_there_is_no_convolution_of_them() {
    let mut refused = 0;
    for mode in ["zeros", "reflect", "symmetric", "replicate"] {
        for window in [
            "kernel 3 pad 1",
            "kernel 5 pad 4:3",
            "kernel 3 dilation 3 pad 5",
            "kernel 4 stride 3 pad 2:6",
        ] {
            let conv: Conv =
                format!("conv1d in 7 {window} mode {mode}").parse().expect("a legal convolution");
            let axis = RowAxis::of(&conv);
            for (lo, hi) in
                (0..axis.output).flat_map(|lo| (lo + 1..=axis.output).map(move |hi| (lo, hi)))
            {
                let rows = Rows { lo, hi };
                let (before, after) = axis.padding(rows);
                let made = Conv::new(ConvSpec {
                    input: vec![Size::Known(axis.needed(rows).len() as usize)],
                    padding: Padding::Explicit((before as usize, after as usize).into()),
                    ..conv.spec().clone()
                });
                // Padding folds back to the same rows of the image as it does without strips.
                let inside = axis.needed(rows);
                let fold = crate::lower::fold(conv.spec().padding_mode);
                let folds_otherwise = fold.filter(|_| !inside.is_empty()).is_some_and(|fold| {
                    let window = axis.window(rows);
                    (window.lo..window.hi).any(|at| {
                        let strip = inside.lo + fold.apply(at - inside.lo, inside.len());
                        fold.apply(at, axis.input) != strip
                    })
                });
                let is_none = made.is_err() || folds_otherwise;
                let is_refused = axis.refusal(rows).is_some();
                // A strip of all rows may be refused for padding that turns twice.
                let is_whole = inside.len() == axis.input;
                assert!(
                    is_refused == is_none || (is_refused && is_whole),
                    "{conv}: {rows:?}, {made:?}"
                );
                refused += usize::from(is_refused);
            }
        }
    }
    assert!(refused > 10, "{refused}");
}
