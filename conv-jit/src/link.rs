//! The functions of a nest in one piece: laid out one behind the other, the calls between them
//! patched.
//!
//! Functions call nothing but each other, relative to the place of the call. So the piece runs at
//! any address whose alignment is a page's, and this is safe code.

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::{ExternalName, Function};
use cranelift_codegen::{FinalizedMachReloc, FinalizedRelocTarget};

use crate::Error;

/// A call of another function.
pub(crate) struct Call {
    /// Which bytes of the caller's code to patch.
    offset: usize,
    /// The number of the function that is called.
    callee: usize,
    kind: Reloc,
    addend: i64,
}

impl Call {
    /// A relocation of compiled code, which must be a call of another of the nest's functions.
    pub(crate) fn new(from: &FinalizedMachReloc, function: &Function) -> Result<Call, Error> {
        let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = from.target else {
            let what = from.target.display(Some(&function.params));
            return Err(Error::Unsupported(format!("Cranelift needs {what} from a library")));
        };
        let callee = function.params.user_named_funcs()[name].index as usize;
        Ok(Call { offset: from.offset as usize, callee, kind: from.kind, addend: from.addend })
    }

    /// Patches the call in the bytes from `offset` on, for a callee that far from there.
    fn patch(&self, code: &mut [u8], distance: i64) -> Result<(), Error> {
        let distance = distance + self.addend;
        let far = || Error::Unsupported(format!("a call over {distance} bytes"));
        let near = i32::try_from(distance).map_err(|_| far())?;
        match self.kind {
            Reloc::X86CallPCRel4 => put(code, 0, |_| near as u32),
            // `bl`: 26 bits count instructions.
            Reloc::Arm64Call if (near >> 2 << 6) >> 6 == near >> 2 => {
                put(code, 0, |bl| bl | (near as u32 >> 2) & 0x03ff_ffff)
            }
            Reloc::Arm64Call => return Err(far()),
            // `auipc` takes the upper 20 bits, rounded, `jalr` the signed rest.
            Reloc::RiscvCallPlt => {
                let upper = near.checked_add(0x800).ok_or_else(far)? as u32 & !0xfff;
                let lower = (near as u32).wrapping_sub(upper);
                put(code, 0, |auipc| auipc & 0xfff | upper);
                put(code, 4, |jalr| jalr & 0x000f_ffff | lower << 20);
            }
            // `brasl`: halfwords, the highest byte first.
            Reloc::S390xPLTRel32Dbl => put(code, 0, |_| ((near >> 1) as u32).swap_bytes()),
            kind => return Err(Error::Unsupported(format!("relocation {kind}"))),
        }
        Ok(())
    }
}

/// Changes the little-endian word at `at`.
fn put(code: &mut [u8], at: usize, change: impl FnOnce(u32) -> u32) {
    let mut word = [0; 4];
    word.copy_from_slice(&code[at..at + 4]);
    code[at..at + 4].copy_from_slice(&change(u32::from_le_bytes(word)).to_le_bytes());
}

/// A function to link.
pub(crate) struct Part<'a> {
    pub code: &'a [u8],
    pub align: usize,
    pub calls: &'a [Call],
}

/// All functions in one piece, and where each of them starts.
pub(crate) fn link(parts: &[Part<'_>]) -> Result<(Vec<u8>, Vec<usize>), Error> {
    let (mut image, mut starts) = (Vec::new(), Vec::with_capacity(parts.len()));
    for part in parts {
        image.resize(image.len().next_multiple_of(part.align), 0);
        starts.push(image.len());
        image.extend_from_slice(part.code);
    }
    for (part, start) in parts.iter().zip(&starts) {
        for call in part.calls {
            let at = start + call.offset;
            call.patch(&mut image[at..], starts[call.callee] as i64 - at as i64)?;
        }
    }
    Ok((image, starts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(kind: Reloc, addend: i64, code: &[u8], distance: i64) -> Result<Vec<u8>, Error> {
        let mut code = code.to_vec();
        Call { offset: 0, callee: 0, kind, addend }.patch(&mut code, distance)?;
        Ok(code)
    }

    /// Encodings from the manuals of the architectures.
    #[test]
    fn calls_are_patched_as_each_architecture_wants() {
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let x86 = |to| patched(Reloc::X86CallPCRel4, -4, &[0; 4], to).unwrap();
        assert_eq!(x86(4), [0; 4]);
        assert_eq!(x86(-0x100), [0xfc, 0xfe, 0xff, 0xff]);
        let bl = |to| patched(Reloc::Arm64Call, 0, &words(&[0x9400_0000]), to);
        assert_eq!(bl(8).unwrap(), words(&[0x9400_0002]));
        assert_eq!(bl(-4).unwrap(), words(&[0x97ff_ffff]));
        assert!(bl(1 << 27).is_err() && bl(-(1 << 27)).is_ok() && bl(i64::MAX).is_err());
        let call = words(&[0x0000_0097, 0x0000_80e7]);
        let riscv = |to| patched(Reloc::RiscvCallPlt, 0, &call, to).unwrap();
        assert_eq!(riscv(8), words(&[0x0000_0097, 0x0080_80e7]));
        assert_eq!(riscv(0x1800), words(&[0x0000_2097, 0x8000_80e7]));
        assert_eq!(riscv(-4), words(&[0x0000_0097, 0xffc0_80e7]));
        let brasl = |to| patched(Reloc::S390xPLTRel32Dbl, 2, &[0; 4], to).unwrap();
        assert_eq!(brasl(0x1fe), [0, 0, 1, 0]);
    }

    #[test]
    fn functions_start_at_their_alignment() {
        let calls = [Call { offset: 1, callee: 1, kind: Reloc::X86CallPCRel4, addend: -4 }];
        let caller = Part { code: &[0xe8, 0, 0, 0, 0, 0xc3], align: 16, calls: &calls };
        let callee = Part { code: &[0xc3], align: 64, calls: &[] };
        let (image, starts) = link(&[caller, callee]).unwrap();
        assert_eq!((image.len(), starts), (65, vec![0, 64]));
        assert_eq!(image[1..5], 59u32.to_le_bytes());
    }
}
