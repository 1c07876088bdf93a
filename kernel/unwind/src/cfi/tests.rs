use super::*;
use crate::tests::OwnImage;
use gimli::{BaseAddresses, CfaRule, EhFrame, LittleEndian, RegisterRule, UnwindContext, UnwindSection};

/// A rule as gimli has it, if this crate follows the register.
fn expected_rule(rule: &RegisterRule<usize>) -> Option<Rule> {
    match *rule {
        RegisterRule::Undefined => Some(Rule::Undefined),
        RegisterRule::Offset(offset) => Some(Rule::Offset(offset as i32)),
        RegisterRule::ValOffset(offset) => Some(Rule::ValOffset(offset as i32)),
        RegisterRule::Register(register) => Some(Rule::Register(register.0 as u8)),
        RegisterRule::SameValue => None,
        ref other => panic!("no compiler of this test emits {other:?}"),
    }
}

#[test]
fn rows_of_all_functions_are_those_that_gimli_finds() {
    let image = OwnImage::read();
    let section = Reader::new(&image.eh_frame, image.eh_frame_address);
    let eh_frame = EhFrame::new(&image.eh_frame, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(image.eh_frame_address as u64);
    let mut entries = eh_frame.entries(&bases);
    let (mut functions, mut rows, mut expressions) = (0, 0, 0);
    let mut known = Known::new();
    while let Some(entry) = entries.next().unwrap() {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
        let function = Function::read(section, fde.offset(), image.text.start, &mut known).unwrap();
        assert_eq!(function.code, fde.initial_address() as usize..fde.end_address() as usize);
        assert_eq!(function.is_signal_frame(), fde.is_signal_trampoline());
        let direct = |pointer: Option<gimli::Pointer>| match pointer {
            Some(gimli::Pointer::Direct(address) | gimli::Pointer::Indirect(address)) => address as usize,
            None => 0,
        };
        assert_eq!(function.lsda, direct(fde.lsda()));
        assert_eq!(function.cie.personality, direct(fde.personality()));
        functions += 1;
        let mut context = UnwindContext::new();
        let mut table = fde.rows(&eh_frame, &bases, &mut context).unwrap();
        while let Some(expected) = table.next_row().unwrap() {
            let (start, end) = (expected.start_address() as usize, expected.end_address() as usize);
            let CfaRule::RegisterAndOffset { register, offset } = *expected.cfa() else {
                // The linker's stubs for dynamic linking have such.
                assert!(matches!(function.row(start), Err(EhFrameError::BadProgram { .. })));
                expressions += 1;
                break;
            };
            for pc in [start, start + (end - start) / 2, end - 1] {
                let row = function.row(pc).unwrap();
                assert_eq!((u16::from(row.cfa_register), i64::from(row.cfa_offset)), (register.0, offset));
                for number in 0..REGISTER_COUNT {
                    let expected =
                        expected.register(gimli::Register(number as u16)).as_ref().and_then(expected_rule);
                    let found = (row.ruled & 1 << number != 0).then_some(row.rules[number]);
                    assert_eq!(found, expected, "register {number} at {pc:#x}");
                }
                rows += 1;
            }
        }
    }
    assert!(functions > 1_000 && rows > 5_000, "{functions} functions, {rows} rows");
    assert!(expressions < 3, "{expressions}");
}

/// What functions have in common that begin with these call frame instructions.
fn cie(initial: &[u8]) -> Result<Cie, EhFrameError> {
    let mut bytes = vec![0; 4];
    // Version, no augmentation, alignments of 1 and -8, the return address.
    bytes.extend([0, 0, 0, 0, 1, 0, 1, 0x78, 16]);
    bytes.extend(initial);
    let length = bytes.len() as u32 - 4;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Cie::read(Reader::new(&bytes, 0), 0, 0)
}

/// A function from 0x1000 to 0x2000 with this program of call frame instructions.
fn function<'a>(cie: &'a Cie, program: &'a [u8]) -> Function<'a> {
    Function { code: 0x1000..0x2000, lsda: 0, cie, program: Reader::new(program, 0) }
}

/// As every function begins: the CFA is rsp + 8, and the return address 8 below it.
const INITIAL: &[u8] = &[0x0c, 7, 8, 0x90, 1];

#[test]
fn a_step_takes_the_caller_s_registers_from_where_they_are() {
    let stack = [11usize, 22, 33, 44];
    let mut registers = Registers([0; REGISTER_COUNT]);
    registers.0[RSP] = stack.as_ptr() as usize;
    registers.0[6] = 6;
    registers.0[12] = 12;
    // push rbp at 1, push rbx at 2; r12 is in rax, r13 is the CFA - 16; r14 is restored to what it was at the beginning.
    let program: &[u8] =
        &[0x41, 0x0e, 16, 0x86, 2, 0x41, 0x0e, 24, 0x83, 3, 0x09, 12, 6, 0x14, 13, 2, 0x8e, 4, 0xce];
    let cie = cie(INITIAL).unwrap();
    let function = function(&cie, program);
    let step = |pc| {
        let mut registers = registers.clone();
        // SAFETY: the stack is the array.
        unsafe { function.step(&mut registers, pc) }.unwrap();
        registers.0
    };
    let at_entry = step(0x1000);
    assert_eq!((at_entry[RIP], at_entry[RSP] - registers.0[RSP], at_entry[6]), (11, 8, 6));
    let after_push = step(0x1001);
    assert_eq!((after_push[RIP], after_push[6], after_push[RSP] - registers.0[RSP]), (22, 11, 16));
    let later = step(0x1fff);
    assert_eq!((later[RIP], later[6], later[3], later[RSP] - registers.0[RSP]), (33, 22, 11, 24));
    assert_eq!((later[12], later[13], later[14]), (6, later[RSP] - 16, 0));
}

#[test]
fn states_are_remembered_and_restored() {
    let program: &[u8] = &[0x0a, 0x41, 0x0e, 16, 0x0a, 0x41, 0x0e, 32, 0x41, 0x0b, 0x41, 0x0b];
    let cie = cie(INITIAL).unwrap();
    let function = function(&cie, program);
    let offsets = [0x1000, 0x1001, 0x1002, 0x1003, 0x1004].map(|pc| function.row(pc).unwrap().cfa_offset);
    assert_eq!(offsets, [8, 16, 32, 16, 8]);
}

#[test]
fn an_undefined_return_address_ends_the_stack() {
    let mut registers = Registers([1; REGISTER_COUNT]);
    // SAFETY: nothing is read.
    unsafe { function(&cie(INITIAL).unwrap(), &[0x07, 16]).step(&mut registers, 0x1000) }.unwrap();
    assert_eq!(registers.0[RIP], 0);
}

#[test]
fn programs_that_make_no_sense_are_errors() {
    let bad: &[&[u8]] = &[
        &[0x0b],                                     // nothing was remembered
        &[0x0a, 0x0a, 0x0a, 0x0a, 0x0a],             // too much is
        &[0x0f, 1, 0],                               // an expression
        &[0x0c, 99, 8],                              // a register that is not followed
        &[0x3f],                                     // no instruction
        &[0x0e],                                     // cut
        &[0x0e, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // far away
        &[0x0e, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    ];
    for program in bad {
        assert!(function(&cie(INITIAL).unwrap(), program).row(0x1000).is_err(), "{program:x?}");
        assert!(cie(program).is_err(), "{program:x?}");
    }
}

#[test]
fn any_bytes_are_read_without_panic() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u32
    };
    let image = OwnImage::read();
    let good = &image.eh_frame[..2000];
    for round in 0..20_000u32 {
        let mut bytes = good.to_vec();
        for _ in 0..1 + round % 8 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.truncate(1 + random() as usize % bytes.len());
        let section = Reader::new(&bytes, image.eh_frame_address);
        let mut known = Known::new();
        if let Ok(function) = Function::read(section, random() as usize % 2000, 0, &mut known) {
            let _ = function.row(function.code.start.wrapping_add(random() as usize % 100));
        }
        let offset = if round % 2 == 0 { 0 } else { random() as usize % 2000 };
        let _ = Cie::read(section, offset, 0).map(drop);
    }
}
