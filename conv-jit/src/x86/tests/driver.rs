//! Runs a nest: loops and calls are walked here, leaves are machine code.

use std::ptr;

use conv_ir::nest::{Access, Base, Bound, BufferId, BufferRole, Call, Index, Stmt, Var};
use conv_ir::{Element, Isa, Nest};

use crate::pages::Pages;
use crate::x86::{MicroKernel, Refusal, assemble};

/// As many arguments as any leaf takes: extra ones do no harm.
type Entry = extern "sysv64" fn(
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
    usize,
);

/// Elements of slack behind a buffer of ours, and of canary around the output.
const SLACK: usize = 64;

/// The leaves of a nest in executable memory.
pub struct Loaded {
    pages: Vec<Pages>,
    pub machines: Vec<MicroKernel>,
}

impl Loaded {
    /// Assembles all leaves, or says which is refused.
    pub fn new(nest: &Nest, isa: Isa) -> Result<Loaded, (String, Refusal)> {
        let one = |leaf| assemble(nest, leaf, isa).map_err(|e| (leaf.name.clone(), e));
        let machines = nest.leaves.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let load = |machine: &MicroKernel| Pages::new(&machine.code).expect("memory");
        Ok(Loaded { pages: machines.iter().map(load).collect(), machines })
    }

    fn entry(&self, at: usize) -> Entry {
        // SAFETY: the code follows the convention, and reads no argument beyond its own.
        unsafe { std::mem::transmute::<*const u8, Entry>(self.pages[at].address(0)) }
    }
}

/// A nest's buffers.
pub struct Memory<'a, T> {
    nest: &'a Nest,
    loaded: &'a Loaded,
    buffers: Vec<Vec<T>>,
    strides: Vec<Vec<i64>>,
    axes: Vec<i64>,
}

impl<'a, T: Element> Memory<'a, T> {
    pub fn new(
        nest: &'a Nest,
        loaded: &'a Loaded,
        given: impl Fn(BufferRole) -> Option<Vec<T>>,
    ) -> Self {
        let canary = T::from_f64(12345.0);
        let buffer = |at: usize| {
            let buffer = &nest.buffers[at];
            let len = nest.constant_len(BufferId(at as u32)).expect("a size") as usize;
            let inside = match buffer.role {
                BufferRole::Packed => vec![T::from_f64(0.0); len],
                BufferRole::Output | BufferRole::Scratch => vec![T::from_f64(f64::NAN); len],
                role => given(role).expect("an array"),
            };
            assert_eq!(inside.len(), len, "{}", buffer.name);
            [vec![canary; SLACK], inside, vec![canary; SLACK]].concat()
        };
        let strides = |at: usize| {
            let mut strides: Vec<i64> = nest.buffers[at]
                .extents
                .iter()
                .rev()
                .map(|e| e.as_constant().expect("a size"))
                .collect();
            let mut stride = 1;
            strides.iter_mut().for_each(|e| (*e, stride) = (stride, stride * *e));
            strides.reverse();
            strides
        };
        let all = 0..nest.buffers.len();
        Memory {
            nest,
            loaded,
            buffers: all.clone().map(buffer).collect(),
            strides: all.map(strides).collect(),
            axes: vec![0; nest.axes.len()],
        }
    }

    pub fn setup(&mut self) {
        self.stmts(&self.nest.setup);
    }

    pub fn body(&mut self) {
        self.stmts(&self.nest.body);
    }

    /// The output, its surroundings untouched.
    pub fn output(&self) -> &[T] {
        let at = self.nest.buffer_of(BufferRole::Output).expect("an output").index();
        let all = &self.buffers[at];
        let canaries = all[..SLACK].iter().chain(&all[all.len() - SLACK..]);
        assert!(
            canaries.into_iter().all(|x| x.to_f64() == 12345.0),
            "the output is written outside"
        );
        &all[SLACK..all.len() - SLACK]
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For(l, body) => {
                    for at in self.bound(&l.lo)..self.bound(&l.hi) {
                        self.axes[l.axis.index()] = at;
                        self.stmts(body);
                    }
                }
                Stmt::Call(call) => self.call(call),
                Stmt::Leaf(_) => panic!("a leaf in place"),
            }
        }
    }

    fn value(&self, var: Var) -> i64 {
        match var {
            Var::Axis(axis) => self.axes[axis.index()],
            Var::Symbol(_) => panic!("a symbol"),
        }
    }

    fn bound(&self, bound: &Bound) -> i64 {
        bound.eval(|v| self.value(v))
    }

    fn call(&mut self, call: &Call) {
        let mut arguments = [0usize; 12];
        let addresses = call.pointers.iter().map(|p| self.address(p));
        let ints = call.ints.iter().map(|i| self.bound(i) as usize);
        addresses.chain(ints).zip(&mut arguments).for_each(|(value, to)| *to = value);
        let [a, b, c, d, e, f, g, h, i, j, k, l] = arguments;
        self.loaded.entry(call.leaf.index())(a, b, c, d, e, f, g, h, i, j, k, l);
    }

    fn address(&self, access: &Access) -> usize {
        let Base::Buffer(buffer) = access.base else { panic!("a pointer in the driver") };
        let offset = |(index, stride): (&Index, &i64)| index.eval(|v| self.value(v)) * stride;
        let at: i64 = access.index.iter().zip(&self.strides[buffer.index()]).map(offset).sum();
        let start = ptr::from_ref(&self.buffers[buffer.index()][SLACK]) as usize;
        start.wrapping_add_signed(at as isize * size_of::<T>() as isize)
    }
}
