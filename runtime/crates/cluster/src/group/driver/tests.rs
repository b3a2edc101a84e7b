//! What the driver takes of an answer.

use klines_domain::series::SeriesId;
use tokio::sync::mpsc;

use super::super::book::Holding;
use super::super::slot::Stream;
use super::*;
use crate::member::Name;
use crate::partition::Partitions;
use crate::roster::Roster;
use crate::server::Server;

const VALUE: &str = "1 7 0 311 64258.2 64259.5 64258 64259 0.02 1285.18 0 0 1786310879000 2 3 1786310880080";

fn id(millis: u64) -> StreamId {
    StreamId { millis, number: 0 }
}

/// A driver without a connection that has the lease of partition 3.
fn driver() -> Driver {
    let name = |text| Name::new(text).unwrap();
    let settings = Settings {
        server: Server::new("redis://127.0.0.1:1", &[], None).unwrap(),
        cluster: name("main"),
        node: name("a"),
        group: name("ledger"),
        is_single: false,
        partitions: Partitions::default(),
        find: Arc::new(|key| Some(SeriesId::of(key.clone()))),
    };
    let (counters, roster) = (Arc::<Counters>::default(), Arc::<Roster>::default());
    let mut driver = Driver::new(Parts {
        link: Link::new(&settings).unwrap(),
        hub: Arc::new(Hub::new()),
        book: Arc::new(Book::new(mpsc::channel(1).0)),
        announced: Announced::new(&settings.group, &roster, mpsc::channel(1).0, &counters),
        counters,
        settings,
    });
    begin(&mut driver, 1, 5);
    driver
}

/// Begins a lease of partition 3.
fn begin(driver: &mut Driver, number: u64, position: u64) {
    let partition = driver.settings.partitions.get(3).unwrap();
    let stream = Stream::at(driver.link.key(partition), id(position));
    let slot = Slot { holding: Holding { partition, number }, streams: [(partition, stream)].into(), finishing: None };
    driver.slots.insert(partition, slot);
}

/// An answer with one entry of partition 3.
fn answer(millis: u64) -> Value {
    let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let fields = ["epoch", "9", &format!("linear BTCUSDT 1m {}", 60_000 * millis), VALUE].map(bulk);
    let entry = Value::Array(vec![bulk(&id(millis).to_string()), Value::Array(fields.to_vec())]);
    Value::Array(vec![Value::Array(vec![bulk("{klines:main:3}:stream"), Value::Array(vec![entry])])])
}

fn waiting(driver: &Driver) -> Vec<(u64, u64)> {
    driver.waiting.iter().map(|waiting| (waiting.holding.number, waiting.at.id.millis)).collect()
}

#[test]
fn an_answer_to_what_was_asked_for_an_earlier_lease_is_left_out() {
    let mut driver = driver();
    driver.ask();
    driver.take(&answer(9));
    assert_eq!(waiting(&driver), [(1, 9)]);
    driver.ask();
    // Another Redis knows less: the lease begins again further back, while the answer is on its way.
    begin(&mut driver, 2, 5);
    driver.take(&answer(12));
    assert_eq!(waiting(&driver), [(1, 9)], "what lies between would be skipped");
    driver.ask();
    driver.take(&answer(8));
    assert_eq!(waiting(&driver), [(1, 9), (2, 8)]);
}
