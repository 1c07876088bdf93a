//! Call frame information: how the registers of a function's caller are found.
//!
//! A function's FDE and the CIE that it refers to hold a program for a small machine (DWARF 5, 6.4), which computes, for an
//! address in the function, a [`Row`]: where the caller's frame begins (the *canonical frame address*, CFA, the caller's
//! stack pointer after the call) and where each register that the caller wants back is. [`Function::step`] runs it and
//! applies the row.
//!
//! What compilers do not emit for this kernel's code is an error: DWARF expressions, windows of registers.
//!
//! A step costs some hundred instructions: nothing is parsed twice, nothing is allocated, and a row is small enough to be
//! copied.

use core::mem::MaybeUninit;
use core::ops::Range;

use crate::EhFrameError;
use crate::eh_frame::EhFrameHdr;
use crate::reader::{PE_ABSPTR, PE_INDIRECT, PE_OMIT, Reader};

/// Number of registers that are followed: the 16 general ones and the instruction pointer.
pub(crate) const REGISTER_COUNT: usize = 17;
/// The stack pointer's number (System V psABI for AMD64, figure 3.36, as for all others).
pub(crate) const RSP: usize = 7;
/// The number of the return address, which becomes the caller's instruction pointer.
pub(crate) const RIP: usize = 16;

/// States that a program may remember at a time; compilers need one.
const MAX_REMEMBERED: usize = 4;

/// General registers and the instruction pointer, by DWARF number.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registers(pub(crate) [usize; REGISTER_COUNT]);

/// Where a register's value for the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// There is none: for the instruction pointer, the function has no caller.
    Undefined,
    /// In memory, so far from the CFA.
    Offset(i32),
    /// It is the CFA and so much.
    ValOffset(i32),
    /// In a register.
    Register(u8),
}

/// Where a frame begins and where its caller's registers are, at one address of a function.
#[derive(Clone, Copy)]
struct Row {
    cfa_register: u8,
    cfa_offset: i32,
    /// A bit for each register that has a rule; the others have kept their values.
    ruled: u32,
    /// Whether some rule may name a register, whose value is then needed although it gets another one.
    names_registers: bool,
    rules: [Rule; REGISTER_COUNT],
}

impl Row {
    const EMPTY: Self = Self {
        cfa_register: 0,
        cfa_offset: 0,
        ruled: 0,
        names_registers: false,
        rules: [Rule::Undefined; REGISTER_COUNT],
    };

    /// Registers beyond those that are followed (vector registers, say) are somebody else's.
    #[inline]
    fn set(&mut self, register: u64, rule: Rule) {
        if let Some(place) = self.rules.get_mut(register as usize) {
            *place = rule;
            self.ruled |= 1 << register;
        }
    }

    #[inline]
    fn keep(&mut self, register: u64) {
        if (register as usize) < REGISTER_COUNT {
            self.ruled &= !(1 << register);
        }
    }

    fn restore(&mut self, register: u64, initial: &Row) {
        match initial.rules.get(register as usize) {
            Some(rule) if initial.ruled & 1 << register != 0 => self.set(register, *rule),
            _ => self.keep(register),
        }
    }
}

/// What is common to several functions.
pub(crate) struct Cie {
    /// Its place, which tells it from others while their code is loaded.
    address: usize,
    /// The routine that understands language-specific data; the address of the pointer to it if the bit for indirection is
    /// set in the encoding; 0 if there is none.
    personality: usize,
    personality_encoding: u8,
    lsda_encoding: u8,
    pub(crate) pointer_encoding: u8,
    has_augmentation: bool,
    is_signal_frame: bool,
    code_alignment: u64,
    data_alignment: i64,
    /// The row at the beginning of each function.
    initial: Row,
}

/// Tables that were read: a stack's functions have only a few. To be kept for one walk, or as long as one exception is on its
/// way, during which the code that has its frames on the stack stays loaded.
pub(crate) struct Known {
    /// The code that was last looked up in, and its table.
    pub(crate) latest: Option<(Range<usize>, EhFrameHdr<'static>)>,
    cies: [Option<Cie>; 4],
    next: usize,
}

impl Known {
    pub(crate) const fn new() -> Self {
        Self { latest: None, cies: [const { None }; 4], next: 0 }
    }

    /// The CIE at `offset` of the section.
    fn get(&mut self, section: Reader<'_>, offset: usize, text: usize) -> Result<&Cie, EhFrameError> {
        let address = section.address_of(offset);
        let known = self.cies.iter().position(|cie| cie.as_ref().is_some_and(|cie| cie.address == address));
        let index = match known {
            Some(index) => index,
            None => {
                let index = self.next;
                self.cies[index] = Some(Cie::read(section, offset, text)?);
                self.next = (index + 1) % self.cies.len();
                index
            }
        };
        self.cies[index].as_ref().ok_or(EhFrameError::BadCie { offset })
    }
}

impl Cie {
    /// Reads the CIE at `offset` of the section. `text` is the base of text-relative pointers.
    pub(crate) fn read(section: Reader<'_>, offset: usize, text: usize) -> Result<Self, EhFrameError> {
        let bad = EhFrameError::BadCie { offset };
        let mut reader = section;
        reader.seek(offset)?;
        let length = reader.u32()? as usize;
        if length < 4 || length > reader.remaining() {
            return Err(bad);
        }
        let mut reader = reader.until(reader.position() + length)?;
        if reader.u32()? != 0 {
            return Err(bad);
        }
        let version = reader.u8()?;
        if version != 1 && version != 3 {
            return Err(bad);
        }
        let mut letters = reader;
        while reader.u8()? != 0 {}
        let code_alignment = reader.uleb128()?;
        let data_alignment = reader.sleb128()?;
        let return_register = if version == 1 { u64::from(reader.u8()?) } else { reader.uleb128()? };
        if return_register != RIP as u64 {
            return Err(bad);
        }
        let mut cie = Cie {
            address: section.address_of(offset),
            personality: 0,
            personality_encoding: PE_OMIT,
            lsda_encoding: PE_OMIT,
            pointer_encoding: PE_ABSPTR,
            has_augmentation: false,
            is_signal_frame: false,
            code_alignment,
            data_alignment,
            initial: Row::EMPTY,
        };
        cie.has_augmentation = match letters.u8()? {
            0 => false,
            b'z' => true,
            _ => return Err(bad),
        };
        if cie.has_augmentation {
            let length = reader.uleb128()? as usize;
            if length > reader.remaining() {
                return Err(bad);
            }
            let end = reader.position() + length;
            let mut data = reader.until(end)?;
            reader.seek(end)?;
            loop {
                match letters.u8()? {
                    0 => break,
                    b'R' => cie.pointer_encoding = data.u8()?,
                    b'L' => cie.lsda_encoding = data.u8()?,
                    b'P' => {
                        cie.personality_encoding = data.u8()?;
                        cie.personality =
                            data.encoded_pointer(cie.personality_encoding & !PE_INDIRECT, text, 0)?;
                    }
                    b'S' => cie.is_signal_frame = true,
                    b'B' => {}
                    _ => return Err(bad),
                }
            }
        }
        // The initial instructions are for the beginning of the function, so all of them count.
        let mut initial = Row::EMPTY;
        Machine::new(&cie, &mut initial, 0).run(reader, usize::MAX)?;
        cie.initial = initial;
        Ok(cie)
    }
}

/// What the unwind tables say about a function.
pub(crate) struct Function<'a> {
    /// Addresses of its code.
    pub(crate) code: Range<usize>,
    /// Its language-specific data; see [`Cie::personality`].
    lsda: usize,
    cie: &'a Cie,
    program: Reader<'a>,
}

impl<'a> Function<'a> {
    /// Reads the FDE at `offset` of the section. `text` is the base of text-relative pointers.
    pub(crate) fn read(
        section: Reader<'a>,
        offset: usize,
        text: usize,
        known: &'a mut Known,
    ) -> Result<Self, EhFrameError> {
        let mut reader = section;
        reader.seek(offset)?;
        let length = reader.u32()? as usize;
        if length < 4 || length > reader.remaining() {
            return Err(EhFrameError::Truncated { offset });
        }
        let mut reader = reader.until(reader.position() + length)?;
        let id_position = reader.position();
        // The pointer to the CIE counts backwards from itself; 0 would make this a CIE itself.
        let cie = match reader.u32()? as usize {
            0 => None,
            distance => id_position.checked_sub(distance),
        };
        let cie = known.get(section, cie.ok_or(EhFrameError::BadCie { offset })?, text)?;
        let encoding = cie.pointer_encoding;
        if encoding & PE_INDIRECT != 0 {
            return Err(EhFrameError::UnknownEncoding { offset, encoding });
        }
        let start = reader.encoded_pointer(encoding, text, 0)?;
        let length = reader.encoded_number(encoding)?;
        let end = start.checked_add(length).ok_or(EhFrameError::OutsideText { offset })?;
        let mut lsda = 0;
        if cie.has_augmentation {
            let length = reader.uleb128()? as usize;
            if length > reader.remaining() {
                return Err(EhFrameError::Truncated { offset });
            }
            let program = reader.position() + length;
            if cie.lsda_encoding != PE_OMIT && length > 0 {
                // A function without data has a null pointer: the number is 0, whatever it would be relative to.
                let mut number = reader;
                if number.encoded_number(cie.lsda_encoding)? != 0 {
                    lsda = reader.encoded_pointer(cie.lsda_encoding & !PE_INDIRECT, text, 0)?;
                }
            }
            reader.seek(program)?;
        }
        Ok(Self { code: start..end, lsda, cie, program: reader })
    }

    /// Who is called by such a function was interrupted, and made no call.
    pub(crate) fn is_signal_frame(&self) -> bool {
        self.cie.is_signal_frame
    }

    /// Address of its personality routine, 0 if it has none.
    ///
    /// # Safety
    /// The tables must be those of code that is loaded.
    pub(crate) unsafe fn personality(&self) -> usize {
        // SAFETY: by the caller, the pointer to the pointer is one of a loaded program.
        unsafe { follow(self.cie.personality, self.cie.personality_encoding) }
    }

    /// Address of its language-specific data, 0 if it has none.
    ///
    /// # Safety
    /// As for [`personality`](Self::personality).
    pub(crate) unsafe fn lsda(&self) -> usize {
        // SAFETY: as above.
        unsafe { follow(self.lsda, self.cie.lsda_encoding) }
    }

    /// The row for the instruction at `pc`.
    #[cfg(test)]
    fn row(&self, pc: usize) -> Result<Row, EhFrameError> {
        let mut row = self.cie.initial;
        Machine::new(self.cie, &mut row, self.code.start).run(self.program, pc)?;
        Ok(row)
    }

    /// Makes of `registers`, which are those that the function will have when a call has returned to it that it made at `pc`
    /// (one of the bytes of the call), those that its caller will have when it has returned in turn. If nobody has called it,
    /// the instruction pointer is 0.
    ///
    /// # Safety
    /// `registers` must be those of a call in progress of this function: what they and the tables point to is read.
    #[inline]
    pub(crate) unsafe fn step(&self, registers: &mut Registers, pc: usize) -> Result<(), EhFrameError> {
        let mut row = self.cie.initial;
        Machine::new(self.cie, &mut row, self.code.start).run(self.program, pc)?;
        let cfa = registers.0[usize::from(row.cfa_register)].wrapping_add_signed(row.cfa_offset as isize);
        let before = row.names_registers.then(|| registers.clone());
        registers.0[RSP] = cfa;
        registers.0[RIP] = 0;
        let mut left = row.ruled;
        while left != 0 {
            let register = left.trailing_zeros() as usize;
            left &= left - 1;
            let near_cfa = |offset: i32| cfa.wrapping_add_signed(offset as isize);
            registers.0[register] = match (row.rules[register], &before) {
                // SAFETY: where the tables say that a register was saved, there is stack; see the function's contract.
                (Rule::Offset(offset), _) => unsafe { (near_cfa(offset) as *const usize).read_unaligned() },
                (Rule::ValOffset(offset), _) => near_cfa(offset),
                (Rule::Register(other), Some(before)) => before.0[usize::from(other)],
                (Rule::Register(_) | Rule::Undefined, _) => continue,
            };
        }
        Ok(())
    }
}

/// The pointer itself, given its encoding and what that says.
///
/// # Safety
/// If the encoding says that it is indirect, the pointer to it must be readable.
unsafe fn follow(pointer: usize, encoding: u8) -> usize {
    if pointer == 0 || encoding == PE_OMIT || encoding & PE_INDIRECT == 0 {
        return pointer;
    }
    // SAFETY: by the caller.
    unsafe { (pointer as *const usize).read_unaligned() }
}

/// What runs a program.
struct Machine<'f> {
    row: &'f mut Row,
    /// The first `depth` are initialised.
    remembered: [MaybeUninit<Row>; MAX_REMEMBERED],
    depth: usize,
    location: usize,
    cie: &'f Cie,
}

impl<'f> Machine<'f> {
    #[inline]
    fn new(cie: &'f Cie, row: &'f mut Row, location: usize) -> Self {
        Self { row, remembered: [const { MaybeUninit::uninit() }; MAX_REMEMBERED], depth: 0, location, cie }
    }

    /// Runs `program` up to the last row that holds at `pc`.
    fn run(&mut self, mut program: Reader<'_>, pc: usize) -> Result<(), EhFrameError> {
        while program.remaining() > 0 {
            let at = program.position();
            let instruction = program.u8()?;
            let operand = u64::from(instruction & 0x3f);
            // DWARF 5, table 7.29; the GNU ones from the LSB.
            match (instruction & 0xc0, operand) {
                (0x40, delta) => self.advance(delta),
                (0x80, register) => {
                    let offset = program.uleb128()? as i64;
                    let offset = self.factored(offset, at)?;
                    self.row.set(register, Rule::Offset(offset));
                }
                (0xc0, register) => self.row.restore(register, &self.cie.initial),
                (_, 0x00) => {}
                (_, 0x01) => {
                    self.location = program.encoded_pointer(self.cie.pointer_encoding, 0, 0)?;
                }
                (_, 0x02) => self.advance(u64::from(program.u8()?)),
                (_, 0x03) => self.advance(u64::from(program.u16()?)),
                (_, 0x04) => self.advance(u64::from(program.u32()?)),
                (_, 0x05) => {
                    let (register, offset) = (program.uleb128()?, program.uleb128()? as i64);
                    let offset = self.factored(offset, at)?;
                    self.row.set(register, Rule::Offset(offset));
                }
                (_, 0x06) => self.row.restore(program.uleb128()?, &self.cie.initial),
                (_, 0x07) => self.row.set(program.uleb128()?, Rule::Undefined),
                (_, 0x08) => self.row.keep(program.uleb128()?),
                (_, 0x09) => {
                    let (register, other) = (program.uleb128()?, program.uleb128()?);
                    self.row.set(register, Rule::Register(followed(other, at)?));
                    self.row.names_registers = true;
                }
                (_, 0x0a) => {
                    let place = self.remembered.get_mut(self.depth);
                    place.ok_or(EhFrameError::BadProgram { offset: at })?.write(*self.row);
                    self.depth += 1;
                }
                (_, 0x0b) => {
                    self.depth = self.depth.checked_sub(1).ok_or(EhFrameError::BadProgram { offset: at })?;
                    // SAFETY: it was below `depth`, hence written.
                    *self.row = unsafe { self.remembered[self.depth].assume_init() };
                }
                (_, 0x0c) => {
                    self.row.cfa_register = followed(program.uleb128()?, at)?;
                    self.row.cfa_offset = small(program.uleb128()? as i64, at)?;
                }
                (_, 0x0d) => self.row.cfa_register = followed(program.uleb128()?, at)?,
                (_, 0x0e) => self.row.cfa_offset = small(program.uleb128()? as i64, at)?,
                (_, 0x11) => {
                    let (register, offset) = (program.uleb128()?, program.sleb128()?);
                    let offset = self.factored(offset, at)?;
                    self.row.set(register, Rule::Offset(offset));
                }
                (_, 0x12) => {
                    self.row.cfa_register = followed(program.uleb128()?, at)?;
                    self.row.cfa_offset = self.factored(program.sleb128()?, at)?;
                }
                (_, 0x13) => self.row.cfa_offset = self.factored(program.sleb128()?, at)?,
                (_, 0x14 | 0x15) => {
                    let register = program.uleb128()?;
                    let offset =
                        if operand == 0x14 { program.uleb128()? as i64 } else { program.sleb128()? };
                    let offset = self.factored(offset, at)?;
                    self.row.set(register, Rule::ValOffset(offset));
                }
                // Size of arguments on the stack: none are left there by our callers' conventions.
                (_, 0x2e) => _ = program.uleb128()?,
                _ => return Err(EhFrameError::BadProgram { offset: at }),
            }
            if self.location > pc {
                // The instruction was an advance: what follows is for code behind `pc`.
                return Ok(());
            }
        }
        Ok(())
    }

    #[inline]
    fn advance(&mut self, delta: u64) {
        let delta = delta.wrapping_mul(self.cie.code_alignment);
        self.location = self.location.wrapping_add(delta as usize);
    }

    #[inline]
    fn factored(&self, offset: i64, at: usize) -> Result<i32, EhFrameError> {
        small(offset.wrapping_mul(self.cie.data_alignment), at)
    }
}

#[inline]
fn small(number: i64, at: usize) -> Result<i32, EhFrameError> {
    i32::try_from(number).map_err(|_| EhFrameError::BadProgram { offset: at })
}

/// The number of a register, if it is one whose value is known.
#[inline]
fn followed(register: u64, at: usize) -> Result<u8, EhFrameError> {
    if register < REGISTER_COUNT as u64 {
        Ok(register as u8)
    } else {
        Err(EhFrameError::BadProgram { offset: at })
    }
}

#[cfg(test)]
mod tests;
