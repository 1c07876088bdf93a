//! Wasmtime's own first example, with only the crate's name changed.

use wasm_engine::*;

struct MyState {
    name: String,
    count: usize,
}

#[test]
fn the_hello_example_compiles_and_runs() -> Result<()> {
    println!("Compiling module...");
    let engine = Engine::default();
    let module = Module::from_file(&engine, "tests/hello.wat")?;

    println!("Initializing...");
    let mut store = Store::new(&engine, MyState { name: "hello, world!".to_string(), count: 0 });

    println!("Creating callback...");
    let hello_func = Func::wrap(&mut store, |mut caller: Caller<'_, MyState>| {
        println!("Calling back...");
        println!("> {}", caller.data().name);
        caller.data_mut().count += 1;
    });

    println!("Instantiating module...");
    let imports = [hello_func.into()];
    let instance = Instance::new(&mut store, &module, &imports)?;

    println!("Extracting export...");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;

    println!("Calling export...");
    run.call(&mut store, ())?;

    println!("Done.");
    assert_eq!(store.data().count, 1);
    Ok(())
}

#[test]
fn the_linker_example_compiles_and_runs() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"
            (module
                (import "host" "host_func" (func $host_hello (param i32)))
                (func (export "hello")
                    i32.const 3
                    call $host_hello)
            )
        "#,
    )?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "host_func", |caller: Caller<'_, u32>, param: i32| {
        println!("Got {} from WebAssembly", param);
        println!("my host state is: {}", caller.data());
        assert_eq!((param, *caller.data()), (3, 4));
    })?;
    let mut store = Store::new(&engine, 4);
    let instance = linker.instantiate(&mut store, &module)?;
    let hello = instance.get_typed_func::<(), ()>(&mut store, "hello")?;
    hello.call(&mut store, ())?;
    Ok(())
}
