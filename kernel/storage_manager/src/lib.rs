//! Finds disks and mounts what is on them; brings to the disk what waits in memory. And mounts folders of the host.
//!
//! `captain` loads this crate if there is a virtio device, and calls [`storage_manager_init`]: so a machine without a disk pays nothing for it. The first
//! disk is mounted at `/disk`, the next ones at `/disk2` and so on; a folder that the host shares at `/host`, the next ones at `/host2` and so on.
//!
//! What is written to a disk waits in its cache. It goes to the disk when a program asks for that (`fd_sync`, `flush`), when much has piled up, when the
//! machine is switched off in good order, and otherwise by the task that this crate starts, at most [`SYNC_INTERVAL`] after it was written.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::time::Duration;
use fat::FileSystem;
use fs_node::{DirRef, Entry, FileOrDir};
use io::IoError;
use kernel_config::memory::PAGE_SIZE;
use pci::PciDevice;
use spin::Mutex;
use virtio::VirtioDevice;
use virtio_9p::Virtio9p;
use virtio_blk::VirtioBlk;

/// After how long, at most, what was written goes to the disk.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// The most memory that a disk's cache has, and its share of all memory, as a divisor.
const CACHE_SIZE: usize = 16 << 20;
const CACHE_SHARE: usize = 16;

/// What is mounted, and where.
static MOUNTED: Mutex<Vec<(String, FileSystem)>> = Mutex::new(Vec::new());

/// By this name `captain` finds [`init`].
#[unsafe(no_mangle)]
pub static storage_manager_init: fn() = init;

/// Mounts all disks, and says on the console which ones cannot be mounted and why. Interrupts must be on, and tasks running.
fn init() {
    let (mut disks, mut folders) = (0, 0);
    let numbered = |name: &str, number: usize| {
        if number == 1 { name.to_string() } else { format!("{name}{number}") }
    };
    for device in pci::pci_device_iter() {
        match VirtioDevice::kind_of(&device) {
            Some(virtio_blk::KIND) => {
                disks += 1;
                let name = numbered("disk", disks);
                if let Err(reason) = mount_disk(device, &name) {
                    complain(format_args!("/{name}: the disk is not mounted: {reason}"));
                }
            }
            Some(virtio_9p::KIND) => {
                folders += 1;
                let name = numbered("host", folders);
                if let Err(reason) = mount_folder(device, &name) {
                    complain(format_args!("/{name}: the host's folder is not mounted: {reason}"));
                }
            }
            _ => {}
        }
    }
    if MOUNTED.lock().is_empty() {
        return;
    }
    power::set_sync_hook(sync_all);
    match spawn::new_task_builder(sync_now_and_then, ()).name("disk_sync".to_string()).spawn() {
        // Nobody waits for it.
        Ok(task) => task.make_indispensable(),
        Err(reason) => {
            complain(format_args!("what is written to disks stays in memory until it is synced: {reason}"))
        }
    }
}

fn mount_disk(device: PciDevice, name: &str) -> Result<(), String> {
    let disk = VirtioBlk::new(device).map_err(|error| error.to_string())?;
    let memory = frame_allocator::statistics().total * PAGE_SIZE;
    let cache_size = CACHE_SIZE.min(memory / CACHE_SHARE);
    let file_system =
        FileSystem::mount(Box::new(disk), cache_size, name).map_err(|error| error.to_string())?;
    add_to_root(file_system.root())?;
    log::info!("/{name} is on the disk at {}", device.location);
    MOUNTED.lock().push((name.to_string(), file_system));
    Ok(())
}

/// Nothing of it waits in memory, so nobody has to sync it.
fn mount_folder(device: PciDevice, name: &str) -> Result<(), String> {
    let host = Virtio9p::new(device).map_err(|error| error.to_string())?;
    let folder = nine_p::mount(Box::new(host), name).map_err(|error| error.to_string())?;
    add_to_root(&folder)?;
    log::info!("/{name} is the folder of the host at {}", device.location);
    Ok(())
}

fn add_to_root(dir: &DirRef) -> Result<(), String> {
    let entry = Entry::new(FileOrDir::Dir(dir.clone()));
    root::get_root().lock().insert_entry(entry, false).map(drop).map_err(|error| error.to_string())
}

/// Tells both the log and whoever is at the console.
fn complain(message: impl Display) {
    log::error!("{message}");
    serial_port_basic::write_bytes(format!("{message}\r\n").as_bytes());
}

/// What is mounted. Cloned, so that nobody waits for a disk with a lock held.
fn mounted() -> Vec<(String, FileSystem)> {
    MOUNTED.lock().clone()
}

/// Brings everything to the disks; returns whether that has succeeded, and says on the console what has not.
fn sync_all() -> bool {
    let mut all = true;
    for (name, file_system) in mounted() {
        if let Err(reason) = file_system.sync() {
            complain(format_args!("/{name}: what was written last is not on the disk: {reason}"));
            all = false;
        }
    }
    all
}

/// Runs for ever.
fn sync_now_and_then(_: ()) {
    // What each disk reported last, so that it is not reported every time.
    let mut reported: Vec<Option<IoError>> = Vec::new();
    loop {
        // An error only means that the wait was shorter.
        let _ = sleep::sleep(SYNC_INTERVAL);
        let mounted = mounted();
        reported.resize(mounted.len(), None);
        for ((name, file_system), reported) in mounted.iter().zip(&mut reported) {
            if !file_system.is_dirty() {
                continue;
            }
            let error = file_system.sync().err();
            if let Some(error) = error.filter(|error| Some(*error) != *reported) {
                log::error!("/{name}: what was written is not on the disk yet: {error}");
            }
            *reported = error;
        }
    }
}
