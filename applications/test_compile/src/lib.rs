//! In-kernel tests of compiling WebAssembly: the compiler is loaded when it is needed and goes when it is not, makes the same bytes
//! as on Linux, keeps to its limits, ends when nobody wants its result any more, and leaves nothing behind.
//!
//! The sources of the guests (`guests/*.wat`) are in the image's `/guests`, beside what `wasmc` has made of them.
#![no_std]

extern crate alloc;

mod ends;
mod modules;
mod results;
mod wasm;

use alloc::{string::String, vec::Vec};

/// Runs the tests; 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "compile",
        &[
            ("the compiler is loaded when it is needed, and goes", modules::loaded_when_needed),
            ("a module is compiled from text and runs", results::from_text),
            ("every guest becomes the bytes that wasmc makes", results::same_bytes),
            ("any number of workers makes the same bytes", results::any_number_of_workers),
            ("several tasks compile at once", results::several_at_once),
            ("what is wrong with a module is said, and where", results::wrong_modules),
            ("adversarial modules are compiled or refused", results::adversarial_modules),
            ("to validate is not to compile", results::validation),
            ("a limit on memory is kept, and nothing stays", ends::limit_on_memory),
            ("a limit on functions is kept", ends::limit_on_functions),
            ("who compiles is killed", ends::requester_killed),
            ("who loads the compiler is killed", ends::killed_while_loading),
            ("a worker is killed", ends::worker_killed),
            ("who asks for progress panics", ends::progress_panics),
            ("other tasks go on while one compiles", ends::others_go_on),
            ("progress is reported in time", results::progress),
            ("10,000 modules leave nothing behind", modules::ten_thousand),
        ],
    )
}
