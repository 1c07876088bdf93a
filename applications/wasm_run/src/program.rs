//! Running one file.

use crate::command_line::Run;
use crate::limits::Limiter;
use crate::progress::ProgressLine;
use crate::wasi::Wasi;
use crate::{Failure, Streams, arguments, cache, calling, compile, one_line};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use wasm_engine::error::Context;
use wasm_engine::*;
use wasm_wasi::{I32Exit, Program, ProgramOptions};

/// What the host keeps for the program: the number that `host.hello` prints as its state.
const HOST_STATE: u32 = 4;

/// What the host keeps for the program in the store.
struct Host {
    state: u32,
    limiter: Limiter,
}

/// What the host keeps in the store of a program.
fn host(program: &Program) -> &Host {
    program.host.downcast_ref().expect("it was put there")
}

/// As [`host`], to be changed.
fn host_mut(program: &mut Program) -> &mut Host {
    program.host.downcast_mut().expect("it was put there")
}

/// How many names an error lists.
const MAX_LISTED: usize = 20;

/// Loads the file, makes an instance, calls the function, prints its results. What it fails with may be something of `wasi`.
pub(crate) fn run(command: &Run<'_>, wasi: &mut Wasi, streams: Streams) -> Result<(), Failure> {
    let input = |error: Error| Failure::Input(format!("{}: {}", command.file, one_line::of(&error)));
    let trapped = |error: Error| match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(status)) => Failure::Exit(*status),
        None => Failure::Program(command.file.to_string(), error),
    };
    let (engine, module) = load(command, streams)?;
    let mut linker = provide(&engine, streams).map_err(input)?;
    let wasi = match module
        .imports()
        .any(|import| [wasm_wasi::MODULE, wasm_wasi::p0::MODULE].contains(&import.module()))
    {
        true => {
            let args = program_args(command).map_err(input)?;
            let options = ProgramOptions { args: &args, env: &command.env, dirs: &command.dirs };
            Some(wasi.link(&mut linker, &options).map_err(input)?)
        }
        false => None,
    };
    let program = linker.instantiate_pre(&module).map_err(input)?;
    let name = function_name(&module, command).map_err(input)?;
    let ty = function_type(&module, name).map_err(input)?;
    let args = match command.invoke {
        Some(_) => arguments_of(name, &ty, command.args).map_err(input)?,
        // They are the program's own, for it to ask for.
        None => Vec::new(),
    };

    let own = Host { state: HOST_STATE, limiter: command.limits.limiter() };
    let mut store = Store::try_new(&engine, Program { host: Box::new(own), wasi }).map_err(input)?;
    store.limiter(|program| &mut host_mut(program).limiter);
    if let Some(fuel) = command.fuel {
        store.set_fuel(fuel).map_err(input)?;
    }
    let instance = program.instantiate(&mut store).map_err(|error| {
        match error.is::<Trap>() || error.is::<I32Exit>() {
            true => trapped(error),
            false => input(host(store.data()).limiter.explain(error)),
        }
    })?;
    let function = instance.get_func(&mut store, name).context("the function is gone").map_err(input)?;
    let mut results: Vec<Val> = ty.results().map(|_| Val::I32(0)).collect();
    calling::call(&function, &mut store, &args, &mut results, streams).map_err(trapped)?;
    for result in &results {
        (streams.out)(format_args!("{}\n", arguments::print(result)));
    }
    Ok(())
}

/// What programs may import.
fn provide(engine: &Engine, streams: Streams) -> Result<Linker<Program>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "hello", move |caller: Caller<'_, Program>, number: i32| {
        (streams.out)(format_args!("Got {number} from WebAssembly\n"));
        (streams.out)(format_args!("my host state is: {}\n", host(caller.data()).state));
    })?;
    Ok(linker)
}

/// The arguments that a program is given: its name, and those of the command line.
fn program_args(command: &Run<'_>) -> Result<Vec<String>> {
    let name = command.file.rsplit('/').next().unwrap_or(command.file);
    let mut args = Vec::new();
    let len = command.args.len() + 1;
    args.try_reserve_exact(len).map_err(|_| OutOfMemory::new(len * size_of::<String>()))?;
    args.push(name.to_string());
    args.extend_from_slice(command.args);
    Ok(args)
}

/// Loads a compiled module; or takes one from the cache, or compiles it.
fn load(command: &Run<'_>, streams: Streams) -> Result<(Engine, Module), Failure> {
    let file = command.file;
    let input = |error: Error| Failure::Input(format!("{file}: {}", one_line::of(&error)));
    compile::check_cpu(&command.how)?;
    let bytes = read_file(file)
        .map_err(|error| format_err!("{}; give the name of a WebAssembly file", error.root_cause()))
        .map_err(input)?;
    let mut config = command.how.config();
    config.max_wasm_stack(command.limits.stack);
    // What begins like this is no module: what is wrong with it, if anything is, those say who read artifacts.
    if bytes.is_empty() || bytes.starts_with(b"\x7fELF") {
        whom_to_trust(command, &mut config).map_err(|error| Failure::Input(one_line::of(&error)))?;
        let engine = Engine::new(&config).map_err(input)?;
        // SAFETY: the engine checks who signed the artifact; or, with --trust, who names the file vouches for it. The bytes are a copy
        // of the file that nobody else has.
        let module = unsafe { Module::deserialize(&engine, bytes) }.map_err(input)?;
        return Ok((engine, module));
    }
    drop(bytes);
    if command.cache {
        config.cache(cache::for_programs().unwrap_or_else(|error| {
            (streams.err)(format_args!("wasm_run: {}\n", cache::why_not(&error)));
            None
        }));
    }
    let line = ProgressLine::begin(&mut config, file, streams);
    let engine = Engine::new(&config).map_err(input)?;
    let module = Module::from_file(&engine, file);
    drop(line);
    Ok((engine, module.map_err(input)?))
}

/// Whose compiled files are loaded: those of whom the system trusts, and of whom the command line says so.
fn whom_to_trust(command: &Run<'_>, config: &mut Config) -> Result<()> {
    if command.trust {
        config.trusted_keys(None);
        return Ok(());
    }
    // In Theseus the engine knows the system's keys by itself, and computes the system's own only if it comes to that.
    #[cfg(target_os = "theseus")]
    if command.trusted_keys.is_empty() {
        return Ok(());
    }
    let mut keys = match system_trusted_keys() {
        // Whoever names keys does not need the system's.
        Err(_) if !command.trusted_keys.is_empty() => TrustedKeys::new(),
        keys => keys.map_err(|error| {
            format_err!("{error}, or name one with --trusted-key, or run what you trust with --trust")
        })?,
    };
    for file in &command.trusted_keys {
        keys.add_all(&read_trusted_keys(*file)?).map_err(Error::new)?;
    }
    config.trusted_keys(Some(keys));
    Ok(())
}

/// The function to be called: the one that was named, `_start`, or the only one without parameters.
fn function_name<'a>(module: &'a Module, command: &Run<'a>) -> Result<&'a str> {
    if let Some(name) = command.invoke {
        return Ok(name);
    }
    let functions =
        || module.exports().filter_map(|export| Some((export.name(), export.ty().func()?.params().len())));
    if functions().any(|(name, _)| name == "_start") {
        return Ok("_start");
    }
    let mut callable = functions().filter(|(_, params)| *params == 0);
    match (callable.next(), callable.next()) {
        (Some((name, _)), None) => Ok(name),
        (Some(_), Some(_)) => {
            bail!("exports several functions that could be run; choose one with --invoke: {}", list(module))
        }
        (None, _) if functions().next().is_none() => {
            bail!("exports no function to run; export one from the module")
        }
        (None, _) => {
            bail!("every function it exports has parameters; give them with --invoke NAME: {}", list(module))
        }
    }
}

/// The type of the exported function `name`.
fn function_type(module: &Module, name: &str) -> Result<FuncType> {
    match module.get_export(name) {
        Some(ExternType::Func(ty)) => Ok(ty),
        Some(_) => bail!("the export `{name}` is no function; functions are: {}", list(module)),
        None => bail!("no function is exported as `{name}`; functions are: {}", list(module)),
    }
}

/// The exported functions with their types, in one line.
fn list(module: &Module) -> String {
    let functions = module.exports().filter_map(|export| {
        let ty = export.ty().func()?.clone();
        let types = |types: &mut dyn Iterator<Item = ValType>| {
            types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(", ")
        };
        let results = types(&mut ty.results());
        let arrow = if results.is_empty() { "" } else { " -> " };
        Some(format!("{}({}){arrow}{results}", export.name(), types(&mut ty.params())))
    });
    let mut names: Vec<String> = functions.collect();
    let more = names.len().saturating_sub(MAX_LISTED);
    names.truncate(MAX_LISTED);
    if names.is_empty() {
        return "none".to_string();
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}

/// The arguments for the function `name` of type `ty`.
fn arguments_of(name: &str, ty: &FuncType, args: &[String]) -> Result<Vec<Val>> {
    let expected = ty.params().len();
    if expected != args.len() {
        let types = ty.params().map(|ty| ty.to_string()).collect::<Vec<_>>().join(" ");
        let types = if types.is_empty() { String::new() } else { format!(" ({types})") };
        let s = if expected == 1 { "" } else { "s" };
        bail!("`{name}` takes {expected} argument{s}{types}, {} given; give {expected}", args.len());
    }
    let values = ty.params().zip(args).enumerate().map(|(number, (ty, arg))| {
        arguments::value(arg, &ty).with_context(|| {
            let remedy =
                if ty.is_ref() { "such arguments cannot be given here" } else { "give a number that fits" };
            format!("argument {} of `{name}`, `{arg}`, is no {ty}; {remedy}", number + 1)
        })
    });
    values.collect()
}
