//! The segment and interrupt descriptor tables, and the stacks they name.

use crate::entry::stub_address;
use alloc::boxed::Box;
use core::mem::ManuallyDrop;
use core::ops::Range;
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

/// What one CPU's table registers point at, and where its interrupt stack is. Lives forever once it is in use.
#[derive(Debug)]
pub struct CpuTables {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
    code: SegmentSelector,
    data: SegmentSelector,
    task_state: SegmentSelector,
    interrupt_stack: Range<usize>,
}

impl CpuTables {
    /// Makes the tables and interrupt stacks of one CPU.
    ///
    /// # Errors
    /// Memory for the stacks is out, or `memory` was not initialised.
    pub fn new() -> Result<&'static mut Self, &'static str> {
        let mut stacks = [const { None }; IST_STACKS.len()];
        for which in IST_STACKS {
            stacks[which as usize] = Some(allocate_stack()?);
        }
        let mut tss = TaskStateSegment::new();
        let mut interrupt_stack = 0..0;
        for which in IST_STACKS {
            // The CPU uses the stacks for as long as the kernel runs.
            let Some(stack) = stacks[which as usize].take().map(ManuallyDrop::new) else { continue };
            tss.interrupt_stack_table[which as usize] = VirtAddr::new(stack.top_unusable().value() as u64);
            if let IstStack::Interrupt = which {
                interrupt_stack = stack.bottom().value()..stack.top_unusable().value();
            }
        }
        let mut gdt = GlobalDescriptorTable::new();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        let tables = CpuTables { gdt, tss, code, data, task_state: data, interrupt_stack };
        let tables = Box::leak(Box::new(tables));
        let tss = &raw const tables.tss;
        // SAFETY: the segment stays where it is for ever; only the CPU that uses it changes it, and that not by Rust code.
        tables.task_state = tables.gdt.append(unsafe { Descriptor::tss_segment_unchecked(tss) });
        Ok(tables)
    }

    /// The address above the interrupt stack: what its stack pointer is when it is empty. Until interrupts are on, it is as
    /// good a stack as any.
    pub fn interrupt_stack_top(&self) -> usize {
        self.interrupt_stack.end
    }

    /// Makes them this CPU's, with the interrupt table that all CPUs share. Interrupts must be off.
    ///
    /// # Safety
    /// No other CPU uses the same tables, and [`init`] has filled the interrupt table.
    pub unsafe fn load(&'static self) {
        self.gdt.load();
        cpu::this_cpu().set_interrupt_stack(self.interrupt_stack.start, self.interrupt_stack.end);
        // SAFETY: the selectors name the segments of the table just loaded. FS and GS are left alone, since loading their
        // selectors would clear their bases. The interrupt table is a static.
        unsafe {
            CS::set_reg(self.code);
            SS::set_reg(self.data);
            DS::set_reg(self.data);
            ES::set_reg(self.data);
            load_tss(self.task_state);
            let idt = &raw const IDT;
            (*idt).load_unsafe();
        }
    }
}

/// Gives the boot CPU its descriptor tables and interrupt stacks, in place of those of the boot code. Interrupts must be
/// off, and stay off until the interrupt controllers are set up. Call it once.
///
/// # Errors
/// Memory for the stacks is out, or `memory` was not initialised.
pub fn init() -> Result<(), &'static str> {
    let tables = CpuTables::new()?;
    // SAFETY: called once, before any CPU uses the interrupt table; the tables are new and have all stacks.
    unsafe {
        fill_idt();
        tables.load();
    }
    Ok(())
}

/// A stack with a guard page for one of the IST entries.
fn allocate_stack() -> Result<stack::Stack, &'static str> {
    let mmi = memory::get_kernel_mmi_ref().ok_or("interrupts need memory::init first")?;
    stack::alloc_stack(IST_STACK_PAGES, &mut mmi.lock().page_table)
        .ok_or("not enough memory for an interrupt stack")
}

/// Makes every vector enter its stub, on its stack. The kernel's code has the same selector in all descriptor tables, the boot
/// code's included.
///
/// # Safety
/// Called once, before the table is in use.
unsafe fn fill_idt() {
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
        // SAFETY: every CPU's task state segment has a stack at that position, used by this kind of vector only.
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
}
