//! The reasons for which bytes are not loaded as a component, with messages that name the remedy.

use std::io;

use klines_domain::sanitize::sanitize;
use thiserror::Error;

use super::failure::MAX_TEXT;
use super::manifest::ManifestError;

/// Why a file is not loaded. The message says what the file is and what is expected.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// The file system refuses access.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a device, a pipe.
    #[error("is not a file")]
    NotFile,
    /// A symbolic link where a file is expected.
    #[error("is a symbolic link, which is not followed: put the component itself there")]
    Link,
    /// The file is over the size limit, which is checked before it is read.
    #[error("is larger than the limit of {0} bytes for component files")]
    TooLarge(u64),
    /// Native code, which no sandbox can restrict.
    #[error("is precompiled native code, which is never loaded: give the component (.wasm) that it was made from")]
    Precompiled,
    /// The text format of WebAssembly.
    #[error("is WebAssembly text, not a component: make one of it with `klines consumer build FILE`")]
    Text,
    /// Any other content; the text is its first bytes in hex.
    #[error("is not WebAssembly: a component begins with the bytes 00 61 73 6d, this file with {0}")]
    NotWasm(String),
    /// A core module.
    #[error(
        "is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or make a component of it with `klines consumer build FILE`"
    )]
    CoreModule,
    /// Truncated, corrupt, or built with a WebAssembly proposal that is disabled.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// It could not be compiled within its limits.
    #[error("is too much to compile: {0}")]
    TooCostly(String),
    /// The compiled component takes more memory than its limit.
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
    /// It would create more instances than its limit; each of them is compiled separately.
    #[error("makes {found} instances of modules or components inside it, more than {most} (limits.instances)")]
    Instances {
        /// Number that it would create.
        found: u64,
        /// Number that it may create.
        most: u64,
    },
    /// The compiler process refused it; the text is the complete message.
    #[error("{0}")]
    Refused(String),
    /// The compiler process failed for a reason that may be temporary.
    #[error("could not be compiled: {0}")]
    System(String),
    /// It is not part of the program, and no compiler process is configured.
    #[error("is untrusted and cannot be compiled here: there is no compiler process")]
    NoCompiler,
    /// A component of another world.
    #[error("does not export klines:consumer/consumer@1.2.0: it exports {0}, so it was built for another world")]
    NoConsumer(String),
    /// A consumer of another version of the contract.
    #[error(
        "was built for version {found} of the contract, and this runtime has {offered}: take a build for one that it has, or a newer runtime"
    )]
    OtherVersion {
        /// The version that it was built for.
        found: String,
        /// The versions that this runtime offers.
        offered: String,
    },
    /// It exports the right interface with other functions or types.
    #[error(
        "exports klines:consumer/consumer@{version} in another shape: {message}; build it against this runtime's {folder}"
    )]
    WrongExport {
        /// The version that the export names.
        version: &'static str,
        /// The folder with the WIT of that version.
        folder: &'static str,
        /// The difference.
        message: String,
    },
    /// It imports an interface that this runtime does not offer.
    #[error(
        "imports {0}, which this runtime does not offer: there is klines:consumer/host, state, emit and history@1.2.0, and of WASI 0.2 cli, clocks, filesystem, http (outgoing), io, random and sockets"
    )]
    UnknownImport(String),
    /// Its manifest is invalid, so what it requests is not known for certain.
    #[error("has an invalid manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// It imports an offered interface with other functions or types.
    #[error("imports something in a shape that this runtime does not offer: {0}")]
    WrongImport(String),
}

/// Returns a wasmtime error, with its causes, as one line without terminal control characters.
pub(super) fn error_text(error: &wasmtime::Error) -> String {
    sanitize(&format!("{error:#}"), MAX_TEXT)
}
