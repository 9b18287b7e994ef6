//! Random convolution x random legal schedule, judged after each pass and on every route; text
//! forms; free sizes; adjointness.
//!
//! A failure is shrunk, printed as a case file, and kept in `tests/cases/` so that it runs from
//! then on (`cargo insta accept` for what it shows). `PROPTEST_CASES` sets how many cases are drawn
//! (300 without it); the seed is fixed unless `PROPTEST_RNG_SEED` is set, so that a run can be
//! repeated.

use conv_ir::{Conv, ConvSpec, DType, Schedule, Size, Target};
use conv_tests::drawn::{Drawn, drawn, narrow};
use conv_tests::random::{convs, freed, schedules, work};
use conv_tests::{Fill, judge, routes};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::cell::Cell;
use std::path::Path;

/// A runner for `part` hundredths of the cases asked for.
fn runner(part: u32) -> TestRunner {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(2026);
    TestRunner::new(Config {
        cases: (asked * part / 100).max(1),
        failure_persistence: None,
        max_shrink_iters: 5000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    })
}

/// Runs `test`; what fails is shrunk and kept as a case file.
fn check<S: Strategy>(
    part: u32,
    strategy: S,
    show: fn(&S::Value) -> String,
    test: impl Fn(S::Value) -> Result<(), String>,
) where
    S::Value: std::fmt::Debug,
{
    let run = |value| {
        let result = judge::quietly(|| test(value)).and_then(|tested| tested);
        result.map_err(TestCaseError::fail)
    };
    match runner(part).run(&strategy, run) {
        Ok(()) => {}
        Err(TestError::Fail(reason, least)) => {
            let case = format!("Found by proptest.\n{}\n", show(&least));
            panic!("{reason}\n\n{}:\n{case}", keep(&case))
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Writes a case file and says where.
fn keep(case: &str) -> String {
    let number = case
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(format!("found-{:08x}.conv", number as u32));
    match std::fs::write(&path, format!("{case}show: outline\n")) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("not kept ({error})"),
    }
}

fn show_drawn(drawn: &Drawn) -> String {
    format!("{drawn:?}\ntarget: cranelift128")
}

#[test]
fn any_schedule_gives_the_reference() {
    let (ran, refused) = (Cell::new(0), Cell::new(0));
    check(100, drawn(), show_drawn, |Drawn { conv, schedule }| {
        // Schedules for narrow vectors are good for every machine; those with masks only where
        // there are some.
        let masks = schedule.borders == conv_ir::schedule::Borders::Mask;
        let target = if masks { Target::AVX512 } else { Target::CRANELIFT };
        if !judge::is_legal(&conv, &schedule, &target) {
            refused.set(refused.get() + 1);
            return Ok(());
        }
        ran.set(ran.get() + 1);
        // Of the activations that are polynomials, only the reference's own order of evaluation
        // gives its bits: so does this check them.
        let fill = if work(&conv).is_multiple_of(2) { Fill::Integers } else { Fill::Reals };
        routes::every(&conv, &schedule, &target, fill)
    });
    conv_tests::say(format_args!(
        "{} random schedules judged, {} refused as illegal",
        ran.get(),
        refused.get()
    ));
    assert!(ran.get() > 4 * refused.get(), "too many random schedules are refused to prove much");
}

#[test]
fn the_models_choice_gives_the_reference() {
    let show = |conv: &Conv| format!("conv: {conv}\ntarget: cranelift128");
    check(60, convs(), show, |conv| {
        for target in [Target::CRANELIFT, Target::RUST, Target::AVX2, Target::AVX512] {
            routes::every_chosen(&conv, &target, Fill::Integers)?;
        }
        routes::every_chosen(&conv, &Target::AVX512, Fill::Reals)
    });
}

#[test]
fn free_sizes_give_the_bits_of_known_ones() {
    let ran = Cell::new(0);
    let show = |drawn: &Drawn| show_drawn(drawn);
    check(60, drawn(), show, |Drawn { conv, schedule }| {
        let Ok((free, sizes)) = freed(&conv) else { return Ok(()) };
        let schedule = match judge::is_legal(&free, &schedule, &Target::CRANELIFT) {
            true => schedule,
            false => Schedule::choose(&free, &Target::CRANELIFT).schedule,
        };
        let mut values: Vec<Vec<(&str, usize)>> = [0, 1, 3, 8]
            .iter()
            .map(|more| {
                sizes
                    .iter()
                    .map(|(name, n)| (name.as_str(), if name == "N" { *n } else { n + more }))
                    .collect()
            })
            .collect();
        values.retain(|sizes| free.with_sizes(sizes).is_ok_and(|known| work(&known) <= 60_000));
        ran.set(ran.get() + values.len());
        routes::free(&free, &schedule, &values, Fill::Integers)?;
        Ok(())
    });
    conv_tests::say(format_args!("{} sizes of free nests run", ran.get()));
}

#[test]
fn descriptions_are_read_as_they_print() {
    let round = |conv: Conv| {
        let text = conv.to_string();
        match text.parse::<Conv>() {
            Ok(read) if read == conv && read.to_string() == text => Ok(()),
            other => Err(format!("{text}\nis read as\n{other:?}")),
        }
    };
    let show = |conv: &Conv| format!("conv: {conv}");
    check(200, convs(), show, round);
    check(100, convs(), show, |conv| match freed(&conv) {
        Ok((free, _)) => round(free),
        Err(_) => Ok(()),
    });
}

#[test]
fn schedules_are_read_as_they_print() {
    let round = |schedule: Schedule| match schedule.to_string().parse::<Schedule>() {
        Ok(read) if read == schedule => Ok(()),
        other => Err(format!("{schedule}\nis read as\n{other:?}, and was\n{schedule:?}")),
    };
    check(200, schedules(3, narrow()), |schedule| format!("schedule: {schedule}"), round);
    let show = |conv: &Conv| format!("conv: {conv}\ntarget: cranelift128");
    check(100, convs(), show, |conv| {
        let targets = [Target::CRANELIFT, Target::AVX512];
        targets.iter().try_for_each(|target| round(Schedule::choose(&conv, target).schedule))
    });
}

/// `<C x, y> == <x, C' y>` where `C'` is the transposed convolution of the same numbers: the
/// gradient for the input.
fn adjoint(conv: &Conv) -> Result<bool, String> {
    let spec = conv.spec();
    let forward = ConvSpec {
        bias: false,
        residual: false,
        activation: None,
        types: DType::F64.into(),
        padding_mode: conv_ir::PaddingMode::Zeros,
        ..spec.clone()
    };
    let forward = Conv::new(forward).map_err(|e| e.to_string())?;
    let Some(transposed) = transpose(&forward) else {
        return Ok(false);
    };
    let (x, y) = (
        conv_tests::Data::<f64>::new(&forward, Fill::Integers, 1),
        conv_tests::Data::<f64>::new(&transposed, Fill::Integers, 2),
    );
    let y = conv_tests::Data { weight: x.weight.clone(), ..y };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let there = dot(&routes::compiled::<f64>(&forward, &x)?, &y.input);
    let back = dot(&x.input, &routes::compiled::<f64>(&transposed, &y)?);
    if there == back {
        Ok(true)
    } else {
        Err(format!("{forward}\n{transposed}\n<Cx, y> = {there}, <x, C'y> = {back}"))
    }
}

/// The transposed convolution whose output is the input of `conv`: channels change places, and what
/// the stride skips comes back as output padding.
fn transpose(conv: &Conv) -> Option<Conv> {
    let spec = conv.spec();
    let out_pad: Option<Vec<usize>> = conv
        .axes()
        .iter()
        .map(|a| {
            let window = a.dilation * (a.kernel - 1) + 1;
            let reached = (a.output.known()? - 1) * a.stride + window;
            (a.input.known()? + a.padding.0 + a.padding.1).checked_sub(reached)
        })
        .collect();
    let padding: Vec<(usize, usize)> = conv.axes().iter().map(|a| a.padding).collect();
    Conv::new(ConvSpec {
        in_channels: spec.out_channels,
        out_channels: spec.in_channels,
        input: conv.axes().iter().filter_map(|a| a.output.known()).map(Size::Known).collect(),
        padding: padding.into(),
        output_padding: out_pad?.into(),
        transposed: true,
        ..spec.clone()
    })
    .ok()
}

#[test]
fn transposed_is_the_adjoint() {
    let ran = Cell::new(0);
    check(
        100,
        convs().prop_filter("forward", |c| !c.spec().transposed),
        |conv| format!("conv: {conv}"),
        |conv| {
            ran.set(ran.get() + usize::from(adjoint(&conv)?));
            Ok(())
        },
    );
    conv_tests::say(format_args!("{} pairs are adjoint", ran.get()));
    assert!(ran.get() > 0);
}
