//! Lines with typical mistakes. Every secret in them is `canary`.

use super::*;

/// Returns the last line of a text, masked.
fn shown(file: &str) -> String {
    let start = file.rfind('\n').map_or(0, |at| at + 1);
    toml_line(file, start..file.len(), 0..0).text
}

#[test]
fn values_of_secret_keys_are_masked_whatever_they_look_like() {
    for (line, masked) in [
        ("key = \"canary\"", "key = ***"),
        ("key = \"canary", "key = ***"),
        ("key = 'canary", "key = ***"),
        ("key = canary", "key = ***"),
        ("key = ca nary # canary", "key = ***"),
        ("key = \"canary\"canary\"", "key = ***"),
        ("key = \"canary\",canary\"", "key = ***"),
        ("  key=\"canary\" canary", "  key=***"),
        ("key = 1234567812345678", "key = ***"),
        ("key: canary", "key: ***"),
        ("\"api key\" = canary", "\"api key\" = ***"),
        ("settings.token = canary", "settings.token = ***"),
        ("keys = [\"me:canary\", \"you:canary\"]", "keys = ***"),
        ("a = { token = \"canary\", b = \"c\" }", "a = { token = ***, b = \"c\" }"),
        ("a = { token = \"canary\", canary\", b = \"c\" }", "a = { token = ***"),
        ("a = { b = \"c\", token = canary, d = 1 }", "a = { b = \"c\", token = ***"),
        ("a = \"b, key = \"canary\"", "a = \"b, key = ***"),
    ] {
        assert_eq!(shown(line), masked);
    }
}

#[test]
fn values_of_other_keys_are_shown() {
    for line in [
        "grace = 80",
        "grace = \"80ms",
        "intervals = [\"1m\", \"7x\"]",
        "[consumers.signals]",
        "[[consumers]]",
        "auth = false # for now",
        "token_in_url = true",
        "url = \"redis://localhost:6379/0\"",
        "url = redis://[::1]:6379",
        "intervals: 1m",
        "a = { b = \"c\", d = [1, 2] }",
    ] {
        assert_eq!(shown(line), line);
    }
}

#[test]
fn passwords_are_masked_in_malformed_addresses_too() {
    for (line, masked) in [
        ("url = \"redis://:canary@host\"", "url = \"redis://:***@host\""),
        ("url = redis://:canary@host", "url = redis://***"),
        ("url = redis://:can,\"ary@host # x", "url = redis://***"),
        ("url = \"redis://:canary@host", "url = \"redis://***"),
        ("url = redis://me:canary", "url = redis://***"),
        ("url = \"redis://me:canary\"", "url = \"redis://me:***\""),
        ("url = redis:/:canary@host", "url = ***"),
        ("hooks = [\"https://h/?a=1&token=canary\"]", "hooks = [\"https://h/?a=1&token=***\"]"),
        ("url = \"redis://h, key = \"canary\"", "url = \"redis://h, key = ***"),
    ] {
        assert_eq!(shown(line), masked);
    }
}

#[test]
fn a_line_that_belongs_to_no_key_is_masked_whole() {
    for line in ["canary", "  \"canary\"", "password \"canary\"", "canary canary", "redis://:canary@host", "me:canary"]
    {
        assert_eq!(shown(&format!("a = 1\n{line}")).trim(), MASK, "{line}");
    }
}

#[test]
fn a_line_of_a_longer_value_belongs_to_the_key_above() {
    for above in ["keys = [", "keys = [ # two\n  \"a:b\",", "key = \"\"\"", "key = '''\nab = 1", "key =", "key = \"ca"]
    {
        assert_eq!(shown(&format!("a = 1\n{above}\n  canary,")).trim(), MASK, "{above}");
    }
    for above in ["intervals = [", "intervals = [\n\"1m\",", "symbols =", "key = \"canary\"\nintervals = ["] {
        assert_eq!(shown(&format!("{above}\n  \"7x\",")), "  \"7x\",", "{above}");
    }
    assert_eq!(shown("hooks = [\n  \"https://me:canary@h\","), "  \"https://me:***@h\",");
    assert_eq!(shown("hooks = [\n  { token = \"canary\" },"), "  { token = *** },");
    assert_eq!(shown("keys = [\n  \"a:canary\",\n]\ngrace = 80"), "grace = 80");
    assert_eq!(shown("key = \"ca\ngrace = 80"), "grace = 80", "a key ends an incomplete value");
    assert_eq!(shown("keys = [\n  \"a:canary\",\n[klines]\ngrace = 80"), "grace = 80", "a section ends an open value");
}

#[test]
fn a_section_of_settings_may_be_secret_as_a_whole() {
    assert_eq!(shown("[consumers.x.settings.auth]\nvalue = \"canary\""), "value = ***");
    assert_eq!(shown("[consumers.signals]\nsymbols = 5"), "symbols = 5", "the name of a consumer does not count");
}

#[test]
fn variables_are_masked_by_their_names() {
    for (name, line, masked) in [
        ("WSS_AUTH_KEY", "WSS_AUTH_KEY=canary", "WSS_AUTH_KEY=***"),
        ("WSS_AUTH_KEY", "export WSS_AUTH_KEY = \"canary", "export WSS_AUTH_KEY =***"),
        ("WSS_AUTH_KEY", "canary\"", "***"),
        ("BYBIT_WS_URL", "BYBIT_WS_URL=wss://h/?token=canary", "BYBIT_WS_URL=wss://***"),
        ("BYBIT_SYMBOLS", "WSS_AUTH_KEY=canary", "WSS_AUTH_KEY=***"),
        ("BYBIT_SYMBOLS", "BYBIT_SYMBOLS=BTCUSDT,eth", "BYBIT_SYMBOLS=BTCUSDT,eth"),
    ] {
        assert_eq!(variable_line(name, line, 0..0).text, masked);
    }
}

#[test]
fn a_span_moves_with_its_text() {
    let line = "a = { token = \"canary\", b = \"c\" }";
    let underlined = |part: &str| {
        let at = line.find(part).unwrap();
        let Shown { text, span } = toml_line(line, 0..line.len(), at..at + part.len());
        text[span].to_owned()
    };
    assert_eq!(
        ["a", "token", "\"canary\"", "anar", "\"c\"", "}"].map(underlined),
        ["a", "token", "***", "***", "\"c\"", "}"]
    );
}

#[test]
fn sentences_do_not_quote_secrets() {
    let masked = |key: &str, text: &str| conceal(&format!("`{text}` is no level"), text, &value(key, text));
    assert_eq!(masked("level", "loud"), "`loud` is no level");
    assert_eq!(masked("key", "canary"), "`***` is no level");
    assert_eq!(masked("address", "http://me:canary@h"), "`http://me:***@h` is no level");
    assert_eq!(masked("key", "no"), "`***` is no level", "a short text is not replaced inside words");
    assert_eq!(conceal("\"123456\"", "123456", MASK), "\"***\"");
}
