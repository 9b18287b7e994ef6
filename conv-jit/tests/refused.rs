//! Memory that is refused is an error, and nothing is lost by it: what is held runs, and once there
//! is memory again, so does the rest.
//!
//! A test binary of its own, because it replaces the allocator with one that refuses. Limits of the
//! process are for its children.

#![cfg(target_os = "linux")]
#![deny(clippy::undocumented_unsafe_blocks)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;

use conv_jit::{Builder, CurrentThread, Error, Scratch, conv2d};
use region::Protection;

/// Arrays are this large; what compiling takes for itself is not.
const LARGE: usize = 256 << 10;

thread_local! {
    /// Large requests of this thread that are still granted.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Refusing;

impl Refusing {
    fn grants(bytes: usize) -> bool {
        if bytes < LARGE {
            return true;
        }
        let left = LEFT.get().checked_sub(1);
        LEFT.set(left.unwrap_or(0));
        left.is_some()
    }
}

// SAFETY: what is granted is the system allocator's, the rest is null; the counter is a thread's
// own, needs no memory from here and no destructor.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Refusing::grants(layout.size()) {
            // SAFETY: the caller's word is the system allocator's.
            true => unsafe { System.alloc(layout) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match Refusing::grants(size) {
            // SAFETY: as above.
            true => unsafe { System.realloc(block, layout, size) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static REFUSING: Refusing = Refusing;

/// Tries `f` with none of its large requests granted, then one, and so on until it succeeds.
/// Returns what it made and how often it was refused.
fn until_granted<R>(mut f: impl FnMut() -> Result<R, Error>) -> (R, usize) {
    for granted in 0.. {
        LEFT.set(granted);
        let made = f();
        LEFT.set(usize::MAX);
        match made {
            Ok(made) => return (made, granted),
            Err(Error::Memory(_)) => assert!(granted < 50),
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

/// Weights, packed weights and scratch are large.
fn large() -> Builder {
    let builder = conv2d(256, 256, 3).input([40, 40]).padding(1).bias(true);
    builder.padding_mode(conv_ir::PaddingMode::Reflect).cache(false)
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|at| (at * 37 % 101) as f32 / 64.0 - 0.75).collect()
}

#[test]
fn arrays_that_are_refused_are_an_error() {
    let conv = large().compile().unwrap();
    let (weight, bias) = (numbers(256 * 256 * 9), numbers(256));
    let (input, mut want) = (numbers(256 * 1600), vec![0.0; 256 * 1600]);
    let plain = conv.pack(&weight, Some(&bias)).unwrap();
    plain.call(&input, &mut want).executor(&CurrentThread).run().unwrap();

    let (packed, refused) = until_granted(|| conv.pack(&weight, Some(&bias)));
    assert!(refused > 0, "packing asked for no memory");
    // Enough parts for their scratch to be large.
    let parts = 1024;
    let mut got = vec![f32::NAN; want.len()];
    let mut scratch = Scratch::new();
    let (_, refused) = until_granted(|| {
        let call = packed.call(&input, &mut got).threads(parts).executor(&CurrentThread);
        call.scratch(&mut scratch).run()
    });
    assert!(got == want);
    let (_, of_the_pool) = until_granted(|| {
        packed.call(&input, &mut got).threads(parts).executor(&CurrentThread).run()
    });
    assert_eq!(refused, of_the_pool);
    assert!(got == want);
}

#[test]
fn known_weights_that_are_refused_are_an_error() {
    let program = large().describe().unwrap();
    let conv = program.single().unwrap();
    let weight = numbers(256 * 256 * 9);
    let (_, refused) = until_granted(|| Ok(conv.with_weights(&weight, None)?));
    assert_eq!(refused, 1);
}

/// Runs the rest of a test in a process of its own, whose limits are nobody else's. Returns
/// whether this is that process.
fn alone(test: &str) -> bool {
    const VARIABLE: &str = "CONV_JIT_ALONE";
    if std::env::var(VARIABLE).is_ok_and(|name| name == test) {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args([test, "--exact", "--nocapture"]).env(VARIABLE, test).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
    false
}

/// Memory that the allocator has already, so that it asks the system for none.
fn reserve() {
    let blocks: Vec<Vec<u8>> = (0..1024).map(|_| vec![1; 60 << 10]).collect();
    std::mem::forget(vec![1u8; 100]); // what is free below it is kept
    drop(blocks);
}

fn small() -> Result<conv_jit::Packed<f32>, Error> {
    conv2d(1, 1, 3).input([8, 8]).cache(false).compile()?.pack(&[0.5f32; 9], None)
}

/// Compiles until it is refused, and runs all that came before.
fn until_refused() -> (String, usize) {
    let mut held = Vec::new();
    let refused = loop {
        match small() {
            Ok(packed) => held.push(packed),
            Err(Error::Memory(why)) => break why,
            Err(other) => panic!("{other}"),
        }
        assert!(held.len() < 1000, "nothing is refused");
    };
    let run = |packed: &conv_jit::Packed<f32>| {
        let mut output = [0.0; 36];
        packed.call(&[2.0; 64], &mut output).executor(&CurrentThread).run().unwrap();
        assert_eq!(output, [9.0; 36]);
    };
    held.iter().for_each(run);
    (refused, held.len())
}

#[test]
fn no_executable_memory_is_an_error() {
    if !alone("no_executable_memory_is_an_error") {
        return;
    }
    small().unwrap();
    const PR_SET_MDWE: i32 = 65;
    // SAFETY: it takes no pointers; from here on this process gets no more executable memory.
    let denied = unsafe { libc::prctl(PR_SET_MDWE, 1u64, 0u64, 0u64, 0u64) };
    if denied != 0 {
        eprintln!("skipped: this kernel cannot deny executable memory (Linux 6.3 can)");
        return;
    }
    let (why, count) = until_refused();
    assert!(why.starts_with("executable pages: ") && count == 0, "{count}, {why}");
}

#[test]
fn no_address_space_is_an_error() {
    if !alone("no_address_space_is_an_error") {
        return;
    }
    small().unwrap();
    reserve();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().next().unwrap().parse().unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is good for writing.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) }, 0);
    let before = limit.rlim_cur;
    limit.rlim_cur = pages * region::page::size() as u64;
    // SAFETY: the pointer is good for reading.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    let (why, _) = until_refused();
    assert!(why.starts_with("executable pages: "), "{why}");
    limit.rlim_cur = before;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    small().unwrap();
}

/// The kernel's own limit on mappings, reached by others.
#[test]
fn no_mappings_are_an_error() {
    if !alone("no_mappings_are_an_error") {
        return;
    }
    small().unwrap();
    reserve();
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let most: usize = most.trim().parse().unwrap();
    if most > 1 << 20 {
        eprintln!("skipped: this kernel allows {most} mappings");
        return;
    }
    let page = region::page::size();
    let mut block = region::alloc((most + 2) * page, Protection::NONE).unwrap();
    let start = block.as_mut_ptr::<u8>();
    let protect = |at: usize, protection| {
        // SAFETY: the page is the block's, and nobody refers to what is on it.
        unsafe { region::protect(start.wrapping_add(at * page), page, protection) }
    };
    let last = (1..most).step_by(2).find(|&at| protect(at, Protection::READ).is_err()).unwrap();
    let (why, _) = until_refused();
    assert!(why.starts_with("executable pages: "), "{why}");
    (1..last).step_by(2).for_each(|at| protect(at, Protection::NONE).unwrap());
    small().unwrap();
}
