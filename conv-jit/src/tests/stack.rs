//! A stack ends at a page that nobody may touch. A frame longer than that could step over it, so
//! its pages are touched in turn, before anything below them is.

use conv_ir::{Conv, Schedule, Target, passes};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::{Case, bits};
use crate::{Backend, Compiled, CurrentThread, Options, code, targets_here};

/// The smallest page there is.
const PAGE: i64 = 4096;

const CONV: &str = "conv2d f32 ic8 oc128 in 16x16 kernel 3 pad 1 + bias, gelu";

/// The most accumulators that a tile may have: too many for the registers of any machine.
fn schedule(target: Target) -> Schedule {
    let lanes = target.lanes(4);
    let text =
        format!("lanes oc:{lanes} tile oc:{},ow:8 borders exact unroll kh,kw pack", 8 * lanes);
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The stack as a prologue leaves it: bytes below the entry, and how far it is touched.
#[derive(Default)]
struct Stack {
    depth: i64,
    touched: i64,
    /// The deepest that it ever was.
    deepest: i64,
}

impl Stack {
    /// Follows an instruction; whether it belongs to a prologue.
    fn follow(&mut self, i: &Instruction) -> bool {
        let immediate = || i.immediate(1) as i64;
        match i.code() {
            Code::Push_r64 => {
                self.depth += 8;
                self.touch(self.depth);
            }
            Code::Sub_rm64_imm32 | Code::Sub_rm64_imm8 if i.op0_register() == Register::RSP => {
                self.depth += immediate();
            }
            Code::Add_rm64_imm32 | Code::Add_rm64_imm8 if i.op0_register() == Register::RSP => {
                self.depth -= immediate();
            }
            _ if i.op0_kind() == OpKind::Memory && i.memory_base() == Register::RSP => {
                self.touch(self.depth - i.memory_displacement64() as i64);
            }
            _ if i.op0_kind() == OpKind::NearBranch64 => return false,
            _ if matches!(i.mnemonic(), Mnemonic::Call | Mnemonic::Ret) => return false,
            _ => {}
        }
        self.deepest = self.deepest.max(self.depth);
        true
    }

    fn touch(&mut self, depth: i64) {
        assert!(depth - self.touched <= PAGE, "from {} to {depth} in one step", self.touched);
        self.touched = self.touched.max(depth);
    }
}

/// The longest frame of the functions, whose prologues touch page by page.
fn longest_frame(target: Target) -> i64 {
    let conv: Conv = CONV.parse().unwrap();
    let nest = passes::compile(&conv, &schedule(target), &target, &mut |_, _| {}).unwrap();
    let functions = code::bytes(&nest, &Backend::host().unwrap(), target.isa).unwrap();
    let frames = functions.iter().map(|(name, bytes)| {
        let mut stack = Stack::default();
        let all = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).into_iter();
        all.take_while(|i| stack.follow(i)).for_each(drop);
        assert!(stack.deepest - stack.touched < PAGE, "{name}: a page is never touched");
        stack.deepest
    });
    frames.max().unwrap()
}

#[test]
fn long_frames_are_touched_page_by_page() {
    let frames: Vec<i64> = targets_here().map(longest_frame).collect();
    assert!(frames.iter().any(|bytes| *bytes > 2 * PAGE), "none is long: {frames:?}");
}

/// A thread with a stack of 64 KiB.
fn on_a_small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(64 << 10);
        small.spawn_scoped(scope, run).unwrap().join().unwrap();
    });
}

#[test]
fn long_frames_run_on_a_small_stack() {
    let conv: Conv = CONV.parse().unwrap();
    let case = Case::<f32>::new(&conv);
    for target in targets_here() {
        let run = |schedule: Option<Schedule>| {
            let options = Options { schedule, target, cache: false, ..Options::default() };
            let packed = Compiled::new(&conv, options).unwrap();
            let packed = packed.pack(&case.weight, case.bias.as_deref()).unwrap();
            let mut output = vec![f32::NAN; conv.output_len().unwrap()];
            on_a_small_stack(|| {
                packed.call(&case.input, &mut output).executor(&CurrentThread).run().unwrap();
            });
            bits(&output)
        };
        assert!(run(Some(schedule(target))) == run(None), "{target}");
    }
}
