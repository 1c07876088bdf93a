//! The table of the High Precision Event Timer (signature "HPET"; IA-PC HPET Specification 1.0a, 3.2.4).

use crate::AcpiError;
use crate::table::Table;

/// The High Precision Event Timer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct HpetTable {
    /// Physical address of its registers.
    pub address: u64,
}

impl HpetTable {
    pub(crate) fn parse(table: &Table) -> Result<Self, AcpiError> {
        // A generic address structure at offset 40, with the address after four bytes.
        Ok(HpetTable { address: table.u64(44)? })
    }
}
