//! The arrays of a case: a pure function of the description, the fill and a seed, so that a case is
//! one line of text.
//!
//! Integers are at most 3, and no case sums more than a few thousand products of them: every
//! partial sum is an integer below 2^24 and exact in f32, in any order. With them all routes must
//! agree bit for bit whatever they do (benchdnn's rule: tolerance zero). Reals have full mantissas,
//! so that only the contract's order gives the contract's bits. Where arrays are of integers,
//! "reals" are any of theirs, the ends of their range more often than others.

use conv_ir::{Array, Conv, DType, Element, Error, Nest, Stored, interp, reference, with_stored};

/// A small deterministic generator (Steele, Lea and Flood's SplitMix64), so that a case is its
/// seed.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `lo..=hi`.
    pub fn within(&mut self, lo: usize, hi: usize) -> usize {
        lo + (self.bits() % (hi - lo + 1) as u64) as usize
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.within(0, of.len() - 1)].clone()
    }

    /// An array of one fill, of numbers that a type has.
    pub fn of_type<T: Element>(&mut self, fill: Fill, len: usize, dtype: DType) -> Vec<T> {
        let Some((least, greatest)) = dtype.range().filter(|_| fill != Fill::Integers) else {
            return rounded(self.array(fill, len), dtype);
        };
        let number = |_| match self.within(0, 7) {
            0 => T::from_f64(least as f64),
            1 => T::from_f64(greatest as f64),
            _ => T::from_f64(dtype.value_of(self.bits())),
        };
        (0..len).map(number).collect()
    }

    /// An array of one fill.
    pub fn array<T: Element>(&mut self, fill: Fill, len: usize) -> Vec<T> {
        let number = |_| match fill {
            Fill::Integers => T::from_f64(self.within(0, 6) as f64 - 3.0),
            Fill::Reals | Fill::AnyWeights => {
                T::from_f64((self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
            }
        };
        (0..len).map(number).collect()
    }

    /// Weights of one fill, numbers that a type has.
    pub fn weights_of_type<T: Element>(&mut self, fill: Fill, len: usize, of: DType) -> Vec<T> {
        match of.is_integer() {
            true => self.of_type(fill, len, of),
            false => rounded(self.weights(fill, len), of),
        }
    }

    /// Weights of one fill.
    pub fn weights<T: Element>(&mut self, fill: Fill, len: usize) -> Vec<T> {
        let mut weights = self.array::<T>(fill, len);
        if fill == Fill::AnyWeights {
            for weight in &mut weights {
                match self.within(0, 35) {
                    0 => *weight = T::from_f64(f64::INFINITY),
                    1 => *weight = T::from_f64(f64::NEG_INFINITY),
                    2 => *weight = T::from_f64(f64::NAN),
                    _ => {}
                }
            }
        }
        weights
    }
}

/// What the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Integers of at most 3, so that every partial sum is exact and every order of summation gives
    /// the same bits.
    Integers,
    /// Reals in -1..1: only the contract's order gives the contract's bits.
    Reals,
    /// The same, but one weight in twelve is infinite or NaN.
    AnyWeights,
}

/// The arrays of one case.
#[derive(Clone, Debug)]
pub struct Data<T> {
    /// In the user's layout.
    pub input: Vec<T>,
    /// In the user's layout.
    pub weight: Vec<T>,
    /// One per output channel.
    pub bias: Option<Vec<T>>,
    /// Of the output's shape.
    pub residual: Option<Vec<T>>,
}

impl<T: Element> Data<T> {
    /// Data for a convolution whose sizes are all known.
    pub fn new(conv: &Conv, fill: Fill, seed: u64) -> Data<T> {
        let mut rng = Rng(seed);
        let spec = conv.spec();
        let output = conv.output_len().unwrap_or(0);
        let types = conv.types();
        let mut array = |len, dtype| rng.of_type(fill, len, dtype);
        let input = array(conv.input_len().unwrap_or(0), types.input);
        let bias = spec.bias.then(|| array(conv.bias_len(), types.bias));
        let residual = spec.residual.then(|| array(output, types.output));
        let weight = rng.weights_of_type(fill, conv.weight_len(), types.weight);
        let mut data = Data { input, weight, bias, residual };
        // What is compiled in is what the reference is given.
        if let Some(known) = conv.known() {
            let array = |values: &[f64]| values.iter().map(|&x| T::from_f64(x)).collect();
            data.weight = array(&known.weight);
            if let Some(bias) = &known.bias {
                data.bias = Some(array(bias));
            }
        }
        data
    }

    /// The reference's output.
    ///
    /// # Errors
    /// Those of [`reference::run`].
    pub fn reference(&self, conv: &Conv) -> Result<Vec<T>, Error> {
        let arguments = reference::Arguments {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
        };
        reference::run(conv, arguments, &[])
    }

    /// The interpreter's output, by so many threads in turn.
    ///
    /// # Errors
    /// Those of [`interp::run_parts`].
    pub fn interpret(
        &self,
        nest: &Nest,
        outputs: usize,
        free: &[(&str, usize)],
        parts: usize,
    ) -> Result<Vec<T>, Error> {
        let mut output = vec![T::poison(); outputs];
        let arguments = interp::Arguments {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            output: &mut output,
        };
        interp::run_parts(nest, arguments, free, parts)?;
        Ok(output)
    }
}

/// Numbers of a type, as values of the one that they are computed in.
pub fn rounded<T: Element>(numbers: Vec<T>, dtype: DType) -> Vec<T> {
    numbers.into_iter().map(|x| x.rounded_to(dtype)).collect()
}

/// Values as they are stored.
pub fn stored<T: Element, S: Stored>(values: &[T]) -> Vec<S> {
    values.iter().map(|x| S::from_f64(x.to_f64())).collect()
}

/// Values as an array of a type; no array of no values.
pub fn array<T: Element>(values: &[T], dtype: DType) -> Option<Array<'static>> {
    with_stored!(dtype, S => (!values.is_empty()).then(|| stored::<T, S>(values).into()))
}

/// Whether two results are the same: equal, or both NaN (the sign of a zero aside).
pub fn same<T: Element>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(x, y)| x == y || (x.to_f64().is_nan() && y.to_f64().is_nan()))
}

/// Checks a result against the reference's.
///
/// # Errors
/// The first element that differs, or the lengths.
pub fn compare<T: Element>(found: &[T], wanted: &[T]) -> Result<(), String> {
    if found.len() != wanted.len() {
        return Err(format!("{} outputs, the reference has {}", found.len(), wanted.len()));
    }
    match (0..wanted.len()).find(|&i| !same(&found[i..=i], &wanted[i..=i])) {
        None => Ok(()),
        Some(at) => {
            Err(format!("output[{at}] is {:?}, the reference says {:?}", found[at], wanted[at]))
        }
    }
}
