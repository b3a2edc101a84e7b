//! Checks until when the certificate of the WebSocket server is valid.

use klines_config::Config;
use klines_config::consumers::Component;
use klines_config::native::Native;
use klines_domain::time::{DAY, Millis};
use klines_websocket::tls::valid_until;

use super::finding::Finding;
use crate::app::utc;

const NAME: &str = "certificate";
/// With fewer days, it is time to renew a certificate.
const SOON: Millis = 14;

/// Checks the certificate, if the server is enabled and has one.
pub(super) fn check(config: &Config, now: Millis) -> Option<Finding> {
    let serves = config.consumers.iter().any(|consumer| consumer.component == Component::Native(Native::WebSocket));
    let (certificate, key) = config.websocket.certificate.as_ref().filter(|_| serves)?;
    Some(match valid_until(certificate, key) {
        Ok(end) => judge(end, now, &certificate.display().to_string()),
        Err(error) => Finding::problem(NAME, error.to_string(), "set certificate and certificate_key in [websocket]"),
    })
}

fn judge(end: Millis, now: Millis, file: &str) -> Finding {
    let (days, date) = ((end - now).div_euclid(DAY), utc::text(end, "%Y-%m-%d %H:%M"));
    let fix = "renew it; a run takes the new files within seconds (`klines tls self-signed` creates one)";
    if end <= now {
        Finding::problem(NAME, format!("{file} is not valid since {date} UTC"), fix)
    } else if days < SOON {
        Finding::warning(NAME, format!("{file} is valid until {date} UTC, {days} more days"), fix)
    } else {
        Finding::ok(NAME, format!("{file} is valid until {date} UTC, {days} more days"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_and_one_that_has_ended_a_problem() {
        let now = 1_704_067_200_000;
        for (days, state) in [(20, State::Ok), (14, State::Ok), (13, State::Warning), (0, State::Problem)] {
            assert_eq!(judge(now + days * DAY, now, "cert.pem").state, state, "{days}");
        }
        let found = judge(now + 2 * DAY, now, "cert.pem");
        assert_eq!(found.text, "cert.pem is valid until 2024-01-03 00:00 UTC, 2 more days");
        assert_eq!(judge(now - 1, now, "cert.pem").text, "cert.pem is not valid since 2023-12-31 23:59 UTC");
    }
}
