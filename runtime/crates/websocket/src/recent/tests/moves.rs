//! A client that moves between servers with the same epochs: whatever they lose and however often they begin again, what
//! it receives follows what it has, or comes as a snapshot.

use proptest::prelude::*;

use super::*;

const SERVERS: usize = 2;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A kline is published.
    Publish,
    /// An epoch begins: a count of numbers that come again, and of numbers that are missing.
    Begin(u64, u64),
    /// A server processes the next kline, loses it, or begins again without klines.
    Read(usize),
    Lose(usize),
    Restart(usize),
    /// The client leaves its server for this one.
    Move(usize),
}

/// What was published: the epoch, and the kline, which its start identifies.
struct Entry {
    epoch: u64,
    kline: Arc<Kline>,
}

struct Server {
    recent: Recent<Kline>,
    /// The number of entries that it has read.
    read: usize,
    /// The first entry since which it has lost none.
    whole_from: usize,
}

struct Client {
    server: Option<usize>,
    epoch: (Base, u32),
    seq: u64,
    /// The number of entries up to the last one that it has received; `None` if it has none.
    read: Option<usize>,
}

struct World {
    epoch: u64,
    next: u64,
    entries: Vec<Entry>,
    servers: Vec<Server>,
    client: Client,
}

impl Server {
    fn new(epoch: u64, read: usize) -> Self {
        Self { recent: Recent::resuming(0, Base::Shared(epoch)), read, whole_from: read }
    }

    fn epoch(&self) -> (Base, u32) {
        (self.recent.base(), self.recent.breaks())
    }
}

impl World {
    fn new() -> Self {
        let servers = (0..SERVERS).map(|_| Server::new(1, 0)).collect();
        let client = Client { server: None, epoch: (Base::Unknown, 0), seq: 0, read: None };
        Self { epoch: 1, next: 1, entries: Vec::new(), servers, client }
    }

    fn publish(&mut self) {
        let start = i64::try_from(self.entries.len()).unwrap();
        let kline = Arc::new(Kline { start, sequence: self.next, ..Kline::clone(&kline(1)) });
        self.entries.push(Entry { epoch: self.epoch, kline });
        self.next += 1;
    }

    /// A server processes an entry, and pushes it to the client if that follows it.
    fn read(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let Some(Entry { epoch, kline }) = self.entries.get(server.read) else { return };
        let is_next = server.recent.keep(&mut kline.clone(), Base::Shared(*epoch));
        server.read += 1;
        let client = &mut self.client;
        if client.server == Some(at) {
            if is_next {
                assert_eq!(client.epoch, server.epoch(), "a push is of the epoch that the client knows");
                assert!(client.read.is_none_or(|read| read + 1 == server.read), "klines before a push were missed");
            }
            (client.epoch, client.seq, client.read) = (server.epoch(), kline.sequence, Some(server.read));
        }
    }

    fn lose(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.read = self.entries.len().min(server.read + 1);
        server.whole_from = server.read;
    }

    fn restart(&mut self, at: usize) {
        self.servers[at] = Server::new(self.epoch, self.servers[at].read);
        self.client.server = self.client.server.filter(|server| *server != at);
    }

    fn resume(&mut self, at: usize) {
        let must = self.must_honour(at);
        let (server, client) = (&self.servers[at], &mut self.client);
        let is_same = client.epoch == server.epoch();
        let missed = is_same.then(|| server.recent.since(client.seq)).flatten();
        assert!(missed.is_some() || !must, "the server has all that the client has missed");
        let last = server.recent.newest(usize::MAX).last().map(|kline| usize::try_from(kline.start).unwrap() + 1);
        client.read = match missed {
            None => last.filter(|_| server.recent.last() > 0),
            Some(missed) => {
                let starts = missed.iter().map(|kline| usize::try_from(kline.start).unwrap());
                starts.fold(client.read, |read, start| {
                    assert!(read.is_none_or(|read| read == start), "klines are missing in the answer, or come again");
                    Some(start + 1)
                })
            }
        };
        (client.server, client.epoch, client.seq) = (Some(at), server.epoch(), server.recent.last());
    }

    /// Returns whether a server without breaks has read all that came after the client's last kline, in one epoch.
    fn must_honour(&self, at: usize) -> bool {
        let (server, client) = (&self.servers[at], &self.client);
        let Some(last) = client.read.map(|read| read - 1) else { return false };
        let Some(since) = self.entries.get(last..server.read).filter(|since| !since.is_empty()) else { return false };
        let epoch = since[0].epoch;
        client.epoch == (Base::Shared(epoch), 0)
            && server.recent.breaks() == 0
            && server.whole_from <= last
            && since.iter().all(|entry| entry.epoch == epoch)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish => self.publish(),
            Step::Begin(again, missing) => {
                self.epoch += 1;
                self.next = self.next.saturating_sub(again).max(1) + missing;
                self.publish();
            }
            Step::Read(at) => self.read(at),
            Step::Lose(at) => self.lose(at),
            Step::Restart(at) => self.restart(at),
            Step::Move(at) => self.resume(at),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let server = 0..SERVERS;
    prop_oneof![
        6 => Just(Step::Publish),
        1 => (0_u64..4, 0_u64..3).prop_map(|(again, missing)| Step::Begin(again, missing)),
        10 => server.clone().prop_map(Step::Read),
        1 => server.clone().prop_map(Step::Lose),
        1 => server.clone().prop_map(Step::Restart),
        4 => server.prop_map(Step::Move),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_that_moves_misses_nothing_silently(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
    }
}
