//! `klines consumer new`, `build` and `check`: the commands for authors of consumers.

use std::path::PathBuf;

use clap::Args;
use klines_authoring::language::Language;
use klines_authoring::project::Name;
use klines_config::Sources;

use super::super::args::{self, ConfigArgs, KlineArgs, LogArgs, MarketArgs};

/// `klines consumer new`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Languages:
  rust        a crate with the trait of klines-guest      needs Rust (rustup)
  python      a class                                     needs Python 3.10 and pip
  javascript  an object                                   needs Node.js 20 and npm
  typescript  the same, with types                        needs Node.js 20 and npm
  c           five functions                              needs zig or clang
  go          a struct                                    needs Go 1.25

Each template creates the same consumer, a moving average, with a test that passes; with --http it is an alert \
that posts to a webhook. Nothing is installed or downloaded; `klines consumer build` reports the tools that it needs.

Exit codes: 0 ok, 1 the folder is not empty or cannot be written, 2 usage.

Example:
  klines consumer new demo --lang rust && cd demo && klines consumer build")]
pub struct NewArgs {
    /// Name of the consumer, with the characters a-z, 0-9 and -
    #[arg(value_parser = Name::parse)]
    pub name: Name,
    /// Programming language of the project
    #[arg(short, long, value_name = "rust|python|javascript|typescript|c|go", value_parser = Language::named)]
    pub lang: Language,
    /// Create a consumer that sends alerts to a webhook, with the language's helper module for HTTP
    #[arg(long)]
    pub http: bool,
    /// Folder to create the project in; it must be empty or not exist [default: NAME]
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
}

/// `klines consumer build`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A folder with a consumer.toml is built into NAME.wasm with the build tool of its language; intermediate \
files are written to its subfolder build. A line shows which tool is used, or what to install. \
componentize-py (for Python), componentize-qjs and typescript are installed into ~/.cache/klines/tools \
the first time they are needed.

A core module (.wasm) of any toolchain, or WebAssembly text (.wat), becomes a component: klines adds the \
types of the world and the adapter for wasi_snapshot_preview1. If the module does not export a required \
function, the error shows its signature.

If klines would refuse to load the component, it is refused here and no file is written.

Exit codes: 0 ok, 1 not built.

Examples:
  klines consumer build
  klines consumer build core.wasm -o ema.wasm
  klines consumer build examples/text/consumer.wat")]
pub struct BuildArgs {
    /// Folder of a project, core module, or WebAssembly text
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    pub target: PathBuf,
    /// File to write the component to [default: NAME.wasm in the folder; for a file, the same name with the ending
    /// .wasm, or .component.wasm if the file itself is .wasm]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
}

/// `klines consumer check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Compiles the component with the limits of untrusted components, creates an instance without any grant, and \
lets it validate its settings: those in [consumers.NAME.settings] if klines.toml uses the component, \
otherwise {}. In a folder, the component is NAME.wasm.

Exit codes: 0 it would run, 1 it would not run; the reason is printed, 78 configuration refused.

Examples:
  klines consumer check
  klines consumer check plugins/ema.wasm --json")]
pub struct ComponentCheckArgs {
    /// Component file, or folder of a project
    #[arg(value_name = "COMPONENT|DIR", default_value = ".")]
    pub target: PathBuf,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is read from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ComponentCheckArgs {
    /// Returns the sources of the configuration.
    #[must_use]
    pub fn sources(&self) -> Sources {
        args::sources(&self.config, &MarketArgs::default(), &KlineArgs::default(), &LogArgs::default())
    }
}
