//! Converts the journal of a simulated exchange into a recording that `klines replay` reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bybit_sim::{Category, Event, Sim};
use serde_json::json;

/// Records every frame that this exchange and its clients sent. A connection that replaces a closed one takes over its
/// name.
pub fn record(sim: &Sim) -> String {
    let mut text = String::new();
    let mut names = BTreeMap::<(Category, usize), Option<u64>>::new();
    for entry in sim.journal() {
        let seconds = entry.at as f64 / 1e3;
        let name_of = |number: usize| format!("{}-{number}", entry.category);
        let own = names.iter().find(|(_, user)| **user == Some(entry.connection)).map(|((_, number), _)| *number);
        let line = match (&entry.event, own) {
            (Event::Opened, _) => {
                let is_free = |number: &usize| names.get(&(entry.category, *number)).is_none_or(Option::is_none);
                let number = (0..).find(is_free).unwrap();
                names.insert((entry.category, number), Some(entry.connection));
                let address = format!("wss://localhost/v5/public/{}", entry.category);
                json!({"t": "connect", "conn": name_of(number), "ts": seconds, "addr": address})
            }
            (Event::Asked(data), Some(number)) => {
                json!({"t": "send", "conn": name_of(number), "ts": seconds, "data": data})
            }
            (Event::Sent(data), Some(number)) => {
                json!({"t": "recv", "conn": name_of(number), "ts": seconds, "data": data})
            }
            (Event::Closed { .. }, Some(number)) => {
                names.insert((entry.category, number), None);
                continue;
            }
            (event, None) => panic!("{event:?} before the connection"),
        };
        writeln!(text, "{line}").unwrap();
    }
    text
}
