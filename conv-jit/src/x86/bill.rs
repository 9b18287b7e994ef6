//! What the machine code of a leaf costs, counted from its bytes, and its text.
//!
//! The bill comes before the code, so that a change of either shows in a diff of a few lines.

use std::fmt;

use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic, OpKind, Register,
};

use super::MicroKernel;

/// One iteration of the innermost loop (of everything, where there is none), and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bill {
    /// Vector registers that are ever used.
    pub registers: u32,
    /// Vectors sent to the stack while an activation is computed; none in the loops.
    pub spills: usize,
    /// Instructions.
    pub instructions: usize,
    /// Fused multiply-adds; of integers, products.
    pub fmas: usize,
    /// Of these, with a broadcast as operand.
    pub broadcasts: usize,
    /// Other vector instructions that read memory.
    pub loads: usize,
    /// Lines asked for ahead of time.
    pub prefetches: usize,
    /// Vector instructions that do neither.
    pub others: usize,
    /// Bytes of code and constants.
    pub bytes: usize,
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bill {
            registers,
            spills,
            instructions,
            fmas,
            broadcasts,
            loads,
            prefetches,
            others,
            bytes,
        } = self;
        write!(
            f,
            "{registers} registers, {spills} spills; a step: {fmas} fma ({broadcasts} broadcasts inside), {loads} load, {prefetches} prefetch, {others} other"
        )?;
        write!(f, ", {} integer; {bytes} bytes", instructions - fmas - loads - prefetches - others)
    }
}

impl MicroKernel {
    /// What it costs.
    pub fn bill(&self) -> Bill {
        let step = if self.hot.is_empty() { 0..self.instructions } else { self.hot.clone() };
        let mut bill = Bill {
            registers: self.registers,
            spills: self.spills,
            bytes: self.code.len(),
            ..Bill::default()
        };
        for instruction in self.decode().filter(|i| step.contains(&(i.ip() as usize))) {
            bill.instructions += 1;
            let reads =
                (1..instruction.op_count()).any(|at| instruction.op_kind(at) == OpKind::Memory);
            let is_vector =
                (0..instruction.op_count()).any(|at| is_vector(instruction.op_register(at)));
            let name = format!("{:?}", instruction.mnemonic());
            if ["Vfmadd", "Vpmulld", "Vpmaddwd", "Vpmaddubsw", "Vpdp", "Tdp"]
                .iter()
                .any(|multiplies| name.starts_with(multiplies))
            {
                bill.fmas += 1;
                bill.broadcasts += usize::from(instruction.is_broadcast());
            } else if matches!(instruction.mnemonic(), Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1)
            {
                bill.prefetches += 1;
            } else if is_vector && reads || instruction.mnemonic() == Mnemonic::Tileloadd {
                bill.loads += 1;
            } else if is_vector {
                bill.others += 1;
            }
        }
        bill
    }

    fn decode(&self) -> impl Iterator<Item = Instruction> {
        Decoder::with_ip(64, &self.code[..self.instructions], 0, DecoderOptions::NONE).into_iter()
    }

    /// The bill and the instructions, in Intel's notation; the innermost loop is marked.
    pub fn text(&self) -> String {
        let mut formatter = IntelFormatter::new();
        formatter.options_mut().set_branch_leading_zeros(false);
        formatter.options_mut().set_rip_relative_addresses(true);
        formatter.options_mut().set_space_after_operand_separator(true);
        let mut text = format!("; {}: {}\n", self.name, self.bill());
        for instruction in self.decode() {
            let mark = if self.hot.contains(&(instruction.ip() as usize)) { '|' } else { ' ' };
            text += &format!("{:5x} {mark} ", instruction.ip());
            formatter.format(&instruction, &mut text);
            text.push('\n');
        }
        text
    }
}

fn is_vector(register: Register) -> bool {
    (Register::XMM0..=Register::ZMM31).contains(&register)
}
