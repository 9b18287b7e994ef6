//! Files of arrays.

use std::io::Cursor;

use conv_files::{Array, Kind, npy, safetensors};

use crate::refused;

/// Numbers at most.
const MOST: usize = 1 << 20;

/// A `.npy` file: what is written of its numbers reads back.
pub fn npy(bytes: &[u8]) -> bool {
    match npy::read(&mut Cursor::new(bytes), bytes.len() as u64, MOST) {
        Ok(array) => written(&array),
        Err(error) => refused(error),
    }
}

/// A `.safetensors` file, one tensor of it: the first that its header names.
pub fn safetensors(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes.get(8..).unwrap_or_default());
    let name = text.split('"').nth(1).unwrap_or_default();
    match safetensors::read(&mut Cursor::new(bytes), bytes.len() as u64, name, MOST) {
        Ok(array) => written(&array),
        Err(error) => refused(error),
    }
}

/// Each type has a form in one format; only bf16 has none in the other.
fn written(array: &Array) -> bool {
    let unwritten = |error: String| panic!("{} cannot be written: {error}", array.kind);
    let file = array.to_safetensors("x").unwrap_or_else(unwritten);
    let mut source = Cursor::new(&file);
    same(array, safetensors::read(&mut source, file.len() as u64, "x", MOST));
    if array.kind != Kind::BF16 {
        let file = array.to_npy().unwrap_or_else(unwritten);
        same(array, npy::read(&mut Cursor::new(&file), file.len() as u64, MOST));
    }
    true
}

fn same(array: &Array, again: Result<Array, String>) {
    let again = again.unwrap_or_else(|error| panic!("{:?} is written, but {error}", array.shape));
    assert_eq!((again.kind, &again.shape), (array.kind, &array.shape));
    let bits = |array: &Array| array.exact().into_iter().map(f64::to_bits).collect::<Vec<_>>();
    assert!(bits(&again) == bits(array), "{:?} reads back as other numbers", array.shape);
}
