//! Each rounding against its definition in exact numbers. The oracle knows fractions of i128 and
//! nothing of floating point: it shares no code with what it judges.

use super::{Fixed, Rescale, Rounding};

/// Sums of each rounding.
const SUMS: usize = 10_000_000;

/// A linear congruential generator: the upper bits of a state.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 32
    }

    /// A sum: of any size, as small ones meet ties and large ones overflow.
    fn sum(&mut self) -> i32 {
        let bits = self.next() % 32;
        (self.next() as u32 as i32) >> bits
    }

    /// A scale from 2^-34 to 2^34, many of them powers of two and their neighbours, with which sums
    /// fall on ties.
    fn scale(&mut self) -> f64 {
        let power = 2f64.powi((self.next() % 69) as i32 - 34);
        match self.next() % 8 {
            0 => power,
            1 => power.next_up(),
            2 => power.next_down(),
            3 => power * (1.0 + (self.next() % 16) as f64 / 16.0),
            4 => f64::from((power * (1.0 + self.next() as f64 / 2f64.powi(32))) as f32),
            _ => power * (1.0 + self.next() as f64 / 2f64.powi(32)),
        }
    }
}

/// How a fraction becomes an integer.
#[derive(Clone, Copy)]
enum Ties {
    Even,
    Away,
    Up,
}

/// `numerator / denominator`, of which the second is positive.
fn rounded(numerator: i128, denominator: i128, ties: Ties) -> i128 {
    let floor = numerator.div_euclid(denominator);
    match (2 * numerator.rem_euclid(denominator)).cmp(&denominator) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Greater => floor + 1,
        std::cmp::Ordering::Equal => match ties {
            Ties::Even => floor + floor.rem_euclid(2),
            Ties::Away => floor + i128::from(numerator > 0),
            Ties::Up => floor + 1,
        },
    }
}

/// A positive f64 as an integer and the power of two that it is multiplied by.
fn parts(x: f64) -> (i128, i32) {
    let (field, fraction) = ((x.to_bits() >> 52) as i32, (x.to_bits() & ((1 << 52) - 1)) as i128);
    (fraction + (1 << 52), field - 1075)
}

/// An integer times a power of two with at most 24 bits, to even: what f32 makes of it.
fn of_24_bits(x: i128, power: i32) -> (i128, i32) {
    let over = (128 - x.unsigned_abs().leading_zeros() as i32 - 24).max(0);
    (rounded(x, 1 << over, Ties::Even), power + over)
}

/// f32 of the sum, times f32 of the scale as f32, to the nearest integer.
fn by_float(sum: i32, scale: f64) -> i128 {
    let (significand, power) = parts(scale);
    let (significand, power) = of_24_bits(significand, power);
    let (sum, shift) = of_24_bits(sum.into(), 0);
    let (product, power) = of_24_bits(sum * significand, power + shift);
    match power {
        0.. => product << power.min(60),
        _ => rounded(product, 1 << (-power).min(100), Ties::Even),
    }
}

/// The nearest `multiplier / 2^31 * 2^shift` with a multiplier from 2^30 to 2^31 - 1.
fn fixed(scale: f64) -> (i128, i32) {
    let (significand, power) = parts(scale);
    // From 2^52 to 2^53 in parts of 2^53: a half to one.
    let (multiplier, shift) = match rounded(significand, 1 << 22, Ties::Away) {
        2147483648 => (1073741824, power + 54),
        multiplier => (multiplier, power + 53),
    };
    match shift {
        ..-31 => (0, 0),
        31.. => (2147483647, 30),
        _ => (multiplier, shift),
    }
}

fn by_double(sum: i32, scale: f64) -> i128 {
    let (multiplier, shift) = fixed(scale);
    let left = i128::from(sum) << shift.max(0);
    let left = left.clamp(-(1 << 31), (1 << 31) - 1);
    rounded(rounded(left * multiplier, 1 << 31, Ties::Up), 1 << (-shift).max(0), Ties::Away)
}

fn by_single(sum: i32, scale: f64) -> i128 {
    let (multiplier, shift) = fixed(scale);
    rounded(i128::from(sum) * multiplier, 1 << (31 - shift), Ties::Up)
}

fn agree(rounding: Rounding, oracle: fn(i32, f64) -> i128) {
    let mut random = Random(rounding as u64 + 1);
    let mut ends = 0;
    for _ in 0..SUMS / 1000 {
        let scale = random.scale();
        let rescale = rounding.rescale(scale).expect("a positive scale");
        for _ in 0..1000 {
            let sum = random.sum();
            let exact = oracle(sum, scale);
            let found = rescale.apply(sum);
            // What is beyond i32 saturates, whatever it is.
            let end = |x: i128| x.clamp(i32::MIN.into(), i32::MAX.into());
            assert_eq!(end(found.into()), end(exact), "{rounding} of {sum} * {scale:e}");
            for (zero_point, range) in [(0, (0, 255)), (-128, (-128, 127)), (131, (7, 200))] {
                let (least, most) = range;
                let exact = (exact + i128::from(zero_point)).clamp(least.into(), most.into());
                assert_eq!(i128::from(rescale.output(sum, zero_point, range)), exact);
                ends += usize::from(exact == i128::from(most));
            }
        }
    }
    assert!(ends > SUMS / 100, "too few sums saturate: {ends}");
}

#[test]
fn ten_million_sums_are_rounded_as_onnx_is_defined() {
    agree(Rounding::Onnx, by_float);
}

#[test]
fn ten_million_sums_are_rounded_as_tflite_double_is_defined() {
    agree(Rounding::TfliteDouble, by_double);
}

#[test]
fn ten_million_sums_are_rounded_as_tflite_single_is_defined() {
    agree(Rounding::TfliteSingle, by_single);
}

/// XNNPACK's own words: clamp as f32, add a large number, whose bits then end in the integer.
#[test]
fn xnnpacks_magic_number_gives_the_bits_of_onnx() {
    let magic = 12_582_912f32; // 1.5 * 2^23
    let mut random = Random(9);
    for _ in 0..10_000 {
        let scale = random.scale();
        let rescale = Rounding::Onnx.rescale(scale).expect("a positive scale");
        for (zero_point, (least, most)) in [(0, (0, 255)), (3, (-128, 127)), (255, (0, 255))] {
            for _ in 0..100 {
                let sum = random.sum();
                let product = sum as f32 * scale as f32;
                let product = product.max((least - zero_point) as f32);
                let product = product.min((most - zero_point) as f32);
                let bits = (product + magic).to_bits() as i32;
                let wanted = bits - (magic.to_bits() as i32 - zero_point);
                assert_eq!(rescale.output(sum, zero_point, (least, most)), wanted, "{sum} {scale}");
            }
        }
    }
}

/// From the tests of TensorFlow Lite and gemmlowp.
#[test]
fn multipliers_are_those_of_tensorflow_lite() {
    let of = Fixed::new;
    let is = |multiplier, shift| Fixed { multiplier, shift };
    assert_eq!(of(0.5), is(1 << 30, 0));
    assert_eq!(of(0.25), is(1 << 30, -1));
    assert_eq!(of(1.0), is(1 << 30, 1));
    assert_eq!(of(1.0f64.next_down()), is(1 << 30, 1));
    assert_eq!(of(0.1), is(1717986918, -3));
    assert_eq!(of(2f64.powi(-32)), is(1 << 30, -31));
    assert_eq!(of(2f64.powi(-33)), is(0, 0));
    assert_eq!(of(1e-310), is(0, 0));
    assert_eq!(of(2f64.powi(40)), is(i32::MAX, 30));
    for scale in [0.1, 0.75, 2f64.powi(-20), 3.0] {
        let (multiplier, shift) = fixed(scale);
        let ours = of(scale);
        assert_eq!((ours.multiplier.into(), ours.shift), (multiplier, shift));
    }
}

#[test]
fn roundings_differ_where_they_are_known_to() {
    let of = |name: &str, sum, scale| {
        name.parse::<Rounding>().expect(name).rescale(scale).expect("positive").apply(sum)
    };
    let names = ["onnx", "xnnpack-f32", "tflite-double", "tflite-single"];
    let all = |sum, scale| names.map(|name| of(name, sum, scale));
    assert_eq!(all(10, 0.25), [2, 2, 3, 3]);
    assert_eq!(all(-10, 0.25), [-2, -2, -3, -2]);
    // Nothing is left for the second rounding, and the first goes up.
    assert_eq!(all(-5, 0.5), [-2, -2, -2, -2]);
    // Rounded to an integer first, then away at the tie that it has become.
    assert_eq!(all(6, 0.25 - 2f64.powi(-33)), [2, 2, 2, 1]);
    // A sum of more bits than f32 has.
    assert_eq!(all((1 << 24) + 1, 1.0), [1 << 24, 1 << 24, (1 << 24) + 1, (1 << 24) + 1]);
}

#[test]
fn scales_are_made_up_as_their_runtime_does() {
    let (input, weight, output) = (0.1f32, 0.3f32, 0.7f32);
    assert_eq!(Rounding::Onnx.scale(input, weight, output), f64::from(0.1f32 * 0.3 / 0.7));
    let wide = f64::from(input) * f64::from(weight) / f64::from(output);
    assert_eq!(Rounding::TfliteDouble.scale(input, weight, output), wide);
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e39] {
        let said = Rounding::Onnx.rescale(scale).map_err(|e| e.to_string());
        assert!(said.is_err_and(|said| said.contains("larger than 0")), "{scale}");
    }
    let said = "round".parse::<Rounding>().map_err(|e| e.to_string()).expect_err("none");
    assert!(said.contains("onnx, xnnpack-f32, tflite-double, tflite-single"), "{said}");
    for (name, rounding) in super::NAMES {
        assert_eq!(name.parse::<Rounding>(), Ok(rounding));
        assert_eq!(rounding.to_string().parse::<Rounding>(), Ok(rounding));
    }
    assert_eq!(Rounding::Onnx.rescale(0.5), Ok(Rescale::Float(0.5)));
}
