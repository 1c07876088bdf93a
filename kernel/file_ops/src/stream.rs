//! Files as the standard streams of programs: [`FileReader`] and [`FileWriter`].

use crate::{create_file, open_or_create};
use fs_node::{DirRef, FileOrDir, FileRef, FsError};
use io::{ImmutableRead, ImmutableWrite, IoError};
use path::Path;
use spin::Mutex;

/// A file that is read from its start to its end, by however many tasks share this.
pub struct FileReader {
    file: FileRef,
    position: Mutex<usize>,
}

impl FileReader {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// There is none, or it is a directory.
    pub fn open(path: &Path, cwd: &DirRef) -> Result<Self, FsError> {
        match path.resolve(cwd)? {
            FileOrDir::File(file) => Ok(Self { file, position: Mutex::new(0) }),
            FileOrDir::Dir(_) => Err(FsError::IsADirectory),
        }
    }
}

impl ImmutableRead for FileReader {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
        // Held while the file is read, so that no two readers get the same bytes.
        let mut position = self.position.lock();
        let count = self.file.lock().read_at(buffer, *position)?;
        *position += count;
        Ok(count)
    }
}

/// A file that is written, by however many tasks share this.
pub struct FileWriter {
    file: FileRef,
    /// Where the next byte goes; at the end of the file if `None`.
    position: Option<Mutex<usize>>,
}

impl FileWriter {
    /// Creates or empties the file at `path`, to be written from its start on.
    ///
    /// # Errors
    /// As [`create_file`].
    pub fn create(path: &Path, cwd: &DirRef) -> Result<Self, FsError> {
        let file = match path.resolve(cwd) {
            // By way of a symbolic link, maybe.
            Ok(FileOrDir::File(file)) => {
                file.lock().truncate(0)?;
                file
            }
            _ => create_file(path, cwd)?,
        };
        Ok(Self { file, position: Some(Mutex::new(0)) })
    }

    /// Opens the file at `path`, which is created if it isn't there. Each write goes to where the end is then.
    ///
    /// # Errors
    /// As [`create_file`].
    pub fn append(path: &Path, cwd: &DirRef) -> Result<Self, FsError> {
        let file = match path.resolve(cwd) {
            Ok(FileOrDir::File(file)) => file,
            _ => open_or_create(path, cwd)?,
        };
        {
            // Changes nothing, but fails if the file is read-only.
            let mut file = file.lock();
            let length = file.len();
            file.truncate(length)?;
        }
        Ok(Self { file, position: None })
    }
}

impl ImmutableWrite for FileWriter {
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
        match &self.position {
            Some(position) => {
                let mut position = position.lock();
                let count = self.file.lock().write_at(buffer, *position)?;
                *position += count;
                Ok(count)
            }
            None => {
                let mut file = self.file.lock();
                let end = file.len();
                file.write_at(buffer, end)
            }
        }
    }
}
