// The page's end of the live feed. Other modules listen on document.body: "prahari:<topic>" (detail.changes, or null for "fetch all anew").
// The header says LIVE, DELAYED n s or DISCONNECTED by what was last heard.
import { Stream } from "./stream.js";
import { t } from "./strings.js";

const DELAYED_MS = 12_000;
const LOST_MS = 3_000;
let link = { connected: false, heardAt: null, missing: [] };
let askedAt = 0;

export function start(topics) {
  const worker = document.body.dataset.worker;
  if (!worker || !topics.length) return;
  const position = JSON.parse(document.body.dataset.position);
  if ("SharedWorker" in window) {
    const { port } = new SharedWorker(worker, { name: "prahari-live" });
    port.onmessage = ({ data }) => receive(data);
    port.start();
    port.postMessage({ topics, position });
    addEventListener("pagehide", () => port.postMessage({ bye: true }));
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  } else {
    alone(topics, position);
  }
  setInterval(show, 1000);
}

/** A browser without SharedWorker has a stream a tab. */
function alone(topics, position) {
  let behind = position;
  const stream = new Stream((message) => {
    receive(message);
    if (message.type !== "state" || !message.connected || !behind) return;
    const missed = stream.missed(topics, behind);
    behind = null;
    if (missed.length) receive({ type: "resync", topics: missed });
  });
  stream.want(topics);
}

function receive(message) {
  switch (message.type) {
    case "state":
      link = message;
      show();
      break;
    case "changes":
      dispatch(message.topic, message.changes);
      break;
    case "resync":
      for (const topic of message.topics) dispatch(topic, null);
      break;
    case "signed-out":
      leave("/login");
      break;
    case "refused?":
      ask();
  }
}

function dispatch(topic, changes) {
  document.body.dispatchEvent(new CustomEvent(`prahari:${topic}`, { detail: { changes } }));
}

/** The stream cannot be opened: if that is because nobody is signed in any more, go to log-in. */
async function ask() {
  if (Date.now() - askedAt < 5000) return;
  askedAt = Date.now();
  const answer = await fetch("/live/ping", { headers: { accept: "application/json" } }).catch(() => null);
  if (!answer) askedAt = 0;
  if (answer?.status === 401) leave(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** Only once the hub serves that page: one that just stops still answers what was open, and the browser's own error page would stay. */
async function leave(address) {
  const answer = await fetch(address, { cache: "no-store" }).catch(() => null);
  if (answer?.ok) location.assign(address);
}

function show() {
  const box = document.getElementById("link");
  if (!box) return;
  const silent = link.heardAt === null ? 0 : Date.now() - link.heardAt;
  const state = stateOf(silent);
  const seconds = Math.round(silent / 1000);
  const text = { live: t("LIVE"), deaf: t("HUB HEARS NO DEVICE"), delayed: t("DELAYED {n} s", { n: seconds }), disconnected: t("DISCONNECTED"), connecting: t("CONNECTING") }[state];
  const shown = box.querySelector(".link-text");
  if (shown.textContent !== text) shown.textContent = text;
  box.dataset.state = state;
  const stale = state === "disconnected";
  if (stale && !document.body.classList.contains("stale")) noteStale();
  document.body.classList.toggle("stale", stale);
}

/** "deaf": the line to the hub is fine, but the hub has lost its broker. */
function stateOf(silent) {
  if (!link.connected) return silent < LOST_MS ? "connecting" : "disconnected";
  if (silent > DELAYED_MS) return "delayed";
  return ["broker", "ingest"].some((part) => link.missing.includes(part)) ? "deaf" : "live";
}

function noteStale() {
  const note = document.querySelector(".stale-note") ?? document.getElementById("main").insertAdjacentElement("afterbegin", document.createElement("p"));
  note.className = "stale-note error";
  const clock = new Date(link.heardAt).toLocaleTimeString("en-GB", { timeZone: "Asia/Kolkata" });
  note.textContent = t("No connection to the hub. What stands here is as of {clock}.", { clock });
}
