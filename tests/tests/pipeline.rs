//! The example's pipeline allocates nothing after its buffers are there, and has the bits of
//! machine code that gets the same windows.
//!
//! A test binary of its own, because it replaces the allocator with one that counts what its thread
//! asks for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[allow(dead_code)]
#[path = "../../examples/pipeline.rs"]
mod example;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's; the counter is a thread's own, needs no memory from
// here and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's word is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SOBEL: [f32; 18] = [
    -1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0, -1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0,
];

/// The same by machine code, frame and all.
fn by_machine_code(size: [usize; 2], picture: &[f32]) -> Result<Vec<f32>, conv_jit::Error> {
    let bell = [1.0f32, 4.0, 6.0, 4.0, 1.0];
    let gaussian: Vec<f32> = bell.iter().flat_map(|a| bell.map(|b| a * b / 256.0)).collect();
    let blur = conv_jit::conv2d(1, 1, 5).input(size).padding(2).weights_known(&gaussian);
    let sobel = conv_jit::conv2d(1, 2, 3).input(size).padding(1).weights_known(&SOBEL);
    let (mut blurred, mut gradient) = (vec![0.0; picture.len()], vec![0.0; 2 * picture.len()]);
    blur.compile()?.ready::<f32>()?.run(picture, &mut blurred)?;
    sobel.compile()?.ready::<f32>()?.run(&blurred, &mut gradient)?;
    let (across, down) = gradient.split_at(picture.len());
    Ok(across.iter().zip(down).map(|(x, y)| (x * x + y * y).sqrt()).collect())
}

#[test]
fn the_picture_pipeline_allocates_nothing_and_has_the_jits_bits() {
    for size in [[61, 203], [37, 40], [9, 9], [5, 30]] {
        let [height, width] = size;
        let picture: Vec<f32> =
            (0..height * width).map(|at| (at * 7919 % 251) as f32 / 251.0).collect();
        let mut pipeline = example::Pipeline::new(size);
        let before = ALLOCATIONS.get();
        let (slope, _) = pipeline.run(&picture);
        assert_eq!(ALLOCATIONS.get(), before, "a run of {height} x {width} allocates");
        let wanted = by_machine_code(size, &picture).expect("the windows compile");
        for (at, (found, wanted)) in slope.iter().zip(&wanted).enumerate() {
            let (row, column) = (at / width, at % width);
            let inside =
                (3..height.saturating_sub(3)).contains(&row) && (3..width - 3).contains(&column);
            assert_eq!(*found, if inside { *wanted } else { 0.0 }, "{size:?} at {row}, {column}");
        }
    }
    assert_ne!(ALLOCATIONS.get(), 0, "the counter counts");
}
