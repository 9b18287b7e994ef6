//! The model's inputs: from files, or pseudo-random numbers of a shape.

use std::path::Path;

use conv_files::Kind;
use conv_onnx::{Model, Port, Tensor, f16};

use crate::args::{Arrays, Sizes};
use crate::failure::Failure;

/// Numbers of an input of which only the shape is given. More would not fit in memory beside what a
/// model makes of them.
const MOST_NUMBERS: usize = 1 << 30;

/// Inputs with their names.
pub type Inputs = Vec<(String, Tensor)>;

/// As [`Model::run`] takes them.
pub fn by_name(inputs: &Inputs) -> Vec<(&str, Tensor)> {
    inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect()
}

/// What the files hold.
pub fn arrays(model: &Model, args: &Arrays) -> Result<Inputs, Failure> {
    args.inputs.iter().map(|given| array(model, given)).collect()
}

fn array(model: &Model, given: &str) -> Result<(String, Tensor), Failure> {
    let (name, path) = named(given, "--input", "NAME=FILE.npy")?;
    let port = find(model, name)?;
    let path = Path::new(path);
    let array = conv_files::read_npy_as_is(path)?;
    // As they are, because f64 does not hold each of them.
    let tensor = match port.dtype.as_deref() {
        Some("i64") if array.kind == Kind::I64 => {
            Tensor::new(&array.shape, &array.values::<i64>()).map_err(|error| error.to_string())
        }
        _ => typed(port, &array.shape, &array.exact()),
    };
    Ok((name.to_owned(), tensor.map_err(|message| Failure::file(path, message))?))
}

/// What the files hold, and pseudo-random numbers for the rest.
pub fn of_sizes(model: &Model, args: &Sizes) -> Result<Inputs, Failure> {
    let mut inputs = arrays(model, &args.arrays)?;
    let sizes = args.sizes.iter().map(|given| {
        let (name, size) = named(given, "--size", "NAME=1x3x640x640")?;
        find(model, name)?;
        let extents = size.split('x').map(|extent| extent.parse().ok()).collect();
        let extents: Option<Vec<usize>> = extents;
        let wrong =
            || Failure::usage(format!("--size '{given}': '{size}' is no shape like 1x3x640x640"));
        Ok((name, extents.ok_or_else(wrong)?))
    });
    let sizes = sizes.collect::<Result<Vec<_>, Failure>>()?;
    for port in model.inputs() {
        let size =
            sizes.iter().find(|(name, _)| *name == port.name).map(|(_, shape)| shape.clone());
        let has_array = inputs.iter().any(|(name, _)| *name == port.name);
        let shape = match (has_array, size) {
            (true, None) => continue,
            (true, Some(_)) => {
                let name = &port.name;
                return Err(Failure::usage(format!("input '{name}' has both --input and --size")));
            }
            (false, Some(shape)) => shape,
            (false, None) => known(port).ok_or_else(|| {
                let (name, example) = (&port.name, example(port));
                let message =
                    format!("the model takes {port}: give its shape, --size {name}={example}");
                Failure::usage(message)
            })?,
        };
        inputs.push((port.name.clone(), random(port, &shape)?));
    }
    Ok(inputs)
}

fn known(port: &Port) -> Option<Vec<usize>> {
    port.shape.as_ref()?.iter().copied().collect()
}

/// A shape that the input may have, where free extents are a batch and an image's.
fn example(port: &Port) -> String {
    let Some(shape) = &port.shape else { return "1x3x640x640".to_owned() };
    let free = |axis: usize| if axis == 0 { 1 } else { 640 };
    let extents = shape.iter().enumerate().map(|(axis, n)| n.unwrap_or(free(axis)).to_string());
    extents.collect::<Vec<_>>().join("x")
}

fn random(port: &Port, shape: &[usize]) -> Result<Tensor, Failure> {
    let product = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let Some(count) = product.filter(|&n| n <= MOST_NUMBERS) else {
        let name = &port.name;
        return Err(Failure::usage(format!("input '{name}' of shape {shape:?} is too large")));
    };
    // Of a linear congruential generator, in -1 to 1; whole numbers are 0.
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let is_whole = port.dtype.as_deref().is_some_and(|dtype| !dtype.starts_with('f'));
    let numbers: Vec<f64> = (0..count).map(|_| if is_whole { 0.0 } else { next() }).collect();
    typed(port, shape, &numbers).map_err(Failure::usage)
}

/// Numbers as the input's type: rounded to floats, as they are to others.
fn typed(port: &Port, shape: &[usize], numbers: &[f64]) -> Result<Tensor, String> {
    macro_rules! of {
        ($t:ty) => {
            Tensor::new(shape, &numbers.iter().map(|&x| x as $t).collect::<Vec<$t>>())
        };
    }
    macro_rules! whole {
        ($t:ty) => {
            match numbers.iter().find(|&&x| x as $t as f64 != x) {
                Some(x) => return Err(lost(port, x)),
                None => of!($t),
            }
        };
    }
    let tensor = match port.dtype.as_deref() {
        Some("f32") | None => of!(f32),
        Some("f64") => of!(f64),
        Some("i64") => whole!(i64),
        Some("i32") => whole!(i32),
        Some("u8") => whole!(u8),
        Some("i8") => whole!(i8),
        Some("f16") => {
            let halves: Vec<f16> = numbers.iter().map(|&x| f16::from_f64(x)).collect();
            Tensor::new(shape, &halves)
        }
        Some("bool") => match numbers.iter().find(|&&x| x != 0.0 && x != 1.0) {
            Some(x) => return Err(lost(port, x)),
            None => Tensor::new(shape, &numbers.iter().map(|&x| x != 0.0).collect::<Vec<_>>()),
        },
        Some(other) => {
            return Err(format!(
                "input '{}' is {other}; f16, f32, f64, i64, i32, u8, i8 and bool can be given",
                port.name
            ));
        }
    };
    tensor.map_err(|error| error.to_string())
}

fn lost(port: &Port, number: &f64) -> String {
    let (name, dtype) = (&port.name, port.dtype.as_deref().unwrap_or("f32"));
    format!("holds {number}, which no element of input '{name}' is: it is of {dtype}")
}

fn named<'a>(given: &'a str, option: &str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    // Names may have a `=` in them, files seldom.
    let wrong = || Failure::usage(format!("{option} '{given}' has no name: write {option} {form}"));
    given.rsplit_once('=').ok_or_else(wrong)
}

fn find<'a>(model: &'a Model, name: &str) -> Result<&'a Port, Failure> {
    let unknown =
        || Failure::usage(format!("the model has no input '{name}'; it takes {}", model.words()));
    model.inputs().iter().find(|port| port.name == name).ok_or_else(unknown)
}
