//! Boots the operating system in QEMU.
fn main() {}
