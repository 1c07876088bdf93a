//! Hosts that answer anything. (What a real one answers is tested in QEMU, by `tests/disk`.)

use crate::client::Transport;
use crate::message::{Reader, Writer, request};
use fs_node::{DirRef, FileOrDir, FsError, NewNode, Times};
use io::IoError;
use std::time::Duration;

const CAPACITY: usize = 8192;

/// Answers with the right type, and bytes at random. The first answers are good ones, so that there is something to ask about.
struct Host {
    buffer: Vec<u8>,
    answer: Vec<u8>,
    numbers: u64,
    good: usize,
}

impl Host {
    fn next(&mut self) -> u64 {
        self.numbers ^= self.numbers << 13;
        self.numbers ^= self.numbers >> 7;
        self.numbers ^= self.numbers << 17;
        self.numbers.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// True but once in `count` times.
    fn mostly(&mut self, count: u64) -> bool {
        !self.next().is_multiple_of(count)
    }
}

fn message(kind: u8, fill: impl FnOnce(Writer<'_>) -> Writer<'_>) -> Vec<u8> {
    let mut bytes = vec![0; CAPACITY];
    let len = fill(Writer::new(&mut bytes, kind)).finish().unwrap();
    bytes.truncate(len);
    bytes
}

impl Transport for Host {
    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn request(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    fn exchange(&mut self, request_len: usize) -> Result<&[u8], IoError> {
        assert_eq!(u32::from_le_bytes(self.buffer[..4].try_into().unwrap()) as usize, request_len);
        let kind = self.buffer[4];
        self.answer = match kind {
            request::VERSION => message(kind + 1, |writer| writer.u32(CAPACITY as u32).text("9P2000.L")),
            request::ATTACH => message(kind + 1, |writer| writer.u8(0x80).u32(0).u64(1)),
            _ if self.good > 0 && self.mostly(4) => {
                self.good -= 1;
                let kind_of_file = [0, 0x80, 0x02][self.next() as usize % 3];
                let path = self.next() % 5;
                match kind {
                    request::WALK => {
                        message(kind + 1, |writer| writer.u16(1).u8(kind_of_file).u32(0).u64(path))
                    }
                    _ => message(kind + 1, |writer| writer.u32(4).u32(7).u64(9).u64(0).u64(0)),
                }
            }
            _ => {
                let len = self.next() as usize % 200;
                let mut bytes: Vec<u8> = (0..len + 7).map(|_| self.next() as u8).collect();
                if self.mostly(8) {
                    let claimed = if self.mostly(8) { bytes.len() as u32 } else { self.next() as u32 };
                    bytes[..4].copy_from_slice(&claimed.to_le_bytes());
                    bytes[4] = if self.mostly(8) { kind + 1 } else { 7 };
                }
                bytes
            }
        };
        Ok(&self.answer)
    }
}

fn root(seed: u64, good: usize) -> Result<DirRef, FsError> {
    let host = Host { buffer: vec![0; CAPACITY], answer: Vec::new(), numbers: seed, good };
    crate::mount(Box::new(host), "host")
}

#[test]
fn nothing_that_a_host_answers_is_worse_than_an_error() {
    let mut found = 0;
    for seed in 1..2000 {
        let root = root(seed, seed as usize % 12).unwrap();
        let times = Times { modified: Some(Duration::from_secs(1)), accessed: None };
        for name in ["a", "b", "c"] {
            let node = root.lock().lookup(name);
            match node {
                Ok(Some(FileOrDir::File(file))) => {
                    found += 1;
                    let mut file = file.lock();
                    let _ = file.read_at(&mut [0; 10_000], 5);
                    let _ = file.write_at(&[0; 10_000], 5);
                    let _ = (file.len(), file.metadata(), file.link_target().is_some());
                    let _ = (file.truncate(7), file.set_times(times), file.flush());
                }
                Ok(Some(FileOrDir::Dir(dir))) => {
                    found += 1;
                    let _ = dir.lock().names();
                    let _ = dir.lock().create("x", NewNode::Directory);
                    let _ = fs_node::rename(&root, "a", &dir, "y");
                }
                _ => {}
            }
        }
        let _ = root.lock().names();
        let _ = root.lock().create("f", NewNode::SymbolicLink("a/b"));
        let _ = fs_node::remove_file(&root, "a");
        let _ = fs_node::remove_dir(&root, "b");
        let _ = fs_node::rename(&root, "a", &root, "c");
    }
    assert!(found > 100);
}

#[test]
fn messages_are_little_endian_and_have_their_length_first() {
    let bytes = message(request::WALK, |writer| writer.u32(1).u32(0x0203).u16(1).text("ab"));
    assert_eq!(bytes, [21, 0, 0, 0, 110, 0, 0, 1, 0, 0, 0, 3, 2, 0, 0, 1, 0, 2, 0, b'a', b'b']);
    let mut small = [0; 10];
    assert_eq!(Writer::new(&mut small, 1).u64(1).finish(), Err(IoError::InvalidInput));
    // An error of the host: there is no such file.
    let answer = message(7, |writer| writer.u32(2));
    assert_eq!(Reader::new(&answer, request::WALK).err(), Some(FsError::NotFound));
    assert!(Reader::new(&answer[..8], request::WALK).is_err());
}
