// What the map's window shows, as the hub groups it: a browser never gets a whole state's devices.
import { BOLD, FONT, NOTHING, colours } from "./map-style.js";
import { t } from "./strings.js";

const ORDER = ["offline", "fail", "warn", "suspect", "unknown", "maintenance", "normal"];
const BAD = new Set(["offline", "fail"]);
const WARN = new Set(["warn", "suspect"]);
const EVERY_MS = 1000;
const AGAIN_MS = 5000;

export class Devices {
  constructor(list, count) {
    this.box = list;
    this.count = count;
    this.words = JSON.parse(list.dataset.words);
    this.known = new Map();
    this.abnormal = false;
    this.map = null;
    this.drawn = NOTHING;
    this.extent = null;
    this.asked = null;
  }

  /** Fetch what the window shows; only the newest question's answer is drawn. */
  async load() {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    const found = await view(this.map, this.abnormal, asked.signal);
    if (asked.signal.aborted) return;
    if (!found) return this.later(asked);
    const { seen, bad, groups, devices, worst, bounds } = found;
    this.extent = corners(bounds);
    const singles = rows(devices);
    const first = rows(worst);
    this.known = new Map([...singles, ...first].map((row) => [row.id, row]));
    this.drawn = { type: "FeatureCollection", features: [...clusters(groups), ...singles.map(feature)] };
    this.map?.getSource("devices")?.setData(this.drawn);
    if (!this.box.contains(document.activeElement)) this.box.replaceChildren(...first.map((row) => this.item(row)));
    this.count.textContent = t("{n} devices in view, {bad} faulty or offline", { n: seen, bad });
  }

  /** Where the hub did not answer, ask again, unless something newer was asked meanwhile. */
  later(asked) {
    setTimeout(() => asked === this.asked && this.load(), AGAIN_MS);
  }

  /** Ask again soon after a change, however many there are. */
  follow() {
    let timer = null;
    document.body.addEventListener("prahari:devices", () => {
      timer ??= setTimeout(async () => {
        await this.load();
        timer = null;
      }, EVERY_MS / 4);
    });
  }

  filter(abnormal) {
    this.abnormal = abnormal;
    this.load();
  }

  bounds() {
    return this.extent;
  }

  /** From now on what this map's window shows; asked for at once, while the map is still being made. */
  follows(map) {
    this.map = map;
    map.on("moveend", () => this.load());
    return this.load();
  }

  show(map) {
    const c = colours();
    map.addSource("devices", { type: "geojson", data: this.drawn });
    const tenths = (name) => ["min", 10, ["ceil", ["/", ["*", 10, ["get", name]], ["get", "point_count"]]]];
    const rest = ["max", 0, ["min", tenths("warn"), ["-", 10, tenths("bad")]]];
    map.addLayer({
      id: "clusters", type: "symbol", source: "devices", filter: ["has", "point_count"],
      layout: {
        "icon-image": ["concat", "ring-", ["to-string", tenths("bad")], "-", ["to-string", rest]], "icon-allow-overlap": true,
        "icon-size": ["step", ["get", "point_count"], 1, 100, 1.2, 1000, 1.4],
        "text-field": ["case", [">", ["get", "bad"], 0], ["concat", ["get", "short"], "\n✕ ", ["to-string", ["get", "bad"]]], ["to-string", ["get", "short"]]],
        "text-font": BOLD, "text-size": ["case", [">", ["get", "bad"], 0], 11, 13], "text-line-height": 1.05, "text-allow-overlap": true,
      },
      paint: { "text-color": c.ink },
    });
    map.addLayer({
      id: "devices", type: "symbol", source: "devices", filter: ["!", ["has", "point_count"]],
      layout: { "icon-image": ["concat", "state-", ["get", "state"]], "icon-allow-overlap": true, "symbol-sort-key": ["get", "order"] },
    });
    map.addLayer({
      id: "device-names", type: "symbol", source: "devices", minzoom: 11, filter: ["!", ["has", "point_count"]],
      layout: { "text-field": ["get", "name"], "text-font": FONT, "text-size": 12, "text-offset": [0, 1.1], "text-anchor": "top", "text-optional": true },
      paint: { "text-color": c.ink, "text-halo-color": c.raised, "text-halo-width": 1.6 },
    });
  }

  item(row) {
    const item = document.createElement("li");
    const link = Object.assign(document.createElement("a"), { href: `/devices/${row.id}` });
    const mark = document.getElementById(`mark-${row.state}`).content.firstElementChild.cloneNode(true);
    const name = Object.assign(document.createElement("span"), { className: "name" });
    name.append(Object.assign(document.createElement("span"), { textContent: row.name || row.id }), Object.assign(document.createElement("span"), { textContent: this.words[row.state], className: `state-${row.state}` }));
    const where = Object.assign(document.createElement("span"), { className: "where", textContent: [row.name && row.id, row.site].filter(Boolean).join(" · ") });
    link.append(mark, name, where);
    item.append(link);
    return item;
  }

  /** For a pole with several devices. */
  list(found) {
    const list = Object.assign(document.createElement("ul"), { className: "in-view" });
    list.append(...found.map((row) => this.item(row)));
    return list;
  }

  /** The devices of a group that no zoom takes apart, at most a hundred, the worst first. */
  async within(group) {
    const found = await ask({ zoom: 24, box: [group.west, group.south, group.east, group.north].map((value) => value / 1e5).join(","), abnormal: this.abnormal });
    return found ? rows(found.worst) : [];
  }
}

function feature(row) {
  const properties = { id: row.id, name: row.name || row.id, state: row.state, bad: Number(BAD.has(row.state)), warn: Number(WARN.has(row.state)), order: -ORDER.indexOf(row.state) };
  return { type: "Feature", properties, geometry: { type: "Point", coordinates: [row.lon, row.lat] } };
}

/** A group's share of faults is drawn from its numbers; its corners say what a click shows. */
function clusters({ lat, lon, count, bad, warn, south, west, north, east }) {
  return count.map((n, at) => ({
    type: "Feature",
    properties: { point_count: n, short: n < 1000 ? `${n}` : `${Math.round(n / 100) / 10}k`, bad: bad[at], warn: warn[at], south: south[at], west: west[at], north: north[at], east: east[at] },
    geometry: { type: "Point", coordinates: [degrees(lon[at]), degrees(lat[at])] },
  }));
}

/** The hub's answer for the window of the map, or for everything where there is no map. */
async function view(map, abnormal, signal) {
  if (!map) return ask({ abnormal }, signal);
  const bounds = map.getBounds();
  const lon = (value) => Math.max(-180, Math.min(180, value)).toFixed(5);
  const box = [lon(bounds.getWest()), bounds.getSouth().toFixed(5), lon(bounds.getEast()), bounds.getNorth().toFixed(5)];
  return ask({ zoom: Math.round(map.getZoom() * 2) / 2, box: box.join(","), abnormal }, signal);
}

async function ask(query, signal) {
  const answer = await fetch(`/api/v1/map/view?${new URLSearchParams(query)}`, { headers: { accept: "application/json" }, signal }).catch(() => null);
  return answer?.ok ? answer.json().catch(() => null) : null;
}

/** South-west and north-east of what the hub says that the devices cover. */
export function corners(bounds) {
  return bounds && [[degrees(bounds[0]), degrees(bounds[1])], [degrees(bounds[2]), degrees(bounds[3])]];
}

function degrees(value) {
  return value === null ? null : value / 1e5;
}

/** Rows out of columns; positions come as whole numbers of 1e-5 degrees. */
function rows({ id, name, site, state, lon, lat }) {
  return id.map((one, at) => ({ id: one, name: name[at], site: site[at], state: state[at], lon: degrees(lon[at]), lat: degrees(lat[at]) }));
}
