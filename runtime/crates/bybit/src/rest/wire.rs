//! The JSON of the market endpoints, and its conversion.

use klines_domain::decimal::Decimal;
use klines_domain::sanitize::{MAX_SHOWN_BYTES, sanitize};
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, Millis};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::RestError;
use crate::symbols::{Instrument, Trading};

/// The envelope of every answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEnvelope<'a> {
    ret_code: i64,
    #[serde(default)]
    ret_msg: Option<String>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    time: Millis,
}

/// Parses an envelope. Returns the result and the envelope's timestamp.
pub fn open<T: DeserializeOwned>(body: &[u8]) -> Result<(T, ExchangeMillis), RestError> {
    let malformed = |error: serde_json::Error| RestError::Malformed(error.to_string());
    let envelope: WireEnvelope<'_> = serde_json::from_slice(body).map_err(malformed)?;
    if envelope.ret_code != 0 {
        let message = sanitize(&envelope.ret_msg.unwrap_or_default(), MAX_SHOWN_BYTES);
        return Err(RestError::Refused { code: envelope.ret_code, message });
    }
    let result = envelope.result.ok_or_else(|| RestError::Malformed("no result".to_owned()))?;
    Ok((serde_json::from_str(result.get()).map_err(malformed)?, ExchangeMillis::new(envelope.time)))
}

/// Checks that an answer is about what was requested, if it says what it is about.
pub fn check_name(field: &str, found: Option<&str>, requested: &str) -> Result<(), RestError> {
    match found {
        Some(found) if found != requested => {
            let found = sanitize(found, MAX_SHOWN_BYTES);
            Err(RestError::Malformed(format!("{field} {found} instead of {requested}")))
        }
        _ => Ok(()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireServerTime {
    pub time_nano: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireInstruments<T> {
    pub list: Vec<T>,
    /// Empty on the last page; may be absent or null on spot.
    #[serde(default)]
    pub next_page_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireInstrument {
    symbol: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    quote_coin: String,
    /// Absent on spot.
    #[serde(default)]
    contract_type: Option<String>,
    price_filter: WirePriceFilter,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePriceFilter {
    tick_size: String,
}

/// Returns the symbol in an instrument's JSON object, if it is valid in a topic.
pub fn name_of(row: &RawValue) -> Option<Symbol> {
    #[derive(Deserialize)]
    struct WireName {
        symbol: String,
    }
    let named: WireName = serde_json::from_str(row.get()).ok()?;
    Symbol::new(&named.symbol).ok()
}

impl WireInstrument {
    /// Returns the instrument, or `None` if its name is not valid in a topic or its tick is not a number.
    pub fn into_instrument(self, category: Category) -> Option<Instrument> {
        let trading = match self.status.as_str() {
            "Trading" => Trading::Open,
            "PreLaunch" => Trading::PreLaunch,
            "Delivering" => Trading::Delivering,
            _ => Trading::Closed,
        };
        let is_dated = self.contract_type.is_some_and(|kind| kind.ends_with("Futures"));
        Some(Instrument {
            symbol: Symbol::new(&self.symbol).ok()?,
            category,
            tick: Decimal::parse(&self.price_filter.tick_size).ok()?,
            quote: self.quote_coin,
            is_dated,
            trading,
        })
    }
}
