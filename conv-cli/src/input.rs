//! Input files; `-` is standard input.

use std::io::Read;
use std::path::Path;

use crate::failure::Failure;
pub use crate::failure::STDIN;

/// Everything in a file.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match path == Path::new(STDIN) {
        true => std::io::stdin().lock().read_to_end(&mut bytes).and_then(|read| match read {
            0 => Err(std::io::Error::other("nothing is there, or it was read already")),
            _ => Ok(bytes),
        }),
        false => std::fs::read(path),
    };
    read.map_err(|error| Failure::file(path, format!("cannot be read: {error}")))
}

/// A file of text, without the mark that some programs put in front of it.
pub fn text(path: &Path) -> Result<String, Failure> {
    let bytes = bytes(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::file(path, format!("is not text in UTF-8: {error}")))?;
    Ok(without_mark(text))
}

/// Text without the byte order mark, which nobody sees.
pub fn without_mark(mut text: String) -> String {
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    text
}
