//! `klines consumer new`, `build` and `check`: making consumers.

use std::path::PathBuf;

use clap::Args;
use klines_authoring::language::Language;
use klines_authoring::project::Name;
use klines_config::Sources;

use super::super::args::{self, ConfigArgs, HistoryArgs, LogArgs, MarketArgs};

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

All make the same consumer, a moving average, with a test that passes. Nothing is installed or fetched; \
`klines consumer build` says what it needs.

Exit codes: 0 ok, 1 the folder is in use or cannot be written, 2 usage.

Example:
  klines consumer new demo --lang rust && cd demo && klines consumer build")]
pub struct NewArgs {
    /// The consumer's name, of a-z, 0-9 and -
    #[arg(value_parser = Name::parse)]
    pub name: Name,
    /// What to write it in
    #[arg(short, long, value_name = "rust|python|javascript|typescript|c|go", value_parser = Language::named)]
    pub lang: Language,
    /// Where to make it, in a folder that is empty or not there [default: NAME]
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
}

/// `klines consumer build`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A folder with a consumer.toml is built with its language's tool into NAME.wasm; what is made on the way \
is in its folder build. A line says which tool is used, or what to install. componentize-py \
(for Python), componentize-qjs and typescript are installed into ~/.cache/klines/tools the first time \
they are needed.

A core module (.wasm), of any toolchain, or WebAssembly text (.wat) becomes a component: klines adds the \
world's types and the adapter for wasi_snapshot_preview1. What the module must export, and what is \
missing, is said with its signature.

What klines would refuse to load is refused here, and then nothing is written.

Exit codes: 0 ok, 1 not built.

Examples:
  klines consumer build
  klines consumer build core.wasm -o ema.wasm
  klines consumer build examples/text/consumer.wat")]
pub struct BuildArgs {
    /// A project's folder, a core module, or WebAssembly text
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    pub target: PathBuf,
    /// Where the component goes [default: NAME.wasm in the folder; beside the file, with the ending .component.wasm
    /// if it would be the file itself]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
}

/// `klines consumer check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Compiles the component under the limits of a stranger's, makes an instance without any grant, and lets it \
check its settings: those of [consumers.NAME.settings] in klines.toml where that names the component, \
else {}. Of a folder, its NAME.wasm is taken.

Exit codes: 0 it would run, 1 it would not: the reason is said.

Examples:
  klines consumer check
  klines consumer check plugins/ema.wasm --json")]
pub struct ComponentCheckArgs {
    /// A component file, or a project's folder
    #[arg(value_name = "COMPONENT|DIR", default_value = ".")]
    pub target: PathBuf,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ComponentCheckArgs {
    /// The configuration's sources.
    #[must_use]
    pub fn sources(&self) -> Sources {
        args::sources(&self.config, &MarketArgs::default(), &HistoryArgs::default(), &LogArgs::default())
    }
}
