//! `klines consumer check`: shows a component and its requested permissions, and every reason why it would not run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use klines_authoring::project::Project;
use klines_authoring::tools::cache_of_process;
use klines_config::consumers::{Component as Source, Consumer};
use klines_config::show::{conceal, redact};
use klines_delivery::{Blueprint as _, Problem};
use klines_system::limits::Limits;
use klines_wasm::component_loader::{self, Links};
use klines_wasm::{Setup, WasmBlueprint};
use serde_json::{Value, json};

use super::inspect::{Inspected, sanitized};
use super::output;
use super::refusal::Refused;
use super::wiring::{compiling, grants};
use crate::cli::ComponentCheckArgs;

/// The result of the check.
struct CheckResult {
    /// `None` if the file cannot be loaded as a component.
    inspected: Option<Inspected>,
    /// Time that compiling took; `None` if the cache had the code.
    compiled: Option<Duration>,
    /// The settings that it validated, without secrets.
    settings: String,
    /// Every reason why it would not run.
    problems: Vec<String>,
}

/// Checks one component.
///
/// # Errors
/// When the file does not exist, or this machine cannot run components at all.
pub fn consumer_check(args: &ComponentCheckArgs) -> anyhow::Result<ExitCode> {
    let (path, consumer) = target(args)?;
    let found = check(&path, consumer.as_ref())?;
    let runs = found.problems.is_empty();
    output::print(&if args.json { format!("{:#}\n", found.json()) } else { found.text(&path) })?;
    for problem in found.problems.iter().filter(|_| !args.json) {
        output::eprint(&format!("error: {}: {}", path.display(), sanitized(problem)));
    }
    Ok(if runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the component's file and, if the configuration uses it, its consumer.
fn target(args: &ComponentCheckArgs) -> anyhow::Result<(PathBuf, Option<Consumer>)> {
    let mut sources = args.sources();
    let path = if args.target.is_dir() {
        let project = Project::open(&args.target)?;
        // A file that the user names is relative to the working directory.
        for file in [&mut sources.config_file, &mut sources.env_file].into_iter().flatten() {
            *file = std::path::absolute(&*file).with_context(|| file.display().to_string())?;
        }
        // Uses the klines.toml of the project; its paths are relative to the project's folder.
        sources.folder.clone_from(&project.folder);
        args.target.join(project.component().file_name().unwrap_or_default())
    } else {
        args.target.clone()
    };
    if !path.exists() && args.target.is_dir() {
        anyhow::bail!("{} does not exist: run `klines consumer build` first", path.display());
    }
    let folder = sources.folder.clone();
    let (config, _) = klines_config::examine_files(sources).map_err(Refused)?;
    let path_of = |file: &Path| folder.join(file).canonicalize().ok();
    let consumer = config.consumers.into_iter().find(|consumer| {
        let Source::File(file) = &consumer.component else { return false };
        path_of(file).is_some() && path_of(file) == path.canonicalize().ok()
    });
    Ok((path, consumer))
}

fn check(path: &Path, consumer: Option<&Consumer>) -> anyhow::Result<CheckResult> {
    let limits = consumer.map_or_else(Limits::default, |consumer| consumer.limits.clone());
    let settings = consumer.map_or_else(|| "{}".to_owned(), |consumer| consumer.settings.to_string());
    let shown = consumer.map_or_else(|| "{}".to_owned(), |consumer| redact(&consumer.settings).to_string());
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("NAME");
    let name = consumer.map_or(stem, |consumer| consumer.name.as_str()).to_owned();
    let file = component_loader::read(path, limits.component_size, Links::Follow);
    let file = file.with_context(|| path.display().to_string())?;
    let components = compiling::for_an_author(cache_of_process().as_deref())?;
    let is_compiled = components.is_compiled(&file);
    let begun = Instant::now();
    let component = components.from_untrusted(&file, &limits);
    let compiled = (!is_compiled).then(|| begun.elapsed());
    let component = match component {
        Ok(component) => component,
        Err(error) => {
            return Ok(CheckResult { inspected: None, compiled, settings: shown, problems: vec![error.to_string()] });
        }
    };
    let allowed = consumer.map(|consumer| grants::of(&consumer.allow)).unwrap_or_default();
    let inspected = Inspected::new(name.clone(), file, &component, &allowed);
    let setup = Setup { limits, ..Setup::plain(&name, &settings) };
    let problems = WasmBlueprint::new(component, setup).validate();
    let describe = |problem: &Problem| {
        let sentence = sentence(problem, &shown);
        consumer.map_or_else(|| sentence.clone(), |consumer| conceal(&consumer.settings, &sentence))
    };
    let problems = problems.iter().map(describe).collect();
    Ok(CheckResult { inspected: Some(inspected), compiled, settings: shown, problems })
}

fn sentence(problem: &Problem, settings: &str) -> String {
    let Problem { path, message, expected } = problem;
    let place = if path.is_empty() { String::new() } else { format!(".{path}") };
    format!("with the settings {settings}: settings{place}: {message} (expected {expected})")
}

impl CheckResult {
    fn text(&self, path: &Path) -> String {
        let Some(inspected) = &self.inspected else { return String::new() };
        let mut text = inspected.text();
        match self.compiled {
            Some(compiled) => text.push_str(&format!("\ncompiled    in {:.2} s\n", compiled.as_secs_f64())),
            None => text.push_str("\ncompiled    earlier: the code is in the cache\n"),
        }
        if self.problems.is_empty() {
            text.push_str(&format!(
                "runs        {} takes the settings {}\n",
                path.display(),
                sanitized(&self.settings)
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let mut json = self.inspected.as_ref().map_or_else(|| json!({}), Inspected::json);
        if let Value::Object(members) = &mut json {
            members.insert("compile_seconds".to_owned(), json!(self.compiled.map(|compiled| compiled.as_secs_f64())));
            members.insert("runs".to_owned(), json!(self.problems.is_empty()));
            members.insert("problems".to_owned(), json!(self.problems));
        }
        json
    }
}
