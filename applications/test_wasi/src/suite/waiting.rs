//! `poll_oneoff`, and the end of a guest's time.

use super::Ground;
use super::harness::*;
use alloc::vec::Vec;
use core::time::Duration;
use wasm_engine::Trap;
use wasm_wasi::WasiCtxBuilder;
use wasm_wasi::pipe::MemoryInputPipe;

const SUBSCRIPTIONS: u32 = 0x1000;
const EVENTS: u32 = 0x2000;

fn clock(userdata: u64, id: u32, nanos: u64, absolute: bool) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[16..20].copy_from_slice(&id.to_le_bytes());
    bytes[24..32].copy_from_slice(&nanos.to_le_bytes());
    bytes[40] = absolute.into();
    bytes
}

fn descriptor(userdata: u64, kind: u8, fd: u32) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = kind;
    bytes[16..20].copy_from_slice(&fd.to_le_bytes());
    bytes
}

/// An event: userdata, error, kind, bytes.
type Event = (u64, u16, u8, u64);

fn poll(guest: &mut Guest, subscriptions: &[[u8; 48]]) -> Result<Vec<Event>, i32> {
    guest.put(SUBSCRIPTIONS, &subscriptions.concat());
    let count = subscriptions.len() as i64;
    let args = [i64::from(SUBSCRIPTIONS), i64::from(EVENTS), count, i64::from(RESULT)];
    match guest.call("poll_oneoff", &args) {
        0 => {}
        errno => return Err(errno),
    }
    let count = guest.u32(RESULT);
    Ok((0..count)
        .map(|index| {
            let at = EVENTS + index * 32;
            let bytes = guest.bytes(at, 32);
            (guest.u64(at), u16::from_le_bytes([bytes[8], bytes[9]]), bytes[10], guest.u64(at + 16))
        })
        .collect())
}

fn now(guest: &mut Guest, id: i64) -> u64 {
    guest.ok("clock_time_get", &[id, 0, 0x20]);
    guest.u64(0x20)
}

pub fn clocks(_: &Ground) {
    let guest = &mut Guest::new(&mut WasiCtxBuilder::new());
    for id in [0, 1] {
        let start = now(guest, 1);
        assert_eq!(poll(guest, &[clock(7, id, 20_000_000, false)]), Ok([(7, 0, 0, 0)].to_vec()));
        assert!(now(guest, 1) - start >= 20_000_000);
        let then = now(guest, i64::from(id)) + 10_000_000;
        assert_eq!(poll(guest, &[clock(8, id, then, true)]), Ok([(8, 0, 0, 0)].to_vec()));
        assert!(now(guest, i64::from(id)) >= then);
        assert_eq!(poll(guest, &[clock(9, id, 1, true)]), Ok([(9, 0, 0, 0)].to_vec()), "long past");
    }
    // The first of several.
    let both = [clock(1, 1, u64::MAX, false), clock(2, 1, 5_000_000, false), clock(3, 1, 0, false)];
    assert_eq!(poll(guest, &both), Ok([(3, 0, 0, 0)].to_vec()));
    assert_eq!(poll(guest, &both[..2]), Ok([(2, 0, 0, 0)].to_vec()));
    // Of a clock that there is not the event tells.
    assert_eq!(poll(guest, &[clock(1, 9, 0, false)]), Ok([(1, INVAL as u16, 0, 0)].to_vec()));
    assert_eq!(poll(guest, &[]), Err(INVAL));
    let mut wrong = clock(1, 1, 0, false);
    wrong[8] = 3;
    assert_eq!(poll(guest, &[wrong]), Err(INVAL));
    wrong[8] = 0;
    wrong[40] = 2;
    assert_eq!(poll(guest, &[wrong]), Err(INVAL));
    let end = i64::from(MEMORY);
    for args in
        [[end - 47, 0, 1, 16], [0, end - 31, 1, 16], [0, 0, 1, end - 3], [0, 0, -1, 16], [-48, 0, 1, 16]]
    {
        assert_eq!(guest.call("poll_oneoff", &args), FAULT);
    }
}

pub fn descriptors(ground: &Ground) {
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(MemoryInputPipe::new(&b"abc"[..]));
    ground.give(&mut builder, "dir", wasm_wasi::DirPerms::all(), wasm_wasi::FilePerms::all());
    let guest = &mut Guest::new(&mut builder);
    guest.make("f", b"0123456789");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    guest.ok("fd_seek", &[fd, 4, 0, 16]);
    let subscriptions = [
        clock(1, 1, u64::MAX, false),
        descriptor(2, 1, fd as u32),
        descriptor(3, 2, fd as u32),
        descriptor(4, 2, 1),
    ];
    assert_eq!(poll(guest, &subscriptions), Ok([(2, 0, 1, 6), (3, 0, 2, 0), (4, 0, 2, 0)].to_vec()));
    assert_eq!(poll(guest, &[descriptor(5, 1, 0)]), Ok([(5, 0, 1, 1)].to_vec()));
    assert_eq!(poll(guest, &[descriptor(6, 1, 99)]), Ok([(6, BADF as u16, 1, 0)].to_vec()));
    assert_eq!(poll(guest, &[descriptor(6, 1, DIR as u32)]).unwrap()[0].1, NOTCAPABLE as u16);
    let read = guest.open(DIR, "f", 0, READ, 0).unwrap();
    assert_eq!(poll(guest, &[descriptor(7, 1, read as u32)]).unwrap()[0].1, NOTCAPABLE as u16);
}

/// Reading a large directory is work that can be interrupted, however little of it the guest asked for.
pub fn deadline_of_a_listing(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    for number in 0..300 {
        guest.make(&alloc::format!("entry{number}"), b"");
    }
    let args = [DIR, i64::from(BUFFER), 8, 0, i64::from(RESULT)];
    guest.store.set_deadline(Some(Duration::from_nanos(1)));
    let error = guest.try_call("fd_readdir", &args).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    guest.store.set_deadline(None);
    guest.ok("fd_readdir", &args);
    assert_eq!(guest.names(DIR, 1000).len(), 302);
}

pub fn deadlines(_: &Ground) {
    let guest = &mut Guest::new(&mut WasiCtxBuilder::new());
    let start = now(guest, 1);
    guest.put(SUBSCRIPTIONS, &clock(1, 1, u64::MAX, false));
    guest.store.set_deadline(Some(Duration::from_millis(30)));
    let args = [i64::from(SUBSCRIPTIONS), i64::from(EVENTS), 1, i64::from(RESULT)];
    let error = guest.try_call("poll_oneoff", &args).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    guest.store.set_deadline(None);
    assert!(now(guest, 1) - start >= 30_000_000);
    // The store is as good as before.
    assert_eq!(poll(guest, &[clock(2, 1, 0, false)]), Ok([(2, 0, 0, 0)].to_vec()));
}
