//! Runs scripts of WebAssembly's official test suite with the engine.
//!
//! A script is a list of directives: modules, calls, and assertions about what they do. [`run_script`] runs one and
//! reports how many directives did what the script says, and which did not. A directive of a kind that the engine has no
//! use for (threads, exceptions, components) counts as failed, with its name: nothing is skipped.
//!
//! What is compared: of traps the message; of modules that must not link the message; of modules that must be malformed or
//! invalid only that they are refused, since the wording of validators differs.

use std::collections::HashMap;
use wasm_engine::*;
use wast::core::{
    AbstractHeapType, HeapType as WastHeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore,
};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{F32, F64, Id};
use wast::{QuoteWat, QuoteWatTest, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};

mod spectest;

/// What came of a script.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many directives did what the script says.
    pub passed: usize,
    /// Those that did not.
    pub failures: Vec<Failure>,
}

/// A directive that did not do what its script says.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Where it is: a line number from 1.
    pub line: usize,
    /// What happened instead.
    pub message: String,
}

/// Runs the script `text` in a store of its own.
///
/// # Errors
/// Fails if the script cannot be parsed, or the engine cannot make what every script may use.
pub fn run_script(engine: &Engine, text: &str) -> Result<Report> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer)?;
    let wast: Wast<'_> = parser::parse(&buffer)?;
    let mut runner = Runner::new(engine)?;
    let mut report = Report::default();
    for directive in wast.directives {
        let span = directive.span();
        match runner.directive(directive) {
            Ok(()) => report.passed += 1,
            Err(error) => {
                let line = span.linecol_in(text).0 + 1;
                report.failures.push(Failure { line, message: format!("{error:?}") });
            }
        }
    }
    Ok(report)
}

/// The state that a script's directives share.
struct Runner {
    engine: Engine,
    store: Store<()>,
    linker: Linker<()>,
    /// The instance made last.
    current: Option<Instance>,
    instances: HashMap<String, Instance>,
    /// Modules that were defined, by name, and the one defined last.
    modules: HashMap<String, Module>,
    last_module: Option<Module>,
}

/// What a call or look-up in a script gave: results, or an error that the script may expect.
type Outcome = Result<Vec<Val>>;

impl Runner {
    fn new(engine: &Engine) -> Result<Self> {
        let mut store = Store::new(engine, ());
        let mut linker = Linker::new(engine);
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store)?;
        Ok(Self {
            engine: engine.clone(),
            store,
            linker,
            current: None,
            instances: HashMap::new(),
            modules: HashMap::new(),
            last_module: None,
        })
    }

    /// Does what a directive says. An error says how the engine differs from the script.
    fn directive(&mut self, directive: WastDirective<'_>) -> Result<()> {
        match directive {
            WastDirective::Module(module) => {
                let (name, module) = self.compile(module)?;
                let instance = self.linker.instantiate(&mut self.store, &module);
                // If it fails, later directives must not find an older instance in its place.
                self.current = None;
                let instance = instance?;
                self.set_current(name, instance);
            }
            WastDirective::ModuleDefinition(module) => {
                let (name, module) = self.compile(module)?;
                if let Some(name) = name {
                    self.modules.insert(name, module.clone());
                }
                self.last_module = Some(module);
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = match module {
                    Some(id) => self.modules.get(id.name()),
                    None => self.last_module.as_ref(),
                };
                let module = module.ok_or_else(|| format_err!("no such module definition"))?;
                let made = self.linker.instantiate(&mut self.store, module)?;
                self.set_current(instance.map(|id| id.name().into()), made);
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module)?;
                self.linker.instance(&mut self.store, name, instance)?;
            }
            WastDirective::Invoke(invoke) => drop(self.invoke(invoke)??),
            WastDirective::AssertReturn { exec, results, .. } => {
                let values = self.execute(exec)??;
                self.compare_all(&values, &results)?;
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
                ensure!(
                    self.compile(module).is_err(),
                    "accepted a module that should be refused: {}",
                    message
                );
            }
            WastDirective::AssertException { .. } => bail!("assert_exception needs exceptions"),
            WastDirective::AssertSuspension { .. } => bail!("assert_suspension needs stack switching"),
            WastDirective::Thread(_) => bail!("thread needs shared memories"),
            WastDirective::Wait { .. } => bail!("wait needs shared memories"),
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

    /// Compiles a module, and says what the script calls it.
    fn compile(&self, mut module: QuoteWat<'_>) -> Result<(Option<String>, Module)> {
        let name = module.name().map(|id| id.name().to_string());
        let binary = match module.to_test()? {
            QuoteWatTest::Binary(binary) => binary,
            QuoteWatTest::Text(text) => {
                let text = std::str::from_utf8(&text)?;
                let mut lexer = Lexer::new(text);
                lexer.allow_confusing_unicode(true);
                let buffer = ParseBuffer::new_with_lexer(lexer)?;
                parser::parse::<wast::Wat<'_>>(&buffer)?.encode()?
            }
        };
        Ok((name, Module::from_binary(&self.engine, &binary)?))
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
                let global = instance.get_global(&mut self.store, global);
                let global = global.ok_or_else(|| format_err!("no such global"))?;
                Ok(Ok(vec![global.get(&mut self.store)]))
            }
        }
    }

    fn invoke(&mut self, invoke: WastInvoke<'_>) -> Result<Outcome> {
        let instance = self.instance(invoke.module)?;
        let func = instance.get_func(&mut self.store, invoke.name);
        let func = func.ok_or_else(|| format_err!("no exported function is called {:?}", invoke.name))?;
        let args = invoke.args.iter().map(|arg| self.argument(arg)).collect::<Result<Vec<_>>>()?;
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        Ok(func.call(&mut self.store, &args, &mut results).map(|()| results))
    }

    fn argument(&mut self, arg: &WastArg<'_>) -> Result<Val> {
        let WastArg::Core(arg) = arg else { bail!("an argument is not of a core type") };
        Ok(match arg {
            WastArgCore::I32(value) => Val::I32(*value),
            WastArgCore::I64(value) => Val::I64(*value),
            WastArgCore::F32(F32 { bits }) => Val::F32(*bits),
            WastArgCore::F64(F64 { bits }) => Val::F64(*bits),
            WastArgCore::V128(value) => Val::from(u128::from_le_bytes(value.to_le_bytes())),
            WastArgCore::RefNull(WastHeapType::Abstract { ty: AbstractHeapType::Func, .. }) => {
                Val::FuncRef(None)
            }
            WastArgCore::RefNull(WastHeapType::Abstract { ty: AbstractHeapType::Extern, .. }) => {
                Val::ExternRef(None)
            }
            WastArgCore::RefExtern(number) => Val::ExternRef(Some(ExternRef::new(&mut self.store, *number)?)),
            other => bail!("arguments like {other:?} need features that the engine does not have"),
        })
    }

    fn compare_all(&self, actual: &[Val], expected: &[WastRet<'_>]) -> Result<()> {
        ensure!(actual.len() == expected.len(), "expected {} results, got {}", expected.len(), actual.len());
        for (actual, expected) in actual.iter().zip(expected) {
            let WastRet::Core(expected) = expected else { bail!("a result is not of a core type") };
            ensure!(self.equals(actual, expected)?, "expected {:?}, got {:?}", expected, actual);
        }
        Ok(())
    }

    fn equals(&self, actual: &Val, expected: &WastRetCore<'_>) -> Result<bool> {
        Ok(match (expected, actual) {
            (WastRetCore::I32(expected), Val::I32(actual)) => expected == actual,
            (WastRetCore::I64(expected), Val::I64(actual)) => expected == actual,
            (WastRetCore::F32(pattern), Val::F32(bits)) => f32_matches(pattern, *bits),
            (WastRetCore::F64(pattern), Val::F64(bits)) => f64_matches(pattern, *bits),
            (WastRetCore::V128(pattern), Val::V128(value)) => v128_matches(pattern, value.as_u128()),
            (WastRetCore::RefNull(None), Val::FuncRef(None) | Val::ExternRef(None)) => true,
            (WastRetCore::RefNull(Some(WastHeapType::Abstract { ty, .. })), actual) => match actual {
                Val::FuncRef(None) => *ty == AbstractHeapType::Func,
                Val::ExternRef(None) => *ty == AbstractHeapType::Extern,
                _ => false,
            },
            (WastRetCore::RefExtern(None), Val::ExternRef(Some(_))) => true,
            (WastRetCore::RefExtern(Some(expected)), Val::ExternRef(Some(actual))) => {
                actual.data(&self.store)?.and_then(|data| data.downcast_ref::<u32>()) == Some(expected)
            }
            (WastRetCore::RefFunc(None), Val::FuncRef(Some(_))) => true,
            (WastRetCore::Either(alternatives), actual) => {
                for alternative in alternatives {
                    if self.equals(actual, alternative)? {
                        return Ok(true);
                    }
                }
                false
            }
            _ => false,
        })
    }
}

fn f32_matches(pattern: &NanPattern<F32>, bits: u32) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(value) => value.bits == bits,
    }
}

fn f64_matches(pattern: &NanPattern<F64>, bits: u64) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(value) => value.bits == bits,
    }
}

/// Whether every lane is as expected; lane 0 is in the lowest bits.
fn v128_matches(pattern: &V128Pattern, bits: u128) -> bool {
    // What the shift leaves above the lane is cut off.
    match pattern {
        V128Pattern::I8x16(lanes) => (0..).zip(lanes).all(|(at, lane)| (bits >> (8 * at)) as i8 == *lane),
        V128Pattern::I16x8(lanes) => (0..).zip(lanes).all(|(at, lane)| (bits >> (16 * at)) as i16 == *lane),
        V128Pattern::I32x4(lanes) => (0..).zip(lanes).all(|(at, lane)| (bits >> (32 * at)) as i32 == *lane),
        V128Pattern::I64x2(lanes) => (0..).zip(lanes).all(|(at, lane)| (bits >> (64 * at)) as i64 == *lane),
        V128Pattern::F32x4(lanes) => {
            (0..).zip(lanes).all(|(at, lane)| f32_matches(lane, (bits >> (32 * at)) as u32))
        }
        V128Pattern::F64x2(lanes) => {
            (0..).zip(lanes).all(|(at, lane)| f64_matches(lane, (bits >> (64 * at)) as u64))
        }
    }
}

/// Fails unless the engine failed with the message that a script expects.
fn expect_error(outcome: Outcome, message: &str) -> Result<()> {
    let error = match outcome {
        Ok(values) => bail!("expected \"{message}\", got {values:?}"),
        Err(error) => format!("{error:?}"),
    };
    // The suite's own words for one case differ from version to version; the others mean one of these.
    let known = match message {
        message if message.starts_with("uninitialized element") => "uninitialized element",
        "undefined element" | "out of bounds table access" => "out of bounds table access",
        message => message,
    };
    ensure!(error.contains(known), "expected \"{}\", got: {}", message, error);
    Ok(())
}
