//! What a header claims, held against what there is before memory is asked for.

use std::io::Read;

use conv_ir::cut;

/// The next `count` bytes. Who calls has compared `count` with the length of the source.
pub(crate) fn bytes(source: &mut impl Read, count: usize) -> Result<Vec<u8>, String> {
    let mut bytes = room(count)?;
    let read = source.take(count as u64).read_to_end(&mut bytes);
    match read.map_err(|error| format!("cannot be read: {error}"))? {
        found if found == count => Ok(bytes),
        _ => Err("is truncated while it is read".to_owned()),
    }
}

/// Room for so many bytes.
pub(crate) fn room(count: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match bytes.try_reserve_exact(count) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(format!("needs {count} bytes of memory, more than there is")),
    }
}

/// The numbers of a shape, where there are at most so many.
pub(crate) fn count(shape: &[usize], most: usize) -> Result<usize, String> {
    // A zero makes the array empty, however large the rest.
    let count = match shape.contains(&0) {
        true => Some(0),
        false => shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)),
    };
    match count {
        None => Err(format!("has shape {}, more elements than memory can hold", shown(shape))),
        Some(count) if count > most => {
            Err(format!("has shape {}: {count} numbers, but at most {most}", shown(shape)))
        }
        Some(count) => Ok(count),
    }
}

/// A shape as errors show it.
pub(crate) fn shown(shape: &[usize]) -> String {
    cut(&format!("{:?}", &shape[..shape.len().min(64)]))
}
