//! Finding what a path leads to.

use crate::{Component, Path};
use alloc::string::{String, ToString};
use fs_node::{DirRef, FileOrDir, FileRef, FsError, check_name};

/// How many symbolic links are followed in one path, as on Linux. One frame of the stack each, at most.
const MAX_LINKS: usize = 40;

/// Where a path ends: an entry, existing or not, of a directory that exists.
pub struct Target {
    /// The directory.
    pub dir: DirRef,
    /// The name of the entry in it.
    pub name: String,
    /// Whether the path can only mean a directory because it ends with `/`.
    pub demands_directory: bool,
}

impl Path {
    /// What the path leads to, as seen from the directory `cwd`.
    ///
    /// Symbolic links are followed; to get at a link itself, look for its name in its directory ([`target`](Self::target)).
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::NotADirectory`] if a file stands where a directory is needed; [`FsError::TooManyLinks`] after 40
    /// symbolic links.
    ///
    /// # Locking
    /// Takes the locks of the directories and links on the way, one at a time.
    pub fn resolve(&self, cwd: &DirRef) -> Result<FileOrDir, FsError> {
        self.resolve_with(cwd, &mut { MAX_LINKS })
    }

    /// As [`resolve`](Self::resolve), over at most `links` symbolic links.
    fn resolve_with(&self, cwd: &DirRef, links: &mut usize) -> Result<FileOrDir, FsError> {
        if self.as_str().is_empty() {
            return Err(FsError::NotFound);
        }
        let mut current = FileOrDir::Dir(cwd.clone());
        for part in self.components() {
            let FileOrDir::Dir(dir) = &current else { return Err(FsError::NotADirectory) };
            current = match part {
                Component::RootDir => FileOrDir::Dir(root::get_root().clone()),
                Component::CurDir => continue,
                Component::ParentDir => FileOrDir::Dir(parent_of(dir)?),
                Component::Normal(name) => {
                    let found = dir.lock().lookup(name)?.ok_or(FsError::NotFound)?;
                    match link_target(&found) {
                        None => found,
                        Some(target) => {
                            *links = links.checked_sub(1).ok_or(FsError::TooManyLinks)?;
                            Path::new(&target).resolve_with(dir, links)?
                        }
                    }
                }
            };
        }
        if self.demands_directory() && current.is_file() {
            return Err(FsError::NotADirectory);
        }
        Ok(current)
    }

    /// The directory that the path's last name is, or would be, an entry of.
    ///
    /// # Errors
    /// [`FsError::NotFound`] or [`FsError::NotADirectory`] if there is no such directory; [`FsError::IsRoot`] for `/`;
    /// [`FsError::InvalidName`] if the path ends with `.` or `..`; [`FsError::NameTooLong`].
    pub fn target(&self, cwd: &DirRef) -> Result<Target, FsError> {
        let last = self.as_str().trim_end_matches('/').rsplit('/').next().unwrap_or("");
        if last.is_empty() {
            return Err(if self.is_absolute() { FsError::IsRoot } else { FsError::NotFound });
        }
        check_name(last)?;
        let end = self.as_str().trim_end_matches('/').len() - last.len();
        let parent = &self.as_str()[..end];
        let dir = if parent.is_empty() {
            cwd.clone()
        } else {
            match Path::new(parent).resolve(cwd)? {
                FileOrDir::Dir(dir) => dir,
                FileOrDir::File(_) => return Err(FsError::NotADirectory),
            }
        };
        Ok(Target { dir, name: last.to_string(), demands_directory: self.as_str().ends_with('/') })
    }

    /// What the path leads to, as seen from the directory `cwd`.
    pub fn get(&self, cwd: &DirRef) -> Option<FileOrDir> {
        self.resolve(cwd).ok()
    }

    /// The file that the path leads to, as seen from the directory `cwd`.
    pub fn get_file(&self, cwd: &DirRef) -> Option<FileRef> {
        match self.get(cwd) {
            Some(FileOrDir::File(file)) => Some(file),
            _ => None,
        }
    }

    /// The directory that the path leads to, as seen from the directory `cwd`.
    pub fn get_dir(&self, cwd: &DirRef) -> Option<DirRef> {
        match self.get(cwd) {
            Some(FileOrDir::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    /// What the absolute path `path` leads to; `None` if it isn't absolute.
    pub fn get_absolute(path: &Path) -> Option<FileOrDir> {
        if path.is_absolute() { path.get(root::get_root()) } else { None }
    }
}

/// What a symbolic link leads to; `None` if it is none.
fn link_target(node: &FileOrDir) -> Option<String> {
    match node {
        FileOrDir::File(file) => file.lock().link_target().map(ToString::to_string),
        FileOrDir::Dir(_) => None,
    }
}

/// The directory that contains `dir`; the root contains itself.
fn parent_of(dir: &DirRef) -> Result<DirRef, FsError> {
    let location = dir.lock().location().clone();
    match location.parent() {
        Some(parent) => Ok(parent),
        None if location.is_removed() => Err(FsError::Removed),
        None => Ok(dir.clone()),
    }
}
