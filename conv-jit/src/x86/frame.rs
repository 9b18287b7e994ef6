//! General registers and loops: who holds which pointer, how pointers move, how often loops turn.
//!
//! ```text
//! for ic in 0..64 { for kh in i0..i1 { update } }       p1 moves 768 bytes an ic and 12 a kh
//!
//!   n = max(0, i1 - i0); back = 768 - 12 n              once, into the frame where not constant
//!   c1 += 12 i0                                         cursors start where the loops start
//!   r = 64
//!   outer: s = n; if s == 0 skip
//!   inner: update; c1 += 12; s -= 1; if s != 0 inner
//!   skip:  c1 += back; r -= 1; if r != 0 outer
//! ```
//!
//! Arguments arrive as the System V convention says. A pointer that nothing needs after the loops
//! is its own cursor.

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::Refusal;
use super::text::{Label, Text};
use super::tiles;
use super::vectors::{Given, Vectors};
use crate::leaf::inst::{LeafCode, LoopEnd, Motion, SerialLoop, names};

/// Holds what is needed for a moment.
const SCRATCH: Register = Register::RAX;
/// The smallest page there is.
const PAGE: i64 = 4096;
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];
/// What is free at the entry: the first two may be clobbered, the others are saved where used.
const OTHERS: [Register; 8] = [
    Register::R10,
    Register::R11,
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Where an integer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Reg(Register),
    /// Eight bytes of the frame, by number.
    Slot(i64),
    /// An argument on the stack, by number.
    Argument(i64),
}

/// A number of iterations or of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Known(i64),
    Slot(i64),
}

pub(super) struct Frame<'a> {
    code: &'a LeafCode,
    /// Per cursor.
    cursors: Vec<Register>,
    /// Per pointer.
    pointers: Vec<Home>,
    /// Per int that a bound names.
    ints: Vec<Home>,
    /// Per loop.
    counters: Vec<Home>,
    counts: Vec<Amount>,
    /// Per loop and cursor: what is added at the end of an iteration.
    bumps: Vec<Vec<Amount>>,
    saved: Vec<Register>,
    slots: i64,
    room: Room,
    /// What is to the room for tiles, where there is any.
    tiles: Option<Register>,
}

/// Room for vectors on the stack.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub vectors: usize,
    /// Of one.
    pub bytes: i64,
    /// Tiles, behind the vectors, at a line of the cache.
    pub tiles: i64,
}

impl<'a> Frame<'a> {
    pub fn new(code: &'a LeafCode, ints: usize, room: Room) -> Result<Frame<'a>, Refusal> {
        let argument =
            |at: usize| ARGUMENTS.get(at).map_or(Home::Argument(at as i64 - 6), |r| Home::Reg(*r));
        let arguments = code.pointers + ints;
        let mut free: Vec<Register> =
            ARGUMENTS.iter().skip(arguments).chain(&OTHERS).copied().collect();
        free.reverse();
        let mut frame = Frame {
            code,
            cursors: Vec::new(),
            pointers: (0..code.pointers).map(argument).collect(),
            ints: (code.pointers..arguments).map(argument).collect(),
            counters: Vec::new(),
            counts: Vec::new(),
            bumps: Vec::new(),
            saved: Vec::new(),
            slots: 0,
            room,
            tiles: None,
        };
        frame.place_cursors(&mut free)?;
        if room.tiles > 0 {
            frame.tiles = Some(free.pop().ok_or(Refusal::Integers)?);
        }
        frame.place_counters(&mut free);
        frame.counts = code
            .loops
            .iter()
            .map(|l| l.count().map_or_else(|| frame.slot(), Amount::Known))
            .collect();
        frame.bumps = (0..code.loops.len())
            .map(|at| code.cursors.iter().map(|c| frame.bump(at, c)).collect())
            .collect();
        frame.saved = OTHERS[2..].iter().copied().filter(|r| !free.contains(r)).collect();
        Ok(frame)
    }

    fn slot(&mut self) -> Amount {
        self.slots += 1;
        Amount::Slot(self.slots - 1)
    }

    fn place_cursors(&mut self, free: &mut Vec<Register>) -> Result<(), Refusal> {
        for (at, cursor) in self.code.cursors.iter().enumerate() {
            let home = self.pointers[cursor.pointer];
            let own = match home {
                Home::Reg(reg) if cursor.is_still() || self.is_last_user(at) => reg,
                _ => free.pop().ok_or(Refusal::Integers)?,
            };
            self.cursors.push(own);
        }
        Ok(())
    }

    /// Whether nothing but this cursor needs the pointer from the loops on.
    fn is_last_user(&self, at: usize) -> bool {
        let pointer = self.code.cursors[at].pointer;
        let others = |(_, c): &(usize, &Motion)| c.pointer == pointer && !c.is_still();
        let first = self.code.cursors.iter().enumerate().find(others).map(|(i, _)| i);
        let moving = self.code.cursors.iter().enumerate().filter(others).count();
        let still = self.code.cursors.iter().position(|c| c.pointer == pointer && c.is_still());
        let later = still.is_some_and(|still| {
            names(&self.code.update, still) || names(&self.code.finish, still)
        });
        first == Some(at) && moving == 1 && !later
    }

    fn place_counters(&mut self, free: &mut Vec<Register>) {
        let mut homes: Vec<Home> = Vec::new();
        for _ in &self.code.loops {
            // Innermost loops first: theirs turn most.
            homes.push(free.pop().map_or_else(
                || {
                    self.slots += 1;
                    Home::Slot(self.slots - 1)
                },
                Home::Reg,
            ));
        }
        homes.reverse();
        self.counters = homes;
    }

    /// Bytes added to a cursor after one iteration of loop `at`: its stride there, minus what the
    /// inner loop already added.
    fn bump(&mut self, at: usize, cursor: &Motion) -> Amount {
        let inner = cursor.moves.get(at + 1).copied().unwrap_or(0);
        match self.counts.get(at + 1) {
            Some(Amount::Known(count)) => Amount::Known(cursor.moves[at] - count * inner),
            Some(Amount::Slot(_)) if inner != 0 => self.slot(),
            Some(Amount::Slot(_)) | None => Amount::Known(cursor.moves[at]),
        }
    }

    /// Bytes below the saved registers: slots, then vectors, then tiles.
    fn bytes(&self) -> i64 {
        self.first_tile() + tiles::room_bytes(self.room.tiles)
    }

    /// Where tiles begin on the stack, before they are put at a line.
    fn first_tile(&self) -> i64 {
        self.first_spill() + self.room.vectors as i64 * self.room.bytes
    }

    /// Where vectors begin on the stack.
    fn first_spill(&self) -> i64 {
        8 * self.slots
    }

    /// What straight-line code may use.
    pub fn given(&self) -> Given {
        Given {
            bases: self.cursors.iter().copied().chain(self.tiles).collect(),
            first_spill: self.first_spill(),
            spills: self.room.vectors,
        }
    }

    /// Saves registers, and works out what the loops need.
    pub fn enter(&self, text: &mut Text) {
        for reg in &self.saved {
            text.push(Instruction::with1(Code::Push_r64, *reg));
        }
        if self.tiles.is_some() {
            tiles::touch_pages(text, self.bytes(), PAGE);
        }
        if self.bytes() > 0 {
            text.push(Instruction::with2(Code::Sub_rm64_imm32, Register::RSP, self.bytes() as i32));
        }
        if let Some(register) = self.tiles {
            tiles::find_room(text, register, self.first_tile());
        }
        for (l, count) in self.code.loops.iter().zip(&self.counts) {
            if let Amount::Slot(slot) = count {
                self.count(text, l, *slot);
            }
        }
        for at in 0..self.code.loops.len() {
            for (cursor, bump) in self.code.cursors.iter().zip(&self.bumps[at]) {
                if let Amount::Slot(slot) = bump {
                    self.rewind(text, at, cursor, *slot);
                }
            }
        }
        for (cursor, own) in self.code.cursors.iter().zip(&self.cursors) {
            if cursor.is_still() && !matches!(self.pointers[cursor.pointer], Home::Reg(_)) {
                self.fetch(text, *own, self.pointers[cursor.pointer]);
            }
        }
    }

    /// `slot = max(0, hi - lo)`.
    fn count(&self, text: &mut Text, l: &SerialLoop, slot: i64) {
        let scratch = SCRATCH;
        self.end(text, l.hi);
        match l.lo {
            LoopEnd::Known(lo) => {
                text.push(Instruction::with2(Code::Sub_rm64_imm32, scratch, lo as i32))
            }
            LoopEnd::Int(at, plus) => {
                match self.ints[at] {
                    Home::Reg(reg) => {
                        text.push(Instruction::with2(Code::Sub_rm64_r64, scratch, reg))
                    }
                    home => text.push(Instruction::with2(
                        Code::Sub_r64_rm64,
                        scratch,
                        self.memory(home),
                    )),
                }
                text.push(Instruction::with2(Code::Sub_rm64_imm32, scratch, plus as i32));
            }
        }
        // A negative number becomes zero: keep it where its sign is clear.
        text.push(Instruction::with2(Code::Mov_rm64_r64, self.memory(Home::Slot(slot)), scratch));
        text.push(Instruction::with2(Code::Sar_rm64_imm8, scratch, 63));
        text.push(Instruction::with1(Code::Not_rm64, scratch));
        text.push(Instruction::with2(Code::And_rm64_r64, self.memory(Home::Slot(slot)), scratch));
    }

    /// Loads the end of a range into the scratch register.
    fn end(&self, text: &mut Text, end: LoopEnd) {
        match end {
            LoopEnd::Known(n) => {
                text.push(Instruction::with2(Code::Mov_rm64_imm32, SCRATCH, n as i32))
            }
            LoopEnd::Int(at, plus) => {
                self.fetch(text, SCRATCH, self.ints[at]);
                if plus != 0 {
                    text.push(Instruction::with2(Code::Add_rm64_imm32, SCRATCH, plus as i32));
                }
            }
        }
    }

    /// `slot = move - count * inner`.
    fn rewind(&self, text: &mut Text, at: usize, cursor: &Motion, slot: i64) {
        if let Amount::Slot(count) = self.counts[at + 1] {
            let inner = cursor.moves[at + 1] as i32;
            text.push(Instruction::with3(
                Code::Imul_r64_rm64_imm32,
                SCRATCH,
                self.memory(Home::Slot(count)),
                -inner,
            ));
            text.push(Instruction::with2(Code::Add_rm64_imm32, SCRATCH, cursor.moves[at] as i32));
            text.push(Instruction::with2(
                Code::Mov_rm64_r64,
                self.memory(Home::Slot(slot)),
                SCRATCH,
            ));
        }
    }

    fn fetch(&self, text: &mut Text, to: Register, home: Home) {
        match home {
            Home::Reg(reg) if reg == to => {}
            Home::Reg(reg) => text.push(Instruction::with2(Code::Mov_r64_rm64, to, reg)),
            home => text.push(Instruction::with2(Code::Mov_r64_rm64, to, self.memory(home))),
        }
    }

    fn memory(&self, home: Home) -> MemoryOperand {
        let at = match home {
            Home::Slot(slot) => 8 * slot,
            Home::Argument(argument) => self.bytes() + 8 * (self.saved.len() as i64 + 1 + argument),
            Home::Reg(_) => 0,
        };
        MemoryOperand::with_base_displ(Register::RSP, at)
    }

    /// Moves cursors to where the loops start. After this, only they and what stands still may be
    /// used.
    pub fn start(&self, text: &mut Text) {
        for (cursor, own) in self.code.cursors.iter().zip(&self.cursors) {
            if cursor.is_still() {
                continue;
            }
            self.fetch(text, *own, self.pointers[cursor.pointer]);
            for (l, by) in self.code.loops.iter().zip(&cursor.moves) {
                if let LoopEnd::Int(..) = l.lo
                    && *by != 0
                {
                    self.end(text, l.lo);
                    text.push(Instruction::with3(
                        Code::Imul_r64_rm64_imm32,
                        SCRATCH,
                        SCRATCH,
                        *by as i32,
                    ));
                    text.push(Instruction::with2(Code::Add_rm64_r64, *own, SCRATCH));
                }
            }
        }
    }

    /// The loops from `at` on, around the update.
    pub fn loops(&self, vectors: &mut Vectors<'_>, at: usize) -> Result<(), Refusal> {
        let Some(counter) = self.counters.get(at).copied() else {
            return vectors.section(&self.code.update, false);
        };
        let (head, exit) = (vectors.text.label(), vectors.text.label());
        self.turn(&mut vectors.text, at, counter, exit);
        let is_innermost = at + 1 == self.counters.len();
        if is_innermost {
            vectors.text.align(32);
            vectors.hot.start = vectors.text.len();
        }
        vectors.text.bind(head);
        self.loops(vectors, at + 1)?;
        let text = &mut vectors.text;
        for (own, bump) in self.cursors.iter().zip(&self.bumps[at]) {
            self.add(text, *own, *bump);
        }
        text.push(match counter {
            Home::Reg(reg) => Instruction::with1(Code::Dec_rm64, reg),
            home => Instruction::with1(Code::Dec_rm64, self.memory(home)),
        });
        text.branch(Code::Jne_rel32_64, head);
        text.bind(exit);
        if is_innermost {
            vectors.hot.end = vectors.text.len();
        }
        Ok(())
    }

    /// Sets a loop's counter, or leaves where there is nothing to count.
    fn turn(&self, text: &mut Text, at: usize, counter: Home, exit: Label) {
        let reg = match counter {
            Home::Reg(reg) => reg,
            Home::Slot(_) | Home::Argument(_) => SCRATCH,
        };
        match self.counts[at] {
            Amount::Known(count) => {
                text.push(Instruction::with2(Code::Mov_rm64_imm32, reg, count as i32))
            }
            Amount::Slot(slot) => {
                text.push(Instruction::with2(
                    Code::Mov_r64_rm64,
                    reg,
                    self.memory(Home::Slot(slot)),
                ));
                text.push(Instruction::with2(Code::Test_rm64_r64, reg, reg));
                text.branch(Code::Je_rel32_64, exit);
            }
        }
        if reg == SCRATCH {
            text.push(Instruction::with2(Code::Mov_rm64_r64, self.memory(counter), reg));
        }
    }

    fn add(&self, text: &mut Text, to: Register, amount: Amount) {
        match amount {
            Amount::Known(0) => {}
            Amount::Known(bytes) => {
                text.push(Instruction::with2(add_immediate(bytes), to, bytes as i32))
            }
            Amount::Slot(slot) => {
                text.push(Instruction::with2(Code::Add_r64_rm64, to, self.memory(Home::Slot(slot))))
            }
        }
    }

    /// Restores everything and returns.
    pub fn leave(&self, text: &mut Text) {
        text.push(Ok(Instruction::with(Code::VEX_Vzeroupper)));
        if self.bytes() > 0 {
            text.push(Instruction::with2(Code::Add_rm64_imm32, Register::RSP, self.bytes() as i32));
        }
        for reg in self.saved.iter().rev() {
            text.push(Instruction::with1(Code::Pop_r64, *reg));
        }
        text.push(Ok(Instruction::with(Code::Retnq)));
    }

    /// Refuses what 32-bit immediates do not hold, and a frame of a page but for tiles: nothing
    /// else here touches the pages of a long one in turn.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.first_tile() >= PAGE {
            return Err(Refusal::Integers);
        }
        let near = |n: i64| n.abs() < 1 << 30;
        let known = |a: &Amount| match a {
            Amount::Known(n) => near(*n),
            Amount::Slot(_) => true,
        };
        let end = |e: LoopEnd| match e {
            LoopEnd::Known(n) | LoopEnd::Int(_, n) => near(n),
        };
        let all = self.code.cursors.iter().flat_map(|c| &c.moves).all(|m| near(*m))
            && self.bumps.iter().flatten().chain(&self.counts).all(known)
            && self.code.loops.iter().all(|l| end(l.lo) && end(l.hi));
        if all { Ok(()) } else { Err(Refusal::Far) }
    }
}

fn add_immediate(bytes: i64) -> Code {
    if i8::try_from(bytes).is_ok() { Code::Add_rm64_imm8 } else { Code::Add_rm64_imm32 }
}
