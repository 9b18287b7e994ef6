//! A loop nest becomes Cranelift IR: one function per outlined leaf, and two drivers.
//!
//! ```text
//! leaf   fn(pointer.., int.., symbols?)
//! setup  fn(buffers: *const *mut u8, symbols: *const i64, scratch: *mut u8, part: i64, parts: i64)
//! run    the same
//! ```
//!
//! `buffers` has one address per buffer of the nest (of scratch buffers the offset in `scratch`,
//! see [`scratch`]), `symbols` one value per symbol, the derived ones worked out by the host.
//! Thread `part` of `parts` does its share of every parallel loop.
//!
//! Leaves in place, before pass `outline`, are emitted inside the driver, so that a nest in any
//! state after `unroll` compiles.
//!
//! Requires a verified nest without [`Expr::Activation`]: pass `epilogue` spells activations out.
//! Indices are trusted; nothing is checked at run time.

mod address;
mod driver;
mod emitter;
mod expr;
mod int;
mod last_use;
mod leaf;
mod memory;
mod reduce;
mod requantise;
pub(crate) mod scratch;
mod stored;
mod terms;
mod tile;
mod transpose;
mod vector;

use conv_ir::nest::{Base, Binary, Expr, Leaf, LeafId, Op, Stmt};
use conv_ir::{Isa, Nest};
use cranelift_codegen::ir::{AbiParam, Function, Signature, UserFuncName, types};
use cranelift_codegen::isa::CallConv;
use rustc_hash::FxHashMap as HashMap;

use crate::Error;
use crate::ahead::{self, Ahead};
use crate::backend::Backend;
use crate::x86::{self, Kernels, MicroKernel, Refusal};

/// One function of a compiled nest.
pub(crate) struct Named {
    pub name: String,
    pub body: Body,
}

/// A function, as far as it is made here.
pub(crate) enum Body {
    /// A leaf for Cranelift to compile. Where the assembler was asked for it and refused, it says
    /// why.
    Ir(Box<Function>, Option<Refusal>),
    /// The loops around leaves, for Cranelift to compile.
    Driver(Box<Function>),
    /// A leaf at full width.
    Assembled(Box<MicroKernel>),
}

/// Leaves that take a pointer more, behind their own, to what later calls read.
type Asking = HashMap<LeafId, Ahead>;

/// All functions of a nest. A function's external name is its position here.
pub(crate) struct Emitted {
    pub functions: Vec<Named>,
    pub setup: usize,
    pub run: usize,
}

/// Emits every function of `nest` for `backend`. Leaves are assembled in the instructions of `isa`,
/// as far as the assembler takes them; `kernels` are assembled already,
/// each with its leaf's position.
pub(crate) fn emit(
    nest: &Nest,
    backend: &Backend,
    isa: Isa,
    mut kernels: Kernels,
) -> Result<Emitted, Error> {
    check(nest)?;
    let conv = backend.target.default_call_conv();
    let mut context = cranelift_frontend::FunctionBuilderContext::new();
    let mut functions: Vec<Named> = Vec::with_capacity(nest.leaves.len() + 2);
    let mut asking = Asking::default();
    for (at, leaf) in nest.leaves.iter().enumerate() {
        let body = match kernels.iter().position(|(of, _)| *of == at) {
            Some(made) => {
                let kernel = kernels.swap_remove(made).1;
                let ahead = kernel.share.and_then(|_| ahead::of_leaf(nest, at, isa));
                asking.extend(ahead.map(|ahead| (LeafId(at as u32), ahead)));
                Body::Assembled(Box::new(kernel))
            }
            None => match asks(nest, at, isa) {
                Some((ahead, kernel)) => {
                    asking.insert(LeafId(at as u32), ahead);
                    Body::Assembled(Box::new(kernel))
                }
                None => leaf_body(nest, at, backend, isa, &mut context)?,
            },
        };
        functions.push(Named { name: leaf.name.clone(), body });
    }
    let conventions: Vec<CallConv> = functions.iter().map(|f| f.body.convention(conv)).collect();
    for (name, stmts) in [("setup", &nest.setup), ("run", &nest.body)] {
        let mut function = empty(functions.len(), driver_signature(conv));
        let leaves = (&conventions[..], &asking);
        driver::driver(nest, stmts, backend, leaves, &mut function, &mut context);
        functions.push(Named { name: name.to_owned(), body: Body::Driver(Box::new(function)) });
    }
    let run = functions.len() - 1;
    Ok(Emitted { functions, setup: run - 1, run })
}

/// A leaf that asks for what later calls read, where there is such code.
fn asks(nest: &Nest, at: usize, isa: Isa) -> Option<(Ahead, MicroKernel)> {
    let ahead = ahead::of_leaf(nest, at, isa)?;
    let kernel = x86::assemble_asking(nest, &nest.leaves[at], isa, Some(ahead.share));
    kernel.ok().map(|kernel| (ahead, kernel))
}

fn leaf_body(
    nest: &Nest,
    at: usize,
    backend: &Backend,
    isa: Isa,
    context: &mut cranelift_frontend::FunctionBuilderContext,
) -> Result<Body, Error> {
    let leaf = &nest.leaves[at];
    let refused = match x86::assemble(nest, leaf, isa) {
        Ok(kernel) => return Ok(Body::Assembled(Box::new(kernel))),
        Err(Refusal::Machine) => None,
        Err(refusal) => Some(refusal),
    };
    if leaf.has_masked_loads() {
        let why = refused.map_or("Cranelift has none".to_owned(), |why| why.to_string());
        return Err(Error::Unsupported(format!("leaf {} has masked loads: {why}", leaf.name)));
    }
    let mut function = empty(at, leaf_signature(nest, leaf, backend.target.default_call_conv(), 0));
    let frontend = backend.target.frontend_config();
    leaf::outlined(nest, leaf, backend.facts, &mut function, context, frontend);
    Ok(Body::Ir(Box::new(function), refused))
}

impl Body {
    /// How it is called: what we assemble follows System V everywhere, what Cranelift compiles
    /// follows the host.
    fn convention(&self, host: CallConv) -> CallConv {
        match self {
            Body::Ir(..) | Body::Driver(_) => host,
            Body::Assembled(_) => CallConv::SystemV,
        }
    }
}

fn empty(at: usize, signature: Signature) -> Function {
    Function::with_name_signature(UserFuncName::user(0, at as u32), signature)
}

/// Five words; see the module docs.
pub(crate) fn driver_signature(conv: CallConv) -> Signature {
    words(5, conv)
}

fn leaf_signature(nest: &Nest, leaf: &Leaf, conv: CallConv, more: usize) -> Signature {
    let symbols = usize::from(!nest.symbols.is_empty());
    words(leaf.pointers.len() + more + leaf.ints.len() + symbols, conv)
}

fn words(count: usize, conv: CallConv) -> Signature {
    let mut signature = Signature::new(conv);
    signature.params.resize(count, AbiParam::new(types::I64));
    signature
}

/// What this route cannot do, said before it starts.
fn check(nest: &Nest) -> Result<(), Error> {
    let unsupported = |message: String| Err(Error::Unsupported(message));
    for leaf in nest.all_leaves() {
        if has_activation(leaf) {
            return unsupported(format!(
                "leaf {} holds an activation: pass `epilogue` comes first",
                leaf.name
            ));
        }
    }
    let free = nest.leaves.iter().find(|leaf| names_buffer(leaf));
    match free {
        Some(leaf) => unsupported(format!(
            "outlined leaf {} names a buffer that is no pointer of it",
            leaf.name
        )),
        None => Ok(()),
    }
}

fn has_activation(leaf: &Leaf) -> bool {
    let mut found = false;
    each_expr(leaf, &mut |e| {
        found |= matches!(e, Expr::Activation(..) | Expr::Binary(Binary::Prelu, ..))
    });
    found
}

fn names_buffer(leaf: &Leaf) -> bool {
    let mut found = false;
    each_expr(leaf, &mut |e| {
        found |= matches!(e, Expr::Load(a) if matches!(a.base, Base::Buffer(_)))
    });
    leaf.ops().for_each(|op| {
        op.visit(&mut |op| match op {
            Op::Store { to, .. } | Op::StoreBlock { to, .. } => {
                found |= matches!(to.base, Base::Buffer(_))
            }
            Op::Each(..) | Op::Set { .. } => {}
        });
    });
    found
}

fn each_expr<'a>(leaf: &'a Leaf, f: &mut impl FnMut(&'a Expr)) {
    leaf.ops().for_each(|op| {
        op.visit(&mut |op| match op {
            Op::Set { value, .. } | Op::Store { value, .. } => value.visit(f),
            Op::Each(..) | Op::StoreBlock { .. } => {}
        });
    });
}

/// The leaves called from `stmts`, for declaring them.
fn called(stmts: &[Stmt], found: &mut Vec<conv_ir::nest::LeafId>) {
    for stmt in stmts {
        match stmt {
            Stmt::For(_, body) => called(body, found),
            Stmt::Call(call) if !found.contains(&call.leaf) => found.push(call.leaf),
            Stmt::Call(_) | Stmt::Leaf(_) => {}
        }
    }
}
