//! `convc run`: sizes, types and orders come from the arrays, and results are right.

mod common;

use common::{Folder, auto, convc, le, npy, ok, read, routes};

/// Runs on every route; all must give the same header and numbers.
#[track_caller]
fn gives(folder: &Folder, args: &[&str], shape: &str, numbers: &[f32]) {
    for route in routes() {
        let out = folder.path("y.npy");
        ok(&[&["run", "-o", &out, "--route", route], args].concat());
        let (header, found) = read(&out);
        assert!(
            header.contains(&format!("'descr': '<f4', 'fortran_order': False, 'shape': {shape}")),
            "{route}: {header}"
        );
        assert_eq!(found, numbers, "{route}");
    }
}

#[test]
fn a_window_slides_over_rows() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[1, 1, 5]);
    let weight = folder.write("w.npy", &npy("<f4", false, &[1, 1, 3], &le(&[1.0, 10.0, 100.0])));
    gives(&folder, &["--input", &input, "--weight", &weight], "(1, 1, 3)", &[210.0, 321.0, 432.0]);
    let flipped = ["--input", &input, "--weight", &weight, "--flip", "--padding", "1:0"];
    gives(&folder, &flipped, "(1, 1, 4)", &[1.0, 12.0, 123.0, 234.0]);
}

#[test]
fn every_parameter_is_heard() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[1, 2, 3, 3]);
    let weight =
        folder.write("w.npy", &npy("<f4", false, &[2, 1, 1, 2], &le(&[1.0, 1.0, 1.0, -1.0])));
    let bias = folder.write("b.npy", &npy("<f4", false, &[2], &le(&[0.5, 0.0])));
    let residual = folder.write(
        "r.npy",
        &npy("<f4", false, &[1, 2, 2, 2], &le(&[0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0])),
    );
    let args = [
        &["--input", &input, "--weight", &weight, "--bias", &bias, "--residual", &residual][..],
        &["--groups", "2", "--stride", "2,1", "--activation", "relu"],
    ];
    gives(&folder, &args.concat(), "(1, 2, 2, 2)", &[1.5, 3.5, 13.5, 15.5, 0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn two_by_two_transposed_gives_four_and_five() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[1, 1, 2, 2]);
    let weight = folder.write("w.npy", &npy("<f4", false, &[1, 1, 3, 3], &le(&[1.0; 9])));
    let four = [0.0, 1.0, 1.0, 1.0, 2.0, 6.0, 6.0, 4.0, 2.0, 6.0, 6.0, 4.0, 2.0, 5.0, 5.0, 3.0];
    gives(
        &folder,
        &["--input", &input, "--weight", &weight, "--transposed"],
        "(1, 1, 4, 4)",
        &four,
    );
    let out = folder.path("y.npy");
    let text = ok(&[
        "run",
        "--input",
        &input,
        "--weight",
        &weight,
        "--transposed",
        "--stride",
        "2",
        "-o",
        &out,
    ]);
    assert!(text.contains(&format!("f32 [1, 1, 5, 5], route {}", auto())), "{text}");
}

#[test]
fn channels_may_stand_last() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[1, 3, 2]);
    let weight = folder.write("w.npy", &npy("<f4", false, &[1, 2, 1], &le(&[1.0, 10.0])));
    let args = ["--input", &input, "--weight", &weight, "--layout", "nwc"];
    gives(&folder, &args, "(1, 3, 1)", &[10.0, 32.0, 54.0]);
}

#[test]
fn columns_first_and_highest_byte_first_are_read_rightly() {
    let folder = Folder::new();
    let weight = folder.write("w.npy", &npy("<f4", false, &[1, 1, 1, 1], &le(&[1.0])));
    let columns = folder
        .write("f.npy", &npy("<f4", true, &[1, 1, 2, 3], &le(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0])));
    let bytes: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_be_bytes()).collect();
    let big = folder.write("b.npy", &npy(">f4", false, &[1, 1, 2, 3], &bytes));
    for input in [columns, big] {
        gives(
            &folder,
            &["--input", &input, "--weight", &weight],
            "(1, 1, 2, 3)",
            &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        );
    }
}

#[test]
fn doubles_stay_doubles() {
    let folder = Folder::new();
    let doubles =
        |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let input = folder.write("x.npy", &npy("<f8", false, &[1, 1, 2], &doubles(&[1.0, 1e-12])));
    let weight = folder.write("w.npy", &npy("<f8", false, &[1, 1, 2], &doubles(&[1.0, 1.0])));
    for route in routes() {
        let out = folder.path("y.npy");
        let text =
            ok(&["run", "--input", &input, "--weight", &weight, "-o", &out, "--route", route]);
        assert!(text.contains("f64 [1, 1, 1]"), "{text}");
        let bytes = std::fs::read(out).expect("written");
        assert_eq!(bytes[bytes.len() - 8..], (1.0 + 1e-12f64).to_le_bytes(), "{route}");
    }
}

#[test]
fn an_empty_batch_gives_an_empty_result() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[0, 2, 4, 4]);
    let weight = folder.array("w.npy", &[3, 2, 3, 3]);
    gives(&folder, &["--input", &input, "--weight", &weight], "(0, 3, 2, 2)", &[]);
}

#[test]
fn threads_change_no_bit() {
    let folder = Folder::new();
    let (input, weight) =
        (folder.array("x.npy", &[2, 3, 17, 13]), folder.array("w.npy", &[5, 3, 3, 3]));
    let results = ["1", "2", "7"].map(|threads| {
        let out = folder.path(threads);
        ok(&[
            "run",
            "--input",
            &input,
            "--weight",
            &weight,
            "--padding",
            "1",
            "--threads",
            threads,
            "-o",
            &out,
        ]);
        std::fs::read(out).expect("written")
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[cfg(unix)]
#[test]
fn a_device_is_written_to_and_not_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let folder = Folder::new();
    let (input, weight) = (folder.array("x.npy", &[1, 1, 3]), folder.array("w.npy", &[1, 1, 3]));
    let output = convc(&["run", "--input", &input, "--weight", &weight, "-o", "/dev/null"]);
    assert!(output.status.success());
    assert!(std::fs::metadata("/dev/null").is_ok_and(|found| found.file_type().is_char_device()));
}

#[test]
fn a_chain_runs_on_every_route_alike() {
    let folder = Folder::new();
    let (x, dw, pw, b) = (
        folder.array("x.npy", &[1, 4, 9, 9]),
        folder.array("dw.npy", &[4, 1, 3, 3]),
        folder.array("pw.npy", &[16, 4, 1, 1]),
        folder.array("b.npy", &[16]),
    );
    let chain = "conv2d g4 ic4 oc4 in 9 kernel 3 pad 1, relu; conv2d oc16 kernel 1 + bias";
    let run = |route: &str| {
        let y = folder.path(&format!("{route}.npy"));
        ok(&[
            "run", "--input", &x, "--weight", &dw, "--weight", &pw, "--bias", &b, "--chain", chain,
            "--route", route, "-o", &y,
        ]);
        std::fs::read(y).expect("it was written")
    };
    for route in ["auto", "interp", "cranelift"] {
        assert!(run(route) == run("reference"), "{route}");
    }
    let few = convc(&["run", "-i", &x, "-w", &dw, "--chain", chain, "-o", &folder.path("y.npy")]);
    let says = String::from_utf8_lossy(&few.stderr).into_owned();
    assert!(
        says.contains("--weight is given 1 times, but the chain has 2: one file for each step"),
        "{says}"
    );
}
