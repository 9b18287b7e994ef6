//! How much of the multiply-add peak a leaf reaches. Not a test: run by name, on a quiet machine.

use std::time::{Duration, Instant};

use conv_ir::{Isa, Nest};

use super::bits::given;
use super::driver::{Loaded, Memory};
use super::{BOTH, nest};
use crate::host::is_here;
use crate::x86::assemble;

const LAYERS: &[(&str, [&str; 2])] = &[
    (
        "conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 pad 1 + bias, relu",
        [
            "lanes oc:16 tile oc:32,ow:14 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
            "lanes oc:8 tile oc:16,ow:6 order n,g,oc,oh,ow borders exact unroll kw pack parallel oc",
        ],
    ),
    (
        "conv2d f32 n1 g1 ic256 oc64 in 56x56 kernel 1x1 + bias, relu",
        [
            "lanes oc:16 tile oc:32,ow:14 order n,g,ow,oc borders exact unroll kw pack parallel oc",
            "lanes oc:8 tile oc:16,ow:6 order n,g,ow,oc borders exact unroll kw pack parallel oc",
        ],
    ),
];

#[test]
#[ignore = "a measurement"]
fn share_of_peak() {
    for (conv, schedules) in LAYERS {
        for (target, schedule) in BOTH.into_iter().zip(schedules) {
            if !is_here(target.isa) {
                continue;
            }
            let nest = nest(conv, schedule, &target);
            let cold = assembly(&nest, target.isa);
            let warm = assembly(&nest, target.isa);
            let loaded = Loaded::new(&nest, target.isa).unwrap_or_else(|e| panic!("{e:?}"));
            let mut memory = Memory::new(&nest, &loaded, |role| given::<f32>(&nest, role));
            memory.setup();
            let mut times: Vec<f64> = (0..60).map(|_| timed(&mut memory)).collect();
            times.sort_by(f64::total_cmp);
            let parsed: conv_ir::Conv = conv.parse().unwrap_or_else(|e| panic!("{e}"));
            let output: usize = parsed.output_shape().map_or(0, |s| s.iter().product());
            let weight: usize = parsed.weight_shape().iter().product();
            let flops = 2.0 * output as f64 * (weight / parsed.spec().out_channels) as f64;
            let gflops = flops / times[times.len() / 2] / 1e9;
            let leaves = loaded.machines.len();
            println!(
                "{target} {conv}: {gflops:.1} GFLOP/s (median), {leaves} leaves assembled in {cold:?}, again {warm:?}"
            );
            for machine in &loaded.machines {
                println!("  {}: {}", machine.name, machine.bill());
            }
        }
    }
}

fn assembly(nest: &Nest, isa: Isa) -> Duration {
    let start = Instant::now();
    let bytes: usize =
        nest.leaves.iter().map(|l| assemble(nest, l, isa).map_or(0, |m| m.code.len())).sum();
    std::hint::black_box(bytes);
    start.elapsed()
}

fn timed(memory: &mut Memory<'_, f32>) -> f64 {
    let start = Instant::now();
    memory.body();
    start.elapsed().as_secs_f64()
}
