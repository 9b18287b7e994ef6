//! Output files appear whole or not at all; where there are several, all of them or none.
//!
//! Contents are written to a file without a name, which vanishes with the process. Then it is
//! linked to its place, in one step. A file that is there already is replaced by renaming, which
//! needs a name for a moment; signals that would end the program wait until it is gone
//! ([`Held`]). Only a SIGKILL in these microseconds can leave that name behind. Where files without
//! a name are unknown, a hidden file beside the place serves, under the same protection.
//!
//! A file that is replaced keeps its mode and, where that is allowed, its owner. A link is
//! followed, also to a file that is not there yet. What is not a regular file (`/dev/null`, a pipe)
//! and standard output (`-`) are written to directly, before any file appears.

mod held;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::failure::Failure;
use held::Held;

/// Standard output, as a file's name.
pub const STDOUT: &str = "-";

/// Fails where [`fn@write`] is bound to fail or would destroy something, before the long work
/// begins: each output needs a place of its own, and may be none of the inputs.
pub fn check(outputs: &[&Path], inputs: &[&Path]) -> Result<(), Failure> {
    // Standard input and output have one name and are two things.
    let inputs = inputs.iter().filter(|path| !is_stdout(path));
    for (at, &path) in outputs.iter().enumerate() {
        check_place(path)?;
        if let Some(other) = outputs[..at].iter().find(|other| are_same(path, other)) {
            if is_stdout(path) {
                let message = "standard output takes one output: give the other a file".to_owned();
                return Err(Failure::usage(message));
            }
            let message = format!("is the same file as {}: give each its own", other.display());
            return Err(Failure::file(path, message));
        }
        if let Some(input) = inputs.clone().find(|input| are_same(path, input)) {
            let message = format!(
                "is the same file as the input {}: give the output another name",
                input.display()
            );
            return Err(Failure::file(path, message));
        }
    }
    Ok(())
}

/// Where remarks go: to stderr if results go to standard output.
pub fn remarks<'a>(out: &'a mut dyn Write, outputs: &[&Path]) -> Box<dyn Write + 'a> {
    if outputs.iter().any(|path| is_stdout(path)) { Box::new(io::stderr()) } else { Box::new(out) }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new(STDOUT)
}

fn check_place(path: &Path) -> Result<(), Failure> {
    if is_stdout(path) {
        return Ok(());
    }
    if path.is_dir() {
        return Err(Failure::file(path, "is a directory; give the output file's name"));
    }
    let place = place_of(path).map_err(|error| unwritable(path, &error))?;
    let folder = folder(&place);
    if !folder.is_dir() {
        let message = format!("there is no directory '{}' to write it in", folder.display());
        return Err(Failure::file(path, message));
    }
    // What is protected against writing is not replaced either.
    match fs::metadata(path) {
        Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        _ => Ok(()),
    }
    .map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::file(path, format!("cannot be written: {error}"))
}

/// Whether two names are of one file, through links and however they are spelled. Devices have no
/// contents that could be lost.
fn are_same(a: &Path, b: &Path) -> bool {
    if is_stdout(a) || is_stdout(b) {
        return a == b && is_stdout(a);
    }
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(x), Ok(y)) => x.is_file() && y.is_file() && is_one_file(&x, &y, a, b),
        (Err(_), Err(_)) => place_of(a).ok().zip(place_of(b).ok()).is_some_and(|(a, b)| a == b),
        _ => false,
    }
}

#[cfg(unix)]
fn is_one_file(x: &fs::Metadata, y: &fs::Metadata, _: &Path, _: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    (x.dev(), x.ino()) == (y.dev(), y.ino())
}

#[cfg(not(unix))]
fn is_one_file(_: &fs::Metadata, _: &fs::Metadata, a: &Path, b: &Path) -> bool {
    fs::canonicalize(a).ok().zip(fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b)
}

/// The most links on the way to a file, as in Linux.
const MOST_LINKS: usize = 40;

/// Where a file is or would be, links followed.
fn place_of(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&place) {
            Ok(target) => place = folder(&place).join(target),
            Err(_) => {
                let name = place.file_name().unwrap_or_default();
                let folder = folder(&place);
                // A folder that is not there is reported by whoever needs it.
                return Ok(fs::canonicalize(&folder).unwrap_or(folder).join(name));
            }
        }
    }
    Err(io::Error::other("too many links lead from one to the next"))
}

/// Makes or replaces files: all of them, or none where one cannot be written.
pub fn write(files: &[(&Path, &[u8])]) -> Result<(), Failure> {
    check(&files.iter().map(|file| file.0).collect::<Vec<_>>(), &[])?;
    let is_special =
        |path: &Path| is_stdout(path) || fs::metadata(path).is_ok_and(|found| !found.is_file());
    let (special, regular): (Vec<_>, Vec<_>) =
        files.iter().copied().partition(|file| is_special(file.0));
    for (path, contents) in special {
        if is_stdout(path) {
            let mut out = io::stdout();
            out.write_all(contents).and_then(|()| out.flush()).map_err(Failure::Stdout)?;
        } else {
            fs::write(path, contents).map_err(|error| unwritable(path, &error))?;
        }
    }
    if regular.is_empty() {
        return Ok(());
    }
    let held = Held::now();
    let written = appear(&regular, &held);
    held.release();
    written
}

fn appear(files: &[(&Path, &[u8])], held: &Held) -> Result<(), Failure> {
    let mut ready = Vec::new();
    for &(path, contents) in files {
        let file = Ready::new(path, contents, held).map_err(|error| unwritable(path, &error))?;
        ready.push((path, file));
    }
    place(ready)
}

fn place(ready: Vec<(&Path, Ready)>) -> Result<(), Failure> {
    let are_several = ready.len() > 1;
    let mut placed: Vec<Placed> = Vec::new();
    for (path, file) in ready {
        let before = if are_several { file.before() } else { Ok(None) };
        match before.and_then(|before| file.appear(before)) {
            Ok(done) => placed.push(done),
            Err(error) => {
                placed.into_iter().rev().for_each(Placed::undo);
                return Err(unwritable(path, &error));
            }
        }
    }
    Ok(())
}

/// A file whose contents are written, and the place that it is for.
struct Ready {
    contents: Contents,
    place: PathBuf,
}

enum Contents {
    /// Vanishes with the process.
    #[cfg(target_os = "linux")]
    Unnamed(File),
    Named(NamedTempFile),
}

/// A file in its place, until all are.
enum Placed {
    New(PathBuf),
    /// What was there before, where it may be needed again.
    Replaced(PathBuf, Option<TempPath>),
}

/// Written between two looks at whether the user has had enough.
const CHUNK: usize = 1 << 20;

impl Ready {
    fn new(path: &Path, contents: &[u8], held: &Held) -> io::Result<Ready> {
        let place = place_of(path)?;
        let mut made = Contents::new(&folder(&place))?;
        for chunk in contents.chunks(CHUNK) {
            if held.is_over() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            made.file().write_all(chunk)?;
        }
        if let Ok(found) = fs::metadata(&place) {
            keep_owner(made.file(), &found);
            made.file().set_permissions(found.permissions())?;
        }
        Ok(Ready { contents: made, place })
    }

    /// Another name for what is in the place now, or a copy where a file has only one name.
    fn before(&self) -> io::Result<Option<TempPath>> {
        if !self.place.exists() {
            return Ok(None);
        }
        let named = hidden().make_in(folder(&self.place), |name| {
            fs::hard_link(&self.place, name).or_else(|_| fs::copy(&self.place, name).map(drop))
        })?;
        Ok(Some(named.into_temp_path()))
    }

    fn appear(self, before: Option<TempPath>) -> io::Result<Placed> {
        let Ready { contents, place } = self;
        let is_new = !place.exists();
        match contents {
            #[cfg(target_os = "linux")]
            Contents::Unnamed(file) if is_new => link(&file, &place)?,
            #[cfg(target_os = "linux")]
            Contents::Unnamed(file) => {
                let named = hidden().make_in(folder(&place), |name| link(&file, name))?;
                named.into_temp_path().persist(&place)?;
            }
            Contents::Named(file) => drop(file.persist(&place)?),
        }
        Ok(if is_new { Placed::New(place) } else { Placed::Replaced(place, before) })
    }
}

impl Contents {
    fn new(folder: &Path) -> io::Result<Contents> {
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed(folder) {
            return Ok(Contents::Unnamed(file));
        }
        let mut builder = hidden();
        #[cfg(unix)]
        {
            // Readable by others as far as the user's umask allows, like any new file.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        builder.tempfile_in(folder).map(Contents::Named)
    }

    fn file(&mut self) -> &mut File {
        match self {
            #[cfg(target_os = "linux")]
            Contents::Unnamed(file) => file,
            Contents::Named(file) => file.as_file_mut(),
        }
    }
}

impl Placed {
    /// As it was before. Where that fails too, nothing better can be done.
    fn undo(self) {
        let _ = match self {
            Placed::New(place) => fs::remove_file(place),
            Placed::Replaced(place, Some(before)) => {
                before.persist(place).map_err(|failed| failed.error)
            }
            Placed::Replaced(_, None) => Ok(()),
        };
    }
}

fn hidden() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".convc-");
    builder
}

/// A file without a name; `None` where the file system or the kernel knows none.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)).ok()?;
    // The name by which the file will be linked.
    Path::new("/proc/self/fd").is_dir().then(|| File::from(file))
}

/// Gives a file its name.
#[cfg(target_os = "linux")]
fn link(file: &File, to: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    use std::os::fd::AsRawFd;
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, from, CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(unix)]
fn keep_owner(file: &File, found: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};
    // Only root may give files away; then the group, to which the user may belong.
    if fchown(file, Some(found.uid()), Some(found.gid())).is_err() {
        let _ = fchown(file, None, Some(found.gid()));
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) {}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_lost_in_the_last_moment_takes_the_others_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let (old, new, lost) = (at("old"), at("new"), at("lost"));
        fs::write(&old, "before").expect("written");
        let held = Held::now();
        let ready = |path| (path, Ready::new(path, b"after", &held).expect("written"));
        let ready = [&old, &new, &lost].map(|path| ready(path.as_path()));
        fs::create_dir(&lost).expect("made");
        assert!(place(ready.into()).is_err());
        held.release();
        assert_eq!(fs::read_to_string(&old).expect("it is there"), "before");
        let names = fs::read_dir(folder.path()).expect("a folder");
        let mut names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["lost", "old"]);
    }
}
