//! Why bytes are not loaded as a component, in words that say what would be right.

use std::io;

use klines_domain::sanitize::sanitize;
use thiserror::Error;

use super::failure::MOST_TEXT;
use super::manifest::ManifestError;

/// Why a file is not used. The text says what it is and what would be right.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// The file system refuses.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a device, a pipe.
    #[error("is not a file")]
    NotFile,
    /// A link where a file was, or is wanted.
    #[error("is a symbolic link, which is not followed: put the component itself there")]
    Link,
    /// Over the limit, which is checked before anything is read.
    #[error("is larger than the limit of {0} bytes for component files")]
    TooLarge(u64),
    /// Native code, which no sandbox holds.
    #[error("is precompiled native code, which is never loaded: give the component (.wasm) that it was made from")]
    Precompiled,
    /// WebAssembly's text form.
    #[error("is WebAssembly text, not a component: make one of it with `klines consumer build FILE`")]
    Text,
    /// Anything else.
    #[error("is not WebAssembly: a component begins with the bytes 00 61 73 6d, this file with {0}")]
    NotWasm(String),
    /// A core module.
    #[error(
        "is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or make a component of it with `klines consumer build FILE`"
    )]
    CoreModule,
    /// Truncated, corrupt, or made with a proposal that is switched off.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// It could not be compiled within its limits.
    #[error("is too much to compile: {0}")]
    TooCostly(String),
    /// Compiled, it takes more memory than its limit.
    #[error("takes {taken} KiB of memory once it is compiled, more than {most} KiB (limits.loaded)")]
    Loaded {
        /// What it takes, in KiB.
        taken: u64,
        /// What it may take, in KiB.
        most: u64,
    },
    /// Its core instances would take more memory than its limit, apart from their memories and tables.
    #[error(
        "takes {taken} KiB of memory for the globals, functions and imports of the instances inside it, more than {most} KiB (limits.loaded)"
    )]
    Contexts {
        /// What they would take, in KiB.
        taken: u64,
        /// What they may take, in KiB.
        most: u64,
    },
    /// It would make more instances than its limit, and each of them is compiled by itself.
    #[error("makes {found} instances of modules or components inside it, more than {most} (limits.instances)")]
    Instances {
        /// What it would make.
        found: u64,
        /// What it may make.
        most: u64,
    },
    /// The process that compiled it refused it, in words that are complete.
    #[error("{0}")]
    Refused(String),
    /// The process that compiles could not do its work, for a reason that may be gone the next time.
    #[error("could not be compiled: {0}")]
    System(String),
    /// It is not part of the program, and there is no process to compile it in.
    #[error("is untrusted and cannot be compiled here: there is no process for it")]
    NoCompiler,
    /// Another world's component.
    #[error("does not export klines:consumer/consumer@1.1.0: it exports {0}, so it was built for another world")]
    NoConsumer(String),
    /// A consumer of another version of the contract.
    #[error(
        "was built for version {found} of the contract, and this runtime has {offered}: take a build for one that it has, or a newer runtime"
    )]
    OtherVersion {
        /// The version that it was built for.
        found: String,
        /// The versions that there are.
        offered: String,
    },
    /// The right interface with other functions or types.
    #[error(
        "exports klines:consumer/consumer@{version} in another shape: {message}; build it against this runtime's {folder}"
    )]
    WrongExport {
        /// The version that it says it was built for.
        version: &'static str,
        /// Where that version's text is.
        folder: &'static str,
        /// The difference.
        message: String,
    },
    /// Needs what does not exist here.
    #[error(
        "imports {0}, which this runtime does not offer: there is klines:consumer/host, state and emit@1.1.0, and of WASI 0.2 cli, clocks, filesystem, http (outgoing), io, random and sockets"
    )]
    UnknownImport(String),
    /// What it says of itself cannot be trusted to be all that it wants.
    #[error("says badly what it wants: {0}")]
    Manifest(#[from] ManifestError),
    /// An import that is offered, but with other functions or types.
    #[error("imports something in a shape that this runtime does not offer: {0}")]
    WrongImport(String),
}

/// Returns an error of wasmtime's as one line without what a terminal would act upon.
pub(super) fn words(error: &wasmtime::Error) -> String {
    sanitize(&format!("{error:#}"), MOST_TEXT)
}
