//! `convc bench` on a small table: its fields and columns, not its numbers. What a comparison says
//! of given numbers is tested beside its code.

mod common;

use common::{Folder, auto, file, ok, refused, routes};

const TABLE: &str = "\
name,family,n,ic,oc,groups,in_spatial,kernel,stride,dilation,pad_lo,pad_hi,transposed,output_padding,bias
small,dense,1,8,8,1,12x12,3x3,1x1,1x1,1x1,1x1,0,0x0,1
up,transposed,1,4,4,1,5x5,2x2,2x2,1x1,0x0,0x0,1,0x0,0
line,dense,1,4,4,1,40,3,1,1,2,0,0,0,0
";

fn bench(folder: &Folder, args: &[&str]) -> String {
    let layers = folder.write("layers.csv", TABLE.as_bytes());
    ok(&[&["bench", "--layers", &layers, "--time", "0"], args].concat())
}

#[test]
fn json_is_one_line_a_layer_with_fields_in_order() {
    let text = bench(&Folder::new(), &["--format", "json"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    let fields = [
        "layer",
        "route",
        "threads",
        "ms_min",
        "ms_median",
        "gflops",
        "pct_peak",
        "compile_ms",
        "code_bytes",
        "schedule",
        "plan",
        "ms_unfused",
        "gain",
    ];
    let work =
        [("small", 2 * 8 * 144 * 8 * 9), ("up", 2 * 4 * 25 * 4 * 4), ("line", 2 * 4 * 40 * 4 * 3)];
    for (line, (name, operations)) in lines.iter().zip(work) {
        let places: Vec<usize> =
            fields.iter().map(|field| line.find(&format!("\"{field}\":")).expect(field)).collect();
        assert!(places.is_sorted(), "{line}");
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((value["layer"].as_str(), value["threads"].as_u64()), (Some(name), Some(1)));
        assert_eq!(value["route"], auto());
        assert!(
            value["code_bytes"].as_u64() > Some(0) && value["compile_ms"].as_f64() > Some(0.0),
            "{line}"
        );
        assert!(value["ms_min"].as_f64() <= value["ms_median"].as_f64(), "{line}");
        assert!(value["schedule"].as_str().is_some_and(|text| text.starts_with("lanes")), "{line}");
        let (gflops, ms) = (
            value["gflops"].as_f64().expect("a number"),
            value["ms_median"].as_f64().expect("a number"),
        );
        assert!(
            (gflops * ms * 1e6 / operations as f64 - 1.0).abs() < 0.2,
            "{line}: {operations} operations"
        );
    }
}

#[test]
fn the_table_lines_up_and_has_means() {
    let text = bench(&Folder::new(), &[]);
    for part in [
        "1 thread; one core's peak",
        "GFLOP/s",
        "% of peak",
        "geometric means",
        "  dense (2)",
        "  transposed (1)",
        "  all (3)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let ends: Vec<usize> = text.lines().skip(2).take(4).map(str::len).collect();
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

#[test]
fn layers_are_picked_by_name_and_any_route_runs_them() {
    for route in routes().into_iter().filter(|route| *route != "auto") {
        let text =
            bench(&Folder::new(), &["--only", "up,line", "--route", route, "--format", "json"]);
        assert_eq!(
            text.lines().filter(|line| line.contains(&format!("\"route\":\"{route}\""))).count(),
            2,
            "{text}"
        );
    }
}

#[test]
fn the_public_table_can_be_read() {
    let text = ok(&[
        "bench",
        "--layers",
        &file("layers/public.csv"),
        "--only",
        "dcgan_t4x4s2_8_512_256",
        "--time",
        "0",
    ]);
    assert!(text.contains("dcgan_t4x4s2_8_512_256"), "{text}");
}

/// Results that no machine reaches or undercuts, so that ratios are sure to be above and below 1.
const PEERS: &str = r#"{"layer":"small","peer":"slow","threads":1,"status":"ok","ms_median":1e6}
{"layer":"small","peer":"slow","threads":1,"status":"ok","ms_median":2e6,"gflops":"whatever"}
{"layer":"small","peer":"fast","threads":1,"status":"ok","ms_median":1e-9}
{"layer":"small","peer":"sloppy","threads":1,"status":"loose","ms_median":1e-9}
{"layer":"line","peer":"fast","threads":2,"status":"ok","ms_median":1e-9}

{"layer":"elsewhere","peer":"fast","threads":1,"status":"ok","ms_median":1}
"#;

#[test]
fn json_goes_on_with_the_best_peers() {
    let folder = Folder::new();
    let peers = folder.write("peers.jsonl", PEERS.as_bytes());
    let text = bench(&folder, &["--format", "json", "--compare", &peers]);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    let small = &lines[0];
    assert_eq!(small["best_peer"], "fast");
    assert_eq!(small["best_peer_ms_median"], 1e-9);
    assert!(small["best_peer_ratio"].as_f64() < Some(1.0), "{small}");
    assert!(small["best_direct_peer_ratio"].as_f64().is_some(), "{small}");
    assert!(
        small["schedule"].is_string()
            && small["pct_peak_inside"].as_f64() <= small["pct_peak"].as_f64(),
        "{small}"
    );
    for other in &lines[1..] {
        assert!(
            other["best_peer"].is_null() && other["best_direct_peer_ratio"].is_null(),
            "{other}"
        );
    }
}

#[test]
fn the_comparison_names_peers_and_what_it_left_out() {
    let folder = Folder::new();
    let (peers, more) = (
        folder.write("peers.jsonl", PEERS.as_bytes()),
        folder.write(
            "more.jsonl",
            br#"{"layer":"up","peer":"late","threads":1,"status":"ok","ms_median":1e6}"#,
        ),
    );
    let html = folder.path("report.html");
    let both = format!("{peers},{more}");
    let text = bench(&folder, &["--compare", &both, "--html", &html, "--only", "small,up"]);
    for part in [
        "best direct",
        "ratio",
        "  all (2)",
        "late",
        "1 loose",
        // Not `line`: the table has it, though it was not picked.
        "note: layers not in the table, left out: 1",
        "note: results of other numbers of threads, left out: 1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let page = std::fs::read_to_string(html).expect("the report");
    for part in ["<!DOCTYPE html>", "sloppy", "late", "other numbers of threads", "</html>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_report_needs_no_comparison() {
    let folder = Folder::new();
    let html = folder.path("report.html");
    let text = bench(&folder, &["--html", &html]);
    assert!(text.contains("compile ms") && !text.contains("best"), "{text}");
    let page = std::fs::read_to_string(html).expect("the report");
    assert!(page.contains("small") && !page.contains("best direct"), "{page}");
}

/// One road and one set of columns, whatever the layers are.
#[test]
fn several_steps_are_timed_as_planned_and_step_by_step() {
    let folder = Folder::new();
    let block = "conv2d ic16 oc96 in 56 kernel 1, relu; conv2d g96 oc96 kernel 3 pad 1";
    let table = format!("# a remark\nblock: {block}\none: conv1d in 8 kernel 3 + residual\n");
    let table = folder.write("layers.txt", table.as_bytes());
    let text = ok(&["bench", "--layers", &table, "--time", "0"]);
    for part in ["GFLOP/s  % of peak", "code bytes  plan", "  all (2)"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let described = ok(&["bench", block, "--time", "0", "--format", "json"]);
    for text in [ok(&["bench", "--chains", &table, "--time", "0", "--format", "json"]), described] {
        let line: serde_json::Value =
            serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        // Whether steps are fused is the machine's.
        let is_fused = line["plan"].as_str().is_some_and(|plan| plan.contains(" by "));
        assert!(
            line["plan"] == "1, 2"
                || line["plan"].as_str().is_some_and(|p| p.starts_with("1-2 by "))
        );
        assert_eq!(line["ms_unfused"].as_f64() > Some(0.0), is_fused, "{line}");
        assert_eq!(line["schedule"], "", "{line}");
    }
}

#[test]
fn one_description_can_be_timed() {
    let text = ok(&["bench", "conv1d in 8 kernel 3", "ic3ih8oc4oh8kh3ph1", "--time", "0"]);
    assert!(text.contains("conv1d in 8 kernel 3") && text.contains("ic3ih8oc4oh8kh3ph1"), "{text}");
    for (wrong, part) in [
        ("conv1d f64 in 8 kernel 3", "what is timed is f32"),
        ("conv1d in N kernel 3", "has known sizes"),
        ("conv1d kernel 3", "`in` is missing"),
    ] {
        let says = common::refused(&["bench", wrong]);
        assert!(says.contains(part), "{says}");
    }
    assert!(common::refused(&["bench"]).contains("DESCRIPTION"));
}

/// Layers in tiles say so, on machine code and on the interpreter.
#[test]
fn accuracy_is_asked_for() {
    let layer = "conv2d ic24 oc24 in 12 kernel 3 pad 1";
    for route in ["auto", "interp"] {
        let json = ["bench", layer, "--time", "0", "--format", "json", "--route", route];
        let fast = ok(&[&json[..], &["--accuracy", "fast"]].concat());
        assert!(fast.contains("\"schedule\":\"in tiles F(3x4, 3x3)\""), "{fast}");
        let within = ok(&[&json[..], &["--accuracy", "within(1e-9)"]].concat());
        assert!(within.contains("\"schedule\":\"") && !within.contains("in tiles"), "{within}");
    }
}

#[test]
fn tables_are_built_in_and_names_are_guessed() {
    let says = common::refused(&["bench", "--layers", "public", "--only", "resnet50_3x3_56_46"]);
    assert!(says.contains("did you mean 'resnet50_3x3_56_64'? there are "), "{says}");
    assert!(says.contains(" more") && says.len() < 1500, "{says}");
    let says = common::refused(&["bench", "--layers", "corners", "--only", "zzz"]);
    assert!(says.contains("there is no layer 'zzz' in it; there are "), "{says}");
    let says = common::refused(&["bench", "--layers", "blocks", "--only", "zzz"]);
    assert!(says.contains("there is no layer 'zzz' in it; there are "), "{says}");
}

#[test]
fn marks_in_front_of_a_file_are_no_part_of_it() {
    let folder = Folder::new();
    let chains =
        folder.write("chains.txt", "\u{feff}a: conv1d in 8 kernel 3; conv1d kernel 1\n".as_bytes());
    assert!(ok(&["bench", "--chains", &chains, "--only", "a", "--time", "0"]).contains("\na "));
    let table = folder.write("layers.csv", format!("\u{feff}{TABLE}").as_bytes());
    ok(&["bench", "--layers", &table, "--time", "0"]);
    let network = folder.write("net.net", "\u{feff}input 3\nconv 3x3 8 :end\n".as_bytes());
    assert!(ok(&["networks", &network]).contains("end"));
}

#[test]
fn a_plan_against_itself_is_no_gain() {
    let folder = Folder::new();
    let chains = folder.write("chains.txt", b"one: conv1d in 8 kernel 3\n");
    let json = ok(&["bench", "--chains", &chains, "--time", "0", "--format", "json"]);
    assert!(json.contains("\"gain\":null"), "{json}");
}

/// Every algorithm of a layer, and the model's choice among them.
#[test]
fn algorithms_are_timed_side_by_side() {
    let layer = "conv2d ic16 oc16 in 20 kernel 3x1 pad 1,0";
    let all = ["bench", layer, "--time", "0", "--all-algorithms"];
    let text = ok(&[&all[..], &["--accuracy", "fast"]].concat());
    for algorithm in ["direct", "F(2x1, 3x1)", "F(4x1, 3x1)", "F(6x1, 3x1)"] {
        assert!(text.contains(algorithm), "{text}");
    }
    assert_eq!(text.matches('*').count(), 1, "{text}");
    assert!(text.contains("the choice takes 1.") && text.contains("at worst: conv2d"), "{text}");
    let refused = common::refused(&all);
    assert!(refused.contains("one algorithm under accuracy exact"), "{refused}");
    let strided = ["bench", "conv2d in 9 kernel 3 stride 2", "--all-algorithms"];
    let text = ok(&[&strided[..], &["--time", "0", "--accuracy", "fast"]].concat());
    assert_eq!(text, "no layer has more than one algorithm\n");
}

#[test]
fn a_given_schedule_is_timed() {
    let (layer, schedule) = ("conv2d ic8 oc8 in 9 kernel 3 pad 1", "lanes oc:4 tile oc:8,ow:3");
    let timed = ["bench", layer, "--time", "0", "--format", "json", "--target", "cranelift"];
    let text = ok(&[&timed[..], &["--schedule", schedule]].concat());
    assert!(text.contains(schedule), "{text}");
    let error = refused(&[&timed[..], &["--schedule", "lanes oc:4 tile oc:6"]].concat());
    assert!(error.contains("tile oc:6 is no multiple of lanes oc:4"), "{error}");
    let error = refused(&[&timed[..], &["--schedule", "fast"]].concat());
    assert!(error.contains("found \"fast\""), "{error}");
}

#[test]
fn integers_are_timed_as_they_are_stored() {
    let deep =
        "conv2d u8 x i8 -> u8 ic8 oc12 in 9 kernel 3 pad 1 + bias i32, requantise onnx scale 0.01";
    let depthwise = "conv2d i8 g6 ic6 oc6 in 20 kernel 3 stride 2";
    for text in [deep, depthwise] {
        let text = ok(&["bench", text, "--time", "0", "--format", "json"]);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["route"], auto());
        assert!(value["gflops"].as_f64() > Some(0.0), "{text}");
        assert!(value["schedule"].as_str().is_some_and(|text| text.starts_with("lanes")), "{text}");
    }
    let says = refused(&["bench", deep, "--time", "0", "--route", "interp"]);
    assert!(says.contains("integers are timed as they are stored"), "{says}");
    let says = refused(&["bench", "conv2d u8 in 9 kernel 3 + residual", "--time", "0"]);
    assert!(says.contains("of integers with a residual nothing is timed"), "{says}");
    let says = refused(&["bench", "--layers", "int8", "--only", "zzz"]);
    assert!(says.contains("resnet50_stem_7x7s2") && says.contains("more"), "{says}");
}
