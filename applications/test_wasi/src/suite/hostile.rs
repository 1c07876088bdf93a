//! Arguments that make no sense.

use super::Ground;
use super::harness::*;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use wasm_engine::Trap;
use wasm_wasi::{DirPerms, FilePerms, I32Exit, WasiCtxBuilder};

/// The largest error number of the specification.
const LAST_ERRNO: i32 = 76;

/// Numbers that are mistakes most of the time.
const NUMBERS: &[i64] = &[
    0,
    1,
    3,
    4,
    7,
    0x80,
    MEMORY as i64 - 8,
    MEMORY as i64 - 1,
    MEMORY as i64,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFF8,
    0xFFFF_FFFF,
    -1,
    i64::MIN,
    i64::MAX,
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn number(&mut self) -> i64 {
        match self.next() % 4 {
            0 => self.next() as i64 % 16,
            _ => NUMBERS[self.next() as usize % NUMBERS.len()],
        }
    }
}

/// Every function with hostile arguments, in a memory full of hostile numbers: whatever comes of it is an error number.
pub fn arguments(ground: &Ground) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let guest = &mut Guest::on(ground);
    for (name, signature) in SIGNATURES {
        for round in 0..300 {
            if round % 50 == 0 {
                guest.renew(ground);
                guest.make("f", b"abc");
                let fill: Vec<u8> = (0..0x400).flat_map(|_| (random.number() as u32).to_le_bytes()).collect();
                guest.put(0, &fill);
            }
            let args: Vec<i64> = signature
                .chars()
                .map(|letter| match (letter, *name) {
                    // Files of sizes that there is no room for anywhere, or small ones.
                    ('I', "fd_allocate" | "fd_filestat_set_size" | "fd_pwrite") => {
                        [0, 5, i64::MAX, -1, i64::MIN][random.next() as usize % 5]
                    }
                    _ => random.number(),
                })
                .collect();
            // Of waits that would take for ever, and of whatever else.
            let milliseconds = if *name == "poll_oneoff" { 2 } else { 5000 };
            guest.store.set_deadline(Some(Duration::from_millis(milliseconds)));
            match guest.try_call(name, &args) {
                Ok(errno) => assert!((0..=LAST_ERRNO).contains(&errno), "{name}{args:?}: {errno}"),
                Err(error) => {
                    let expected = match *name {
                        "proc_exit" => error.is::<I32Exit>(),
                        "poll_oneoff" => error.downcast_ref::<Trap>() == Some(&Trap::Interrupt),
                        _ => false,
                    };
                    assert!(expected, "{name}{args:?}: {error:?}");
                }
            }
            guest.store.set_deadline(None);
            if guest.call("fd_prestat_get", &[DIR, i64::from(MEMORY) - 8]) != 0 {
                // It was closed or replaced: a new guest.
                guest.renew(ground);
            }
        }
    }
}

/// Arrays of parts that are partly or as a whole outside, or very many.
pub fn arrays(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"0123456789");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    let end = i64::from(MEMORY);
    for name in ["fd_read", "fd_write"] {
        for (array, count) in
            [(end, 1), (end - 7, 1), (0, -1), (-8, 1), (-8, 2), (0, 0x4001), (0, i64::from(i32::MIN))]
        {
            assert_eq!(guest.call(name, &[fd, array, count, 16]), FAULT, "{name} {array:x} {count}");
        }
        for part in [(MEMORY, 1), (MEMORY - 1, 2), (0, MEMORY + 1), (u32::MAX, u32::MAX), (1, u32::MAX)] {
            guest.array(&[part]);
            assert_eq!(guest.call(name, &[fd, 0x80, 1, 16]), FAULT, "{name} {part:x?}");
        }
        guest.array(&[(0, 1)]);
        for result in [end, end - 3, -1, -4] {
            assert_eq!(guest.call(name, &[fd, 0x80, 1, result]), FAULT);
        }
        guest.ok(name, &[fd, end, 0, 16]);
        assert_eq!(guest.u32(16), 0);
    }
    guest.ok("fd_tell", &[fd, 16]);
    assert_eq!(guest.u64(16), 0, "nothing has happened");
    assert_eq!(guest.content("f").unwrap(), b"0123456789");
    // What was done before the part that is none counts.
    guest.array(&[(BUFFER, 4), (MEMORY, 1), (BUFFER, 4)]);
    guest.ok("fd_read", &[fd, 0x80, 3, 16]);
    assert_eq!((guest.u32(16), guest.bytes(BUFFER, 4)), (4, b"0123".to_vec()));
    // 16,384 parts of a byte, all over the memory, and the array with them.
    let parts: Vec<u8> =
        (0..0x4000u32).flat_map(|_| [0x10u32.to_le_bytes(), 1u32.to_le_bytes()].concat()).collect();
    guest.put(0, &parts);
    let large = guest.open(DIR, "large", CREAT, ALL, 0).unwrap();
    guest.put(0, &parts);
    guest.ok("fd_write", &[large, 0, 0x4000, 0x40]);
    assert_eq!(guest.u32(0x40), 0x4000);
    // The parts of a read lie where the array lies, which is overwritten by what is read.
    let mut overlapping = vec![0; 0x100];
    overlapping[..8].copy_from_slice(&[8, 0, 0, 0, 16, 0, 0, 0]);
    overlapping[8..16].copy_from_slice(&[0, 0, 0, 0, 255, 255, 255, 255]);
    guest.put(0x80, &overlapping);
    guest.ok("fd_seek", &[fd, 0, 0, 16]);
    let errno = guest.call("fd_read", &[fd, 0x80, 2, 0x40]);
    assert!([0, FAULT].contains(&errno));
}

/// A guest that exports no memory: every place is outside of it.
pub fn no_memory(ground: &Ground) {
    let mut builder = WasiCtxBuilder::new();
    builder.arg("a");
    ground.give(&mut builder, "dir", DirPerms::all(), FilePerms::all());
    let guest = &mut Guest::with_memory(&mut builder, "");
    assert_eq!(guest.call("args_get", &[0, 0]), FAULT);
    assert_eq!(guest.call("args_sizes_get", &[0, 4]), FAULT);
    assert_eq!(guest.call("clock_time_get", &[0, 0, 0]), FAULT);
    assert_eq!(guest.call("fd_write", &[1, 0, 0, 0]), FAULT);
    assert_eq!(guest.call("fd_prestat_get", &[DIR, 0]), FAULT);
    assert_eq!(guest.call("path_create_directory", &[DIR, 0, 1]), FAULT);
    assert_eq!(guest.call("random_get", &[0, 1]), FAULT);
    guest.ok("random_get", &[0, 0]);
    guest.ok("sched_yield", &[]);
    guest.ok("fd_close", &[1]);
}

/// The bytes of a shared memory are moved by way of the host's.
pub fn shared_memory(ground: &Ground) {
    let mut builder = WasiCtxBuilder::new();
    builder.args(&["prog", "x"]);
    ground.give(&mut builder, "dir", DirPerms::all(), FilePerms::all());
    let guest = &mut Guest::with_memory(&mut builder, "(memory (export \"memory\") 2 2 shared)");
    guest.ok("args_get", &[0x40, i64::from(BUFFER)]);
    assert_eq!(guest.bytes(BUFFER, 7), b"prog\0x\0");
    guest.make("f", b"hello");
    assert_eq!(guest.content("f").unwrap(), b"hello");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    let large: Vec<u8> = (0..0x10000u32).map(|number| (number / 5) as u8).collect();
    assert_eq!(guest.pwrite(fd, &large, 0), Ok(0x10000));
    guest.put(BUFFER, &vec![0; 0x10000]);
    assert_eq!(guest.pread(fd, 0x10000, 0).unwrap(), large);
    assert_eq!(guest.pread(fd, 0x10000, 0xFFF0).unwrap(), large[0xFFF0..]);
    assert_eq!(joined(&guest.names(DIR, 1000)), ".:3 ..:3 f:4");
    guest.array(&[(MEMORY - 1, 2)]);
    assert_eq!(guest.call("fd_read", &[fd, 0x80, 1, 16]), FAULT);
    guest.put(0x100, b"f\xFF");
    assert_eq!(guest.call("path_unlink_file", &[DIR, 0x100, 2]), ILSEQ);
    guest.ok("random_get", &[0, i64::from(MEMORY)]);
    assert!(guest.bytes(0, 64).iter().any(|byte| *byte != 0));
}
