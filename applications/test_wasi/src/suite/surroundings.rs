//! What a guest is given besides files.

use super::Ground;
use super::harness::*;
use core::time::Duration;
use wasm_wasi::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasm_wasi::{DirPerms, FilePerms, HostMonotonicClock, HostWallClock, WasiCtxBuilder};

pub fn arguments(_: &Ground) {
    let mut builder = WasiCtxBuilder::new();
    builder.args(&["prog", "", "ä b"]).env("A", "1").envs(&[("B", "x=y"), ("C", "")]);
    let guest = &mut Guest::new(&mut builder);
    guest.ok("args_sizes_get", &[16, 20]);
    assert_eq!((guest.u32(16), guest.u32(20)), (3, 5 + 1 + 5));
    guest.put(BUFFER, &[0xAA; 64]);
    guest.ok("args_get", &[0x40, i64::from(BUFFER)]);
    assert_eq!(
        guest.bytes(BUFFER, 12),
        "prog\0\0ä b\0\u{0}".as_bytes()[..11].iter().copied().chain([0xAA]).collect::<alloc::vec::Vec<u8>>()
    );
    assert_eq!([guest.u32(0x40), guest.u32(0x44), guest.u32(0x48)], [0, 5, 6].map(|offset| BUFFER + offset));
    guest.ok("environ_sizes_get", &[16, 20]);
    assert_eq!((guest.u32(16), guest.u32(20)), (3, 4 + 6 + 3));
    guest.ok("environ_get", &[0x40, i64::from(BUFFER)]);
    assert_eq!(guest.bytes(BUFFER, 13), b"A=1\0B=x=y\0C=\0");
    assert_eq!(guest.u32(0x48), BUFFER + 10);
    // To the last byte, and one too far.
    let end = i64::from(MEMORY);
    guest.ok("args_get", &[0x40, end - 11]);
    assert_eq!(guest.call("args_get", &[0x40, end - 10]), FAULT);
    guest.ok("args_get", &[end - 12, 0x40]);
    assert_eq!(guest.call("args_get", &[end - 11, 0x40]), FAULT);
    assert_eq!(guest.call("args_sizes_get", &[end, 0]), FAULT);
    assert_eq!(guest.call("environ_sizes_get", &[0, -1]), FAULT);

    let nobody = &mut Guest::new(&mut WasiCtxBuilder::new());
    nobody.ok("args_sizes_get", &[16, 20]);
    assert_eq!((nobody.u32(16), nobody.u32(20)), (0, 0));
    nobody.ok("args_get", &[0, 0]);
    assert!(WasiCtxBuilder::new().arg("a\0b").try_build_p1().is_err());
}

struct Fixed;

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_millis(3)
    }

    fn now(&self) -> Duration {
        Duration::new(1_700_000_000, 5)
    }
}

impl HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        7
    }

    fn now(&self) -> u64 {
        42
    }
}

pub fn clocks_and_random_numbers(_: &Ground) {
    let guest = &mut Guest::new(WasiCtxBuilder::new().wall_clock(Fixed).monotonic_clock(Fixed));
    let mut clock = |name, id| {
        let mut args = alloc::vec![id, 0, 16];
        if name == "clock_res_get" {
            args.remove(1);
        }
        match guest.call(name, &args) {
            0 => Ok(guest.u64(16)),
            errno => Err(errno),
        }
    };
    assert_eq!(clock("clock_time_get", 0), Ok(1_700_000_000_000_000_005));
    assert_eq!(clock("clock_time_get", 1), Ok(42));
    assert_eq!(clock("clock_res_get", 0), Ok(3_000_000));
    assert_eq!(clock("clock_res_get", 1), Ok(7));
    for id in [2, 3, 4, -1] {
        assert_eq!(clock("clock_time_get", id), Err(INVAL));
        assert_eq!(clock("clock_res_get", id), Err(INVAL));
    }
    let guest = &mut Guest::new(&mut WasiCtxBuilder::new());
    guest.ok("clock_res_get", &[1, 16]);
    assert_ne!(guest.u64(16), 0);
    let mut last = 0;
    for _ in 0..100 {
        guest.ok("clock_time_get", &[1, 0, 16]);
        assert!(guest.u64(16) >= last);
        last = guest.u64(16);
    }

    guest.ok("random_get", &[i64::from(BUFFER), 64]);
    let first = guest.bytes(BUFFER, 65);
    assert_eq!(first[64], 0);
    guest.ok("random_get", &[i64::from(BUFFER), 64]);
    assert_ne!(first, guest.bytes(BUFFER, 65));
    guest.ok("random_get", &[0, i64::from(MEMORY)]);
    guest.ok("random_get", &[i64::from(MEMORY), 0]);
    assert_eq!(guest.call("random_get", &[1, i64::from(MEMORY)]), FAULT);
    assert_eq!(guest.call("random_get", &[-1, -1]), FAULT);
}

pub fn ends(_: &Ground) {
    let guest = &mut Guest::new(&mut WasiCtxBuilder::new());
    for status in [0, 1, 125, 256, -1] {
        let error = guest.try_call("proc_exit", &[status]).unwrap_err();
        assert_eq!(i64::from(exit_status(&error)), status);
    }
    guest.ok("sched_yield", &[]);
    assert_eq!(guest.call("proc_raise", &[9]), NOTSUP);
    assert_eq!(guest.call("proc_raise", &[31]), INVAL);
}

pub fn streams(_: &Ground) {
    let (out, err) = (MemoryOutputPipe::new(8), MemoryOutputPipe::new(100));
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(MemoryInputPipe::new(&b"hello world"[..])).stdout(out.clone()).stderr(err.clone());
    let guest = &mut Guest::new(&mut builder);
    assert_eq!(guest.read(0, 5).unwrap(), b"hello");
    assert_eq!(guest.read(0, 0).unwrap(), b"");
    assert_eq!(guest.read(0, 100).unwrap(), b" world");
    assert_eq!(guest.read(0, 100).unwrap(), b"", "the end is no error");
    assert_eq!(guest.write(1, b"abcde"), Ok(5));
    assert_eq!(guest.write(1, b"fghij"), Ok(3), "as much as there is room for");
    assert_eq!(guest.write(1, b"x"), Err(NOSPC));
    // Several parts are one write.
    guest.put(BUFFER, b"--ab--cd");
    guest.array(&[(BUFFER + 2, 2), (0, 0), (BUFFER + 6, 2)]);
    guest.ok("fd_write", &[2, 0x80, 3, 16]);
    assert_eq!(guest.u32(16), 4);
    assert_eq!((out.contents(), err.contents()), (b"abcdefgh".to_vec(), b"abcd".to_vec()));
    assert_eq!(guest.write(0, b"x"), Err(BADF));
    assert_eq!(guest.read(1, 1), Err(BADF));
    assert_eq!(guest.read(9, 1), Err(BADF));
    for fd in 0..3 {
        guest.ok("fd_fdstat_get", &[fd, 0x40]);
        assert_eq!(guest.bytes(0x40, 1), [0], "no terminal");
        assert_eq!(
            guest.u64(0x48) & (1 << 2 | 1 << 5),
            0,
            "no right to seek, by which libraries know terminals"
        );
        guest.ok("fd_filestat_get", &[fd, 0x40]);
        assert_eq!(guest.call("fd_seek", &[fd, 0, 0, 16]), SPIPE);
        assert_eq!(guest.call("fd_tell", &[fd, 16]), SPIPE);
        assert_eq!(guest.call("fd_pread", &[fd, 0x80, 1, 0, 16]), SPIPE);
        assert_eq!(guest.call("fd_pwrite", &[fd, 0x80, 1, 0, 16]), SPIPE);
        assert_eq!(guest.call("fd_filestat_set_size", &[fd, 0]), SPIPE);
        assert_eq!(guest.call("fd_readdir", &[fd, 0x40, 64, 0, 16]), NOTDIR);
        assert_eq!(guest.call("fd_sync", &[fd]), INVAL);
        assert_eq!(guest.call("fd_prestat_get", &[fd, 16]), BADF);
        assert_eq!(guest.at("path_create_directory", fd, "x"), NOTDIR);
    }
    guest.ok("fd_close", &[1]);
    assert_eq!(guest.write(1, b"x"), Err(BADF));
}

pub fn sockets(_: &Ground) {
    let guest = &mut Guest::new(&mut WasiCtxBuilder::new());
    for (fd, errno) in [(0, NOTSOCK), (7, BADF)] {
        assert_eq!(guest.call("sock_accept", &[fd, 0, 16]), errno);
        assert_eq!(guest.call("sock_recv", &[fd, 0x80, 1, 0, 16, 20]), errno);
        assert_eq!(guest.call("sock_send", &[fd, 0x80, 1, 0, 16]), errno);
        assert_eq!(guest.call("sock_shutdown", &[fd, 3]), errno);
    }
}

pub fn preopens(ground: &Ground) {
    let mut builder = WasiCtxBuilder::new();
    ground.give(&mut builder, "some dir", DirPerms::all(), FilePerms::all());
    ground.give(&mut builder, "/", DirPerms::READ, FilePerms::READ);
    let guest = &mut Guest::new(&mut builder);
    for (fd, name) in [(3, "some dir"), (4, "/")] {
        guest.ok("fd_prestat_get", &[fd, 16]);
        assert_eq!((guest.bytes(16, 1)[0], guest.u32(20) as usize), (0, name.len()));
        guest.ok("fd_prestat_dir_name", &[fd, 0x40, name.len() as i64]);
        assert_eq!(guest.bytes(0x40, name.len()), name.as_bytes());
        assert_eq!(guest.call("fd_prestat_dir_name", &[fd, 0x40, name.len() as i64 - 1]), NAMETOOLONG);
        assert_eq!(guest.call("fd_prestat_dir_name", &[fd, i64::from(MEMORY), 100]), FAULT);
        guest.ok("fd_fdstat_get", &[fd, 0x40]);
        assert_eq!(guest.bytes(0x40, 1), [3]);
    }
    assert_eq!(guest.call("fd_prestat_get", &[5, 16]), BADF);
    let opened = guest.open(3, ".", DIRECTORY, ALL_READ, 0).unwrap();
    assert_eq!(guest.call("fd_prestat_get", &[opened, 16]), BADF, "it was not given, but opened");
}
