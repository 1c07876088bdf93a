//! Compiling step by step.

use crate::compile::{compile, precompile_signed};
use crate::module::{FilePath, read};
use crate::{Engine, Module, Result, bail, error::Context};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Compiles a module, given what it is first and what is to become of it afterwards. [`Module::new`] and its like are short for
/// this.
#[derive(Debug)]
pub struct CodeBuilder<'a> {
    engine: &'a Engine,
    input: Option<Input<'a>>,
}

#[derive(Debug)]
struct Input<'a> {
    bytes: Cow<'a, [u8]>,
    accept_text: bool,
    path: Option<&'a FilePath>,
}

impl<'a> CodeBuilder<'a> {
    /// A builder for modules of this engine.
    pub fn new(engine: &'a Engine) -> Self {
        CodeBuilder { engine, input: None }
    }

    fn set(
        &mut self,
        bytes: Cow<'a, [u8]>,
        accept_text: bool,
        path: Option<&'a FilePath>,
    ) -> Result<&mut Self> {
        if self.input.is_some() {
            bail!("cannot configure wasm bytes twice");
        }
        self.input = Some(Input { bytes, accept_text, path });
        Ok(self)
    }

    /// The module, in the binary format, and the file that it is from, if it is.
    ///
    /// # Errors
    /// Fails if a module was given already.
    pub fn wasm_binary(
        &mut self,
        bytes: impl Into<Cow<'a, [u8]>>,
        path: Option<&'a FilePath>,
    ) -> Result<&mut Self> {
        self.set(bytes.into(), false, path)
    }

    /// The module, in the binary or the text format, and the file that it is from, if it is.
    ///
    /// # Errors
    /// Fails if a module was given already.
    pub fn wasm_binary_or_text(&mut self, bytes: &'a [u8], path: Option<&'a FilePath>) -> Result<&mut Self> {
        self.set(Cow::Borrowed(bytes), true, path)
    }

    /// The module is in this file, in the binary format.
    ///
    /// # Errors
    /// Fails if a module was given already, or the file cannot be read.
    pub fn wasm_binary_file(&mut self, file: &'a FilePath) -> Result<&mut Self> {
        self.set(Cow::Owned(read(file)?), false, Some(file))
    }

    /// The module is in this file, in the binary or the text format.
    ///
    /// # Errors
    /// Fails if a module was given already, or the file cannot be read.
    pub fn wasm_binary_or_text_file(&mut self, file: &'a FilePath) -> Result<&mut Self> {
        self.set(Cow::Owned(read(file)?), true, Some(file))
    }

    fn input(&self) -> Result<&Input<'a>> {
        self.input.as_ref().context("no wasm bytes have been configured")
    }

    /// Compiles the module.
    ///
    /// # Errors
    /// Fails if none was given, or says what is wrong with it.
    pub fn compile_module(&self) -> Result<Module> {
        let Input { bytes, accept_text, path } = self.input()?;
        compile(self.engine, bytes, *accept_text, path.and_then(crate::cache::path_text))
    }

    /// Compiles the module to an artifact for [`Module::deserialize`], signed as [`Config::signing_key`](crate::Config::signing_key) says.
    ///
    /// # Errors
    /// Fails if none was given, or says what is wrong with it.
    pub fn compile_module_serialized(&self) -> Result<Vec<u8>> {
        let Input { bytes, accept_text, .. } = self.input()?;
        precompile_signed(self.engine, bytes, *accept_text)
    }
}
