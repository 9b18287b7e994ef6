//! Nests written by hand: what no schedule of today makes, but the grammar allows.

use conv_ir::nest::{
    Access, Affine, AxisId, BufferId, BufferRole, Cond, Expr, Fold, Index, Lanes, Leaf, Loop,
    LoopKind, Op, Part, RegId, Register, Role, Stmt, TileAxis,
};
use conv_ir::{DType, Element, Isa, Nest, Target};

use super::{Case, bits, fill};
use crate::code::{Code, Entry};
use crate::emit::scratch::{bytes, layout};
use crate::memory::Block;
use crate::{Backend, disassembly};

fn ax(axis: AxisId) -> Affine {
    Affine::axis(axis)
}

/// Runs setup and body on the machine, buffers by role.
fn execute<T: Element>(nest: &Nest, case: &Case<T>, len: usize) -> Vec<T> {
    let code = Code::new(nest, &Backend::host().unwrap(), Isa::Portable, Vec::new()).unwrap();
    let mut output = vec![T::from_f64(f64::NAN); len];
    let mut blocks = Vec::new();
    let mut offsets = vec![0; nest.buffers.len()];
    let place = |id: BufferId, start, _| offsets[id.index()] = start;
    let mut scratch = Block::new(layout(nest, &code.slack, &[], place).unwrap()).unwrap();
    let input = |of: &[T]| of.as_ptr().cast_mut().cast::<u8>();
    let mut table = Vec::new();
    for (at, buffer) in nest.buffers.iter().enumerate() {
        table.push(match buffer.role {
            BufferRole::Input => input(&case.input),
            BufferRole::Weight => input(&case.weight),
            BufferRole::Bias => input(case.bias.as_deref().unwrap_or(&[])),
            BufferRole::Residual => input(case.residual.as_deref().unwrap_or(&[])),
            BufferRole::Output => output.as_mut_ptr().cast(),
            BufferRole::Scratch => std::ptr::without_provenance_mut(offsets[at]),
            BufferRole::Packed => {
                let mut block = Block::new(bytes(buffer, code.slack[at], &[]).unwrap()).unwrap();
                let start = block.start();
                blocks.push(block);
                start
            }
        });
    }
    // SAFETY: every array has the extents that the tests' nests name.
    unsafe {
        code.call(Entry::Setup, &table, &[], std::ptr::null_mut(), (0, 1));
        code.call(Entry::Run, &table, &[], scratch.start(), (0, 1));
    }
    output
}

/// A nest under construction.
struct Sketch {
    nest: Nest,
}

impl Sketch {
    fn new(dtype: DType) -> Self {
        Sketch { nest: Nest::new(dtype, 1) }
    }

    fn axis(&mut self, name: &str) -> AxisId {
        self.nest.add_axis(name, Role::Copy, Part::Whole)
    }

    fn buffer(&mut self, role: BufferRole, extents: &[i64]) -> BufferId {
        self.nest.add_buffer(format!("{role:?}"), role, extents.iter().map(|&e| e.into()).collect())
    }
}

fn register(name: &str, axes: &[AxisId]) -> Register {
    Register { name: name.into(), axes: axes.to_vec() }
}

fn load(buffer: BufferId, index: &[Affine]) -> Box<Expr> {
    Box::new(Expr::Load(Access::buffer(buffer, index.iter().cloned())))
}

fn leaf(name: &str) -> Leaf {
    Leaf::copy(name.to_owned(), Vec::new(), Vec::new())
}

/// A tile of `width` lanes x `along` outputs, stored as blocks, with lanes beyond `cut` dead.
fn blocks(dtype: DType, width: i64, along: i64, cut: Option<i64>) -> Nest {
    let mut s = Sketch::new(dtype);
    let (v, l, w, k) = (s.axis("v"), s.axis("l"), s.axis("w"), s.axis("k"));
    let channels = cut.unwrap_or(2 * width);
    let input = s.buffer(BufferRole::Input, &[5, along + 2]);
    let weight = s.buffer(BufferRole::Weight, &[channels, 5]);
    let output = s.buffer(BufferRole::Output, &[channels, along]);
    let channel = ax(v).times(width).plus(&ax(l));
    let each = |axis, op| Op::Each(axis, vec![op]);
    let multiply = Expr::Fma(
        load(input, &[ax(k), ax(w).plus_constant(1)]),
        load(weight, &[channel.clone(), ax(k)]),
        Box::new(Expr::Reg(RegId(0))),
    );
    let tile = Leaf {
        tile: vec![TileAxis { axis: v, extent: 2 }, TileAxis { axis: w, extent: along }],
        lanes: Some(Lanes { axis: l, width, vectors: Some(v), cut }),
        registers: vec![register("acc", &[v, w])],
        init: vec![each(v, each(w, Op::set(RegId(0), Expr::Const(0.25))))],
        reduce: vec![Loop { lo: 1.into(), ..Loop::serial(k, 5) }],
        update: vec![each(v, each(w, Op::set(RegId(0), multiply)))],
        finish: vec![each(
            v,
            Op::StoreBlock {
                to: Access::buffer(output, [channel, ax(w)]),
                reg: RegId(0),
                along: w,
            },
        )],
        ..leaf("blocks")
    };
    s.nest.body = vec![Stmt::Leaf(Box::new(tile))];
    s.nest
}

fn check<T: Element>(nest: &Nest, name: &str) {
    let len = |role| nest.buffer_of(role).map_or(0, |b| nest.constant_len(b).unwrap() as usize);
    let case = Case::<T> {
        input: fill(len(BufferRole::Input), 5),
        weight: fill(len(BufferRole::Weight), 6),
        bias: nest.buffer_of(BufferRole::Bias).map(|_| fill(len(BufferRole::Bias), 7)),
        residual: None,
    };
    let want = case.interpret(nest, len(BufferRole::Output), &[]);
    assert_eq!(bits(&execute(nest, &case, want.len())), bits(&want), "{name}\n{nest}");
}

#[test]
fn blocks_of_every_shape() {
    for width in [1, 2, 3, 4, 6, 8] {
        for along in [1, 2, 3, 4, 5, 7] {
            for cut in [None, Some(2 * width - 1), Some(width)] {
                check::<f32>(&blocks(DType::F32, width, along, cut), "f32");
                check::<f64>(&blocks(DType::F64, width, along, cut), "f64");
            }
        }
    }
}

/// Guards, folds and bounds that only the machine can decide, with a loop that may be empty. Folded
/// indices are `apart` from one another, and so many fold together.
fn dynamic(dtype: DType, fold: Fold, (apart, pixel): (i64, i64)) -> Nest {
    let mut s = Sketch::new(dtype);
    let (o, k, c) = (s.axis("o"), s.axis("k"), s.axis("c"));
    let input = s.buffer(BufferRole::Input, &[3, 7]);
    let weight = s.buffer(BufferRole::Weight, &[3, 5]);
    let output = s.buffer(BufferRole::Output, &[9, 2]);
    let at = ax(o).plus(&ax(k)).plus_constant(-3);
    let folded = Access {
        index: vec![
            ax(c).into(),
            Index::Folded {
                index: at.times(apart),
                extent: Box::new((7 - 7 % pixel).into()),
                fold,
                pixel,
            },
        ],
        ..Access::buffer(input, [])
    };
    let inside =
        vec![Cond::NonNegative(at.clone()), Cond::NonNegative(Affine::constant(6).minus(&at))];
    let chosen = Expr::Select {
        when: inside.clone(),
        then: load(input, &[ax(c), at.clone()]),
        otherwise: Box::new(Expr::Load(folded)),
    };
    let acc = |r: u32| Box::new(Expr::Reg(RegId(r)));
    let even = vec![Cond::Divides(2, ax(k).plus(&ax(o)))];
    let tile = Leaf {
        registers: vec![register("a", &[]), register("b", &[])],
        init: vec![Op::set(RegId(0), Expr::Const(0.0)), Op::set(RegId(1), Expr::Const(-1.5))],
        reduce: vec![
            Loop {
                hi: conv_ir::nest::Bound::Min(vec![3.into(), ax(o).into()]),
                ..Loop::serial(c, 3)
            },
            Loop {
                lo: conv_ir::nest::Bound::Max(vec![0.into(), ax(c).plus_constant(-1).into()]),
                ..Loop::serial(k, 5)
            },
        ],
        update: vec![
            Op::set(RegId(0), Expr::Fma(Box::new(chosen), load(weight, &[ax(c), ax(k)]), acc(0))),
            Op::Set {
                reg: RegId(1),
                value: Expr::Fma(load(weight, &[ax(c), ax(k)]), acc(0), acc(1)),
                when: even,
            },
        ],
        finish: vec![
            Op::Store {
                to: Access::buffer(output, [ax(o), 0.into()]),
                value: *acc(0),
                when: Vec::new(),
            },
            Op::Store {
                to: Access::buffer(output, [ax(o), 1.into()]),
                value: *acc(1),
                when: vec![Cond::NonNegative(Affine::constant(6).minus(&ax(o)))],
            },
            Op::Store {
                to: Access::buffer(output, [ax(o), 1.into()]),
                value: *acc(0),
                when: vec![Cond::NonNegative(ax(o).plus_constant(-7))],
            },
        ],
        ..leaf("dynamic")
    };
    s.nest.body = vec![Stmt::For(
        Loop { kind: LoopKind::Parallel, ..Loop::serial(o, 9) },
        vec![Stmt::Leaf(Box::new(tile))],
    )];
    s.nest
}

#[test]
fn dynamic_guards_folds_and_bounds() {
    for fold in [Fold::Reflect, Fold::Symmetric, Fold::Replicate, Fold::Circular] {
        for by in [(1, 1), (5, 1), (-9, 1), (1, 3), (-5, 2), (4, 3)] {
            check::<f32>(&dynamic(DType::F32, fold, by), "f32");
            check::<f64>(&dynamic(DType::F64, fold, by), "f64");
        }
    }
}

/// The chosen tile of a ResNet layer keeps every accumulator in a register: the inner loop touches
/// no stack.
#[test]
fn the_inner_loop_does_not_spill() {
    let conv = crate::conv2d(64, 64, 3)
        .input([56, 56])
        .padding(1)
        .bias(true)
        .target(Target::CRANELIFT)
        .compile()
        .unwrap();
    let Ok(backend) = Backend::by_triple("x86_64") else { return };
    let text = disassembly(&conv.groups()[0].nest, &backend).unwrap();
    let tiles = text.split("; ").filter(|f| f.starts_with("tile"));
    for function in tiles {
        let loads_stack = |line: &&str| {
            (line.contains("(%rsp)") || line.contains("(%rbp)")) && line.contains("xmm")
        };
        assert_eq!(function.lines().filter(loads_stack).count(), 0, "{function}");
    }
}
