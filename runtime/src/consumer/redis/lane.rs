//! One way of klines into Redis: a thread with a connection and a backlog, which connects anew whenever it has to.
//!
//! Sends pipelines, several on their way at a time; after a loss a single parcel, until that is acknowledged. Knows
//! neither what waits where (`backlog`) nor what the commands are (`output`).

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, RedisError, Value};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep, sleep_until};

use super::backlog::{Backlog, Parcel};
use super::connection::{Address, Trouble};
use super::journal::Journal;
use super::output::Commands;
use crate::consumer::policy::Backoff;
use crate::consumer::{CrashKind, Failure};

/// Klines between the consumer and the lane. When they are that many the consumer waits, and its queue does what it
/// does with one that is slow.
const INBOX: usize = 8_192;
/// How long the consumer waits for room before it asks to be called again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Parcels taken from the inbox at once, and in one pipeline.
const PARCELS: usize = 128;
/// Klines at which a pipeline has enough.
const ENOUGH: usize = 2_048;
/// Pipelines on their way at a time.
const DEPTH: usize = 8;
/// Pauses between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// An interruption that lasts so long is more than a moment.
const MOMENT: Duration = Duration::from_secs(1);
/// How long the end may take: what is not acknowledged by then is kept, if it can be.
const FAREWELL: Duration = Duration::from_secs(2);

type Items<T> = Vec<Arc<T>>;

/// What the thread owns.
pub(super) struct Lane<B: Backlog, O> {
    output: O,
    address: Address,
    backlog: B,
    journal: Journal,
    inbox: Option<Receiver<Items<B::Item>>>,
    room: Arc<Semaphore>,
    /// What is on its way, oldest first.
    sent: VecDeque<Flight<B::Item>>,
    backoff: Backoff,
    /// When Redis was lost.
    lost: Option<Instant>,
    /// When to give up, once nothing more comes.
    until: Option<Instant>,
    text: String,
}

/// The parcels of a pipeline, each with the number of its commands.
type Flight<T> = VecDeque<(Parcel<T>, usize)>;

/// The consumer's end.
pub(super) struct HandOver<T> {
    sender: Sender<Items<T>>,
    room: Arc<Semaphore>,
    handle: Handle,
    thread: JoinHandle<()>,
}

impl<T> HandOver<T> {
    /// Hands klines, or values, to the lane.
    pub(super) fn give(&self, klines: Items<T>) -> Result<(), Failure> {
        let permits = weight(&klines);
        match self.room.try_acquire_many(permits) {
            Ok(permit) => permit.forget(),
            Err(_) => {
                let room = self.room.clone();
                // Made inside, where there is a clock.
                let waited = async move { tokio::time::timeout(PATIENCE, room.acquire_many_owned(permits)).await };
                match self.handle.block_on(waited) {
                    Ok(Ok(permit)) => permit.forget(),
                    Ok(Err(_)) => return Err(gone()),
                    Err(_) => return Err(Failure::Retry("redis takes no klines, and no more can wait".to_owned())),
                }
            }
        }
        // There is a place for every permit.
        self.sender.try_send(klines).map_err(|_| gone())
    }

    /// Tells the lane that nothing more comes; its thread ends soon.
    pub(super) fn close(self) -> JoinHandle<()> {
        self.thread
    }
}

fn gone() -> Failure {
    Failure::Crashed { kind: CrashKind::Trap, message: "its lane to redis has ended".to_owned() }
}

/// How much of the inbox klines take up.
fn weight<T>(klines: &Items<T>) -> u32 {
    u32::try_from(klines.len().clamp(1, INBOX)).unwrap_or(u32::MAX)
}

/// Tells the consumer that waits for room when the lane is gone.
struct Closing(Arc<Semaphore>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<B: Backlog + Send + 'static, O: Commands<B::Item>> Lane<B, O> {
    pub(super) fn new(output: O, address: Address, backlog: B, journal: Journal) -> Self {
        Self {
            output,
            address,
            backlog,
            journal,
            inbox: None,
            room: Arc::new(Semaphore::new(INBOX)),
            sent: VecDeque::new(),
            backoff: Backoff::between(PAUSES.0, PAUSES.1),
            lost: Some(Instant::now()),
            until: None,
            text: String::new(),
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system gives no thread or no events.
    pub(super) fn start(mut self) -> io::Result<HandOver<B::Item>> {
        let (sender, inbox) = mpsc::channel(INBOX);
        self.inbox = Some(inbox);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, room) = (runtime.handle().clone(), self.room.clone());
        let thread = thread::Builder::new().name("redis".to_owned()).spawn(move || {
            let _closing = Closing(self.room.clone());
            runtime.block_on(self.run());
        })?;
        Ok(HandOver { sender, room, handle, thread })
    }

    async fn run(mut self) {
        while !self.is_done() {
            let address = self.address.clone();
            let dialled = self.meanwhile(async move { address.dial().await }).await;
            let trouble = match dialled {
                Some(Ok(connection)) => match self.serve(connection).await {
                    Ok(()) => break,
                    Err(trouble) => trouble,
                },
                Some(Err(trouble)) => trouble,
                None => break,
            };
            self.lose(&trouble);
            let pause = self.backoff.next_pause();
            if self.meanwhile(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.recall();
        self.backlog.conclude();
    }

    /// Whether nothing comes and nothing is left.
    fn is_done(&self) -> bool {
        self.until.is_some() && self.backlog.is_idle() && self.sent.is_empty()
    }

    /// Sends what there is until the connection is of no more use, or all is done.
    async fn serve(&mut self, connection: MultiplexedConnection) -> Result<(), Trouble> {
        let (mut flights, mut arrived) = (FuturesOrdered::new(), Vec::with_capacity(PARCELS));
        let mut is_proven = self.backlog.is_idle();
        if is_proven {
            self.prove();
        }
        loop {
            let (depth, parcels) = if is_proven { (DEPTH, PARCELS) } else { (1, 1) };
            while flights.len() < depth
                && let Some(pipeline) = self.load(parcels)
            {
                let mut connection = connection.clone();
                flights.push_back(async move {
                    let commands = pipeline.len();
                    connection.send_packed_commands(&pipeline, 0, commands).await
                });
            }
            if self.is_done() {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(answer) = flights.next() => {
                    self.landed(answer)?;
                    if !is_proven {
                        is_proven = true;
                        self.prove();
                    }
                }
                received = receive(&mut self.inbox, &mut arrived), if self.backlog.has_room() => {
                    self.admit(received, &mut arrived);
                }
                () = sleep_until(self.until.unwrap_or_else(Instant::now)), if self.until.is_some() => return Ok(()),
            }
        }
    }

    /// Takes a pipeline out of the backlog.
    fn load(&mut self, parcels: usize) -> Option<Pipeline> {
        let (mut pipeline, mut flight, mut klines) = (Pipeline::with_capacity(parcels), Flight::new(), 0);
        while flight.len() < parcels
            && klines < ENOUGH
            && let Some(parcel) = self.backlog.next()
        {
            klines += parcel.items.len();
            let commands = self.output.commands(&parcel.items, &mut pipeline, &mut self.text);
            flight.push_back((parcel, commands));
        }
        if flight.is_empty() {
            return None;
        }
        self.sent.push_back(flight);
        Some(pipeline)
    }

    /// Takes note of a pipeline's answers, up to the first that is an error.
    fn landed(&mut self, answer: Result<Vec<Value>, RedisError>) -> Result<(), Trouble> {
        let answer = answer.map_err(|error| Trouble::from(&error))?;
        let mut answers = answer.iter();
        let Some(flight) = self.sent.front_mut() else { return Ok(()) };
        while let Some((parcel, commands)) = flight.front() {
            for answer in answers.by_ref().take(*commands) {
                if let Value::ServerError(error) = answer {
                    return Err(Trouble::from(error));
                }
            }
            self.backlog.acknowledged(parcel);
            flight.pop_front();
        }
        self.sent.pop_front();
        Ok(())
    }

    /// Redis takes klines.
    fn prove(&mut self) {
        self.backoff = Backoff::between(PAUSES.0, PAUSES.1);
        self.lost = None;
        self.backlog.back();
        self.journal.up();
    }

    /// Redis takes no klines.
    fn lose(&mut self, trouble: &Trouble) {
        self.lost.get_or_insert_with(Instant::now);
        self.journal.down(trouble, &self.output.rights());
        self.recall();
    }

    fn recall(&mut self) {
        let sent = self.sent.drain(..).flatten().map(|(parcel, _)| parcel).collect();
        self.backlog.recall(sent);
    }

    /// Waits for something while klines go on coming in; nothing when time is up.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut arrived = Vec::with_capacity(PARCELS);
        tokio::pin!(future);
        loop {
            if self.lost.is_some_and(|lost| lost.elapsed() >= MOMENT) {
                self.backlog.away();
            }
            tokio::select! {
                biased;
                done = &mut future => return Some(done),
                received = receive(&mut self.inbox, &mut arrived), if self.backlog.has_room() => {
                    self.admit(received, &mut arrived);
                }
                () = sleep_until(self.until.unwrap_or_else(Instant::now)), if self.until.is_some() => return None,
            }
        }
    }

    /// Takes in what was received; nothing received means that nothing more comes.
    fn admit(&mut self, received: usize, arrived: &mut Vec<Items<B::Item>>) {
        if received == 0 {
            self.inbox = None;
            self.until = Some(Instant::now() + FAREWELL);
        }
        let mut freed = 0;
        for klines in arrived.drain(..) {
            freed += weight(&klines) as usize;
            self.backlog.admit(klines);
        }
        self.room.add_permits(freed);
    }
}

/// Receives several at once. Never returns when the inbox is closed and that is known.
async fn receive<T>(inbox: &mut Option<Receiver<Items<T>>>, arrived: &mut Vec<Items<T>>) -> usize {
    match inbox {
        Some(inbox) => inbox.recv_many(arrived, PARCELS).await,
        None => std::future::pending().await,
    }
}
