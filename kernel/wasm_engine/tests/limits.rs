//! A store's limiter: what it is asked, in which order, and what becomes of its answers.

use wasm_engine::*;

const PAGE: usize = 64 << 10;

const GUEST: &str = r#"(module
    (memory (export "m") 1 6) (table (export "t") 2 9 funcref)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0)))
    (func (export "sizes") (result i32 i32) (memory.size) (table.size)))"#;

/// What a limiter answers.
#[derive(Clone, Copy)]
enum Answer {
    Yes,
    No,
    Error,
}

/// Writes down what it is asked and told.
struct Recorder {
    log: Vec<String>,
    answer: Answer,
    /// Whether a failure that it is told of becomes a trap.
    trap_on_failure: bool,
}

impl Recorder {
    fn answer(&mut self, question: String) -> Result<bool> {
        self.log.push(question);
        match self.answer {
            Answer::Yes => Ok(true),
            Answer::No => Ok(false),
            Answer::Error => bail!("the limiter's own error"),
        }
    }

    fn failed(&mut self, what: &str, error: Error) -> Result<()> {
        self.log.push(format!("{what} failed: {error}"));
        if self.trap_on_failure { Err(error) } else { Ok(()) }
    }
}

impl ResourceLimiter for Recorder {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let pages = |bytes: usize| {
            if bytes.is_multiple_of(PAGE) { format!("{}p", bytes / PAGE) } else { format!("{bytes}b") }
        };
        let maximum = maximum.map_or("-".to_string(), pages);
        self.answer(format!("memory {} {} {maximum}", pages(current), pages(desired)))
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed("memory", error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.answer(format!("table {current} {desired} {maximum:?}"))
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed("table", error)
    }
}

struct Guest {
    store: Store<Recorder>,
    instance: Instance,
}

impl Guest {
    fn new() -> Result<Self> {
        let engine = Engine::default();
        let module = Module::new(&engine, GUEST)?;
        let mut store =
            Store::new(&engine, Recorder { log: Vec::new(), answer: Answer::Yes, trap_on_failure: false });
        store.limiter(|recorder| recorder);
        let instance = Instance::new(&mut store, &module, &[])?;
        Ok(Self { store, instance })
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.store.data_mut().log)
    }

    fn grow(&mut self, function: &str, by: i32) -> Result<i32> {
        let function = self.instance.get_typed_func::<i32, i32>(&mut self.store, function)?;
        function.call(&mut self.store, by)
    }

    fn sizes(&mut self) -> Result<(i32, i32)> {
        let sizes = self.instance.get_typed_func::<(), (i32, i32)>(&mut self.store, "sizes")?;
        sizes.call(&mut self.store, ())
    }
}

#[test]
fn instances_ask_for_their_minimum_memories_first() -> Result<()> {
    let mut guest = Guest::new()?;
    assert_eq!(guest.log(), ["memory 0p 1p 6p", "table 0 2 Some(9)"]);
    assert_eq!(guest.sizes()?, (1, 2));
    // The host asks as well.
    Memory::new(&mut guest.store, MemoryType::new(2, None))?;
    let ty = TableType::new(RefType::FUNCREF, 3, None);
    Table::new(&mut guest.store, ty, Ref::Func(None))?;
    assert_eq!(guest.log(), ["memory 0p 2p -", "table 0 3 None"]);
    Ok(())
}

#[test]
fn a_refusal_is_the_failure_that_the_guest_knows() -> Result<()> {
    let mut guest = Guest::new()?;
    guest.log();
    guest.store.data_mut().answer = Answer::No;
    assert_eq!((guest.grow("grow", 2)?, guest.grow("grow_table", 3)?), (-1, -1));
    // It knows of its own refusal and is not told.
    assert_eq!(guest.log(), ["memory 1p 3p 6p", "table 2 5 Some(9)"]);
    // To grow by nothing is no growth.
    assert_eq!((guest.grow("grow", 0)?, guest.grow("grow_table", 0)?), (1, 2));
    assert!(guest.log().is_empty());
    // The host gets an error.
    let memory = guest.instance.get_memory(&mut guest.store, "m").unwrap();
    let error = memory.grow(&mut guest.store, 1).unwrap_err();
    assert_eq!(error.to_string(), "failed to grow memory by `1`");
    let table = guest.instance.get_table(&mut guest.store, "t").unwrap();
    let error = table.grow(&mut guest.store, 1, Ref::Func(None)).unwrap_err();
    assert_eq!(error.to_string(), "failed to grow table by `1`");
    assert_eq!(guest.sizes()?, (1, 2), "nothing has grown");
    guest.store.data_mut().answer = Answer::Yes;
    assert_eq!((guest.grow("grow", 2)?, guest.grow("grow_table", 3)?), (1, 2));
    assert_eq!(guest.sizes()?, (3, 5));
    Ok(())
}

#[test]
fn an_error_is_a_trap() -> Result<()> {
    let mut guest = Guest::new()?;
    guest.store.data_mut().answer = Answer::Error;
    for function in ["grow", "grow_table"] {
        let error = guest.grow(function, 1).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "the limiter's own error");
        assert!(error.downcast_ref::<WasmBacktrace>().is_some(), "{function}: with where the guest was");
    }
    let memory = guest.instance.get_memory(&mut guest.store, "m").unwrap();
    assert_eq!(memory.grow(&mut guest.store, 1).unwrap_err().to_string(), "the limiter's own error");
    let error = Memory::new(&mut guest.store, MemoryType::new(1, None)).unwrap_err();
    assert_eq!(error.to_string(), "the limiter's own error");
    let module = Module::new(guest.store.engine(), GUEST)?;
    let error = Instance::new(&mut guest.store, &module, &[]).unwrap_err();
    assert_eq!(error.to_string(), "the limiter's own error");
    guest.store.data_mut().answer = Answer::Yes;
    assert_eq!((guest.grow("grow", 1)?, guest.sizes()?), (1, (2, 2)));
    Ok(())
}

#[test]
fn other_failures_are_told() -> Result<()> {
    let mut guest = Guest::new()?;
    guest.log();
    // It is asked also about what the type does not allow, with what the guest wants, as far as that is a number.
    assert_eq!((guest.grow("grow", 6)?, guest.grow("grow_table", 8)?), (-1, -1));
    assert_eq!(guest.grow("grow", -1)?, -1);
    assert_eq!(guest.grow("grow_table", -1)?, -1);
    assert_eq!(
        guest.log(),
        [
            "memory 1p 7p 6p",
            "memory failed: Memory maximum size exceeded",
            "table 2 10 Some(9)",
            "table failed: Table maximum size exceeded",
            "memory 1p 4294967296p 6p",
            "memory failed: Memory maximum size exceeded",
            "table 2 4294967297 Some(9)",
            "table failed: Table maximum size exceeded",
        ]
    );
    guest.store.data_mut().trap_on_failure = true;
    for (function, expected) in
        [("grow", "Memory maximum size exceeded"), ("grow_table", "Table maximum size exceeded")]
    {
        assert_eq!(guest.grow(function, 100).unwrap_err().root_cause().to_string(), expected);
    }
    assert_eq!(guest.sizes()?, (1, 2));
    Ok(())
}

#[test]
fn failures_can_be_made_traps_by_limits() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let limits = StoreLimitsBuilder::new().trap_on_grow_failure(true).table_elements(4).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[])?;
    for (function, by, expected) in [
        ("grow", 100, "forcing trap when growing memory to 6619136 bytes"),
        ("grow_table", 3, "forcing trap when growing table to 5 elements"),
    ] {
        let function = instance.get_typed_func::<i32, i32>(&mut store, function)?;
        assert_eq!(function.call(&mut store, by).unwrap_err().root_cause().to_string(), expected);
    }
    Ok(())
}

#[test]
fn counts_are_of_the_whole_store_and_for_ever() -> Result<()> {
    let engine = Engine::default();
    let two = Module::new(&engine, "(module (table 1 funcref) (table 1 externref) (memory 1))")?;
    let none = Module::new(&engine, "(module)")?;
    let store = |limits: StoreLimitsBuilder| {
        let mut store = Store::new(&engine, limits.build());
        store.limiter(|limits| limits);
        store
    };
    let text = |result: Result<Instance>| result.map(drop).unwrap_err().to_string();

    let mut of_tables = store(StoreLimitsBuilder::new().tables(3));
    Instance::new(&mut of_tables, &two, &[])?;
    assert_eq!(
        text(Instance::new(&mut of_tables, &two, &[])),
        "resource limit exceeded: table count too high at 4"
    );
    Instance::new(&mut of_tables, &none, &[])?;

    let mut of_memories = store(StoreLimitsBuilder::new().memories(0));
    assert_eq!(
        text(Instance::new(&mut of_memories, &two, &[])),
        "resource limit exceeded: memory count too high at 1"
    );

    let mut of_instances = store(StoreLimitsBuilder::new().instances(3));
    for _ in 0..3 {
        Instance::new(&mut of_instances, &none, &[])?;
    }
    assert_eq!(
        text(Instance::new(&mut of_instances, &none, &[])),
        "resource limit exceeded: instance count too high at 4"
    );

    let mut of_size = store(StoreLimitsBuilder::new().memory_size(PAGE - 1));
    assert_eq!(
        text(Instance::new(&mut of_size, &two, &[])),
        "memory minimum size of 1 pages exceeds memory limits"
    );
    let mut of_elements = store(StoreLimitsBuilder::new().table_elements(0));
    assert_eq!(
        text(Instance::new(&mut of_elements, &two, &[])),
        "table minimum size of 1 elements exceeds table limits"
    );
    Ok(())
}

#[test]
fn the_stack_that_wasm_may_use_is_what_the_configuration_says() -> Result<()> {
    let depth = |bytes: usize| {
        let mut config = Config::new();
        config.max_wasm_stack(bytes);
        let engine = Engine::new(&config)?;
        let module = Module::new(
            &engine,
            r#"(module (global $depth (export "depth") (mut i32) (i32.const 0))
                (func $f (export "f")
                    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                    (call $f)
                    (global.set $depth (i32.add (global.get $depth) (i32.const 0)))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let error = instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        assert_eq!(error.root_cause().to_string(), "wasm trap: call stack exhausted");
        Ok::<_, Error>(instance.get_global(&mut store, "depth").unwrap().get(&mut store).unwrap_i32())
    };
    let (small, large) = (depth(64 << 10)?, depth(256 << 10)?);
    assert!(small > 100 && (3 * small..5 * small).contains(&large), "{small} and {large} calls");
    Ok(())
}
