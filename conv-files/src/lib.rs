//! Arrays in files, for whoever reads weights: `conv!`, build scripts and `convc`.
//!
//! In: a path, or bytes. Out: an [`Array`] in C order with its shape; and `.npy` files back.
//! [`npy`] reads NumPy's files, [`safetensors`] one tensor of a model. A [place](read_place) is
//! `weight.npy` or `model.safetensors#conv1.weight`.
//!
//! A crate of its own because the macro must read what the command line reads, and neither may know
//! the other.

#![forbid(unsafe_code)]

pub mod npy;
pub mod safetensors;

use std::path::{Path, PathBuf};

pub use npy::{Array, Number, encode};

/// Why there is no array.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and the rule.
    pub message: String,
}

impl Error {
    fn new(path: &Path, message: impl Into<String>) -> Error {
        Error { path: path.to_owned(), message: message.into() }
    }
}

/// Reads a `.npy` file.
///
/// # Errors
/// Where it cannot be read, or is none.
pub fn read_npy(path: &Path) -> Result<Array, Error> {
    npy::parse(bytes(path)?).map_err(|message| Error::new(path, message))
}

/// Splits `file#tensor` into the file and the tensor's name.
pub fn split_place(place: &str) -> (&str, Option<&str>) {
    match place.split_once('#') {
        Some((file, tensor)) => (file, Some(tensor)),
        None => (place, None),
    }
}

/// Reads `FILE.npy`, or `FILE.safetensors#TENSOR`, relative to `folder`.
///
/// # Errors
/// Where the file cannot be read, is of another kind, or has no such tensor: then those that there
/// are.
pub fn read_place(folder: &Path, place: &str) -> Result<Array, Error> {
    let (file, tensor) = split_place(place);
    let path = folder.join(file);
    let kind = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match (kind, tensor) {
        ("npy", None) => read_npy(&path),
        ("npy", Some(_)) => Err(Error::new(
            &path,
            "a .npy file holds one array: leave out `#` and the name behind it",
        )),
        ("safetensors", tensor) => {
            let bytes = bytes(&path)?;
            let read = safetensors::parse(&bytes, tensor.unwrap_or_default());
            read.map_err(|message| Error::new(&path, message))
        }
        _ => Err(Error::new(
            &path,
            "the name must end in .npy, or in .safetensors with `#` and a tensor's name behind it",
        )),
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::new(path, format!("cannot be read: {error}")))
}
