//! Running the shell.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use app_io::eprintln;
use core::time::Duration;
use path::Path;
use task::ExitValue;

/// The application that is the shell, as a prefix of its object file's name.
const SHELL: &str = "shell-";
/// The status when the shell itself can't be run, or crashes while it runs a command.
const STATUS_FAILED: u8 = 134;
/// How long to wait before a crashed shell is started again, so that one that crashes at once doesn't take all time.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Runs the shell until it ends by itself, and switches the machine off with its status.
pub fn run(command: Option<String>) {
    let arguments = command.map_or(Vec::new(), |line| vec!["-c".to_string(), line]);
    let interactive = arguments.is_empty();
    loop {
        // What it takes to start a shell may panic for lack of memory, which whoever has it may give back meanwhile.
        match catch_unwind::catch_unwind_with_arg(run_shell, arguments.as_slice()) {
            Ok(Ok(status)) => power::exit_with_status(status),
            Ok(Err(reason)) => eprintln!("console: the shell: {reason}"),
            Err(reason) => eprintln!("console: the shell: {reason}"),
        }
        if !interactive {
            power::exit_with_status(STATUS_FAILED);
        }
        // An error only means that the delay is shorter.
        let _ = sleep::sleep(RESTART_DELAY);
    }
}

/// Runs the shell once, and returns its status.
fn run_shell(arguments: &[String]) -> Result<u8, String> {
    let namespace = mod_mgmt::create_application_namespace(None).map_err(|reason| reason.to_string())?;
    let names = namespace.dir().lock().list();
    let name = names.iter().find(|name| name.starts_with(SHELL)).ok_or("it is not in the boot archive")?;
    let shell = spawn::new_application_task_builder(Path::new(name), Some(namespace))
        .map_err(|reason| reason.to_string())?
        .argument(arguments.to_vec())
        .spawn()?;
    match shell.join()? {
        ExitValue::Completed(value) => match value.downcast_ref::<isize>() {
            Some(status) => Ok(*status as u8),
            None => Err("it returned something else than a status".to_string()),
        },
        ExitValue::Killed(reason) => Err(reason.to_string()),
    }
}
