//! Output files appear whole or not at all: written beside their place under another name, then
//! renamed.
//!
//! What is not a regular file (`/dev/null`, a pipe) is written to directly: renaming would replace
//! it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Fails where [`fn@write`] is bound to fail, before the long work begins.
pub fn check(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::file(path, "is a directory; give the output file's name"));
    }
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(Failure::file(
            path,
            format!("there is no directory '{}' to write it in", folder.display()),
        ));
    }
    Ok(())
}

/// Makes or replaces files: all of them, or none where one cannot be written.
pub fn write(files: &[(&Path, &[u8])]) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: io::Error| Failure::file(path, format!("cannot be written: {error}"));
    let mut ready = Vec::new();
    for &(path, contents) in files {
        check(path)?;
        ready.push((path, Ready::new(path, contents).map_err(|error| failed(path, error))?));
    }
    ready
        .into_iter()
        .try_for_each(|(path, file)| file.appear().map_err(|error| failed(path, error)))
}

/// A file whose contents are safe on disk (or a device, which takes them last).
enum Ready<'a> {
    File(tempfile::NamedTempFile, PathBuf),
    Special(&'a Path, &'a [u8]),
}

impl<'a> Ready<'a> {
    fn new(path: &'a Path, contents: &'a [u8]) -> io::Result<Ready<'a>> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Ok(Ready::Special(path, contents));
        }
        // A link keeps pointing to the file, which is replaced where it really is.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut file = temporary(&folder(&place))?;
        file.write_all(contents)?;
        Ok(Ready::File(file, place))
    }

    fn appear(self) -> io::Result<()> {
        match self {
            Ready::File(file, place) => Ok(file.persist(place).map(drop)?),
            Ready::Special(path, contents) => fs::write(path, contents),
        }
    }
}

fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".convc-");
    #[cfg(unix)]
    {
        // Readable by others as far as the user's umask allows, like any new file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
