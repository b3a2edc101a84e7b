//! Reads the end of the validity of an X.509 certificate (RFC 5280, DER). Reads nothing else and verifies nothing.

use klines_domain::time::{DAY, HOUR, MINUTE, Millis, SECOND};

const SEQUENCE: u8 = 0x30;
/// The version of the certificate, which may be absent.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns when the validity of a certificate ends, in ms since 1970 UTC; `None` if it is not a certificate.
pub(super) fn not_after(der: &[u8]) -> Option<Millis> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = skip(rest)?;
    }
    // The serial number, the algorithm and the issuer.
    for _ in 0..3 {
        rest = skip(rest)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let end = skip(validity)?;
    match *end.first()? {
        tag @ UTC_TIME => {
            let (text, _) = element(end, tag)?;
            let years = number(text.get(..2)?)?;
            // RFC 5280: 50 is 1950, 49 is 2049.
            time(years + if years < 50 { 2_000 } else { 1_900 }, text.get(2..)?)
        }
        tag @ GENERALIZED_TIME => {
            let (text, _) = element(end, tag)?;
            time(number(text.get(..4)?)?, text.get(4..)?)
        }
        _ => None,
    }
}

/// Returns the content of the first element and what follows it, if the element has this tag.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = length(rest)?;
    (*first == tag && rest.len() >= length).then(|| rest.split_at(length))
}

/// Returns what follows the first element.
fn skip(der: &[u8]) -> Option<&[u8]> {
    element(der, *der.first()?).map(|(_, rest)| rest)
}

/// Reads a length: one byte below 128, otherwise the number of the bytes that follow, which hold it.
fn length(der: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = der.split_first()?;
    let bytes = usize::from(first & 0x7f);
    if *first < 0x80 {
        return Some((bytes, rest));
    }
    if bytes > 4 || rest.len() < bytes {
        return None;
    }
    let (length, rest) = rest.split_at(bytes);
    Some((length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest))
}

/// Reads the month, the day and the time of a year: `MMDDHHMMSSZ`.
fn time(year: Millis, text: &[u8]) -> Option<Millis> {
    let part = |at: usize| number(text.get(at..at + 2)?);
    let [month, day, hour, minute, second] = [part(0)?, part(2)?, part(4)?, part(6)?, part(8)?];
    if text.get(10..) != Some(b"Z") || !(1..=12).contains(&month) {
        return None;
    }
    Some(days(year, month, day) * DAY + hour * HOUR + minute * MINUTE + second * SECOND)
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar, in which years begin in March.
fn days(year: Millis, month: Millis, day: Millis) -> Millis {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // The days from 0000-03-01 to 1970-01-01.
    const EPOCH: Millis = 719_468;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - EPOCH
}

fn number(digits: &[u8]) -> Option<Millis> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + Millis::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        for (year, month, day, expected) in [
            (2024, 1, 1, 1_704_067_200_000),
            (2024, 2, 29, 1_709_164_800_000),
            (2049, 12, 31, 2_524_521_600_000),
            (2050, 1, 1, 2_524_608_000_000),
            (2100, 3, 1, 4_107_542_400_000),
        ] {
            assert_eq!(not_after(&certificate(year, month, day)), Some(expected), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_cut_or_no_certificate_has_no_end() {
        let whole = certificate(2024, 1, 1);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None, "{length}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
