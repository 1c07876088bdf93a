//! How tasks end.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::any::Any;
use core::fmt;
use core::panic::PanicInfo;

/// Called with the reason when a task is about to be ended before its time.
pub type KillHandler = Box<dyn Fn(&KillReason) + Send>;

/// What is left of a panic when the stack frame that panicked is gone.
#[derive(Debug, Default)]
pub struct PanicInfoOwned {
    /// What was thrown, if it is still there. An application's payload is dropped before its task exits, since the
    /// code to drop it goes with the application.
    pub payload: Option<Box<dyn Any + Send>>,
    /// The message.
    pub msg: String,
    /// The source file; empty if the location is unknown.
    pub file: String,
    /// The line, from 1; 0 if unknown.
    pub line: u32,
    /// The column, from 1; 0 if unknown.
    pub column: u32,
}

impl From<&PanicInfo<'_>> for PanicInfoOwned {
    fn from(info: &PanicInfo<'_>) -> Self {
        let (file, line, column) = info
            .location()
            .map_or((String::new(), 0, 0), |place| (place.file().to_owned(), place.line(), place.column()));
        PanicInfoOwned { payload: None, msg: info.message().to_string(), file, line, column }
    }
}

impl PanicInfoOwned {
    /// A panic without message and location, such as one that `resume_unwind` throws. If the payload is a string, it
    /// becomes the message.
    pub fn from_payload(payload: Box<dyn Any + Send>) -> Self {
        let msg = match payload.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => payload.downcast_ref::<&'static str>().map_or(String::new(), |text| (*text).to_owned()),
        };
        PanicInfoOwned { payload: Some(payload), msg, ..Default::default() }
    }
}

impl fmt::Display for PanicInfoOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() {
            write!(f, "{}", self.msg)
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.msg)
        }
    }
}

/// Why a task ended before its time.
#[derive(Debug)]
pub enum KillReason {
    /// Somebody asked for it.
    Requested,
    /// It panicked.
    Panic(PanicInfoOwned),
    /// It raised this CPU exception, which nobody handled.
    Exception(u8),
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => write!(f, "killed"),
            Self::Panic(info) => write!(f, "panicked: {info}"),
            Self::Exception(vector) => {
                write!(f, "CPU exception {vector} ({})", exceptions_early::exception_name(*vector))
            }
        }
    }
}

/// What a task leaves behind when it ends.
#[derive(Debug)]
pub enum ExitValue {
    /// It finished; this is what its function returned. Code to drop the value may lie in the crate that the function
    /// came from: take it out, or drop it, while a reference to the task is there.
    Completed(Box<dyn Any + Send>),
    /// It was ended.
    Killed(KillReason),
}
