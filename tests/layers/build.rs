//! Emits each layer of the public table, and each block, as a type: once with all versions and once
//! for each narrower CPU.

use std::fmt::Write;
use std::path::Path;

use conv_codegen::{Form, Isa, Options, rust_source};
use conv_ir::{Program, Conv, ConvSpec, Padding, PerAxis, Size};

const TABLE: &str = "../../conv-cli/layers/public.csv";
const BLOCKS: &str = "../../conv-cli/layers/blocks.txt";

/// A line of the table.
fn layer(line: &str) -> (String, Conv) {
    let fields: Vec<&str> = line.split(',').collect();
    let number = |at: usize| fields[at].parse::<usize>().expect("a number");
    let axes = |at: usize| fields[at].split('x').map(|n| n.parse().expect("a number")).collect::<Vec<usize>>();
    let spec = ConvSpec {
        batch: Size::Known(number(2)),
        in_channels: number(3),
        out_channels: number(4),
        groups: number(5),
        stride: PerAxis::Each(axes(8)),
        dilation: PerAxis::Each(axes(9)),
        padding: Padding::Explicit(PerAxis::Each(axes(10).into_iter().zip(axes(11)).collect())),
        transposed: number(12) == 1,
        output_padding: PerAxis::Each(axes(13)),
        bias: number(14) == 1,
        ..ConvSpec::new(axes(6), axes(7))
    };
    (fields[0].to_owned(), Conv::new(spec).expect("the table holds legal layers"))
}

fn main() {
    println!("cargo::rerun-if-changed={TABLE}");
    println!("cargo::rerun-if-changed={BLOCKS}");
    let out = std::env::var("OUT_DIR").expect("set by cargo");
    std::fs::write(Path::new(&out).join("layers.rs"), layers()).expect("written");
    std::fs::write(Path::new(&out).join("chains.rs"), chains()).expect("written");
}

fn layers() -> String {
    let table = std::fs::read_to_string(TABLE).expect("the table");
    let layers: Vec<(String, Conv)> = table.lines().skip(1).map(layer).collect();
    let mut text = String::new();
    let versions = [("avx512", vec![Isa::Avx512, Isa::Avx2]), ("avx2", vec![Isa::Avx2]), ("portable", vec![])];
    for (module, isas) in &versions {
        let options = Options {
            form: Form::Type,
            isas: isas.clone(),
            ..Options::default()
        };
        let _ = writeln!(text, "mod {module} {{");
        for (at, (_, conv)) in layers.iter().enumerate() {
            let source = rust_source(conv, &format!("Layer{at}"), &options);
            text += &source.unwrap_or_else(|error| panic!("{conv}: {error}"));
        }
        text += "}\n";
    }
    text += "/// Every layer: name, description, and its versions.\npub fn layers() -> Vec<Layer> {\nvec![\n";
    for (at, (name, conv)) in layers.iter().enumerate() {
        let _ = write!(text, "Layer {{ name: {name:?}, description: {:?}, versions: vec![", conv.to_string());
        for (module, _) in &versions {
            let arguments = if conv.spec().bias { "whole(weight), whole(_bias)" } else { "whole(weight)" };
            let _ = write!(
                text,
                "({module:?}, |weight, _bias| {{
                    let mut packed = zeroed::<{module}::Layer{at}>();
                    packed.pack({arguments});
                    Box::new(move |input: &[f32], output: &mut [f32]| packed.run(whole(input), output.try_into().unwrap()))
                }}),"
            );
        }
        text += "] },\n";
    }
    text += "]\n}\n";
    text
}

fn chains() -> String {
    let file = std::fs::read_to_string(BLOCKS).expect("the blocks");
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let blocks: Vec<(&str, Program)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, chain)| (name, chain.parse().expect("a legal chain")))
        .collect();
    let (mut text, mut table) = (String::new(), String::new());
    for (at, (name, chain)) in blocks.iter().enumerate() {
        let _ = write!(table, "Block {{ name: {name:?}, description: {:?}, versions: vec![", chain.to_string());
        for (module, isas) in [("avx512", vec![Isa::Avx512]), ("avx2", vec![Isa::Avx2])] {
            let options = Options {
                form: Form::Type,
                isas,
                ..Options::default()
            };
            let source = rust_source(chain, &format!("Block{at}"), &options);
            let source = source.unwrap_or_else(|error| panic!("{chain}: {error}"));
            // Where it wants more than a stack, scratch is made once.
            let (scratch, passed) = match source.contains("SCRATCH: usize") {
                true => (format!("let mut scratch = zeroed::<[f32; {module}{at}::Block{at}::SCRATCH]>();"), ", &mut scratch"),
                false => (String::new(), ""),
            };
            let _ = writeln!(text, "mod {module}{at} {{ {source} }}");
            let arrays: usize = chain.convs().map(|conv| 1 + usize::from(conv.spec().bias)).sum();
            let arguments: String = (0..arrays).map(|array| format!("whole(&arrays[{array}]), ")).collect();
            let _ = write!(
                table,
                "({module:?}, |arrays| {{
                    let mut packed = zeroed::<{module}{at}::Block{at}>();
                    packed.pack({arguments});
                    {scratch}
                    Box::new(move |input: &[f32], output: &mut [f32]| packed.run(whole(input), output.try_into().unwrap(){passed}))
                }}),"
            );
        }
        table += "] },\n";
    }
    format!("{text}/// Every block: name, description, and its versions.\npub fn blocks() -> Vec<Block> {{\nvec![\n{table}]\n}}\n")
}
