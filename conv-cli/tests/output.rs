//! Files of the user's: what a command writes appears whole or not at all, and what was there is
//! kept until then.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Folder, convc, file, ok, refused};

/// A picture, and where to put what it becomes.
fn picture(folder: &Folder) -> (String, String) {
    (file("tests/golden/icon.png"), folder.path("out.png"))
}

/// Commands that write one file, all but its name.
fn writers(folder: &Folder) -> Vec<Vec<String>> {
    let (x, w) = (folder.array("x.npy", &[1, 1, 4, 4]), folder.array("w.npy", &[1, 1, 3, 3]));
    let (picture, _) = picture(folder);
    let conv = "conv2d in 6 kernel 3";
    let layers = folder.write("layers.csv", b"name,in_spatial,kernel\nsmall,8x8,3x3\n");
    let all: [&[&str]; 6] = [
        &["run", "-i", &x, "-w", &w, "-o"],
        &["filter", &picture, "--window", "box:3", "-o"],
        &["filter", &picture, "--window", "box:3", "-o", "/dev/null.png", "--npy"],
        &["explain", conv, "--svg"],
        &["emit", conv, "--as", "nest", "-o"],
        &["bench", "--layers", &layers, "--time", "0", "--html"],
    ];
    let other = folder.path("other.png");
    let owned =
        |args: &[&str]| args.iter().map(|arg| arg.replace("/dev/null.png", &other)).collect();
    all.map(owned).into()
}

fn with<'a>(args: &'a [String], more: &'a str) -> Vec<&'a str> {
    args.iter().map(String::as_str).chain([more]).collect()
}

#[test]
fn every_command_keeps_modes_and_follows_links() {
    let folder = Folder::new();
    for writer in writers(&folder) {
        let (real, link) = (folder.path("real.png"), folder.path("link.png"));
        // A link to what is not there yet is followed.
        symlink("real.png", &link).expect("made");
        ok(&with(&writer, &link));
        let first = fs::read(&real).expect("the file behind the link");
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink(), "{writer:?}");
        fs::write(&real, "old").expect("written");
        fs::set_permissions(&real, PermissionsExt::from_mode(0o600)).expect("set");
        ok(&with(&writer, &link));
        let again = fs::read(&real).expect("the file behind the link");
        // A report names the load of the moment, so only its beginning is the same each time.
        assert!(again.len() > 16 && again[..16] == first[..16], "{writer:?}");
        let mode = fs::metadata(&real).expect("the file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{writer:?}");
        let hidden = folder.files().into_iter().find(|name| name.starts_with('.'));
        assert_eq!(hidden, None, "{writer:?}");
        fs::remove_file(&real).and_then(|()| fs::remove_file(&link)).expect("removed");
    }
}

#[test]
fn a_full_device_is_an_error_and_nothing_appears() {
    let folder = Folder::new();
    for writer in writers(&folder) {
        if writer[0] == "filter" && writer.last().is_some_and(|arg| arg == "-o") {
            continue; // its name must end in .png
        }
        let before = folder.files();
        let says = refused(&with(&writer, "/dev/full"));
        assert!(says.contains("/dev/full: cannot be written: No space left"), "{says}");
        assert_eq!(folder.files(), before, "{writer:?}");
    }
}

#[test]
fn outputs_are_different_files_and_no_inputs() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    fs::copy(picture(&folder).0, &input).expect("copied");
    let (detour, link) = (folder.path("./out.png"), folder.path("link.npy"));
    symlink("out.png", &link).expect("made");
    for npy in [&out, &detour, &link] {
        let says = refused(&["filter", &input, "--window", "sobel", "-o", &out, "--npy", npy]);
        assert!(says.contains("is the same file as"), "{npy}: {says}");
    }
    let hard = folder.path("hard.png");
    fs::hard_link(&input, &hard).expect("made");
    for out in [&input, &hard, &folder.path("./in.png")] {
        let says = refused(&["filter", &input, "--window", "sobel", "-o", out]);
        assert!(says.contains("is the same file as the input"), "{out}: {says}");
    }
    let (x, w) = (folder.array("x.npy", &[1, 1, 4]), folder.array("w.npy", &[1, 1, 1]));
    for out in [&x, &w] {
        let says = refused(&["run", "-i", &x, "-w", &w, "-o", out]);
        assert!(says.contains("is the same file as the input"), "{says}");
    }
    let says = refused(&["emit", "conv1d in 4 kernel 1", "--weight", &w, "--as", "nest", "-o", &w]);
    assert!(says.contains("is the same file as the input"), "{says}");
    assert_eq!(folder.files(), ["hard.png", "in.png", "link.npy", "w.npy", "x.npy"]);
    // Devices hold nothing that could be lost.
    ok(&["run", "-i", &x, "-w", &w, "-o", "/dev/null"]);
}

#[test]
fn what_is_protected_stays() {
    let folder = Folder::new();
    let (input, out) = picture(&folder);
    let ring = folder.path("ring.png");
    symlink("ring.png", &ring).expect("made");
    assert!(refused(&["filter", &input, "--window", "sobel", "-o", &ring]).contains("links"));
    fs::write(&out, "old").expect("written");
    fs::set_permissions(&out, PermissionsExt::from_mode(0o444)).expect("set");
    // Root may write anything.
    if fs::OpenOptions::new().append(true).open(&out).is_err() {
        let says = refused(&["filter", &input, "--window", "sobel", "-o", &out]);
        assert!(says.contains("out.png: cannot be written: Permission denied"), "{says}");
        assert_eq!(fs::read(&out).expect("it is there"), b"old");
    }
}

/// All or nothing, where the second of two files fails.
#[test]
fn a_failed_second_output_leaves_nothing_of_the_first() {
    let folder = Folder::new();
    let (input, out) = picture(&folder);
    let args = ["filter", &input, "--window", "sobel", "-o", &out, "--npy"];
    assert!(refused(&[&args[..], &["/dev/full"]].concat()).contains("No space left"));
    assert!(folder.files().is_empty());
    // The picture is below the limit of 1 kB, the array is not.
    let npy = folder.path("out.npy");
    let limited = || {
        let script = "ulimit -f 1; exec \"$0\" \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script, env!("CARGO_BIN_EXE_convc")]).args(args).arg(&npy);
        command.output().expect("bash starts")
    };
    let says = String::from_utf8_lossy(&limited().stderr).into_owned();
    assert!(says.contains("out.npy: cannot be written: File too large"), "{says}");
    assert!(folder.files().is_empty());
    fs::write(&out, "old").expect("written");
    assert_eq!(limited().status.code(), Some(2));
    assert_eq!(
        (folder.files(), fs::read(&out).expect("kept")),
        (vec!["out.png".into()], b"old".into())
    );
}

/// Whoever starts tests in the background may have them ignore ctrl-C.
fn is_ignored(signal: &str) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    signal == "INT" && mask.is_some_and(|mask| mask & 2 != 0)
}

/// Ends `run` with a signal after longer and longer.
fn killed(signal: &str, is_there: bool) {
    let folder = Folder::new();
    let x = folder.array("x.npy", &[1, 1, 400_000]);
    let (w, y) = (folder.array("w.npy", &[1, 1, 1]), folder.path("y.npy"));
    let whole = ok(&["run", "-i", &x, "-w", &w, "-o", &y]);
    let whole = (whole.len(), fs::read(&y).expect("written").len() as u64).1;
    let mut ended = 0;
    for turn in 0..60 {
        let _ = fs::remove_file(&y);
        if is_there {
            fs::write(&y, "old").expect("written");
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_convc"))
            .args(["run", "-i", &x, "-w", &w, "-o", &y])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_micros(turn * 500));
        let id = child.id().to_string();
        let _ = Command::new("kill").args(["-s", signal, &id]).stderr(Stdio::null()).status();
        let status = child.wait().expect("it ends");
        ended += u32::from(!status.success());
        let found = fs::metadata(&y).map(|found| found.len()).ok();
        let old = is_there.then_some(3);
        assert!(found == Some(whole) || found == old, "{signal}, turn {turn}: {found:?}");
        let left: Vec<String> =
            folder.files().into_iter().filter(|name| name.starts_with('.')).collect();
        // For a moment a file that replaces another has a name of its own; of what ends a program
        // only SIGKILL does not wait.
        assert!(
            left.is_empty() || (signal == "KILL" && is_there),
            "{signal}, turn {turn}: {left:?}"
        );
    }
    assert!(ended > 0 || is_ignored(signal), "{signal} came too late every time");
}

#[test]
fn whoever_is_killed_while_writing_leaves_nothing_behind() {
    for signal in ["INT", "TERM", "KILL"] {
        killed(signal, false);
        killed(signal, true);
    }
}

#[test]
fn results_go_to_standard_output_and_remarks_to_stderr() {
    let folder = Folder::new();
    let (input, out) = picture(&folder);
    ok(&["filter", &input, "--window", "sobel", "-o", &out]);
    let piped = convc(&["filter", &input, "--window", "sobel", "-o", "-"]);
    assert!(piped.status.success());
    assert!(piped.stdout == fs::read(&out).expect("written"));
    assert!(String::from_utf8_lossy(&piped.stderr).contains("picture  16 x 16, grey"));
    assert_eq!(folder.files(), ["out.png"]);
    let both = refused(&["filter", &input, "--window", "sobel", "-o", "-", "--npy", "-"]);
    assert!(both.contains("standard output takes one output"), "{both}");
}
