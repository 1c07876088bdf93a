//! `wasi_unstable`, as far as it differs.

use super::Ground;
use super::harness::*;
use core::time::Duration;
use wasm_engine::{Linker, Trap};
use wasm_wasi::{DirPerms, FilePerms, WasiCtxBuilder, WasiP1Ctx, p0};

pub fn differences(ground: &Ground) {
    let mut builder = WasiCtxBuilder::new();
    ground.give(&mut builder, "dir", DirPerms::all(), FilePerms::all());
    let guest = &mut Guest::unstable(&mut builder);
    guest.make("f", b"0123456789");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();

    // Whence: 0 from where it is, 1 from the end, 2 from the start.
    for (offset, whence, expected) in [(4, 2, 4), (2, 0, 6), (-1, 1, 9), (-9, 0, 0), (3, 2, 3), (0, 0, 3)] {
        guest.ok("fd_seek", &[fd, offset, whence, 16]);
        assert_eq!(guest.u64(16), expected, "{offset} {whence}");
    }
    assert_eq!(guest.call("fd_seek", &[fd, 0, 3, 16]), INVAL);
    assert_eq!(guest.read(fd, 2).unwrap(), b"34");

    // A filestat has 56 bytes, with the number of links behind the type.
    let end = i64::from(MEMORY);
    let path = [i64::from(BUFFER), 1];
    guest.put(BUFFER, b"f");
    guest.put(0x2000, &[0xEE; 72]);
    for at in [0x2000, end - 56] {
        guest.ok("path_filestat_get", &[DIR, 1, path[0], path[1], at]);
        let at = at as u32;
        assert_eq!((guest.bytes(at + 16, 4), guest.u32(at + 20)), ([4, 0, 0, 0].to_vec(), 1));
        assert_eq!(guest.u64(at + 24), 10);
        let by_path = guest.bytes(at, 56);
        guest.ok("fd_filestat_get", &[fd, i64::from(at)]);
        assert_eq!(guest.bytes(at, 32), by_path[..32]);
    }
    assert_eq!(guest.bytes(0x2000 + 56, 16), [0xEE; 16]);
    assert_eq!(guest.call("path_filestat_get", &[DIR, 1, path[0], path[1], end - 55]), FAULT);
    assert_eq!(guest.call("fd_filestat_get", &[fd, end - 55]), FAULT);
}

/// A clock's number follows an identifier of its own, and a subscription has 56 bytes.
pub fn waiting(_: &Ground) {
    let guest = &mut Guest::unstable(&mut WasiCtxBuilder::new());
    let clock = |userdata: u64, nanos: u64| {
        let mut bytes = [0; 56];
        bytes[..8].copy_from_slice(&userdata.to_le_bytes());
        bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes[24..28].copy_from_slice(&1u32.to_le_bytes());
        bytes[32..40].copy_from_slice(&nanos.to_le_bytes());
        bytes
    };
    let mut output = [0; 56];
    output[..8].copy_from_slice(&9u64.to_le_bytes());
    output[8] = 2;
    output[16] = 1;
    guest.put(0x1000, &[clock(7, u64::MAX), clock(8, 5_000_000)].concat());
    guest.ok("poll_oneoff", &[0x1000, 0x2000, 2, 16]);
    assert_eq!((guest.u32(16), guest.u64(0x2000), guest.u64(0x2008)), (1, 8, 0));
    guest.put(0x1000, &[clock(7, u64::MAX), output].concat());
    guest.ok("poll_oneoff", &[0x1000, 0x2000, 2, 16]);
    assert_eq!((guest.u32(16), guest.u64(0x2000), guest.u64(0x2008)), (1, 9, 2 << 16));
    assert_eq!(guest.call("poll_oneoff", &[i64::from(MEMORY) - 55, 0x2000, 1, 16]), FAULT);
    guest.store.set_deadline(Some(Duration::from_millis(20)));
    let error = guest.try_call("poll_oneoff", &[0x1000, 0x2000, 1, 16]).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
}

/// All functions but the one that came later.
pub fn functions(_: &Ground) {
    let engine = wasm_engine::Engine::default();
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    p0::add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
    let mut store = wasm_engine::Store::new(&engine, WasiCtxBuilder::new().build_p1());
    for (name, _) in SIGNATURES {
        let is_there = linker.get(&mut store, p0::MODULE, name).is_some();
        assert_eq!(is_there, *name != "sock_accept", "{name}");
    }
}
