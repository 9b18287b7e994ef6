//! `convc bench` on a small table: its fields and columns, not its numbers.

mod common;

use common::{Folder, file, ok};

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
    ];
    let work = [
        ("small", 2 * 8 * 144 * 8 * 9),
        ("up", 2 * 4 * 25 * 4 * 4),
        ("line", 2 * 4 * 40 * 4 * 3),
    ];
    for (line, (name, operations)) in lines.iter().zip(work) {
        let places: Vec<usize> = fields
            .iter()
            .map(|field| line.find(&format!("\"{field}\":")).expect(field))
            .collect();
        assert!(places.is_sorted(), "{line}");
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (value["layer"].as_str(), value["threads"].as_u64()),
            (Some(name), Some(1))
        );
        assert_eq!(value["route"], "cranelift");
        assert!(
            value["code_bytes"].as_u64() > Some(0) && value["compile_ms"].as_f64() > Some(0.0),
            "{line}"
        );
        assert!(value["ms_min"].as_f64() <= value["ms_median"].as_f64(), "{line}");
        assert!(
            value["schedule"].as_str().is_some_and(|text| text.starts_with("lanes")),
            "{line}"
        );
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
    for route in ["reference", "interp"] {
        let text = bench(
            &Folder::new(),
            &["--only", "up,line", "--route", route, "--format", "json"],
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.contains(&format!("\"route\":\"{route}\"")))
                .count(),
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
