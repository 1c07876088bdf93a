//! The way from a directory to what a path means.

use super::{Dir, DirHandle, Found};
use crate::Errno;
use crate::guest::MAX_PATH;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// How many symbolic links are followed in one path, as on Linux.
const MAX_LINKS: usize = 40;

/// The longest path that links may make of one, in bytes.
const MAX_EXPANDED: usize = 16 * MAX_PATH;

/// Where a path ends.
pub(crate) enum Place {
    /// At an entry of a directory, existing or not.
    Entry {
        /// The directory.
        dir: DirHandle,
        /// The name in it.
        name: String,
        /// Whether the path ended with `/`, so that only a directory can be meant.
        demands_directory: bool,
    },
    /// At a directory that it came from: `.`, or `a/..`.
    Dir(DirHandle),
}

/// Whether a symbolic link at the end of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// It is.
    Yes,
    /// Only if a `/` follows.
    IfDirectory,
    /// It is not: the entry itself is to be changed.
    No,
}

/// Follows `path` from `base`.
///
/// # Errors
/// [`Errno::Perm`] if it leads out of `base`; [`Errno::Noent`] and [`Errno::Notdir`] if it breaks off; [`Errno::Loop`] after 40 symbolic links.
pub(crate) fn walk(base: &DirHandle, path: &str, follow: Follow) -> Result<Place, Errno> {
    if path.is_empty() {
        return Err(Errno::Noent);
    }
    // The directories on the way, the one where we stand last. Those are handles; so `..` goes back to where we came from.
    let mut above: Vec<DirHandle> = Vec::new();
    let mut here = base.clone();
    let mut rest: Cow<'_, str> = Cow::Borrowed(path);
    let mut at = 0;
    let mut links = 0;
    if path.starts_with('/') {
        return Err(Errno::Perm);
    }
    loop {
        let left = &rest[at..];
        let left = left.trim_start_matches('/');
        if left.is_empty() {
            return Ok(Place::Dir(here));
        }
        let name_len = left.find('/').unwrap_or(left.len());
        let (name, behind) = left.split_at(name_len);
        at = rest.len() - behind.len();
        let is_last = behind.trim_start_matches('/').is_empty();
        match name {
            "." => continue,
            ".." => {
                here = above.pop().ok_or(Errno::Perm)?;
                continue;
            }
            _ => {}
        }
        if name.len() > fs_node::MAX_NAME_LENGTH {
            return Err(Errno::Nametoolong);
        }
        let demands_directory = is_last && !behind.is_empty();
        let looks = match follow {
            Follow::Yes => true,
            Follow::IfDirectory => demands_directory,
            Follow::No => false,
        };
        if is_last && !looks {
            let name = name.to_string();
            return Ok(Place::Entry { dir: here, name, demands_directory });
        }
        match here.find(name) {
            Ok(Found::Link(target)) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::Loop);
                }
                if target.is_empty() {
                    return Err(Errno::Noent);
                }
                if target.starts_with('/') {
                    return Err(Errno::Perm);
                }
                let expanded = format!("{target}{behind}");
                if expanded.len() > MAX_EXPANDED {
                    return Err(Errno::Nametoolong);
                }
                (rest, at) = (Cow::Owned(expanded), 0);
            }
            Ok(_) | Err(Errno::Noent) if is_last => {
                let name = name.to_string();
                return Ok(Place::Entry { dir: here, name, demands_directory });
            }
            Ok(Found::Dir(dir)) => above.push(core::mem::replace(&mut here, dir)),
            Ok(Found::Other) => return Err(Errno::Notdir),
            Err(error) => return Err(error),
        }
    }
}

/// As [`walk`], for what must be an entry of a directory. `what` is the error for directories that the path came from.
pub(crate) fn walk_to_entry(
    base: &DirHandle,
    path: &str,
    what: Errno,
) -> Result<(DirHandle, String, bool), Errno> {
    match walk(base, path, Follow::No)? {
        Place::Entry { dir, name, demands_directory } => Ok((dir, name, demands_directory)),
        Place::Dir(_) => Err(what),
    }
}

/// Fails if an entry that exists is meant to be a directory and is none.
pub(crate) fn check_directory(dir: &dyn Dir, name: &str, demands_directory: bool) -> Result<(), Errno> {
    if demands_directory && !matches!(dir.find(name)?, Found::Dir(_)) {
        return Err(Errno::Notdir);
    }
    Ok(())
}
