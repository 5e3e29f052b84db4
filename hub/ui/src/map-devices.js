// Devices as columns from the API, as clustered points on the map, and as the list of those in view.
import { BOLD, FONT, colours } from "./map-style.js";
import { t } from "./strings.js";

const ORDER = ["offline", "fail", "warn", "suspect", "unknown", "maintenance", "normal"];
const BAD = new Set(["offline", "fail"]);
const WARN = new Set(["warn", "suspect"]);
const SHOWN = 100;
const EVERY_MS = 1000;

export class Devices {
  constructor(list, count) {
    this.box = list;
    this.count = count;
    this.words = JSON.parse(list.dataset.words);
    this.known = new Map();
    this.abnormal = false;
    this.map = null;
  }

  async load() {
    const all = await rows("");
    this.known = new Map(all.map((row) => [row.id, row]));
    this.render();
  }

  follow() {
    let pending = new Set();
    let timer = null;
    const run = async () => {
      timer = null;
      const ids = pending;
      pending = new Set();
      if (ids === null || ids.size > 500) await this.reload();
      else await this.update([...ids]);
    };
    for (const topic of ["devices"]) {
      document.body.addEventListener(`prahari:${topic}`, ({ detail }) => {
        if (detail.changes === null) pending = null;
        else for (const change of detail.changes) pending?.add(change.id);
        timer ??= setTimeout(run, EVERY_MS / 4);
      });
    }
  }

  async reload() {
    await this.load();
    this.map?.getSource("devices").setData(this.collection());
  }

  async update(ids) {
    const update = [];
    const add = [];
    for (const row of await rows(ids.join(","))) {
      const old = this.known.get(row.id);
      this.known.set(row.id, row);
      if (!old) add.push(feature(row));
      else if (["state", "name", "lat", "lon"].some((key) => old[key] !== row[key]))
        update.push({ id: row.id, newGeometry: feature(row).geometry, addOrUpdateProperties: Object.entries(feature(row).properties).map(([key, value]) => ({ key, value })) });
    }
    if (!update.length && !add.length) return;
    if (this.abnormal) this.map?.getSource("devices").setData(this.collection());
    else this.map?.getSource("devices").updateData({ add, update });
    this.render();
  }

  filter(abnormal) {
    this.abnormal = abnormal;
    this.map?.getSource("devices").setData(this.collection());
    this.render();
  }

  *wanted() {
    for (const row of this.known.values()) if (!this.abnormal || row.state !== "normal") yield row;
  }

  collection() {
    return { type: "FeatureCollection", features: [...this.wanted()].filter((row) => row.lon !== null).map(feature) };
  }

  bounds() {
    const placed = [...this.known.values()].filter((row) => row.lon !== null);
    if (!placed.length) return null;
    const [lons, lats] = [placed.map((row) => row.lon), placed.map((row) => row.lat)];
    const least = (values) => values.reduce((a, b) => Math.min(a, b));
    const most = (values) => values.reduce((a, b) => Math.max(a, b));
    return [[least(lons), least(lats)], [most(lons), most(lats)]];
  }

  show(map) {
    this.map = map;
    const c = colours();
    map.addSource("devices", {
      type: "geojson", data: this.collection(), promoteId: "id", cluster: true, clusterRadius: 46, clusterMaxZoom: 15,
      clusterProperties: { bad: ["+", ["get", "bad"]], warn: ["+", ["get", "warn"]] },
    });
    const tenths = (name) => ["min", 10, ["ceil", ["/", ["*", 10, ["get", name]], ["get", "point_count"]]]];
    const rest = ["max", 0, ["min", tenths("warn"), ["-", 10, tenths("bad")]]];
    map.addLayer({
      id: "clusters", type: "symbol", source: "devices", filter: ["has", "point_count"],
      layout: {
        "icon-image": ["concat", "ring-", ["to-string", tenths("bad")], "-", ["to-string", rest]], "icon-allow-overlap": true,
        "icon-size": ["step", ["get", "point_count"], 1, 100, 1.2, 1000, 1.4],
        "text-field": ["case", [">", ["get", "bad"], 0], ["concat", ["get", "point_count_abbreviated"], "\n✕ ", ["to-string", ["get", "bad"]]], ["to-string", ["get", "point_count_abbreviated"]]],
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
    map.on("moveend", () => this.render());
    this.render();
  }

  /** Devices come sorted by id: one pass into a bucket a state puts the worst first. */
  render() {
    const bounds = this.map?.getBounds();
    const [west, east, south, north] = bounds ? [bounds.getWest(), bounds.getEast(), bounds.getSouth(), bounds.getNorth()] : [];
    const buckets = new Map(ORDER.map((state) => [state, []]));
    let [seen, bad] = [0, 0];
    for (const row of this.wanted()) {
      if (bounds && !(row.lon >= west && row.lon <= east && row.lat >= south && row.lat <= north)) continue;
      seen += 1;
      if (BAD.has(row.state)) bad += 1;
      const bucket = buckets.get(row.state);
      if (bucket.length < SHOWN) bucket.push(row);
    }
    const shown = [...buckets.values()].flat().slice(0, SHOWN);
    if (!this.box.contains(document.activeElement)) this.box.replaceChildren(...shown.map((row) => this.item(row)));
    this.count.textContent = t("{n} devices in view, {bad} faulty or offline", { n: seen, bad });
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
  list(ids) {
    const list = Object.assign(document.createElement("ul"), { className: "in-view" });
    list.append(...ids.map((id) => this.item(this.known.get(id))));
    return list;
  }
}

function feature(row) {
  const properties = { id: row.id, name: row.name || row.id, state: row.state, bad: Number(BAD.has(row.state)), warn: Number(WARN.has(row.state)), order: -ORDER.indexOf(row.state) };
  return { type: "Feature", id: row.id, properties, geometry: { type: "Point", coordinates: [row.lon, row.lat] } };
}

/** Rows out of the columns of /api/v1/map/devices; positions come as whole numbers of 1e-5 degrees. */
async function rows(ids) {
  const query = ids ? `?ids=${encodeURIComponent(ids)}` : "";
  const answer = await fetch(`/api/v1/map/devices${query}`, { headers: { accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) return [];
  const { id, name, site, state, lon, lat } = await answer.json();
  const degrees = (value) => (value === null ? null : value / 1e5);
  return id.map((one, at) => ({ id: one, name: name[at], site: site[at], state: state[at], lon: degrees(lon[at]), lat: degrees(lat[at]) }));
}
