//! Every mistake that a user can make with `convc` is answered by a few clear lines and status 2,
//! and leaves no file behind.

mod common;
#[path = "errors/pictures.rs"]
mod pictures;

use common::{Folder, file, le, npy, refused};

/// The call must fail, say all of `parts`, and leave the folder as it was.
#[track_caller]
fn says(folder: &Folder, args: &[&str], parts: &[&str]) {
    let before = folder.files();
    let stderr = refused(args);
    for part in parts {
        assert!(stderr.contains(part), "{args:?}\nmust say: {part}\nbut says: {stderr}");
    }
    assert_eq!(folder.files(), before, "{args:?}");
}

/// `run` on arrays of those shapes.
struct Run {
    folder: Folder,
    args: Vec<String>,
}

impl Run {
    fn new(input: &[usize], weight: &[usize]) -> Run {
        let folder = Folder::new();
        let (input, weight, output) =
            (folder.array("x.npy", input), folder.array("w.npy", weight), folder.path("y.npy"));
        let args = ["run", "--input", &input, "--weight", &weight, "-o", &output]
            .map(str::to_owned)
            .to_vec();
        Run { folder, args }
    }

    #[track_caller]
    fn says(&self, more: &[&str], parts: &[&str]) {
        let args: Vec<&str> =
            self.args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        says(&self.folder, &args, parts);
    }
}

#[test]
fn arrays_must_fit_each_other() {
    Run::new(&[1, 3, 8, 8], &[4, 2, 3, 3]).says(
        &[],
        &[
            "w.npy: the weight has shape [4, 2, 3, 3]",
            "must have [4, 3, 3, 3]",
            "[out, in/groups, kernel..]",
        ],
    );
    Run::new(&[1, 3, 8, 8], &[2, 4, 3, 3]).says(
        &["--transposed"],
        &["w.npy", "must have [3, 4, 3, 3]", "[in, out/groups, kernel..]"],
    );
    Run::new(&[1, 3, 8, 8], &[4, 3, 3])
        .says(&[], &["w.npy: the weight has 3 axes", "the input has 4"]);
    Run::new(&[8], &[3, 3]).says(&[], &["w.npy: the weight has 2 axes", "the input has 1 [8]"]);
    Run::new(&[8, 8], &[3, 3, 3, 3, 3]).says(&[], &["w.npy: the weight has 5 axes"]);
    Run::new(&[1, 3, 6, 6], &[5, 5, 3, 2]).says(
        &[],
        &["must have [5, 3, 3, 2]", "TensorFlow's order", "w.transpose(3, 2, 0, 1) is ours"],
    );
    Run::new(&[1, 4, 8], &[4, 4, 3]).says(&["--groups", "3"], &["groups"]);
    Run::new(&[1, 4, 8], &[4, 4, 3]).says(&["--groups", "0"], &["groups"]);
}

#[test]
fn bias_and_residual_must_fit() {
    let run = Run::new(&[1, 3, 8], &[4, 3, 3]);
    let bias = run.folder.array("b.npy", &[3]);
    run.says(&["--bias", &bias], &["b.npy: the bias has shape [3]", "must have [4]"]);
    let residual = run.folder.array("r.npy", &[1, 4, 8]);
    run.says(
        &["--residual", &residual],
        &["r.npy: the residual has shape [1, 4, 8]", "must have [1, 4, 6]"],
    );
    let doubles = run.folder.write("d.npy", &npy("<f8", false, &[4], &[0; 32]));
    run.says(&["--bias", &doubles], &["d.npy: the bias holds f64", "the input holds f32"]);
}

#[test]
fn parameters_must_make_sense() {
    let run = Run::new(&[1, 1, 8, 8], &[1, 1, 3, 3]);
    run.says(&["--stride", "0"], &["stride"]);
    run.says(&["--stride", "1,2,3"], &["stride", "3", "2"]);
    run.says(&["--dilation", "0"], &["dilation"]);
    run.says(&["--dilation", "9"], &["height", "width"]);
    run.says(&["--dilation", "9223372036854775807"], &["dilation"]);
    run.says(&["--padding", "18446744073709551615"], &["padding"]);
    run.says(&["--padding", "18446744073709551616"], &["--padding", "too large"]);
    run.says(&["--padding", "1,1,1"], &["padding"]);
    run.says(&["--padding", "sane"], &["did you mean `same`"]);
    run.says(&["--padding", "full", "--transposed"], &["is full without padding"]);
    run.says(&["--padding", "-1"], &["--padding"]);
    run.says(&["--padding-mode", "bounce"], &["possible values", "symmetric"]);
    run.says(&["--padding-value", "1"], &["--padding-value needs --padding-mode constant"]);
    run.says(&["--padding-mode", "constant", "--padding-value", "nan"], &["padding"]);
    run.says(&["--padding-mode", "constant", "--padding-value", "inf"], &["padding"]);
    run.says(&["--output-padding", "1"], &["output_padding"]);
    run.says(&["--transposed", "--stride", "2", "--output-padding", "2"], &["output_padding"]);
    run.says(&["--output-size", "4"], &["output_size", "only a transposed convolution"]);
    run.says(&["--transposed", "--stride", "2", "--output-size", "900"], &["it can be from"]);
    run.says(&["--transposed", "--padding", "6"], &["height", "width"]);
    run.says(&["--activation", "rulu"], &["did you mean `relu`?"]);
    run.says(&["--activation", "clamp(2,1)"], &["activation"]);
    run.says(&["--layout", "nchww"], &["layout"]);
    run.says(&["--route", "gpu"], &["possible values", "cranelift"]);
    run.says(&["--threads", "0"], &["from 1 to"]);
    run.says(&["--threads", "99999999999"], &["from 1 to"]);
    run.says(&["--frobnicate"], &["--frobnicate"]);
}

#[test]
fn sizes_must_not_vanish_or_overflow() {
    Run::new(&[1, 1, 2, 2], &[1, 1, 3, 3]).says(&[], &["(2 + 0 + 0 - 3) / 1 + 1"]);
    Run::new(&[1, 1, 0, 4], &[1, 1, 1, 1]).says(&[], &["input"]);
    Run::new(&[1, 0, 4, 4], &[1, 0, 1, 1]).says(&[], &["in_channels"]);
    Run::new(&[1, 1, 4, 4], &[0, 1, 1, 1]).says(&[], &["out_channels"]);
    Run::new(&[1, 1, 4, 4], &[1, 1, 0, 1]).says(&[], &["kernel"]);
    Run::new(&[1, 1, 4], &[1, 1, 3]).says(&["--padding", "4611686018427387904"], &["padding"]);
    Run::new(&[1, 1, 4], &[1, 1, 3])
        .says(&["--transposed", "--stride", "4611686018427387904"], &["stride"]);
}

#[test]
fn arrays_must_be_floats_and_whole() {
    let folder = Folder::new();
    let weight = folder.array("w.npy", &[1, 1, 1]);
    let out = folder.path("y.npy");
    let bad = [
        ("u8.npy", npy("<u8", false, &[1, 1, 2], &[0; 16]), "elements of type '<u8'; bool, int8,"),
        (
            "i8.npy",
            npy("<i8", false, &[1, 1, 1], &(1i64 << 40).to_le_bytes()),
            "holds 1099511627776 as int64; whole numbers are convolved as int32",
        ),
        ("c8.npy", npy("<c8", false, &[1, 1, 2], &[0; 16]), "elements of type '<c8'"),
        ("object.npy", npy("|O", false, &[1, 1, 2], &[0; 16]), "elements of type '|O'"),
        (
            "short.npy",
            npy("<f4", false, &[1, 1, 2], &[0; 5]),
            "is truncated: shape [1, 1, 2] of f32 needs 8 bytes",
        ),
        ("long.npy", npy("<f4", false, &[1, 1, 2], &[0; 9]), "is too long"),
        ("head.npy", b"\x93NUMPY\x01\0\x80\0{'descr'".to_vec(), "ends inside its header"),
        (
            "huge.npy",
            npy("<f4", false, &[1 << 40, 1 << 40], &[]),
            "more elements than memory can hold",
        ),
        ("zip.npy", b"PK\x03\x04".to_vec(), "is not a .npy file"),
        ("empty.npy", Vec::new(), "is not a .npy file"),
    ];
    for (name, bytes, part) in bad {
        let input = folder.write(name, &bytes);
        says(&folder, &["run", "--input", &input, "--weight", &weight, "-o", &out], &[name, part]);
    }
    says(
        &folder,
        &["run", "--input", &folder.path("none.npy"), "--weight", &weight, "-o", &out],
        &["none.npy: cannot be read"],
    );
}

#[test]
fn outputs_must_be_writable() {
    let folder = Folder::new();
    let (input, weight) = (folder.array("x.npy", &[1, 1, 4]), folder.array("w.npy", &[1, 1, 1]));
    let nowhere = folder.path("no/such/y.npy");
    says(
        &folder,
        &["run", "--input", &input, "--weight", &weight, "-o", &nowhere],
        &["there is no directory"],
    );
    let itself = folder.path("");
    says(
        &folder,
        &["run", "--input", &input, "--weight", &weight, "-o", &itself],
        &["is a directory"],
    );
    let below_a_file = format!("{input}/y.npy");
    says(
        &folder,
        &["run", "--input", &input, "--weight", &weight, "-o", &below_a_file],
        &["there is no directory"],
    );
    says(
        &folder,
        &["emit", "--size", "4", "--kernel", "3", "--as", "nest", "-o", &nowhere],
        &["there is no directory"],
    );
}

#[test]
fn descriptions_must_be_readable() {
    let folder = Folder::new();
    for command in [&["explain"][..], &["emit", "--as", "nest"]] {
        let says = |more: &[&str], parts: &[&str]| says(&folder, &[command, more].concat(), parts);
        says(&[], &["DESCRIPTION"]);
        says(&["conv2d in 8 kernal 3"], &["column 13", "kernal"]);
        says(&["conv2d in 8x8x8 kernel 3"], &["`in` has 3 sizes, but conv2d has 2 axes"]);
        says(&["ih8kx3"], &["benchdnn"]);
        says(&["conv2d in 2 kernel 3"], &["(2 + 0 + 0 - 3) / 1 + 1"]);
        says(
            &["conv2d in 8 kernel 3", "--stride", "2"],
            &["either a DESCRIPTION or flags, not both"],
        );
        says(&["--size", "8x8"], &["both --size and --kernel"]);
        says(&["--kernel", "3"], &["both --size and --kernel"]);
        says(&["--size", "8xx8", "--kernel", "3"], &["neither a whole number nor a name"]);
        says(&["--size", "8x8", "--kernel", "3x3x3"], &["kernel"]);
        says(&["--size", "8", "--kernel", "3", "--type", "f8"], &["f8"]);
        says(
            &["--size", "99999999999", "--kernel", "3", "--in-channels", "9999999999"],
            &["input"],
        );
        says(&["--size", "0", "--kernel", "1"], &["input"]);
    }
}

#[test]
fn passes_and_stacks_must_make_sense() {
    let folder = Folder::new();
    let conv = "conv2d in 8 kernel 3";
    says(
        &folder,
        &["explain", conv, "--after", "magic"],
        &["there is no pass 'magic'", "lower, canonicalise, phases"],
    );
    says(&folder, &["explain", conv, "--after", "tile", "--all"], &["cannot be used with"]);
    for more in [
        &["--all"][..],
        &["--leaves"],
        &["--target", "avx2"],
        &["--schedule", "lanes none"],
        &["--accuracy", "fast"],
    ] {
        let args = [&["explain", conv, conv], more].concat();
        says(&folder, &args, &["these convolutions do not follow each other"]);
    }
    let graph = "conv2d ic2 oc2 in 8 kernel 3 pad 1; conv2d oc2 kernel 1 from 0 + residual from 1";
    for more in [["--svg", "graph.svg"], ["--roofline", "150:20"]] {
        let args = [&["explain", graph], &more[..]].concat();
        says(&folder, &args, &["steps in a row", "reads another tensor"]);
    }
    says(
        &folder,
        &["explain", conv, "--target", "sse"],
        &["possible values", "avx512amx, avx512vnni, avx512, avxvnni, avx2, cranelift128"],
    );
    says(&folder, &["explain", conv, "conv1d in 8 kernel 3"], &["spatial axes"]);
    says(
        &folder,
        &["explain", conv, conv, "--matrix"],
        &["--matrix shows one convolution, but several"],
    );
    says(
        &folder,
        &["explain", "conv2d in 99 kernel 3", "--matrix"],
        &["9409 rows and 9801 columns", "up to 16384"],
    );
    says(&folder, &["explain", conv, "--roofline", "150"], &["as in 150:20"]);
    says(
        &folder,
        &["emit", conv, conv, "--as", "nest"],
        &["step 1 gives [1, 1, 6, 6], but step 2 takes [1, 1, 8, 8]"],
    );
    says(
        &folder,
        &["emit", "conv2d", "in", "8", "kernel", "3", "--as", "nest"],
        &["a text form with spaces needs quotes"],
    );
    says(&folder, &["emit", conv], &["--as"]);
    says(&folder, &["emit", conv, "--as", "wasm"], &["possible values", "clif"]);
    says(&folder, &["emit", conv, "--as", "nest", "--schedule", "lanes oc"], &["schedule"]);
    says(
        &folder,
        &["emit", conv, "--as", "nest", "--schedule", "lanes ow:4 tile ow:6"],
        &["schedule: tile ow:6 is no multiple of lanes ow:4"],
    );
    says(&folder, &["emit", conv, "--as", "rust", "--name", "two words"], &["name"]);
    says(
        &folder,
        &["emit", conv, "--as", "asm", "--std", "false"],
        &["--std is about Rust source"],
    );
    says(
        &folder,
        &["emit", conv, "--as", "rust", "--std", "maybe"],
        &["possible values: true, false"],
    );
}

#[test]
fn layer_tables_must_be_readable() {
    let folder = Folder::new();
    const HEAD: &str = "name,family,n,ic,oc,groups,in_spatial,kernel,stride,dilation,pad_lo,pad_hi,transposed,output_padding,bias\n";
    let table = |line: &str| folder.write("layers.csv", format!("{HEAD}{line}\n").as_bytes());
    let bad = [
        ("", "holds no layers"),
        ("a,f,1,1,1,1,8x8,3x3,1x1", "found record with 9 fields"),
        ("a,f,1,1,1,1,8xx8,3x3,1x1,1x1,0x0,0x0,0,0x0,1", "'8xx8' is not numbers separated by x"),
        ("a,f,1,1,1,1,8x8,3x3,1x1,1x1,0x0,0x0,2,0x0,1", "2 is neither 0 nor 1"),
        (
            "a,f,1,1,1,1,8x8,3x3,1x1,1x1,0x0,0,0,0x0,1",
            "layer a: pad_lo has 2 axes, but pad_hi has 1",
        ),
        ("a,f,1,1,1,1,8x8,3x3,1x1x1,1x1,0x0,0x0,0,0x0,1", "layer a: stride"),
        ("a,f,1,3,4,2,8x8,3x3,1x1,1x1,0x0,0x0,0,0x0,1", "layer a: groups"),
        ("a,f,1,1,1,1,2x2,3x3,1x1,1x1,0x0,0x0,0,0x0,1", "layer a:"),
        ("a,f,-1,1,1,1,8x8,3x3,1x1,1x1,0x0,0x0,0,0x0,1", "line: 2"),
    ];
    for (line, part) in bad {
        let path = table(line);
        says(&folder, &["bench", "--layers", &path], &["layers.csv:", part]);
    }
    let path = table("a,f,1,1,1,1,8x8,3x3,1x1,1x1,0x0,0x0,0,0x0,1");
    says(&folder, &["bench", "--layers", &path, "--only", "b"], &["there is no layer 'b'"]);
    says(&folder, &["bench", "--layers", &path, "--threads", "0"], &["from 1 to"]);
    says(&folder, &["bench", "--layers", &path, "--time", "-1"], &["--time"]);
    says(&folder, &["bench", "--layers", &path, "--time", "soon"], &["not a number of seconds"]);
    says(&folder, &["bench", "--layers", &folder.path("none.csv")], &["none.csv: cannot be read"]);
    says(&folder, &["bench", "--layers", "planez"], &["planez: is no file and no table"]);
    let binary = folder.write("binary.csv", &[0xff, 0xfe, 0, 1]);
    says(&folder, &["bench", "--layers", &binary], &["binary.csv:"]);
}

#[test]
fn results_to_compare_with_must_be_well_formed() {
    let folder = Folder::new();
    let layers = file("layers/public.csv");
    let compare = |name: &str, text: &[u8], parts: &[&str]| {
        let path = folder.write(name, text);
        says(&folder, &["bench", "--layers", &layers, "--compare", &path], parts);
    };
    let good = r#"{"layer":"a","peer":"p","threads":2,"status":"ok","ms_median":1}"#;
    let bad = [
        ("{", "is not JSON: EOF while parsing an object at column 1"),
        ("7", "must be a JSON object, but is 7"),
        ("{}", "peer is missing"),
        (&good.replace("\"a\"", "[]"), "layer must be a text of 1 to 100 characters"),
        (
            &good.replace("\"p\"", "\"\\u0007\""),
            "peer must be a text of 1 to 100 characters without control characters, but is \"\\u0007\"",
        ),
        (&good.replace('2', "-2"), "threads must be a whole number from 1, but is -2"),
        (&good.replace("\"ok\"", "\"good\""), "status must be one of ok, loose, wrong,"),
        (
            &good.replace(":1}", ":-1}"),
            "ms_median must be a number above 0, at most 1e9, but is -1",
        ),
        (&good.replace(":1}", ":NaN}"), "is not JSON: expected value"),
        (
            &good.replace(",\"ms_median\":1", ""),
            "ms_median is missing, but a line with status \"ok\" needs it",
        ),
    ];
    for (line, part) in bad {
        // Lines of other numbers of threads, and empty ones, count too.
        compare(
            "peers.jsonl",
            format!("{good}\n\n{line}\n{good}\n").as_bytes(),
            &["peers.jsonl: line 3:", part],
        );
    }
    compare("binary.jsonl", &[0xff, 0xfe, 0, 10], &["binary.jsonl: line 1: is not JSON"]);
    compare("empty.jsonl", b" \n", &["empty.jsonl: holds no results"]);
    let none = folder.path("none.jsonl");
    says(
        &folder,
        &["bench", "--layers", &layers, "--compare", &none],
        &["none.jsonl: cannot be read"],
    );
}

#[test]
fn a_report_must_have_a_place() {
    let folder = Folder::new();
    let layers = file("layers/public.csv");
    let nowhere = folder.path("nowhere/report.html");
    says(&folder, &["bench", "--layers", &layers, "--html", &nowhere], &["there is no directory"]);
    says(&folder, &["bench", "--layers", &layers, "--html", &folder.path("")], &["is a directory"]);
}

#[test]
fn nan_in_an_array_is_data() {
    let folder = Folder::new();
    let input = folder.write("x.npy", &npy("<f4", false, &[1, 1, 2], &le(&[f32::NAN, 1.0])));
    let weight = folder.write("w.npy", &npy("<f4", false, &[1, 1, 1], &le(&[1.0])));
    let out = folder.path("y.npy");
    common::ok(&["run", "--input", &input, "--weight", &weight, "-o", &out]);
    let (_, numbers) = common::read(&out);
    assert!(numbers[0].is_nan() && numbers[1] == 1.0);
}
