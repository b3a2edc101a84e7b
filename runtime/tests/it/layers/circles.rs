//! Limits dependency cycles: files of a crate that use each other in a circle have to be understood together.

use std::collections::{BTreeMap, BTreeSet};

use super::{modules, picture, sources, working_code};

/// The maximum number of files that may use each other, directly or through others.
const MOST: usize = 8;

/// The modules that each module uses, by module path; the root of the crate is the empty path.
type Uses = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

#[test]
fn no_more_than_eight_files_use_each_other_in_a_circle() {
    let crates = picture().into_keys().map(|name| format!("runtime/crates/{name}/src"));
    for folder in crates.chain(["runtime/src".to_owned(), "runtime/sim/src".to_owned()]) {
        let uses = uses(&folder);
        for module in uses.keys() {
            let circle: Vec<String> = circle(&uses, module).into_iter().map(|module| module.join("::")).collect();
            assert!(circle.len() <= MOST, "{folder}: {circle:#?} use each other");
        }
    }
}

/// Returns the modules that a module uses, directly or through others, and that also use it.
fn circle(uses: &Uses, module: &Vec<String>) -> BTreeSet<Vec<String>> {
    let (forward, mut backward) = (reached(uses, module), BTreeSet::from([module.clone()]));
    backward.extend(forward.iter().filter(|other| reached(uses, other).contains(module)).cloned());
    backward
}

fn reached(uses: &Uses, from: &Vec<String>) -> BTreeSet<Vec<String>> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        let new = uses.get(module).into_iter().flatten().filter(|next| found.insert((*next).clone()));
        open.extend(new.collect::<Vec<_>>());
    }
    found
}

fn uses(folder: &str) -> Uses {
    let files: BTreeMap<Vec<String>, String> = sources(folder)
        .into_iter()
        .map(|(path, text)| (module(&modules(&path)), working_code(&path, &text)))
        .filter(|(module, _)| !module.iter().any(|part| part == "tests"))
        .collect();
    let used = |(module, code): (&Vec<String>, &String)| {
        let paths = paths(code).into_iter().filter_map(|path| resolve(&files, module, &path));
        (module.clone(), paths.filter(|other| other != module).collect())
    };
    files.iter().map(used).collect()
}

fn module(parts: &[String]) -> Vec<String> {
    if parts.len() == 1 && ["lib", "main"].contains(&parts[0].as_str()) { Vec::new() } else { parts.to_vec() }
}

/// Returns the module of this crate that a path refers to or into.
fn resolve(files: &BTreeMap<Vec<String>, String>, from: &[String], path: &[String]) -> Option<Vec<String>> {
    let (mut base, mut rest) = (from.to_vec(), path);
    match rest.first()?.as_str() {
        "crate" => (base, rest) = (Vec::new(), &rest[1..]),
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop()?;
                rest = &rest[1..];
            }
        }
        // A name without such a prefix is a child module, another crate, or an imported name.
        child => files.contains_key(&[from, &[child.to_owned()]].concat()).then_some(())?,
    }
    let whole: Vec<String> = base.iter().chain(rest).cloned().collect();
    let longest = (base.len()..=whole.len()).rev().map(|length| whole[..length].to_vec());
    longest.into_iter().find(|module| files.contains_key(module))
}

/// Returns every path in the code, with groups in braces expanded.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let begin = rest[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |before| before + 1);
        let begins_a_path = !rest[..begin].ends_with(':');
        let tail = &rest[begin..];
        let end = if begins_a_path { take(tail, &mut Vec::new(), &mut found) } else { at + 2 - begin };
        rest = &rest[begin + end.max(at + 2 - begin)..];
    }
    found
}

/// Reads one path, which a group can turn into several. Returns the length of the text that was read.
fn take(text: &str, parts: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let (mut at, before) = (0, parts.len());
    loop {
        let name: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        at += name.len();
        // `self` in a group is the path before the group.
        if !name.is_empty() && (parts.is_empty() || name != "self") {
            parts.push(name);
        }
        if let Some(after) = text[at..].strip_prefix("::") {
            at += 2;
            if let Some(group) = after.strip_prefix('{') {
                at += 1 + take_group(group, parts, found);
                break;
            }
            continue;
        }
        found.push(parts.clone());
        break;
    }
    parts.truncate(before);
    at
}

fn take_group(text: &str, parts: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        match text[at..].chars().next() {
            None => return at,
            Some('}') => return at + 1,
            Some(c) if c.is_alphanumeric() || c == '_' => at += take(&text[at..], parts, found),
            Some(c) => at += c.len_utf8(),
        }
    }
}

#[test]
fn paths_are_read_in_every_form() {
    let code = "use crate::{a::{x, b as y}, self::c};\nuse super::d;\nfn f() { e::g(); E::<T>::new(crate::h::I) }";
    let read: Vec<String> = paths(code).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        read,
        [
            "crate::a::x",
            "crate::a::b",
            "crate::a::as",
            "crate::a::y",
            "crate::c",
            "super::d",
            "e::g",
            "E",
            "new",
            "crate::h::I"
        ]
    );
}
