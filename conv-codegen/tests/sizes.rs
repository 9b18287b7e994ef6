//! Items whose sizes come at run time, called from safe code with sizes of any kind: they run where
//! the description allows the sizes and the arrays are as long as these say, and panic elsewhere,
//! with the sizes, at the caller's place. Nothing is touched outside of the arrays, whether rustc
//! checks arithmetic or not.

mod program;

use conv_codegen::{Form, Library, Options, rust_source};
use conv_ir::conv::Extent;
use conv_ir::{Conv, Size};
use program::{CHECKED, run};
use std::fmt::Write;

const CASES: [(&str, Form, Library); 11] = [
    ("conv2d in HxW kernel 4x3 pad 1:2,1:1", Form::Function, Library::Std),
    ("conv2d in HxW kernel 4x3 pad 1:2,1:1", Form::Type, Library::Core),
    ("conv2d nB ic3 oc8 in HxW kernel 3x3 stride 2 pad 1 + bias, relu", Form::Type, Library::Std),
    ("conv2d nhwc nB g8 ic8 oc8 in HxW kernel 3x3", Form::Type, Library::Std),
    ("conv2d nhwc nB ic3 oc16 in HxW kernel 1x1", Form::Function, Library::Core),
    (
        "conv2d-transposed nB ic2 oc4 in HxW kernel 3x3 stride 2 pad 3 out_pad 1",
        Form::Function,
        Library::Std,
    ),
    (
        "conv1d nB ic2 oc4 in T kernel 3 pad 2 mode reflect + residual",
        Form::Function,
        Library::Core,
    ),
    ("conv2d ic2 oc4 in HxW kernel 3x3 dilation 2 pad 2 mode circular", Form::Type, Library::Std),
    ("conv1d in T kernel 7 stride 5", Form::Function, Library::Std),
    // Offsets of its padding wrap long before its arrays are too long.
    (
        "conv2d in HxW kernel 2x1 dilation 1099511627776x1 pad 549755813888,0",
        Form::Function,
        Library::Std,
    ),
    ("conv2d f64 in HxW kernel 3x3 pad 1", Form::Function, Library::Std),
];

/// What a size may be. With 120 the third last is 80 modulo 2^64.
const SIZES: [usize; 13] = [
    0,
    1,
    2,
    3,
    7,
    120,
    1 << 31,
    (1 << 32) + 1,
    1 << 40,
    1 << 62,
    6148914691236517206,
    usize::MAX / 2,
    usize::MAX,
];

/// Elements of the longest array that is passed.
const MOST: usize = 1 << 16;

struct Case {
    conv: Conv,
    name: String,
    form: Form,
}

/// A call: its sizes, and the elements of input and output.
struct Call {
    sizes: Vec<usize>,
    lengths: [usize; 2],
}

impl Case {
    fn calls(&self) -> Vec<Call> {
        let count = self.conv.free_sizes().len();
        let all = (0..SIZES.len().pow(count as u32)).map(|at| {
            let size = |axis| SIZES[at / SIZES.len().pow(axis) % SIZES.len()];
            (0..count as u32).map(size).collect::<Vec<usize>>()
        });
        all.map(|sizes| Call { lengths: self.lengths(&sizes), sizes }).collect()
    }

    /// What arithmetic that wraps makes of the lengths.
    fn lengths(&self, sizes: &[usize]) -> [usize; 2] {
        let wrap = |all: &[i128]| {
            all.iter().fold(1, |product: usize, &n| product.wrapping_mul(n as usize))
        };
        let lengths = self.shapes(sizes).map(|shape| wrap(&shape));
        lengths.map(|length| if length <= MOST { length } else { 80 })
    }

    /// The shapes of input and output, whether or not the description allows them.
    fn shapes(&self, sizes: &[usize]) -> [Vec<i128>; 2] {
        let value = |name: &str| {
            sizes[self.conv.free_sizes().iter().position(|known| *known == name).unwrap()] as i128
        };
        let size = |size: &Size| match size {
            Size::Known(n) => *n as i128,
            Size::Free(name) => value(name),
        };
        let output = |extent: &Extent| match extent {
            Extent::Known(n) => *n as i128,
            Extent::Derived { of, scale, add, div } => {
                (value(of) * *scale as i128 + *add as i128).div_euclid((*div).into())
            }
        };
        let (spec, axes) = (self.conv.spec(), self.conv.axes());
        let shape = |channels: usize, extents: Vec<i128>| {
            [vec![size(&spec.batch), channels as i128], extents].concat()
        };
        [
            shape(spec.in_channels, axes.iter().map(|axis| size(&axis.input)).collect()),
            shape(spec.out_channels, axes.iter().map(|axis| output(&axis.output)).collect()),
        ]
    }

    /// Whether the description allows these sizes, and arrays of these lengths. `None` where only
    /// its limit on bytes is broken, by padding or by images of an empty batch.
    fn allows(&self, call: &Call) -> Option<bool> {
        let product =
            |shape: &Vec<i128>| shape.iter().try_fold(1i128, |all, &n| all.checked_mul(n));
        let fits = |(shape, found): (&Vec<i128>, usize)| product(shape) == Some(found as i128);
        let names = self.conv.free_sizes();
        let sizes: Vec<_> = names.iter().copied().zip(call.sizes.iter().copied()).collect();
        match self.conv.with_sizes(&sizes) {
            _ if !self.shapes(&call.sizes).iter().zip(call.lengths).all(fits) => Some(false),
            Err(error) if error.to_string().contains("the limit is") => None,
            legal => Some(legal.is_ok()),
        }
    }

    /// A function that makes one call of the sizes `s` and says how it ended.
    fn caller(&self) -> String {
        let (spec, t) = (self.conv.spec(), self.conv.dtype());
        let sizes: String =
            (0..self.conv.free_sizes().len()).map(|at| format!("s[{at}], ")).collect();
        let weight = format!("&[1.0; {}]", self.conv.weight_len());
        let bias = spec.bias.then(|| format!("&[1.0; {}]", self.conv.bias_len()));
        let packed = [Some(weight), bias].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let residual = if spec.residual { "&residual[..s.output], " } else { "" };
        let (name, arrays) = (&self.name, format!("{residual}&mut output[..s.output]"));
        let call = match self.form {
            Form::Function => format!("{name}({sizes}&input[..s.input], {packed}, {arrays})"),
            Form::Type => format!("{name}::new({packed}).run({sizes}&input[..s.input], {arrays})"),
        };
        let call = call.replace("s.input", "input_len").replace("s.output", "output_len");
        format!(
            "fn call_{name}(s: &[usize], input_len: usize, output_len: usize) {{
    let (input, residual, mut output) = (vec![1.0 as {t}; {MOST}], vec![1.0 as {t}; {MOST}], vec![0.0 as {t}; {MOST}]);
    tell(line!() + 1, || {{
        {call};
    }});
    assert!(output[output_len..].iter().all(|&x| x == 0.0), \"written behind the output\");
    _ = residual;
}}
"
        )
    }
}

const MAIN: &str = r#"
#![deny(warnings)]
#![allow(non_snake_case)]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
static MESSAGE: Mutex<String> = Mutex::new(String::new());
fn tell(line: u32, run: impl FnOnce()) {
    MESSAGE.lock().unwrap().clear();
    let place = catch_unwind(AssertUnwindSafe(run));
    let message = MESSAGE.lock().unwrap();
    match place {
        Ok(()) => println!("ran"),
        Err(_) => println!("{}", message.replacen(&format!("{line}: "), "here: ", 1)),
    }
}
fn watch() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or_default();
        *MESSAGE.lock().unwrap() = format!("{}: {text}", info.location().unwrap().line());
    }));
}
"#;

fn check(flag: &str, name: &str) {
    let mut source = MAIN.to_owned();
    let mut main = "    watch();\n".to_owned();
    let mut cases = Vec::new();
    for (at, (text, form, runtime)) in CASES.into_iter().enumerate() {
        let conv: Conv = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let case = Case { conv, name: format!("Case{at}"), form };
        let options = Options { form, runtime, ..Options::default() };
        source += &rust_source(&case.conv, &case.name, &options).unwrap();
        source += &case.caller();
        let (calls, name) = (case.calls(), &case.name);
        let (count, rank) = (calls.len(), calls[0].sizes.len());
        writeln!(source, "static CALLS_{at}: [([usize; {rank}], usize, usize); {count}] = [")
            .unwrap();
        for Call { sizes, lengths: [input, output] } in calls {
            writeln!(source, "    ({sizes:?}, {input}, {output}),").unwrap();
        }
        source += "];\n";
        writeln!(main, "    CALLS_{at}.iter().for_each(|(s, i, o)| call_{name}(s, *i, *o));")
            .unwrap();
        cases.push(case);
    }
    write!(source, "fn main() {{\n{main}}}\n").unwrap();
    let mut found = run(&source, name, flag).into_iter();
    for case in cases {
        for call in case.calls() {
            let (found, names) = (found.next().unwrap(), case.conv.free_sizes());
            let told = names.iter().zip(&call.sizes).any(|(name, size)| {
                let name = name.to_lowercase();
                found.contains(&format!("{name} is {size}, but"))
                    || found.contains(&format!("{name} = {size}"))
            });
            let is_right = match case.allows(&call) {
                Some(true) => found == "ran",
                Some(false) => found.starts_with("here: ") && told,
                None => found == "ran" || found.starts_with("here: ") && told,
            };
            assert!(is_right, "{}: {:?}, {:?}: {found}", case.conv, call.sizes, call.lengths);
        }
    }
}

#[test]
fn sizes_of_any_kind_are_safe() {
    check("-Coverflow-checks=off", "sizes-as-released");
}

#[test]
fn sizes_of_any_kind_are_safe_where_arithmetic_is_checked() {
    check(CHECKED, "sizes-checked");
}
