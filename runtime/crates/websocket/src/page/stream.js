// The connection to /v1/stream: log-in, one topic of klines with topics of values, resumption, reconnecting. Does not
// draw.

/** The number of klines that a snapshot has at most. */
const HISTORY = 500;
const OPEN_WITHIN = 10_000;
const ANSWER_WITHIN = 1000;
/** The time without a message after which a ping is sent, ms. */
const QUIET_AFTER = 15_000;
/** The time within which a message has to follow a ping, ms. */
const PONG_WITHIN = 10_000;
const FIRST_DELAY = 500;
const MAX_DELAY = 30_000;
/** A connection that stays open for this long resets the backoff, ms. */
const STEADY_AFTER = 10_000;
/** The minimum time between two changes of the subscription, to stay below the limit of commands, ms. */
const CHANGE_EVERY = 400;

const TIMED_OUT = 3500;
const REFUSED = 3501;
const FINAL = { 3502: "too many commands", 3503: "a message that the server could not read" };

/**
 * Calls back `on.state(state)`, `on.topics(answer)`, `on.snapshot(klines)`, `on.kline(kline)`, `on.refused(error)`,
 * `on.loggedIn(login)` and, for every received message, `on.message()`. Series of consumers: `on.known(topics)`,
 * `on.values(topic, values)` and `on.value(topic, value)`. Feeds from the exchange: `on.feeds(feeds)`.
 * A state has a `name`: connecting, logging-in, live, waiting (`until`, ms), logged-out (`error`) or stopped (`reason`).
 */
export class Stream {
  #address;
  #on;
  #login;
  #socket = null;
  #state = { name: "connecting" };
  #timers = new Map();
  #attempt = 0;
  #id = 0;
  #subscribeId = 0;
  #topic = null;
  #subscribed = null;
  #resume = null;
  #expectsSnapshot = false;
  #changed = 0;
  #listId = 0;
  /** Wanted topics of values. */
  #valueTopics = new Set();
  /** Topics of values that are subscribed to. */
  #subscribedValues = new Set();
  /** How far the server's clock is ahead of the local one, ms. */
  clockOffset = 0;

  /** `login` is `{ user, key }`, or null to find out from the server whether one is needed. */
  constructor(address, login, on) {
    this.#address = address;
    this.#login = login;
    this.#on = on;
  }

  /** Connects at once, regardless of the backoff. */
  connect() {
    this.#disconnect();
    const socket = new WebSocket(this.#address);
    const current = (handle) => (event) => {
      if (this.#socket === socket) handle(event);
    };
    this.#socket = socket;
    this.#setState({ name: "connecting" });
    socket.onopen = current(() => this.#opened());
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#closed(event.code));
    this.#after("open", OPEN_WITHIN, () => this.#retry());
  }

  logIn(user, key) {
    this.#login = { user, key };
    this.#attempt = 0;
    this.connect();
  }

  logOut() {
    this.#disconnect();
    this.#login = null;
    this.#resume = null;
    this.#setState({ name: "logged-out" });
  }

  /** Subscribes to this topic of klines and to no other. */
  select(topic) {
    if (topic === this.#topic) return;
    this.#topic = topic;
    this.#resume = null;
    if (this.#state.name === "live") this.#change();
  }

  /** Subscribes to these topics of values and to no others. */
  follow(topics) {
    this.#valueTopics = new Set(topics);
    if (this.#state.name === "live") this.#changeValues();
  }

  /** Requests the list of topics of values. */
  listTopics() {
    if (this.#state.name === "live") this.#listId = this.#send({ op: "topics" });
  }

  #changeValues() {
    this.#after("values", CHANGE_EVERY, () => {
      const removed = [...this.#subscribedValues].filter((topic) => !this.#valueTopics.has(topic));
      const added = [...this.#valueTopics].filter((topic) => !this.#subscribedValues.has(topic));
      if (removed.length > 0) this.#send({ op: "unsubscribe", topics: removed });
      if (added.length > 0) this.#send({ op: "subscribe", topics: added, history: HISTORY });
      this.#subscribedValues = new Set(this.#valueTopics);
    });
  }

  #change() {
    const wait = Math.max(0, this.#changed + CHANGE_EVERY - Date.now());
    this.#after("change", wait, () => {
      this.#changed = Date.now();
      if (this.#subscribed !== null && this.#subscribed !== this.#topic) {
        this.#send({ op: "unsubscribe", topics: [this.#subscribed] });
        this.#subscribed = null;
      }
      if (this.#topic !== null) this.#subscribe();
    });
  }

  #subscribe() {
    const request = { op: "subscribe", topics: [this.#topic], history: HISTORY };
    if (this.#resume !== null) request.since = { [this.#topic]: this.#resume };
    this.#subscribeId = this.#send(request);
    this.#subscribed = this.#topic;
    this.#expectsSnapshot = true;
  }

  #opened() {
    this.#cancel("open");
    if (this.#login === null) {
      this.#send({ op: "topics" });
      this.#after("answer", ANSWER_WITHIN, () => this.#setState({ name: "logged-out" }));
    } else {
      this.#setState({ name: "logging-in" });
      this.#send({ op: "auth", ...this.#login });
      this.#after("answer", OPEN_WITHIN, () => this.#retry());
    }
  }

  #receive(text) {
    this.#on.message();
    this.#after("liveness", QUIET_AFTER, () => this.#ping());
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#stop("a message that is not JSON");
    }
    if (message.op === "auth") this.#answeredAuth(message);
    else if (message.op === "topics" && message.id === this.#listId) this.#on.known(message.values ?? []);
    else if (message.op === "topics") this.#answeredTopics(message);
    else if (message.op === "subscribe") this.#answeredSubscribe(message);
    else if (message.type === "status") this.#on.feeds(message.feeds);
    else if (message.op === "pong") this.clockOffset = message.time - Date.now();
    else if (message.topic === this.#topic && message.type === "snapshot") this.#pushedSnapshot(message);
    else if (message.topic === this.#topic && message.type === "kline") this.#pushedKline(message);
    else if (!this.#valueTopics.has(message.topic)) return;
    else if (message.type === "snapshot") this.#on.values(message.topic, message.data);
    else if (message.type === "value") this.#on.value(message.topic, message.data);
  }

  #answeredAuth(message) {
    if (!message.ok) return this.#closed(REFUSED);
    this.#on.loggedIn(this.#login);
    this.#send({ op: "topics" });
  }

  #answeredTopics(message) {
    if (!message.ok) return this.#closed(REFUSED);
    this.#cancel("answer");
    this.#after("steady", STEADY_AFTER, () => (this.#attempt = 0));
    this.#ping();
    this.#setState({ name: "live" });
    this.#on.topics(message);
    this.#on.known(message.values ?? []);
    if (this.#topic !== null && this.#subscribed === null) this.#change();
  }

  #answeredSubscribe(message) {
    if (message.id !== this.#subscribeId) return;
    if (!message.ok) {
      this.#subscribed = null;
      this.#on.refused(message.error);
    } else if (message.topics[this.#topic]?.recovered) {
      this.#expectsSnapshot = false;
    } else {
      this.#resume = null;
    }
  }

  /** An unrequested snapshot means a loss inside the server and is short: requests a full one. */
  #pushedSnapshot({ epoch, seq, data }) {
    this.#resume = this.#expectsSnapshot ? { epoch, seq } : null;
    this.#on.snapshot(data);
    if (!this.#expectsSnapshot) this.#change();
    this.#expectsSnapshot = false;
  }

  #pushedKline({ epoch, seq, data }) {
    if (this.#resume === null) return;
    const expected = this.#resume.seq + 1;
    if (epoch !== this.#resume.epoch || seq > expected) {
      this.#resume = null;
      return this.#change();
    }
    if (seq < expected) return;
    if (data.confirm) this.#resume = { epoch, seq };
    this.#on.kline(data);
  }

  #closed(code) {
    if (code === TIMED_OUT || code === REFUSED) {
      const late = "The log-in did not reach the server in time. Try again.";
      const error = this.#login === null ? undefined : code === REFUSED ? "Wrong user or key. After several failures, wait a minute." : late;
      this.#disconnect();
      this.#login = null;
      this.#setState({ name: "logged-out", error });
    } else if (code >= 3500 && code < 4000) {
      this.#stop(FINAL[code] ?? `close code ${code}`);
    } else {
      this.#retry();
    }
  }

  #stop(reason) {
    this.#disconnect();
    this.#setState({ name: "stopped", reason });
  }

  #retry() {
    this.#disconnect();
    const longest = Math.min(FIRST_DELAY * 2 ** this.#attempt, MAX_DELAY);
    const delay = longest * (0.5 + Math.random() / 2);
    this.#attempt += 1;
    this.#setState({ name: "waiting", until: Date.now() + delay });
    this.#after("retry", delay, () => this.connect());
  }

  #disconnect() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#subscribed = null;
    this.#subscribedValues.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Sends a ping; not periodically, because timers of a hidden page run late and pushes already show liveness. */
  #ping() {
    this.#send({ op: "ping" });
    this.#after("liveness", PONG_WITHIN, () => this.#retry());
  }

  #send(request) {
    this.#id += 1;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ ...request, id: this.#id }));
    return this.#id;
  }

  #setState(state) {
    this.#state = state;
    this.#on.state(state);
  }

  #after(name, delay, run) {
    this.#cancel(name);
    this.#timers.set(name, setTimeout(run, delay));
  }

  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
