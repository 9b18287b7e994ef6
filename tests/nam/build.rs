//! Emits the stack and the filters as types of streams, in pieces of 64, with AVX-512 and for AVX2
//! alone.

#[path = "src/stack.rs"]
mod stack;

use std::fmt::Write;
use std::path::Path;

use conv_codegen::{Along, Form, Isa, Options, rust_source};
use conv_ir::Program;

fn main() {
    println!("cargo::rerun-if-changed=src/stack.rs");
    let filters = stack::FILTERS.map(|taps| (format!("Filter{taps}"), stack::filter(taps)));
    let all = [&[("Nam".to_owned(), stack::stack())][..], &filters].concat();
    let versions = [("avx512", vec![Isa::Avx512, Isa::Avx2]), ("avx2", vec![Isa::Avx2])];
    let (mut modules, mut table) = (String::new(), String::new());
    for (module, isas) in versions {
        let along = Along { axis: 0, pieces: vec![64] };
        let options = Options { form: Form::Type, isas, stream: Some(along), ..Options::default() };
        let _ = writeln!(modules, "mod {module} {{");
        for (name, text) in &all {
            let program: Program = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let source = rust_source(&program, name, &options);
            modules += &source.unwrap_or_else(|e| panic!("{text}: {e}"));
            let arrays = program.convs().map(|conv| 1 + usize::from(conv.spec().bias)).sum();
            let given: String = (0..arrays).map(|at| format!("whole(&arrays[{at}]), ")).collect();
            let _ = writeln!(
                table,
                "({module:?}, {name:?}, |arrays| {{
                    let stream = {module}::{name}::boxed({given});
                    let mut state = vec![0.0; {module}::{name}::STATE];
                    Box::new(move |input, output| {{
                        let state = (&mut state[..]).try_into().expect(\"a state\");
                        stream.push(state, input, output).expect(\"a block\")
                    }})
                }}),"
            );
        }
        modules += "}\n";
    }
    let text = format!(
        "{modules}\n/// Version, name, and what makes a stream of its arrays.\n\
         const EMITTED: &[(&str, &str, Make)] = &[\n{table}];\n"
    );
    let out = std::env::var("OUT_DIR").expect("set by cargo");
    std::fs::write(Path::new(&out).join("emitted.rs"), text).expect("written");
}
