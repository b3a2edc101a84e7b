// The connection to /v1/stream: log-in, one topic of klines and those of values beside it, resuming, reconnecting. Does
// not draw.

const HISTORY = 500;
const OPEN_WITHIN = 10_000;
const ANSWER_WITHIN = 1000;
/** After this long without a message the server is asked for a sign of life, and then has this long to give one. */
const QUIET_AFTER = 15_000;
const LIFE_WITHIN = 10_000;
const FIRST_DELAY = 500;
const LONGEST_DELAY = 30_000;
/** A connection that lives as long as this starts the backoff anew. */
const STEADY_AFTER = 10_000;
/** Between two changes of the subscription, so that fast fingers do not send too many commands. */
const CHANGE_EVERY = 400;

const TIMED_OUT = 3500;
const REFUSED = 3501;
const FINAL = { 3502: "too many commands", 3503: "a message that the server could not read" };

/**
 * Calls back `on.state(state)`, `on.topics(answer)`, `on.snapshot(klines)`, `on.kline(kline)`, `on.refused(error)`,
 * `on.loggedIn(login)` and `on.message()`, the last for anything that arrives; of what consumers publish `on.known(topics)`,
 * `on.values(topic, values)` and `on.value(topic, value)`; of the feeds from the exchange `on.feeds(feeds)`.
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
  #subscription = 0;
  #topic = null;
  #taken = null;
  #resume = null;
  #asked = false;
  #changed = 0;
  #look = 0;
  /** Topics of values that are wanted, and those that are subscribed to. */
  #beside = new Set();
  #besideTaken = new Set();
  /** How far the server's clock is ahead of this one, ms. */
  ahead = 0;

  /** `login` is `{ user, key }`, or null to ask the server whether one is needed. */
  constructor(address, login, on) {
    this.#address = address;
    this.#login = login;
    this.#on = on;
  }

  /** Connects now, whatever the backoff says. */
  connect() {
    this.#hangUp();
    const socket = new WebSocket(this.#address);
    const mine = (handle) => (event) => {
      if (this.#socket === socket) handle(event);
    };
    this.#socket = socket;
    this.#say({ name: "connecting" });
    socket.onopen = mine(() => this.#greet());
    socket.onmessage = mine((event) => this.#receive(event.data));
    socket.onclose = mine((event) => this.#closed(event.code));
    this.#after("open", OPEN_WITHIN, () => this.#retry());
  }

  logIn(user, key) {
    this.#login = { user, key };
    this.#attempt = 0;
    this.connect();
  }

  logOut() {
    this.#hangUp();
    this.#login = null;
    this.#resume = null;
    this.#say({ name: "logged-out" });
  }

  /** Subscribes to this topic and to no other. */
  select(topic) {
    if (topic === this.#topic) return;
    this.#topic = topic;
    this.#resume = null;
    if (this.#state.name === "live") this.#change();
  }

  /** Subscribes to these topics of values and to no others. */
  follow(topics) {
    this.#beside = new Set(topics);
    if (this.#state.name === "live") this.#changeBeside();
  }

  /** Asks which topics of values there are. */
  look() {
    if (this.#state.name === "live") this.#look = this.#send({ op: "topics" });
  }

  #changeBeside() {
    this.#after("beside", CHANGE_EVERY, () => {
      const gone = [...this.#besideTaken].filter((topic) => !this.#beside.has(topic));
      const more = [...this.#beside].filter((topic) => !this.#besideTaken.has(topic));
      if (gone.length > 0) this.#send({ op: "unsubscribe", topics: gone });
      if (more.length > 0) this.#send({ op: "subscribe", topics: more, history: HISTORY });
      this.#besideTaken = new Set(this.#beside);
    });
  }

  #change() {
    const wait = Math.max(0, this.#changed + CHANGE_EVERY - Date.now());
    this.#after("change", wait, () => {
      this.#changed = Date.now();
      if (this.#taken !== null && this.#taken !== this.#topic) {
        this.#send({ op: "unsubscribe", topics: [this.#taken] });
        this.#taken = null;
      }
      if (this.#topic !== null) this.#subscribe();
    });
  }

  #subscribe() {
    const request = { op: "subscribe", topics: [this.#topic], history: HISTORY };
    if (this.#resume !== null) request.since = { [this.#topic]: this.#resume };
    this.#subscription = this.#send(request);
    this.#taken = this.#topic;
    this.#asked = true;
  }

  #greet() {
    this.#cancel("open");
    if (this.#login === null) {
      this.#send({ op: "topics" });
      this.#after("answer", ANSWER_WITHIN, () => this.#say({ name: "logged-out" }));
    } else {
      this.#say({ name: "logging-in" });
      this.#send({ op: "auth", ...this.#login });
      this.#after("answer", OPEN_WITHIN, () => this.#retry());
    }
  }

  #receive(text) {
    this.#on.message();
    this.#after("life", QUIET_AFTER, () => this.#ask());
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#stop("a message that is not JSON");
    }
    if (message.op === "auth") this.#answeredAuth(message);
    else if (message.op === "topics" && message.id === this.#look) this.#on.known(message.values ?? []);
    else if (message.op === "topics") this.#answeredTopics(message);
    else if (message.op === "subscribe") this.#answeredSubscribe(message);
    else if (message.type === "status") this.#on.feeds(message.feeds);
    else if (message.op === "pong") this.ahead = message.time - Date.now();
    else if (message.topic === this.#topic && message.type === "snapshot") this.#pushedSnapshot(message);
    else if (message.topic === this.#topic && message.type === "kline") this.#pushedKline(message);
    else if (!this.#beside.has(message.topic)) return;
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
    this.#ask();
    this.#say({ name: "live" });
    this.#on.topics(message);
    this.#on.known(message.values ?? []);
    if (this.#topic !== null && this.#taken === null) this.#change();
  }

  #answeredSubscribe(message) {
    if (message.id !== this.#subscription) return;
    if (!message.ok) {
      this.#taken = null;
      this.#on.refused(message.error);
    } else if (message.topics[this.#topic]?.recovered) {
      this.#asked = false;
    } else {
      this.#resume = null;
    }
  }

  /** One that was not asked for tells of a loss inside the server and is short: a full one is fetched. */
  #pushedSnapshot({ epoch, seq, data }) {
    this.#resume = this.#asked ? { epoch, seq } : null;
    this.#on.snapshot(data);
    if (!this.#asked) this.#change();
    this.#asked = false;
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
      const late = "The server got no log-in in time. Try again.";
      const error = this.#login === null ? undefined : code === REFUSED ? "Wrong user or key. After several wrong ones, wait a minute." : late;
      this.#hangUp();
      this.#login = null;
      this.#say({ name: "logged-out", error });
    } else if (code >= 3500 && code < 4000) {
      this.#stop(FINAL[code] ?? `close code ${code}`);
    } else {
      this.#retry();
    }
  }

  #stop(reason) {
    this.#hangUp();
    this.#say({ name: "stopped", reason });
  }

  #retry() {
    this.#hangUp();
    const longest = Math.min(FIRST_DELAY * 2 ** this.#attempt, LONGEST_DELAY);
    const delay = longest * (0.5 + Math.random() / 2);
    this.#attempt += 1;
    this.#say({ name: "waiting", until: Date.now() + delay });
    this.#after("retry", delay, () => this.connect());
  }

  #hangUp() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#taken = null;
    this.#besideTaken.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Not on a steady beat: a hidden page's timers run late, and a busy topic is itself a sign of life. */
  #ask() {
    this.#send({ op: "ping" });
    this.#after("life", LIFE_WITHIN, () => this.#retry());
  }

  #send(request) {
    this.#id += 1;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ ...request, id: this.#id }));
    return this.#id;
  }

  #say(state) {
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
