//! Guests: modules of the image, and instances of them.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use task::JoinableTaskRef;
use wasm_engine::{Config, Engine, Error, Instance, Module, Result, Store, Trap, Val};

/// An engine as `wasm_run` has it.
pub(crate) fn engine() -> Engine {
    Engine::new(&Config::new()).expect("the trap hook is free or ours")
}

/// The artifact of the guest `name`.
pub(crate) fn artifact(name: &str) -> Vec<u8> {
    wasm_engine::read_file(format!("/guests/{name}.cwasm")).expect("the image has all guests")
}

/// The guest `name`.
pub(crate) fn module(engine: &Engine, name: &str) -> Module {
    // SAFETY: the artifacts in the image were made by our compiler.
    unsafe { Module::deserialize(engine, artifact(name)) }.expect("the image's guests are for this system")
}

/// An instance of a module without imports, in a store of its own.
pub(crate) struct Guest {
    pub(crate) store: Store<()>,
    pub(crate) instance: Instance,
}

impl Guest {
    /// Of the guest `name`, in an engine of its own.
    pub(crate) fn new(name: &str) -> Self {
        Self::of(&module(&engine(), name))
    }

    /// Of a module.
    pub(crate) fn of(module: &Module) -> Self {
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, module, &[]).expect("it imports nothing");
        Self { store, instance }
    }

    /// Calls its function `name`.
    pub(crate) fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>> {
        let function =
            self.instance.get_func(&mut self.store, name).unwrap_or_else(|| panic!("there is no {name}"));
        let mut results: Vec<Val> = function.ty(&self.store).results().map(|_| Val::I32(0)).collect();
        function.call(&mut self.store, args, &mut results)?;
        Ok(results)
    }

    /// Calls its function `name`, which takes and returns 32-bit integers.
    pub(crate) fn int(&mut self, name: &str, args: &[i32]) -> Result<i32> {
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
        Ok(self.call(name, &args)?[0].unwrap_i32())
    }
}

/// Calls `f` in a task that has a stack of `size` bytes, and waits for it.
pub(crate) fn on_stack_of(size: usize, f: impl FnOnce() + Send + 'static) {
    let mmi = memory::get_kernel_mmi_ref().expect("memory management is initialised");
    let stack = stack::alloc_stack(size / 4096, &mut mmi.lock().page_table).expect("there is memory for it");
    let f: Box<dyn FnOnce() + Send> = Box::new(f);
    let task = spawn::new_task_builder(|f: Box<dyn FnOnce() + Send>| f(), f)
        .name("test_wasm".to_string())
        .stack(stack)
        .spawn()
        .expect("there is memory for a task");
    match task.join() {
        Ok(task::ExitValue::Completed(_)) => {}
        other => panic!("the task failed: {other:?}"),
    }
}

/// The trap that an error is.
pub(crate) fn trap_of(error: &Error) -> Trap {
    match error.downcast_ref::<Trap>() {
        Some(trap) => *trap,
        None => panic!("no trap: {error:?}"),
    }
}

/// Starts a task that calls `f`.
pub(crate) fn start<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    ktest_system::start("test_wasm", f)
}
