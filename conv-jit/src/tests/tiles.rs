//! Layers of bytes in tiles of AMX, against Cranelift's code, which multiplies one by one.

use conv_ir::{Conv, Schedule, Target};

use crate::{Array, Compiled, CurrentThread, Options, Packed, StepArrays, Stored, is_here, x86};

/// Numbers of all bits.
fn numbers<T: Stored>(len: usize, seed: usize) -> Vec<T> {
    let number = |at: usize| (at + 77 * seed).wrapping_mul(2_654_435_761) >> 7;
    (0..len).map(|at| T::from_bits(number(at) as u8 as u64)).collect()
}

/// What a layer gives for a target, by so many threads.
fn output<I: Stored, W: Stored, O: Stored>(
    conv: &Conv,
    (target, schedule): (Target, Option<Schedule>),
    threads: usize,
) -> Vec<O>
where
    for<'a> Array<'a>: From<&'a [W]>,
{
    let options = Options { target, schedule, cache: false, ..Options::default() };
    let compiled = Compiled::new(conv, options).unwrap_or_else(|e| panic!("{conv}: {e}"));
    let weight: Vec<W> = numbers(conv.weight_len(), 1);
    let bias: Vec<i32> = (0..conv.bias_len()).map(|at| at as i32 * 1001 - 9000).collect();
    let bias = conv.spec().bias.then(|| of_sums(&bias));
    let step = StepArrays { weight: Some(Array::from(&weight[..])), bias };
    let packed: Packed<I, O> = compiled.pack_arrays(&[step]).unwrap();
    let input: Vec<I> = numbers(conv.input_len().unwrap(), 2);
    let mut output = vec![O::from_bits(0); conv.output_len().unwrap()];
    packed.call(&input, &mut output).threads(threads).executor(&CurrentThread).run().unwrap();
    output
}

fn of_sums(bias: &[i32]) -> Array<'_> {
    Array::from(bias)
}

/// Leaves that are in tiles.
fn in_tiles(conv: &Conv, schedule: &Schedule) -> usize {
    let target = Target::AVX512_AMX;
    let nest = conv_ir::passes::compile(conv, schedule, &target, &mut |_, _| {}).unwrap();
    let kernels = nest.leaves.iter().filter_map(|l| x86::assemble(&nest, l, target.isa).ok());
    kernels.filter(|kernel| kernel.text().contains("tdpb")).count()
}

const SHAPES: [&str; 18] = [
    "ic64 oc64 in 16 kernel 1",
    "ic128 oc50 in 13x28 kernel 3 pad 1",
    "ic96 oc33 in 9x21 kernel 3 pad 1",
    "n2 g2 ic128 oc96 in 11 kernel 3 pad 1 dilation 2",
    "n3 g4 ic256 oc96 in 13x17 kernel 3x2 pad 1",
    "ic160 oc200 in 7 kernel 1",
    "ic512 oc64 in 7 kernel 3 pad 1",
    "ic64 oc40 in 14 kernel 1 stride 2",
    "ic72 oc17 in 19 kernel 5 pad 2 mode reflect",
    "ic64 oc24 in 40 kernel 1",
    "ic1028 oc64 in 9 kernel 1",
    // Both factors of a product have one form, and others have more.
    "ic64 oc62 in 28 kernel 3 pad 1",
    "ic48 oc23 in 28 kernel 3 pad 1",
    // Each tap has columns of its own.
    "ic64 oc48 in 29 kernel 3 stride 2 pad 1",
    "ic80 oc60 in 33x41 kernel 5 stride 3x2 pad 2 dilation 2x3",
    "n2 g2 ic128 oc68 in 31 kernel 3 stride 2 pad 1 mode reflect",
    "ic96 oc48 in 45 kernel 3 stride 2 pad 3 mode circular",
    // Tiles have several rows of the image, or two vectors and a column.
    "ic128 oc96 in 7x33 kernel 3 pad 1",
];

fn layers(types: &str) -> impl Iterator<Item = Conv> {
    let types = types.to_owned();
    let ending = match types.ends_with("i32") {
        true => "",
        false => " + bias i32, requantise onnx scale 0.002",
    };
    let layer = move |shape: &&str| format!("conv2d {types} {shape}{ending}").parse().unwrap();
    SHAPES.iter().map(layer)
}

#[test]
fn whoever_has_columns_innermost_may_be_in_tiles() {
    for types in ["u8 x i8 -> u8", "i8 x i8 -> i32", "u8 x u8 -> i8", "i8 x u8 -> i32"] {
        for conv in layers(types) {
            let schedule = Schedule::choose(&conv, &Target::AVX512_AMX).schedule;
            let is_tiled = schedule.to_string().contains("pack ic:");
            // 1028 is four times a prime, and seven columns of 64 channels are soon done.
            let is_worth_it = ![1028, 64].contains(&conv.spec().in_channels);
            assert!(is_tiled || !is_worth_it, "{conv}: {schedule}");
            assert_eq!(in_tiles(&conv, &schedule) > 0, is_tiled, "{conv}: {schedule}");
        }
    }
}

#[test]
fn tiles_have_the_bits_of_single_products() {
    if !is_here(Target::AVX512_AMX.isa) {
        println!("skipped: {} layers of bytes in tiles, as this CPU has none", 4 * SHAPES.len());
        return;
    }
    fn same<I: Stored, W: Stored, O: Stored + PartialEq>(types: &str)
    where
        for<'a> Array<'a>: From<&'a [W]>,
    {
        for conv in layers(types) {
            let want = output::<I, W, O>(&conv, (Target::CRANELIFT, None), 1);
            for threads in [1, 3] {
                let got = output::<I, W, O>(&conv, (Target::AVX512_AMX, None), threads);
                assert!(got == want, "{conv}, {threads} threads");
            }
        }
    }
    same::<u8, i8, u8>("u8 x i8 -> u8");
    same::<i8, i8, i32>("i8 x i8 -> i32");
    same::<u8, u8, i8>("u8 x u8 -> i8");
    same::<i8, u8, i32>("i8 x u8 -> i32");
}

/// Schedules that nobody chooses: tiles of few rows, of rows of two lengths, sums that wait, steps.
#[test]
fn given_schedules_have_the_same_bits() {
    let shape = "u8 x i8 -> u8 ic96 oc50 in 9x21 kernel 3 pad 1";
    let conv: Conv =
        format!("conv2d {shape} + bias i32, requantise onnx scale 0.002").parse().unwrap();
    let shape = "u8 x i8 -> u8 ic96 oc50 in 17x43 kernel 3x4 stride 2x3 pad 1 dilation 1x2";
    let strided: Conv =
        format!("conv2d {shape} + bias i32, requantise onnx scale 0.002").parse().unwrap();
    // Tiles at an edge are vectors.
    let shape = "u8 x i8 -> u8 nhwc ic96 oc50 in 9x21 kernel 3";
    let last: Conv =
        format!("conv2d {shape} + bias i32, requantise onnx scale 0.002").parse().unwrap();
    for (conv, schedule, are_tiled) in [
        (&conv, "lanes ow:16 tile oc:3,ow:16 borders panel:4 pack ic:64", true),
        (&conv, "lanes ow:16 tile oc:25,ow:32 borders panel:9 unroll kw pack ic:32", true),
        (&conv, "lanes ow:16 tile oc:16,oh:2,ow:32 borders panel:4 pack ic:96", true),
        (&conv, "lanes ow:16 tile oc:16,ow:64 cache ic:32 borders panel:9 pack ic:16", true),
        (&conv, "lanes ow:16 tile oc:32,ow:32 borders panel:9 step kw:2 pack ic:64", true),
        (&strided, "lanes ow:16 tile oc:16,oh:3,ow:16 borders panel:6 pack ic:64", true),
        (&strided, "lanes ow:16 tile oc:9,ow:32 borders panel:2 unroll kw pack ic:96", true),
        (&strided, "lanes ow:16 tile oc:4,ow:16 borders panel:3 pack", false),
        (&conv, "lanes ow:8 tile oc:16,ow:16 borders panel:9 pack ic:64", false),
        (&conv, "lanes ow:16 tile oc:16,ow:16 borders exact pack ic:64", false),
        (&last, "lanes oc:16 tile oc:32,ow:16 borders exact pack ic:64", true),
        (&last, "lanes oc:16 tile oc:16,ow:21 borders exact unroll kh,kw pack ic:64", true),
    ] {
        let schedule: Schedule = schedule.parse().unwrap();
        assert_eq!(in_tiles(conv, &schedule) > 0, are_tiled, "{schedule}");
        if is_here(Target::AVX512_AMX.isa) {
            let want = output::<u8, i8, u8>(conv, (Target::CRANELIFT, None), 1);
            let given = (Target::AVX512_AMX, Some(schedule.clone()));
            assert!(output::<u8, i8, u8>(conv, given, 1) == want, "{conv}: {schedule}");
        }
    }
}
