//! What a task inherits from the one that started it: its working directory and its variables.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;
use fs_node::{DirRef, FileOrDir, FsError};
use hashbrown::HashMap;
use path::Path;

/// A working directory and variables.
#[derive(Clone)]
pub struct Environment {
    /// Where paths that aren't absolute begin.
    pub working_dir: DirRef,
    /// Variables by name.
    pub variables: HashMap<String, String>,
}

/// Why the working directory was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The path leads to a file.
    NotADirectory,
    /// The path leads nowhere.
    NotFound,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NotADirectory => FsError::NotADirectory.as_str(),
            Error::NotFound => FsError::NotFound.as_str(),
        })
    }
}

impl core::error::Error for Error {}

impl Environment {
    /// The absolute path of the working directory.
    ///
    /// # Locking
    /// Takes the lock of the working directory.
    pub fn cwd(&self) -> String {
        self.working_dir.lock().get_absolute_path()
    }

    /// Makes the directory that `path` leads to, as seen from the present one, the working directory.
    ///
    /// # Errors
    /// The working directory is the same as before if there is no such directory.
    pub fn chdir(&mut self, path: &Path) -> Result<(), Error> {
        match path.resolve(&self.working_dir) {
            Ok(FileOrDir::Dir(dir)) => {
                self.working_dir = dir;
                Ok(())
            }
            Ok(FileOrDir::File(_)) | Err(FsError::NotADirectory) => Err(Error::NotADirectory),
            Err(_) => Err(Error::NotFound),
        }
    }

    /// The value of the variable `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.variables.get(key).map(String::as_str)
    }

    /// Sets the variable `key`.
    pub fn set(&mut self, key: String, value: String) {
        self.variables.insert(key, value);
    }

    /// Removes the variable `key` and returns the value it had.
    pub fn unset(&mut self, key: &str) -> Option<String> {
        self.variables.remove(key)
    }
}

impl Default for Environment {
    /// The root directory and no variables.
    fn default() -> Self {
        Self { working_dir: Arc::clone(root::get_root()), variables: HashMap::new() }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cwd = self.working_dir.try_lock().map_or("(locked)".to_string(), |dir| dir.get_absolute_path());
        f.debug_struct("Environment").field("working_dir", &cwd).field("variables", &self.variables).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs_node::VFSDirectory;

    #[test]
    fn the_working_directory_changes_only_to_directories() {
        let mut environment = Environment::default();
        assert_eq!(environment.cwd(), "/");
        let home = VFSDirectory::create("home".to_string(), root::get_root()).unwrap();
        VFSDirectory::create("me".to_string(), &home).unwrap();
        assert_eq!(environment.chdir(Path::new("home/me/")), Ok(()));
        assert_eq!(environment.cwd(), "/home/me");
        assert_eq!(environment.chdir(Path::new("you")), Err(Error::NotFound));
        assert_eq!(environment.cwd(), "/home/me");
        let copy = environment.clone();
        assert_eq!(environment.chdir(Path::new("..")), Ok(()));
        assert_eq!((environment.cwd().as_str(), copy.cwd().as_str()), ("/home", "/home/me"));

        fs_node::remove_dir(&home, "me").unwrap();
        let mut removed = copy;
        assert_eq!(removed.cwd(), "me (removed)");
        assert_eq!(removed.chdir(Path::new("..")), Err(Error::NotFound));
        assert_eq!(removed.chdir(Path::new("/")), Ok(()));
    }

    #[test]
    fn variables_are_kept() {
        let mut environment = Environment::default();
        assert_eq!(environment.get("A"), None);
        environment.set("A".to_string(), "1".to_string());
        environment.set("A".to_string(), "2".to_string());
        assert_eq!(environment.get("A"), Some("2"));
        assert_eq!(environment.unset("A").as_deref(), Some("2"));
        assert_eq!(environment.get("A"), None);
    }
}
