//! Builds a component whose settings are a program of host calls with arbitrary arguments: invalid handles, invalid
//! pointers, lengths beyond memory. It is built once, from the contract and the WIT of the linked WASI, so that a
//! function that is added to either is called as well.
//!
//! The settings are the bytes of the program, two letters from `a` to `p` for each byte. The first byte chooses the
//! call of the consumer in which the rest runs. The rest is a sequence of host calls: a byte for the host function (0
//! writes to memory), and for each of its flat arguments a byte whose low two bits choose the kind of value, with the
//! other bits as `v`: the number `v`, the address of piece `v` of memory, the next four (or eight) bytes, or edge
//! number `v`. An argument that is a handle is the newest handle of its kind, unless the two high bits of the byte are
//! set.

mod calls;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use calls::Calls;

/// The exports of the consumer, with their parameters and results; the first byte of a program is an index here.
const EXPORTS: [(&str, &str); 5] = [
    ("validate", "(param i32 i32) (result i32)"),
    ("setup", "(param i32 i32) (result i32)"),
    ("start", "(result i32)"),
    ("consume", "(param i32 i32 i64) (result i32)"),
    ("stop", ""),
];
/// Numbers at the edges of the valid ranges of arguments.
const EDGES: [u32; 16] = [
    0,
    1,
    0xffff_ffff,
    0xffff_fffe,
    0x7fff_ffff,
    0x8000_0000,
    0x1000_0000,
    0x0fff_ffff,
    0x0001_0000,
    0x0000_ffff,
    0x0003_fff8,
    0x0004_0000,
    0xd800,
    0x0011_0000,
    4_096,
    257,
];
/// The contents of the first pieces of memory.
const TEXTS: [&[u8]; 12] = [
    b"/out",
    b"..",
    "a".as_bytes(),
    b"../../canary",
    b"/etc/passwd",
    b"\x1b[2J\n\t",
    b"\xff\xfe\xfd",
    b"key",
    b"a/b/../c",
    b"out/\0x",
    "\u{202e}\u{7f}é".as_bytes(),
    b"http://127.0.0.1:1/",
];

/// Returns the settings that encode a program.
pub fn settings(program: &[u8]) -> String {
    let letter = |half: u8| char::from(b'a' + half);
    program.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).collect()
}

/// Builds the component; one of its texts is the authority of the server to which it may send requests.
pub fn component(authority: &str) -> Vec<u8> {
    let (resolve, world, version) = world();
    let text = text(&Calls::of(&resolve, world), &version, authority);
    let mut module = wat::parse_str(text).expect("the interpreter is WebAssembly");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, true).expect("a module of the world");
    ComponentEncoder::default().module(&module).expect("a module").validate(true).encode().expect("a component")
}

/// Returns a world of all interfaces that the runtime links, and the version of the contract in it.
fn world() -> (Resolve, wit_parser::WorldId, String) {
    let mut resolve = Resolve::default();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/v1");
    let (contract, _) = resolve.push_dir(contract).expect("the contract");
    let version = resolve.packages[contract].name.version.as_ref().expect("a version").to_string();
    let mut wasi = packages(env!("WASI_WIT"));
    wasi.extend(packages(env!("WASI_HTTP_WIT")));
    let wanted =
        [("include", "wasi:cli/imports"), ("import", "wasi:http/types"), ("import", "wasi:http/outgoing-handler")];
    let mut whole =
        format!("package klines:fuzz;\nworld fuzz {{\n    include klines:consumer/kline-consumer@{version};\n");
    for (how, name) in wanted {
        let (package, _) = name.split_once('/').expect("a package");
        let start = format!("package {package}@");
        let text = wasi.iter().find(|text| text.starts_with(&start)).expect("the package");
        let version = text[start.len()..].split(';').next().expect("a version");
        let _ = writeln!(whole, "    {how} {name}@{version};");
    }
    whole.push_str("}\n");
    // Each package is put in braces, so that one text can hold all of them.
    let mut known = Vec::new();
    for text in wasi {
        let (package, body) = text.split_once(';').expect("a package");
        if !known.contains(&package.to_owned()) {
            let _ = writeln!(whole, "{package} {{\n{body}\n}}");
            known.push(package.to_owned());
        }
    }
    let package = resolve.push_str("fuzz.wit", &whole).unwrap_or_else(|error| panic!("{error:#}"));
    let world = resolve.select_world(&[package], Some("fuzz")).expect("the world");
    (resolve, world, version)
}

/// Returns the texts of the WIT files in a folder, each from its `package` on.
fn packages(folder: &str) -> Vec<String> {
    let files = fs::read_dir(folder).expect("the WIT of WASI").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "wit")).collect();
    files.sort();
    let texts = files.iter().map(|path| fs::read_to_string(path).expect("a text"));
    texts.filter_map(|text| text.find("package ").map(|at| text[at..].to_owned())).collect()
}

/// Returns the text of the interpreter for programs that make these calls.
fn text(calls: &Calls, version: &str, authority: &str) -> String {
    let mut text = "(module\n".to_owned();
    calls.write_imports(&mut text);
    text.push_str(MACHINE);
    for (number, edge) in EDGES.iter().enumerate() {
        let _ = writeln!(text, "(data (i32.const {}) \"{}\")", 256 + 4 * number, escaped(&edge.to_le_bytes()));
    }
    for (number, piece) in TEXTS.iter().copied().chain([authority.as_bytes()]).enumerate() {
        let _ = writeln!(text, "(data (i32.const {}) \"{}\")", 2_048 + 32 * number, escaped(piece));
    }
    text.push_str("(func $run (local $op i32) (local $ret i32)\n(block $end (loop $next\n");
    text.push_str("(br_if $end (i32.ge_u (global.get $at) (global.get $end)))\n(local.set $op (call $byte))\n");
    text.push_str("(if (i32.eqz (local.get $op)) (then (call $poke)))\n");
    calls.write_cases(&mut text);
    text.push_str("(br $next))))\n");
    for (number, (export, ty)) in EXPORTS.iter().enumerate() {
        let keeps = if ty.starts_with("(param i32 i32) ") { "(call $keep (local.get 0) (local.get 1))" } else { "" };
        let answer = if ty.ends_with("(result i32)") { "(i32.const 0)" } else { "" };
        let _ = writeln!(
            text,
            "(func (export \"klines:consumer/consumer@{version}#{export}\") {ty} {keeps} (call $enter (i32.const {number})) {answer})"
        );
    }
    text.push(')');
    text
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// The part of the interpreter that does not depend on the imports. Memory: address 0 holds a successful result, unless
/// a program writes there; 256 holds the edge numbers, 2048 the pieces; the host's allocations are above 128 KiB.
const MACHINE: &str = r#"
(memory (export "memory") 4)
(global $program (mut i32) (i32.const 0))
(global $length (mut i32) (i32.const 0))
(global $at (mut i32) (i32.const 0))
(global $end (mut i32) (i32.const 0))
(global $free (mut i32) (i32.const 131072))
(func (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
  (local $place i32)
  (local.set $place (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
  (global.set $free (i32.add (local.get $place) (local.get $size)))
  (block $fits (loop $grow
    (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
    (br $grow)))
  (local.get $place))
(func $keep (param i32 i32)
  (global.set $program (local.get 0))
  (global.set $length (local.get 1)))
(func $enter (param $call i32)
  (global.set $at (global.get $program))
  (global.set $end (i32.add (global.get $program) (global.get $length)))
  (if (i32.eq (i32.rem_u (call $byte) (i32.const 5)) (local.get $call)) (then (call $run))))
(func $half (result i32)
  (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
  (i32.and (i32.sub (i32.load8_u (global.get $at)) (i32.const 97)) (i32.const 15))
  (global.set $at (i32.add (global.get $at) (i32.const 1))))
(func $byte (result i32)
  (i32.or (i32.shl (call $half) (i32.const 4)) (call $half)))
(func $word (result i32)
  (i32.or
    (i32.or (call $byte) (i32.shl (call $byte) (i32.const 8)))
    (i32.or (i32.shl (call $byte) (i32.const 16)) (i32.shl (call $byte) (i32.const 24)))))
(func $i32 (result i32) (local $way i32) (local $v i32)
  (local.set $way (call $byte))
  (local.set $v (i32.shr_u (local.get $way) (i32.const 2)))
  (local.set $way (i32.and (local.get $way) (i32.const 3)))
  (if (i32.eqz (local.get $way)) (then (return (local.get $v))))
  (if (i32.eq (local.get $way) (i32.const 1))
    (then (return (i32.add (i32.const 2048) (i32.mul (local.get $v) (i32.const 32))))))
  (if (i32.eq (local.get $way) (i32.const 2)) (then (return (call $word))))
  (i32.load (i32.add (i32.const 256) (i32.mul (i32.and (local.get $v) (i32.const 15)) (i32.const 4)))))
(func $i64 (result i64) (local $way i32) (local $v i64)
  (local.set $way (call $byte))
  (local.set $v (i64.extend_i32_u (i32.shr_u (local.get $way) (i32.const 2))))
  (local.set $way (i32.and (local.get $way) (i32.const 3)))
  (if (i32.eqz (local.get $way)) (then (return (local.get $v))))
  (if (i32.eq (local.get $way) (i32.const 1)) (then (return (i64.shl (i64.const 1) (local.get $v)))))
  (if (i32.eq (local.get $way) (i32.const 2))
    (then (return (i64.or
      (i64.extend_i32_u (call $word)) (i64.shl (i64.extend_i32_u (call $word)) (i64.const 32))))))
  (i64.sub (i64.const -1) (local.get $v)))
(func $handle (param $newest i32) (result i32) (local $way i32)
  (local.set $way (call $byte))
  (select (i32.and (local.get $way) (i32.const 63)) (local.get $newest) (i32.ge_u (local.get $way) (i32.const 192))))
(func $f32 (result f32) (f32.reinterpret_i32 (call $i32)))
(func $f64 (result f64) (f64.reinterpret_i64 (call $i64)))
(func $poke (local $place i32)
  (local.set $place (i32.add (i32.const 2048) (i32.mul (call $byte) (i32.const 8))))
  (i32.store (local.get $place) (call $i32)))
"#;
