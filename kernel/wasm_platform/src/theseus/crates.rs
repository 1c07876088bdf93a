//! Crates that are loaded when they are needed.

use alloc::string::{String, ToString};
use mod_mgmt::{SectionType, StrongCrateRef};

/// A crate of the kernel that stays loaded, with all that it needs, as long as this exists. Whoever loads it too gets the same.
pub struct LoadedCrate(StrongCrateRef);

impl LoadedCrate {
    /// Loads the crate `name`, given without its hash, unless it is loaded.
    ///
    /// # Errors
    /// Says in one line why it cannot be loaded.
    pub fn load(name: &str) -> Result<Self, String> {
        let namespace =
            mod_mgmt::get_initial_kernel_namespace().ok_or("the loader is not initialised yet")?;
        match namespace.load_crate_by_name(name) {
            Ok(loaded) => Ok(Self(loaded)),
            Err(error) => {
                task::exit_if_killed();
                Err(error.to_string())
            }
        }
    }

    /// Address of the variable whose symbol is `name`, if the crate has one. Valid as long as the crate is loaded.
    pub fn variable(&self, name: &str) -> Option<*const ()> {
        let section = self.0.get_symbol(name)?;
        let is_variable = matches!(section.typ, SectionType::Rodata | SectionType::Data | SectionType::Bss);
        is_variable.then_some(section.virt_addr.value() as *const ())
    }
}

impl core::fmt::Debug for LoadedCrate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("LoadedCrate").field(&self.0.crate_name).finish()
    }
}

/// A command that is a crate of its own, found by a variable of this type: takes arguments, prints to standard output and standard
/// error by the functions that it is given, and returns the exit status.
pub type LoadedCommand =
    fn(args: &[String], out: fn(core::fmt::Arguments<'_>), err: fn(core::fmt::Arguments<'_>)) -> isize;
