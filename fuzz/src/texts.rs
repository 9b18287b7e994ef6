//! Texts: of descriptions, schedules, programs, networks, problems and windows.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use conv_ir::analysis::Network;
use conv_ir::conv::parse_benchdnn;
use conv_ir::program::fuse::{Lowered, Strips};
use conv_ir::program::plan::{self, Group, Plan};
use conv_ir::separate::Accuracy;
use conv_ir::{
    Activation, Conv, DType, Error, Layout, Padding, PaddingMode, PerAxis, Program, Schedule,
    Target, nest, passes,
};

use crate::windows::Window;
use crate::{accepted, refused};

/// Reads `bytes` as a text of `T`.
fn round<T>(bytes: &[u8]) -> bool
where
    T: FromStr + Display + Debug + PartialEq,
    T::Err: Display,
{
    match String::from_utf8_lossy(bytes).parse::<T>() {
        Ok(read) => accepted(&read),
        Err(error) => refused(error),
    }
}

/// The small words, each text as each of them.
pub fn words(bytes: &[u8]) -> bool {
    let kinds = [
        round::<Activation>,
        round::<DType>,
        round::<Layout>,
        round::<Padding>,
        round::<PaddingMode>,
        round::<PerAxis<usize>>,
        round::<Accuracy>,
    ];
    kinds.map(|read| read(bytes)).contains(&true)
}

/// A description.
pub fn conv(bytes: &[u8]) -> bool {
    round::<Conv>(bytes)
}

/// A program.
pub fn program(bytes: &[u8]) -> bool {
    round::<Program>(bytes)
}

/// What schedules are tried on: channels, groups and columns for lanes, borders for panels.
const SCHEDULED: [&str; 4] = [
    "conv2d ic3 oc8 in 5x9 kernel 3 pad 1 + bias, relu",
    "conv2d g16 ic16 oc16 in 6x6 kernel 3 pad 1 mode reflect",
    "conv1d-transposed nhwc ic4 oc6 in 7 kernel 3 stride 2",
    "conv2d ic2 oc4 in HxW kernel 3 pad 1",
];

/// A schedule: printed, and on some convolution refused or a sound nest.
pub fn schedule(bytes: &[u8]) -> bool {
    let schedule = match String::from_utf8_lossy(bytes).parse::<Schedule>() {
        Ok(read) => read,
        Err(error) => return refused(error),
    };
    accepted(&schedule);
    let text = SCHEDULED[bytes.len() % SCHEDULED.len()].replace("nhwc", "nwc");
    let conv: Conv = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let target = Target::ALL[bytes.len() / SCHEDULED.len() % Target::ALL.len()];
    match passes::compile(&conv, &schedule, &target, &mut |_, _| {}) {
        Ok(nest) => sound(&nest, &format!("{conv}\n{schedule}\n{target}")),
        Err(error) => refused(error),
    }
}

/// A nest keeps the rules of nests.
pub(crate) fn sound(nest: &conv_ir::Nest, case: &str) -> bool {
    let broken = nest::verify(nest);
    assert!(broken.is_empty(), "{case}\n{broken:?}");
    true
}

/// A program under the model's plan, which must be a plan, and under one of any numbers.
pub fn plan(bytes: &[u8]) -> bool {
    let (numbers, text) = bytes.split_at(bytes.len().min(8));
    let program = match String::from_utf8_lossy(text).parse::<Program>() {
        Ok(read) => read,
        Err(error) => return refused(error),
    };
    let target = Target::AVX2;
    let chosen = Plan::choose(&program, &target, 2);
    chosen.check(&program).unwrap_or_else(|error| panic!("{program}\n{chosen:?}\n{error}"));
    chosen.reasons.iter().for_each(|reason| _ = refused(reason));
    let drawn = drawn_plan(&program, numbers);
    if let Err(error) = drawn.check(&program) {
        return refused(error);
    }
    let is_small = (0..=program.steps().len()).all(|tensor| program.len_of(tensor) < 1 << 12);
    if program.free_sizes().is_empty() && is_small {
        for group in &drawn.groups {
            match plan::nest(&program, group, &target, &mut |conv, layouts, _| {
                lowered(conv, layouts, &target)
            }) {
                Ok(nest) => _ = sound(&nest, &format!("{program}\n{drawn:?}")),
                Err(error) => _ = refused(error),
            }
        }
    }
    true
}

fn lowered(
    conv: &Conv,
    layouts: conv_ir::lower::Layouts,
    target: &Target,
) -> Result<Lowered, Error> {
    let schedule = Schedule::choose_as(conv, layouts, target).schedule;
    let nest = passes::compile_as(conv, layouts, &schedule, target, &mut |_, _| {})?;
    Ok(Lowered { schedule, nest })
}

/// Groups, strips and chunks out of a few bytes.
fn drawn_plan(program: &Program, numbers: &[u8]) -> Plan {
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    let size = |byte: u8| match byte {
        0..250 => usize::from(byte % 16),
        250..253 => 1 << (byte % 64),
        _ => usize::MAX,
    };
    let mut groups = Vec::new();
    let mut start = 0;
    while start < program.steps().len() {
        let steps = (1 + usize::from(number(start % 4) % 4)).min(program.steps().len() - start);
        let strips = Strips {
            rows: size(number(4)),
            keep: vec![number(5).is_multiple_of(2); steps],
            layouts: (0..steps)
                .map(|step| {
                    [Layout::ChannelsFirst, Layout::ChannelsLast]
                        [usize::from(number(6) >> (step % 8) & 1)]
                })
                .collect(),
            chunks: size(number(7)),
        };
        let strips = (steps > 1 || number(5) > 100).then_some(strips);
        groups.push(Group { steps: start..start + steps, strips });
        start += steps;
    }
    Plan { groups, reasons: Vec::new() }
}

/// A network, and what its points see.
pub fn network(bytes: &[u8]) -> bool {
    let seen = String::from_utf8_lossy(bytes)
        .parse::<Network>()
        .and_then(|network| network.at([64, 65])?.seen());
    match seen {
        Ok(_) => true,
        Err(error) => refused(error),
    }
}

/// One of benchdnn's problems.
pub fn benchdnn(bytes: &[u8]) -> bool {
    match parse_benchdnn(&String::from_utf8_lossy(bytes)) {
        Ok(conv) => accepted(&conv),
        Err(error) => refused(error),
    }
}

/// A picture filter's window.
pub fn window(bytes: &[u8]) -> bool {
    let window = match String::from_utf8_lossy(bytes).parse::<Window>() {
        Ok(read) => read,
        Err(error) => return refused(error),
    };
    let passes = window.passes();
    assert!(!passes.is_empty(), "{window:?} does nothing");
    for pass in passes {
        let taps = pass.kernel[0] * pass.kernel[1];
        for window in &pass.windows {
            assert_eq!(window.len(), taps, "{:?}", pass.kernel);
            assert!(window.iter().all(|tap| tap.is_finite()), "{window:?}");
        }
    }
    true
}
