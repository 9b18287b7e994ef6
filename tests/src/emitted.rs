//! Many convolutions as one Rust program: emitted by conv-codegen, compiled by rustc once, run
//! once.
//!
//! In: convolutions with their arrays. Out: the bits that the expanded Rust computes. The program
//! holds the emitted functions as they are and a `main` that reads all arrays from one file and
//! writes all outputs to another, in order; so what is judged is the text that `conv!` expands to.
//! Functions and types take turns, and so do versions: for the widest vectors of this CPU, for
//! AVX2, and portable.

use crate::data::Data;
use conv_codegen::{Along, Form, Isa, Library, Options, rust_source};
use conv_ir::program::plan::Plan;
use conv_ir::separate::Accuracy;
use conv_ir::{Conv, DType, Element, Program, Stored, Types};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const MAIN: &str = "
fn take<const B: usize, T>(from: &mut &[u8], len: usize, number: fn([u8; B]) -> T) -> Vec<T> {
    let (head, tail) = from.split_at(len * B);
    *from = tail;
    head.chunks_exact(B).map(|b| number(b.try_into().unwrap())).collect()
}
fn main() {
    let mut path = std::env::args().skip(1);
    let bytes = std::fs::read(path.next().unwrap()).unwrap();
    let (from, mut to) = (&mut &bytes[..], Vec::new());
    run(from, &mut to);
    std::fs::write(path.next().unwrap(), to).unwrap();
}
";

/// A function or a type of a program.
#[derive(Clone, Debug)]
pub struct Function {
    name: String,
    form: Form,
    /// Names of its free sizes, in order.
    sizes: Vec<String>,
    /// Weight and bias are arguments, and not in its source.
    takes: [bool; 2],
    /// Its caller brings scratch.
    scratch: bool,
    types: Types,
}

/// An input of a stream: its blocks one after the other, and their lengths.
pub struct Blocks<T> {
    /// Block by block.
    pub input: Vec<T>,
    /// Positions of each.
    pub blocks: Vec<usize>,
    /// Elements of all outputs.
    pub outputs: usize,
    /// Of one position of them.
    pub each: usize,
}

/// A program in the making.
#[derive(Default)]
pub struct Emitted {
    accuracy: Accuracy,
    source: String,
    functions: usize,
    calls: String,
    arrays: Vec<u8>,
    outputs: Vec<usize>,
}

impl Emitted {
    /// One whose functions are made so, every second one from `core` alone.
    pub fn of(accuracy: Accuracy) -> Emitted {
        Emitted { accuracy, ..Emitted::default() }
    }

    /// Adds a function, to be called with as many arrays as wanted.
    ///
    /// # Errors
    /// Why the Rust route cannot print it.
    pub fn function(&mut self, conv: &Conv) -> Result<Function, String> {
        let (name, options) = self.next();
        let form = options.form;
        let source = rust_source(conv, &name, &options).map_err(|e| format!("{conv}\n{e}"))?;
        self.source += &source;
        Ok(Function {
            scratch: source.contains("SCRATCH: usize"),
            name,
            form,
            sizes: conv.free_sizes().into_iter().map(str::to_owned).collect(),
            types: conv.types(),
            takes: [conv.known().is_none(), conv.known().is_none_or(|known| known.bias.is_none())],
        })
    }

    /// Adds a call. With free sizes, `free` gives their values and the arrays are of those.
    pub fn call<T: Element>(
        &mut self,
        function: &Function,
        free: &[(&str, usize)],
        data: &Data<T>,
        outputs: usize,
    ) {
        self.calls += &call(function, free, data, outputs);
        for (array, dtype) in arrays(function, data) {
            array.iter().for_each(|x| self.arrays.extend(bytes_as(*x, dtype)));
        }
        self.outputs.push(outputs * function.types.output.bytes());
    }

    /// Adds a chain under a plan, and its call on these arrays: the input, then what each step
    /// wants of its caller.
    ///
    /// # Errors
    /// Why the Rust route cannot print it.
    pub fn chain<T: Element>(
        &mut self,
        chain: &Program,
        plan: &Plan,
        arrays: &[(&[T], DType)],
    ) -> Result<(), conv_ir::Error> {
        let (name, options) = self.next();
        let options = Options { plan: Some(plan.clone()), ..options };
        let source = rust_source(chain, &name, &options)?;
        let outputs = chain.outputs().iter();
        let outputs: Vec<(usize, DType)> =
            outputs.map(|&at| (chain.len_of(at), chain.type_of(at))).collect();
        let wants_scratch = source.contains("SCRATCH: usize");
        let result = (chain.dtype(), &outputs[..], wants_scratch);
        let inputs = chain.inputs().len();
        self.calls += &chain_call(&name, options.form, (arrays, inputs), result);
        self.source += &source;
        for (array, dtype) in arrays {
            array.iter().for_each(|x| self.arrays.extend(bytes_as(*x, *dtype)));
        }
        self.outputs.push(outputs.iter().map(|(len, dtype)| len * dtype.bytes()).sum());
        Ok(())
    }

    /// Adds a stream of a program with these weights and biases, to which each of some inputs comes
    /// in blocks of so many positions, one after the other in its array.
    ///
    /// # Errors
    /// Why the Rust route cannot print it.
    pub fn stream<T: Element>(
        &mut self,
        program: &Program,
        along: &Along,
        arrays: &[&[T]],
        inputs: &[Blocks<T>],
    ) -> Result<(), conv_ir::Error> {
        let (name, options) = self.next();
        let runtime = if self.functions.is_multiple_of(2) { Library::Core } else { Library::Std };
        let stream = Some(along.clone());
        let options = Options { form: Form::Type, stream, runtime, ..options };
        self.source += &rust_source(program, &name, &options)?;
        let (t, b) = (T::DTYPE, T::DTYPE.bytes());
        let mut given = String::new();
        self.calls += "{\n";
        for (at, array) in arrays.iter().enumerate() {
            let len = array.len();
            let _ = writeln!(
                self.calls,
                "    let a{at} = take::<{b}, {t}>(from, {len}, {t}::from_le_bytes);"
            );
            let _ = write!(given, "a{at}[..].try_into().unwrap(), ");
        }
        let _ = writeln!(
            self.calls,
            "    let (stream, mut state) = ({name}::new({given}), vec![0.0; {name}::STATE]);
    let state: &mut [{t}; {name}::STATE] = (&mut state[..]).try_into().unwrap();"
        );
        for Blocks { input, blocks, outputs, each } in inputs {
            let row = input.len() / blocks.iter().sum::<usize>();
            let _ = writeln!(
                self.calls,
                "    for len in {blocks:?} {{
        let block = take::<{b}, {t}>(from, len * {row}, {t}::from_le_bytes);
        let mut output = vec![{t}::NAN; {name}::next(state, len) * {each}];
        stream.push(state, &block, &mut output).unwrap();
        output.iter().for_each(|x| to.extend(x.to_le_bytes()));
    }}
    let mut output = vec![{t}::NAN; {name}::left(state) * {each}];
    stream.flush(state, &mut output).unwrap();
    output.iter().for_each(|x| to.extend(x.to_le_bytes()));"
            );
            self.outputs.push(outputs * T::DTYPE.bytes());
        }
        self.calls += "}\n";
        let all = arrays.iter().copied().chain(inputs.iter().map(|blocks| &blocks.input[..]));
        all.flatten().for_each(|x| self.arrays.extend(bytes(*x)));
        Ok(())
    }

    /// The next item's name, form and versions.
    fn next(&mut self) -> (String, Options) {
        const VERSIONS: [&[Isa]; 3] = [&[Isa::Avx512, Isa::Avx2], &[Isa::Avx2], &[]];
        let name = format!("Case{}", self.functions);
        let options = Options {
            form: [Form::Function, Form::Type][self.functions % 2],
            isas: VERSIONS[self.functions / 2 % VERSIONS.len()].to_vec(),
            accuracy: self.accuracy,
            runtime: match self.accuracy {
                Accuracy::Unfused if self.functions % 4 > 1 => Library::Core,
                _ => Library::Std,
            },
            ..Options::default()
        };
        self.functions += 1;
        (name, options)
    }

    /// Compiles and runs; the outputs' bytes, case by case.
    ///
    /// # Panics
    /// If the program cannot be compiled or run.
    pub fn run(&self) -> Vec<Vec<u8>> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let source = format!(
            "{}fn run(from: &mut &[u8], to: &mut Vec<u8>) {{\n{}}}\n{MAIN}",
            self.source, self.calls
        );
        let [file, binary, arrays, results] =
            ["cases.rs", "cases", "arrays", "results"].map(|name| dir.path().join(name));
        std::fs::write(&file, source).expect("written");
        std::fs::write(&arrays, &self.arrays).expect("written");
        compile(&file, &binary);
        let ran = Command::new(&binary).args([&arrays, &results]).output().expect("started");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let results = std::fs::read(results).expect("read");
        let mut rest = &results[..];
        self.outputs
            .iter()
            .map(|&len| {
                let (head, tail) = rest.split_at(len);
                rest = tail;
                head.to_vec()
            })
            .collect()
    }
}

/// Optimised, but not for size or speed of hundreds of functions: level 1 vectorises nothing and
/// takes a third of the time.
fn compile(file: &Path, binary: &Path) {
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    let flags = ["--edition=2024", "-Copt-level=1", "-Ccodegen-units=16", "-o"];
    let compiled =
        Command::new(rustc).args(flags).args([binary, file]).output().expect("rustc starts");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

/// The arrays that a function takes, in order, with their types.
fn arrays<'a, T>(
    function: &Function,
    data: &'a Data<T>,
) -> impl Iterator<Item = (&'a Vec<T>, DType)> {
    let ([weight, bias], types) = (function.takes, function.types);
    let arrays = [
        (Some(&data.input), types.input),
        (Some(&data.weight).filter(|_| weight), types.weight),
        (data.bias.as_ref().filter(|_| bias), types.bias),
        (data.residual.as_ref(), types.output),
    ];
    arrays.into_iter().filter_map(|(array, dtype)| Some((array?, dtype)))
}

/// A type as emitted Rust has it: halves are their bits.
fn rust(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 | DType::BF16 => "u16",
        other => other.format().name,
    }
}

fn bytes_as<T: Element>(x: T, dtype: DType) -> Vec<u8> {
    dtype.bits_of(x.to_f64()).to_le_bytes()[..dtype.bytes()].to_vec()
}

/// The call of a chain's item, by the type of sums; of its arrays, so many are inputs. Each output
/// has a length and a type, and `true` says that it wants scratch.
fn chain_call<T: Element>(
    name: &str,
    form: Form,
    (arrays, inputs): (&[(&[T], DType)], usize),
    (sums, outputs, scratch): (DType, &[(usize, DType)], bool),
) -> String {
    let mut lets = String::new();
    for (at, (array, dtype)) in arrays.iter().enumerate() {
        let (t, b) = (rust(*dtype), dtype.bytes());
        let _ = writeln!(
            lets,
            "    let a{at} = take::<{b}, {t}>(from, {}, {t}::from_le_bytes);",
            array.len()
        );
    }
    let list = |range: std::ops::Range<usize>| {
        range.map(|at| format!("a{at}[..].try_into().unwrap(), ")).collect::<String>()
    };
    let (call, constant) = match form {
        Form::Function => (
            format!("{name}({}", list(0..arrays.len())),
            format!("{}_SCRATCH", name.to_uppercase()),
        ),
        Form::Type => {
            let (weights, inputs) = (list(inputs..arrays.len()), list(0..inputs));
            (format!("{name}::new({weights}).run({inputs}"), format!("{name}::SCRATCH"))
        }
    };
    let scratch = match scratch {
        true => format!(
            "(&mut vec![<{sums}>::from_le_bytes([0xa5; _]); {constant}][..]).try_into().unwrap()"
        ),
        false => String::new(),
    };
    let (mut passed, mut written) = (String::new(), String::new());
    for (at, (len, dtype)) in outputs.iter().enumerate() {
        let t = rust(*dtype);
        let _ = writeln!(
            lets,
            "    let mut output{at} = vec![<{t}>::from_le_bytes([0xa5; _]); {len}];"
        );
        let _ = write!(passed, "(&mut output{at}[..]).try_into().unwrap(), ");
        let _ =
            writeln!(written, "    output{at}.iter().for_each(|x| to.extend(x.to_le_bytes()));");
    }
    format!("{{\n{lets}    {call}{passed}{scratch});\n{written}}}\n")
}

fn call<T: Element>(
    function: &Function,
    free: &[(&str, usize)],
    data: &Data<T>,
    outputs: usize,
) -> String {
    let take = |len: usize, dtype: DType| {
        let (t, b) = (rust(dtype), dtype.bytes());
        format!("&take::<{b}, {t}>(from, {len}, {t}::from_le_bytes)[..]")
    };
    let (mut arguments, mut packed) = (String::new(), String::new());
    let Function { name, form, sizes, takes, scratch, types } = function;
    let t = rust(types.output);
    for size in sizes {
        let value = free.iter().find(|(name, _)| *name == size).map_or(0, |f| f.1);
        let _ = write!(arguments, "{value}, ");
    }
    let arrays = [
        (Some(&data.input), types.input, false),
        (Some(&data.weight).filter(|_| takes[0]), types.weight, true),
        (data.bias.as_ref().filter(|_| takes[1]), types.bias, true),
        (data.residual.as_ref(), types.output, false),
    ];
    let mut lets = String::new();
    for (at, (array, dtype, is_weight)) in arrays.into_iter().enumerate() {
        let Some(array) = array else { continue };
        let list = if is_weight && *form == Form::Type { &mut packed } else { &mut arguments };
        let _ = write!(list, "a{at}.try_into().unwrap(), ");
        let _ = writeln!(lets, "    let a{at} = {};", take(array.len(), dtype));
    }
    let (callee, constant) = match form {
        Form::Function => (name.clone(), format!("{}_SCRATCH", name.to_uppercase())),
        Form::Type => (format!("{name}::new({packed}).run"), format!("{name}::SCRATCH")),
    };
    let sums = rust(T::DTYPE);
    let scratch = match scratch {
        true => format!(
            ", (&mut vec![<{sums}>::from_le_bytes([0xa5; _]); {constant}][..]).try_into().unwrap()"
        ),
        false => String::new(),
    };
    format!(
        "{{\n{lets}    let mut output = vec![<{t}>::from_le_bytes([0xa5; _]); {outputs}];\n    {callee}({arguments}(&mut output[..]).try_into().unwrap(){scratch});\n    \
         output.iter().for_each(|x| to.extend(x.to_le_bytes()));\n}}\n"
    )
}

fn bytes<T: Element>(x: T) -> Vec<u8> {
    x.bits().to_le_bytes()[..T::DTYPE.bytes()].to_vec()
}

/// The numbers of a type behind bytes, as f64, which holds them all.
pub fn exactly(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    conv_ir::with_stored!(dtype, T => numbers::<T>(bytes).iter().map(|x| x.to_f64()).collect())
}

/// The numbers behind bytes.
pub fn numbers<T: Stored>(bytes: &[u8]) -> Vec<T> {
    let number = |bytes: &[u8]| {
        let mut bits = [0; 8];
        bits[..bytes.len()].copy_from_slice(bytes);
        T::from_bits(u64::from_le_bytes(bits))
    };
    bytes.chunks_exact(T::DTYPE.bytes()).map(number).collect()
}
