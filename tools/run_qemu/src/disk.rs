//! Disks: images in files. And folders of the host.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// How large an image is made.
const NEW_SIZE: u64 = 64 << 20;

/// QEMU's arguments for disk `number`, whose image is made if there is none.
pub fn arguments(number: usize, image: &Path, read_only: bool) -> Result<[String; 4], String> {
    if !image.exists() {
        make(image).inspect_err(|_| drop(fs::remove_file(image)))?;
        eprintln!("run_qemu: {} is new: an empty FAT32 of {} MiB", image.display(), NEW_SIZE >> 20);
    }
    File::options()
        .read(true)
        .write(!read_only)
        .open(image)
        .map_err(|error| format!("cannot open the disk {}: {error}", image.display()))?;
    let read_only = if read_only { "on" } else { "off" };
    // QEMU ends a value at a comma, unless there are two.
    let file = image.display().to_string().replace(',', ",,");
    Ok([
        "-drive".into(),
        format!("if=none,id=disk{number},format=raw,readonly={read_only},file={file}"),
        "-device".into(),
        format!("virtio-blk-pci,drive=disk{number}"),
    ])
}

/// QEMU's arguments for folder `number` of the host.
pub fn folder_arguments(number: usize, folder: &Path) -> Result<[String; 4], String> {
    if !folder.is_dir() {
        return Err(format!("cannot share {}: it is no directory", folder.display()));
    }
    let path = folder.display().to_string().replace(',', ",,");
    Ok([
        "-fsdev".into(),
        // Whoever runs QEMU is who the host thinks does it.
        format!("local,id=share{number},security_model=none,path={path}"),
        "-device".into(),
        format!("virtio-9p-pci,fsdev=share{number},mount_tag=host{number}"),
    ])
}

fn make(image: &Path) -> Result<(), String> {
    let fail = |error: String| format!("cannot make the disk {}: {error}", image.display());
    let file = File::create_new(image).map_err(|error| fail(error.to_string()))?;
    file.set_len(NEW_SIZE).map_err(|error| fail(error.to_string()))?;
    // It is not in everybody's PATH.
    for program in ["mkfs.fat", "/usr/sbin/mkfs.fat"] {
        let made = Command::new(program)
            .args(["-F", "32"])
            .arg(image)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match made {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(fail(format!("mkfs.fat ended with {status}"))),
            Err(_) => {}
        }
    }
    Err(fail("mkfs.fat is missing; `make setup` installs it".into()))
}
