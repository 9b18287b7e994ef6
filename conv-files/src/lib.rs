//! Arrays in files, for whoever reads weights: `conv!`, build scripts and `convc`.
//!
//! In: a path, or bytes. Out: an [`Array`] in C order with its shape, of one of the [types](Kind);
//! and files back. [`npy`] reads NumPy's files, [`safetensors`] one tensor of a model. A
//! [place](read_place) is `weight.npy` or `model.safetensors#conv1.weight`.
//!
//! Files are untrusted: a length that a header states is compared with the file's before memory is
//! asked for. [`npy::read`] and [`safetensors::read`] take any source of bytes.
//!
//! [`tuning`] reads and writes what `convc tune` measured.
//!
//! A crate of its own because the macro must read what the command line reads, and neither may know
//! the other.

#![forbid(unsafe_code)]

mod array;
mod claims;
pub mod npy;
mod numbers;
pub mod safetensors;
pub mod tuning;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use array::Array;
pub use npy::encode;
pub use numbers::{Kind, Number};

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

/// Reads a `.npy` file, as it can be [convolved](Array::convolved).
///
/// # Errors
/// Where it cannot be read, or is none.
pub fn read_npy(path: &Path) -> Result<Array, Error> {
    read_npy_as_is(path)?.convolved().map_err(|message| Error::new(path, message))
}

/// Reads a `.npy` file, of any [`Kind`].
///
/// # Errors
/// Where it cannot be read, or is none.
pub fn read_npy_as_is(path: &Path) -> Result<Array, Error> {
    let (mut file, length) = open(path)?;
    npy::read(&mut file, length, usize::MAX).map_err(|message| Error::new(path, message))
}

/// The array in the bytes of a `.npy` file, which came from `path`.
///
/// # Errors
/// Where they are none.
pub fn npy_of(path: &Path, bytes: &[u8]) -> Result<Array, Error> {
    let mut file = std::io::Cursor::new(bytes);
    npy::read(&mut file, bytes.len() as u64, usize::MAX)
        .and_then(Array::convolved)
        .map_err(|message| Error::new(path, message))
}

/// Splits `file#tensor` into the file and the tensor's name.
pub fn split_place(place: &str) -> (&str, Option<&str>) {
    match place.split_once('#') {
        Some((file, tensor)) => (file, Some(tensor)),
        None => (place, None),
    }
}

/// Reads `FILE.npy`, or `FILE.safetensors#TENSOR`, relative to `folder`: of a large file no more
/// than the header and that tensor, of at most so many numbers, as they can be
/// [convolved](Array::convolved).
///
/// # Errors
/// Where the file cannot be read, is of another kind, or has no such tensor: then those that there
/// are.
pub fn read_place(folder: &Path, place: &str, most: usize) -> Result<Array, Error> {
    let (file, tensor) = split_place(place);
    let path = folder.join(file);
    let kind = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let read = match (kind, tensor) {
        ("npy", None) => {
            let (mut file, length) = open(&path)?;
            npy::read(&mut file, length, most)
        }
        ("npy", Some(_)) => {
            Err("a .npy file holds one array: leave out `#` and the name behind it".to_owned())
        }
        ("safetensors", tensor) => {
            let (mut file, length) = open(&path)?;
            safetensors::read(&mut file, length, tensor.unwrap_or_default(), most)
        }
        _ => Err(
            "the name must end in .npy, or in .safetensors with `#` and a tensor's name behind it"
                .to_owned(),
        ),
    };
    read.and_then(Array::convolved).map_err(|message| Error::new(&path, message))
}

/// The file and its length.
fn open(path: &Path) -> Result<(File, u64), Error> {
    let unreadable = |error| Error::new(path, format!("cannot be read: {error}"));
    // Before it is opened: a pipe would wait for someone who writes.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Error::new(path, "cannot be read: it is no regular file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file with one byte changed, and every beginning of it: no panic, and short errors.
    pub(crate) fn damaged(sound: &[u8], read: impl Fn(&[u8]) -> Result<usize, String>) {
        assert!(read(sound).is_ok());
        let short = |bytes: &[u8]| match read(bytes) {
            Ok(_) => {}
            Err(message) => {
                assert!(message.len() < 300 && message.lines().count() == 1, "{message}")
            }
        };
        for at in 0..sound.len() {
            short(&sound[..at]);
            let mut bytes = sound.to_vec();
            for byte in [0, 1, b'"', b'(', b'9', 0x7f, 0xff] {
                bytes[at] = byte;
                short(&bytes);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = std::env::temp_dir().join(format!("conv-files-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("folder.npy")).expect("a folder");
        let pipe = folder.join("pipe.npy");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()));
        std::os::unix::fs::symlink("/dev/zero", folder.join("device.npy")).expect("a link");
        for name in ["pipe.npy", "folder.npy", "device.npy"] {
            let message = |error: Error| error.message;
            let place = read_place(&folder, name, usize::MAX).map_err(message);
            assert_eq!(place.err().as_deref(), Some("cannot be read: it is no regular file"));
            assert!(read_npy(&folder.join(name)).is_err());
        }
        std::fs::remove_dir_all(&folder).ok();
    }
}
