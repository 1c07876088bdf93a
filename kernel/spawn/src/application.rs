//! Tasks that run an application: a crate that is loaded when it is called, and dropped afterwards.

use crate::{Application, TaskBuilder};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use mod_mgmt::{CrateNamespace, LoadError};
use path::{Path, PathBuf};

/// What an application's `main` looks like.
pub type ApplicationMain = fn(Vec<String>) -> isize;

/// Why an application cannot be started.
#[derive(Debug)]
pub enum SpawnError {
    /// There is no such object file.
    NotFound(PathBuf),
    /// The loader refused it.
    Load(LoadError),
    /// It has no `pub fn main(args: Vec<String>) -> isize`.
    NoMain(String),
    /// The kernel is not that far yet, or memory is out.
    Other(&'static str),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(f, "{path}: no such application"),
            Self::Load(error) => write!(f, "{error}"),
            Self::NoMain(name) => {
                write!(f, "{name} is not an application: it has no `pub fn main(Vec<String>) -> isize`")
            }
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for SpawnError {}

impl From<&'static str> for SpawnError {
    fn from(why: &'static str) -> Self {
        SpawnError::Other(why)
    }
}

/// Loads the application whose object file is at `path` and gives back a builder for the task that runs its `main`. Its
/// arguments are those of [`TaskBuilder::argument`].
///
/// The path is absolute, or relative to the directory of the namespace: `new_namespace`, or else the current task's. If there
/// is no such file, the path with `.o` appended is tried.
///
/// # Errors
/// See [`SpawnError`].
pub fn new_application_task_builder(
    path: &Path,
    new_namespace: Option<Arc<CrateNamespace>>,
) -> Result<TaskBuilder<ApplicationMain, Vec<String>, isize>, SpawnError> {
    let namespace = match new_namespace {
        Some(namespace) => namespace,
        None => task::with_current_task(|task| task.get_namespace().clone())
            .map_err(|_| "there is no current task whose namespace to use")?,
    };
    let dir = namespace.dir();
    let file = path
        .get_file(dir)
        .or_else(|| PathBuf::from(alloc::format!("{path}.o")).get_file(dir))
        .ok_or_else(|| SpawnError::NotFound(path.to_path_buf()))?;
    let mmi = memory::get_kernel_mmi_ref().ok_or("memory is not initialised")?;
    let app_crate =
        CrateNamespace::load_crate_as_application(&namespace, &file, mmi, false).map_err(SpawnError::Load)?;
    let (name, main) = {
        let loaded = app_crate.lock_as_ref();
        let name = loaded.crate_name_without_hash().to_string();
        let section = loaded
            .get_function_section(&alloc::format!("{name}::main"))
            .ok_or_else(|| SpawnError::NoMain(name.clone()))?;
        // SAFETY: this signature is what an application's `main` is documented to have.
        let main =
            unsafe { section.as_func::<ApplicationMain>() }.map_err(|_| SpawnError::NoMain(name.clone()))?;
        (name.clone(), *main)
    };
    // This makes the task start in this crate: see `TaskBuilder::entry`.
    let mut builder = crate::new_task_builder(main, Vec::new()).name(name);
    builder.application = Some(Application { app_crate: Arc::new(app_crate), namespace });
    Ok(builder)
}
