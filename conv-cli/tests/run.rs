//! `convc run`: sizes, types and orders come from the arrays, and results are right.

mod common;

use common::{Folder, auto, convc, le, npy, ok, read, refused, routes};

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

/// As `explain` and `emit` take it, in the type of the input.
#[test]
fn a_weight_may_be_numbers_in_brackets() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[1, 1, 5]);
    let args = ["--input", &input, "--weight", "[[[1,10,100]]]"];
    gives(&folder, &args, "(1, 1, 3)", &[210.0, 321.0, 432.0]);
    let line = folder.array("line.npy", &[5]);
    gives(&folder, &["-i", &line, "-w", "[1, 10, 100]"], "(3,)", &[210.0, 321.0, 432.0]);
    let bytes = folder.write("u.npy", &npy("|u1", false, &[1, 1, 3], &[1, 2, 3]));
    let out = folder.path("y.npy");
    ok(&["run", "-i", &bytes, "-w", "[[[1, -1]]]", "-o", &out]);
    let refused = refused(&["run", "-i", &bytes, "-w", "[[[0.5]]]", "-o", &out]);
    assert!(refused.contains("--weight: beside integers its numbers must be whole"), "{refused}");
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

/// A window that looks for the greatest value, say: padding must not make NaN of it.
#[test]
fn infinite_weights_over_padding_have_no_effect() {
    let folder = Folder::new();
    let input = folder.write("x.npy", &npy("<f4", false, &[1, 1, 4, 4], &le(&[1.0; 16])));
    let mut window = [1.0; 9];
    window[0] = f32::NEG_INFINITY;
    let weight = folder.write("w.npy", &npy("<f4", false, &[1, 1, 3, 3], &le(&window)));
    let args = ["--input", &input, "--weight", &weight, "--padding", "1"];
    let minus = f32::NEG_INFINITY;
    let mut output = [minus; 16];
    output[..5].copy_from_slice(&[4.0, 6.0, 6.0, 4.0, 6.0]);
    (output[8], output[12]) = (6.0, 4.0);
    gives(&folder, &args, "(1, 1, 4, 4)", &output);
    for route in routes() {
        let (out, chain) = (folder.path("c.npy"), "conv2d in 4x4 kernel 3 pad 1");
        let args = [chain, "--input", &input, "--weight", &weight];
        ok(&[&["run", "-o", &out, "--route", route][..], &args].concat());
        assert_eq!(read(&out).1, output, "{route}");
    }
    // What is not finite is not compiled in, so that nothing else is found in it.
    gives(&folder, &[&args[..], &["--accuracy", "fast"]].concat(), "(1, 1, 4, 4)", &output);
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
            "run", chain, "--input", &x, "--weight", &dw, "--weight", &pw, "--bias", &b, "--route",
            route, "-o", &y,
        ]);
        std::fs::read(y).expect("it was written")
    };
    for route in ["auto", "interp", "cranelift"] {
        assert!(run(route) == run("reference"), "{route}");
    }
}

/// Names take the sizes of the input, of every step, and the bits are those of known sizes.
#[test]
fn a_description_may_leave_sizes_to_the_arrays() {
    let folder = Folder::new();
    let (x, dw, pw) = (
        folder.array("x.npy", &[2, 4, 9, 7]),
        folder.array("dw.npy", &[4, 1, 3, 3]),
        folder.array("pw.npy", &[3, 4, 1, 1]),
    );
    let steps = "kernel 3 pad 1 stride 2, relu; conv2d oc3 kernel 1";
    let run = |sizes: &str, route: &str| {
        let (y, text) = (folder.path("y.npy"), format!("conv2d g4 ic4 oc4 {sizes} {steps}"));
        ok(&["run", &text, "-i", &x, "-w", &dw, "-w", &pw, "--route", route, "-o", &y]);
        read(&y)
    };
    let known = run("n2 in 9x7", "reference");
    assert!(known.0.contains("(2, 3, 5, 4)"), "{}", known.0);
    for route in routes() {
        assert_eq!(run("nN in HxW", route), known, "{route}");
    }
    assert_eq!(run("n2 in Hx7", "auto"), known);
    let one = ["run", "conv2d nN ic4 oc3 in HxW kernel 1", "-i", &x, "-w", &pw];
    let refused = |more: &[&str], part: &str| {
        let says = common::refused(&[&one[..], &["-o", &folder.path("y.npy")], more].concat());
        assert!(says.contains(part), "{says}");
    };
    refused(&["--stride", "2"], "either a DESCRIPTION or flags");
    refused(&["-w", &pw], "--weight is given 2 times, but 1 needed: one for each step");
    refused(&["-b", &pw], "--bias is given 1 times, but 0 needed: one for each step with + bias");
    refused(&["--residual", &x], "say '+ residual' in it");
    let batch = ["run", "conv2d ic4 oc3 in HxW kernel 1", "-i", &x, "-w", &pw, "-o", &x];
    let says = common::refused(&[&batch[..7], &[&folder.path("y.npy")]].concat());
    let part = "the input has shape [2, 4, 9, 7], but must have [1, 4, 9, 7]";
    assert!(says.contains(part), "{says}");
}

#[test]
fn a_description_must_fit_its_arrays() {
    let folder = Folder::new();
    let (x, w) = (folder.array("x.npy", &[1, 1, 5, 6]), folder.array("w.npy", &[1, 1, 1, 1]));
    let run = |text: &str, more: &[&str]| {
        let y = folder.path("y.npy");
        convc(&[&["run", text, "-i", &x, "-w", &w, "-o", &y], more].concat())
    };
    let says = |text| String::from_utf8_lossy(&run(text, &[]).stderr).into_owned();
    assert!(says("conv2d f64 in HxW kernel 1").contains("is of f64: say f32 in it"));
    assert!(says("conv1d in L kernel 1").contains("the input has 4 axes [1, 1, 5, 6], but 1"));
    assert!(says("conv2d in HxW kernel 1 + residual").contains("--residual R.npy"));
    let adds = "conv2d in HxW kernel 1 + residual";
    assert!(run(adds, &["--residual", &x]).status.success());
}

/// The same bits of integers, and it says what it did.
#[test]
fn a_window_of_low_rank_may_run_as_two() {
    let folder = Folder::new();
    let x = folder.array("x.npy", &[1, 1, 64, 64]);
    let window: Vec<f32> =
        (0..225).map(|at| ((at / 15 % 3 + 1) * (at % 15 % 2 + 1)) as f32).collect();
    let w = folder.write("w.npy", &npy("<f4", false, &[1, 1, 15, 15], &le(&window)));
    let run = |accuracy: &str| {
        let y = folder.path("y.npy");
        let args = ["run", "-i", &x, "-w", &w, "--padding", "7", "--accuracy", accuracy, "-o", &y];
        (ok(&args), read(&y))
    };
    let (exact, fast) = (run("exact"), run("fast"));
    assert!(fast.0.contains("; ") && !exact.0.contains("; "), "{}", fast.0);
    assert!(fast.1.0 == exact.1.0 && fast.1.1.len() == exact.1.1.len());
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs();
    assert!(fast.1.1.iter().zip(&exact.1.1).all(near));
}

/// A sum of neighbours shows which axes are which.
#[test]
fn arrays_may_leave_out_batch_and_channel() {
    let folder = Folder::new();
    let ones = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        folder.write(name, &npy("<f4", false, shape, &le(&vec![1.0; count])))
    };
    let array = |shape: &[usize]| folder.array("x.npy", shape);
    let weight = ones("w.npy", &[1, 1, 1, 2]);
    let plane = array(&[2, 3]);
    gives(&folder, &["-i", &plane, "-w", &weight], "(2, 2)", &[1.0, 3.0, 7.0, 9.0]);
    gives(&folder, &["-i", &plane, "-w", &ones("k.npy", &[1, 2])], "(2, 2)", &[1.0, 3.0, 7.0, 9.0]);
    let line = array(&[3]);
    gives(&folder, &["-i", &line, "-w", &ones("k.npy", &[2])], "(2,)", &[1.0, 3.0]);
    gives(&folder, &["-i", &line, "-w", &ones("k.npy", &[2, 1, 2])], "(2, 2)", &[1., 3., 1., 3.]);
    let channels = array(&[2, 1, 3]);
    let both = ones("k.npy", &[1, 2, 1, 2]);
    gives(&folder, &["-i", &channels, "-w", &both], "(1, 1, 2)", &[8.0, 12.0]);
    let last = ["-w", &both, "--layout", "nhwc"];
    gives(&folder, &[&["-i", &array(&[1, 3, 2])][..], &last].concat(), "(1, 2, 1)", &[6.0, 14.0]);
    let linear = ones("k.npy", &[1, 2]);
    gives(&folder, &["-i", &array(&[1, 2, 1, 2]), "-w", &linear], "(1, 1, 1, 2)", &[2.0, 4.0]);
    let residual = ones("r.npy", &[2, 2]);
    let added = ["-i", &array(&[2, 3]), "-w", &weight, "--residual", &residual];
    gives(&folder, &added, "(2, 2)", &[2.0, 4.0, 8.0, 10.0]);
}

#[test]
fn numpys_words_are_known() {
    let folder = Folder::new();
    let (x, w) = (folder.array("x.npy", &[3]), folder.array("w.npy", &[3]));
    let args = |padding| ["-i", &x, "-w", &w, "--flip", "--padding", padding];
    // np.convolve([0, 1, 2], [0, 1, 2])
    gives(&folder, &args("full"), "(5,)", &[0.0, 0.0, 1.0, 4.0, 4.0]);
    gives(&folder, &args("same"), "(3,)", &[0.0, 1.0, 4.0]);
    gives(&folder, &args("valid"), "(1,)", &[1.0]);
}

#[test]
fn borders_are_folded_as_often_as_they_must() {
    let folder = Folder::new();
    let (x, w) =
        (folder.array("x.npy", &[3]), folder.write("w.npy", &npy("<f4", false, &[1], &le(&[1.0]))));
    let args = |mode| ["-i", &x, "-w", &w, "--padding", "5:0", "--mode", mode];
    gives(&folder, &args("circular"), "(8,)", &[1., 2., 0., 1., 2., 0., 1., 2.]);
    gives(&folder, &args("reflect"), "(8,)", &[1., 0., 1., 2., 1., 0., 1., 2.]);
    gives(&folder, &args("symmetric"), "(8,)", &[1., 2., 2., 1., 0., 0., 1., 2.]);
}

#[test]
fn a_weight_may_be_a_tensor_of_a_model() {
    let folder = Folder::new();
    let x = folder.array("x.npy", &[3]);
    let head = br#"{"conv.weight":{"dtype":"F32","shape":[1,1,2],"data_offsets":[0,8]}}"#;
    let mut model = (head.len() as u64).to_le_bytes().to_vec();
    model.extend(head);
    model.extend(le(&[10.0, 1.0]));
    let place = format!("{}#conv.weight", folder.write("model.safetensors", &model));
    gives(&folder, &["-i", &x, "-w", &place], "(2,)", &[1.0, 12.0]);
    let model = folder.path("model.safetensors");
    let same = convc(&["run", "-i", &x, "-w", &place, "-o", &model]);
    assert!(String::from_utf8_lossy(&same.stderr).contains("is the same file as the input"));
}

#[test]
fn arrays_come_and_go_through_pipes() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let (x, w) = (folder.array("x.npy", &[5]), folder.array("w.npy", &[2]));
    let y = folder.path("y.npy");
    ok(&["run", "-i", &x, "-w", &w, "-o", &y]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_convc"))
        .args(["run", "-i", "-", "-w", &w, "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let input = std::fs::read(&x).expect("written");
    child.stdin.take().expect("piped").write_all(&input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stdout == std::fs::read(&y).expect("written"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("f32 [4], route"));
}

/// Nor do as many channels as a description can have abort: memory that is not there is an error.
#[test]
fn a_lone_window_for_more_channels_than_memory_holds_is_refused() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[1, 1, 3, 3]);
    let weight = folder.write("w.npy", &npy("<f4", false, &[3, 3], &le(&[1.0; 9])));
    let (text, out) = ("conv2d oc1000000000000 in 3x3 kernel 3", folder.path("y.npy"));
    let said = refused(&["run", text, "-i", &input, "-w", &weight, "-o", &out]);
    assert!(said.contains("bytes of memory, more than there is"), "{said}");
}

#[test]
fn two_roundings_are_computed_by_one_route() {
    let folder = Folder::new();
    let input = folder.array("x.npy", &[1, 1, 5]);
    let weight = folder.write("w.npy", &npy("<f4", false, &[1, 1, 3], &le(&[1.0; 3])));
    let out = folder.path("y.npy");
    let args = ["run", "-i", &input, "-w", &weight, "-o", &out, "--accuracy", "unfused"];
    for route in ["reference", "interp", "avx2", "avx512"] {
        let said = refused(&[&args[..], &["--route", route]].concat());
        assert!(said.contains("leave the route out"), "{route}: {said}");
    }
    assert!(ok(&args).contains("cranelift"));
}

#[test]
fn a_program_takes_and_gives_several_arrays() {
    let folder = Folder::new();
    let (x, mask) = (folder.array("x.npy", &[1, 1, 4]), folder.array("m.npy", &[1, 1, 4]));
    let (y, z) = (folder.path("y.npy"), folder.path("z.npy"));
    let text = "conv1d in W kernel 1; input1d ic1 in W; conv1d kernel 1 from 1,2; outputs 1,3";
    let described = ["run", text, "-w", "[[[2]]]", "-w", "[[[1], [10]]]", "-i", &x];
    for route in routes() {
        let all = ["-i", &mask, "-o", &y, "-o", &z, "--route", route];
        ok(&[&described[..], &all].concat());
        assert_eq!(read(&y).1, [0.0, 2.0, 4.0, 6.0], "{route}");
        assert_eq!(read(&z).1, [0.0, 12.0, 24.0, 36.0], "{route}");
    }
    let said = refused(&[&described[..], &["-o", &y, "-o", &z]].concat());
    let why = "--input is given 1 times, but 2 needed: one for each input of the program";
    assert!(said.contains(why), "{said}");
    let said = refused(&[&described[..], &["-i", &mask, "-o", &y]].concat());
    assert!(said.contains("--output is given 1 times, but 2 needed"), "{said}");
    let short = folder.array("short.npy", &[1, 1, 3]);
    let said = refused(&[&described[..], &["-i", &short, "-o", &y, "-o", &z]].concat());
    assert!(said.contains("short.npy: W is 3 here, but 4 in"), "{said}");
    assert!(said.contains("x.npy: a name is one size of all inputs"), "{said}");
}
