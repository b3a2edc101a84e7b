//! The configuration line in a denial works when it is pasted, and the denial warns of what it opens.

use klines_config::load;
use klines_wasm::http::{Egress, HttpGrant};
use serde_json::json;

use super::request;
use crate::config::folder;
use crate::sandbox::guest_log::warnings;
use crate::sandbox::peer::FakeResolver;
use crate::support::program::{self, component, klines};

/// Returns the line between "denied; " or "address; " and the section that it belongs in.
#[track_caller]
fn line<'a>(name: &str, warning: &'a str) -> &'a str {
    let (before, _) = warning.split_once(&format!(" in [consumers.{name}.allow] would grant it")).expect(warning);
    before.split_once("; ").expect(before).1
}

/// Returns the egress of a configuration with this line.
#[track_caller]
fn pasted(name: &str, line: &str) -> Egress {
    let toml = format!(
        "enabled_consumers = [\"{name}\"]\n[consumers.{name}]\ncomponent = \"webhook\"\nsettings.url = \"https://x.example/\"\n[consumers.{name}.allow]\n{line}\n"
    );
    let (_folder, sources) = folder(&[("klines.toml", &toml)]);
    let (config, _) = load(sources).unwrap_or_else(|report| panic!("{line}: {}", report.render(false, 200)));
    let granted = config.consumers[0].allow.http.iter().map(|allowed| HttpGrant {
        host: allowed.host.clone(),
        port: allowed.port,
        methods: allowed.methods.iter().map(|method| (*method).to_owned()).collect(),
        plain: allowed.plain,
        private: allowed.private,
        authorities: None,
    });
    Egress::new(granted.collect(), Vec::new())
}

#[test]
fn the_line_of_a_denial_grants_the_request_when_it_is_pasted() {
    for (name, method, url, warned) in [
        ("paste-plain", "GET", "http://a.example/x", None),
        ("paste-port", "POST", "https://a.example:8443/x", None),
        ("paste-lower", "DELETE", "https://A.Example/x", None),
        ("paste-v4", "GET", "http://8.8.8.8/", None),
        ("paste-v6", "GET", "https://[2606:4700::1111]:444/", None),
        ("paste-localhost", "PUT", "http://localhost:9/", Some("this machine or its private network")),
        ("paste-loopback", "GET", "http://127.0.0.1:9/", Some("this machine or its private network")),
        ("paste-private", "GET", "https://192.168.7.1/", Some("this machine or its private network")),
        ("paste-shared", "GET", "https://100.64.0.1/", Some("this machine or its private network")),
        ("paste-unique", "GET", "http://[fd12::1]/", Some("this machine or its private network")),
        ("paste-metadata", "GET", "http://169.254.169.254/latest", Some("the credentials of the machine")),
        ("paste-metadata-six", "GET", "http://[fd00:ec2::254]/latest", Some("the credentials of the machine")),
    ] {
        let before = HttpGrant {
            host: "known.example".into(),
            port: 443,
            methods: vec!["GET".into()],
            plain: false,
            private: false,
            authorities: None,
        };
        request(name, &Egress::new(vec![before], Vec::new()), &json!({ "url": url, "method": method }));
        let found = warnings(name).concat();
        let egress = pasted(name, line(name, &found));
        assert_eq!(egress.missing(method, url), None, "{found}");
        assert_eq!(egress.missing("GET", "https://known.example/"), None, "the earlier grant stays: {found}");
        match warned {
            Some(words) => assert!(found.contains("; beware: ") && found.contains(words), "{found}"),
            None => assert!(!found.contains("beware"), "{found}"),
        }
    }
}

#[test]
fn the_line_of_a_private_name_grants_it_when_it_is_pasted() {
    let name = "paste-name";
    let before = pasted(name, r#"http = [{ host = "inside.example", port = 9, plain = true }]"#);
    let ask = json!({ "url": "http://inside.example:9/" });
    request(name, &before.with_resolver(FakeResolver::new(&[&["10.0.0.1"]])), &ask);
    let found = warnings(name).concat();
    assert!(found.contains("the host has a private address") && found.contains("; beware: "), "{found}");
    let grant = pasted(name, line(name, &found)).grants().next().cloned().unwrap();
    assert!(grant.private && grant.plain && grant.port == 9, "{grant:?}");
}

#[test]
fn a_denial_that_no_line_would_change_suggests_none() {
    for (name, method, url, reason) in [
        ("hopeless-number", "GET", "http://2130706433/", "no grant can name this host"),
        ("hopeless-dot", "GET", "https://a.example./", "no grant can name this host"),
        ("hopeless-method", "BREW", "https://a.example/", "no grant can name this method"),
    ] {
        request(name, &Egress::default(), &json!({ "url": url, "method": method }));
        let found = warnings(name);
        assert!(found[0].contains(reason) && !found[0].contains("would grant"), "{found:?}");
    }
}

#[test]
fn a_check_warns_of_a_grant_as_a_denial_would() {
    let entry = |host: &str| format!("{{ host = \"{host}\", plain = true }}");
    let hosts = ["a.example", "169.254.169.254"].map(entry).join(", ");
    let toml = format!(
        "enabled_consumers = [\"it\"]\n[consumers.it]\ncomponent = {:?}\nsettings.mode = \"count\"\n\
         [consumers.it.allow]\nhttp = [{hosts}, {{ host = \"inside.example\", private = true }}]\n",
        component("hostile")
    );
    let home = program::folder(&[("klines.toml", &toml)]);
    let said = klines(home.path(), "check").run().success();
    let flat = said.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    for (host, words) in
        [("169.254.169.254", "reach what only this machine is meant to ask"), ("inside.example", "its private network")]
    {
        let (_, warning) = flat.split_once(&format!("it may send requests to `{host}`: ")).expect(&flat);
        assert!(warning.contains(words), "{flat}");
    }
    assert_eq!(flat.matches("it may send requests to").count(), 2, "{flat}");
}
