//! The sleep type of the state S5 ("soft off").
//!
//! The DSDT defines it as `Name (_S5, Package () { SLP_TYPa, SLP_TYPb, … })`. AML is a byte code, but this statement has
//! no variable parts: it is always encoded as NameOp, the name, PackageOp, the package's length, its number of elements,
//! and the elements as integer constants (ACPI specification 20.2). So it can be found without an interpreter.

/// What to write into the sleep type field (bits 10 to 12) of the PM1 control registers.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SleepType {
    /// For the register PM1a.
    pub a: u8,
    /// For the register PM1b.
    pub b: u8,
}

const NAME_OP: u8 = 0x08;
const ROOT_CHARACTER: u8 = b'\\';
const PACKAGE_OP: u8 = 0x12;
const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const BYTE_PREFIX: u8 = 0x0A;
const WORD_PREFIX: u8 = 0x0B;
const DWORD_PREFIX: u8 = 0x0C;

/// Finds the definition of `_S5` in AML code.
pub fn find(aml: &[u8]) -> Option<SleepType> {
    aml.windows(4).enumerate().filter(|(_, name)| name == b"_S5_").find_map(|(position, _)| {
        let before = &aml[..position];
        let is_definition = before.ends_with(&[NAME_OP]) || before.ends_with(&[NAME_OP, ROOT_CHARACTER]);
        if is_definition { parse_package(&aml[position + 4..]) } else { None }
    })
}

fn parse_package(aml: &[u8]) -> Option<SleepType> {
    let (&PACKAGE_OP, aml) = aml.split_first()? else { return None };
    // The two highest bits of a length's first byte say how many more bytes it has.
    let more = usize::from(aml.first()? >> 6);
    let aml = aml.get(1 + more..)?;
    let (&elements, aml) = aml.split_first()?;
    if elements < 1 {
        return None;
    }
    let (a, aml) = parse_integer(aml)?;
    let b = if elements < 2 { a } else { parse_integer(aml)?.0 };
    // The field has three bits.
    (a < 8 && b < 8).then_some(SleepType { a, b })
}

/// Reads an integer constant; only its lowest byte, which the callers check to be small, if the rest is 0.
fn parse_integer(aml: &[u8]) -> Option<(u8, &[u8])> {
    let (operation, rest) = aml.split_first()?;
    let size = match *operation {
        ZERO_OP => return Some((0, rest)),
        ONE_OP => return Some((1, rest)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DWORD_PREFIX => 4,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(size)?;
    value[1..].iter().all(|byte| *byte == 0).then_some((value[0], rest))
}
