//! One compilation: what its workers share, and what each does.

use crate::text;
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::sync::atomic::{AtomicUsize, Ordering};
use spin::{Mutex, Once};
use wasm_artifact::compile::{
    CompileError, CompileErrorKind, CompileLimits, CompileRequest, Progress, Settings,
};
use wasm_compiler::{CompiledJob, Compiler, ModuleTranslation, Scratch};
use wasm_platform::{Budget, WorkersError};

/// Less input than this, in bytes of function bodies, does not make it worthwhile to start more workers: compiling that much
/// takes about as long as starting some.
const WORTH_A_WORKER: usize = 4 << 10;

/// What is to be done with a module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Check that it is valid.
    Validate,
    /// Make an artifact of it.
    Compile,
}

/// A module that was read.
struct Translated<'a> {
    compiler: Compiler,
    module: ModuleTranslation<'a>,
    /// Jobs, the largest first, so that no worker begins with a large one when the others are done.
    order: Vec<u32>,
    /// Bytes of all function bodies.
    size: usize,
}

/// What the workers of one compilation share. It lives with who asked for it.
pub(crate) struct Compilation<'a> {
    input: &'a [u8],
    accept_text: bool,
    settings: Settings,
    limits: CompileLimits,
    tasks: usize,
    task: Task,
    budget: &'a Budget,
    /// The module in the binary format, if it was given as text.
    binary: &'a Once<Vec<u8>>,
    translated: Once<Translated<'a>>,
    /// How many jobs of the order were taken.
    taken: AtomicUsize,
    /// How many jobs are done.
    done: AtomicUsize,
    /// The lowest number of a job that has failed so far, and `usize::MAX` before.
    first_failed: AtomicUsize,
    /// Its number and its error.
    error: Mutex<Option<(usize, CompileError)>>,
    /// What each worker has compiled, with the numbers of the jobs.
    compiled: Mutex<Vec<Vec<(u32, CompiledJob)>>>,
    artifact: Once<Vec<u8>>,
}

impl<'a> Compilation<'a> {
    /// What `request` asks for. `binary` is empty, and is filled if the module was given as text.
    pub(crate) fn new(
        request: &CompileRequest<'a>,
        task: Task,
        budget: &'a Budget,
        binary: &'a Once<Vec<u8>>,
    ) -> Self {
        let &CompileRequest { input, accept_text, settings, limits, tasks, .. } = request;
        Compilation {
            input,
            accept_text,
            settings,
            limits,
            tasks,
            task,
            budget,
            binary,
            translated: Once::new(),
            taken: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            first_failed: AtomicUsize::new(usize::MAX),
            error: Mutex::new(None),
            compiled: Mutex::new(Vec::new()),
            artifact: Once::new(),
        }
    }

    /// Does all of it, in workers, and says whether any of them came to grief. What came of the module says
    /// [`outcome`](Self::outcome).
    pub(crate) fn run(&self, progress: Option<&dyn Fn(Progress)>) -> Result<(), WorkersError> {
        let report = |progress: &dyn Fn(Progress)| {
            if let Some(translated) = self.translated.get() {
                let (done, total) = (self.done.load(Ordering::Relaxed), translated.order.len());
                progress(Progress { done, total });
            }
        };
        let report = progress.map(|progress| move || report(progress));
        let turn = report.as_ref().map(|report| report as &dyn Fn());
        wasm_platform::run_workers(1, self.budget, &|_| self.begin(), turn)?;
        if self.has_failed() || self.artifact.is_completed() {
            return Ok(());
        }
        let Some(translated) = self.translated.get() else { return Ok(()) };
        wasm_platform::run_workers(
            self.workers_for(translated),
            self.budget,
            &|_| self.work(translated),
            turn,
        )?;
        if self.has_failed() {
            return Ok(());
        }
        wasm_platform::run_workers(1, self.budget, &|_| self.finish(translated), turn)
    }

    /// What came of it: an error, or the artifact (nothing, if the module was to be validated only). `None` if no worker got that far.
    pub(crate) fn outcome(&self) -> Option<Result<&[u8], CompileError>> {
        if let Some((_, error)) = &*self.error.lock() {
            return Some(Err(error.clone()));
        }
        Some(Ok(self.artifact.get()?))
    }

    /// Reads the module, and goes on if there is little to do.
    fn begin(&self) {
        match self.read() {
            Ok(None) => {
                self.artifact.call_once(Vec::new);
            }
            Ok(Some(translated)) => {
                let translated = self.translated.call_once(|| translated);
                if self.workers_for(translated) == 1 {
                    self.work(translated);
                    if !self.has_failed() {
                        self.finish(translated);
                    }
                }
            }
            Err(error) => self.failed(0, error),
        }
    }

    fn read(&self) -> Result<Option<Translated<'a>>, CompileError> {
        let wasm = match self.accept_text {
            false => self.input,
            true => match text::to_binary(self.input)? {
                Cow::Borrowed(wasm) => wasm,
                Cow::Owned(wasm) => self.binary.call_once(|| wasm),
            },
        };
        if self.task == Task::Validate {
            Compiler::validate(&self.settings, wasm)?;
            return Ok(None);
        }
        let compiler = Compiler::new(self.settings)?;
        let module = compiler.translate(wasm)?;
        let size_of = |job: u32| module.job_size(job as usize);
        let mut order: Vec<u32> = (0..module.num_jobs() as u32).collect();
        if let Some(&job) = order.iter().find(|job| size_of(**job) > self.limits.function_size) {
            return Err(self.too_large(&module, job as usize));
        }
        let size = order.iter().map(|job| size_of(*job)).sum();
        order.sort_by_key(|job| Reverse(size_of(*job)));
        Ok(Some(Translated { compiler, module, order, size }))
    }

    fn too_large(&self, module: &ModuleTranslation<'_>, job: usize) -> CompileError {
        let message = format!(
            "{} has a body of {} bytes, and the limit is {}; split it, or allow larger ones with --max-function-size",
            module.job_name(job),
            module.job_size(job),
            self.limits.function_size
        );
        CompileError::new(CompileErrorKind::Limit, &message)
    }

    /// How many workers are to compile jobs.
    fn workers_for(&self, translated: &Translated<'_>) -> usize {
        let most = match self.tasks {
            0 => wasm_platform::parallelism(),
            tasks => tasks,
        };
        most.min(translated.size / WORTH_A_WORKER).min(translated.order.len()).max(1)
    }

    /// Compiles jobs until there are none left.
    fn work(&self, translated: &Translated<'_>) {
        let mut scratch = Scratch::new();
        let mut compiled = Vec::new();
        while !self.budget.is_cancelled() {
            wasm_platform::end_if_killed();
            let Some(&job) = translated.order.get(self.taken.fetch_add(1, Ordering::Relaxed)) else { break };
            // Whatever comes of a job behind one that has failed does not matter; of those before it the first error does.
            if job as usize > self.first_failed.load(Ordering::Relaxed) {
                continue;
            }
            match translated.compiler.compile_job(&translated.module, job as usize, &mut scratch) {
                Ok(code) => compiled.push((job, code)),
                Err(error) => self.failed(job as usize, error.into()),
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        self.compiled.lock().push(compiled);
    }

    /// Writes the artifact, if all jobs were done.
    fn finish(&self, translated: &Translated<'_>) {
        let compiled = core::mem::take(&mut *self.compiled.lock());
        let mut compiled: Vec<(u32, CompiledJob)> = compiled.into_iter().flatten().collect();
        if compiled.len() != translated.order.len() {
            return;
        }
        compiled.sort_unstable_by_key(|(job, _)| *job);
        let compiled = compiled.into_iter().map(|(_, code)| code).collect();
        match translated.compiler.finish(&translated.module, compiled, &mut Scratch::new()) {
            Ok(artifact) => {
                self.artifact.call_once(|| artifact);
            }
            Err(error) => self.failed(usize::MAX - 1, error.into()),
        }
    }

    fn failed(&self, job: usize, error: CompileError) {
        self.first_failed.fetch_min(job, Ordering::Relaxed);
        let mut first = self.error.lock();
        if first.as_ref().is_none_or(|(other, _)| job < *other) {
            *first = Some((job, error));
        }
    }

    fn has_failed(&self) -> bool {
        self.first_failed.load(Ordering::Relaxed) != usize::MAX
    }
}
