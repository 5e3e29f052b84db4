// One stream for all tabs of a browser (SharedWorker). HTTP/1.1 has six connections per origin: a stream a tab would freeze the seventh.
// A tab says {topics, position} and gets {type: "state" | "changes" | "resync" | …}; without SharedWorker the same code runs in the page (live.js).
import { Stream } from "./stream.js";

const ports = new Map();
const stream = new Stream((message) => {
  for (const port of ports.keys()) port.postMessage(message);
  if (message.type === "state" && message.connected) catchUp();
});

/** What each new tab missed between the reading of its page and now. */
function catchUp() {
  for (const [port, tab] of ports) {
    if (!tab.position) continue;
    const missed = stream.missed(tab.topics, tab.position);
    tab.position = null;
    if (missed.length) port.postMessage({ type: "resync", topics: missed });
  }
}

self.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.bye) ports.delete(port);
    else ports.set(port, data);
    stream.want([...ports.values()].flatMap(({ topics }) => topics));
    if (data.bye) return;
    port.postMessage(stream.state());
    if (stream.connected) catchUp();
  };
};
