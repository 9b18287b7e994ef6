//! Where the output goes: a `.npy` file, or `FILE.safetensors#TENSOR`.

use std::path::{Path, PathBuf};

use conv_files::{Array, Number, encode, safetensors, split_place};

use crate::failure::Failure;

/// A file, and the tensor's name in it.
pub struct Place {
    /// The file.
    pub path: PathBuf,
    tensor: Option<String>,
}

impl Place {
    /// As the user wrote it.
    pub fn of(path: &Path) -> Place {
        match path.to_str().map(split_place) {
            Some((file, Some(tensor))) if is_model(Path::new(file)) => {
                Place { path: file.into(), tensor: Some(tensor.to_owned()) }
            }
            _ => Place { path: path.to_owned(), tensor: None },
        }
    }

    /// Fails where a model would hold a tensor without a name.
    pub fn check(&self) -> Result<(), Failure> {
        match self.tensor.as_deref() {
            None | Some("") if is_model(&self.path) => {
                let message = "write `#` and a name for the tensor behind the file";
                Err(Failure::file(&self.path, message))
            }
            _ => Ok(()),
        }
    }

    /// The file's bytes.
    pub fn encode<T: Number>(&self, shape: &[usize], numbers: &[T]) -> Result<Vec<u8>, Failure> {
        let bytes = match &self.tensor {
            Some(tensor) => safetensors::encode(tensor, shape, numbers),
            None => encode(shape, numbers),
        };
        bytes.map_err(|message| Failure::file(&self.path, message))
    }

    /// The file's bytes for numbers of a type that is known only now.
    pub fn bytes(&self, array: &Array) -> Result<Vec<u8>, Failure> {
        let bytes = match &self.tensor {
            Some(tensor) => array.to_safetensors(tensor),
            None => array.to_npy(),
        };
        bytes.map_err(|message| Failure::file(&self.path, message))
    }
}

fn is_model(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "safetensors")
}
