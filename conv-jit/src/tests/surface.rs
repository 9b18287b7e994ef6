//! The public API: what it refuses, what it shows, what it keeps.

use conv_ir::{Activation, DType, Schedule, Target};

use crate::{
    Backend, Call, Compiled, Error, Options, Packed, Scratch, cache, conv_transpose2d, conv1d,
    conv2d,
};

fn small() -> crate::Builder {
    conv2d(3, 8, 3).input([10, 11]).padding(1).bias(true)
}

#[test]
fn threads_may_share() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug>() {}
    check::<Compiled>();
    check::<Packed<f32>>();
    fn send<T: Send>() {}
    send::<Scratch>();
    send::<Call<'_, f32>>();
}

#[test]
fn wrong_arrays_are_refused() {
    let conv = small().compile().unwrap();
    let (weight, bias) = (vec![0.0f32; 8 * 27], vec![0.0f32; 8]);
    let refused =
        |r: Result<Packed<f32>, Error>| r.err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(
        refused(conv.pack(&weight[1..], Some(&bias))),
        "weight has 215 elements, but its shape [8, 3, 3, 3] needs 216"
    );
    assert_eq!(
        refused(conv.pack(&weight, None)),
        "the convolution adds a bias, but none was given"
    );
    let wrong = conv.pack(&[0.0f64; 216], Some(&[0.0; 8])).err();
    assert_eq!(wrong, Some(Error::DType { found: DType::F64, needed: DType::F32 }));
    let judge = conv.pack(&[conv_ir::Unfused(0.0f32); 216], Some(&[conv_ir::Unfused(0.0); 8]));
    let judge = judge.err().map_or(String::new(), |error| error.to_string());
    assert!(judge.contains("judges code, but machine code takes f32"), "{judge}");
    let packed = conv.pack(&weight, Some(&bias)).unwrap();
    let (input, mut output) = (vec![0.0; 330], vec![0.0; 880]);
    packed.run(&input, &mut output).unwrap();
    let short = packed.run(&input, &mut output[1..]).unwrap_err();
    assert_eq!(
        short.to_string(),
        "output has 879 elements, but its shape [1, 8, 10, 11] needs 880"
    );
    let residual = packed.run_residual(&input, &vec![0.0; 880], &mut output).unwrap_err();
    assert_eq!(residual.to_string(), "a residual was given, but the convolution adds none");
    assert!(packed.run_sized(&input, &mut output, &[("H", 3)]).is_err());
}

#[test]
fn an_empty_batch_is_no_work() {
    let conv = small().batch(0).compile().unwrap();
    let packed = conv.pack(&vec![0.0f32; 216], Some(&[0.0; 8])).unwrap();
    packed.run(&[], &mut []).unwrap();
}

#[test]
fn sizes_given_at_run_time_obey_the_rules_of_known_ones() {
    let conv = conv2d(1, 1, 3).batch("N").input(["H", "W"]).padding(1).compile().unwrap();
    let packed = conv.pack(&[0.0f32; 9], None).unwrap();
    let run = |n: usize, h: usize, w: usize, len: usize| {
        let sizes = [("N", n), ("H", h), ("W", w)];
        packed.run_sized(&vec![0.0; len], &mut vec![0.0; len], &sizes)
    };
    run(0, 4, 5, 0).unwrap();
    run(2, 4, 5, 40).unwrap();
    for (h, w) in [(0, 5), (4, 0), (0, usize::MAX), (0, 0)] {
        let refused = run(1, h, w, 0).unwrap_err().to_string();
        assert!(refused.contains("must be at least 1"), "{refused}");
    }
    // The product is 80 where it wraps.
    for (h, w) in [(120, 6148914691236517206), (1 << 62, 80), (usize::MAX, 80)] {
        let refused = run(1, h, w, 80).unwrap_err().to_string();
        assert!(refused.contains("the limit is"), "{refused}");
    }
}

#[test]
fn builder_says_what_the_spec_says() {
    let spec = conv_transpose2d(4, 6, [3, 2])
        .input([5, 5])
        .stride([2, 3])
        .output_padding([1, 2])
        .describe()
        .unwrap();
    let spec = spec.steps()[0].conv.spec();
    assert!(spec.transposed && spec.kernel == [3, 2]);
    let broken = conv1d(3, 4, 3).groups(2).input([5]).compile().err().unwrap();
    assert!(broken.to_string().contains("groups"), "{broken}");
    let conv = conv2d(3, 4, 1).input(["H", "W"]).activation(Activation::Relu).describe().unwrap();
    assert_eq!(conv.free_sizes(), ["H", "W"]);
}

#[test]
fn every_stage_can_be_seen() {
    let conv = small().compile().unwrap();
    let explained = conv.explain();
    for word in [
        "route     ",
        crate::route_name(&crate::host_target()),
        "schedule  ",
        "bytes in",
        "leaf      ",
    ] {
        assert!(explained.contains(word), "{explained}");
    }
    assert!(conv.ir_after("tile").unwrap().contains("acc"));
    assert!(conv.ir_after("nonsense").unwrap_err().to_string().contains("lower, canonicalise"));
    assert_eq!(conv.ir_after_all().unwrap().len(), 1 + conv_ir::passes::PASSES.len());
    assert!(conv.clif().unwrap().contains("call"));
    assert!(conv.disassembly().unwrap().contains("; run ("));
    assert!(conv.code_bytes() > 0 && conv.compile_time().total() > conv.compile_time().link);
}

#[test]
fn the_cache_is_bounded_and_shared() {
    let first = small().input([10, 12]).compile().unwrap();
    let again = small().input([10, 12]).compile().unwrap();
    assert!(std::sync::Arc::ptr_eq(&first.shared, &again.shared));
    for width in 3..300 {
        conv1d(1, 1, 1).input([width]).compile().unwrap();
    }
    assert!(cache::len() <= cache::CAPACITY);
    let forgotten = small().input([10, 12]).compile().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first.shared, &forgotten.shared));

    // Known weights have no bound of their own: two of these are more than the cache holds.
    let weight = vec![0.5f32; cache::BYTES / 24 / 8 * 8];
    let large = |width: usize| {
        let conv = conv2d(weight.len() / 8, 8, 1).input([1, width]).weights_known(&weight);
        conv.compile().unwrap()
    };
    let first = large(1);
    assert!(std::sync::Arc::ptr_eq(&first.shared, &large(1).shared));
    large(2);
    assert!(!std::sync::Arc::ptr_eq(&first.shared, &large(1).shared));
}

#[test]
fn runs_share_code_and_scratch() {
    let conv = small().compile().unwrap();
    let packed = conv.pack(&super::fill::<f32>(216, 1), Some(&super::fill(8, 2))).unwrap();
    let input = super::fill::<f32>(330, 3);
    let mut want = vec![0.0; 880];
    packed.run(&input, &mut want).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut got, mut scratch) = (vec![0.0; 880], Scratch::new());
                for _ in 0..50 {
                    packed.call(&input, &mut got).scratch(&mut scratch).threads(2).run().unwrap();
                }
                assert_eq!(got, want);
            });
        }
    });
}

/// Code for a target is text on any CPU of that architecture, whether or not it has the
/// instructions.
#[test]
#[cfg(target_arch = "x86_64")]
fn every_target_as_text() {
    let program = conv2d(4, 32, 3).input([32, 32]).describe().unwrap();
    let conv = program.single().unwrap();
    for (target, word) in
        [(Target::AVX512, "zmm"), (Target::AVX2, "ymm"), (Target::CRANELIFT, "xmm")]
    {
        let schedule = Schedule::choose(conv, &target).schedule;
        let nest = conv_ir::passes::compile(conv, &schedule, &target, &mut |_, _| {}).unwrap();
        let options = Options { target, ..Options::default() };
        let text = crate::disassembly_for(&nest, &options).unwrap();
        assert!(text.contains(word) && text.contains("; run ("), "{target}:\n{text}");
        let text = crate::clif_for(&nest, &options).unwrap();
        assert!(text.contains("; run\nfunction "), "{target}:\n{text}");
        assert_eq!(text.contains(" registers, "), target != Target::CRANELIFT, "{text}");
    }
}

/// Every backend that is compiled in makes code for the same nest.
#[test]
fn other_machines_as_text() {
    let conv = small().activation(Activation::Relu).target(Target::CRANELIFT).compile().unwrap();
    for (triple, word) in [
        ("x86_64", "vfmadd213ps"),
        ("aarch64", "fmla"),
        ("riscv64gc", "vfmacc"),
        ("s390x", "vfmasb"),
    ] {
        match Backend::by_triple(triple) {
            Ok(backend) => {
                let text = crate::disassembly(&conv.groups()[0].nest, &backend)
                    .unwrap_or_else(|e| panic!("{triple}: {e}"));
                assert!(text.contains(word), "{triple}:\n{text}");
            }
            Err(e) if cfg!(feature = "all-arch") => panic!("{triple}: {e}"),
            Err(_) => {}
        }
    }
}

#[cfg(feature = "ndarray")]
#[test]
fn views_are_checked_by_shape_and_layout() {
    use ndarray::{ArrayD, IxDyn};
    let conv = conv2d(3, 8, 3).input(["H", "W"]).padding(1).compile().unwrap();
    let weight = ArrayD::from_elem(IxDyn(&[8, 3, 3, 3]), 0.5f32);
    let packed = conv.pack_view(weight.view(), None).unwrap();
    let (input, mut output) =
        (ArrayD::from_elem(IxDyn(&[1, 3, 6, 7]), 1.0), ArrayD::zeros(IxDyn(&[1, 8, 6, 7])));
    packed.run_view(input.view(), output.view_mut()).unwrap();
    assert_eq!(output[[0, 0, 2, 2]], 13.5);
    let mut narrow = ArrayD::zeros(IxDyn(&[1, 8, 7, 6]));
    assert!(matches!(
        packed.run_view(input.view(), narrow.view_mut()),
        Err(Error::Shape { name: "output", .. })
    ));
    let turned = narrow.view_mut().permuted_axes(IxDyn(&[0, 1, 3, 2]));
    packed.run_view(input.view(), turned).unwrap();
    assert_eq!(narrow[[0, 0, 2, 2]], 13.5);
}
