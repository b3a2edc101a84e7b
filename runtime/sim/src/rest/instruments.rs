//! `/v5/market/instruments-info`: the instrument list, in pages except on spot.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use axum::{
    extract::{Query, State},
    response::Response,
};

use super::{Answer, Params, category, limit};
use crate::{amount::Amount, book::Book, category::Category, fault::RestFault, floor::Floor};

const NOTHING: &str = r#"{"category":"","list":[],"nextPageCursor":""}"#;

pub(crate) async fn instruments_info(State(floor): State<Arc<Floor>>, Query(params): Query<Params>) -> Response {
    let answer = page(&floor, &params).unwrap_or_else(|refused| refused.with_result(NOTHING));
    answer.respond(&floor)
}

fn page(floor: &Floor, params: &Params) -> Result<Answer, Answer> {
    let category = category(params, None)?;
    let limit = if category == Category::Spot { usize::MAX } else { limit(params, 500, 1_000)? };
    let given = |key: &str| params.get(key).map(String::as_str).filter(|text| !text.is_empty());
    // Spot knows Trading only and answers with it whatever is asked.
    let trading = match given("status") {
        None | Some("Trading") => true,
        Some(_) if category == Category::Spot => true,
        Some("Closed") => false,
        Some("PreLaunch" | "Delivering") => return Ok(list(category, "", "")),
        Some(_) => return Err(Answer::refused("params error: status invalid")),
    };
    let after = match given("cursor") {
        Some(cursor) if category != Category::Spot => Some(last_of(cursor)?),
        _ => None,
    };
    let base = given("baseCoin").filter(|_| category != Category::Spot);
    let symbol = given("symbol");
    let faults = floor.rest_faults(Some(category));
    if faults.contains(&RestFault::EmptyList) {
        return Ok(list(category, "", ""));
    }
    floor.with_books(category, |books| {
        if let Some(symbol) = symbol {
            let book = books.get(symbol).filter(|book| book.listed == trading);
            return match (book, category) {
                (Some(book), _) => Ok(list(category, &row(book), "")),
                (None, Category::Spot) => Ok(list(category, "", "")),
                (None, _) => Err(Answer::refused("params error: symbol invalid")),
            };
        }
        let wanted = |book: &Book| book.listed == trading && base.is_none_or(|coin| book.instrument.coins().0 == coin);
        if faults.contains(&RestFault::HalfList) {
            let rows: Vec<String> = books.values().filter(|book| wanted(book)).map(row).collect();
            let half = rows.get(..rows.len() / 2).unwrap_or_default();
            return Ok(list(category, &half.join(","), ""));
        }
        Ok(full_page(category, books, after.as_deref(), limit, wanted))
    })
}

fn full_page(
    category: Category,
    books: &BTreeMap<String, Book>,
    after: Option<&str>,
    limit: usize,
    wanted: impl Fn(&Book) -> bool,
) -> Answer {
    let from = after.map_or(Unbounded, Excluded);
    let rest = books.range::<str, _>((from, Unbounded)).filter(|(_, book)| wanted(book));
    let page: Vec<&Book> = rest.take(limit).map(|(_, book)| book).collect();
    let rows: Vec<String> = page.iter().map(|book| row(book)).collect();
    // A full page has a cursor even if nothing follows, as on Bybit: the next page is then empty.
    let cursor = match (page.first(), page.last()) {
        (Some(first), Some(last)) if page.len() == limit => {
            format!("first%3D{}%26last%3D{}", first.instrument.symbol, last.instrument.symbol)
        }
        _ => String::new(),
    };
    list(category, &rows.join(","), &cursor)
}

fn list(category: Category, rows: &str, cursor: &str) -> Answer {
    Answer::Ok(match category {
        Category::Spot => format!(r#"{{"category":"spot","list":[{rows}]}}"#),
        _ => format!(r#"{{"category":"{category}","list":[{rows}],"nextPageCursor":"{cursor}"}}"#),
    })
}

/// Last symbol of the page before. Cursors are handed out percent-encoded; clients send them back as they are or
/// encode them once more, so that after the query's own decoding one layer may be left.
fn last_of(cursor: &str) -> Result<String, Answer> {
    let decoded = cursor.replace("%3D", "=").replace("%3d", "=").replace("%26", "&");
    let last = decoded.split('&').find_map(|part| part.strip_prefix("last="));
    last.map(str::to_owned).ok_or_else(|| Answer::refused("params error: cursor invalid"))
}

fn row(book: &Book) -> String {
    match book.instrument.category {
        Category::Spot => spot_row(book),
        Category::Linear | Category::Inverse => contract_row(book),
    }
}

/// A number for people who want one: the same for the same symbol.
fn symbol_id(symbol: &str) -> u32 {
    symbol.bytes().fold(7, |id: u32, byte| (id * 31 + u32::from(byte)) % 100_000)
}

fn status(book: &Book) -> &'static str {
    if book.listed { "Trading" } else { "Closed" }
}

fn contract_row(book: &Book) -> String {
    let instrument = &book.instrument;
    let symbol = &instrument.symbol;
    let (base, quote) = instrument.coins();
    let linear = instrument.category == Category::Linear;
    let dated = symbol.contains('-');
    let kind = match (linear, dated) {
        (true, false) => "LinearPerpetual",
        (true, true) => "LinearFutures",
        (false, false) => "InversePerpetual",
        (false, true) => "InverseFutures",
    };
    let settle = if linear { quote } else { base };
    let (tick, step) = (instrument.tick, instrument.step);
    let most = |amount: Amount, times: i128| Amount::new(amount.units() * times, amount.scale()).padded();
    let mut text = format!(
        r#"{{"symbol":"{symbol}","contractType":"{kind}","status":"{}","baseCoin":"{base}","quoteCoin":"{quote}","launchTime":"{}","deliveryTime":"0","deliveryFeeRate":"","priceScale":"{}""#,
        status(book),
        book.launched,
        tick.scale(),
    );
    let _ = write!(
        text,
        r#","leverageFilter":{{"minLeverage":"1","maxLeverage":"100.00","leverageStep":"0.01"}},"priceFilter":{{"minPrice":"{0}","maxPrice":"{1}","tickSize":"{0}"}}"#,
        tick.padded(),
        most(tick, 20_000_000),
    );
    let _ = write!(
        text,
        r#","lotSizeFilter":{{"maxOrderQty":"{0}","minOrderQty":"{1}","qtyStep":"{1}","postOnlyMaxOrderQty":"{0}","maxMktOrderQty":"{0}","minNotionalValue":"5"}}"#,
        most(step, 1_000_000),
        step.padded(),
    );
    let _ = write!(
        text,
        r#","unifiedMarginTrade":true,"fundingInterval":480,"settleCoin":"{settle}","copyTrading":"both","upperFundingRate":"0.005","lowerFundingRate":"-0.005","isPreListing":false,"preListingInfo":null,"riskParameters":{{"priceLimitRatioX":"0.05","priceLimitRatioY":"0.1"}},"displayName":"","symbolType":"","forbidUplWithdrawal":false,"symbolId":{}}}"#,
        symbol_id(symbol),
    );
    text
}

fn spot_row(book: &Book) -> String {
    let instrument = &book.instrument;
    let symbol = &instrument.symbol;
    let (base, quote) = instrument.coins();
    let (tick, step) = (instrument.tick.padded(), instrument.step.padded());
    let precision = Amount::new(1, instrument.tick.scale() + instrument.step.scale()).padded();
    let most = Amount::new(instrument.step.units() * 10_000_000, instrument.step.scale()).padded();
    format!(
        r#"{{"symbolId":{},"symbol":"{symbol}","baseCoin":"{base}","quoteCoin":"{quote}","innovation":"0","symbolType":"","xstockMultiplier":"","status":"{}","marginTrading":"utaOnly","stTag":"0","lotSizeFilter":{{"basePrecision":"{step}","quotePrecision":"{precision}","minOrderQty":"{step}","maxOrderQty":"{most}","minOrderAmt":"5","maxOrderAmt":"4000000","maxLimitOrderQty":"{most}","maxMarketOrderQty":"{most}","postOnlyMaxLimitOrderSize":"{most}"}},"priceFilter":{{"tickSize":"{tick}"}},"riskParameters":{{"priceLimitRatioX":"0.01","priceLimitRatioY":"0.02"}}}}"#,
        symbol_id(symbol),
        status(book),
    )
}
