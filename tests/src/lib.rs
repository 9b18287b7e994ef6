//! What the tests share: data that sums exactly, and the judge that runs a nest after every pass.

use conv_ir::{Conv, Element, Error, Nest, Schedule, Target, interp, nest, passes, reference};

/// A small deterministic generator (Steele, Lea and Flood's SplitMix64), so that a case is its seed.
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
}

/// What the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Integers of at most 3, so that every partial sum is exact and every order of summation gives the same bits.
    Integers,
    /// Reals in -1..1: only the contract's order gives the contract's bits.
    Reals,
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
        let mut array = |len: usize| -> Vec<T> {
            (0..len)
                .map(|_| match fill {
                    Fill::Integers => T::from_f64(rng.within(0, 6) as f64 - 3.0),
                    Fill::Reals => T::from_f64((rng.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0),
                })
                .collect()
        };
        let len = |shape: Option<Vec<usize>>| shape.map_or(0, |s| s.iter().product());
        let output = len(conv.output_shape());
        Data {
            input: array(len(conv.input_shape())),
            weight: array(conv.weight_shape().iter().product()),
            bias: conv.spec().bias.then(|| array(conv.spec().out_channels)),
            residual: conv.spec().residual.then(|| array(output)),
        }
    }

    /// The reference's output.
    pub fn reference(&self, conv: &Conv) -> Result<Vec<T>, Error> {
        let arguments = reference::Arguments {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
        };
        reference::run(conv, arguments, &[])
    }

    /// The interpreter's output.
    pub fn interpret(&self, nest: &Nest, outputs: usize, free: &[(&str, usize)]) -> Result<Vec<T>, Error> {
        let mut output = vec![T::from_f64(f64::NAN); outputs];
        let arguments = interp::Arguments {
            input: &self.input,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            output: &mut output,
        };
        interp::run(nest, arguments, free)?;
        Ok(output)
    }
}

/// Whether two results are the same: equal, or both NaN (the sign of a zero aside).
pub fn same<T: Element>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x == y || (x.to_f64().is_nan() && y.to_f64().is_nan()))
}

/// Compiles under `schedule`, and after each pass checks the invariants and runs the interpreter against the reference.
///
/// # Errors
/// The name of the first pass after which something is wrong, what, and the nest.
pub fn judge<T: Element>(conv: &Conv, schedule: &Schedule, target: &Target, fill: Fill) -> Result<Nest, String> {
    let data = Data::<T>::new(conv, fill, 7);
    let wanted = data.reference(conv).map_err(|e| format!("reference: {e}"))?;
    let mut verdict = Ok(());
    let nest = passes::compile(conv, schedule, target, &mut |pass, nest| {
        if verdict.is_ok() {
            verdict = after(pass, nest, &data, &wanted);
        }
    });
    let context = |what: String| format!("{conv}\n{schedule}\n{what}");
    verdict.map_err(context)?;
    nest.map_err(|e| context(e.to_string()))
}

fn after<T: Element>(pass: &str, nest: &Nest, data: &Data<T>, wanted: &[T]) -> Result<(), String> {
    let broken = nest::verify(nest);
    if !broken.is_empty() {
        return Err(format!("after {pass}: {broken:?}\n{nest}"));
    }
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| data.interpret(nest, wanted.len(), &[])));
    match run {
        Ok(Ok(output)) if same(&output, wanted) => Ok(()),
        Ok(Ok(output)) => {
            let at = (0..wanted.len()).find(|&i| !same(&output[i..=i], &wanted[i..=i]));
            let at = at.unwrap_or_default();
            Err(format!("after {pass}: output[{at}] is {:?}, the reference says {:?}\n{nest}", output[at], wanted[at]))
        }
        Ok(Err(error)) => Err(format!("after {pass}: {error}\n{nest}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default();
            Err(format!("after {pass}: panic: {text}\n{nest}"))
        }
    }
}
