//! The base image. `boot.s` brings the machine into 64-bit mode in the higher half.
#![no_std]
use unwinding as _;
extern crate alloc;
core::arch::global_asm!(include_str!("boot.s"));
struct A; unsafe impl core::alloc::GlobalAlloc for A { unsafe fn alloc(&self,_:core::alloc::Layout)->*mut u8{core::ptr::null_mut()} unsafe fn dealloc(&self,_:*mut u8,_:core::alloc::Layout){} }
#[global_allocator] static G:A=A;
/// Where `boot.s` goes, on the first stack and the first page tables.
#[unsafe(no_mangle)]
extern "C" fn nano_core_start(magic: u32, information: usize) -> ! {
    logger::early_init();
    serial_port_basic::init();
    log::info!("up: magic {magic:#x} {information:#x}");
    serial_port_basic::write_bytes(b"Theseus\r\n");
    let i = if magic == boot_info::multiboot::MAGIC { unsafe { boot_info::multiboot::read(information)} } else {unsafe { boot_info::pvh::read(information) }};
    match i { Ok(i) => log::info!("{:x?} {:x?} {} {:x?} {}", &i.usable[..], i.archive, i.command_line.as_str(), i.rsdp, i.protocol), Err(e) => log::info!("{e}") }
    loop {}
}
#[panic_handler]
fn p(_: &core::panic::PanicInfo) -> ! { loop {} }
