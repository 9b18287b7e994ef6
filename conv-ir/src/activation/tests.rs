use super::coefficients::Coefficients;
use super::*;
use crate::{DType, Element};

fn operands(instruction: &Instruction) -> Vec<Operand> {
    match *instruction {
        Instruction::Input | Instruction::Const(_) => vec![],
        Instruction::Unary(_, a) => vec![a],
        Instruction::Binary(_, a, b) => vec![a, b],
        Instruction::Fma(a, b, c) => vec![a, b, c],
        Instruction::Choose { a, b, then, otherwise } => vec![a, b, then, otherwise],
    }
}

#[test]
fn steps_use_earlier_steps_and_none_is_dead() {
    for (activation, dtype) in
        Activation::EACH.into_iter().flat_map(|a| [(a.clone(), DType::F32), (a, DType::F64)])
    {
        let instructions = program(&activation, dtype);
        for (at, instruction) in instructions.iter().enumerate() {
            assert!(
                operands(instruction).iter().all(|&o| o < at),
                "{activation:?}: instruction {at} looks ahead"
            );
            assert_eq!(*instruction == Instruction::Input, at == 0);
            let used = at + 1 == instructions.len()
                || instructions.iter().any(|s| operands(s).contains(&at));
            assert!(used, "{activation:?}: instruction {at}, {instruction:?}, is dead");
        }
    }
}

/// What an epilogue costs, constants not counted. A longer program is a decision, not an accident.
#[test]
fn programs_are_short() {
    let operations = |activation, dtype| {
        let instructions = program(&activation, dtype);
        instructions
            .iter()
            .filter(|s| !matches!(s, Instruction::Input | Instruction::Const(_)))
            .count()
    };
    let lengths = |dtype| Activation::EACH.map(|a| operations(a, dtype));
    assert_eq!(lengths(DType::F32), [1, 2, 2, 2, 16, 18, 16, 32, 5, 4, 17, 24, 20]);
    assert_eq!(lengths(DType::F64), [1, 2, 2, 2, 21, 23, 21, 47, 5, 4, 22, 35, 25]);
}

#[test]
fn f32_constants_are_exact() {
    let table = Coefficients::of(DType::F32);
    let ends = [
        table.ln2_hi,
        table.ln2_lo,
        table.sigmoid_lo,
        table.sigmoid_hi,
        table.tanh_hi,
        table.gelu_hi,
        table.exp_lo,
    ];
    for &c in
        ends.iter().chain(table.exp).chain(table.gelu_p).chain(table.gelu_q).chain(table.atanh)
    {
        assert_eq!(f64::from(c as f32), c);
    }
}

fn ends<T: Element>(activation: Activation, largest: f64) -> [f64; 4] {
    let instructions = program(&activation, T::DTYPE);
    [f64::NEG_INFINITY, -largest, largest, f64::INFINITY]
        .map(|x| eval(&instructions, T::from_f64(x)).to_f64())
}

#[test]
fn limits_are_right() {
    let inf = f64::INFINITY;
    for largest in [f64::from(f32::MAX), f64::MAX] {
        let ends = |a| {
            if largest == f64::MAX { ends::<f64>(a, largest) } else { ends::<f32>(a, largest) }
        };
        assert_eq!(ends(Activation::Sigmoid), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(ends(Activation::Tanh), [-1.0, -1.0, 1.0, 1.0]);
        assert_eq!(ends(Activation::Silu), [0.0, 0.0, largest, inf]);
        assert_eq!(ends(Activation::Gelu), [0.0, 0.0, largest, inf]);
        assert_eq!(ends(Activation::HardSwish), [0.0, 0.0, largest, inf]);
        assert_eq!(ends(Activation::Elu(0.5)), [-0.5, -0.5, largest, inf]);
        assert_eq!(ends(Activation::Softplus), [0.0, 0.0, largest, inf]);
        assert_eq!(ends(Activation::Mish), [0.0, 0.0, largest, inf]);
        assert_eq!(ends(Activation::HardSigmoid), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(ends(Activation::LeakyRelu(0.25)), [-inf, -largest / 4.0, largest, inf]);
        assert_eq!(ends(Activation::Clamp(-1.0, 2.0)), [-1.0, -1.0, 2.0, 2.0]);
    }
}

#[test]
fn nan_passes() {
    for activation in Activation::EACH {
        assert!(eval(&program(&activation, DType::F32), f32::NAN).is_nan(), "{activation:?}");
        assert!(eval(&program(&activation, DType::F64), f64::NAN).is_nan(), "{activation:?}");
    }
}

#[test]
fn finite_stays_finite() {
    for activation in Activation::EACH {
        let instructions = program(&activation, DType::F32);
        for x in (0..u32::MAX / 9973).map(|i| f32::from_bits(i * 9973)).filter(|x| x.is_finite()) {
            assert!(eval(&instructions, x).is_finite(), "{activation:?} of {x:e}");
        }
    }
}

#[test]
fn tanh_keeps_signs_and_smallest_numbers() {
    let instructions = program(&Activation::Tanh, DType::F32);
    for x in [-0.0, 0.0, 1e-45, -1e-40, f32::MIN_POSITIVE, 1e-12] {
        assert_eq!(eval(&instructions, x).to_bits(), x.to_bits());
    }
}
