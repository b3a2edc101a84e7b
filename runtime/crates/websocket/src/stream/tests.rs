//! Clients that go from one server to another one with the same epochs, on real sockets.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use klines_delivery::earlier::{EarlierRuns, EarlierSlot};
use klines_delivery::emit::Point;
use klines_delivery::epochs::Epochs;
use klines_delivery::fixture::{kline, point};
use klines_delivery::history::HistoryError;
use klines_delivery::missed::Missed;
use klines_delivery::{Blueprint, Consumer, Delivery};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::settings::Settings;
use crate::{WebSocketBlueprint, fixture};

const TOPIC: &str = "kline.1m.BTCUSDT";
const VALUES: &str = "ext.mine.rsi.1m.BTCUSDT";
/// How long a message may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// The epochs that several servers share, with the first sequence of each.
#[derive(Debug, Default)]
struct Shared(Mutex<Vec<(u64, u64)>>);

impl Shared {
    fn begin(&self, first: u64, epoch: u64) {
        self.0.lock().unwrap().push((first, epoch));
    }
}

impl Epochs for Shared {
    fn of(&self, _: SeriesId, sequence: u64) -> Option<u64> {
        let epochs = self.0.lock().unwrap();
        let found = epochs.iter().rev().find(|(first, _)| sequence == 0 || *first <= sequence);
        found.map(|(_, epoch)| *epoch)
    }
}

/// A server that listens.
struct Gateway {
    consumer: Box<dyn Consumer>,
    address: String,
}

impl Gateway {
    fn start(epochs: &Arc<Shared>) -> Self {
        Self::resuming(epochs, EarlierSlot::default())
    }

    fn resuming(epochs: &Arc<Shared>, earlier: EarlierSlot) -> Self {
        let settings = Settings { auth: false, publishers: vec!["mine".into()], ..fixture::settings() };
        let catalog = fixture::catalog(&settings);
        let blueprint = WebSocketBlueprint::new(settings, Vec::new(), catalog).with_earlier(earlier);
        let mut blueprint = blueprint.with_epochs(Some(epochs.clone()));
        let mut consumer = blueprint.instantiate(&Arc::default()).unwrap();
        consumer.setup().unwrap();
        consumer.start().unwrap();
        let address = blueprint.bound().lock().unwrap()[0].to_string();
        Self { consumer, address }
    }

    fn publish(&mut self, klines: impl IntoIterator<Item = Kline>) {
        let klines = klines.into_iter().map(Arc::new).collect();
        self.consumer.consume(&Delivery { klines, ..Delivery::default() }).unwrap();
    }

    /// Connects a client and subscribes it to a topic; returns it with the topic's state in the answer.
    fn subscribe(&self, topic: &str, since: Option<&Value>) -> (Peer, Value) {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = client(format!("ws://{}/v1/stream", self.address), stream).unwrap();
        let mut peer = Peer(socket);
        let answer = peer.subscribe(topic, since);
        (peer, answer)
    }

    /// Returns the state that answers a position in the topic of klines.
    fn resume(&self, epoch: &str, seq: u64) -> Value {
        self.subscribe(TOPIC, Some(&position(epoch, seq))).1
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.consumer.stop();
    }
}

/// A client.
struct Peer(WebSocket<TcpStream>);

impl Peer {
    /// Subscribes to a topic; returns its state in the answer.
    fn subscribe(&mut self, topic: &str, since: Option<&Value>) -> Value {
        let since = since.map_or(json!({}), |position| json!({ topic: position }));
        let request = json!({"op":"subscribe","topics":[topic],"history":10,"since":since});
        self.0.send(Message::text(request.to_string())).unwrap();
        self.next()["topics"][topic].clone()
    }

    /// Returns the next message that is not a status of the feeds.
    #[track_caller]
    fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] != "status" {
                    return message;
                }
            }
        }
    }

    /// Returns what the next message is: its type, epoch and number.
    #[track_caller]
    fn head(&mut self) -> (String, String, u64) {
        let message = self.next();
        let text = |name: &str| message[name].as_str().unwrap().to_owned();
        (text("type"), text("epoch"), message["seq"].as_u64().unwrap())
    }
}

fn position(epoch: &str, seq: u64) -> Value {
    json!({"epoch": epoch, "seq": seq})
}

fn state(epoch: &str, seq: u64, recovered: bool) -> Value {
    json!({"epoch": epoch, "seq": seq, "recovered": recovered})
}

fn is(kind: &str, epoch: &str, seq: u64) -> (String, String, u64) {
    (kind.to_owned(), epoch.to_owned(), seq)
}

fn minute(sequence: u64, confirm: bool) -> Kline {
    Kline { sequence, ..kline("BTCUSDT", "1m", i64::try_from(sequence).unwrap(), confirm) }
}

fn closed(sequences: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Kline> {
    sequences.map(|sequence| minute(sequence, true))
}

const ONE: &str = "00000000000000a1";
const TWO: &str = "00000000000000a2";

fn one_epoch() -> Arc<Shared> {
    let epochs = Arc::new(Shared::default());
    epochs.begin(1, 0xa1);
    epochs
}

#[test]
fn a_client_goes_on_at_a_server_that_began_later() {
    let epochs = one_epoch();
    let (mut early, mut late) = (Gateway::start(&epochs), Gateway::start(&epochs));
    early.publish(closed(1..=4));
    let (mut peer, answer) = early.subscribe(TOPIC, None);
    assert_eq!((answer, peer.head()), (position(ONE, 4), is("snapshot", ONE, 4)));
    early.publish(closed(5..=5));
    assert_eq!(peer.head(), is("kline", ONE, 5));
    late.publish(closed(4..=7));
    let (mut peer, answer) = late.subscribe(TOPIC, Some(&position(ONE, 5)));
    assert_eq!(answer, state(ONE, 7, true));
    assert_eq!((peer.head(), peer.head()), (is("kline", ONE, 6), is("kline", ONE, 7)));
    late.publish(closed(8..=8));
    assert_eq!(peer.head(), is("kline", ONE, 8));
    assert_eq!(late.resume(ONE, 2), state(ONE, 8, false), "it has never seen 3");
    early.publish(closed(6..=9));
    assert_eq!(early.resume(ONE, 8), state(ONE, 9, true), "and back");
}

#[test]
fn a_client_that_is_ahead_of_its_new_server_gets_what_follows_its_position() {
    let epochs = one_epoch();
    let mut late = Gateway::start(&epochs);
    assert_eq!(late.resume(ONE, 1), state(ONE, 0, false), "it has nothing of the series, and cannot know");
    late.publish(closed(1..=3));
    let (mut peer, answer) = late.subscribe(TOPIC, Some(&position(ONE, 5)));
    assert_eq!(answer, state(ONE, 5, true));
    let (mut other, _) = late.subscribe(TOPIC, Some(&position(ONE, 3)));
    late.publish([minute(4, false)]);
    late.publish(closed(4..=5));
    late.publish([minute(6, false)]);
    late.publish(closed(6..=6));
    assert_eq!([peer.head(), peer.head()], [6, 6].map(|seq| is("kline", ONE, seq)));
    assert_eq!([(); 5].map(|()| other.head()), [4, 4, 5, 6, 6].map(|seq| is("kline", ONE, seq)));
    assert_eq!(late.resume(ONE, 1_007), state(ONE, 6, false), "too far ahead to be believed");
    assert_eq!(late.resume(ONE, 1_006), state(ONE, 1_006, true));
}

#[test]
fn a_client_that_is_ahead_hears_of_an_epoch_and_of_a_loss_at_once() {
    let epochs = one_epoch();
    let mut late = Gateway::start(&epochs);
    late.publish(closed(1..=3));
    let (mut peer, _) = late.subscribe(TOPIC, Some(&position(ONE, 8)));
    late.publish(closed(5..=6));
    let own = format!("{ONE}-1");
    assert_eq!((peer.head(), peer.head()), (is("snapshot", &own, 5), is("kline", &own, 6)));
    let (mut peer, _) = late.subscribe(TOPIC, Some(&position(&own, 9)));
    epochs.begin(7, 0xa2);
    late.publish(closed(7..=8));
    assert_eq!((peer.head(), peer.head()), (is("snapshot", TWO, 7), is("kline", TWO, 8)));
}

#[test]
fn a_new_subscription_replaces_the_position_of_a_client_that_was_ahead() {
    let mut late = Gateway::start(&one_epoch());
    late.publish(closed(1..=3));
    let (mut peer, _) = late.subscribe(TOPIC, Some(&position(ONE, 5)));
    assert_eq!((peer.subscribe(TOPIC, None), peer.head()), (position(ONE, 3), is("snapshot", ONE, 3)));
    late.publish(closed(4..=4));
    assert_eq!(peer.head(), is("kline", ONE, 4));
}

#[test]
fn who_waits_for_the_first_kline_of_a_server_that_began_later_gets_a_snapshot() {
    let mut late = Gateway::start(&one_epoch());
    let (mut peer, answer) = late.subscribe(TOPIC, None);
    assert_eq!((answer, peer.head()), (position(ONE, 0), is("snapshot", ONE, 0)));
    late.publish([minute(57, false)]);
    assert_eq!(
        peer.head(),
        is("kline", ONE, 1),
        "an update has the number after the last one that the client knows of"
    );
    late.publish(closed(57..=58));
    assert_eq!((peer.head(), peer.head()), (is("snapshot", ONE, 57), is("kline", ONE, 58)));
}

#[test]
fn a_new_epoch_comes_with_a_snapshot_and_ends_older_positions() {
    let epochs = one_epoch();
    let (mut first, mut second) = (Gateway::start(&epochs), Gateway::start(&epochs));
    first.publish(closed(1..=4));
    let (mut peer, _) = first.subscribe(TOPIC, None);
    peer.next();
    // The reader knows of the epoch before the server has processed the last kline of the one before.
    epochs.begin(6, 0xa2);
    first.publish(closed(5..=5));
    assert_eq!(peer.head(), is("kline", ONE, 5));
    first.publish([minute(6, false)]);
    assert_eq!(peer.head(), is("kline", ONE, 6), "an update is of the epoch of the last confirmed kline");
    assert_eq!(first.resume(ONE, 4), state(ONE, 5, true));
    first.publish(closed(6..=6));
    let snapshot = peer.next();
    assert_eq!((&snapshot["type"], &snapshot["recovered"]), (&json!("snapshot"), &json!(false)));
    assert_eq!((&snapshot["epoch"], &snapshot["seq"]), (&json!(TWO), &json!(6)));
    first.publish(closed(7..=7));
    assert_eq!(peer.head(), is("kline", TWO, 7));
    second.publish(closed(3..=8));
    for (gateway, last) in [(&first, 7), (&second, 8)] {
        assert_eq!(gateway.resume(ONE, 5), state(TWO, last, false));
        assert_eq!(gateway.resume(TWO, 6), state(TWO, last, true));
        assert_eq!(gateway.resume(TWO, 4), state(TWO, last, false), "4 was published in the epoch before");
    }
}

#[test]
fn what_one_server_has_lost_makes_its_epoch_another_one_until_the_next_begins() {
    let epochs = one_epoch();
    let (mut whole, mut broken) = (Gateway::start(&epochs), Gateway::start(&epochs));
    whole.publish(closed(1..=6));
    broken.publish(closed(1..=3));
    let (mut peer, _) = broken.subscribe(TOPIC, None);
    peer.next();
    broken.publish(closed(5..=6));
    let own = format!("{ONE}-1");
    assert_eq!((peer.head(), peer.head()), (is("snapshot", &own, 5), is("kline", &own, 6)));
    assert_eq!(whole.resume(&own, 6), state(ONE, 6, false));
    assert_eq!(broken.resume(ONE, 5), state(&own, 6, false));
    assert_eq!(broken.resume(&own, 5), state(&own, 6, true));
    epochs.begin(7, 0xa2);
    whole.publish(closed(7..=7));
    broken.publish(closed(7..=7));
    assert_eq!(peer.head(), is("snapshot", TWO, 7));
    assert_eq!((whole.resume(TWO, 7), broken.resume(TWO, 7)), (state(TWO, 7, true), state(TWO, 7, true)));
}

#[test]
fn an_epoch_that_is_not_known_and_those_of_values_are_the_servers_own() {
    let epochs = Arc::new(Shared::default());
    let mut gateways = [Gateway::start(&epochs), Gateway::start(&epochs)];
    let value = Arc::new(Point { sequence: 1, ..point("mine", "rsi", 1, true, "61.25") });
    let mut seen = Vec::new();
    for gateway in &mut gateways {
        gateway.publish(closed(1..=2));
        gateway.consumer.consume(&Delivery { values: vec![value.clone()], ..Delivery::default() }).unwrap();
        seen.push([TOPIC, VALUES].map(|topic| gateway.subscribe(topic, None).1["epoch"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen[0][0], seen[0][1]);
    assert_ne!(seen[0], seen[1]);
    let [first, second] = &mut gateways;
    assert_eq!(first.resume(&seen[0][0], 1), state(&seen[0][0], 2, true));
    assert_eq!(second.resume(&seen[0][0], 1)["recovered"], false);
    epochs.begin(3, 0xa1);
    first.publish(closed(3..=3));
    assert_eq!(first.resume(&seen[0][0], 2), state(ONE, 3, false));
    assert_eq!(first.subscribe(VALUES, None).1["epoch"], seen[0][1].as_str());
}

/// The klines of an earlier run.
#[derive(Debug)]
struct Stored(Vec<Arc<Kline>>);

impl Missed for Stored {
    fn next(&mut self) -> Result<Vec<Arc<Kline>>, HistoryError> {
        Ok(std::mem::take(&mut self.0))
    }
}

#[test]
fn klines_of_earlier_runs_are_resumed_in_the_shared_epochs_alone() {
    let epochs = one_epoch();
    epochs.begin(4, 0xa2);
    let earlier = EarlierSlot::default();
    earlier.put(EarlierRuns {
        epoch: 0xe,
        crashed: Some(0xc),
        sequences: HashMap::from([((*minute(6, true).series).clone(), 6)]),
        newest: Box::new(Stored(closed(1..=6).map(Arc::new).collect())),
    });
    let mut gateway = Gateway::resuming(&epochs, earlier);
    assert_eq!(gateway.resume(TWO, 4), state(TWO, 6, true));
    for (epoch, seq) in [(TWO, 2), (ONE, 5), ("000000000000000e", 5), ("000000000000000c", 5)] {
        assert_eq!(gateway.resume(epoch, seq), state(TWO, 6, false), "{epoch} {seq}");
    }
    gateway.publish(closed(7..=7));
    assert_eq!(gateway.resume(TWO, 4), state(TWO, 7, true));
    let (mut peer, _) = gateway.subscribe(TOPIC, Some(&position(TWO, 7)));
    gateway.publish(closed(9..=9));
    assert_eq!(peer.head(), is("snapshot", &format!("{TWO}-1"), 9));
}
