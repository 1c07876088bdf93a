//! The command line.

use crate::help::Topic;
use crate::limits::Limits;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use wasm_engine::{CompileLimits, CpuFeatures, OptLevel};
use wasm_wasi::Preopen;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    /// Say how the program is used.
    Help(Topic),
    /// Run a file.
    Run(Run<'a>),
    /// Compile a file to another one.
    Compile(Compile<'a>),
    /// Say what is in a compiled file.
    Inspect(Inspect<'a>),
    /// List what is in the cache.
    CacheList,
    /// Empty the cache.
    CacheClear,
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// The file.
    pub(crate) file: &'a str,
    /// The function to call, if one was named.
    pub(crate) invoke: Option<&'a str>,
    /// Arguments for it.
    pub(crate) args: &'a [String],
    /// Directories that it is given, if it is a program for WASI.
    pub(crate) dirs: Vec<Preopen<'a>>,
    /// Variables that it is given, likewise.
    pub(crate) env: Vec<(&'a str, &'a str)>,
    /// How it is compiled, if it needs to be.
    pub(crate) how: How<'a>,
    /// Whether the cache is used.
    pub(crate) cache: bool,
    /// Whether a compiled file is loaded whoever made it.
    pub(crate) trust: bool,
    /// Files of keys that are trusted besides the system's.
    pub(crate) trusted_keys: Vec<&'a str>,
    /// How much fuel it has, if it is to consume some.
    pub(crate) fuel: Option<u64>,
    /// How long it may take, from the start of the program on.
    pub(crate) timeout: Option<Timeout<'a>>,
    /// How much it may take.
    pub(crate) limits: Limits,
}

/// Who signs what is compiled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signer<'a> {
    /// This system.
    System,
    /// The key in this file.
    File(&'a str),
    /// Nobody.
    Nobody,
}

/// How long something may take, and in which words that was said.
pub(crate) type Timeout<'a> = (Duration, &'a str);

/// What is to be compiled.
#[derive(Debug)]
pub(crate) struct Compile<'a> {
    /// The module.
    pub(crate) input: &'a str,
    /// The artifact.
    pub(crate) output: String,
    /// The system it is for; `None` for this one.
    pub(crate) target: Option<&'a str>,
    /// How it is compiled.
    pub(crate) how: How<'a>,
    /// Who signs it.
    pub(crate) signer: Signer<'a>,
}

/// What is to be looked at.
#[derive(Debug)]
pub(crate) struct Inspect<'a> {
    /// The artifact.
    pub(crate) file: &'a str,
    /// Whether each instruction is listed that may trap.
    pub(crate) traps: bool,
    /// The function whose machine code is shown, instead of all else.
    #[cfg(target_os = "linux")]
    pub(crate) disasm: Option<&'a str>,
}

/// How a module is compiled.
#[derive(Debug, Default)]
pub(crate) struct How<'a> {
    /// What code may use of a CPU, with the words for it; `None` for this machine's CPU.
    pub(crate) cpu: Option<(CpuFeatures, &'a str)>,
    /// How much the compiler tries.
    pub(crate) opt_level: OptLevel,
    /// Whether to leave out the module's debug information.
    pub(crate) no_debug_info: bool,
    /// How many tasks compile; 0 for as many as the machine runs at once.
    pub(crate) threads: usize,
    /// What the compilation may use.
    pub(crate) limits: CompileLimits,
    /// Whether code consumes fuel.
    pub(crate) fuel: bool,
    /// Whether code is interrupted by epochs.
    pub(crate) epochs: bool,
}

/// Takes the command line apart. An error says what is wrong with it, and which help tells more.
pub(crate) fn parse(args: &[String]) -> Result<Command<'_>, (String, Topic)> {
    let (subcommand, rest) = match args.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => ("", args),
    };
    let (topic, parsed) = match subcommand {
        "compile" => (Topic::Compile, compile(Cursor::new(rest))),
        "inspect" => (Topic::Inspect, inspect(Cursor::new(rest))),
        "cache" => (Topic::Cache, cache(Cursor::new(rest))),
        _ => (Topic::Run, run(Cursor::new(args))),
    };
    parsed.map_err(|message| (message, topic))
}

/// What is left of a command line.
pub(crate) struct Cursor<'a> {
    rest: &'a [String],
    /// The argument that was last taken, without its value.
    name: &'a str,
    /// Its value, if it had one after `=`.
    attached: Option<&'a str>,
}

impl<'a> Cursor<'a> {
    fn new(rest: &'a [String]) -> Self {
        Self { rest, name: "", attached: None }
    }

    /// Takes the next argument; of one like `--name=value` only the name.
    fn next(&mut self) -> Result<Option<&'a str>, String> {
        if self.attached.is_some() {
            return Err(format!("{} takes no value", self.name));
        }
        let Some((first, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        (self.name, self.attached) = match first.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (first.as_str(), None),
        };
        Ok(Some(self.name))
    }

    /// The value of the argument that was last taken.
    pub(crate) fn value(&mut self) -> Result<&'a str, String> {
        if let Some(value) = self.attached.take() {
            return Ok(value);
        }
        let (value, rest) = self.rest.split_first().ok_or_else(|| format!("{} needs a value", self.name))?;
        self.rest = rest;
        Ok(value)
    }

    /// The only file, which is missing.
    fn no_file<T>() -> Result<T, String> {
        Err("no file is given".to_string())
    }
}

fn is_option(argument: &str) -> bool {
    argument.starts_with('-') && argument != "-"
}

fn unknown<T>(option: &str) -> Result<T, String> {
    Err(format!("unknown option {option}"))
}

/// Notes the only file of a command.
fn only_file<'a>(file: &mut Option<&'a str>, argument: &'a str) -> Result<(), String> {
    match file.replace(argument) {
        None => Ok(()),
        Some(_) => Err(format!("one file at a time, but there is also {argument}")),
    }
}

fn run<'a>(mut cursor: Cursor<'a>) -> Result<Command<'a>, String> {
    let (mut invoke, mut how, mut cache) = (None, How::default(), true);
    let (mut trust, mut trusted_keys) = (false, Vec::new());
    let (mut fuel, mut timeout) = (None, None);
    let mut limits = Limits::default();
    let mut named = None;
    let mut given = Given::default();
    while let Some(name) = cursor.next()? {
        match name {
            "-h" | "--help" => return Ok(Command::Help(Topic::Run)),
            _ if given.take(name, &mut cursor)? => {}
            "--invoke" => invoke = Some(cursor.value()?),
            "--no-cache" => cache = false,
            "--trust" => trust = true,
            "--trusted-key" => trusted_keys.push(cursor.value()?),
            "--fuel" => {
                let value = cursor.value()?;
                let number = value.parse().ok().filter(|_| !value.starts_with('+'));
                fuel = Some(
                    number.ok_or_else(|| format!("{value} is no amount of fuel; write it like 1000000"))?,
                );
                how.fuel = true;
            }
            "--timeout" => {
                let value = cursor.value()?;
                timeout = Some((duration(value)?, value));
            }
            "--" => break,
            _ if limits.take(name, &mut cursor)? => {}
            _ if how.take(name, &mut cursor)? => {}
            _ if is_option(name) => return unknown(name),
            // A file's name may contain a `=`, but begins with no `--`: so it was not taken apart.
            _ => {
                named = Some(name);
                break;
            }
        }
    }
    let (file, args) = match (named, cursor.rest.split_first()) {
        (Some(file), _) => (file, cursor.rest),
        (None, Some((file, args))) => (file.as_str(), args),
        (None, None) => return Cursor::no_file(),
    };
    // What the program is given may also be said right behind its name.
    let mut behind = Cursor::new(args);
    let args = loop {
        let rest = behind.rest;
        match behind.next()? {
            Some("--") => break behind.rest,
            Some(name) if given.take(name, &mut behind)? => {}
            _ => break rest,
        }
    };
    let Given { dirs, env } = given;
    Ok(Command::Run(Run {
        file,
        invoke,
        args,
        dirs,
        env,
        how,
        cache,
        trust,
        trusted_keys,
        fuel,
        timeout,
        limits,
    }))
}

/// What a program is given.
#[derive(Default)]
struct Given<'a> {
    dirs: Vec<Preopen<'a>>,
    env: Vec<(&'a str, &'a str)>,
}

impl<'a> Given<'a> {
    /// Understands an option, if it is one of those about what a program is given.
    fn take(&mut self, name: &str, cursor: &mut Cursor<'a>) -> Result<bool, String> {
        match name {
            "--dir" | "--dir-ro" => {
                let value = cursor.value()?;
                let (host, guest) = value.split_once("::").unwrap_or((value, value));
                if host.is_empty() || guest.is_empty() {
                    return Err(format!(
                        "{name} {value} names no directory; write it like . or /tmp/a::data"
                    ));
                }
                self.dirs.push(Preopen { host, guest, read_only: name == "--dir-ro" });
            }
            "--env" => {
                let value = cursor.value()?;
                let variable = value.split_once('=').filter(|(name, _)| !name.is_empty());
                self.env.push(
                    variable
                        .ok_or_else(|| format!("--env {value} is no variable; write it like NAME=VALUE"))?,
                );
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn compile<'a>(mut cursor: Cursor<'a>) -> Result<Command<'a>, String> {
    let (mut input, mut output, mut target, mut how) = (None, None, None, How::default());
    let (mut key, mut no_sign) = (None, false);
    while let Some(name) = cursor.next()? {
        match name {
            "-h" | "--help" => return Ok(Command::Help(Topic::Compile)),
            "-o" => output = Some(cursor.value()?),
            "--target" => target = Some(cursor.value()?),
            "--key" => key = Some(cursor.value()?),
            "--no-sign" => no_sign = true,
            "--fuel" => how.fuel = true,
            "--epochs" => how.epochs = true,
            "--" => {
                for argument in core::mem::take(&mut cursor.rest) {
                    only_file(&mut input, argument)?;
                }
            }
            _ if how.take(name, &mut cursor)? => {}
            _ if is_option(name) => return unknown(name),
            file => only_file(&mut input, file)?,
        }
    }
    let Some(input) = input else { return Cursor::no_file() };
    let output = output.map_or_else(|| with_extension(input), ToString::to_string);
    if output == input {
        return Err("the output would replace the input; name another one with -o".to_string());
    }
    let signer = match (key, no_sign) {
        (Some(_), true) => return Err("--key and --no-sign exclude each other".to_string()),
        (Some(file), false) => Signer::File(file),
        (None, true) => Signer::Nobody,
        (None, false) => Signer::System,
    };
    Ok(Command::Compile(Compile { input, output, target, how, signer }))
}

fn inspect<'a>(mut cursor: Cursor<'a>) -> Result<Command<'a>, String> {
    let (mut file, mut traps) = (None, false);
    #[cfg(target_os = "linux")]
    let mut disasm = None;
    while let Some(name) = cursor.next()? {
        match name {
            "-h" | "--help" => return Ok(Command::Help(Topic::Inspect)),
            "--traps" => traps = true,
            #[cfg(target_os = "linux")]
            "--disasm" => disasm = Some(cursor.value()?),
            #[cfg(not(target_os = "linux"))]
            "--disasm" => return Err("--disasm is there on Linux only; copy the file there".to_string()),
            _ if is_option(name) => return unknown(name),
            argument => only_file(&mut file, argument)?,
        }
    }
    let Some(file) = file else { return Cursor::no_file() };
    Ok(Command::Inspect(Inspect {
        file,
        traps,
        #[cfg(target_os = "linux")]
        disasm,
    }))
}

fn cache<'a>(mut cursor: Cursor<'a>) -> Result<Command<'a>, String> {
    let mut command = None;
    while let Some(name) = cursor.next()? {
        let this = match name {
            "-h" | "--help" => return Ok(Command::Help(Topic::Cache)),
            "list" => Command::CacheList,
            "clear" => Command::CacheClear,
            _ if is_option(name) => return unknown(name),
            other => return Err(format!("unknown command cache {other}; there are list and clear")),
        };
        if command.replace(this).is_some() {
            return Err(format!("one command at a time, but there is also {name}"));
        }
    }
    Ok(command.unwrap_or(Command::CacheList))
}

impl<'a> How<'a> {
    /// Understands an option, if it is one of those about compiling.
    fn take(&mut self, name: &str, cursor: &mut Cursor<'a>) -> Result<bool, String> {
        match name {
            "--cpu" => {
                let level = cursor.value()?;
                self.cpu = Some((cpu(level)?, level));
            }
            "-O0" => self.opt_level = OptLevel::None,
            "-O2" => self.opt_level = OptLevel::Speed,
            "-Os" => self.opt_level = OptLevel::SpeedAndSize,
            "--no-debug-info" => self.no_debug_info = true,
            "--threads" => {
                let value = cursor.value()?;
                let threads = value.parse().ok().filter(|threads| *threads > 0);
                self.threads = threads.ok_or_else(|| format!("{value} is no number of threads"))?;
            }
            "--max-compile-memory" => self.limits.memory = size(cursor.value()?)?,
            "--max-function-size" => self.limits.function_size = size(cursor.value()?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The features that a description of a CPU stands for.
fn cpu(text: &str) -> Result<CpuFeatures, String> {
    CpuFeatures::parse(text).map_err(|error| error.to_string())
}

/// A number of bytes, in units of K, M or G (powers of 1024; `KiB` and so on mean the same) if there is one at the end.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let with_unit = text.strip_suffix("iB").filter(|rest| rest.ends_with(['K', 'M', 'G'])).unwrap_or(text);
    let (digits, shift) = match with_unit.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 10),
        None => match with_unit.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 20),
            None => with_unit.strip_suffix(['G', 'g']).map_or((with_unit, 0), |digits| (digits, 30)),
        },
    };
    let number = digits.parse::<usize>().ok().filter(|_| !digits.starts_with('+'));
    let bytes = number.and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("{text} is no number of bytes; write it like 1000000, 512K, 64M or 1G"))
}

/// A time, more than none, in units of ms, s (also without a unit), m or h.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("", 1000)];
    let (digits, milliseconds) = units
        .iter()
        .find_map(|(unit, milliseconds)| Some((text.strip_suffix(unit)?, *milliseconds)))
        .unwrap_or((text, 1000));
    let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    let time = number.and_then(|number| number.checked_mul(milliseconds)).filter(|time| *time > 0);
    let time = time.ok_or_else(|| format!("{text} is no time; write it like 500ms, 2s, 10m or 1h"))?;
    Ok(Duration::from_millis(time))
}

/// A number of things, which may be 0.
pub(crate) fn count(text: &str, what: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|_| !text.starts_with('+'));
    number.ok_or_else(|| format!("{text} is no number of {what}; write it like 100"))
}

/// The file's name with the extension `.cwasm` instead of its own.
fn with_extension(file: &str) -> String {
    let name_start = file.rfind('/').map_or(0, |at| at + 1);
    // A dot that the name begins with begins no extension.
    let stem = match file[name_start..].rfind('.') {
        Some(dot) if dot > 0 => &file[..name_start + dot],
        _ => file,
    };
    format!("{stem}.cwasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<String, String> {
        let args: Vec<String> = line.split_whitespace().map(String::from).collect();
        parse(&args).map(|command| format!("{command:?}")).map_err(|error| error.0)
    }

    fn run_of<R>(line: &str, check: impl FnOnce(Run<'_>) -> R) -> R {
        let args: Vec<String> = line.split_whitespace().map(String::from).collect();
        match parse(&args) {
            Ok(Command::Run(run)) => check(run),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn compile_of<R>(line: &str, check: impl FnOnce(Compile<'_>) -> R) -> R {
        let args: Vec<String> = line.split_whitespace().map(String::from).collect();
        match parse(&args) {
            Ok(Command::Compile(compile)) => check(compile),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_is_run_is_understood() {
        for (line, file, invoke, args) in [
            ("a.wasm", "a.wasm", None, &[][..]),
            ("a.wasm --invoke b -c", "a.wasm", None, &["--invoke", "b", "-c"]),
            ("--invoke f a.wasm 1 -2", "a.wasm", Some("f"), &["1", "-2"]),
            ("--invoke=f a=b.wasm --x=y", "a=b.wasm", Some("f"), &["--x=y"]),
            ("-- -x", "-x", None, &[]),
            ("-- compile", "compile", None, &[]),
            ("./compile a", "./compile", None, &["a"]),
        ] {
            run_of(line, |run| {
                assert_eq!((run.file, run.invoke), (file, invoke), "{line}");
                assert_eq!(run.args, args, "{line}");
                assert!(!run.trust && run.trusted_keys.is_empty());
                assert!(run.cache && run.how.cpu.is_none() && run.how.threads == 0, "{line}");
                assert_eq!(run.how.limits, CompileLimits::default());
            });
        }
        run_of("--trust --trusted-key k --trusted-key=l a --trust", |run| {
            assert!(run.trust);
            assert_eq!((run.trusted_keys, run.args), (["k", "l"].to_vec(), &["--trust".to_string()][..]));
        });
        for line in [
            "--dir . --dir-ro /a=b::data --env=X=y=z p -x --dir",
            "p --dir . --dir-ro /a=b::data --env X=y=z -- -x --dir",
            "--dir=. p --dir-ro=/a=b::data --env X=y=z -x --dir",
        ] {
            run_of(line, |run| {
                let dir = |host, guest, read_only| Preopen { host, guest, read_only };
                assert_eq!(run.dirs, [dir(".", ".", false), dir("/a=b", "data", true)], "{line}");
                assert_eq!((run.file, run.env), ("p", [("X", "y=z")].to_vec()), "{line}");
                assert_eq!(run.args, ["-x", "--dir"], "{line}");
            });
        }
        run_of("p -- --dir", |run| assert_eq!(run.args, ["--dir"]));
        run_of("p x -- --dir", |run| assert_eq!(run.args, ["x", "--", "--dir"]));
        for (line, milliseconds) in [
            ("--timeout 500ms a", 500),
            ("--timeout=2s a", 2_000),
            ("--timeout 3 a", 3_000),
            ("--timeout 10m a", 600_000),
            ("--timeout 1h a", 3_600_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            run_of(line, |run| assert_eq!(run.timeout.map(|timeout| timeout.0), Some(expected), "{line}"));
        }
        run_of("--fuel 18446744073709551615 a", |run| {
            assert_eq!((run.fuel, run.how.fuel), (Some(u64::MAX), true))
        });
        compile_of("compile --fuel --epochs a", |compile| assert!(compile.how.fuel && compile.how.epochs));
        run_of("a --timeout 1s", |run| assert_eq!(run.timeout, None));
        for (line, expected) in [
            ("--max-memory 64MiB a", "memory: Some(67108864)"),
            ("--max-memory=3K a", "memory: Some(3072)"),
            ("--max-table 0 a", "table: Some(0)"),
            ("--max-instances 1 a", "instances: Some(1)"),
            ("--max-memories 2 a", "memories: Some(2)"),
            ("--max-tables 3 a", "tables: Some(3)"),
            ("--max-stack 1M a", "stack: 1048576"),
            ("a --max-memory 1", "stack: 524288"),
        ] {
            run_of(line, |run| {
                let limits = format!("{:?}", run.limits);
                assert!(limits.contains(expected), "{line}: {limits}");
            });
        }
        run_of("-Os a", |run| assert_eq!(run.how.opt_level, OptLevel::SpeedAndSize));
        run_of("--no-cache --cpu x86-64-v2 -O0 --threads=3 --max-compile-memory 64M a --no-cache", |run| {
            assert!(!run.cache);
            assert_eq!(run.how.cpu, Some((CpuFeatures::X86_64_V2, "x86-64-v2")));
            assert_eq!((run.how.opt_level, run.how.threads), (OptLevel::None, 3));
            assert_eq!(run.how.limits.memory, 64 << 20);
            assert_eq!(run.args, ["--no-cache"]);
        });
    }

    #[test]
    fn what_is_compiled_is_understood() {
        for (line, output) in [
            ("compile a.wasm", "a.cwasm"),
            ("compile d.e/a", "d.e/a.cwasm"),
            ("compile d/.a", "d/.a.cwasm"),
            ("compile a.b.wat", "a.b.cwasm"),
            ("compile -o b a.wasm", "b"),
            ("compile a.wasm -o b", "b"),
            ("compile -- -a.wasm", "-a.cwasm"),
        ] {
            compile_of(line, |compile| {
                assert_eq!((&*compile.output, compile.signer), (output, Signer::System), "{line}");
            });
        }
        compile_of("compile a --no-sign", |compile| assert_eq!(compile.signer, Signer::Nobody));
        compile_of("compile --key k a", |compile| assert_eq!(compile.signer, Signer::File("k")));
        let line = "compile --target=x86_64-linux a.wasm -O0 --cpu native -O2 --max-function-size 1000";
        compile_of(line, |compile| {
            assert_eq!((compile.input, compile.target), ("a.wasm", Some("x86_64-linux")));
            assert_eq!(compile.how.opt_level, OptLevel::Speed);
            assert_eq!(compile.how.cpu, Some((CpuFeatures::of_this_cpu(), "native")));
            assert_eq!(compile.how.limits.function_size, 1000);
        });
    }

    #[test]
    fn what_else_is_understood() {
        assert_eq!(parsed("--help").unwrap(), "Help(Run)");
        assert_eq!(parsed("compile -h x").unwrap(), "Help(Compile)");
        assert_eq!(parsed("inspect --help").unwrap(), "Help(Inspect)");
        assert_eq!(parsed("cache --help").unwrap(), "Help(Cache)");
        assert_eq!(parsed("cache").unwrap(), "CacheList");
        assert_eq!(parsed("cache list").unwrap(), "CacheList");
        assert_eq!(parsed("cache clear").unwrap(), "CacheClear");
        assert!(parsed("inspect --traps a").unwrap().contains("traps: true"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, expected) in [
            ("", "no file"),
            ("--invoke", "--invoke needs a value"),
            ("--invoke f", "no file"),
            ("-x", "unknown option -x"),
            ("--", "no file"),
            ("--invok f a.wasm", "unknown option --invok"),
            ("--no-cache=1 a", "--no-cache takes no value"),
            ("--cpu 486 a", "unknown CPU 486"),
            ("--threads 0 a", "0 is no number of threads"),
            ("--max-compile-memory 0 a", "0 is no number of bytes"),
            ("--max-compile-memory 1T a", "1T is no number of bytes"),
            ("--max-compile-memory 99999999999G a", "is no number of bytes"),
            ("--max-compile-memory +1 a", "is no number of bytes"),
            ("--fuel", "--fuel needs a value"),
            ("--fuel x a", "x is no amount of fuel"),
            ("--epochs a", "unknown option --epochs"),
            ("--dir", "--dir needs a value"),
            ("--dir= a", "names no directory"),
            ("a --dir-ro ::x", "names no directory"),
            ("a --dir x::", "names no directory"),
            ("--env A a", "--env A is no variable"),
            ("a --env =A", "--env =A is no variable"),
            ("compile --dir . a", "unknown option --dir"),
            ("compile --fuel=3 a", "--fuel takes no value"),
            ("--timeout", "--timeout needs a value"),
            ("--timeout 0s a", "0s is no time"),
            ("--timeout s a", "s is no time"),
            ("--timeout 1d a", "1d is no time"),
            ("--timeout +1s a", "+1s is no time"),
            ("--timeout -1s a", "-1s is no time"),
            ("--timeout 99999999999999999h a", "is no time; write it like"),
            ("compile --timeout 1s a", "unknown option --timeout"),
            ("--max-memory 64MB a", "64MB is no number of bytes"),
            ("--max-memory 64iB a", "64iB is no number of bytes"),
            ("--max-table 1K a", "1K is no number of elements"),
            ("--max-instances -1 a", "-1 is no number of instances"),
            ("--max-stack 65M a", "65M is too much for a stack; give 64M at most"),
            ("--max-stack 0 a", "0 is no number of bytes"),
            ("compile --max-memory 1M a", "unknown option --max-memory"),
            ("compile", "no file"),
            ("compile a b", "also b"),
            ("compile a -o", "-o needs a value"),
            ("compile a.cwasm", "replace the input"),
            ("compile a -o a", "replace the input"),
            ("--trusted-key", "--trusted-key needs a value"),
            ("--trust=yes a", "--trust takes no value"),
            ("compile a --key k --no-sign", "exclude each other"),
            ("compile a --trust", "unknown option --trust"),
            ("compile a --no-cache", "unknown option --no-cache"),
            ("inspect", "no file"),
            ("inspect a b", "also b"),
            ("inspect a --all", "unknown option --all"),
            ("cache list clear", "also clear"),
            ("cache empty", "cache empty"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
