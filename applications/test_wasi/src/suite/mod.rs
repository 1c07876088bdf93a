//! Tests of WASI that are the same in the kernel and on Linux: a guest that calls the functions, and what must come of it.
//!
//! Each takes a directory that it has for itself: a tree of the kernel's files, or on Linux one of the host too.

pub mod escapes;
pub mod files;
pub mod fuzz;
pub mod harness;
pub mod hostile;
pub mod links;
pub mod surroundings;
pub mod unstable;
pub mod waiting;

pub use harness::Ground;

macro_rules! tests {
    ($($name:literal: $test:path;)*) => {
        /// The tests: names, and what they do.
        pub const TESTS: &[(&str, fn(&Ground))] = &[$(($name, $test)),*];

        /// The same, each in a tree of its own.
        pub const IN_TREES: &[(&str, fn())] = &[$(($name, || $test(&Ground::tree()))),*];
    };
}

tests! {
    "arguments and variables": surroundings::arguments;
    "clocks and random numbers": surroundings::clocks_and_random_numbers;
    "ends and signals": surroundings::ends;
    "standard streams": surroundings::streams;
    "sockets": surroundings::sockets;
    "directories that are given": surroundings::preopens;
    "files are made, read and written": files::contents;
    "files are opened as asked": files::opening;
    "positions": files::positions;
    "sizes, holes and room": files::sizes;
    "appending": files::appending;
    "times": files::times;
    "files outlive their names": files::unlinked;
    "directories": files::directories;
    "directories are listed with cookies": files::listing;
    "names are replaced": files::renaming;
    "descriptors": files::descriptors;
    "rights": files::rights;
    "read-only directories": files::read_only;
    "symbolic links": links::symbolic;
    "hard links": links::hard;
    "paths that are none": links::bad_paths;
    "no way out": escapes::no_way_out;
    "no way out by what is moved": escapes::moved;
    "bad pointers and numbers": hostile::arguments;
    "bad arrays": hostile::arrays;
    "no memory at all": hostile::no_memory;
    "a shared memory": hostile::shared_memory;
    "waiting for clocks": waiting::clocks;
    "waiting for files and streams": waiting::descriptors;
    "deadlines end calls": waiting::deadlines;
    "a deadline ends the reading of a directory": waiting::deadline_of_a_listing;
    "wasi_unstable: positions and files": unstable::differences;
    "wasi_unstable: waiting": unstable::waiting;
    "wasi_unstable: functions": unstable::functions;
}
