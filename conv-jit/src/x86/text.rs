//! Bytes of code: instructions in, branches and constants patched at the end.
//!
//! Constants lie behind the last instruction and are addressed relative to the instruction pointer,
//! so the code runs wherever it is put.

use std::cell::Cell;

use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand, Register};

use super::Refusal;

/// A place in the code, known once it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Bytes behind the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constant(usize);

enum Target {
    Label(Label),
    Constant(Constant),
}

/// Four bytes at `at` count from `end` to the target.
struct Patch {
    at: usize,
    end: usize,
    target: Target,
}

thread_local! {
    /// One that is not in use: making it takes as long as some hundred instructions.
    static SPARE: Cell<Option<Encoder>> = const { Cell::new(None) };
}

/// The longest instruction there is.
const LONGEST: u64 = 15;

pub(super) struct Text {
    encoder: Encoder,
    len: u64,
    labels: Vec<usize>,
    constants: Vec<Vec<u8>>,
    patches: Vec<Patch>,
    /// The first failure; everything after is void.
    failed: Option<IcedError>,
}

/// The finished bytes.
pub(super) struct Bytes {
    pub code: Vec<u8>,
    /// Where instructions end and constants begin.
    pub instructions: usize,
}

impl Text {
    pub fn new() -> Text {
        Text {
            encoder: SPARE.take().unwrap_or_else(|| Encoder::new(64)),
            len: 0,
            labels: Vec::new(),
            constants: Vec::new(),
            patches: Vec::new(),
            failed: None,
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Appends an instruction. Failures are kept for [`Text::finish`].
    pub fn push(&mut self, instruction: Result<Instruction, IcedError>) {
        if self.failed.is_some() {
            return;
        }
        match instruction.and_then(|i| self.encoder.encode(&i, self.len)) {
            Ok(bytes) => self.len += bytes as u64,
            Err(error) => self.failed = Some(error),
        }
    }

    /// Appends an instruction whose memory operand is [`Text::constant_operand`].
    pub fn push_with_constant(
        &mut self,
        instruction: Result<Instruction, IcedError>,
        constant: Constant,
    ) {
        let start = self.len as usize;
        self.push(instruction);
        let at = start + self.encoder.get_constant_offsets().displacement_offset();
        self.patches.push(Patch { at, end: self.len as usize, target: Target::Constant(constant) });
    }

    /// The operand that stands for any constant until it is patched.
    pub fn constant_operand(&self, broadcast: bool) -> MemoryOperand {
        let near = (self.len + LONGEST) as i64;
        MemoryOperand::with_base_displ_size_bcst_seg(
            Register::RIP,
            near,
            8,
            broadcast,
            Register::None,
        )
    }

    /// The constant of these bytes, shared with equal ones.
    pub fn constant(&mut self, bytes: Vec<u8>) -> Constant {
        let known = self.constants.iter().position(|c| c.starts_with(&bytes));
        Constant(known.unwrap_or_else(|| {
            self.constants.push(bytes);
            self.constants.len() - 1
        }))
    }

    /// A label not bound yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(0);
        Label(self.labels.len() - 1)
    }

    /// Here.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = self.len as usize;
    }

    /// A branch with 32 bits of distance.
    pub fn branch(&mut self, code: Code, target: Label) {
        self.push(Instruction::with_branch(code, self.len));
        let end = self.len as usize;
        self.patches.push(Patch { at: end - 4, end, target: Target::Label(target) });
    }

    /// Fills with `nop`s up to a multiple of `to`.
    pub fn align(&mut self, to: u64) {
        let gap = self.len.next_multiple_of(to) - self.len;
        let mut left = gap;
        while left > 0 {
            let (code, bytes) = nop(left);
            match code {
                Some(code) => {
                    let operand = MemoryOperand::with_base_displ_size(
                        Register::RAX,
                        0,
                        if bytes == 7 { 8 } else { 1 },
                    );
                    self.push(Instruction::with1(code, operand));
                }
                None => self.push(Ok(Instruction::with(Code::Nopd))),
            }
            left -= bytes;
        }
    }

    /// Everything, patched.
    pub fn finish(mut self) -> Result<Bytes, Refusal> {
        if let Some(error) = self.failed {
            return Err(Refusal::Encoding(error.to_string()));
        }
        let mut code = self.encoder.take_buffer();
        SPARE.set(Some(self.encoder));
        let instructions = code.len();
        let mut at = Vec::with_capacity(self.constants.len());
        for constant in &self.constants {
            // A vector constant that crosses a cache line costs a second load.
            code.resize(code.len().next_multiple_of(constant.len().clamp(4, 64)), 0xcc);
            at.push(code.len());
            code.extend(constant);
        }
        for patch in &self.patches {
            let target = match patch.target {
                Target::Label(label) => self.labels[label.0],
                Target::Constant(constant) => at[constant.0],
            };
            let distance = (target as i64 - patch.end as i64) as i32;
            code[patch.at..patch.at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        Ok(Bytes { code, instructions })
    }
}

/// The longest `nop` of at most `left` bytes.
fn nop(left: u64) -> (Option<Code>, u64) {
    match left {
        7.. => (Some(Code::Nop_rm32), 7),
        4..=6 => (Some(Code::Nop_rm32), 4),
        _ => (None, 1),
    }
}
