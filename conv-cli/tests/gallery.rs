//! `convc gallery` and `convc explain --svg`: the pictures in the repository are those that are
//! drawn, and any picture is small and well formed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Folder, file, ok, refused};

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let page =
        ("GALLERY.md".to_owned(), fs::read_to_string(folder.join("GALLERY.md")).expect("the page"));
    let pictures = fs::read_dir(folder.join("gallery")).expect("the pictures").map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        (format!("gallery/{name}"), fs::read_to_string(entry.path()).expect("text"))
    });
    pictures.chain([page]).collect()
}

#[test]
fn the_gallery_in_the_repository_is_what_is_drawn() {
    let folder = Folder::new();
    assert_eq!(ok(&["gallery", &folder.path("")]), "");
    let (drawn, kept) = (files(folder.0.path()), files(Path::new(&file("../docs"))));
    let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&drawn), names(&kept), "run `convc gallery docs`");
    for (name, text) in &drawn {
        assert!(
            kept[name] == *text,
            "{name} is drawn differently: run `convc gallery docs` and look at it"
        );
    }
    assert!(drawn.len() > 12);
}

#[test]
fn pictures_of_anything_are_small_and_well_formed() {
    let folder = Folder::new();
    let out = folder.path("x.svg");
    for convs in [
        &["conv2d ic3 oc64 in 4096 kernel 3 pad 1"][..],
        &["conv2d in 4096 kernel 301 pad 150"],
        &["conv2d in 300 kernel 101 dilation 2"],
        &["conv2d-transposed in 300 kernel 400 stride 2"],
        &["conv2d in 9x1 kernel 3x1 stride 4x1"],
        &["conv1d in 100000 kernel 9 stride 3"],
        &["conv1d in 100000 kernel 5000"],
        &["conv1d-transposed in 20 kernel 4 stride 3 dilation 5"],
        &["conv3d in 200 kernel 3", "conv3d in 198 kernel 150"],
        &[
            "conv2d in 64 kernel 3 stride 2",
            "conv2d in 31 kernel 3 stride 2",
            "conv2d-transposed in 15 kernel 5 stride 4",
        ],
        &["conv2d-transposed in 5 kernel 1 stride 3"],
    ] {
        ok(&[&["explain", "--svg", &out], convs].concat());
        well_formed(&out, convs);
    }
    for convs in [
        &["conv2d ic512 oc2048 g64 in 300 kernel 7"][..],
        &["conv1d ic2 oc3 in 9 kernel 3"],
        &["conv2d ic96 oc96 g96 in 56 kernel 3 pad 1", "conv2d ic96 oc24 in 56 kernel 1"],
    ] {
        ok(&[&["explain", "--svg", &out, "--view", "channels"], convs].concat());
        well_formed(&out, convs);
    }
}

fn well_formed(path: &str, what: &[&str]) {
    let text = fs::read_to_string(path).expect("a picture");
    assert!(text.len() < 250_000, "{what:?}: {} bytes", text.len());
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{what:?}");
    assert!(!text.contains("NaN") && !text.contains("inf"), "{what:?}");
    // Nothing from elsewhere, nothing that runs.
    assert!(!text.contains("href") && !text.contains("<script"), "{what:?}");
}

#[test]
fn what_cannot_be_drawn_is_refused_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let out = folder.path("x.svg");
    for (convs, says) in [
        (&["conv2d in HxW kernel 3"][..], "a size is known only at run time"),
        (&["conv4d in 5 kernel 3"], "at most 3 spatial axes, but there are 4"),
        (
            &["conv2d in 9 kernel 3", "conv2d in 9 kernel 3"],
            "convolution 2 takes a height of 9, but convolution 1 makes 7",
        ),
        (
            &["conv2d in 9 kernel 3", "conv2d ic2 in 7 kernel 3"],
            "convolution 2 takes channels: 2, but convolution 1 makes 1",
        ),
        (&["conv1d in 400000 kernel 200000"], "too large to count"),
        (&["conv2d in 9 kernel 3", "--view", "block"], "possible values"),
        (
            &["conv3d in 9 kernel 3", "--view", "channels"],
            "at most 2 spatial axes, but there are 3",
        ),
        (&["conv2d in 9 kernel 3", "--matrix"], "cannot be used with"),
    ] {
        let stderr = refused(&[&["explain", "--svg", &out], convs].concat());
        assert!(stderr.contains(says), "{convs:?}: {stderr}");
    }
    let missing = folder.path("no/such.svg");
    assert!(
        refused(&["explain", "conv2d in 9 kernel 3", "--svg", &missing])
            .contains("there is no directory")
    );
    assert!(refused(&["explain", "conv2d in 9 kernel 3", "--view", "channels"]).contains("--svg"));
    assert!(refused(&["gallery", &folder.path("none")]).contains("there is no such folder"));
    assert_eq!(folder.files(), Vec::<String>::new());
}
