// The one EventSource: opens it for the wanted topics, reopens it with back-off, tells gaps in the numbers as "resync".
const RETRY_MS = [500, 1000, 2000, 4000];

export class Stream {
  constructor(tell) {
    this.tell = tell;
    this.topics = "";
    this.numbers = {};
    this.feed = null;
    this.tries = 0;
    this.connected = false;
    this.heardAt = Date.now();
    this.missing = [];
  }

  state() {
    return { type: "state", connected: this.connected, heardAt: this.heardAt, missing: this.missing };
  }

  want(topics) {
    const wanted = [...new Set(topics)].sort().join(",");
    if (wanted === this.topics) return;
    const gone = this.topics.split(",").filter((topic) => !wanted.split(",").includes(topic));
    for (const topic of gone) delete this.numbers[topic];
    this.topics = wanted;
    if (wanted) this.open();
    else this.close();
  }

  /** Topics that moved on since ``position`` was taken: the page that carries it must fetch them. */
  missed(topics, { feed, n }) {
    return topics.filter((topic) => feed !== this.feed || n[topic] !== this.numbers[topic]);
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
  }

  open() {
    this.close();
    this.connected = false;
    const source = new EventSource(`/live?topics=${this.topics}`);
    this.source = source;
    source.addEventListener("hello", ({ data }) => this.hello(JSON.parse(data)));
    source.addEventListener("change", ({ data }) => this.change(JSON.parse(data)));
    source.addEventListener("beat", ({ data }) => this.beat(JSON.parse(data)));
    source.addEventListener("signed-out", () => this.tell({ type: "signed-out" }));
    source.onerror = () => this.lost();
  }

  beat({ missing }) {
    this.missing = missing;
    this.heard();
  }

  heard() {
    this.heardAt = Date.now();
    this.tell(this.state());
  }

  hello({ feed, n }) {
    const missed = Object.keys(n).filter((topic) => topic in this.numbers && (feed !== this.feed || n[topic] !== this.numbers[topic]));
    this.numbers = { ...this.numbers, ...n };
    this.feed = feed;
    this.connected = true;
    this.tries = 0;
    this.heard();
    if (missed.length) this.tell({ type: "resync", topics: missed });
  }

  change({ topic, n, changes, all }) {
    const gap = n !== this.numbers[topic] + 1;
    this.numbers[topic] = n;
    this.heard();
    if (gap || all) this.tell({ type: "resync", topics: [topic] });
    else this.tell({ type: "changes", topic, changes });
  }

  /** Whether it is refused is asked when it cannot be opened: a hub that stops ends its streams first and answers for a moment longer. */
  lost() {
    const broke = this.connected;
    this.source.close();
    this.connected = false;
    this.tell(this.state());
    if (!broke) this.tell({ type: "refused?" });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
  }
}
