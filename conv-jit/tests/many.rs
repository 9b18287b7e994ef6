//! Many compiled convolutions at once: what each of them costs, and that all is given back.
//!
//! By default a few hundred. The command for many is
//!
//! ```text
//! CONV_MANY=20000,50000 cargo test --release -p conv-jit --test many -- --nocapture
//! ```
//!
//! which compiles 20,000 different ones and holds 50,000, each with code of its own.

#![cfg(target_os = "linux")]
#![deny(clippy::undocumented_unsafe_blocks)]

use std::fs;
use std::time::Instant;

use conv_jit::{Builder, conv2d};

/// What a convolution may take besides its code: its description, its nest, the unused end of its
/// last page, and what the allocator loses.
const BESIDES: usize = 40 << 10;

/// Code of so many convolutions is in one mapping, at least.
const PER_MAPPING: usize = 15;

/// Channels, window and input of small layers, no two alike.
fn numbers(at: usize) -> (usize, usize, [usize; 2]) {
    (1 + at % 4, [1, 3][at / 4 % 2], [4 + at / 8 % 50, 4 + at / 400])
}

fn layer(at: usize) -> Builder {
    let (channels, kernel, input) = numbers(at);
    conv2d(channels, 8, kernel).input(input).padding(kernel / 2).bias(true).cache(false)
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    // SAFETY: it takes no pointer, and may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0) // what is free does not count
    };
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
}

/// Executable mappings of no file.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("r-xp") && line.ends_with(" 0 ")).count()
}

/// How many different ones, and how many held.
fn counts() -> (usize, usize) {
    let text = std::env::var("CONV_MANY").unwrap_or_else(|_| "300,400".to_owned());
    let (different, held) = text.split_once(',').unwrap();
    (different.parse().unwrap(), held.parse().unwrap())
}

#[test]
fn each_costs_its_code_and_little_more() {
    let (different, count) = counts();
    drop(layer(0).compile().unwrap());
    assert_eq!(mappings(), 0);
    let (before, start) = (resident(), Instant::now());
    let make = |at: usize| (at % different, layer(at % different).compile().unwrap());
    let mut held: Vec<_> = (0..count).map(make).collect();
    let seconds = start.elapsed().as_secs_f64();
    let (each, mapped) = ((resident() - before) / count, mappings());
    let code = held.iter().map(|(_, conv)| conv.code_bytes()).sum::<usize>() / count;
    eprintln!(
        "{different} different, {count} held: {each} bytes resident each, of which {code} are code; \
         {mapped} executable mappings; compiled in {seconds:.1} s"
    );
    assert!(each < code + BESIDES, "{each} bytes, but {code} bytes of code");
    assert!(mapped <= 1 + count / PER_MAPPING, "{mapped} mappings");

    // A handle has no code of its own.
    let handles: Vec<_> = (0..10 * count).map(|at| held[at % count].clone()).collect();
    assert_eq!((handles.len(), mappings()), (10 * count, mapped));
    drop(handles);

    // Two of three go: new ones take the holes, and all of them run.
    let mut number = 0;
    held.retain(|_| {
        number += 1;
        number % 3 == 0
    });
    held.extend((0..count / 4).map(make));
    assert!(mappings() <= mapped, "holes are not taken");
    for (at, conv) in held.iter().step_by(count / 100) {
        let (channels, kernel, [height, width]) = numbers(*at);
        let weight = vec![0.0f32; 8 * channels * kernel * kernel];
        let packed = conv.pack(&weight, Some(&[1.0; 8])).unwrap();
        let mut output = vec![0.0; 8 * height * width];
        packed.run(&vec![1.0; channels * height * width], &mut output).unwrap();
        assert!(output.iter().all(|&x| x == 1.0));
    }

    drop(held);
    assert_eq!(mappings(), 0, "code is left");
    let left = resident().saturating_sub(before);
    eprintln!("{left} bytes more resident than before, all dropped");
    assert!(left < each * count / 8 + (4 << 20), "{left} bytes are left");
}
