//! The guide's page: every command line is run, on a small model.

use std::process::Command;

use crate::graph::{Graph, numbers};

#[test]
fn command_lines_of_the_guide_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut graph = Graph::new(&[0, 3, 0, 0]);
    let y = graph.conv("x", [3, 4], 3, 1);
    std::fs::write(folder.path().join("model.onnx"), graph.bytes(&[&y])).expect("written");
    let x = conv_files::encode(&[1, 3, 32, 32], &numbers(3 * 32 * 32, 1)).expect("bytes");
    std::fs::write(folder.path().join("x.npy"), x).expect("written");
    let page = include_str!("../../../docs/guide/onnx.md");
    let mut count = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("convc-onnx ")) {
        let run = Command::new(env!("CARGO_BIN_EXE_convc-onnx"))
            .args(line.split(' '))
            .current_dir(folder.path())
            .output()
            .expect("it starts");
        assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
        count += 1;
    }
    assert_eq!(count, 4);
    assert!(folder.path().join("outputs/Conv_0.npy").is_file());
}
