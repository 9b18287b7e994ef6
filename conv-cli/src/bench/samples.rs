//! Made-up layers and measurements, for tests: no number here was ever timed.

use super::layers::Layer;
use super::measure::Measured;
use super::peers::Peers;
use super::rank::Row;

/// A layer of a convolution in text form.
pub fn layer(name: &str, family: &str, conv: &str) -> Layer {
    Layer {
        name: name.to_owned(),
        family: family.to_owned(),
        program: conv.parse().expect("a convolution"),
    }
}

/// What we took for it.
pub fn measured(layer: &str, ms: f64, pct_peak: f64) -> Measured {
    Measured {
        layer: layer.to_owned(),
        route: "cranelift",
        threads: 1,
        ms_min: 0.9 * ms,
        ms_median: ms,
        gflops: pct_peak,
        pct_peak: Some(pct_peak),
        compile_ms: 3.25,
        packing_ms: 0.5,
        code_bytes: 4096,
        schedule: "lanes oc:4".to_owned(),
        plan: String::new(),
        ms_unfused: None,
        gain: None,
    }
}

/// A peer's line.
pub fn line(layer: &str, peer: &str, status: &str, ms: f64) -> String {
    format!(
        r#"{{"layer":"{layer}","peer":"{peer}","peer_version":"1.0","threads":1,"status":"{status}","ms_median":{ms},"ms_min":{ms},"max_abs_err_vs_reference":1e-6,"call_overhead_ms":0.004}}"#
    )
}

/// Layers of three families at a peak of 100 GFLOP/s. Everything that a report can meet is in it.
pub fn rows() -> Vec<Row> {
    let peers = Peers::from_lines(&lines(), 1);
    let layers = [
        (layer("dense_56", "dense3x3", "conv2d ic64 oc64 in 56x56 kernel 3 pad 1"), 2.89, 80.0),
        (layer("dense_7", "dense3x3", "conv2d ic256 oc256 in 7x7 kernel 3 pad 1"), 0.825, 70.0),
        (
            layer("wide", "dilated", "conv2d ic64 oc64 in 33x33 kernel 3 dilation 12 pad 12"),
            0.892,
            90.0,
        ),
        (layer("depth", "depthwise", "conv2d g32 ic32 oc32 in 112x112 kernel 3 pad 1"), 0.36, 20.0),
        (layer("alone", "volume", "conv3d ic4 oc4 in 8 kernel 3"), 0.0187, 10.0),
    ];
    let row = |(layer, ms, pct): (Layer, f64, f64)| {
        let measured = measured(&layer.name, ms, pct);
        Row::new(&layer, measured, &peers, Some(100.0))
    };
    layers.into_iter().map(row).collect()
}

fn lines() -> String {
    let mut lines = vec![
        line("dense_56", "ncnn", "ok", 1.2),
        line("dense_56", "mnn", "loose", 0.9),
        line("dense_56", "onednn-nchw", "ok", 2.6),
        line("dense_56", "onednn-blocked", "ok", 2.4),
        line("dense_56", "jax<&>", "ok", 3.0),
        line("dense_7", "ncnn", "ok", 0.5),
        line("dense_7", "mnn", "ok", 1.5),
        line("dense_7", "onednn-nchw", "ok", 0.99),
        line("dense_7", "onednn-blocked", "ok", 0.98),
        line("dense_7", "jax<&>", "ok", 1.0),
        line("wide", "ncnn", "ok", 1.784),
        line("wide", "onednn-nchw", "ok", 0.5),
        line("depth", "ncnn", "ok", 0.4),
        line("depth", "jax<&>", "ok", 36.0),
    ];
    lines.push(
        r#"{"layer":"wide","peer":"mnn","peer_version":"1.0","threads":1,"status":"unsupported"}"#
            .to_owned(),
    );
    lines.push(r#"{"layer":"depth","peer":"mnn","threads":1,"status":"crashed"}"#.to_owned());
    lines.join("\n")
}
