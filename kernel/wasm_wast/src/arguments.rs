//! The command line of `wasm_run wast`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use wasm_engine::OptLevel;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// Say how the command is used.
    Help,
    /// Run scripts.
    Run(Options<'a>),
}

/// What is to be run, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options<'a> {
    /// Files, directories and patterns.
    pub(crate) paths: Vec<&'a str>,
    /// Print nothing of files in which everything passed.
    pub(crate) quiet: bool,
    /// The CPU that the compiler is to think of.
    pub(crate) cpu: Option<&'a str>,
    /// How much effort goes into the code.
    pub(crate) opt_level: OptLevel,
}

/// How the command is used.
pub(crate) const USAGE: &str = "usage: wasm_run wast [OPTIONS] FILE|DIRECTORY|PATTERN...

Runs scripts of WebAssembly's test suite: files, all *.wast below directories, or what patterns with * and ? match.

  --cpu CPU     compile for this CPU instead of the one that this is
  -O0, -O2      compile quickly, or to quick code (the default)
  --quiet       print nothing of files in which everything passed
";

/// Takes the command line apart. An error says what is wrong with it.
pub(crate) fn parse(args: &[String]) -> Result<Command<'_>, String> {
    let mut options = Options { paths: Vec::new(), quiet: false, cpu: None, opt_level: OptLevel::Speed };
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match arg {
            "-h" | "--help" => return Ok(Command::Help),
            "-q" | "--quiet" => options.quiet = true,
            "--cpu" => options.cpu = Some(rest.next().ok_or("--cpu needs the name of a CPU")?),
            "-O0" => options.opt_level = OptLevel::None,
            "-O2" => options.opt_level = OptLevel::Speed,
            "--" => options.paths.extend(rest.by_ref()),
            arg => match arg.strip_prefix("--cpu=") {
                Some(cpu) => options.cpu = Some(cpu),
                None if arg.starts_with('-') => return Err(format!("unknown option {arg}")),
                None => options.paths.push(arg),
            },
        }
    }
    match options.paths[..] {
        [] => Err("no script is given".into()),
        _ => Ok(Command::Run(options)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn command_lines_are_understood() {
        let parsed = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(String::from).collect();
            match parse(&args) {
                Ok(Command::Help) => Ok("help".to_string()),
                Ok(Command::Run(options)) => Ok(format!(
                    "{} {} {:?} {:?}",
                    options.paths.join(" "),
                    options.quiet,
                    options.cpu,
                    options.opt_level
                )),
                Err(error) => Err(error),
            }
        };
        assert_eq!(parsed("a b").unwrap(), "a b false None Speed");
        assert_eq!(parsed("-O0 a --quiet --cpu x").unwrap(), "a true Some(\"x\") None");
        assert_eq!(parsed("--cpu=y -- -a").unwrap(), "-a false Some(\"y\") Speed");
        assert_eq!(parsed("a --help").unwrap(), "help");
        for wrong in ["", "--cpu", "a --cpu", "-x a", "-O1 a"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
