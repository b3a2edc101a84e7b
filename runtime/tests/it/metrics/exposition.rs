//! A strict parser of the part of the OpenMetrics text format that the program uses: everything else is an error.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// A parsed page.
#[derive(Debug, Default)]
pub struct Page {
    /// Type of each family, by its name.
    pub families: BTreeMap<String, String>,
    /// Value of each sample, by its name and labels.
    pub samples: BTreeMap<(String, Labels), f64>,
}

impl Page {
    /// Parses a page. Panics on whatever the format does not allow.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("a page ends with `# EOF`");
        let mut page = Self::default();
        let mut family: Option<String> = None;
        for line in body.lines() {
            if let Some(head) = line.strip_prefix("# ") {
                page.head(head, &mut family);
            } else {
                page.sample(line, family.as_deref().expect("a sample belongs to a family"));
            }
        }
        page.check_histograms();
        page
    }

    /// Returns the value of the sample with exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// Returns the value of the sample with exactly these labels, which must exist.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {:#?}", self.samples.keys()))
    }

    /// Returns the sum of all samples with this name and label.
    pub fn sum(&self, name: &str, label: (&str, &str)) -> f64 {
        let is_meant = |labels: &Labels| labels.get(label.0).is_some_and(|value| value == label.1);
        self.samples.iter().filter(|((own, labels), _)| own == name && is_meant(labels)).map(|(_, value)| value).sum()
    }

    fn head(&mut self, head: &str, family: &mut Option<String>) {
        let (keyword, rest) = head.split_once(' ').unwrap();
        let (name, text) = rest.split_once(' ').unwrap();
        assert!(is_name(name), "{head}");
        match keyword {
            "HELP" => {
                assert!(text.ends_with('.') && text.len() > 10, "{head}");
                assert!(!self.families.contains_key(name), "twice: {name}");
                *family = Some(name.to_owned());
            }
            "TYPE" => {
                assert_eq!(family.as_deref(), Some(name), "{head}");
                assert!(["counter", "gauge", "histogram", "info"].contains(&text), "{head}");
                self.families.insert(name.to_owned(), text.to_owned());
            }
            "UNIT" => {
                assert_eq!(family.as_deref(), Some(name), "{head}");
                assert!(["seconds", "bytes"].contains(&text) && name.ends_with(&format!("_{text}")), "{head}");
            }
            other => panic!("{other}"),
        }
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (key, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match key.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').unwrap())),
            None => (key, Labels::new()),
        };
        let suffixes: &[&str] = match self.families[family].as_str() {
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "{line}");
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(self.samples.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
    }

    /// Asserts that buckets are cumulative and that the infinite one equals the count.
    fn check_histograms(&self) {
        for family in self.families.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let bucket = format!("{family}_bucket");
            let mut series = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
            for ((name, labels), value) in self.samples.iter().filter(|((name, _), _)| *name == bucket) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").unwrap_or_else(|| panic!("{name} without `le`"));
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                series.entry(labels).or_default().push((bound, *value));
            }
            assert!(!series.is_empty(), "{family}");
            for (labels, mut buckets) in series {
                buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
                assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{family} {labels:?}");
                let count = self.samples[&(format!("{family}_count"), labels.clone())];
                assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{family} {labels:?}");
                assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)));
            }
        }
    }

    /// Returns the names of all labels with their values.
    pub fn labels(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found = BTreeMap::<&str, BTreeSet<&str>>::new();
        for (name, value) in self.samples.keys().flat_map(|(_, labels)| labels) {
            found.entry(name).or_default().insert(value);
        }
        found
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Parses labels, whose values must have neither quotes, commas nor backslashes.
fn read_labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    for label in text.split(',') {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{text}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        assert!(is_name(name) && !value.contains(['"', '\\']), "{text}");
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none(), "{text}");
    }
    labels
}

#[test]
fn the_parser_refuses_invalid_pages() {
    let head = "# HELP a A help text.\n# TYPE a gauge\n";
    assert_eq!(Page::read(&format!("{head}a{{x=\"y\"}} 1\n# EOF\n")).value("a", &[("x", "y")]), 1.0);
    for wrong in
        ["a 1\n", "# HELP a A help text.\n# TYPE a gauge\na 1\na 1\n", "# HELP a A help text.\n# TYPE a counter\na 1\n"]
    {
        assert!(std::panic::catch_unwind(|| Page::read(&format!("{wrong}# EOF\n"))).is_err(), "{wrong}");
    }
    assert!(std::panic::catch_unwind(|| Page::read(head)).is_err());
}
