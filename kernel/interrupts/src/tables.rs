//! The segment and interrupt descriptor tables, and the stacks they name.

use crate::entry::stub_address;
use alloc::boxed::Box;
use core::ptr::addr_of_mut;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::{EntryOptions, InterruptDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

/// The stacks by their position in the task state segment: position 0 is what Intel calls IST1.
#[derive(Clone, Copy)]
#[repr(u16)]
enum IstStack {
    Interrupt = 0,
    Exception = 1,
    DoubleFault = 2,
    NonMaskable = 3,
    MachineCheck = 4,
}

/// All of them.
const IST_STACKS: [IstStack; 5] = [
    IstStack::Interrupt,
    IstStack::Exception,
    IstStack::DoubleFault,
    IstStack::NonMaskable,
    IstStack::MachineCheck,
];

/// Pages of each of these stacks. Handlers of devices, of the timer and of wasm traps need a fraction; the last words
/// of a double fault, which formats text, need the most.
const IST_STACK_PAGES: usize = 8;

const DOUBLE_FAULT: u8 = 8;
const NON_MASKABLE: u8 = 2;
const MACHINE_CHECK: u8 = 18;

/// The one interrupt table, which all CPUs share: the stacks it names are each CPU's own, by its task state segment.
static mut IDT: InterruptDescriptorTable = InterruptDescriptorTable::new();

/// What one CPU's table registers point at. Lives forever.
struct CpuTables {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
}

/// Gives the boot CPU its descriptor tables and interrupt stacks, in place of those of the boot code. Interrupts must be
/// off, and stay off until the interrupt controllers are set up. Call it once.
///
/// # Errors
/// Memory for the stacks is out, or `memory` was not initialised.
pub fn init() -> Result<(), &'static str> {
    let mut tables = Box::new(CpuTables { gdt: GlobalDescriptorTable::new(), tss: TaskStateSegment::new() });
    for which in IST_STACKS {
        let stack = allocate_stack()?;
        let (bottom, top) = (stack.bottom().value(), stack.top_unusable().value());
        tables.tss.interrupt_stack_table[which as usize] = VirtAddr::new(top as u64);
        if let IstStack::Interrupt = which {
            cpu::this_cpu().set_interrupt_stack(bottom, top);
        }
        // The CPU uses the stack for as long as the kernel runs.
        core::mem::forget(stack);
    }
    let tables: &'static mut CpuTables = Box::leak(tables);
    let code = tables.gdt.append(Descriptor::kernel_code_segment());
    let data = tables.gdt.append(Descriptor::kernel_data_segment());
    let tss = tables.gdt.append(Descriptor::tss_segment(&tables.tss));
    tables.gdt.load();
    // SAFETY: the selectors name the segments just appended to the table just loaded. FS and GS are left alone, since
    // loading their selectors would clear their bases.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(data);
        ES::set_reg(data);
        load_tss(tss);
        fill_idt(code);
    }
    Ok(())
}

/// A stack with a guard page for one of the IST entries.
fn allocate_stack() -> Result<stack::Stack, &'static str> {
    let mmi = memory::get_kernel_mmi_ref().ok_or("interrupts need memory::init first")?;
    stack::alloc_stack(IST_STACK_PAGES, &mut mmi.lock().page_table)
        .ok_or("not enough memory for an interrupt stack")
}

/// Makes every vector enter its stub, on its stack, and loads the table.
///
/// # Safety
/// Called once, with interrupts off, when the task state segment with all stacks is loaded and `code` is the selector
/// of the kernel's code.
unsafe fn fill_idt(code: SegmentSelector) {
    debug_assert_eq!(CS::get_reg(), code);
    let idt = addr_of_mut!(IDT);
    // SAFETY: called once and nobody else names IDT, so this is the only reference while it lives.
    let idt = unsafe { &mut *idt };
    let stack_of = |vector: u8| match vector {
        NON_MASKABLE => IstStack::NonMaskable,
        DOUBLE_FAULT => IstStack::DoubleFault,
        MACHINE_CHECK => IstStack::MachineCheck,
        0..32 => IstStack::Exception,
        _ => IstStack::Interrupt,
    };
    let on_stack = |options: &mut EntryOptions, vector: u8| {
        // SAFETY: the loaded task state segment has a stack at that position, used by this kind of vector only.
        unsafe { options.set_stack_index(stack_of(vector) as u16) };
    };
    macro_rules! exceptions {
        ($($vector:literal $name:ident)*) => {
            $(
                // SAFETY: the stub at that address is made for this vector and never returns but by `iretq`.
                on_stack(unsafe { idt.$name.set_handler_addr(VirtAddr::new(stub_address($vector))) }, $vector);
            )*
        };
    }
    exceptions! {
        0 divide_error
        1 debug
        2 non_maskable_interrupt
        3 breakpoint
        4 overflow
        5 bound_range_exceeded
        6 invalid_opcode
        7 device_not_available
        8 double_fault
        10 invalid_tss
        11 segment_not_present
        12 stack_segment_fault
        13 general_protection_fault
        14 page_fault
        16 x87_floating_point
        17 alignment_check
        18 machine_check
        19 simd_floating_point
        20 virtualization
        21 cp_protection_exception
        28 hv_injection_exception
        29 vmm_communication_exception
        30 security_exception
    }
    for vector in crate::EXCEPTION_COUNT..=u8::MAX {
        // SAFETY: as above.
        on_stack(unsafe { idt[vector].set_handler_addr(VirtAddr::new(stub_address(vector))) }, vector);
    }
    // SAFETY: the table is complete and a static, so it stays where the CPU is told it is.
    unsafe { idt.load_unsafe() };
}
