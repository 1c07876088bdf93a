//! Writing a cpio archive (`newc`) whose files' contents begin at page boundaries.

use std::{collections::BTreeSet, fs, path::Path, time::UNIX_EPOCH};

use crate::{Outcome, read};

/// Bytes of an entry's header before its name.
const HEADER_SIZE: usize = 110;
/// What contents of files are aligned to, so that they can be mapped where they lie.
const PAGE_SIZE: usize = 4096;
const REGULAR_FILE: u32 = 0o100644;
const DIRECTORY: u32 = 0o040755;

/// An archive being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    /// Adds a file called `name`, and the directories above it.
    pub fn file(&mut self, name: &str, contents: &[u8]) {
        self.file_with_time(name, contents, 0);
    }

    fn file_with_time(&mut self, name: &str, contents: &[u8], modified: u32) {
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.directory(parent);
        }
        self.entry(name, contents, REGULAR_FILE, modified);
    }

    /// Adds a directory, and those above it, unless it is there already.
    pub fn directory(&mut self, name: &str) {
        if self.directories.contains(name) {
            return;
        }
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.directory(parent);
        }
        self.directories.insert(name.to_owned());
        self.entry(name, &[], DIRECTORY, 0);
    }

    /// Adds all files and directories below `source` as `name/…`, in the order of their names.
    pub fn tree(&mut self, source: &Path, name: &str) -> Outcome<()> {
        let explain = |error| format!("{}: {error}", source.display());
        self.directory(name);
        let mut entries =
            fs::read_dir(source).map_err(explain)?.collect::<Result<Vec<_>, _>>().map_err(explain)?;
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let (path, file_name) = (entry.path(), entry.file_name());
            let file_name =
                file_name.to_str().ok_or_else(|| format!("{}: the name is no UTF-8", path.display()))?;
            let name = format!("{name}/{file_name}");
            let metadata = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            if metadata.is_dir() {
                self.tree(&path, &name)?;
            } else {
                let age = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let seconds = age.and_then(|age| u32::try_from(age.as_secs()).ok()).unwrap_or(0);
                self.file_with_time(&name, &read(&path)?, seconds);
            }
        }
        Ok(())
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", &[], 0, 0);
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE_SIZE), 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, contents: &[u8], mode: u32, modified: u32) {
        let start = self.bytes.len();
        let alignment = if contents.is_empty() { 4 } else { PAGE_SIZE };
        let data_start = (start + HEADER_SIZE + name.len() + 1).next_multiple_of(alignment);
        // The count includes the padding only where it is needed to reach the page boundary.
        let name_size = if contents.is_empty() { name.len() + 1 } else { data_start - start - HEADER_SIZE };
        self.inode += 1;
        let size = u32::try_from(contents.len()).expect("a file in the archive is smaller than 4 GiB");
        // Fields: inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, check.
        let fields = [self.inode, mode, 0, 0, 1, modified, size, 0, 0, 0, 0, name_size as u32, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.resize(data_start, 0);
        self.bytes.extend(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_page_aligned_and_directories_come_first() {
        let mut archive = Archive::default();
        archive.file("a/b/one", b"1");
        archive.file("a/two", &[2; 5000]);
        archive.file("a/none", b"");
        let bytes = archive.finish();
        let mut at = 0;
        let mut names = Vec::new();
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                usize::from_str_radix(str::from_utf8(&bytes[start..start + 8]).unwrap(), 16).unwrap()
            };
            let name = &bytes[at + HEADER_SIZE..][..field(11)];
            assert_eq!(name.last(), Some(&0));
            let name = str::from_utf8(name).unwrap().trim_end_matches('\0');
            let data = (at + HEADER_SIZE + field(11)).next_multiple_of(4);
            if field(6) != 0 {
                assert_eq!(data % PAGE_SIZE, 0, "{name}");
            }
            if name == "TRAILER!!!" {
                break;
            }
            names.push((name.to_owned(), bytes[data..data + field(6)].to_vec()));
            at = (data + field(6)).next_multiple_of(4);
        }
        let expected: [(&str, &[u8]); 5] =
            [("a", b""), ("a/b", b""), ("a/b/one", b"1"), ("a/two", &[2; 5000]), ("a/none", b"")];
        assert!(names.iter().map(|(name, data)| (name.as_str(), data.as_slice())).eq(expected));
    }
}
