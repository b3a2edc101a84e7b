//! Posts an alert to a webhook when a closed kline has moved far.

use klines_guest::{Batch, Consumer, Failure, Kline, Problem, error, http, info};
use serde::Deserialize;
use serde_json::json;

/// The keys of `[consumers.{{name}}.settings]`. The helper crate reports unknown keys and wrong types to the operator.
#[derive(Deserialize)]
struct Settings {
    /// Where alerts are posted. The operator also grants its host, and names the secret for it, in `allow`.
    url: String,
    /// The smallest move from the open to the close that causes an alert.
    #[serde(default = "default_percent")]
    percent: f64,
}

fn default_percent() -> f64 {
    1.0
}

struct Alerts {
    settings: Settings,
}

impl Consumer for Alerts {
    type Settings = Settings;

    /// Returns the errors that the types do not exclude; `klines check` shows them to the operator.
    fn validate(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(wrong) = http::check_url(&settings.url) {
            problems.push(Problem::new("url", wrong, "an address such as https://hooks.example.com/alerts"));
        }
        if settings.percent.is_nan() || settings.percent <= 0.0 {
            problems.push(Problem::new("percent", format!("is {}", settings.percent), "a number above 0"));
        }
        problems
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { settings })
    }

    /// Is called for every batch of closed klines, and sends one request for all its alerts.
    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        let alerts: Vec<_> = batch.klines.iter().filter_map(|kline| Some((kline, self.alert(kline)?))).collect();
        let Some((first, _)) = alerts.first() else { return Ok(()) };
        let texts: Vec<&str> = alerts.iter().map(|(_, text)| text.as_str()).collect();
        let (url, key) = (&self.settings.url, idempotency_key(first, batch.klines.len()));
        let request = http::post(url).header("user-agent", "{{name}}").header("idempotency-key", key);
        // Without a response, `?` ends the consumer if the request is not granted, and otherwise asks for a repetition.
        let status = request.json(&json!({ "text": texts.join("\n") }))?;
        let origin = http::origin(url);
        match status {
            200..=299 => info!(count = alerts.len(), "alerts sent"),
            // The server rejects the text itself, and would reject it again.
            400 | 413 | 422 => error!(count = alerts.len(), status = status, "alerts dropped, the server rejects them"),
            300..=399 => {
                return Err(Failure::retry(format!("{origin} answered {status}, and redirects are not followed")));
            }
            _ => return Err(Failure::retry(format!("{origin} answered {status}"))),
        }
        Ok(())
    }
}

/// Returns a key that is the same when the same batch is delivered again, after a failure or a restart: with it, the
/// server can ignore alerts that it already has. `first` is the first kline with an alert, `size` the number of klines
/// in the batch.
fn idempotency_key(first: &Kline, size: usize) -> String {
    format!("{}-{}-{}-{}-{size}", first.category, first.symbol, first.interval, first.start)
}

impl Alerts {
    /// Returns the text for a kline that moved far enough.
    fn alert(&self, kline: &Kline) -> Option<String> {
        let percent = (kline.close / kline.open - 1.0) * 100.0;
        // A correction of an earlier kline: an alert that was sent cannot be taken back.
        if kline.revision > 0 || percent.abs() < self.settings.percent {
            return None;
        }
        let direction = if percent > 0.0 { "rose" } else { "fell" };
        Some(format!("{} {} {direction} {:.2} %", kline.symbol, kline.interval, percent.abs()))
    }
}

klines_guest::export!(Alerts);

/// `cargo test` runs these without WebAssembly: the module `testing` collects the requests and answers them.
#[cfg(test)]
mod tests {
    use klines_guest::testing;

    use super::*;

    fn consume(close: f64) -> Result<(), Failure> {
        let settings = Settings { url: "https://hooks.example.com/alerts".to_owned(), percent: 1.0 };
        let kline = Kline { open: 100.0, close, ..testing::kline("BTCUSDT", "1m", 0) };
        Alerts::setup(settings)?.consume(&Batch { klines: vec![kline], lost: 0 })
    }

    #[test]
    fn only_a_kline_that_moves_far_causes_an_alert() {
        consume(100.5).unwrap();
        assert!(testing::take_requests().is_empty());
        consume(98.0).unwrap();
        let (url, body) = testing::take_requests().pop().unwrap();
        assert_eq!(url, "https://hooks.example.com/alerts");
        assert_eq!(body, r#"{"text":"BTCUSDT 1m fell 2.00 %"}"#);
    }

    #[test]
    fn a_server_that_is_not_available_gets_the_alert_later() {
        testing::set_answer(Ok(503));
        let later = Failure::retry("https://hooks.example.com answered 503");
        assert_eq!(consume(98.0), Err(later));
        testing::set_answer(Err(http::Error::Denied("not granted".to_owned())));
        assert!(matches!(consume(98.0), Err(Failure::Fatal(_))));
    }

    #[test]
    fn alerts_that_the_server_rejects_are_dropped() {
        testing::set_answer(Ok(422));
        consume(98.0).unwrap();
        let (_, line) = testing::take_logs().pop().unwrap();
        assert_eq!(line, "alerts dropped, the server rejects them count=1 status=422");
    }

    #[test]
    fn a_url_with_a_login_is_refused() {
        let settings = Settings { url: "https://user:password@hooks.example.com/x".to_owned(), percent: 1.0 };
        assert_eq!(Alerts::validate(&settings)[0].path, "url");
    }
}
