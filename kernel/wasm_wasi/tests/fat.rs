//! Preview 1 on a FAT file system: what is different there.

extern crate alloc;

#[path = "../../../applications/test_wasi/src/suite/mod.rs"]
#[allow(missing_docs, dead_code)]
mod suite;

// Disks in memory, made and checked by the host's programs. It expects to be in the crate of the file system.
#[path = "../../fat/src/tests/support.rs"]
#[allow(missing_docs, dead_code)]
mod support;

use fat::FileSystem;
use suite::Ground;
use suite::harness::{ALL, CREAT, DIR, FBIG, Guest, NOSPC};
use support::{Disk, SMALL_KINDS, fsck, image};

#[test]
fn room_is_made_at_once_or_not_at_all() {
    for (kind, len, sectors_per_cluster) in SMALL_KINDS {
        let disk = Disk::new(image(kind, len, sectors_per_cluster));
        let files = disk.mount().unwrap();
        let guest = &mut Guest::on(&Ground::Tree(files.root().clone()));
        let fd = guest.open(DIR, "f", CREAT, ALL, 0).unwrap();
        assert_eq!(guest.pwrite(fd, b"begin", 0), Ok(5));
        // No file is so long: that is seen before anything is done, which would take for ever.
        for len in [1 << 32, 1 << 40, i64::MAX] {
            assert_eq!(guest.call("fd_allocate", &[fd, 0, len]), FBIG, "{len:#x}");
        }
        assert_eq!(guest.call("fd_allocate", &[fd, 3, len as i64]), NOSPC);
        assert_eq!(guest.content("f").unwrap(), b"begin");
        guest.ok("fd_allocate", &[fd, 3, len as i64 / 2]);
        // What was promised is there, whatever others take.
        let other = guest.open(DIR, "g", CREAT, ALL, 0).unwrap();
        assert_eq!(guest.call("fd_allocate", &[other, 0, len as i64 / 2]), NOSPC);
        assert_eq!(guest.pwrite(fd, b"end", len as i64 / 2), Ok(3));
        files.sync().unwrap();
        assert_eq!(fsck(&disk.bytes()), [""; 0]);
    }
}
