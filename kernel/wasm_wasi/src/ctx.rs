//! What a guest is given: [`WasiCtxBuilder`], and what becomes of it, [`WasiP1Ctx`].

use crate::clocks::{HostMonotonicClock, HostWallClock, System};
use crate::fs::{DirHandle, KernelDir};
use crate::random::GuestRandom;
use crate::stdio::{Nothing, StdinStream, StdoutStream, inherited};
use crate::table::{Descriptor, Kind, Table};
use crate::types::{FdFlags, Rights};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use fs_node::DirRef;
use rand_core::Rng;
use wasm_engine::{Result, bail, format_err};

bitflags! {
    /// What may be done with a directory that is given, and those in it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct DirPerms: usize {
        /// It can be read: listed, and looked up in.
        const READ = 1;
        /// It can be changed: entries can be made, renamed and removed.
        const MUTATE = 2;
    }

    /// What may be done with the files in a directory that is given.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FilePerms: usize {
        /// They can be read.
        const READ = 1;
        /// They can be written.
        const WRITE = 2;
    }
}

/// The most bytes of all arguments or all variables together, as far as 32 bits can count them, with what stands for them in a guest's
/// memory.
const MAX_STRINGS: usize = 64 << 20;

/// A directory to be given.
struct Preopened {
    dir: DirHandle,
    guest_path: String,
    dir_perms: DirPerms,
    file_perms: FilePerms,
}

/// Collects what a guest is given. At first that is nothing: no arguments, no variables, no directories; input that is at its end, output that
/// goes nowhere; the system's clocks and random numbers.
pub struct WasiCtxBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Arc<dyn StdinStream>,
    stdout: Arc<dyn StdoutStream>,
    stderr: Arc<dyn StdoutStream>,
    preopens: Vec<Preopened>,
    wall_clock: Box<dyn HostWallClock>,
    monotonic_clock: Box<dyn HostMonotonicClock>,
    random: Box<dyn Rng + Send>,
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl WasiCtxBuilder {
    /// Of nothing.
    pub fn new() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            stdin: Arc::new(Nothing),
            stdout: Arc::new(Nothing),
            stderr: Arc::new(Nothing),
            preopens: Vec::new(),
            wall_clock: Box::new(System),
            monotonic_clock: Box::new(System),
            random: Box::new(GuestRandom::new()),
        }
    }

    /// Sets standard input.
    pub fn stdin(&mut self, stdin: impl StdinStream) -> &mut Self {
        self.stdin = Arc::new(stdin);
        self
    }

    /// Sets standard output.
    pub fn stdout(&mut self, stdout: impl StdoutStream) -> &mut Self {
        self.stdout = Arc::new(stdout);
        self
    }

    /// Sets standard error.
    pub fn stderr(&mut self, stderr: impl StdoutStream) -> &mut Self {
        self.stderr = Arc::new(stderr);
        self
    }

    /// Standard input is that of the current task or process.
    pub fn inherit_stdin(&mut self) -> &mut Self {
        self.stdin = inherited::stdin();
        self
    }

    /// Standard output is that of the current task or process.
    pub fn inherit_stdout(&mut self) -> &mut Self {
        self.stdout = inherited::stdout();
        self
    }

    /// Standard error is that of the current task or process.
    pub fn inherit_stderr(&mut self) -> &mut Self {
        self.stderr = inherited::stderr();
        self
    }

    /// All three are those of the current task or process.
    pub fn inherit_stdio(&mut self) -> &mut Self {
        self.inherit_stdin().inherit_stdout().inherit_stderr()
    }

    /// Adds an argument. The first one is the program's name.
    pub fn arg(&mut self, arg: impl AsRef<str>) -> &mut Self {
        self.args.push(arg.as_ref().to_string());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: &[impl AsRef<str>]) -> &mut Self {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Adds a variable.
    pub fn env(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> &mut Self {
        self.env.push((name.as_ref().to_string(), value.as_ref().to_string()));
        self
    }

    /// Adds variables.
    pub fn envs(&mut self, variables: &[(impl AsRef<str>, impl AsRef<str>)]) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Gives the directory at `host_path`, which the guest knows as `guest_path`.
    ///
    /// # Errors
    /// Says why it cannot be given: there is no such directory, or it is that of the kernel's own code.
    pub fn preopened_dir(
        &mut self,
        host_path: impl AsRef<str>,
        guest_path: impl AsRef<str>,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> Result<&mut Self> {
        let host_path = host_path.as_ref();
        let dir = open_dir(host_path).map_err(|reason| {
            format_err!("the directory `{host_path}` cannot be opened: {reason}; name one that is there")
        })?;
        self.add_dir(dir, guest_path.as_ref(), dir_perms, file_perms)
    }

    /// Gives a directory of the kernel's tree of files, or of one in memory, which the guest knows as `guest_path`.
    ///
    /// # Errors
    /// Fails if it is that of the kernel's own code.
    pub fn preopened_node(
        &mut self,
        dir: &DirRef,
        guest_path: impl AsRef<str>,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> Result<&mut Self> {
        let dir = KernelDir::new(dir.clone())
            .map_err(|_| format_err!("the kernel's own code is in this directory: give another one"))?;
        self.add_dir(Arc::new(dir), guest_path.as_ref(), dir_perms, file_perms)
    }

    fn add_dir(
        &mut self,
        dir: DirHandle,
        guest_path: &str,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> Result<&mut Self> {
        // Room is left for what the guest opens.
        const MOST: usize = crate::table::MAX_DESCRIPTORS / 2;
        if self.preopens.len() >= MOST {
            bail!("more than {MOST} directories are given; give one that contains them");
        }
        let guest_path = guest_path.to_string();
        self.preopens.push(Preopened { dir, guest_path, dir_perms, file_perms });
        Ok(self)
    }

    /// Sets the clock that tells the time of day.
    pub fn wall_clock(&mut self, clock: impl HostWallClock + 'static) -> &mut Self {
        self.wall_clock = Box::new(clock);
        self
    }

    /// Sets the clock that never goes back.
    pub fn monotonic_clock(&mut self, clock: impl HostMonotonicClock + 'static) -> &mut Self {
        self.monotonic_clock = Box::new(clock);
        self
    }

    /// Sets where random numbers come from.
    pub fn secure_random(&mut self, random: impl Rng + Send + 'static) -> &mut Self {
        self.random = Box::new(random);
        self
    }

    /// Makes what a store needs for the functions of preview 1. The builder is as new then.
    ///
    /// # Panics
    /// If an argument or a variable contains a NUL, or they are longer than 64 MiB together; see [`try_build_p1`](Self::try_build_p1).
    pub fn build_p1(&mut self) -> WasiP1Ctx {
        self.try_build_p1().expect("arguments or variables that no program can have")
    }

    /// As [`build_p1`](Self::build_p1).
    ///
    /// # Errors
    /// Fails if an argument or a variable contains a NUL, or they are longer than 64 MiB together.
    pub fn try_build_p1(&mut self) -> Result<WasiP1Ctx> {
        let Self { args, env, stdin, stdout, stderr, preopens, wall_clock, monotonic_clock, random } =
            core::mem::take(self);
        let variables = env.iter().map(|(name, value)| format!("{name}={value}"));
        let (args, env) = (strings("argument", args.into_iter())?, strings("variable", variables)?);
        let mut table = Table::default();
        let stream =
            |kind, rights| Descriptor { kind, rights, inheriting: Rights::empty(), flags: FdFlags::empty() };
        let mut descriptors = Vec::new();
        descriptors.push(stream(Kind::Input(stdin), Rights::INPUT));
        descriptors.push(stream(Kind::Output(stdout), Rights::OUTPUT));
        descriptors.push(stream(Kind::Output(stderr), Rights::OUTPUT));
        descriptors.extend(preopens.into_iter().map(preopen));
        for descriptor in descriptors {
            table.insert(descriptor)?;
        }
        Ok(WasiP1Ctx { args, env, table, wall_clock, monotonic_clock, random })
    }
}

/// The descriptor of a directory that is given.
fn preopen(preopened: Preopened) -> Descriptor {
    let Preopened { dir, guest_path, dir_perms, file_perms } = preopened;
    let mut rights = Rights::empty();
    let mut of_files = Rights::empty();
    if dir_perms.contains(DirPerms::READ) {
        rights |= Rights::DIR_READ;
    }
    if dir_perms.contains(DirPerms::MUTATE) {
        rights |= Rights::DIR_MUTATE;
    }
    if file_perms.contains(FilePerms::READ) {
        of_files |= Rights::FILE_READ;
    }
    if file_perms.contains(FilePerms::WRITE) {
        of_files |= Rights::FILE_WRITE;
        rights |= Rights::PATH_FILESTAT_SET_SIZE;
    }
    Descriptor {
        kind: Kind::Dir { dir, preopen: Some(guest_path), listing: None },
        rights,
        inheriting: rights | of_files,
        flags: FdFlags::empty(),
    }
}

/// Strings as a guest gets them: each followed by a NUL.
fn strings(what: &str, strings: impl Iterator<Item = String>) -> Result<Vec<Box<[u8]>>> {
    let mut all = Vec::new();
    let mut total = 0;
    for string in strings {
        if string.contains('\0') {
            bail!("an {what} contains a NUL, which ends it for the program; leave it out", what = what);
        }
        // And a pointer to each.
        total += string.len() + 1 + 4;
        if total > MAX_STRINGS {
            bail!("the {what}s are longer than 64 MiB; give fewer");
        }
        let mut bytes = string.into_bytes();
        bytes.push(0);
        all.push(bytes.into_boxed_slice());
    }
    Ok(all)
}

/// Opens a directory of the tree of files; a path that is relative begins at the task's working directory.
#[cfg(target_os = "theseus")]
fn open_dir(path: &str) -> Result<DirHandle, String> {
    use fs_node::{FileOrDir, FsError};
    let cwd = app_io::working_dir()?;
    let node = path::Path::new(path).resolve(&cwd).map_err(|error| error.to_string())?;
    let FileOrDir::Dir(dir) = node else { return Err(FsError::NotADirectory.to_string()) };
    let dir = KernelDir::new(dir).map_err(|_| "the kernel's own code is there".to_string())?;
    Ok(Arc::new(dir))
}

/// Opens a directory of the host.
#[cfg(target_os = "linux")]
fn open_dir(path: &str) -> Result<DirHandle, String> {
    let dir = crate::fs::HostDir::open(path).map_err(|error| error.to_string())?;
    Ok(Arc::new(dir))
}

/// What the functions of preview 1 know of a guest. It belongs into the data of the guest's store.
pub struct WasiP1Ctx {
    /// Each ends with a NUL.
    pub(crate) args: Vec<Box<[u8]>>,
    /// `NAME=VALUE`, each ends with a NUL.
    pub(crate) env: Vec<Box<[u8]>>,
    pub(crate) table: Table,
    pub(crate) wall_clock: Box<dyn HostWallClock>,
    pub(crate) monotonic_clock: Box<dyn HostMonotonicClock>,
    pub(crate) random: Box<dyn Rng + Send>,
}
