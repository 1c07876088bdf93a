//! The command line.

use std::num::NonZero;
use std::path::PathBuf;
use wasm_artifact::compile::{Settings, Target};
use wasm_artifact::{CpuFeatures, OptLevel};

/// What `--help` prints.
pub const HELP: &str = "\
usage: wasmc [options] FILE
       wasmc keys

Compiles a WebAssembly module (.wasm or .wat) to an artifact (.cwasm) for wasm_run, and signs it. `wasmc keys`
makes the keys for that, unless they are there, and says which they are.

  -o FILE          where to write; default: the input's name with the extension .cwasm
  --target NAME    x86_64-theseus (default) or x86_64-linux
  --cpu LEVEL      baseline (default), x86-64-v2, x86-64-v3, or native: what this machine can; and features more
                   or less, for example native,-avx2 or baseline,+sse4.1
  -O0, -O2, -Os    compile fast; make fast code (default); make fast code, but small where it cannot be both
  --key FILE       sign with this key; default: signing.key in the directory for keys, which is $WASM_KEYS, or else
                   $XDG_CONFIG_HOME/wasm_run or ~/.config/wasm_run
  --no-sign        do not sign: systems load the artifact only if they are told to trust it
  --no-debug-info  leave out what the module says about source files and lines (DWARF)
  --fuel           for wasm_run --fuel: count what is consumed
  --epochs         for engines that interrupt by epochs: look at them
  --threads N      default: as many as there are processors
  --help           this text
";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Make the keys.
    Keys,
    /// Compile.
    Compile(Options),
}

/// What to compile, and how.
#[derive(Debug)]
pub struct Options {
    /// The module.
    pub input: PathBuf,
    /// The artifact.
    pub output: PathBuf,
    /// What it is compiled for.
    pub settings: Settings,
    /// How many threads compile; at least 1.
    pub threads: usize,
    /// Who signs.
    pub signer: Signer,
}

/// Who signs an artifact.
#[derive(Debug, PartialEq, Eq)]
pub enum Signer {
    /// The developer's key.
    Developer,
    /// The key in this file.
    File(String),
    /// Nobody.
    Nobody,
}

/// Understands the arguments, the program's name not among them. The error is one line.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.peek().is_some_and(|first| first == "keys") {
        return match arguments.nth(1) {
            None => Ok(Command::Keys),
            Some(_) => Err("keys takes nothing else; a module of that name is ./keys".to_string()),
        };
    }
    let mut input = None;
    let mut output = None;
    let mut settings = Settings::new(Target::Theseus);
    let (mut key, mut no_sign) = (None, false);
    let mut threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    while let Some(argument) = arguments.next() {
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_string())),
            _ => (argument.as_str(), None),
        };
        const FLAGS: [&str; 5] = ["--help", "--no-sign", "--no-debug-info", "--fuel", "--epochs"];
        if attached.is_some() && FLAGS.contains(&name) {
            return Err(format!("{name} takes no value"));
        }
        let mut value =
            || attached.clone().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
        match name {
            "-h" | "--help" => return Ok(Command::Help),
            "-o" => output = Some(PathBuf::from(value()?)),
            "--target" => {
                let value = value()?;
                settings.target = Target::from_name(&value)
                    .ok_or(format!("unknown target {value}; there are x86_64-theseus and x86_64-linux"))?;
            }
            "--cpu" => settings.cpu = CpuFeatures::parse(&value()?).map_err(|error| error.to_string())?,
            "--key" => key = Some(value()?),
            "--no-sign" => no_sign = true,
            "-O0" => settings.opt_level = OptLevel::None,
            "-O2" => settings.opt_level = OptLevel::Speed,
            "-Os" => settings.opt_level = OptLevel::SpeedAndSize,
            "--no-debug-info" => settings.debug_info = false,
            "--fuel" => settings.tunables.consume_fuel = true,
            "--epochs" => settings.tunables.epoch_interruption = true,
            "--threads" => {
                let value = value()?;
                threads = value
                    .parse()
                    .ok()
                    .filter(|&threads| threads > 0)
                    .ok_or(format!("{value} is no number of threads"))?;
            }
            _ if name.starts_with('-') && name != "-" => return Err(format!("unknown option {name}")),
            _ if input.is_some() => return Err(format!("one file at a time, but there is also {argument}")),
            _ => input = Some(PathBuf::from(argument)),
        }
    }
    let input = input.ok_or("no file to compile")?;
    let output = output.unwrap_or_else(|| input.with_extension("cwasm"));
    if output == input {
        return Err("the output would replace the input; name another one with -o".to_string());
    }
    let signer = match (key, no_sign) {
        (Some(_), true) => return Err("--key and --no-sign exclude each other".to_string()),
        (Some(file), false) => Signer::File(file),
        (None, true) => Signer::Nobody,
        (None, false) => Signer::Developer,
    };
    Ok(Command::Compile(Options { input, output, settings, threads, signer }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_string))
    }

    fn options(line: &str) -> Options {
        match parse_line(line) {
            Ok(Command::Compile(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_optimised_baseline_code_for_theseus_beside_the_input() {
        let options = options("dir/hello.wat");
        assert_eq!(options.output, PathBuf::from("dir/hello.cwasm"));
        assert_eq!(options.settings.target, Target::Theseus);
        assert_eq!(options.settings.cpu, CpuFeatures::BASELINE);
        assert_eq!(options.settings.opt_level, OptLevel::Speed);
        assert!(options.settings.debug_info);
        assert!(options.threads >= 1 && options.signer == Signer::Developer);
    }

    #[test]
    fn options_may_come_anywhere_and_with_equals_signs() {
        let options = options(
            "--target=x86_64-linux a.wasm -o b --cpu x86-64-v3 -O0 --no-debug-info --threads 3 --key k --fuel --epochs",
        );
        assert_eq!(options.input, PathBuf::from("a.wasm"));
        assert_eq!(options.output, PathBuf::from("b"));
        assert_eq!(options.settings.target, Target::Linux);
        assert_eq!(options.settings.cpu, CpuFeatures::X86_64_V3);
        assert_eq!(options.settings.opt_level, OptLevel::None);
        assert!(!options.settings.debug_info);
        let tunables = options.settings.tunables;
        assert!(tunables.consume_fuel && tunables.epoch_interruption);
        assert_eq!(options.threads, 3);
        assert_eq!(options.signer, Signer::File("k".to_string()));
        assert_eq!(self::tests::options("a.wat --no-sign").signer, Signer::Nobody);
        assert!(matches!(parse_line("keys"), Ok(Command::Keys)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, expected) in [
            ("", "no file"),
            ("a b", "also b"),
            ("-x a", "unknown option -x"),
            ("a -o", "-o needs a value"),
            ("a --target mips", "unknown target mips"),
            ("a --cpu 486", "unknown CPU 486"),
            ("a --threads 0", "0 is no number"),
            ("a.cwasm", "replace the input"),
            ("a --no-sign=1", "--no-sign takes no value"),
            ("a --key", "--key needs a value"),
            ("a --key k --no-sign", "exclude each other"),
            ("keys a", "takes nothing else"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
