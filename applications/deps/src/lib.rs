//! `deps`: shows which crates a loaded crate was linked with, and which were linked with it.
//!
//! Usage: `deps CRATE`, with the crate's name as `ns` shows it; the hash may be left out if the name is clear without.
#![no_std]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use app_io::{eprintln, println};
use mod_mgmt::{StrongCrateRef, WeakCrateRef, all_crates};

/// Prints what the crate in the arguments needs and what needs it.
pub fn main(args: Vec<String>) -> isize {
    let [name] = &args[..] else {
        eprintln!("usage: deps CRATE (`ns` lists the crates)");
        return 2;
    };
    let mut found: Vec<StrongCrateRef> = all_crates();
    found.retain(|krate| *krate.crate_name == **name || krate.crate_name_without_hash() == name);
    match &found[..] {
        [krate] => {
            println!("{} needs:", krate.crate_name);
            print_crates(&krate.crates_i_depend_on());
            println!("{} is needed by:", krate.crate_name);
            print_crates(&krate.crates_dependent_on_me());
            0
        }
        [] => {
            eprintln!("deps: no crate called {name} is loaded; `ns` lists those that are");
            1
        }
        several => {
            let names: Vec<&str> = several.iter().map(|krate| &*krate.crate_name).collect();
            eprintln!("deps: {name} may be any of {}; add the hash", names.join(", "));
            1
        }
    }
}

fn print_crates(crates: &[WeakCrateRef]) {
    let crates: Vec<StrongCrateRef> = crates.iter().filter_map(WeakCrateRef::upgrade).collect();
    let mut names: Vec<&str> = crates.iter().map(|krate| &*krate.crate_name).collect();
    names.sort_unstable();
    if names.is_empty() {
        println!("  no crate");
    }
    for name in names {
        println!("  {name}");
    }
}
