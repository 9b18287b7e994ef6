//! Output files appear whole, and all of them or none.

use std::io::Write;
use std::path::Path;

use crate::failure::Failure;

/// Makes or replaces files in a folder, which is made if it is not there.
pub fn write(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let unwritable =
        |error: std::io::Error| Failure::file(folder, format!("cannot be written: {error}"));
    if folder.is_file() {
        return Err(Failure::file(folder, "is a file; outputs need a directory"));
    }
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let mut ready = Vec::new();
    for (name, contents) in files {
        let place = folder.join(name);
        if place.is_dir() {
            return Err(Failure::file(&place, "is a directory; an output needs its place"));
        }
        let mut file = hidden().tempfile_in(folder).map_err(unwritable)?;
        file.write_all(contents).map_err(unwritable)?;
        ready.push((file, place));
    }
    let mut new = Vec::new();
    for (file, place) in ready {
        let is_new = !place.exists();
        if let Err(error) = file.persist(&place) {
            // What was replaced is lost; what is new goes again.
            new.iter().for_each(|place| drop(std::fs::remove_file(place)));
            return Err(Failure::file(&place, format!("cannot be written: {}", error.error)));
        }
        if is_new {
            new.push(place);
        }
    }
    Ok(())
}

fn hidden() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".convc-onnx-");
    #[cfg(unix)]
    {
        // Readable by others as far as the user's umask allows, like any new file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

/// The name of an output's file.
pub fn file_name(output: &str) -> String {
    let name: String =
        output.chars().map(|c| if matches!(c, '/' | '\\' | '\0') { '_' } else { c }).collect();
    format!("{name}.npy")
}
