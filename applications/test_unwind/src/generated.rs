//! Machine code that was made at run time, as the WebAssembly engine's is, on the stack between frames of crates.

use crate::drops::{Noted, message_of};
use alloc::{string::ToString, vec::Vec};
use core::hint::black_box;
use memory::{MappedPages, Mapper, PteFlags};
use unwind::{CodeRangeGuard, UnwindInfo};

/// `extern "C-unwind" fn(f: extern "C-unwind" fn(*const ()), argument: *const ())`: calls `f(argument)`.
const CODE: [u8; 11] = [
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0x48, 0x87, 0xfe, // xchg rdi, rsi
    0xff, 0xd6, // call rsi
    0x5d, // pop rbp
    0xc3, // ret
];
/// Where the tables lie behind the code.
const TABLES: usize = 64;

/// `.eh_frame` for the code, `distance` bytes behind it.
fn eh_frame(distance: usize) -> Vec<u8> {
    let mut section = Vec::new();
    section.extend_from_slice(&[
        20, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, // a CIE: pcrel|sdata4
        0x0c, 7, 8, // the frame is at rsp + 8
        0x90, 1, // the return address 8 below
        0, 0,
    ]);
    let fde = section.len();
    section.extend_from_slice(&28u32.to_le_bytes());
    section.extend_from_slice(&(fde as u32 + 4).to_le_bytes());
    section.extend_from_slice(&(-((distance + fde + 8) as i32)).to_le_bytes());
    section.extend_from_slice(&(CODE.len() as u32).to_le_bytes());
    section.extend_from_slice(&[
        0, // no augmentation
        0x41, 0x0e, 16, 0x86, 2, // after the push: rsp + 16, rbp saved 16 below
        0x43, 0x0d, 6, // after the mov: rbp + 16
        0x46, 0x0c, 7, 8, // after the pop: rsp + 8
        0, 0, 0,
    ]);
    section.extend_from_slice(&[0; 4]);
    section
}

/// The code in executable memory, registered or not.
struct Generated {
    // Dropped before the pages are.
    _guard: Option<CodeRangeGuard>,
    pages: MappedPages,
}

impl Generated {
    fn new(registered: bool) -> Self {
        let flags = PteFlags::new().valid(true);
        let mut pages = memory::create_mapping(4096, flags.writable(true)).expect("there is memory");
        let tables = eh_frame(TABLES);
        let bytes = pages.as_slice_mut::<u8>(0, TABLES + tables.len()).expect("it fits into a page");
        bytes[..CODE.len()].copy_from_slice(&CODE);
        bytes[TABLES..].copy_from_slice(&tables);
        pages.remap(&mut Mapper::current(), flags.executable(true)).expect("it is mapped");
        let start = pages.start_address().value();
        let guard = registered.then(|| {
            let text = start..start + CODE.len();
            let tables = UnwindInfo::EhFrame(start + TABLES..start + TABLES + tables.len());
            // SAFETY: the tables describe the code, and `pages` outlives the guard.
            unsafe { unwind::register_code_range(text, tables) }.expect("nobody else has this page")
        });
        Self { _guard: guard, pages }
    }

    /// Calls `f` by way of the generated code.
    fn call(&self, f: &dyn Fn()) {
        extern "C-unwind" fn trampoline(f: *const ()) {
            // SAFETY: `call`'s argument, below.
            unsafe { (*f.cast::<&dyn Fn()>())() }
        }

        type Code = extern "C-unwind" fn(extern "C-unwind" fn(*const ()), *const ());

        let address = self.pages.start_address().value() as *const ();
        // SAFETY: the code is that of a function of this type.
        let code = unsafe { core::mem::transmute::<*const (), Code>(address) };
        code(trampoline, (&raw const f).cast());
    }
}

pub(crate) fn panic_passes_through() {
    let code = Generated::new(true);
    let log = spin::Mutex::new(Vec::new());
    let message = message_of(|| {
        let _outer = Noted(&log, 2);
        code.call(&|| {
            let _inner = Noted(&log, 1);
            panic!("below generated code, {}", black_box(1));
        });
    });
    assert_eq!(message, "below generated code, 1");
    assert_eq!(*log.lock(), [1, 2]);
    code.call(&|| log.lock().push(3));
    assert_eq!(*log.lock(), [1, 2, 3]);
}

pub(crate) fn unregistered_code_ends_the_task() {
    let dropped = alloc::sync::Arc::new(());
    let task_dropped = dropped.clone();
    // In a task of its own, since nothing behind that code can be unwound, not even found.
    let reason = crate::tasks::killed(move || {
        let _noted = task_dropped;
        Generated::new(false).call(&|| panic!("behind a wall"));
    });
    assert!(reason.to_string().ends_with("behind a wall"), "{reason}");
    assert_eq!(alloc::sync::Arc::strong_count(&dropped), 2, "nothing could be dropped");
}
