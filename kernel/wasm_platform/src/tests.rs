use super::*;
use core::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_reservation_is_zeroed_when_committed_again() {
    let page = page_size();
    let mut memory = Reservation::new(4 * page - 1).unwrap();
    assert_eq!(memory.len(), 4 * page);
    memory.commit(page, 2 * page).unwrap();
    // SAFETY: the second page was committed and nobody else has its address.
    unsafe {
        assert_eq!(memory.as_ptr().add(page).read(), 0);
        memory.as_ptr().add(page).write(7);
    }
    memory.decommit(page, page).unwrap();
    memory.commit(page, page).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { memory.as_ptr().add(page).read() }, 0);
}

#[test]
fn ranges_outside_a_reservation_are_refused() {
    let page = page_size();
    let mut memory = Reservation::new(2 * page).unwrap();
    assert!(memory.commit(page, 2 * page).is_err());
    assert!(memory.commit(1, page).is_err());
    assert!(memory.commit(usize::MAX - page + 1, page).is_err());
    assert!(memory.decommit(2 * page, page).is_err());
    assert!(Reservation::new(usize::MAX).is_err());
    assert!(
        Reservation::new(1 << 62).unwrap_err().to_string().starts_with("could not reserve address space: ")
    );
}

#[test]
fn published_code_runs_and_is_readable() {
    let page = page_size();
    let mut image = vec![0u8; page + 10];
    // mov eax, 42; ret
    image[..6].copy_from_slice(&[0xb8, 42, 0, 0, 0, 0xc3]);
    image[page + 9] = 5;
    let image = CodeImage::publish(&image, 0..page).unwrap();
    assert_eq!(image.len(), page + 10);
    assert_eq!(image[page + 9], 5);
    // SAFETY: the bytes are a function of this type.
    let function: extern "C" fn() -> i32 = unsafe { core::mem::transmute(image.as_ptr()) };
    assert_eq!(function(), 42);
    assert!(CodeImage::publish(&[0; 10], 0..2 * page).is_err());
    assert!(CodeImage::publish(&[0; 10], 1..page).is_err());
}

static UD2: AtomicUsize = AtomicUsize::new(0);
static TRAPS: AtomicUsize = AtomicUsize::new(0);

fn skip_ud2(registers: &mut TrapRegisters) -> bool {
    if registers.pc != UD2.load(Ordering::Relaxed) {
        return false;
    }
    TRAPS.fetch_add(1, Ordering::Relaxed);
    registers.pc += 2;
    true
}

fn other_handler(_: &mut TrapRegisters) -> bool {
    false
}

#[test]
fn a_trap_handler_moves_the_task_on_and_can_be_given_back() {
    let mut code = vec![0u8; page_size()];
    // ud2; mov eax, 7; ret
    code[..8].copy_from_slice(&[0x0f, 0x0b, 0xb8, 7, 0, 0, 0, 0xc3]);
    let image = CodeImage::publish(&code, 0..page_size()).unwrap();
    UD2.store(image.as_ptr() as usize, Ordering::Relaxed);
    // SAFETY: the bytes are a function of this type, given a handler that skips the `ud2`.
    let function: extern "C" fn() -> i32 = unsafe { core::mem::transmute(image.as_ptr()) };
    for round in 0..3 {
        let first = TrapHook::install(skip_ud2).unwrap();
        let second = TrapHook::install(skip_ud2).unwrap();
        assert!(TrapHook::install(other_handler).is_err());
        drop(first);
        assert_eq!(function(), 7);
        assert_eq!(TRAPS.load(Ordering::Relaxed), round + 1);
        drop(second);
    }
    drop(TrapHook::install(other_handler).unwrap());
}

#[test]
fn the_stack_is_where_the_variables_are() {
    let check = || {
        let variable = 0u8;
        assert!(stack_bounds().contains(&(&raw const variable as usize)));
        tls_set(8 as *mut u8);
        assert_eq!(tls_get() as usize, 8);
        tls_set(core::ptr::null_mut());
    };
    check();
    std::thread::spawn(check).join().unwrap();
}

#[test]
fn a_missing_file_is_an_error() {
    assert!(read_file("/no/such/file").is_err());
}

#[test]
fn workers_run_all_at_once_and_are_waited_for() {
    let budget = Budget::new(1 << 20);
    let barrier = std::sync::Barrier::new(4);
    let seen = std::sync::Mutex::new(Vec::new());
    let work = |number| {
        barrier.wait();
        seen.lock().unwrap().push(number);
    };
    run_workers(4, &budget, &work, None).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
    assert!(!budget.is_cancelled());
}

#[test]
fn who_waits_for_workers_gets_turns() {
    let turns = core::cell::Cell::new(0);
    let work = |_| std::thread::sleep(std::time::Duration::from_millis(4 * workers::TURN_MS));
    run_workers(2, &Budget::unlimited(), &work, Some(&|| turns.set(turns.get() + 1))).unwrap();
    assert!(turns.get() >= 1, "{}", turns.get());
}

#[test]
fn a_panic_of_one_worker_stops_the_others() {
    let budget = Budget::new(1 << 20);
    let work = |number| match number {
        1 => panic!("number {number} gives up"),
        _ => {
            while !budget.is_cancelled() {
                std::thread::yield_now();
            }
        }
    };
    let error = run_workers(3, &budget, &work, None).unwrap_err();
    assert_eq!(error, WorkersError::Panicked("number 1 gives up".into()));
}

#[test]
fn a_panic_of_who_waits_stops_the_workers() {
    let budget = Budget::new(1 << 20);
    let running = core::sync::atomic::AtomicUsize::new(0);
    let work = |_| {
        running.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
        while !budget.is_cancelled() {
            std::thread::yield_now();
        }
        running.fetch_sub(1, core::sync::atomic::Ordering::SeqCst);
    };
    let wait = || run_workers(2, &budget, &work, Some(&|| panic!("had enough")));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait)).is_err());
    assert_eq!(running.load(core::sync::atomic::Ordering::SeqCst), 0);
}
