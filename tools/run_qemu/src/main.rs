//! Boots the operating system in QEMU, and hands back the status of the command it was asked to run.
//!
//! `make run` and the tests use it; `run_qemu --help` lists its options. It decides three things that a plain QEMU command
//! line could not: whether this machine's KVM is worth using ([`accelerator`]), what the exact 8-bit status of the command
//! was (QEMU's own exit status has room for 7 bits), and when to give up.

mod accelerator;
mod disk;

use accelerator::Accelerator;
use std::fmt::Display;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: run_qemu --kernel ELF --archive CPIO --state DIR [options]
       run_qemu --iso ISO --state DIR [options]
  --kernel ELF      the base image, started by PVH
  --archive CPIO    the boot archive that goes with it
  --iso ISO         boot this image through GRUB instead
  --uefi            with --iso: through UEFI firmware (OVMF) instead of the BIOS
  --state DIR       where the log and QEMU's other traces go
  --cmd LINE        run this line of the shell and exit with its status; no echo, no prompt
  --append WORDS    more words for the kernel's command line
  --disk FILE       a disk, mounted at /disk; a FILE that does not exist is made, with an empty FAT32 of 64 MiB
  --disk-ro FILE    a disk that cannot be written to
  --share DIR       a folder of this machine, mounted at /host
  --smp N           processors (default 2)
  --mem SIZE        memory, as QEMU spells it (default 1G)
  --accel KIND      kvm, tcg, or auto: what a short trial finds faster (default auto)
  --icount          count guest instructions exactly (tcg): rdtsc then gives instructions
  --timeout SECS    end QEMU after so long, with status 124 (default: never)
  --until TEXT      end QEMU with status 0 once the serial line has printed TEXT
  --time            print the seconds from QEMU's start to its end (or to TEXT) on stderr
  -- ARGS           the rest goes to QEMU as it is";

/// What is wrong with the command line of this program.
const STATUS_USAGE: u8 = 2;
/// What `timeout(1)` exits with, too.
const STATUS_TIMEOUT: u8 = 124;
/// The machine came to an end without saying how the command ended.
const STATUS_LOST: u8 = 125;
/// QEMU's exit status after the kernel wrote 0 to isa-debug-exit: `(value << 1) | 1`.
const DEBUG_EXIT_OF_ZERO: i32 = 1;

struct Options {
    kernel: Option<PathBuf>,
    archive: Option<PathBuf>,
    iso: Option<PathBuf>,
    uefi: bool,
    state: PathBuf,
    command: Option<String>,
    append: String,
    /// Images of disks, and whether they can only be read.
    disks: Vec<(PathBuf, bool)>,
    /// Folders of the host.
    shares: Vec<PathBuf>,
    processors: u32,
    memory: String,
    accelerator: String,
    instruction_count: bool,
    timeout: Option<Duration>,
    until: Option<String>,
    time: bool,
    rest: Vec<String>,
}

fn parse_options() -> Result<Options, String> {
    let mut options = Options {
        kernel: None,
        archive: None,
        iso: None,
        uefi: false,
        state: PathBuf::new(),
        command: None,
        append: String::new(),
        disks: Vec::new(),
        shares: Vec::new(),
        processors: 2,
        memory: "1G".into(),
        accelerator: "auto".into(),
        instruction_count: false,
        timeout: None,
        until: None,
        time: false,
        rest: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--kernel" => options.kernel = Some(value()?.into()),
            "--archive" => options.archive = Some(value()?.into()),
            "--iso" => options.iso = Some(value()?.into()),
            "--uefi" => options.uefi = true,
            "--state" => options.state = value()?.into(),
            "--cmd" => options.command = Some(value()?),
            "--append" => options.append = value()?,
            "--disk" => options.disks.push((value()?.into(), false)),
            "--disk-ro" => options.disks.push((value()?.into(), true)),
            "--share" => options.shares.push(value()?.into()),
            "--smp" => options.processors = number(&word, &value()?)?,
            "--mem" => options.memory = value()?,
            "--accel" => options.accelerator = value()?,
            "--icount" => options.instruction_count = true,
            "--timeout" => options.timeout = Some(Duration::from_secs(number(&word, &value()?)?)),
            "--until" => options.until = Some(value()?),
            "--time" => options.time = true,
            "--" => options.rest = words.by_ref().collect(),
            other => return Err(format!("unknown option {other}")),
        }
    }
    if options.state.as_os_str().is_empty() {
        return Err("--state is missing".into());
    }
    if options.iso.is_none() && (options.kernel.is_none() || options.archive.is_none()) {
        return Err("either --iso, or --kernel and --archive".into());
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option} wants a number, not {text:?}"))
}

/// The kernel's command line: `cmd="…"` in the quoting that `boot_info` reads.
fn kernel_command_line(options: &Options) -> String {
    let mut line = options.append.clone();
    if let Some(command) = &options.command {
        let quoted = command.replace('\\', "\\\\").replace('"', "\\\"");
        line.push_str(&format!(" cmd=\"{quoted}\""));
    }
    line.trim().to_string()
}

/// Adds what every way of booting has in common.
fn machine(options: &Options, accelerator: Accelerator) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "q35", "-m", &options.memory, "-smp", &options.processors.to_string()]);
    qemu.args(accelerator.arguments());
    if options.instruction_count {
        qemu.args(["-icount", "shift=0"]);
    }
    qemu.args(["-display", "none", "-no-reboot", "-nodefaults"]);
    qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
    qemu
}

/// Makes the machine end when this process does, however that comes about: nobody else would end it.
fn end_with_us(qemu: &mut Command) {
    let us = std::process::id();
    let set_signal = move || {
        // SAFETY: both are system calls without pointers, and allowed between fork and exec.
        let alone = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::getppid() as u32 != us
        };
        // We may have ended before that was set.
        if alone { Err(std::io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing and takes no locks.
    unsafe { qemu.pre_exec(set_signal) };
}

/// A file that only the guest writes to.
fn file_device(name: &str, path: &Path) -> String {
    format!("file,id={name},path={}", path.display())
}

fn boot_arguments(qemu: &mut Command, options: &Options, command_line: &str) -> Result<(), String> {
    match (&options.iso, &options.kernel, &options.archive) {
        (Some(iso), ..) => {
            if options.uefi {
                let variables = options.state.join("ovmf-variables.fd");
                std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).map_err(|error| {
                    format!("cannot copy OVMF's variables: {error}; is the package ovmf installed?")
                })?;
                qemu.args([
                    "-drive",
                    "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
                ]);
                qemu.args(["-drive", &format!("if=pflash,format=raw,file={}", variables.display())]);
            }
            // Firmware would rather start from a disk, if there is one.
            qemu.arg("-cdrom").arg(iso).args(["-boot", "d"]);
        }
        (None, Some(kernel), Some(archive)) => {
            // qboot does what PVH needs and no more: it saves 30 to 100 ms against SeaBIOS.
            qemu.args(["-bios", "qboot.rom", "-kernel"]).arg(kernel).arg("-initrd").arg(archive);
            qemu.args(["-append", command_line]);
        }
        _ => unreachable!("parse_options lets only these through"),
    }
    Ok(())
}

/// Waits for QEMU to end, for the text, or for the end of the time.
enum End {
    Exited(Option<i32>),
    TimedOut,
    TextSeen,
}

fn wait(mut qemu: Child, options: &Options, serial: Option<&Path>) -> Result<End, String> {
    let start = Instant::now();
    loop {
        if let Some(status) = qemu.try_wait().map_err(|error| format!("cannot wait for QEMU: {error}"))? {
            return Ok(End::Exited(status.code()));
        }
        let seen = match (&options.until, serial) {
            (Some(text), Some(serial)) => {
                let output = std::fs::read(serial).unwrap_or_default();
                output.windows(text.len()).any(|window| window == text.as_bytes())
            }
            _ => false,
        };
        let late = options.timeout.is_some_and(|timeout| start.elapsed() > timeout);
        if seen || late {
            // It may have ended by itself since the look above; there is nothing to do about it then.
            let _ = qemu.kill();
            let _ = qemu.wait();
            return Ok(if seen { End::TextSeen } else { End::TimedOut });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn run(options: &Options) -> Result<u8, String> {
    let command_line = kernel_command_line(options);
    if command_line.len() > boot_info::MAX_COMMAND_LINE {
        // The kernel would not start.
        complain(format!(
            "the line has {} bytes, and there is room for {}; give a shorter one",
            command_line.len(),
            boot_info::MAX_COMMAND_LINE
        ));
        return Ok(STATUS_USAGE);
    }
    std::fs::create_dir_all(&options.state)
        .map_err(|error| format!("cannot create {}: {error}", options.state.display()))?;
    let accelerator = if options.instruction_count {
        Accelerator::Tcg
    } else {
        accelerator::choose(
            &options.accelerator,
            options.kernel.as_deref(),
            options.archive.as_deref(),
            &options.state,
        )?
    };
    // Named after this process, so that two that run at once do not take each other's status.
    let status_path = options.state.join(format!("status-{}", std::process::id()));
    let serial_path = options.state.join(format!("serial-{}", std::process::id()));
    let mut qemu = machine(options, accelerator);
    for (number, (image, read_only)) in options.disks.iter().enumerate() {
        qemu.args(disk::arguments(number, image, *read_only)?);
    }
    for (number, folder) in options.shares.iter().enumerate() {
        qemu.args(disk::folder_arguments(number, folder)?);
    }
    boot_arguments(&mut qemu, options, &command_line)?;
    qemu.args(["-chardev", &file_device("log", &options.state.join("kernel.log"))]);
    qemu.args(["-device", "isa-debugcon,iobase=0xe9,chardev=log"]);
    qemu.args([
        "-chardev",
        &file_device("status", &status_path),
        "-device",
        "isa-debugcon,iobase=0xe8,chardev=status",
    ]);
    let serial = if options.until.is_some() {
        qemu.args(["-serial", &format!("file:{}", serial_path.display())]);
        Some(serial_path.as_path())
    } else if options.command.is_some() {
        // Ctrl-C belongs to the command in the guest, so long as there is a keyboard to press it on.
        let signal = if std::io::stdin().is_terminal() { "off" } else { "on" };
        qemu.args(["-chardev", &format!("stdio,id=console,signal={signal}"), "-serial", "chardev:console"]);
        None
    } else {
        // With the monitor behind Ctrl-A, so that QEMU can be left (Ctrl-A X) whatever the guest does.
        qemu.args(["-serial", "mon:stdio"]);
        None
    };
    qemu.args(&options.rest);
    if options.until.is_some() {
        qemu.stdin(Stdio::null());
    }
    end_with_us(&mut qemu);
    let start = Instant::now();
    let child = qemu
        .spawn()
        .map_err(|error| format!("cannot start qemu-system-x86_64: {error}; `make setup` installs it"))?;
    let end = wait(child, options, serial)?;
    if options.time {
        eprintln!("{:.3}", start.elapsed().as_secs_f64());
    }
    let status = std::fs::read(&status_path).unwrap_or_default();
    let _ = std::fs::remove_file(&status_path);
    let _ = std::fs::remove_file(&serial_path);
    match end {
        End::TextSeen => Ok(0),
        End::TimedOut => {
            complain(format!("QEMU was ended after {} s", options.timeout.unwrap_or_default().as_secs()));
            Ok(STATUS_TIMEOUT)
        }
        End::Exited(code) => match status.as_slice() {
            [status] => Ok(*status),
            _ if options.command.is_none() && matches!(code, Some(0 | DEBUG_EXIT_OF_ZERO)) => Ok(0),
            _ => {
                let log = options.state.join("kernel.log");
                complain(format!("the machine ended without a status; its log is {}", log.display()));
                Ok(STATUS_LOST)
            }
        },
    }
}

fn complain(message: impl Display) {
    eprintln!("run_qemu: {message}");
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match parse_options() {
        Ok(options) => options,
        Err(message) => {
            complain(message);
            eprintln!("{USAGE}");
            return ExitCode::from(STATUS_USAGE);
        }
    };
    match run(&options) {
        Ok(status) => ExitCode::from(status),
        Err(message) => {
            complain(message);
            ExitCode::from(STATUS_LOST)
        }
    }
}
