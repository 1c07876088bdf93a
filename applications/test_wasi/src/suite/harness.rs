//! A guest that passes on each call to the function of WASI of that name, and its memory.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use fs_node::DirRef;
use wasm_engine::{Config, Engine, Error, Extern, Instance, Linker, Module, Result, Store, Val};
use wasm_wasi::{DirPerms, FilePerms, WasiCtxBuilder, WasiP1Ctx, add_to_linker_sync, p0};

/// All functions of preview 1 with their parameters: `i` has 32 bits, `I` 64.
pub const SIGNATURES: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

// Error numbers of the specification.
pub const BADF: i32 = 8;
pub const EXIST: i32 = 20;
pub const FAULT: i32 = 21;
pub const FBIG: i32 = 22;
pub const ILSEQ: i32 = 25;
pub const INVAL: i32 = 28;
pub const ISDIR: i32 = 31;
pub const LOOP: i32 = 32;
pub const MFILE: i32 = 33;
pub const NAMETOOLONG: i32 = 37;
pub const NOENT: i32 = 44;
pub const NOSPC: i32 = 51;
pub const NOTDIR: i32 = 54;
pub const NOTEMPTY: i32 = 55;
pub const NOTSOCK: i32 = 57;
pub const NOTSUP: i32 = 58;
pub const PERM: i32 = 63;
pub const SPIPE: i32 = 70;
pub const NOTCAPABLE: i32 = 76;

// Flags of the specification.
pub const FOLLOW: i64 = 1;
pub const CREAT: i64 = 1;
pub const DIRECTORY: i64 = 2;
pub const EXCL: i64 = 4;
pub const TRUNC: i64 = 8;
pub const APPEND: i64 = 1;
pub const READ: i64 = 1 << 1;
pub const WRITE: i64 = 1 << 6;
/// All rights that there are.
pub const ALL: i64 = (1 << 30) - 1;
/// All rights but to write a file, as a program asks for that only reads.
pub const ALL_READ: i64 = ALL & !(WRITE | 1 | 1 << 8 | 1 << 22);

/// The first directory that a guest was given.
pub const DIR: i64 = 3;

/// Where the harness puts what it passes: paths, arrays, buffers. The guest's memory has two pages.
const PATH: u32 = 0x100;
const PATH_2: u32 = 0x2100;
const ARRAY: u32 = 0x80;
pub const RESULT: u32 = 0x10;
pub const BUFFER: u32 = 0x8000;
/// Bytes of the guest's memory.
pub const MEMORY: u32 = 0x20000;

/// A directory for one test.
pub enum Ground {
    /// A tree of files of its own.
    Tree(DirRef),
    /// A directory of Linux, removed afterwards.
    #[cfg(target_os = "linux")]
    Host(std::path::PathBuf),
}

impl Ground {
    pub fn tree() -> Self {
        Ground::Tree(vfs_node::VFSDirectory::create_root())
    }

    #[cfg(target_os = "linux")]
    pub fn host() -> Self {
        Ground::Host(Self::host_dir(&std::env::temp_dir()))
    }

    /// A new directory in `parent`.
    #[cfg(target_os = "linux")]
    pub fn host_dir(parent: &std::path::Path) -> std::path::PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("wasm_wasi-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Gives it to a guest as `name`.
    pub fn give(&self, builder: &mut WasiCtxBuilder, name: &str, dirs: DirPerms, files: FilePerms) {
        match self {
            Ground::Tree(dir) => builder.preopened_node(dir, name, dirs, files).unwrap(),
            #[cfg(target_os = "linux")]
            Ground::Host(path) => builder.preopened_dir(path.to_str().unwrap(), name, dirs, files).unwrap(),
        };
    }
}

#[cfg(target_os = "linux")]
impl Drop for Ground {
    fn drop(&mut self) {
        if let Ground::Host(path) = self {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// The guest.
pub struct Guest {
    module: Module,
    pub store: Store<WasiP1Ctx>,
    pub instance: Instance,
}

/// The functions of a module: `wasi_unstable` has one fewer.
fn functions_of(from: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let unstable = from == p0::MODULE;
    SIGNATURES.iter().filter(move |(name, _)| !unstable || *name != "sock_accept")
}

/// The module: for each function an import and an export that calls it.
fn text(from: &str, memory: &str) -> String {
    let mut imports = String::new();
    let mut exports = String::new();
    for (name, signature) in functions_of(from) {
        let types: Vec<&str> =
            signature.chars().map(|letter| if letter == 'i' { "i32" } else { "i64" }).collect();
        let params = if types.is_empty() { String::new() } else { format!("(param {})", types.join(" ")) };
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        let args: String = (0..types.len()).map(|index| format!("(local.get {index})")).collect();
        imports += &format!("(import \"{from}\" \"{name}\" (func ${name} {params} {result}))\n");
        exports += &format!("(func (export \"{name}\") {params} {result} (call ${name} {args}))\n");
    }
    format!("(module {imports} {memory} {exports})")
}

impl Guest {
    /// With what `builder` has.
    pub fn new(builder: &mut WasiCtxBuilder) -> Self {
        Self::with_memory(builder, "(memory (export \"memory\") 2 2)")
    }

    pub fn with_memory(builder: &mut WasiCtxBuilder, memory: &str) -> Self {
        Self::importing(wasm_wasi::MODULE, builder, memory)
    }

    /// For `wasi_unstable`.
    pub fn unstable(builder: &mut WasiCtxBuilder) -> Self {
        Self::importing(p0::MODULE, builder, "(memory (export \"memory\") 2 2)")
    }

    fn importing(from: &str, builder: &mut WasiCtxBuilder, memory: &str) -> Self {
        Self::of(Self::module(from, memory), builder)
    }

    /// The guest's module, of which guests can be made [`of`](Self::of).
    pub fn module(from: &str, memory: &str) -> Module {
        let mut config = Config::new();
        config.shared_memory(true);
        let engine = Engine::new(&config).unwrap();
        Module::new(&engine, text(from, memory)).unwrap()
    }

    pub fn of(module: Module, builder: &mut WasiCtxBuilder) -> Self {
        let engine = module.engine();
        let mut linker: Linker<WasiP1Ctx> = Linker::new(engine);
        add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
        p0::add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
        let mut store = Store::new(engine, builder.build_p1());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        Self { module, store, instance }
    }

    /// As new, on `ground`.
    pub fn renew(&mut self, ground: &Ground) {
        let mut builder = WasiCtxBuilder::new();
        ground.give(&mut builder, "dir", DirPerms::all(), FilePerms::all());
        *self = Self::of(self.module.clone(), &mut builder);
    }

    /// With `ground`, and all rights to it, as its one directory, 3.
    pub fn on(ground: &Ground) -> Self {
        let mut builder = WasiCtxBuilder::new();
        ground.give(&mut builder, "dir", DirPerms::all(), FilePerms::all());
        Self::new(&mut builder)
    }

    /// Calls a function.
    pub fn try_call(&mut self, name: &str, args: &[i64]) -> Result<i32> {
        let (_, signature) = SIGNATURES.iter().find(|(known, _)| *known == name).unwrap();
        assert_eq!(signature.len(), args.len(), "{name}");
        let args: Vec<Val> = signature
            .chars()
            .zip(args)
            .map(|(letter, arg)| if letter == 'i' { Val::I32(*arg as i32) } else { Val::I64(*arg) })
            .collect();
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let mut results = vec![Val::I32(-1); usize::from(name != "proc_exit")];
        function.call(&mut self.store, &args, &mut results)?;
        Ok(results[0].unwrap_i32())
    }

    /// Calls a function that returns.
    #[track_caller]
    pub fn call(&mut self, name: &str, args: &[i64]) -> i32 {
        match self.try_call(name, args) {
            Ok(errno) => errno,
            Err(error) => panic!("{name}{args:?}: {error:?}"),
        }
    }

    /// Calls a function that succeeds.
    #[track_caller]
    pub fn ok(&mut self, name: &str, args: &[i64]) {
        assert_eq!(self.call(name, args), 0, "{name}{args:?}");
    }

    pub fn bytes(&mut self, at: u32, len: usize) -> Vec<u8> {
        let at = at as usize;
        match self.instance.get_export(&mut self.store, "memory").unwrap() {
            Extern::Memory(memory) => memory.data(&self.store)[at..at + len].to_vec(),
            Extern::SharedMemory(memory) => {
                let bytes = memory.data()[at..at + len].iter();
                // SAFETY: nobody else uses it now.
                bytes.map(|byte| unsafe { *byte.get() }).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        let at = at as usize;
        match self.instance.get_export(&mut self.store, "memory").unwrap() {
            Extern::Memory(memory) => {
                memory.data_mut(&mut self.store)[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Extern::SharedMemory(memory) => {
                for (place, byte) in memory.data()[at..].iter().zip(bytes) {
                    // SAFETY: nobody else uses it now.
                    unsafe { *place.get() = *byte };
                }
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn u32(&mut self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    pub fn u64(&mut self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    /// Puts an array of `iovec` at its place.
    pub fn array(&mut self, elements: &[(u32, u32)]) {
        for (index, (start, len)) in (0..).zip(elements) {
            self.put(ARRAY + index * 8, &start.to_le_bytes());
            self.put(ARRAY + index * 8 + 4, &len.to_le_bytes());
        }
    }

    fn path(&mut self, path: &str) -> [i64; 2] {
        self.put(PATH, path.as_bytes());
        [i64::from(PATH), path.len() as i64]
    }

    fn path_2(&mut self, path: &str) -> [i64; 2] {
        self.put(PATH_2, path.as_bytes());
        [i64::from(PATH_2), path.len() as i64]
    }

    /// `path_open`, with the rights given and as many to inherit; follows links.
    pub fn open(&mut self, dir: i64, path: &str, oflags: i64, rights: i64, flags: i64) -> Result<i64, i32> {
        self.open_at(dir, path, FOLLOW, oflags, rights, flags)
    }

    pub fn open_at(
        &mut self,
        dir: i64,
        path: &str,
        lookup: i64,
        oflags: i64,
        rights: i64,
        flags: i64,
    ) -> Result<i64, i32> {
        let [path, len] = self.path(path);
        let args = [dir, lookup, path, len, oflags, rights, ALL, flags, i64::from(RESULT)];
        match self.call("path_open", &args) {
            0 => Ok(i64::from(self.u32(RESULT))),
            errno => Err(errno),
        }
    }

    /// Makes a file with this content.
    #[track_caller]
    pub fn make(&mut self, path: &str, content: &[u8]) {
        let fd = self.open(DIR, path, CREAT | TRUNC, ALL, 0).unwrap();
        assert_eq!(self.write(fd, content), Ok(content.len() as u32));
        self.ok("fd_close", &[fd]);
    }

    /// The content of a file.
    pub fn content(&mut self, path: &str) -> Result<Vec<u8>, i32> {
        let fd = self.open(DIR, path, 0, ALL_READ, 0)?;
        let content = self.read(fd, 0x4000);
        self.ok("fd_close", &[fd]);
        content
    }

    pub fn write(&mut self, fd: i64, bytes: &[u8]) -> Result<u32, i32> {
        self.put(BUFFER, bytes);
        self.array(&[(BUFFER, bytes.len() as u32)]);
        match self.call("fd_write", &[fd, i64::from(ARRAY), 1, i64::from(RESULT)]) {
            0 => Ok(self.u32(RESULT)),
            errno => Err(errno),
        }
    }

    pub fn read(&mut self, fd: i64, len: u32) -> Result<Vec<u8>, i32> {
        self.array(&[(BUFFER, len)]);
        match self.call("fd_read", &[fd, i64::from(ARRAY), 1, i64::from(RESULT)]) {
            0 => {
                let count = self.u32(RESULT) as usize;
                Ok(self.bytes(BUFFER, count))
            }
            errno => Err(errno),
        }
    }

    pub fn pwrite(&mut self, fd: i64, bytes: &[u8], offset: i64) -> Result<u32, i32> {
        self.put(BUFFER, bytes);
        self.array(&[(BUFFER, bytes.len() as u32)]);
        match self.call("fd_pwrite", &[fd, i64::from(ARRAY), 1, offset, i64::from(RESULT)]) {
            0 => Ok(self.u32(RESULT)),
            errno => Err(errno),
        }
    }

    pub fn pread(&mut self, fd: i64, len: u32, offset: i64) -> Result<Vec<u8>, i32> {
        self.array(&[(BUFFER, len)]);
        match self.call("fd_pread", &[fd, i64::from(ARRAY), 1, offset, i64::from(RESULT)]) {
            0 => {
                let count = self.u32(RESULT) as usize;
                Ok(self.bytes(BUFFER, count))
            }
            errno => Err(errno),
        }
    }

    /// Calls a function whose first parameters are a directory and a path.
    pub fn at(&mut self, name: &str, dir: i64, path: &str) -> i32 {
        let [path, len] = self.path(path);
        self.call(name, &[dir, path, len])
    }

    /// `path_filestat_get`: type, links, size.
    pub fn stat(&mut self, path: &str, lookup: i64) -> Result<(u8, u64, u64), i32> {
        let [path, len] = self.path(path);
        match self.call("path_filestat_get", &[DIR, lookup, path, len, i64::from(BUFFER)]) {
            0 => Ok((self.bytes(BUFFER + 16, 1)[0], self.u64(BUFFER + 24), self.u64(BUFFER + 32))),
            errno => Err(errno),
        }
    }

    pub fn rename(&mut self, from: i64, path: &str, to: i64, new_path: &str) -> i32 {
        let ([path, len], [new_path, new_len]) = (self.path(path), self.path_2(new_path));
        self.call("path_rename", &[from, path, len, to, new_path, new_len])
    }

    pub fn link(&mut self, path: &str, new_path: &str) -> i32 {
        let ([path, len], [new_path, new_len]) = (self.path(path), self.path_2(new_path));
        self.call("path_link", &[DIR, 0, path, len, DIR, new_path, new_len])
    }

    pub fn symlink(&mut self, target: &str, path: &str) -> i32 {
        let ([target, target_len], [path, len]) = (self.path(target), self.path_2(path));
        self.call("path_symlink", &[target, target_len, DIR, path, len])
    }

    pub fn readlink(&mut self, path: &str, room: u32) -> Result<String, i32> {
        let [path, len] = self.path(path);
        let args = [DIR, path, len, i64::from(BUFFER), i64::from(room), i64::from(RESULT)];
        match self.call("path_readlink", &args) {
            0 => {
                let count = self.u32(RESULT) as usize;
                Ok(String::from_utf8(self.bytes(BUFFER, count)).unwrap())
            }
            errno => Err(errno),
        }
    }

    /// The names in a directory with their types, read with a buffer of `room` bytes.
    pub fn names(&mut self, fd: i64, room: u32) -> Vec<(String, u8)> {
        let mut names = Vec::new();
        let mut cookie = 0;
        loop {
            let args = [fd, i64::from(BUFFER), i64::from(room), cookie, i64::from(RESULT)];
            self.ok("fd_readdir", &args);
            let used = self.u32(RESULT);
            let mut at = 0;
            while at + 24 <= used {
                let len = self.u32(BUFFER + at + 16);
                if at + 24 + len > used {
                    break;
                }
                let name = self.bytes(BUFFER + at + 24, len as usize);
                let file_type = self.bytes(BUFFER + at + 20, 1)[0];
                cookie = self.u64(BUFFER + at) as i64;
                names.push((String::from_utf8(name).unwrap(), file_type));
                at += 24 + len;
            }
            if used < room {
                return names;
            }
        }
    }
}

/// The status in an error.
pub fn exit_status(error: &Error) -> i32 {
    error.downcast_ref::<wasm_wasi::I32Exit>().unwrap_or_else(|| panic!("{error:?}")).0
}

/// Names as one line.
pub fn joined(names: &[(String, u8)]) -> String {
    let names: Vec<String> = names.iter().map(|(name, kind)| format!("{name}:{kind}")).collect();
    names.join(" ").to_string()
}
