//! [`Foreground`]: the programs that Ctrl-C ends.

use alloc::sync::Arc;
use alloc::vec::Vec;
use task::{KillReason, TaskRef};
use tty::{Event, EventHandler, LineDiscipline};

/// While this exists, Ctrl-C on a terminal ends certain tasks, and all tasks of the same programs: see [`end_program`]. Then whoever was told about the terminal's events before is again.
///
/// It is here and not in a shell because the terminal calls the handler whenever a key is pressed, and a shell's code may be unloaded.
pub struct Foreground {
    discipline: Arc<LineDiscipline>,
    former: Option<EventHandler>,
}

impl Foreground {
    /// Lets Ctrl-C on the terminal of `discipline` end `tasks` and their programs. That includes one that was pressed while nobody was told about it:
    /// since the terminal's events were cleared, while the program was being loaded, say.
    pub fn new<'t>(discipline: Arc<LineDiscipline>, tasks: impl IntoIterator<Item = &'t TaskRef>) -> Self {
        let tasks: Vec<_> = tasks.into_iter().map(TaskRef::downgrade).collect();
        let handler: EventHandler = Arc::new(move |event| {
            if event == Event::CtrlC {
                tasks.iter().filter_map(|task| task.upgrade()).for_each(|task| end_program(&task));
            }
        });
        let former = discipline.set_event_handler(Some(handler.clone()));
        while let Some(event) = discipline.take_event() {
            handler(event);
        }
        Self { discipline, former }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let own = self.discipline.set_event_handler(self.former.take());
        drop(own);
    }
}

/// Asks `task` to end, and all tasks that are part of the same application: of the same run of it, which has a crate of its own. Those are
/// the ones that it started and that are no programs of their own.
pub fn end_program(task: &TaskRef) {
    // A task that has ended can't be killed, and need not be.
    let _ = task.kill(KillReason::Requested);
    let Some(program) = &task.app_crate else { return };
    for (_, other) in task::all_tasks() {
        if let Some(other) = other.upgrade()
            && other.app_crate.as_ref().is_some_and(|of_other| Arc::ptr_eq(of_other, program))
        {
            let _ = other.kill(KillReason::Requested);
        }
    }
}
