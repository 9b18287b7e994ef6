//! What both measurements share: arrays, and medians of two that take turns.

use std::time::{Duration, Instant};

/// What runs.
pub type Run = Box<dyn FnMut(&[f32], &mut [f32])>;

/// A slice as the array that it is.
pub fn whole<const N: usize>(slice: &[f32]) -> &[f32; N] {
    slice.try_into().expect("lengths agree")
}

/// A type of numbers alone, on the heap.
pub fn zeroed<T>() -> Box<T> {
    // SAFETY: types made by the build script hold arrays of f32, for which all zeros are numbers.
    unsafe { Box::<T>::new_zeroed().assume_init() }
}

/// Numbers in -1..1.
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) as i32 - (1 << 30)) as f32 / (1 << 30) as f32
    };
    (0..len).map(next).collect()
}

/// The medians of two that take turns and write the same array, in milliseconds: where an array
/// lies in memory counts too.
pub fn times(output: &mut [f32], mut one: impl FnMut(&mut [f32]), mut other: impl FnMut(&mut [f32]), least: Duration) -> [f64; 2] {
    let mut all = [Vec::new(), Vec::new()];
    let mut timed = |run: &mut dyn FnMut(&mut [f32])| {
        let start = Instant::now();
        run(output);
        start.elapsed().as_secs_f64() * 1e3
    };
    let warm = Instant::now();
    while warm.elapsed() < least / 4 {
        timed(&mut one);
        timed(&mut other);
    }
    let start = Instant::now();
    while start.elapsed() < least || all[0].len() < 5 {
        // Each twice in a row, so that neither always runs on the other's cache.
        for _ in 0..2 {
            all[0].push(timed(&mut one));
        }
        for _ in 0..2 {
            all[1].push(timed(&mut other));
        }
    }
    all.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}
