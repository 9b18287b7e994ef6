//! Multiply-adds of two roundings: reference and interpreter have them for numbers of type
//! [`Unfused`], emitted Rust and machine code where they are asked for. All have the same bits.

use conv_ir::separate::Accuracy;
use conv_ir::{Conv, DType, Element, Error, Schedule, Target, Unfused, passes};
use conv_jit::{Compiled, Options};
use conv_tests::emitted::{Emitted, numbers};
use conv_tests::random::convs;
use conv_tests::{Data, Fill, compare};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Convolutions with an activation of each sort, and random ones.
fn drawn() -> Vec<Conv> {
    let config = Config { rng_seed: RngSeed::Fixed(2027), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let activations = [
        "conv2d ic3 oc20 in 9x30 kernel 3x3 pad 1 + bias, gelu",
        "conv1d f64 ic4 oc5 in 40 kernel 5 pad 2, tanh",
        "conv2d g8 ic8 oc8 in 9x40 kernel 3x3 stride 2 pad 1, silu",
    ];
    let random = (0..24).map(|_| convs().new_tree(&mut runner).expect("one").current());
    activations
        .iter()
        .map(|text| text.parse().expect("a convolution"))
        .chain(random)
        .filter(|conv| conv.types().single().is_some())
        .collect()
}

/// What the reference says, which differs from one rounding somewhere; what the interpreter says.
fn wanted<T: Element>(conv: &Conv, fused: &mut usize) -> Result<Vec<Unfused<T>>, Error> {
    let data = Data::<Unfused<T>>::new(conv, Fill::Reals, 1);
    let wanted = data.reference(conv)?;
    let once = Data::<T>::new(conv, Fill::Reals, 1).reference(conv)?;
    *fused += usize::from(once.iter().zip(&wanted).all(|(a, b)| a.to_f64() == b.0.to_f64()));
    let schedule = Schedule::choose(conv, &Target::AVX2).schedule;
    let nest = passes::compile(conv, &schedule, &Target::AVX2, &mut |_, _| {})?;
    let found = data.interpret(&nest, wanted.len(), &[], 1)?;
    compare(&found, &wanted).map_err(Error::Argument)?;
    Ok(wanted)
}

/// What machine code says.
fn machine<T: Element>(conv: &Conv, wanted: &[Unfused<T>]) -> Result<(), conv_jit::Error> {
    let data = Data::<T>::new(conv, Fill::Reals, 1);
    let options = Options { accuracy: Accuracy::Unfused, ..Options::default() };
    let packed = Compiled::new(conv, options)?.pack(&data.weight, data.bias.as_deref())?;
    let mut output = vec![T::from_f64(f64::NAN); wanted.len()];
    match &data.residual {
        Some(residual) => packed.run_residual(&data.input, residual, &mut output)?,
        None => packed.run(&data.input, &mut output)?,
    }
    let output: Vec<_> = output.into_iter().map(Unfused).collect();
    compare(&output, wanted).map_err(conv_jit::Error::Argument)
}

fn judge<T: Element>(all: &[Conv]) {
    let (mut program, mut fused) = (Emitted::of(Accuracy::Unfused), 0);
    let cases: Vec<(&Conv, Vec<Unfused<T>>)> = all
        .iter()
        .filter(|conv| conv.dtype() == T::DTYPE)
        .map(|conv| {
            let wanted = wanted::<T>(conv, &mut fused).unwrap_or_else(|e| panic!("{conv}: {e}"));
            machine(conv, &wanted).unwrap_or_else(|e| panic!("{conv}: {e}"));
            let function = program.function(conv).unwrap();
            let data = Data::<T>::new(conv, Fill::Reals, 1);
            program.call(&function, &[], &data, wanted.len());
            (conv, wanted)
        })
        .collect();
    // Small ones, and those of one tap, may be the same.
    assert!(3 * fused <= 2 * cases.len(), "{fused} of {} show no difference", cases.len());
    for (bytes, (conv, wanted)) in program.run().iter().zip(&cases) {
        compare(&numbers::<Unfused<T>>(bytes), wanted).unwrap_or_else(|e| panic!("{conv}: {e}"));
    }
}

#[test]
fn two_roundings_are_the_same_bits_everywhere() {
    let all = drawn();
    assert!(all.iter().any(|conv| conv.dtype() == DType::F64));
    judge::<f32>(&all);
    judge::<f64>(&all);
}
