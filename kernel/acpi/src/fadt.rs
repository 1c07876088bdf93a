//! The Fixed ACPI Description Table (signature "FACP"; ACPI specification 5.2.9).

use crate::AcpiError;
use crate::table::Table;

/// Power management and reset.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// Physical address of the Differentiated System Description Table, which holds AML code.
    pub dsdt: Option<usize>,
    /// The I/O port that takes commands for the firmware, such as to hand over to ACPI. `None`: it always is.
    pub smi_command_port: Option<u16>,
    /// The command that hands power management over to the operating system.
    pub acpi_enable: u8,
    /// The power management timer's register.
    pub pm_timer: Option<Register>,
    /// Whether that timer has 32 bits instead of 24.
    pub pm_timer_is_32_bit: bool,
    /// The register that takes the sleep type and starts the transition.
    pub pm1a_control: Option<Register>,
    /// The second half of that register, on machines that have it split.
    pub pm1b_control: Option<Register>,
    /// The register that resets the machine, and what to write there.
    pub reset: Option<(Register, u8)>,
    /// The index of the CMOS register with the century, if there is one.
    pub century_register: Option<u8>,
}

/// A hardware register.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// What kind of address it has.
    pub space: RegisterSpace,
    /// Its address there.
    pub address: u64,
}

/// What kind of address a register has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RegisterSpace {
    /// A physical address.
    Memory,
    /// An I/O port.
    Io,
    /// An offset in the configuration space of a PCI function on bus 0: bits 47..32 device, 31..16 function, 15..0 offset.
    PciConfiguration,
}

/// Table flag: the power management timer has 32 bits.
const FLAG_TIMER_32_BIT: u32 = 1 << 8;
/// Table flag: the reset register can be used.
const FLAG_RESET: u32 = 1 << 10;
/// Table flag: the machine has none of the fixed registers described here.
const FLAG_HARDWARE_REDUCED: u32 = 1 << 20;

/// Offsets of the fields in the table.
mod offset {
    pub const DSDT: usize = 40;
    pub const SMI_COMMAND: usize = 48;
    pub const ACPI_ENABLE: usize = 52;
    pub const PM1A_CONTROL: usize = 64;
    pub const PM1B_CONTROL: usize = 68;
    pub const PM_TIMER: usize = 76;
    pub const CENTURY: usize = 108;
    pub const FLAGS: usize = 112;
    pub const RESET_REGISTER: usize = 116;
    pub const RESET_VALUE: usize = 128;
    pub const X_DSDT: usize = 140;
    pub const X_PM1A_CONTROL: usize = 172;
    pub const X_PM1B_CONTROL: usize = 184;
    pub const X_PM_TIMER: usize = 208;
}

impl Fadt {
    pub(crate) fn parse(table: &Table) -> Result<Self, AcpiError> {
        let flags = table.u32(offset::FLAGS)?;
        let fixed_registers = flags & FLAG_HARDWARE_REDUCED == 0;
        // Later versions of the table repeat a field with 64 bits; what is there, and not 0, comes first.
        let x_dsdt = table.u64(offset::X_DSDT).unwrap_or(0) as usize;
        let dsdt = if x_dsdt != 0 { x_dsdt } else { table.u32(offset::DSDT)? as usize };
        let register = |extended, legacy| -> Result<Option<Register>, AcpiError> {
            if !fixed_registers {
                return Ok(None);
            }
            if let Some(register) = generic_address(table, extended) {
                return Ok(Some(register));
            }
            let port = u64::from(table.u32(legacy)?);
            Ok((port != 0).then_some(Register { space: RegisterSpace::Io, address: port }))
        };
        let reset =
            (flags & FLAG_RESET != 0).then(|| generic_address(table, offset::RESET_REGISTER)).flatten();
        Ok(Fadt {
            dsdt: (dsdt != 0).then_some(dsdt),
            smi_command_port: u16::try_from(table.u32(offset::SMI_COMMAND)?).ok().filter(|port| *port != 0),
            acpi_enable: table.u8(offset::ACPI_ENABLE)?,
            pm_timer: register(offset::X_PM_TIMER, offset::PM_TIMER)?,
            pm_timer_is_32_bit: flags & FLAG_TIMER_32_BIT != 0,
            pm1a_control: register(offset::X_PM1A_CONTROL, offset::PM1A_CONTROL)?,
            pm1b_control: register(offset::X_PM1B_CONTROL, offset::PM1B_CONTROL)?,
            reset: reset.zip(table.u8(offset::RESET_VALUE).ok()),
            century_register: Some(table.u8(offset::CENTURY)?).filter(|index| *index != 0),
        })
    }
}

/// Reads a Generic Address Structure (ACPI specification 5.2.3.2). `None` if it is beyond the table, empty, or in an address
/// space that is none of [`RegisterSpace`].
fn generic_address(table: &Table, offset: usize) -> Option<Register> {
    let space = match table.u8(offset).ok()? {
        0 => RegisterSpace::Memory,
        1 => RegisterSpace::Io,
        2 => RegisterSpace::PciConfiguration,
        _ => return None,
    };
    let address = table.u64(offset + 4).ok().filter(|address| *address != 0)?;
    Some(Register { space, address })
}
