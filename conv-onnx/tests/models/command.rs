//! The program: what it prints and writes, and its exit status.

use std::path::Path;
use std::process::{Command, Output};

use crate::graph::{Graph, numbers};

/// A model whose output's name has a `/`.
fn model(folder: &Path) -> String {
    let mut graph = Graph::new(&[0, 2, 0, 0]);
    let y = graph.conv("x", [2, 3], 3, 1);
    let y = graph.node("Relu", &[&y], vec![]);
    let y = graph.node("Softmax", &[&y], vec![]);
    let path = folder.join("small.onnx");
    std::fs::write(&path, graph.bytes(&[&y])).expect("written");
    path.display().to_string()
}

fn convc(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_convc-onnx");
    Command::new(program).args(arguments).output().expect("it starts")
}

fn told(arguments: &[&str]) -> String {
    let output = convc(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn refused(arguments: &[&str]) -> String {
    let output = convc(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn explain_names_what_is_compiled_and_what_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let text = told(&["explain", &model, "--size", "x=1x2x8x8"]);
    for part in [
        "inputs    x [1, 2, 8, 8]",
        "1 convolutions and 0 pools in 1 nodes",
        "1 relu",
        "Softmax",
        "conv2d",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(told(&["explain", &model, "--size", "x=1x2x8x8", "--all"]).contains("Source"));
}

/// A program of several groups shows each of them, and they line up.
#[test]
fn explain_shows_the_groups_of_a_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut graph = Graph::new(&[0, 2, 0, 0]);
    let a = graph.conv("x", [2, 3], 3, 1);
    let (b, c) = (graph.conv(&a, [3, 3], 3, 1), graph.conv(&a, [3, 3], 3, 1));
    let y = graph.node("Add", &[&b, &c], vec![]);
    let model = folder.path().join("branches.onnx").display().to_string();
    std::fs::write(&model, graph.bytes(&[&y])).expect("written");
    let text = told(&["explain", &model, "--size", "x=1x2x8x8"]);
    let at = text.find("a program in ").unwrap_or_else(|| panic!("no program in\n{text}"));
    let rest = &text[at..];
    let parts: Vec<&str> = rest.lines().skip(1).take_while(|line| line.starts_with("  ")).collect();
    assert!(parts.len() > 1 && parts.iter().all(|line| line.contains("conv")), "{text}");
}

/// tract alone has no operators of ONNX Runtime's, and the line says what to do.
#[test]
fn operators_that_tract_has_not_are_named() {
    let says = refused(&["bench", "tests/data/qoperator.onnx", "--route", "tract"]);
    assert!(says.contains("leave the route tract out"), "{says}");
    assert_eq!(says.lines().count(), 1, "{says}");
}

#[test]
fn run_writes_a_file_an_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let x = folder.path().join("x.npy");
    let bytes = conv_files::encode(&[1, 2, 5, 4], &numbers(40, 1)).expect("bytes");
    std::fs::write(&x, bytes).expect("written");
    let (input, out) = (format!("x={}", x.display()), folder.path().join("out"));
    let text = told(&["run", &model, "--input", &input, "-o", &out.display().to_string()]);
    assert!(text.starts_with("Softmax/2: f32 [1, 3, 5, 4] in "), "{text}");
    let output = conv_files::read_npy(&out.join("Softmax_2.npy")).expect("an array");
    assert_eq!(output.shape, [1, 3, 5, 4]);
    let row: f32 = output.values::<f32>()[..4].iter().sum();
    assert!((row - 1.0).abs() < 1e-5);
    let names: Vec<_> = std::fs::read_dir(&out).expect("a folder").collect();
    assert_eq!(names.len(), 1);
}

/// As a model of speech takes its sampling rate: `np.save('n.npy', np.array([..]))`.
#[test]
fn whole_numbers_and_truths_keep_their_types() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut graph = Graph::new(&[1, 2, 4, 4]);
    graph.longs_input("n", &[3]);
    let y = graph.conv("x", [2, 3], 3, 1);
    let two = graph.longs_constant(&[2]);
    let sum = graph.node("Add", &["n", &two], vec![]);
    let is_equal = graph.node("Equal", &["n", &two], vec![]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let model = path("typed.onnx");
    std::fs::write(&model, graph.bytes(&[&y, &sum, &is_equal])).expect("written");
    let bytes = conv_files::encode(&[1, 2, 4, 4], &numbers(32, 1)).expect("bytes");
    std::fs::write(path("x.npy"), bytes).expect("written");
    let bytes = conv_files::encode(&[3], &[2i64, 16000, (1 << 53) + 1]).expect("bytes");
    std::fs::write(path("n.npy"), bytes).expect("written");
    let (x, n) = (format!("x={}", path("x.npy")), format!("n={}", path("n.npy")));
    let text = told(&["run", &model, "--input", &x, "--input", &n, "-o", &path("out")]);
    assert!(text.contains("i64 [3]") && text.contains("bool [3]"), "{text}");
    let read = |name: &str| {
        let file = folder.path().join("out").join(format!("{}.npy", name.replace('/', "_")));
        conv_files::read_npy_as_is(&file).expect("an array")
    };
    assert_eq!(read(&sum).values::<i64>(), [4, 16002, (1 << 53) + 3]);
    assert_eq!(read(&is_equal).values::<bool>(), [true, false, false]);
}

#[test]
fn numbers_that_an_input_does_not_hold_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut graph = Graph::default();
    graph.longs_input("n", &[2]);
    let two = graph.longs_constant(&[2]);
    let sum = graph.node("Add", &["n", &two], vec![]);
    std::fs::write(path("longs.onnx"), graph.bytes(&[&sum])).expect("written");
    for (numbers, is_held) in [([3.0, -1.0], true), ([3.0, 0.9], false), ([3.0, 1e20], false)] {
        let bytes = conv_files::encode(&[2], &numbers).expect("bytes");
        std::fs::write(path("n.npy"), bytes).expect("written");
        let (model, n) = (path("longs.onnx"), format!("n={}", path("n.npy")));
        let run = |out: &str| convc(&["run", &model, "--input", &n, "-o", out]);
        assert_eq!(run(&path("out")).status.success(), is_held, "{numbers:?}");
        if !is_held {
            let says = String::from_utf8(run(&path("out")).stderr).expect("text");
            assert!(says.contains("which no element of input 'n' is: it is of i64"), "{says}");
        }
        let says = String::from_utf8(run(&path("n.npy")).stderr).expect("text");
        assert!(!is_held || says.contains("is a file; outputs need a directory"), "{says}");
    }
}

#[test]
fn bench_prints_a_table_or_an_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let line = |more: &[&str]| {
        let rest = ["bench", &model, "--size", "x=1x2x8x8", "--time", "0.01"];
        told(&[&rest[..], more].concat())
    };
    assert!(line(&[]).contains("ms median"));
    for route in ["compiled", "tract"] {
        let text = line(&["--format", "json", "--route", route]);
        let object: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(
            (object["model"].as_str(), object["route"].as_str()),
            (Some("small.onnx"), Some(route))
        );
        assert!(object["ms_min"].as_f64() <= object["ms_median"].as_f64());
    }
    for accuracy in ["exact", "fast", "within(1e-4)"] {
        assert!(line(&["--accuracy", accuracy]).contains("ms median"));
    }
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    for (arguments, part) in [
        (vec!["bench", &model], "give its shape, --size x=1x2x640x640"),
        (vec!["bench", &model, "--size", "x=1xtwo"], "'1xtwo' is no shape"),
        (vec!["bench", &model, "--size", "z=1"], "no input 'z'"),
        (vec!["bench", &model, "--size", "x=99999999x2x99999999x9"], "is too large"),
        (vec!["bench", &model, "--size", "x=1x2x4x4", "--time=-1"], "--time -1 is no time"),
        (vec!["run", &model, "-o", "out"], "input 'x' is needed once"),
        (vec!["run", &model, "--input", "x", "-o", "out"], "has no name"),
        (vec!["run", &model, "--input", "x=none.npy", "-o", "out"], "none.npy: cannot be read"),
        (vec!["bench", &model, "--accuracy", "within(0)"], "found `within(0)`, expected"),
        (vec!["explain", "none.onnx"], "none.onnx: cannot be read"),
        (vec!["bench", &model, "--route", "tract", "--threads", "2"], "tract runs on one thread"),
        (vec!["bench", &model, "--accuracy", "unfused"], "expected `exact`, `fast` or `within"),
    ] {
        let message = refused(&arguments);
        assert!(message.starts_with("error: ") && message.contains(part), "{part}: {message}");
    }
}
