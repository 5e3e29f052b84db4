// One stream for all tabs of a browser (SharedWorker). HTTP/1.1 has six connections per origin: a stream a tab would freeze the seventh.
// A tab says {topics: […]} and gets {type: "state" | "message", …}; without SharedWorker the same code runs in the page (live.js).
import { Stream } from "./stream.js";

const ports = new Map();
const stream = new Stream((message) => {
  for (const port of ports.keys()) port.postMessage(message);
});

self.onconnect = ({ ports: [port] }) => {
  ports.set(port, []);
  port.onmessage = ({ data }) => {
    if (data.bye) ports.delete(port);
    else ports.set(port, data.topics);
    stream.want([...ports.values()].flat());
    if (!data.bye) port.postMessage(stream.state());
  };
};
