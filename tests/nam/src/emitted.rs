//! Emitted Rust beside machine code made at run time, for each width of vectors: the stack, and
//! filters, which are also computed in parts by FFT (`accuracy: fast`). In turns; the least of the
//! rounds counts.

use conv_ir::{Accuracy, Program, Target};
use conv_jit::{Options, StepWeights, Stream};

use crate::stack::{FILTERS, filter, stack};
use crate::{BLOCK, at, numbers, times};

type Run = Box<dyn FnMut(&[f32], &mut [f32])>;
type Make = fn(&[Vec<f32>]) -> Run;

include!(concat!(env!("OUT_DIR"), "/emitted.rs"));

fn whole<const N: usize>(slice: &[f32]) -> &[f32; N] {
    slice.try_into().expect("lengths agree")
}

/// Filters that are not emitted.
const OTHERS: [usize; 4] = [128, 256, 1024, 16384];

/// A stream of machine code.
fn jit(program: &Program, arrays: &[Vec<f32>], target: Target, accuracy: Accuracy) -> Run {
    let mut rest = arrays.iter();
    let mut given = || &rest.next().expect("an array for each")[..];
    let weights = program
        .convs()
        .map(|conv| StepWeights { weight: given(), bias: conv.spec().bias.then(&mut given) });
    let weights: Vec<StepWeights<'_, f32>> = weights.collect();
    let options = Options { target, accuracy, cache: false, ..Options::default() };
    let stream = Stream::new(program, (0, &[BLOCK]), &weights, &options).expect("a stream");
    let mut state = stream.state().expect("memory");
    Box::new(move |input, output| stream.push(&mut state, input, output).expect("a block"))
}

/// Microseconds a block of each, the least of some rounds.
fn compared(runs: &mut [Run]) -> Vec<f64> {
    let sound = numbers(BLOCK * 500, 3);
    let mut least = vec![f64::MAX; runs.len()];
    let mut output = [0.0; BLOCK];
    for _ in 0..7 {
        for (least, run) in least.iter_mut().zip(&mut *runs) {
            let times = times(500, |at| {
                run(&sound[at * BLOCK..][..BLOCK], &mut output);
                std::hint::black_box(&output);
            });
            *least = least.min(at(&times, 0.5) * 1e6);
        }
    }
    least
}

pub fn measure() {
    for target in conv_jit::targets_here().filter(|target| target.vector_bytes > 16) {
        println!("{}: microseconds a block of {BLOCK}", target.name);
        let filters =
            FILTERS.iter().chain(&OTHERS).map(|taps| (format!("Filter{taps}"), filter(*taps)));
        for (name, text) in std::iter::once(("Nam".to_owned(), stack())).chain(filters) {
            let program: Program = text.parse().expect("a program");
            let mut arrays = Vec::new();
            for (at, conv) in program.convs().enumerate() {
                arrays.push(numbers(conv.weight_len(), at));
                arrays.extend(conv.spec().bias.then(|| numbers(conv.bias_len(), at)));
            }
            let emitted = EMITTED.iter().find(|(of, what, _)| (*of, *what) == (target.name, &name));
            let mut runs = vec![jit(&program, &arrays, target, Accuracy::Exact)];
            runs.extend(emitted.map(|(.., make)| make(&arrays)));
            let is_filter = name != "Nam";
            runs.extend(is_filter.then(|| jit(&program, &arrays, target, Accuracy::Fast)));
            let found = compared(&mut runs);
            let mut line = format!("  {name}: {:.2} by machine code", found[0]);
            if emitted.is_some() {
                line += &format!(", {:.2} by emitted Rust ({:.2})", found[1], found[1] / found[0]);
            }
            if is_filter {
                let fast = found[found.len() - 1];
                line += &format!(", {fast:.2} with accuracy fast ({:.2})", fast / found[0]);
            }
            println!("{line}");
        }
    }
}
