//! A fuzzer for the calls: random sequences of all functions, with arguments that are plausible or hostile.
//!
//! Whatever is called: it returns an error number of the specification, or ends the guest as `proc_exit` does, or because its time is over; it
//! changes the guest's memory at the places for results and nowhere else, and not at all if it fails; and nothing outside of the directory that
//! the guest was given changes. On Linux the same sequence is called on a tree in memory and on a directory of the host, with the
//! same outcome; and on a FAT file system, which is as it should be afterwards. A failure tells the seed and the call.

use super::harness::*;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use fs_node::{DirRef, FileOrDir, NewNode};
use memfs::MemFile;
use vfs_node::VFSDirectory;
use wasm_engine::{Module, Trap};
use wasm_wasi::pipe::MemoryInputPipe;
use wasm_wasi::{DirPerms, FilePerms, I32Exit, MODULE, WasiCtxBuilder, p0};

/// Calls in a sequence.
const CALLS: usize = 120;

/// The seed unless another one is given; those of the sequences follow from it.
pub const SEED: u64 = 0x5EED;

/// What the parameters of each function are:
///
/// | letter | parameters |
/// |---|---|
/// | `F` | a descriptor |
/// | `P` | a path: place, length |
/// | `I`, `O` | an array of parts that are filled (`I`) or passed on: place, number |
/// | `B`, `b` | bytes: place, length; `B` holds a result |
/// | `4` `8` `f` `s` | the place of a result of 4, 8, 24 or 64 bytes |
/// | `u` | an offset, a length or a time, 64 bits |
/// | `r` | rights |
/// | `L`, `o`, `d` | flags: for looking a path up, for opening it, of a descriptor |
/// | `n` | another small number: more flags, what to seek from, clocks |
/// | `G` | places for strings of which there are two: an array of pointers, bytes |
/// | `S` | subscriptions, events, their number |
const PARAMETERS: &[(&str, &str)] = &[
    ("args_get", "G"),
    ("args_sizes_get", "44"),
    ("environ_get", "G"),
    ("environ_sizes_get", "44"),
    ("clock_res_get", "n8"),
    ("clock_time_get", "nu8"),
    ("fd_advise", "Fuun"),
    ("fd_allocate", "Fuu"),
    ("fd_close", "F"),
    ("fd_datasync", "F"),
    ("fd_fdstat_get", "Ff"),
    ("fd_fdstat_set_flags", "Fd"),
    ("fd_fdstat_set_rights", "Frr"),
    ("fd_filestat_get", "Fs"),
    ("fd_filestat_set_size", "Fu"),
    ("fd_filestat_set_times", "Fuun"),
    ("fd_pread", "FIu4"),
    ("fd_prestat_get", "F8"),
    ("fd_prestat_dir_name", "FB"),
    ("fd_pwrite", "FOu4"),
    ("fd_read", "FI4"),
    ("fd_readdir", "FBu4"),
    ("fd_renumber", "FF"),
    ("fd_seek", "Fun8"),
    ("fd_sync", "F"),
    ("fd_tell", "F8"),
    ("fd_write", "FO4"),
    ("path_create_directory", "FP"),
    ("path_filestat_get", "FLPs"),
    ("path_filestat_set_times", "FLPuun"),
    ("path_link", "FLPFP"),
    ("path_open", "FLPorrd4"),
    ("path_readlink", "FPB4"),
    ("path_remove_directory", "FP"),
    ("path_rename", "FPFP"),
    ("path_symlink", "PFP"),
    ("path_unlink_file", "FP"),
    ("poll_oneoff", "S4"),
    ("proc_exit", "n"),
    ("proc_raise", "n"),
    ("random_get", "B"),
    ("sched_yield", ""),
    ("sock_accept", "Fn4"),
    ("sock_recv", "FIn44"),
    ("sock_send", "FOn4"),
    ("sock_shutdown", "Fn"),
];

/// Those that are called more often than the others: without them there is nothing for the others to work on.
const FREQUENT: &[&str] = &[
    "path_open",
    "path_open",
    "path_open",
    "path_open",
    "fd_write",
    "fd_pwrite",
    "fd_read",
    "fd_pread",
    "fd_seek",
    "path_create_directory",
    "path_rename",
    "path_rename",
    "path_link",
    "path_symlink",
    "path_unlink_file",
    "path_remove_directory",
    "path_filestat_get",
    "fd_readdir",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_allocate",
];

/// Those whose results are not the same twice, or depend on the file system.
const VARYING: &[&str] = &[
    "clock_time_get",
    "clock_res_get",
    "random_get",
    "fd_filestat_get",
    "path_filestat_get",
    "fd_readdir",
    "poll_oneoff",
];

/// Numbers that are mistakes most of the time.
const HOSTILE: &[i64] = &[
    0,
    1,
    3,
    7,
    MEMORY as i64 - 64,
    MEMORY as i64 - 8,
    MEMORY as i64 - 1,
    MEMORY as i64,
    MEMORY as i64 + 1,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_0000,
    0xFFFF_FFF8,
    0xFFFF_FFFF,
    -1,
    i64::MIN,
    i64::MAX,
];

/// A length that a file can have, if not much is in it.
const LARGE: i64 = 1 << 33;

/// Offsets and lengths, among them such that no file can have. Those between are left out: of these it depends on the file system.
const OFFSETS: &[i64] =
    &[0, 1, 2, 3, 5, 100, 4095, 4096, 65_536, 70_000, 1 << 20, LARGE, i64::MAX, i64::MAX - 1, -1, i64::MIN];

/// How many of the paths, the first ones, are plain.
const PLAIN: usize = 10;

/// Paths, and parts of paths.
const PATHS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "d/a",
    "d/b",
    "d/e",
    "d/e/f",
    "e/a",
    "s",
    "s/a",
    "s/",
    "t",
    "up",
    "up/secret",
    "up/../inside/a",
    "loop",
    "loop/x",
    ".",
    "..",
    "./a",
    "d/../b",
    "d/..",
    "d/../..",
    "d/../../outside/secret",
    "../outside/secret",
    "/",
    "/etc/passwd",
    "/a",
    "a/",
    "a/b",
    "d/",
    "d//a",
    "",
    "a\0b",
    "../inside/a",
    "s/../a",
    "d/.",
    "new",
    "n\u{e9}w",
    "...",
    "up/..",
    "d/s",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A call: what is put into the memory before, and the arguments.
struct Planned {
    name: &'static str,
    args: Vec<i64>,
    puts: Vec<(u32, Vec<u8>)>,
}

fn path(random: &mut Random) -> Vec<u8> {
    match random.below(24) {
        0 => b"a\xFF".to_vec(),
        1 => vec![b'n'; random.of(&[255, 256])],
        2 => b"d/../".repeat(random.of(&[10, 818, 820])),
        3 => [random.of(PATHS), "/", random.of(PATHS)].concat().into_bytes(),
        4..12 => random.of(&PATHS[..PLAIN]).as_bytes().to_vec(),
        _ => random.of(PATHS).as_bytes().to_vec(),
    }
}

fn plan(random: &mut Random) -> Planned {
    let name = if random.one_in(3) { random.of(PARAMETERS).0 } else { random.of(FREQUENT) };
    let parameters = PARAMETERS.iter().find(|(known, _)| *known == name).unwrap().1;
    let mut planned = Planned { name, args: Vec::new(), puts: Vec::new() };
    let Planned { args, puts, .. } = &mut planned;
    // Each place is one that is in the memory and free, or a wrong one.
    let mut free: u32 = 0x10;
    let mut place = |random: &mut Random, len: u32| {
        let at = free;
        free += len.next_multiple_of(16);
        if random.one_in(12) { random.of(HOSTILE) } else { i64::from(at) }
    };
    for letter in parameters.chars() {
        match letter {
            'F' => {
                // Mostly what it is for: a directory, or what was opened; and the directory stays open.
                let opened = 4 + random.below(4).min(random.below(5)) as i64;
                args.push(match random.below(24) {
                    0 => random.of(&[0, 1, 2]),
                    1 => random.of(HOSTILE),
                    2..5 => opened + 4,
                    5..9 if name.starts_with("path_") => opened,
                    _ if name.starts_with("path_") || name == "fd_readdir" => DIR,
                    9 if !["fd_close", "fd_renumber"].contains(&name) || random.one_in(10) => DIR,
                    _ => opened,
                });
            }
            'P' => {
                let path = path(random);
                let at = place(random, path.len() as u32);
                if let Ok(at @ 0..0x8000) = u32::try_from(at) {
                    puts.push((at, path.clone()));
                }
                args.extend([at, if random.one_in(20) { random.of(HOSTILE) } else { path.len() as i64 }]);
            }
            'I' | 'O' => {
                let count = random.below(5);
                let at = place(random, 8 * count as u32);
                let mut array = Vec::new();
                for _ in 0..count {
                    let wrong = random.one_in(12);
                    let start = if wrong { random.of(HOSTILE) } else { 0x8000 + random.below(0x8000) as i64 };
                    let len = random.of(&[0, 1, 2, 10, 100, 5000, 0x8000]);
                    let len = if random.one_in(20) { random.of(HOSTILE) } else { len };
                    array.extend([start as u32, len as u32].iter().flat_map(|number| number.to_le_bytes()));
                }
                if let Ok(at @ 0..0x8000) = u32::try_from(at) {
                    puts.push((at, array));
                }
                args.extend([at, if random.one_in(20) { random.of(HOSTILE) } else { count as i64 }]);
            }
            'B' | 'b' => {
                let len = random.of(&[0, 1, 3, 10, 24, 30, 100, 1000]);
                let at = place(random, len);
                args.extend([at, if random.one_in(12) { random.of(HOSTILE) } else { i64::from(len) }]);
            }
            '4' | '8' | 'f' | 's' => args.push(place(random, size(letter) as u32)),
            'u' => args.push(match random.of(OFFSETS) {
                // There may be room for it, or none.
                LARGE if name == "fd_allocate" => 0,
                offset => offset,
            }),
            'r' => args.push(match random.below(16) {
                0 => random.next() as i64,
                1 => random.next() as i64 & ALL,
                2 => 0,
                3..6 => ALL_READ,
                _ => ALL,
            }),
            'L' | 'o' | 'd' | 'n' if random.one_in(16) => args.push(random.of(HOSTILE)),
            'L' => args.push(random.of(&[0, FOLLOW])),
            'o' => args.push(match random.below(12) {
                0 => random.below(16) as i64,
                1 => CREAT | EXCL,
                2 => DIRECTORY,
                3 => TRUNC,
                4 => CREAT | TRUNC,
                5..9 => CREAT,
                _ => 0,
            }),
            'd' => args.push(match random.below(6) {
                0 => random.below(32) as i64,
                1 => APPEND,
                _ => 0,
            }),
            'n' if random.one_in(4) => args.push(random.below(32) as i64),
            'n' => args.push(random.below(4) as i64),
            'G' => args.extend([place(random, 8), place(random, 16)]),
            'S' => {
                let count = 1 + random.below(3);
                let mut subscriptions = Vec::new();
                for _ in 0..count {
                    let mut bytes = [0; 48];
                    bytes[..8].copy_from_slice(&random.next().to_le_bytes());
                    bytes[8] = random.of(&[0, 0, 0, 1, 2, 3]);
                    bytes[16] = random.below(8) as u8;
                    bytes[24..32].copy_from_slice(&random.of(&[0, 1, 1_000_000, u64::MAX]).to_le_bytes());
                    bytes[40] = random.of(&[0, 0, 1, 2]);
                    subscriptions.extend(bytes);
                }
                let (at, events) = (place(random, 144), place(random, 96));
                if let Ok(at @ 0..0x8000) = u32::try_from(at) {
                    puts.push((at, subscriptions));
                }
                args.extend([at, events, if random.one_in(12) { random.of(HOSTILE) } else { count as i64 }]);
            }
            other => panic!("{other} is no kind of parameter"),
        }
    }
    // No sequence ends early most of the time.
    if name == "proc_exit" && !random.one_in(4) {
        return plan(random);
    }
    planned
}

fn size(letter: char) -> u64 {
    match letter {
        '4' => 4,
        '8' => 8,
        'f' => 24,
        's' => 64,
        other => panic!("{other} is no result"),
    }
}

/// The places where a call may change the memory, which is as given.
fn results(planned: &Planned, memory: &[u8]) -> Vec<(u64, u64)> {
    let parameters = PARAMETERS.iter().find(|(known, _)| *known == planned.name).unwrap().1;
    let mut args = planned.args.iter().map(|arg| u64::from(*arg as u32));
    let mut next = || args.next().expect("as many arguments as parameters");
    let word = |at: u64| {
        let bytes = memory.get(at as usize..at as usize + 4)?;
        Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    };
    let mut places = Vec::new();
    for letter in parameters.chars() {
        match letter {
            'P' | 'O' | 'b' => _ = (next(), next()),
            'F' | 'u' | 'r' | 'L' | 'o' | 'd' | 'n' => _ = next(),
            'B' => places.push((next(), next())),
            'G' => places.extend([(next(), 8), (next(), 8)]),
            'I' => {
                let (at, count) = (next(), next());
                for index in 0..count.min(u64::from(MEMORY) / 8) {
                    if let (Some(start), Some(len)) = (word(at + index * 8), word(at + index * 8 + 4)) {
                        // What is read into the array itself says where the next bytes go.
                        let array = start < at + count * 8 && at < start + len;
                        places.push(if array { (0, u64::from(MEMORY)) } else { (start, len) });
                    }
                }
            }
            'S' => {
                next();
                let (events, count) = (next(), next());
                places.push((events, count * 32));
            }
            letter => places.push((next(), size(letter))),
        }
    }
    places
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Errno(i32),
    Exit(i32),
    Interrupted,
}

/// Where a sequence is called: a directory `inside`, which is given, beside one called `outside`, which is not.
pub enum Arena {
    /// A tree in memory.
    Tree(DirRef),
    /// A directory of Linux, removed afterwards.
    #[cfg(target_os = "linux")]
    Host(std::path::PathBuf),
}

const SECRET: &[u8] = b"nobody's business";

impl Arena {
    pub fn tree() -> Self {
        let root = VFSDirectory::create_root();
        VFSDirectory::create_new("inside", &root).unwrap();
        let outside = VFSDirectory::create_new("outside", &root).unwrap();
        MemFile::create_new("secret", &outside).unwrap().lock().write_at(SECRET, 0).unwrap();
        Arena::Tree(root)
    }

    /// The tree of an empty file system that makes its nodes itself.
    pub fn of(root: &DirRef) -> Self {
        let make =
            |dir: &DirRef, name: &str, node: NewNode<'_>| dir.lock().create(name, node).unwrap().unwrap();
        make(root, "inside", NewNode::Directory);
        let FileOrDir::Dir(outside) = make(root, "outside", NewNode::Directory) else {
            panic!("no directory")
        };
        let FileOrDir::File(secret) = make(&outside, "secret", NewNode::File) else { panic!("no file") };
        secret.lock().write_at(SECRET, 0).unwrap();
        Arena::Tree(root.clone())
    }

    #[cfg(target_os = "linux")]
    pub fn host() -> Self {
        // In memory, if there is such a place: a disk takes its time to make sure of what is written.
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let path = super::Ground::host_dir(&parent);
        std::fs::create_dir(path.join("inside")).unwrap();
        std::fs::create_dir(path.join("outside")).unwrap();
        std::fs::write(path.join("outside/secret"), SECRET).unwrap();
        Arena::Host(path)
    }

    fn guest(&self, module: &Module) -> Guest {
        let (dirs, files) = (DirPerms::all(), FilePerms::all());
        let mut builder = WasiCtxBuilder::new();
        builder.args(&["fuz", "z"]).env("A", "B").env("C", "D");
        builder.stdin(MemoryInputPipe::new(&b"some input"[..]));
        match self {
            Arena::Tree(root) => {
                let inside = root.lock().get_dir("inside").unwrap();
                builder.preopened_node(&inside, "dir", dirs, files).unwrap();
            }
            #[cfg(target_os = "linux")]
            Arena::Host(path) => {
                builder.preopened_dir(path.join("inside").to_str().unwrap(), "dir", dirs, files).unwrap();
            }
        }
        let mut guest = Guest::of(module.clone(), &mut builder);
        for (target, name) in [("d", "s"), ("a", "t"), ("../outside", "up"), ("loop", "loop")] {
            // Not every file system has links.
            assert!([0, NOTSUP].contains(&guest.symlink(target, name)));
        }
        assert_eq!(guest.at("path_create_directory", DIR, "d"), 0);
        guest.make("a", b"0123456789");
        guest.make("d/a", b"in d");
        // Something is open from the beginning.
        for (path, flags) in [("a", 0), ("b", CREAT), ("d", DIRECTORY), ("d/a", 0)] {
            assert!(guest.open(DIR, path, flags, if flags == DIRECTORY { ALL_READ } else { ALL }, 0).is_ok());
        }
        guest
    }

    /// What is outside: names, and what they hold.
    fn outside(&self) -> String {
        match self {
            Arena::Tree(root) => {
                let outside = root.lock().get_dir("outside").expect("it is there");
                let names = (root.lock().list(), outside.lock().list());
                let Some(FileOrDir::File(secret)) = outside.lock().get("secret") else {
                    return "gone".to_string();
                };
                let mut content = [0; 100];
                let count = secret.lock().read_at(&mut content, 0).unwrap();
                format!("{names:?} {:?}", &content[..count])
            }
            #[cfg(target_os = "linux")]
            Arena::Host(path) => {
                let names = |path: &std::path::Path| {
                    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
                    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
                    names.sort();
                    names
                };
                let content = std::fs::read(path.join("outside/secret")).unwrap_or_default();
                format!("{:?} {content:?}", (names(path), names(&path.join("outside"))))
            }
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Arena {
    fn drop(&mut self) {
        if let Arena::Host(path) = self {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// Calls one function, and checks all that can be checked.
fn call(guest: &mut Guest, planned: &Planned, shown: &dyn Fn() -> String) -> Outcome {
    for (at, bytes) in &planned.puts {
        guest.put(*at, bytes);
    }
    let before = guest.bytes(0, MEMORY as usize);
    // Of waits that would take for ever.
    let waits = planned.name == "poll_oneoff";
    guest.store.set_deadline(waits.then_some(Duration::from_millis(2)));
    let outcome = match guest.try_call(planned.name, &planned.args) {
        Ok(errno) => Outcome::Errno(errno),
        Err(error) => match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
            (Some(I32Exit(status)), _) if planned.name == "proc_exit" => Outcome::Exit(*status),
            (_, Some(Trap::Interrupt)) if waits => Outcome::Interrupted,
            _ => panic!("{}: {error:?}", shown()),
        },
    };
    guest.store.set_deadline(None);
    if let Outcome::Errno(errno) = outcome {
        assert!((0..=76).contains(&errno), "{}: {errno} is no error number", shown());
    }
    let mut after = guest.bytes(0, MEMORY as usize);
    if outcome == Outcome::Errno(0) || waits {
        for (start, len) in results(planned, &before) {
            let range = start.min(u64::from(MEMORY)) as usize..(start + len).min(u64::from(MEMORY)) as usize;
            after[range.clone()].copy_from_slice(&before[range]);
        }
    }
    if before != after {
        let at = before.iter().zip(&after).position(|(before, after)| before != after);
        panic!("{}: {outcome:?}, and the memory has changed at {at:x?}", shown());
    }
    outcome
}

/// Calls the sequence that `seed` stands for on all arenas, of which the outcomes must be the same.
fn sequence(seed: u64, arenas: &[Arena], module: &Module) {
    let mut random = Random(seed);
    let mut guests: Vec<Guest> = arenas.iter().map(|arena| arena.guest(module)).collect();
    let outside: Vec<String> = arenas.iter().map(Arena::outside).collect();
    let mut last = Vec::new();
    for number in 0..CALLS {
        let planned = plan(&mut random);
        if module.get_export(planned.name).is_none() {
            continue;
        }
        let shown = || {
            let puts: Vec<String> =
                planned.puts.iter().map(|(at, bytes)| format!("{at:#x}: {}", bytes.escape_ascii())).collect();
            format!("seed {seed:#x}, call {number}, {}{:x?} with {puts:?}", planned.name, planned.args)
        };
        let mut outcomes = Vec::new();
        for guest in &mut guests {
            outcomes.push(call(guest, &planned, &shown));
        }
        last.push(format!("{}: {:?}", shown(), outcomes[0]));
        let varies = VARYING.contains(&planned.name);
        // Whether it ended in time depends on the machine.
        if planned.name != "poll_oneoff" {
            for outcome in &outcomes[1..] {
                let calls = last[last.len().saturating_sub(20)..].join("\n");
                assert_eq!(outcome, &outcomes[0], "{}; before that:\n{calls}", shown());
            }
        }
        let memory = guests[0].bytes(0, MEMORY as usize);
        for guest in &mut guests[1..] {
            if varies {
                guest.put(0, &memory);
            } else {
                assert!(guest.bytes(0, MEMORY as usize) == memory, "{}: different results", shown());
            }
        }
        if matches!(outcomes[0], Outcome::Exit(_)) {
            break;
        }
    }
    drop(guests);
    for (arena, before) in arenas.iter().zip(outside) {
        assert_eq!(arena.outside(), before, "seed {seed:#x}: outside of the directory something has changed");
    }
}

/// The seed of a sequence.
fn seed_of(seed: u64, number: usize) -> u64 {
    if number == 0 { seed } else { Random(seed ^ number as u64).next() }
}

/// Calls `count` sequences, the first one with the seed itself. The memory of some is shared, and some are of `wasi_unstable`.
///
/// `on` is called for each, with a function that calls it on new arenas, and returns its seed.
pub fn run(seed: u64, count: usize, on: impl Fn(&dyn Fn(&[Arena]) -> u64)) {
    let (own, shared) = ("(memory (export \"memory\") 2 2)", "(memory (export \"memory\") 2 2 shared)");
    let modules = [(MODULE, own), (p0::MODULE, own), (MODULE, own), (MODULE, shared)]
        .map(|(from, memory)| Guest::module(from, memory));
    for number in 0..count {
        let seed = seed_of(seed, number);
        on(&|arenas| {
            sequence(seed, arenas, &modules[number % modules.len()]);
            seed
        });
    }
}
