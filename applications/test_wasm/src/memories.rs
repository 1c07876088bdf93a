//! Linear memories: growth, its limits, and running out of frames.

use crate::guest::{Guest, artifact, engine, start, trap_of};
use alloc::string::ToString;
use ktest_system::{Ballast, leaves_nothing};
use memory::PAGE_SIZE;
use wasm_engine::{Engine, Instance, Module, Result, Store, Trap};

/// Bytes in a page of WebAssembly.
const WASM_PAGE: usize = 64 << 10;

pub(crate) fn grow_to_their_limits() {
    const DATA: &[u8] = b"data at eight";
    const MAXIMUM: i32 = 16;
    leaves_nothing(|| {
        let mut guest = Guest::new("memory");
        let memory = guest.instance.get_memory(&mut guest.store, "memory").expect("it is exported");
        let start = memory.data_ptr(&guest.store);
        for pages in 1..MAXIMUM {
            assert_eq!(guest.int("size", &[]).unwrap(), pages);
            let last = pages * WASM_PAGE as i32 - 1;
            guest.call("store", &[last.into(), pages.into()]).unwrap();
            // One byte on is a trap as long as the page is not there.
            assert_eq!(trap_of(&guest.int("load", &[last + 1]).unwrap_err()), Trap::MemoryOutOfBounds);
            assert_eq!(guest.int("grow", &[1]).unwrap(), pages);
            assert_eq!(guest.int("load", &[last + 1]).unwrap(), 0);
            assert_eq!(guest.int("load", &[last]).unwrap(), pages);
        }
        for too_much in [1, 2, 65_536, -1] {
            assert_eq!(guest.int("grow", &[too_much]).unwrap(), -1);
        }
        assert_eq!(guest.int("grow", &[0]).unwrap(), MAXIMUM);
        assert_eq!(memory.grow(&mut guest.store, 1).unwrap_err().to_string(), "failed to grow memory by `1`");
        assert_eq!(memory.data_ptr(&guest.store), start, "a memory never moves");
        assert_eq!(&memory.data(&guest.store)[8..][..DATA.len()], DATA);
        let expected: i64 =
            DATA.iter().map(|byte| i64::from(*byte)).sum::<i64>() + (1..MAXIMUM as i64).sum::<i64>();
        assert_eq!(guest.call("sum", &[]).unwrap()[0].unwrap_i64(), expected);
        // The second half, onto the first: the marks of the pages from 8 on.
        guest.call("fold", &[]).unwrap();
        assert_eq!(guest.int("load", &[WASM_PAGE as i32 - 1]).unwrap(), 9);
    });
}

pub(crate) fn are_charged_to_their_tasks() {
    fn charged() -> usize {
        task::with_current_task(|task| task.guest_memory()).expect("a task runs tests")
    }
    /// What `ps` and `top` show.
    fn shown() -> usize {
        task::with_current_task(|task| task_list::Entry::of(task).memory).expect("a task runs tests")
    }
    let (before, shown_before) = (charged(), shown());
    leaves_nothing(|| {
        let mut guest = Guest::new("test_growth");
        let code = charged() - before;
        assert!(code > 0 && code < WASM_PAGE * 2 && code.is_multiple_of(PAGE_SIZE), "{code} bytes of code");
        for pages in [3, 40] {
            let size = guest.int("size", &[]).unwrap() + pages;
            assert!(guest.int("grow", &[pages]).unwrap() >= 0);
            assert_eq!(charged(), before + code + size as usize * WASM_PAGE);
        }
        assert_eq!(guest.int("grow", &[-1]).unwrap(), -1);
        let all = before + code + 43 * WASM_PAGE;
        assert_eq!((charged(), shown()), (all, shown_before + all - before));
        // Another task goes on with it, which is charged nothing, and drops it.
        let task = start(move || {
            assert_eq!(guest.int("grow", &[1]).unwrap(), 43);
            drop(guest);
            charged()
        });
        let of_task = match task.join().expect("nobody else joins it") {
            task::ExitValue::Completed(value) => *value.downcast::<usize>().expect("that is what it returns"),
            task::ExitValue::Killed(reason) => panic!("a task ended early: {reason}"),
        };
        assert_eq!((of_task, charged()), (0, before));
    });
}

pub(crate) fn small() {
    leaves_nothing(|| {
        let mut guest = Guest::new("test_small");
        assert_eq!(guest.int("load", &[65_535]).unwrap(), i32::from(b'd'));
        for (pages, next) in [(1, 1), (2, 1), (3, 0)] {
            let end = pages * WASM_PAGE as i32;
            for outside in [end, end + 1, 1 << 24, 1 << 30, i32::MIN, -1] {
                assert_eq!(trap_of(&guest.int("load", &[outside]).unwrap_err()), Trap::MemoryOutOfBounds);
                let stored = guest.call("store", &[outside.into(), 1.into()]);
                assert_eq!(trap_of(&stored.unwrap_err()), Trap::MemoryOutOfBounds);
            }
            guest.call("store", &[(end - 1).into(), pages.into()]).unwrap();
            assert_eq!(guest.int("load", &[end - 1]).unwrap(), pages);
            assert_eq!(guest.int("grow", &[4 - pages]).unwrap(), -1);
            assert_eq!(guest.int("grow", &[next]).unwrap(), pages);
        }
    });
}

pub(crate) fn grow_until_none_is_left() {
    /// So much is left to the guest in bytes; and so much it asks for at once, in pages of WebAssembly.
    const LEFT: usize = 64 << 20;
    const STEP: i32 = 100;
    leaves_nothing(|| {
        let _ballast = Ballast::leaving_to_guests(LEFT / PAGE_SIZE);
        let mut guest = Guest::new("test_growth");
        let mut size = 0;
        for step in [STEP, 1] {
            loop {
                match guest.int("grow", &[step]).unwrap() {
                    -1 => break,
                    before => assert_eq!(before, size),
                }
                guest.call("mark", &[size.into()]).unwrap();
                size += step;
                assert!(size as usize * WASM_PAGE <= LEFT, "that is more than there is");
            }
            // The growth that failed has changed nothing.
            assert_eq!(guest.int("size", &[]).unwrap(), size);
            assert!((LEFT / 2..LEFT).contains(&(size as usize * WASM_PAGE)), "it grew to {size} pages");
        }
        assert_eq!(guest.int("marked", &[]).unwrap(), size);
    });
}

pub(crate) fn little_memory_left() {
    // From none at all to more than enough, in frames.
    const LEFT: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 64, ENOUGH];
    const ENOUGH: usize = 256;
    const NAMES: [&str; 3] = ["fib", "memory", "test_traps"];
    let artifacts = NAMES.map(artifact);
    let engine = engine();
    // The bulk of it is taken once; what is taken then is little.
    let _bulk = Ballast::leaving_to_guests(ENOUGH);
    let (mut made, mut refused) = (0, 0);
    for frames in LEFT {
        for artifact in &artifacts {
            let _ballast = Ballast::leaving_to_guests(frames);
            match instantiate(&engine, artifact) {
                Ok(()) => made += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(made >= artifacts.len() && refused >= artifacts.len(), "{made} made, {refused} refused");
    // The first is what guests meet; where the reserve is gone as well, it still is an error.
    for ballast in [Ballast::leaving_to_guests, Ballast::leaving] {
        leaves_nothing(|| {
            let _ballast = ballast(1);
            for artifact in &artifacts {
                assert!(instantiate(&engine, artifact).is_err());
            }
        });
    }
}

/// Makes a module and an instance, and a larger memory where there is one.
fn instantiate(engine: &Engine, artifact: &[u8]) -> Result<()> {
    // SAFETY: the artifacts in the image were made by our compiler.
    let module = unsafe { Module::deserialize(engine, artifact)? };
    let mut store = Store::try_new(engine, ())?;
    let instance = Instance::new(&mut store, &module, &[])?;
    if let Some(memory) = instance.get_memory(&mut store, "memory") {
        memory.grow(&mut store, 1)?;
    }
    Ok(())
}
