//! Compares two configurations: which keys have other values.

use super::Config;

impl Config {
    /// Returns the keys whose values differ in another configuration, sorted. Of a section in which only a secret or a value
    /// without a key of its own differs, its name; of a consumer that only one of them enables, its section.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let missing_in = |of: &'_ Self, known: &Self| -> Vec<String> {
            let values = of.settings.iter().map(|setting| (&setting.key, &setting.value));
            let is_known = |pair: &(&String, &String)| {
                known.settings.iter().any(|setting| (&setting.key, &setting.value) == *pair)
            };
            values.filter(|pair| !is_known(pair)).map(|(key, _)| key.clone()).collect()
        };
        let mut keys = missing_in(self, other);
        keys.extend(missing_in(other, self));
        let sections = [
            ("exchange", self.exchange != other.exchange),
            ("klines", self.klines != other.klines),
            ("log", self.log != other.log),
            ("metrics", self.metrics != other.metrics),
            ("store", self.store != other.store),
            ("cluster", self.cluster != other.cluster),
            ("consumers", self.consumers != other.consumers),
            ("redis", self.redis != other.redis),
            ("websocket", self.websocket != other.websocket),
            ("proxy", self.proxy != other.proxy),
            ("trusted_keys", self.trusted_keys != other.trusted_keys),
        ];
        for (section, _) in sections.into_iter().filter(|(_, differs)| *differs) {
            let is_named = |key: &String| key.split('.').next() == Some(section);
            // The list of consumers follows from this key.
            let is_listed = section == "consumers" && keys.iter().any(|key| key == "enabled_consumers");
            if !is_listed && !keys.iter().any(is_named) {
                keys.push(section.to_owned());
            }
        }
        for consumer in self.consumers.iter().chain(&other.consumers) {
            let has = |config: &Self| config.consumers.iter().any(|known| known.name == consumer.name);
            let section = format!("consumers.{}", consumer.name);
            let is_of_it = |key: &String| key.strip_prefix(&section).is_some_and(|rest| rest.starts_with('.'));
            if has(self) != has(other) && keys.iter().any(is_of_it) {
                keys.retain(|key| !is_of_it(key));
                keys.push(section);
            }
        }
        keys.sort();
        keys.dedup();
        keys
    }
}
