// Dark places: where cameras see little or no light by night. Fetched only while the layer is switched on; the list says the same as the map.
import { BOLD, FONT, NOTHING, colours } from "./map-style.js";
import { t } from "./strings.js";

const EVERY_MS = 600_000;
const AGAIN_MS = 5000;
const WORDS = { none: t("hardly any light"), little: t("little light") };

export class Dark {
  /** `box` holds the switch, what is counted, the legend and the list. */
  constructor(box) {
    this.part = (name) => box.querySelector(`[data-part="${name}"]`);
    this.map = null;
    this.drawn = NOTHING;
    this.asked = null;
    this.timer = null;
    this.part("switch").addEventListener("change", () => this.turn());
    if (this.on) this.turn();
  }

  get on() {
    return this.part("switch").checked;
  }

  turn() {
    this.part("found").hidden = !this.on;
    clearInterval(this.timer);
    if (this.on) this.timer = setInterval(() => this.load(), EVERY_MS);
    else this.asked?.abort();
    for (const id of ["dark-groups", "dark-cameras"]) if (this.map?.getLayer(id)) this.map.setLayoutProperty(id, "visibility", this.on ? "visible" : "none");
    if (this.on) this.load();
  }

  /** Only the newest question's answer is shown; where the hub does not answer, ask again. */
  async load() {
    if (!this.on) return;
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    const answer = await fetch(`/api/v1/map/dark?${new URLSearchParams(this.window())}`, { headers: { accept: "application/json" }, signal: asked.signal }).catch(() => null);
    const found = answer?.ok ? await answer.json().catch(() => null) : null;
    if (asked.signal.aborted) return;
    if (!found) {
      this.part("count").textContent = t("The hub does not answer: asked again in a moment.");
      setTimeout(() => asked === this.asked && this.load(), AGAIN_MS);
      return;
    }
    this.drawn = { type: "FeatureCollection", features: [...groups(found.groups), ...rows(found.cameras).map(feature)] };
    this.map?.getSource("dark")?.setData(this.drawn);
    this.part("count").textContent = found.told
      ? t("{n} dark views here, {unlit} of them with hardly any light; {told} cameras have told of their night", { n: found.seen, unlit: found.unlit, told: found.told })
      : t("No camera has told of a night yet: it takes half an hour of darkness.");
    const list = this.part("list");
    if (!list.contains(document.activeElement)) list.replaceChildren(...rows(found.darkest).map(item));
  }

  window() {
    if (!this.map) return {};
    const bounds = this.map.getBounds();
    const lon = (value) => Math.max(-180, Math.min(180, value)).toFixed(5);
    const box = [lon(bounds.getWest()), bounds.getSouth().toFixed(5), lon(bounds.getEast()), bounds.getNorth().toFixed(5)];
    return { zoom: Math.round(this.map.getZoom() * 2) / 2, box: box.join(",") };
  }

  /** Beside the devices' marks, which stay legible above them. */
  show(map) {
    const c = colours();
    this.map = map;
    map.on("moveend", () => this.load());
    for (const [light, draw] of Object.entries(MOONS)) map.addImage(`dark-${light}`, moon(draw, c), { pixelRatio: 2 });
    map.addSource("dark", { type: "geojson", data: this.drawn });
    const visibility = this.on ? "visible" : "none";
    const letters = { "text-color": c.ink, "text-halo-color": c.raised, "text-halo-width": 1.6 };
    map.addLayer({
      id: "dark-groups", type: "symbol", source: "dark", filter: ["has", "count"],
      layout: {
        visibility, "icon-image": ["case", [">", ["get", "unlit"], 0], "dark-none", "dark-little"], "icon-allow-overlap": true, "icon-offset": [0, -30],
        "text-field": ["to-string", ["get", "count"]], "text-font": BOLD, "text-size": 13, "text-anchor": "left", "text-offset": [1, -2.2], "text-allow-overlap": true,
      },
      paint: letters,
    });
    map.addLayer({
      id: "dark-cameras", type: "symbol", source: "dark", filter: ["!", ["has", "count"]],
      layout: {
        visibility, "icon-image": ["concat", "dark-", ["get", "light"]], "icon-allow-overlap": true, "icon-offset": [0, -22],
        "text-field": ["to-string", ["get", "level"]], "text-font": FONT, "text-size": 12, "text-anchor": "left", "text-offset": [0.9, -1.9], "text-optional": true,
      },
      paint: letters,
    });
    if (this.on) this.load();
  }
}

/** A full disc for hardly any light, a crescent for little: told apart by shape. */
const MOONS = {
  none: (pen) => pen.arc(12, 12, 8, 0, 7),
  little: (pen) => { pen.arc(12, 12, 8, -Math.PI / 2, Math.PI / 2, true); pen.quadraticCurveTo(5, 12, 12, 4); },
};

function moon(draw, c) {
  const made = Object.assign(document.createElement("canvas"), { width: 48, height: 48 });
  const pen = made.getContext("2d", { willReadFrequently: true });
  pen.scale(2, 2);
  pen.beginPath();
  draw(pen);
  pen.closePath();
  pen.fillStyle = c.ink; pen.strokeStyle = c.raised; pen.lineWidth = 2;
  pen.stroke(); pen.fill();
  return pen.getImageData(0, 0, 48, 48);
}

function groups({ lat, lon, count, bad }) {
  return count.map((n, at) => ({ type: "Feature", properties: { count: n, unlit: bad[at] }, geometry: point(lon[at], lat[at]) }));
}

function rows({ id, name, site, camera, level, light, lat, lon }) {
  return id.map((one, at) => ({ id: one, name: name[at], site: site[at], camera: camera[at], level: level[at], light: light[at], lat: lat[at], lon: lon[at] }));
}

function feature({ id, camera, level, light, lat, lon }) {
  return { type: "Feature", properties: { id, camera, level, light }, geometry: point(lon, lat) };
}

const point = (lon, lat) => ({ type: "Point", coordinates: [lon / 1e5, lat / 1e5] });

function item(row) {
  const part = (className, textContent) => Object.assign(document.createElement("span"), { className, textContent });
  const link = Object.assign(document.createElement("a"), { href: `/devices/${row.id}` });
  const name = part("name", "");
  name.append(part("", row.name || row.id), part("", `${WORDS[row.light]}, ${row.level}`));
  const mark = document.getElementById(`mark-dark-${row.light}`).content.firstElementChild.cloneNode(true);
  link.append(mark, name, part("where", [row.camera, row.name && row.id, row.site].filter(Boolean).join(" · ")));
  const made = document.createElement("li");
  made.append(link);
  return made;
}
