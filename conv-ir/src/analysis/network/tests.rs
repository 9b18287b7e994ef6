//! The published table, line by line, and what is refused.

use super::{NETWORKS, Network, PUBLISHED_AT, published};

#[test]
fn every_published_field_is_found() {
    let mut lines = 0;
    for (name, text) in NETWORKS {
        let network: Network = text.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        let placed = PUBLISHED_AT
            .map(|size| network.at([size, size]).unwrap_or_else(|e| panic!("{name}: {e}")));
        let table: Vec<_> = published().filter(|line| line.network == *name).collect();
        assert_eq!(table.len(), placed[0].points.len(), "{name}: points");
        let seen = placed.each_ref().map(|placed| placed.seen().unwrap());
        for (at, line) in table.iter().enumerate() {
            for ((placed, seen), padding) in placed.iter().zip(&seen).zip(line.padding) {
                let point = &placed.points[at];
                assert_eq!(point.name, line.point, "{name}");
                assert_eq!(seen[at].fields, placed.stack.first(point.nodes).fields().unwrap());
                for field in &seen[at].fields {
                    let found = (field.size, field.stride.whole(), -field.start);
                    assert_eq!(
                        found,
                        (line.field, Some(line.stride), padding),
                        "{name} {}",
                        line.point
                    );
                }
            }
            lines += 1;
        }
    }
    assert_eq!(lines, published().count());
    assert!(lines > 100, "{lines}");
}

/// The published count is a profiler's: it has biases, poolings and normalisations too, which are a
/// percent or two.
#[test]
fn the_work_of_each_network_is_the_published_one() {
    for (name, _) in NETWORKS {
        let placed = Network::by_name(name).unwrap().at([224, 224]).unwrap();
        let ours = 2e-9 * placed.seen().unwrap().last().unwrap().multiply_adds as f64;
        let theirs = published().filter(|line| line.network == *name).last().unwrap().gflops;
        assert!((0.97..=1.0005).contains(&(ours / theirs)), "{name}: {ours:.3} {theirs}");
    }
}

#[test]
fn the_main_path_is_known_by_its_sizes() {
    let placed = Network::by_name("mobilenet_v1").unwrap().at([224, 224]).unwrap();
    let point = placed.points.last().unwrap();
    assert_eq!((point.extents, point.channels), ([7, 7], 1024));
    let seen = placed.seen().unwrap();
    let last = seen.last().unwrap();
    // As the network's own source says.
    assert_eq!((last.parameters, last.multiply_adds), (3_185_088, 567_716_352));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, message) in [
        ("", "line 1 of the network: expected 'input', found the end"),
        (
            "input 0",
            "line 1 of the network: expected the input's channels, a positive number, found '0'",
        ),
        (
            "input 3\nconv 3y3 64",
            "line 2 of the network: expected a window such as 3x3 or 3x3/2, found '3y3'",
        ),
        (
            "input 3\nconv 3x3 :a",
            "line 2 of the network: expected the channels, a positive number, found ':a'",
        ),
        (
            "input 3\n\nrelu",
            "line 3 of the network: expected conv, depthwise, pool, add, join, repeat or :NAME, found 'relu'",
        ),
        (
            "input 3 add { conv 1x1 3 | :x }",
            "line 1 of the network: ':x' names a point, which must stand outside of braces",
        ),
        ("input 3 add { conv 1x1 3", "line 1 of the network: expected '}', found the end"),
        ("input 3 conv 1x1 3 }", "line 1 of the network: '}' has no '{' that it belongs to"),
        ("input 3 repeat 9999999 { pool 3x3 }", "line 1 of the network: more than 10000 layers"),
        ("input 3 repeat 99999999999 { }", "line 1 of the network: more than 10000 layers"),
    ] {
        assert_eq!(text.parse::<Network>().unwrap_err().to_string(), message, "{text}");
    }
    let deep = format!("input 3 {}", "add { ".repeat(100));
    assert!(deep.parse::<Network>().unwrap_err().to_string().contains("deep"));
}

#[test]
fn branches_must_fit() {
    let at = |text: &str| text.parse::<Network>().unwrap().at([8, 8]).unwrap_err().to_string();
    assert_eq!(
        at("input 3 add { | conv 1x1 4 }"),
        "branches of 3 and 4 channels are added: they must have as many"
    );
    assert_eq!(
        at("input 3 join { | pool 2x2/2 }"),
        "branches of 8 x 8 and 4 x 4 come together: they must have the same size"
    );
    assert!(
        at("input 3 conv 11x11 4 valid").contains("kernel"),
        "{}",
        at("input 3 conv 11x11 4 valid")
    );
}

#[test]
fn a_network_of_thousands_of_lines_is_a_matter_of_milliseconds() {
    let lines: String = (0..5000).map(|at| format!("conv 3x3 8 :p{at}\n")).collect();
    let network: Network = format!("input 3\n{lines}").parse().unwrap();
    let placed = network.at([64, 64]).unwrap();
    let seen = placed.seen().unwrap();
    assert_eq!((seen.len(), seen[4999].fields[0].size), (5000, 10_001));
    assert_eq!(seen[4999].fields[1].start, -5000);
}

#[test]
fn items_without_layers_count_too() {
    let text = format!("input 3 repeat 9000 {{ {} }}", "add { | } ".repeat(5000));
    let error = text.parse::<Network>().unwrap_err().to_string();
    assert_eq!(error, "line 1 of the network: more than 10000 layers");
}
