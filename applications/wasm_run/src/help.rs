//! What `--help` prints.

/// What somebody wants to know more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Running files, and what else there is.
    Run,
    /// `wasm_run compile`.
    Compile,
    /// `wasm_run inspect`.
    Inspect,
    /// `wasm_run cache`.
    Cache,
}

impl Topic {
    /// The line that prints its text.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Topic::Run => "wasm_run --help",
            Topic::Compile => "wasm_run compile --help",
            Topic::Inspect => "wasm_run inspect --help",
            Topic::Cache => "wasm_run cache --help",
        }
    }

    /// The text.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Topic::Run => RUN,
            Topic::Compile => COMPILE,
            Topic::Inspect => INSPECT,
            Topic::Cache => CACHE,
        }
    }
}

const RUN: &str = "\
usage: wasm_run [options] FILE [ARGS]                run `_start`, or the only function without parameters
       wasm_run [options] --invoke NAME FILE [ARGS]  call a function, print its results, one a line
       wasm_run compile FILE [-o OUT]                compile to a file that runs without the compiler
       wasm_run inspect FILE                         say what is in a compiled file
       wasm_run cache [list | clear]                 say what is in the cache of compiled modules, or empty it
       wasm_run wast FILE|DIRECTORY|PATTERN...       run scripts of WebAssembly's test suite
       wasm_run COMMAND --help                       say more about compile, inspect, cache or wast

FILE is a .wasm or .wat file, which is compiled and kept in the cache, or a .cwasm file, which runs if it was
signed by somebody whom this system trusts: the builder of the image, or the system itself. A program for WASI
gets ARGS, standard input, output and error, and what these give it; they may also follow FILE, then ARGS may
follow a --.

  --dir HOST[::GUEST]        a directory and all that is in it, which it knows as GUEST (default: as HOST)
  --dir-ro HOST[::GUEST]     the same, but only to be read
  --env NAME=VALUE           a variable

  --trust                    run a .cwasm file whoever made it: it can do whatever the system can
  --trusted-key FILE         trust the public keys in this file too
  --fuel N                   let the program trap when it has consumed that much, about an instruction each
  --timeout TIME             end the program when it takes longer, compilation included: 500ms, 2s, 10m, 1h
  --no-cache                 compile even if it was compiled before, and keep nothing
  --cpu LEVEL                what code may use: baseline, x86-64-v2, x86-64-v3, or native: what this CPU has
                             (default); and features more or less, for example native,-avx2
  -O0, -O2, -Os              compile fast; make fast code (default); or make code fast and small
  --no-debug-info            leave out source files and lines (DWARF), which backtraces show otherwise
  --threads N                compile with N tasks; default: as many as the machine runs at once
  --max-compile-memory SIZE  give up when compiling takes more; default: 512M
  --max-function-size SIZE   refuse larger functions; default: 2M
  --max-memory SIZE          no linear memory may be or grow larger; default in the kernel: half
                             of the machine's memory, elsewhere what its type says
  --max-table N              no table may have more elements; default in the kernel: 1000000, elsewhere ten
                             times as many
  --max-memories N, --max-tables N, --max-instances N
                             no more of these; default: 10000 each
  --max-stack SIZE           what the program may use of its stack, 64M at most; default: 512K
  --help                     this text

Sizes are in bytes, or in K, M or G: 65536, 64K, 64KiB.
Status: the program's own; what is wrong with the file is 1, with the command line 2; 134 if it trapped,
124 if it took too long.
";

const COMPILE: &str = "\
usage: wasm_run compile [options] FILE

Compiles a .wasm or .wat file to a .cwasm file, which runs without the compiler.

  -o OUT                     where to write; default: the input's name with the extension .cwasm
  --fuel                     for wasm_run --fuel: count what is consumed
  --epochs                   for engines that interrupt by epochs: look at them
  --target NAME              x86_64-theseus or x86_64-linux; default: this system
  --cpu LEVEL                what code may use: baseline, x86-64-v2, x86-64-v3, or native: what this CPU has;
                             and features more or less, for example baseline,+sse4.1; default: native, or
                             baseline for another system
  -O0, -O2, -Os              compile fast; make fast code (default); or make code fast and small
  --no-debug-info            leave out source files and lines (DWARF), which backtraces show otherwise
  --threads N                compile with N tasks; default: as many as the machine runs at once
  --max-compile-memory SIZE  give up when compiling takes more; default: 512M
  --max-function-size SIZE   refuse larger functions; default: 2M
  --key FILE                 sign with this key; default: the system's own, made when it started, and on Linux
                             signing.key in $WASM_KEYS or ~/.config/wasm_run
  --no-sign                  do not sign: what is written runs only with --trust
  --help                     this text

What is written depends on the module, target, CPU and effort alone, but for the signature in the last
96 bytes: it is what wasmc writes for the same.
";

#[cfg(target_os = "linux")]
const INSPECT: &str = "\
usage: wasm_run inspect [options] FILE

Says what is in a .cwasm file, whatever system and CPU it is for. Nothing of it runs.

  --traps            list each instruction that may trap
  --disasm FUNCTION  show the machine code of a function instead; its name, export or number
  --help             this text
";

#[cfg(not(target_os = "linux"))]
const INSPECT: &str = "\
usage: wasm_run inspect [options] FILE

Says what is in a .cwasm file, whatever system and CPU it is for. Nothing of it runs.

  --traps  list each instruction that may trap
  --help   this text
";

#[cfg(target_os = "linux")]
const CACHE: &str = "\
usage: wasm_run cache [list | clear]

  list    what is kept of compiled modules, those used last first (default)
  clear   remove all of it
  --help  this text

It is in $XDG_CACHE_HOME/wasm_run or ~/.cache/wasm_run.
Who can write there can put code into programs that run.
";

#[cfg(not(target_os = "linux"))]
const CACHE: &str = "\
usage: wasm_run cache [list | clear]

  list    what is kept of compiled modules, those used last first (default)
  clear   remove all of it
  --help  this text

It is in /cache/wasm. Who can write there can put code into the kernel.
";
