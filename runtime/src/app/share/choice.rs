//! What the operator grants: asked for in the terminal, or given by flags. Nothing is granted silently.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context, bail};
use klines_domain::sanitize::sanitize;
use klines_wasm::manifest::Missing;
use toml_edit::Value;

use crate::app::output::{self, shell_word};

/// The keys of `allow` that a component can ask for.
const KEYS: [&str; 4] = ["http", "dirs", "env", "secrets"];
/// The words in entries that the operator replaces.
const TO_REPLACE: [&str; 3] = ["\"HOST\"", "\"./FOLDER\"", "\"VARIABLE\""];
/// The maximum length of an answer in bytes.
const MAX_ANSWER: u64 = 4 << 10;

/// One granted entry of `allow`.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    /// The key: `http`, `dirs`, `env` or `secrets`.
    pub(super) key: String,
    /// The entry of its list.
    pub(super) entry: Value,
}

impl Granted {
    fn parse(line: &str) -> anyhow::Result<Vec<Self>> {
        let expected = || format!("`{line}` is no grant: expected `all`, `none`, or a line such as `env = \"TZ\"`");
        let table: toml_edit::DocumentMut = line.parse().with_context(expected)?;
        let mut granted = Vec::new();
        for (key, item) in table.iter() {
            let value = item.as_value().filter(|_| KEYS.contains(&key)).with_context(expected)?;
            let entries: Vec<Value> =
                value.as_array().map_or_else(|| vec![value.clone()], |list| list.iter().cloned().collect());
            granted.extend(entries.into_iter().map(|mut entry| {
                // The list that it goes into decides on the blanks.
                entry.decor_mut().clear();
                Self { key: key.to_owned(), entry }
            }));
        }
        if granted.is_empty() { bail!(expected()) } else { Ok(granted) }
    }

    fn of_want(want: &Missing) -> anyhow::Result<Self> {
        let granted = Self::parse(&line_of(want))?;
        granted.into_iter().next().context("a permission without an entry")
    }

    /// Returns the line, as it can be given again.
    pub(super) fn line(&self) -> String {
        sanitize(&format!("{} = {}", self.key, self.entry), usize::MAX)
    }
}

fn line_of(want: &Missing) -> String {
    format!("{} = {}", want.key, want.entry)
}

fn is_incomplete(want: &Missing) -> bool {
    TO_REPLACE.iter().any(|word| want.entry.contains(word))
}

/// Returns whether questions can be asked: people read and write.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Decides what is granted of `wants`: by the lines in `given`, otherwise by questions.
///
/// # Errors
/// When nobody decides, or a line is no grant.
pub(super) fn grants(wants: &[Missing], given: &[String]) -> anyhow::Result<Vec<Granted>> {
    if !given.is_empty() {
        return of_flags(wants, given);
    }
    if wants.is_empty() {
        return Ok(Vec::new());
    }
    if !can_ask() {
        let lines: Vec<String> = wants
            .iter()
            .map(|want| format!("\n  --grant {}", shell_word(&sanitize(&line_of(want), usize::MAX))))
            .collect();
        bail!(
            "it asks for permissions, and nobody says what to grant; repeat the command with --grant all, with --grant \
             none, or with some of these, in which you replace the words in capitals:{}",
            lines.concat()
        );
    }
    let mut granted = Vec::new();
    for want in wants {
        granted.extend(asked(want)?);
    }
    Ok(granted)
}

fn of_flags(wants: &[Missing], given: &[String]) -> anyhow::Result<Vec<Granted>> {
    let mut granted = Vec::new();
    for line in given.iter().filter(|line| !["all", "none"].contains(&line.as_str())) {
        granted.extend(Granted::parse(line)?);
    }
    if given.iter().any(|line| line == "none") {
        if given.len() > 1 {
            bail!("--grant none stands alone: it grants nothing");
        }
        return Ok(Vec::new());
    }
    if given.iter().any(|line| line == "all") {
        for want in wants {
            let key_is_given = granted.iter().any(|granted| granted.key == want.key);
            match (is_incomplete(want), key_is_given) {
                (false, _) => granted.push(Granted::of_want(want)?),
                (true, true) => {}
                (true, false) => bail!(
                    "it asks for {}, which you have to choose: add --grant {} with your words in place of the capitals",
                    sanitize(&want.what, usize::MAX),
                    shell_word(&sanitize(&line_of(want), usize::MAX))
                ),
            }
        }
    }
    Ok(granted)
}

fn asked(want: &Missing) -> anyhow::Result<Vec<Granted>> {
    output::eprint(&format!("\nit asks for {}:", sanitize(&want.what, usize::MAX)));
    output::eprint(&format!("  {}", sanitize(&line_of(want), usize::MAX)));
    let must_choose = is_incomplete(want);
    loop {
        let question = if must_choose {
            "grant it? n, or the line with your words in place of the capitals: "
        } else {
            "grant it? y, n, or another line: "
        };
        match answer(question)?.as_str() {
            "y" | "yes" if !must_choose => return Ok(vec![Granted::of_want(want)?]),
            "n" | "no" => return Ok(Vec::new()),
            line => match Granted::parse(line) {
                Ok(granted) => return Ok(granted),
                Err(error) => output::eprint(&sanitize(&error.to_string(), usize::MAX)),
            },
        }
    }
}

/// Asks whether to go on; without a terminal only `--yes` says so.
///
/// # Errors
/// When the answer is no, or nobody can be asked.
pub(super) fn confirm(what: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        output::eprint(what);
        return Ok(());
    }
    if !can_ask() {
        bail!("{what}; repeat the command with --yes if that is meant");
    }
    output::eprint(&format!("\n{what}"));
    if ["y", "yes"].contains(&answer("go on? y or n: ")?.as_str()) { Ok(()) } else { bail!("nothing was changed") }
}

fn answer(question: &str) -> anyhow::Result<String> {
    let mut out = io::stderr().lock();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut line = String::new();
    let read = io::BufRead::read_line(&mut io::Read::take(io::stdin().lock(), MAX_ANSWER), &mut line)?;
    if read == 0 {
        bail!("nothing was changed: there is no answer");
    }
    Ok(line.trim().to_owned())
}
