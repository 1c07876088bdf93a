//! The directives of a script, one after the other.

use crate::threads::Threads;
use crate::{Failure, Report, in_one_line, spectest, values};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use wasm_engine::*;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{Id, Span};
use wast::{QuoteWat, QuoteWatTest, Wast, WastDirective, WastExecute, WastInvoke};

/// Finds the lines of places that are asked for in order, in one pass over the text.
struct Lines<'t> {
    text: &'t str,
    offset: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of a place, from 1.
    fn line(&mut self, span: Span) -> usize {
        let target = span.offset().min(self.text.len());
        if target < self.offset {
            (self.offset, self.line) = (0, 1);
        }
        let between = &self.text.as_bytes()[self.offset..target];
        self.line += between.iter().filter(|byte| **byte == b'\n').count();
        self.offset = target;
        self.line
    }
}

/// Prepares a text for being parsed. Scripts may have characters that look like others.
pub(crate) fn buffer(text: &str) -> Result<ParseBuffer<'_>, wast::Error> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    ParseBuffer::new_with_lexer(lexer)
}

/// Parses a script.
pub(crate) fn parse<'a>(buffer: &'a ParseBuffer<'a>) -> Result<Vec<WastDirective<'a>>, wast::Error> {
    Ok(parser::parse::<Wast<'a>>(buffer)?.directives)
}

/// What is wrong with a text.
pub(crate) fn syntax_failure(text: &str, error: &wast::Error) -> Failure {
    Failure { line: error.span().linecol_in(text).0 + 1, message: in_one_line(&error.message()) }
}

/// Runs directives. `threads` are those that the script may start, `shared` is what the thread has of the one that started it.
///
/// # Errors
/// If the engine cannot make what every script may use.
pub(crate) fn run<'a>(
    engine: &Engine,
    text: &str,
    directives: Vec<WastDirective<'a>>,
    threads: &Threads<'a>,
    shared: Option<SharedModule>,
) -> Result<Report> {
    let mut runner = Runner::new(engine, threads, shared)?;
    let mut report = Report::default();
    let mut lines = Lines { text, offset: 0, line: 1 };
    for directive in directives {
        let span = directive.span();
        match runner.directive(directive) {
            Ok(()) => report.passed += 1,
            Err(error) => {
                let message = match error.downcast_ref::<wast::Error>() {
                    Some(error) => in_one_line(&error.message()),
                    None => in_one_line(&format!("{error:#}")),
                };
                report.failures.push(Failure { line: lines.line(span), message });
            }
        }
    }
    Ok(report)
}

/// What a thread sees of a module of the thread that started it: under which name, and what in it can be shared.
#[derive(Clone)]
pub(crate) struct SharedModule {
    name: String,
    memories: Vec<(String, SharedMemory)>,
}

/// The state that directives share.
struct Runner<'t, 'a> {
    engine: Engine,
    store: Store<()>,
    linker: Linker<()>,
    /// The instance made last.
    current: Option<Instance>,
    instances: BTreeMap<String, Instance>,
    /// Modules that were defined, by name, and the one defined last.
    modules: BTreeMap<String, Module>,
    last_module: Option<Module>,
    threads: &'t Threads<'a>,
    shared: Option<SharedModule>,
}

/// What a call or look-up in a script gave: results, or an error that the script may expect.
type Outcome = Result<Vec<Val>>;

impl<'t, 'a> Runner<'t, 'a> {
    fn new(engine: &Engine, threads: &'t Threads<'a>, shared: Option<SharedModule>) -> Result<Self> {
        let mut store = Store::try_new(engine, ())?;
        let mut linker = Linker::new(engine);
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store)?;
        Ok(Self {
            engine: engine.clone(),
            store,
            linker,
            current: None,
            instances: BTreeMap::new(),
            modules: BTreeMap::new(),
            last_module: None,
            threads,
            shared,
        })
    }

    /// Does what a directive says. An error says how the engine differs from the script.
    fn directive(&mut self, directive: WastDirective<'a>) -> Result<()> {
        match directive {
            WastDirective::Module(module) => {
                // If it fails, later directives must not find an older instance in its place.
                self.current = None;
                let (name, module) = self.compile(module)?;
                let instance = self.linker.instantiate(&mut self.store, &module)?;
                self.set_current(name, instance);
            }
            WastDirective::ModuleDefinition(module) => {
                self.last_module = None;
                let (name, module) = self.compile(module)?;
                if let Some(name) = name {
                    self.modules.insert(name, module.clone());
                }
                self.last_module = Some(module);
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                self.current = None;
                let module = match module {
                    Some(id) => self.modules.get(id.name()),
                    None => self.last_module.as_ref(),
                };
                let module = module.ok_or_else(|| format_err!("no such module definition"))?;
                let made = self.linker.instantiate(&mut self.store, module)?;
                self.set_current(instance.map(|id| id.name().into()), made);
            }
            WastDirective::Register { name, module, .. } => self.register(name, module)?,
            WastDirective::Invoke(invoke) => drop(self.invoke(invoke)??),
            WastDirective::AssertReturn { exec, results, .. } => {
                let actual = self.execute(exec)??;
                values::compare_all(&self.store, &actual, &results)?;
            }
            WastDirective::AssertTrap { exec, message, .. } => expect_error(self.execute(exec)?, message)?,
            WastDirective::AssertExhaustion { call, message, .. } => {
                expect_error(self.invoke(call)?, message)?
            }
            WastDirective::AssertUnlinkable { module, message, .. } => {
                let (_, module) = self.compile(QuoteWat::Wat(module))?;
                let outcome = self.linker.instantiate(&mut self.store, &module).map(|_| Vec::new());
                expect_error(outcome, message)?;
            }
            WastDirective::AssertMalformed { module, message, .. }
            | WastDirective::AssertInvalid { module, message, .. }
            | WastDirective::AssertInvalidCustom { module, message, .. }
            | WastDirective::AssertMalformedCustom { module, message, .. } => {
                self.expect_refusal(module, message)?
            }
            WastDirective::AssertException { exec, .. } => {
                match self.execute(exec)? {
                    Ok(results) => bail!("expected an exception, got {}", values::show_all(&results)),
                    Err(error) => {
                        ensure!(error.is::<ThrownException>(), "expected an exception, got: {error:#}")
                    }
                }
                let exception = self.store.take_pending_exception();
                ensure!(exception.is_some(), "the exception is not pending in the store");
            }
            WastDirective::AssertSuspension { .. } => bail!("assert_suspension needs stack switching"),
            WastDirective::Thread(thread) => {
                let shared = thread.shared_module.map(|id| self.shared_module(id)).transpose()?;
                self.threads.start(thread.name.name(), thread.directives, shared)?;
            }
            WastDirective::Wait { thread, .. } => self.threads.wait(thread.name())?,
        }
        Ok(())
    }

    fn set_current(&mut self, name: Option<String>, instance: Instance) {
        self.current = Some(instance);
        if let Some(name) = name {
            self.instances.insert(name, instance);
        }
    }

    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance> {
        match name {
            Some(id) => {
                let instance = self.instances.get(id.name());
                instance.copied().ok_or_else(|| format_err!("no instance is called ${}", id.name()))
            }
            None => self.current.ok_or_else(|| format_err!("there is no instance")),
        }
    }

    fn register(&mut self, name: &str, module: Option<Id<'_>>) -> Result<()> {
        let shared = self.shared.as_ref().filter(|shared| {
            module.is_some_and(|id| id.name() == shared.name && !self.instances.contains_key(id.name()))
        });
        if let Some(shared) = shared {
            for (field, memory) in &shared.memories {
                self.linker.define(&self.store, name, field, memory.clone())?;
            }
            return Ok(());
        }
        let instance = self.instance(module)?;
        self.linker.instance(&mut self.store, name, instance)?;
        Ok(())
    }

    /// What a thread may have of the instance that is called so.
    fn shared_module(&mut self, id: Id<'_>) -> Result<SharedModule> {
        let instance = self.instance(Some(id))?;
        let exports = instance.exports(&mut self.store);
        let memories = exports.filter_map(|export| {
            let name = export.name().to_string();
            Some((name, export.into_extern().into_shared_memory()?))
        });
        Ok(SharedModule { name: id.name().to_string(), memories: memories.collect() })
    }

    /// Compiles a module, and says what the script calls it.
    fn compile(&self, module: QuoteWat<'_>) -> Result<(Option<String>, Module)> {
        let name = module.name().map(|id| id.name().to_string());
        Ok((name, Module::from_binary(&self.engine, &encode(module)?)?))
    }

    /// Fails unless the module is refused for what it is.
    fn expect_refusal(&self, module: QuoteWat<'_>, message: &str) -> Result<()> {
        let refused = match encode(module) {
            Err(_) => return Ok(()),
            Ok(binary) => Module::validate(&self.engine, &binary),
        };
        match refused {
            Ok(()) => bail!("accepted a module that should be refused: {message}"),
            Err(error) => match error.downcast_ref::<CompileError>() {
                Some(error) if error.kind == CompileErrorKind::Invalid => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Calls, looks up or instantiates. The outer error is the script's or the runner's, the inner one the engine's.
    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Outcome> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(module) => {
                let (_, module) = self.compile(QuoteWat::Wat(module))?;
                Ok(self.linker.instantiate(&mut self.store, &module).map(|_| Vec::new()))
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module)?;
                let found = instance.get_global(&mut self.store, global);
                let found = found.ok_or_else(|| format_err!("no exported global is called {global:?}"))?;
                Ok(Ok(vec![found.get(&mut self.store)]))
            }
        }
    }

    fn invoke(&mut self, invoke: WastInvoke<'_>) -> Result<Outcome> {
        let instance = self.instance(invoke.module)?;
        let func = instance.get_func(&mut self.store, invoke.name);
        let func = func.ok_or_else(|| format_err!("no exported function is called {:?}", invoke.name))?;
        let args = invoke.args.iter().map(|arg| values::argument(&mut self.store, arg));
        let args = args.collect::<Result<Vec<_>>>()?;
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        Ok(func.call(&mut self.store, &args, &mut results).map(|()| results))
    }
}

/// The module in the binary format.
fn encode(mut module: QuoteWat<'_>) -> Result<Vec<u8>> {
    match module.to_test()? {
        QuoteWatTest::Binary(binary) => Ok(binary),
        QuoteWatTest::Text(text) => {
            let text =
                core::str::from_utf8(&text).map_err(|_| format_err!("the module's text is not UTF-8"))?;
            let buffer = buffer(text)?;
            Ok(parser::parse::<wast::Wat<'_>>(&buffer)?.encode()?)
        }
    }
}

/// Fails unless the engine failed with the message that a script expects.
fn expect_error(outcome: Outcome, message: &str) -> Result<()> {
    let error = match outcome {
        Ok(results) => bail!("expected \"{message}\", got {}", values::show_all(&results)),
        Err(error) => format!("{error:#}"),
    };
    // The suite's own words for one case differ from version to version; the others mean one of these.
    let known = match message {
        message if message.starts_with("uninitialized element") => "uninitialized element",
        "undefined element" | "out of bounds table access" => "out of bounds table access",
        message => message,
    };
    ensure!(error.contains(known), "expected \"{message}\", got: {error}");
    Ok(())
}
