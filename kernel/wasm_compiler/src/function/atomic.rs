//! Atomic accesses to linear memories, and waiting in them.
//!
//! All are sequentially consistent. Their addresses must be multiples of their sizes: that is checked by code, and first. What
//! is out of bounds is found as for any other access.

use super::FunctionTranslator;
use super::memory::Address;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, Type, Value, types};
use wasm_artifact::Trap;
use wasm_artifact::builtins::Builtin;
use wasmparser::{MemArg, Operator};

impl FunctionTranslator<'_, '_> {
    /// Translates an atomic operator; returns whether it is one.
    pub(super) fn atomic_operator(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        use types::{I8, I16, I32, I64};
        match *operator {
            O::AtomicFence => {
                self.builder.ins().fence();
            }
            O::MemoryAtomicNotify { memarg } => self.notify(memarg),
            O::MemoryAtomicWait32 { memarg } => self.wait(memarg, Builtin::MemoryAtomicWait32),
            O::MemoryAtomicWait64 { memarg } => self.wait(memarg, Builtin::MemoryAtomicWait64),

            O::I32AtomicLoad8U { memarg } => self.atomic_load(memarg, I8, I32),
            O::I32AtomicLoad16U { memarg } => self.atomic_load(memarg, I16, I32),
            O::I32AtomicLoad { memarg } => self.atomic_load(memarg, I32, I32),
            O::I64AtomicLoad8U { memarg } => self.atomic_load(memarg, I8, I64),
            O::I64AtomicLoad16U { memarg } => self.atomic_load(memarg, I16, I64),
            O::I64AtomicLoad32U { memarg } => self.atomic_load(memarg, I32, I64),
            O::I64AtomicLoad { memarg } => self.atomic_load(memarg, I64, I64),

            O::I32AtomicStore8 { memarg } | O::I64AtomicStore8 { memarg } => self.atomic_store(memarg, I8),
            O::I32AtomicStore16 { memarg } | O::I64AtomicStore16 { memarg } => self.atomic_store(memarg, I16),
            O::I32AtomicStore { memarg } | O::I64AtomicStore32 { memarg } => self.atomic_store(memarg, I32),
            O::I64AtomicStore { memarg } => self.atomic_store(memarg, I64),

            O::I32AtomicRmw8CmpxchgU { memarg } => self.compare_exchange(memarg, I8, I32),
            O::I32AtomicRmw16CmpxchgU { memarg } => self.compare_exchange(memarg, I16, I32),
            O::I32AtomicRmwCmpxchg { memarg } => self.compare_exchange(memarg, I32, I32),
            O::I64AtomicRmw8CmpxchgU { memarg } => self.compare_exchange(memarg, I8, I64),
            O::I64AtomicRmw16CmpxchgU { memarg } => self.compare_exchange(memarg, I16, I64),
            O::I64AtomicRmw32CmpxchgU { memarg } => self.compare_exchange(memarg, I32, I64),
            O::I64AtomicRmwCmpxchg { memarg } => self.compare_exchange(memarg, I64, I64),

            _ => match read_modify_write(operator) {
                Some((memarg, op, access, ty)) => self.read_modify_write(memarg, op, access, ty),
                None => return false,
            },
        }
        true
    }

    /// Pops an address, checks that it is a multiple of `size`, a power of two, and returns it with the offset added: both are
    /// below 2^32, so the sum does not overflow.
    fn aligned(&mut self, memarg: MemArg, size: u64) -> Value {
        let index = self.pop();
        let index = self.widen(index);
        let address = match memarg.offset {
            0 => index,
            offset => self.builder.ins().iadd_imm_u(index, offset as i64),
        };
        if size > 1 {
            let rest = self.builder.ins().band_imm_u(address, size as i64 - 1);
            self.trap_if(rest, Trap::HeapMisaligned);
        }
        address
    }

    /// Pops an address and prepares it for an atomic access of this type.
    fn atomic_address(&mut self, memarg: MemArg, access: Type) -> Value {
        let size = u64::from(access.bytes());
        let index = *self.stack.last().expect("the validator keeps track of the stack's height");
        self.aligned(memarg, size);
        match self.address_of(index, memarg, size) {
            Address(address, 0) => address,
            Address(base, offset) => self.builder.ins().iadd_imm_u(base, i64::from(offset)),
        }
    }

    /// An integer's lowest bits.
    fn narrow(&mut self, value: Value, ty: Type) -> Value {
        match self.builder.func.dfg.value_type(value) == ty {
            true => value,
            false => self.builder.ins().ireduce(ty, value),
        }
    }

    /// Pushes an integer, extended by zeros.
    fn push_extended(&mut self, value: Value, ty: Type) {
        let value = match self.builder.func.dfg.value_type(value) == ty {
            true => value,
            false => self.builder.ins().uextend(ty, value),
        };
        self.push(value);
    }

    fn atomic_load(&mut self, memarg: MemArg, access: Type, ty: Type) {
        let address = self.atomic_address(memarg, access);
        let flags = self.access_flags();
        let value = self.builder.ins().atomic_load(access, flags, address);
        self.push_extended(value, ty);
    }

    fn atomic_store(&mut self, memarg: MemArg, access: Type) {
        let value = self.pop();
        let value = self.narrow(value, access);
        let address = self.atomic_address(memarg, access);
        let flags = self.access_flags();
        self.builder.ins().atomic_store(flags, value, address);
    }

    fn read_modify_write(&mut self, memarg: MemArg, op: AtomicRmwOp, access: Type, ty: Type) {
        let operand = self.pop();
        let operand = self.narrow(operand, access);
        let address = self.atomic_address(memarg, access);
        let flags = self.access_flags();
        let old = self.builder.ins().atomic_rmw(access, flags, op, address, operand);
        self.push_extended(old, ty);
    }

    fn compare_exchange(&mut self, memarg: MemArg, access: Type, ty: Type) {
        let [expected, replacement] = self.pop_many();
        let expected = self.narrow(expected, access);
        let replacement = self.narrow(replacement, access);
        let address = self.atomic_address(memarg, access);
        let flags = self.access_flags();
        let old = self.builder.ins().atomic_cas(flags, address, expected, replacement);
        self.push_extended(old, ty);
    }

    fn notify(&mut self, memarg: MemArg) {
        let count = self.pop();
        let address = self.offset_address(memarg);
        let arguments = [self.i32(memarg.memory), address, count];
        self.push_number(Builtin::MemoryAtomicNotify, &arguments);
    }

    fn wait(&mut self, memarg: MemArg, builtin: Builtin) {
        let [expected, timeout] = self.pop_many();
        let address = self.offset_address(memarg);
        let arguments = [self.i32(memarg.memory), address, expected, timeout];
        self.push_number(builtin, &arguments);
    }

    /// Pops an address and adds the offset. The builtins check the sum.
    fn offset_address(&mut self, memarg: MemArg) -> Value {
        self.aligned(memarg, 1)
    }

    /// Calls a builtin whose result is an `i32` for wasm.
    fn push_number(&mut self, builtin: Builtin, arguments: &[Value]) {
        let number = self.call_builtin(builtin, arguments).expect("its result is a number");
        let number = self.builder.ins().ireduce(types::I32, number);
        self.push(number);
    }
}

/// The parts of an operator that reads, computes and writes, if it is one: what it computes, of which width, and the type of its
/// operand and result.
fn read_modify_write(operator: &Operator<'_>) -> Option<(MemArg, AtomicRmwOp, Type, Type)> {
    use types::{I8, I16, I32, I64};
    macro_rules! operators {
        ($($op:ident: $i32_8:ident $i32_16:ident $i32:ident $i64_8:ident $i64_16:ident $i64_32:ident $i64:ident;)*) => {
            match *operator {
                $(
                    Operator::$i32_8 { memarg } => (memarg, AtomicRmwOp::$op, I8, I32),
                    Operator::$i32_16 { memarg } => (memarg, AtomicRmwOp::$op, I16, I32),
                    Operator::$i32 { memarg } => (memarg, AtomicRmwOp::$op, I32, I32),
                    Operator::$i64_8 { memarg } => (memarg, AtomicRmwOp::$op, I8, I64),
                    Operator::$i64_16 { memarg } => (memarg, AtomicRmwOp::$op, I16, I64),
                    Operator::$i64_32 { memarg } => (memarg, AtomicRmwOp::$op, I32, I64),
                    Operator::$i64 { memarg } => (memarg, AtomicRmwOp::$op, I64, I64),
                )*
                _ => return None,
            }
        };
    }
    Some(operators! {
        Add: I32AtomicRmw8AddU I32AtomicRmw16AddU I32AtomicRmwAdd
            I64AtomicRmw8AddU I64AtomicRmw16AddU I64AtomicRmw32AddU I64AtomicRmwAdd;
        Sub: I32AtomicRmw8SubU I32AtomicRmw16SubU I32AtomicRmwSub
            I64AtomicRmw8SubU I64AtomicRmw16SubU I64AtomicRmw32SubU I64AtomicRmwSub;
        And: I32AtomicRmw8AndU I32AtomicRmw16AndU I32AtomicRmwAnd
            I64AtomicRmw8AndU I64AtomicRmw16AndU I64AtomicRmw32AndU I64AtomicRmwAnd;
        Or: I32AtomicRmw8OrU I32AtomicRmw16OrU I32AtomicRmwOr
            I64AtomicRmw8OrU I64AtomicRmw16OrU I64AtomicRmw32OrU I64AtomicRmwOr;
        Xor: I32AtomicRmw8XorU I32AtomicRmw16XorU I32AtomicRmwXor
            I64AtomicRmw8XorU I64AtomicRmw16XorU I64AtomicRmw32XorU I64AtomicRmwXor;
        Xchg: I32AtomicRmw8XchgU I32AtomicRmw16XchgU I32AtomicRmwXchg
            I64AtomicRmw8XchgU I64AtomicRmw16XchgU I64AtomicRmw32XchgU I64AtomicRmwXchg;
    })
}
