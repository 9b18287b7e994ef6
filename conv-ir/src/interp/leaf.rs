//! One execution of a leaf: registers, operations, expressions.

use super::Machine;
use super::memory::Fault;
use crate::Element;
use crate::activation::{self, Activation};
use crate::nest::{
    Access, Affine, AxisId, Base, BufferId, Cond, Expr, Index, Leaf, Loop, Op, RegId,
};

/// An array of vector registers; `None` was never set.
struct Registers<T> {
    /// Its tile axes, each with the distance of neighbours in `lanes`.
    strides: Vec<(AxisId, usize)>,
    lanes: Vec<Option<T>>,
}

pub(super) struct LeafRun<'m, 'a, T> {
    machine: &'m mut Machine<'a, T>,
    leaf: &'a Leaf,
    /// The element behind each pointer parameter.
    pointers: Vec<Vec<i64>>,
    registers: Vec<Registers<T>>,
    width: i64,
    lane: i64,
}

impl<'m, 'a, T: Element> LeafRun<'m, 'a, T> {
    pub(super) fn new(
        machine: &'m mut Machine<'a, T>,
        leaf: &'a Leaf,
        pointers: Vec<Vec<i64>>,
    ) -> Self {
        let registers = leaf.registers.iter().map(|r| registers(leaf, &r.axes)).collect();
        LeafRun { machine, leaf, pointers, registers, width: leaf.width(), lane: 0 }
    }

    pub(super) fn run(&mut self) {
        let leaf = self.leaf;
        self.at_lane(0);
        self.ops(&leaf.init);
        self.reduce(&leaf.reduce);
        self.ops(&leaf.finish);
        if let Some(lanes) = &leaf.lanes {
            self.machine.env.unbind(lanes.axis);
        }
    }

    fn reduce(&mut self, loops: &'a [Loop]) {
        let Some((l, inner)) = loops.split_first() else {
            return self.ops(&self.leaf.update);
        };
        let (lo, hi) = self.machine.range(l);
        for value in lo..hi {
            self.machine.env.bind(l.axis, value);
            self.reduce(inner);
        }
        self.machine.env.unbind(l.axis);
    }

    fn ops(&mut self, ops: &'a [Op]) {
        for op in ops {
            match op {
                Op::Each(axis, body) => self.each(*axis, |run| run.ops(body)),
                Op::Set { reg, value, when } if self.holds(when) => {
                    self.lanes(|run| run.set(*reg, value))
                }
                Op::Store { to, value, when } if self.holds(when) => self.lanes(|run| {
                    let value = run.eval(value);
                    run.store(to, value);
                }),
                Op::Set { .. } | Op::Store { .. } => {}
                Op::StoreBlock { to, reg, along } => self.each(*along, |run| {
                    run.lanes(|run| {
                        let value = run.register(*reg);
                        run.store(to, value);
                    });
                }),
            }
        }
    }

    fn each(&mut self, axis: AxisId, mut body: impl FnMut(&mut Self)) {
        let extent = tile_extent(self.leaf, axis);
        for value in 0..extent {
            self.machine.env.bind(axis, value);
            body(self);
        }
        self.machine.env.unbind(axis);
    }

    /// Once per lane, the lane axis bound to it. Between operations it stays at lane 0, for the
    /// conditions of scalar leaves.
    fn lanes(&mut self, mut body: impl FnMut(&mut Self)) {
        for lane in 0..self.width {
            self.at_lane(lane);
            body(self);
        }
        self.at_lane(0);
    }

    fn at_lane(&mut self, lane: i64) {
        self.lane = lane;
        if let Some(lanes) = &self.leaf.lanes {
            self.machine.env.bind(lanes.axis, lane);
        }
    }

    /// Whether the current lane is beyond the cut.
    fn is_dead(&self) -> bool {
        self.lane >= self.live()
    }

    /// Lanes of the current vector that are not beyond the cut, if that leaves any.
    fn live(&self) -> i64 {
        let Some((lanes, cut)) = self.leaf.lanes.and_then(|lanes| Some((lanes, lanes.cut?))) else {
            return self.width;
        };
        let vector = lanes.vectors.and_then(|v| self.machine.env.axes[v.index()]).unwrap_or(0);
        (cut - vector * lanes.width).clamp(0, self.width)
    }

    fn holds(&self, when: &[Cond]) -> bool {
        when.iter().all(|c| c.eval(|v| self.machine.env.value(v)))
    }

    fn slot(&self, reg: RegId) -> usize {
        let value = |axis: AxisId| self.machine.env.value(crate::nest::Var::Axis(axis)) as usize;
        let point: usize = self.registers[reg.index()]
            .strides
            .iter()
            .map(|(axis, stride)| value(*axis) * stride)
            .sum();
        point + self.lane as usize
    }

    fn set(&mut self, reg: RegId, value: &Expr) {
        let value = self.eval(value);
        let slot = self.slot(reg);
        self.registers[reg.index()].lanes[slot] = Some(value);
    }

    fn register(&self, reg: RegId) -> T {
        self.registers[reg.index()].lanes[self.slot(reg)].unwrap_or_else(|| {
            let (leaf, name) = (&self.leaf.name, &self.leaf.registers[reg.index()].name);
            panic!(
                "interp: leaf {leaf}: register {name} is read before it is set, at {}",
                self.machine.env.place()
            )
        })
    }

    fn eval(&mut self, expr: &Expr) -> T {
        match expr {
            Expr::Const(c) => T::from_f64(*c),
            Expr::Reg(reg) => self.register(*reg),
            Expr::Load(access) => self.load(access),
            Expr::Select { when, then, otherwise } => {
                self.eval(if self.holds(when) { then } else { otherwise })
            }
            Expr::Unary(op, a) => activation::unary(*op, self.eval(a)),
            Expr::Binary(op, a, b) => activation::binary(*op, self.eval(a), self.eval(b)),
            Expr::Fma(a, b, c) => {
                let (a, b) = (self.eval(a), self.eval(b));
                a.fma(b, self.eval(c))
            }
            Expr::Choose { a, b, then, otherwise } => {
                let (a, b, then, otherwise) =
                    (self.eval(a), self.eval(b), self.eval(then), self.eval(otherwise));
                if a < b { then } else { otherwise }
            }
            Expr::Activation(which, a) => {
                let x = self.eval(a);
                self.activation(which, x)
            }
        }
    }

    fn activation(&mut self, which: &Activation, x: T) -> T {
        let programs = &mut self.machine.programs;
        let at = programs.iter().position(|(known, _)| known == which).unwrap_or_else(|| {
            programs.push((which.clone(), activation::program(which, T::DTYPE)));
            programs.len() - 1
        });
        activation::eval(&programs[at].1, x)
    }

    fn load(&self, access: &Access) -> T {
        let dead = self.is_dead() && self.follows_lanes(access);
        let buffer = self.machine.nest.buffer_behind(self.leaf, access.base);
        if dead && self.machine.memory.is_callers(buffer) {
            return T::poison();
        }
        if dead {
            self.check_dead(buffer, access);
        }
        match self
            .position(buffer, access)
            .and_then(|position| self.machine.memory.read(buffer, position))
        {
            Ok(value) => value,
            Err(_) if dead => T::poison(),
            Err(fault) => self.fail("load", access, fault),
        }
    }

    /// A dead lane that machine code touches lies in its buffer or in the slack behind it.
    fn check_dead(&self, buffer: BufferId, access: &Access) {
        let reach = self.machine.nest.reach(self.leaf, access);
        let touched = self.machine.nest.buffer(buffer).touched(self.width, self.live(), reach);
        let slack = self.machine.slack[self.machine.nest.memory_of(buffer).index()];
        if self.lane < touched
            && let Err(fault) = self.machine.memory.touch(buffer, self.index(access), slack)
        {
            self.fail("load", access, fault)
        }
    }

    fn store(&mut self, to: &Access, value: T) {
        if self.is_dead() {
            return;
        }
        let buffer = self.machine.nest.buffer_behind(self.leaf, to.base);
        let position = self.position(buffer, to);
        if let Err(fault) =
            position.and_then(|position| self.machine.memory.write(buffer, position, value))
        {
            self.fail("store", to, fault)
        }
    }

    /// Whether lanes, or vectors along the lanes' split, read different elements.
    fn follows_lanes(&self, access: &Access) -> bool {
        let Some(lanes) = &self.leaf.lanes else { return false };
        let names =
            |a: &Affine| a.axes().any(|axis| axis == lanes.axis || Some(axis) == lanes.vectors);
        access.index.iter().any(|index| match index {
            Index::Affine(a) => names(a),
            Index::Quotient(q) => names(&q.numerator),
            Index::Folded { index, extent, .. } => names(index) || names(extent),
        })
    }

    fn position(&self, buffer: BufferId, access: &Access) -> Result<usize, Fault> {
        self.machine.memory.position(buffer, self.index(access))
    }

    /// The index along each dimension of the buffer.
    fn index<'s>(&'s self, access: &'s Access) -> impl ExactSizeIterator<Item = i64> + 's {
        let base: &[i64] = match access.base {
            Base::Buffer(_) => &[],
            Base::Pointer(pointer) => &self.pointers[pointer.index()],
        };
        let relative = access.index.iter().map(|i| i.eval(|v| self.machine.env.value(v)));
        relative.enumerate().map(move |(d, i)| i + base.get(d).copied().unwrap_or(0))
    }

    #[cold]
    fn fail(&self, verb: &str, access: &Access, fault: Fault) -> ! {
        let nest = self.machine.nest;
        let access = crate::nest::Names { nest, leaf: Some(self.leaf) }.access(access);
        let (leaf, place) = (&self.leaf.name, self.machine.env.place());
        panic!(
            "interp: leaf {leaf}: {verb} {access}: {}, at {place}, lane {}",
            fault.text(),
            self.lane
        )
    }
}

fn tile_extent(leaf: &Leaf, axis: AxisId) -> i64 {
    let found = leaf.tile.iter().find(|t| t.axis == axis);
    found
        .unwrap_or_else(|| panic!("interp: leaf {}: axis {} is not in the tile", leaf.name, axis.0))
        .extent
}

fn registers<T: Element>(leaf: &Leaf, axes: &[AxisId]) -> Registers<T> {
    let mut stride = leaf.width() as usize;
    let mut strides = Vec::with_capacity(axes.len());
    for axis in axes {
        strides.push((*axis, stride));
        stride *= tile_extent(leaf, *axis) as usize;
    }
    Registers { strides, lanes: vec![None; stride] }
}
