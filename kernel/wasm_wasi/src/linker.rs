//! [`add_to_linker_sync`] and [`p0::add_to_linker_sync`].

use crate::calls::RANDOM_PIECE;
use crate::guest::Guest;
use crate::{Failure, Stop, WasiP1Ctx};
use wasm_engine::{Caller, Extern, Linker, Result};

/// The name of the module that guests import the functions from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// Which edition of the interface a guest was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edition {
    /// `wasi_unstable`: the same functions but for `sock_accept`, with other layouts of `filestat` and `subscription` and other numbers for `whence`.
    Unstable,
    /// `wasi_snapshot_preview1`.
    Preview1,
}

impl Edition {
    const fn module(self) -> &'static str {
        match self {
            Edition::Unstable => p0::MODULE,
            Edition::Preview1 => MODULE,
        }
    }

    fn has(self, function: &str) -> bool {
        self == Edition::Preview1 || function != "sock_accept"
    }
}

/// The edition before preview 1, called `wasi_unstable`, for programs of its time: on the same [`WasiP1Ctx`], which may serve guests of both.
pub mod p0 {
    use super::{Edition, Linker, Result, WasiP1Ctx};

    /// The name of the module that guests import the functions from.
    pub const MODULE: &str = "wasi_unstable";

    /// Defines the functions in `linker`, as [`add_to_linker_sync`](super::add_to_linker_sync) does.
    ///
    /// # Errors
    /// Fails if one of the names is defined already, or there is no memory.
    pub fn add_to_linker_sync<T: 'static>(
        linker: &mut Linker<T>,
        get: impl Fn(&mut T) -> &mut WasiP1Ctx + Send + Sync + Copy + 'static,
    ) -> Result<()> {
        super::define(linker, get, Edition::Unstable)
    }
}

/// What a function works with.
pub(crate) struct Call<'a> {
    pub(crate) ctx: &'a mut WasiP1Ctx,
    pub(crate) guest: Guest<'a>,
    pub(crate) stop: Stop,
    pub(crate) edition: Edition,
}

/// What comes of it.
pub(crate) type Outcome = Result<(), Failure>;

/// Calls a function with the memory that the guest exports as `memory`, if there is one; without, each pointer is
/// [`Errno::Fault`](crate::Errno::Fault).
fn enter<T: 'static>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx,
    edition: Edition,
    takes_time: bool,
    function: impl FnOnce(&mut Call<'_>) -> Outcome,
) -> Result<i32> {
    let left = if takes_time { caller.time_left() } else { None };
    let deadline = left.map(|left| {
        let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        wasm_platform::monotonic_nanos().saturating_add(left)
    });
    let stop = Stop { deadline };
    let outcome = match caller.memory_and_data_mut() {
        (Some(bytes), data) => {
            function(&mut Call { ctx: get(data), guest: Guest::Own(bytes), stop, edition })
        }
        (None, _) => without_own_memory(caller, get, stop, edition, function),
    };
    match outcome {
        Ok(()) => Ok(0),
        Err(Failure::Errno(errno)) => Ok(errno as i32),
        Err(Failure::End(error)) => Err(error),
    }
}

/// As [`enter`], for a guest whose memory is shared, or that exports none.
#[cold]
fn without_own_memory<T: 'static>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx,
    stop: Stop,
    edition: Edition,
    function: impl FnOnce(&mut Call<'_>) -> Outcome,
) -> Outcome {
    let memory = match caller.get_export("memory") {
        Some(Extern::SharedMemory(memory)) => Some(memory),
        _ => None,
    };
    let guest = match &memory {
        Some(memory) => Guest::Shared(memory.data()),
        None => Guest::Own(&mut []),
    };
    function(&mut Call { ctx: get(caller.data_mut()), guest, stop, edition })
}

/// Whether a function may take time: those that are `brief` are done at once, and never look whether the guest's time is over, for its end is
/// seen as soon as they return.
macro_rules! takes_time {
    () => {
        true
    };
    (brief) => {
        false
    };
    (brief if $condition:expr) => {
        !$condition
    };
}

macro_rules! functions {
    ($($name:ident($($arg:ident: $ty:ty),*) $($brief:ident $(if $condition:expr)?)?;)*) => {
        /// The functions that there are.
        pub const FUNCTIONS: &[&str] = &["proc_exit", $(stringify!($name)),*];

        /// Defines the functions in `linker`; `get` finds what they work with in a store's data.
        ///
        /// # Errors
        /// Fails if one of the names is defined already, or there is no memory.
        pub fn add_to_linker_sync<T: 'static>(
            linker: &mut Linker<T>,
            get: impl Fn(&mut T) -> &mut WasiP1Ctx + Send + Sync + Copy + 'static,
        ) -> Result<()> {
            define(linker, get, Edition::Preview1)
        }

        fn define<T: 'static>(
            linker: &mut Linker<T>,
            get: impl Fn(&mut T) -> &mut WasiP1Ctx + Send + Sync + Copy + 'static,
            edition: Edition,
        ) -> Result<()> {
            linker.func_wrap(edition.module(), "proc_exit", |status: i32| -> Result<()> {
                Err(wasm_engine::Error::new(crate::I32Exit(status)))
            })?;
            $(
                if edition.has(stringify!($name)) {
                    linker.func_wrap(
                        edition.module(),
                        stringify!($name),
                        move |mut caller: Caller<'_, T>, $($arg: $ty),*| -> Result<i32> {
                            let takes_time = takes_time!($($brief $(if $condition)?)?);
                            enter(&mut caller, get, edition, takes_time, move |call| call.$name($($arg),*))
                        },
                    )?;
                }
            )*
            Ok(())
        }
    };
}

functions! {
    args_get(pointers: u32, strings: u32);
    args_sizes_get(count: u32, size: u32) brief;
    environ_get(pointers: u32, strings: u32);
    environ_sizes_get(count: u32, size: u32) brief;
    clock_res_get(clock: u32, result: u32) brief;
    clock_time_get(clock: u32, precision: u64, result: u32) brief;
    fd_advise(fd: u32, offset: u64, len: u64, advice: u32) brief;
    fd_allocate(fd: u32, offset: u64, len: u64);
    fd_close(fd: u32) brief;
    fd_datasync(fd: u32);
    fd_fdstat_get(fd: u32, result: u32) brief;
    fd_fdstat_set_flags(fd: u32, flags: u32) brief;
    fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) brief;
    fd_filestat_get(fd: u32, result: u32) brief;
    fd_filestat_set_size(fd: u32, size: u64);
    fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32);
    fd_pread(fd: u32, array: u32, count: u32, offset: u64, result: u32);
    fd_prestat_get(fd: u32, result: u32) brief;
    fd_prestat_dir_name(fd: u32, path: u32, len: u32) brief;
    fd_pwrite(fd: u32, array: u32, count: u32, offset: u64, result: u32);
    fd_read(fd: u32, array: u32, count: u32, result: u32);
    fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, result: u32);
    fd_renumber(from: u32, to: u32) brief;
    fd_seek(fd: u32, offset: i64, whence: u32, result: u32) brief;
    fd_sync(fd: u32);
    fd_tell(fd: u32, result: u32) brief;
    fd_write(fd: u32, array: u32, count: u32, result: u32);
    path_create_directory(fd: u32, path: u32, len: u32);
    path_filestat_get(fd: u32, lookup: u32, path: u32, len: u32, result: u32);
    path_filestat_set_times(
        fd: u32, lookup: u32, path: u32, len: u32, accessed: u64, modified: u64, flags: u32
    );
    path_link(
        from: u32, lookup: u32, path: u32, len: u32, to: u32, new_path: u32, new_len: u32
    );
    path_open(
        fd: u32, lookup: u32, path: u32, len: u32, oflags: u32, base: u64, inheriting: u64, flags: u32, result: u32
    );
    path_readlink(fd: u32, path: u32, len: u32, buffer: u32, buffer_len: u32, result: u32);
    path_remove_directory(fd: u32, path: u32, len: u32);
    path_rename(from: u32, path: u32, len: u32, to: u32, new_path: u32, new_len: u32);
    path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
    path_unlink_file(fd: u32, path: u32, len: u32);
    poll_oneoff(subscriptions: u32, events: u32, count: u32, result: u32);
    proc_raise(signal: u32) brief;
    random_get(buffer: u32, len: u32) brief if len as usize <= RANDOM_PIECE;
    sched_yield();
    sock_accept(fd: u32, flags: u32, result: u32);
    sock_recv(fd: u32, array: u32, count: u32, flags: u32, result: u32, result_flags: u32);
    sock_send(fd: u32, array: u32, count: u32, flags: u32, result: u32);
    sock_shutdown(fd: u32, how: u32);
}
