//! `convc tune`: a file that is written, gone on with, read by `bench`, and passed over where it
//! was measured elsewhere.

mod common;

use common::{Folder, convc, ok, refused};

const LAYER: &str = "conv2d ic8 oc16 in 9 kernel 3 pad 1 + bias, relu";

fn tune(file: &str, layer: &str) -> String {
    ok(&["tune", layer, "-o", file, "--time", "0.01", "--schedules", "4"])
}

fn value(file: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(file).expect("what was written");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn winners_are_kept_and_used() {
    let folder = Folder::new();
    let file = folder.write("tuned.json", b"{ \"machines\": [] }");
    let text = tune(&file, LAYER);
    assert!(text.starts_with("layer") && text.contains("model ms"), "{text}");
    // What follows the sums does not count, and a layer that is there is replaced.
    tune(&file, "conv2d ic8 oc16 in 9 kernel 3 pad 1");
    tune(&file, "conv2d ic8 oc4 in 9 kernel 1");
    let layers = value(&file)["machines"][0]["layers"].clone();
    let layers = layers.as_array().expect("layers").clone();
    assert_eq!(layers.len(), 2, "{layers:?}");
    assert_eq!(layers[0]["layer"], "conv2d f32 n1 g1 ic8 oc16 in 9x9 kernel 3x3 pad 1:1,1:1");
    let schedule = layers[0]["schedule"].as_str().expect("a schedule");
    let line = ok(&["bench", LAYER, "--time", "0", "--format", "json", "--tuning", &file]);
    assert!(line.contains(&format!("\"schedule\":\"{schedule}\"")), "{line} {schedule}");
    // One that the model does not choose is used as well.
    let other = "lanes none borders exact pack";
    let text = std::fs::read_to_string(&file).expect("the file").replace(schedule, other);
    let file = folder.write("other.json", text.as_bytes());
    let line = ok(&["bench", LAYER, "--time", "0", "--format", "json", "--tuning", &file]);
    assert!(line.contains(other), "{line}");
    // But not if it was measured with another version.
    let text = text.replace("\"version\": \"0.1.0\"", "\"version\": \"0.0.9\"");
    let file = folder.write("old.json", text.as_bytes());
    let output = convc(&["bench", LAYER, "--time", "0", "--format", "json", "--tuning", &file]);
    let says = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (line, note) = (says(&output.stdout), says(&output.stderr));
    assert!(output.status.success() && !line.contains(other), "{line} {note}");
    assert!(note.contains("passed over: 2 layers measured with version 0.0.9"), "{note}");
}

#[test]
fn algorithms_are_kept_too() {
    let folder = Folder::new();
    let file = folder.write("tuned.json", b"{ \"machines\": [] }");
    let layer = "conv2d ic32 oc32 in 32 kernel 3 pad 1";
    let fast = ["--accuracy", "fast", "--time", "0.01", "--schedules", "2"];
    ok(&[&["tune", layer, "-o", &file], &fast[..]].concat());
    let line = value(&file)["machines"][0]["layers"][0].clone();
    assert_eq!(line["accuracy"], "fast");
    assert!(line["algorithm"].as_str().is_some_and(|name| !name.is_empty()), "{line}");
}

#[test]
fn what_cannot_be_tuned_is_refused() {
    let folder = Folder::new();
    let file = folder.write("tuned.json", b"[]");
    let says = refused(&["tune", LAYER, "-o", &file, "--time", "0.01"]);
    assert!(says.contains("is no file of `convc tune`"), "{says}");
    let says = refused(&["bench", LAYER, "--tuning", &file]);
    assert!(says.contains("is no file of `convc tune`"), "{says}");
    let file = folder.write("new.json", b"{ \"machines\": [] }");
    let emitted = ok(&["emit", LAYER, "--as", "rust-type", "--tuning", &file]);
    assert!(emitted.contains("Nothing is measured: the model chooses."), "{emitted}");
    let says = refused(&["tune", LAYER, "-o", &file, "--route", "reference"]);
    assert!(says.contains("only machine code is tuned"), "{says}");
    let says = refused(&["tune", LAYER, "-o", &file, "--accuracy", "unfused"]);
    assert!(says.contains("nothing to tune"), "{says}");
}
