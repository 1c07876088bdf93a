//! What a frame of a Rust function wants when what it called unwinds.

use crate::cfi::Function;
use crate::cursor::Cursor;
use crate::exception::Class;
use crate::lsda::{Action, find_action};
use crate::reader::Reader;

/// The personality routine that the tables of all Rust functions name. It tells them from functions of other languages;
/// what it would do is done by [`wish`], which knows the function already.
///
/// # Safety
/// It is nobody's to call.
#[lang = "eh_personality"]
unsafe extern "C" fn rust_eh_personality() {}

/// What a frame wants.
pub(crate) enum Wish {
    /// To be passed over.
    Nothing,
    /// To drop its values at this landing pad.
    Cleanup(usize),
    /// To catch, at this landing pad.
    Catch(usize),
}

/// The frame does not allow unwinding, or its tables are malformed.
pub(crate) struct Forbidden;

/// What the frame at `cursor`, of `function`, wants of an exception of this class.
#[inline]
pub(crate) fn wish(cursor: &Cursor, function: &Function<'_>, class: Class) -> Result<Wish, Forbidden> {
    // SAFETY: the function is on the stack, hence its code and tables are loaded.
    let (personality, lsda) = unsafe { (function.personality(), function.lsda()) };
    if personality == 0 {
        return Ok(Wish::Nothing);
    }
    if personality != rust_eh_personality as *const () as usize {
        return Err(Forbidden);
    }
    // After a fault, values may be anywhere: see the crate's documentation.
    if lsda == 0 || cursor.is_interrupted() {
        return Ok(Wish::Nothing);
    }
    // SAFETY: as above; rustc made the table, which delimits itself.
    let table = unsafe { Reader::from_raw(lsda) };
    match find_action(table, function.code.start, cursor.lookup_address()) {
        Ok(Action::Continue) => Ok(Wish::Nothing),
        Ok(Action::Cleanup(landing_pad)) => Ok(Wish::Cleanup(landing_pad)),
        Ok(Action::Catch(landing_pad)) => Ok(Wish::Catch(landing_pad)),
        // The compiler took it that this call does not unwind. It does, if what it called has faulted.
        Ok(Action::Terminate) if class == Class::Fault => Ok(Wish::Nothing),
        Ok(Action::Terminate) | Err(_) => Err(Forbidden),
    }
}
