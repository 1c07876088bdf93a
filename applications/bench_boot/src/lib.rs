//! Shows how long each phase of the boot took, by the time stamp counter, and then how long two runs of
//! `wasm_run /hello.cwasm` take: the first loads and links the engine's crates, the second runs while this
//! application still holds nothing of them, so it loads them again from a warm system.
//!
//! Where QEMU counts instructions (`make bench-boot` asks for that), the figures are guest instructions.
#![no_std]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, println};
use boot_info::phases;
use path::Path;
use task::ExitValue;

/// Runs the benchmark; it takes no arguments.
pub fn main(args: Vec<String>) -> isize {
    if !args.is_empty() {
        eprintln!("usage: bench_boot");
        return 2;
    }
    let mut before = phases::started_at();
    for phase in phases::all() {
        println!("boot {:28} {:>12}", phase.name, phase.end.saturating_sub(before));
        before = phase.end;
    }
    println!("boot {:28} {:>12}", "all of it", before.saturating_sub(phases::started_at()));
    for run in ["first wasm_run", "second wasm_run"] {
        match time_of_hello() {
            Ok(ticks) => println!("{run:33} {ticks:>12}"),
            Err(reason) => {
                eprintln!("bench_boot: wasm_run /hello.cwasm: {reason}");
                return 1;
            }
        }
    }
    0
}

fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and the kernel does not restrict it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Time stamp counts from asking for the program to having its status.
fn time_of_hello() -> Result<u64, String> {
    let namespace =
        task::with_current_task(|task| task.get_namespace().clone()).map_err(|_| "no current task")?;
    let start = time_stamp();
    let file =
        namespace.dir().get_file_starting_with("wasm_run-").ok_or("there is no application wasm_run")?;
    let path = file.lock().get_absolute_path();
    let arguments = Vec::from([String::from("/hello.cwasm")]);
    let task = spawn::new_application_task_builder(Path::new(&path), None)
        .map_err(|reason| reason.to_string())?
        .argument(arguments)
        .spawn()?;
    match task.join()? {
        ExitValue::Completed(value) if value.downcast_ref::<isize>() == Some(&0) => Ok(time_stamp() - start),
        _ => Err("it failed".into()),
    }
}
