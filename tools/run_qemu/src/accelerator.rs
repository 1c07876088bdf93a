//! Which of QEMU's accelerators runs the kernel faster on this machine.
//!
//! That `/dev/kvm` opens does not say so: a KVM without hardware behind it interprets every ring-0 instruction, at about
//! a microsecond each, and may stop at an SSE instruction or the first `iretq`. So the kernel itself is booted under KVM with
//! `probe` on its command line, where it counts through a loop and ends the machine; hardware needs milliseconds for that.
//! The answer is kept until the host boots anew.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the trial may take. Hardware is done in a fraction of it, QEMU's own start (0.1 s) included.
const PROBE_LIMIT: Duration = Duration::from_millis(1500);

/// What QEMU runs the guest's instructions with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// QEMU's arguments for it, with the most capable processor it can give.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accelerator::Tcg => ["-accel", "tcg", "-cpu", "max"],
        }
    }
}

/// Takes the accelerator that was asked for; for `auto`, finds out.
pub fn choose(
    wanted: &str,
    kernel: Option<&Path>,
    archive: Option<&Path>,
    state: &Path,
) -> Result<Accelerator, String> {
    match wanted {
        "kvm" => Ok(Accelerator::Kvm),
        "tcg" => Ok(Accelerator::Tcg),
        "auto" => Ok(match (kernel, archive) {
            (Some(kernel), Some(archive)) => remembered_or_probed(kernel, archive, state),
            // An ISO is booted to see that it boots: translation always does.
            _ => Accelerator::Tcg,
        }),
        other => Err(format!("--accel is kvm, tcg or auto, not {other:?}")),
    }
}

fn remembered_or_probed(kernel: &Path, archive: &Path, state: &Path) -> Accelerator {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Accelerator::Tcg;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let memo = state.join("accelerator");
    if let Ok(text) = fs::read_to_string(&memo) {
        match text.strip_prefix(&boot).map(str::trim) {
            Some("kvm") => return Accelerator::Kvm,
            Some("tcg") => return Accelerator::Tcg,
            _ => {}
        }
    }
    let (accelerator, name) =
        if kvm_is_fast(kernel, archive) { (Accelerator::Kvm, "kvm") } else { (Accelerator::Tcg, "tcg") };
    // Not to be able to remember costs a trial next time, no more.
    let _ = fs::write(&memo, format!("{boot}{name}\n"));
    accelerator
}

fn kvm_is_fast(kernel: &Path, archive: &Path) -> bool {
    let trial = Command::new("qemu-system-x86_64")
        .args(["-M", "q35", "-m", "256M", "-display", "none", "-no-reboot", "-nodefaults"])
        .args(Accelerator::Kvm.arguments())
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-bios", "qboot.rom"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(archive)
        .args(["-append", "probe"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut trial) = trial else { return false };
    let start = Instant::now();
    while start.elapsed() < PROBE_LIMIT {
        match trial.try_wait() {
            // (0 << 1) | 1: the guest reached the end of its loop.
            Ok(Some(status)) => return status.code() == Some(1),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => break,
        }
    }
    // It may just have ended by itself, which is too late anyway.
    let _ = trial.kill();
    let _ = trial.wait();
    false
}
