//! On a Linux host a task is a thread of the standard library, and is never killed.

/// A thread that waits, or is about to.
pub struct Waiting(std::thread::Thread);

impl Waiting {
    pub fn current() -> Self {
        Waiting(std::thread::current())
    }

    /// Sleeps unless `token` already says otherwise. `Thread::unpark` has a token of its own, so nothing is lost
    /// between the look and the sleep.
    pub fn sleep(&self, token: impl Fn() -> bool) {
        if !token() {
            std::thread::park();
        }
    }

    pub fn wake(&self) {
        self.0.unpark();
    }
}

/// Threads are not killed.
pub fn exit_if_killed() {}
