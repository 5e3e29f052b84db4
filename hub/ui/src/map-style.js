// What lies under the devices: India as India draws it, city names, and a grid that gives scale where nothing else is known.
const FONT = ["Prahari Sans", "Prahari Devanagari"];
const BOLD = ["Prahari Sans Semibold", "Prahari Devanagari"];

/** Resolved colours of the page's theme: canvas and MapLibre understand no light-dark(). */
export function colours() {
  const probe = document.createElement("i");
  document.body.append(probe);
  const found = {};
  for (const name of ["ink", "muted", "idle", "panel", "ground", "raised", "line", "line-strong", "critical", "major", "minor", "warning", "cut", "act"]) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return found;
}

export const NOTHING = { type: "FeatureCollection", features: [] };

const tones = (dark) => dark
  ? { sea: "#12161a", land: "#1d2328", border: "#39434c", grid: "#2b343c", text: "#93a0ab", halo: "#1d2328" }
  : { sea: "#dfe3e6", land: "#f2f3f3", border: "#c2c9cf", grid: "#d3d8dc", text: "#5b6771", halo: "#f2f3f3" };

export { FONT, BOLD, tones };

/** An empty sheet: what lies under the devices comes by `furnish`, so that nothing is fetched, parsed or compiled before what matters is drawn. */
export function baseStyle() {
  return { version: 8, sources: {}, layers: [{ id: "sea", type: "background", paint: { "background-color": tones(colours().dark).sea } }] };
}

/** India, its grid and its cities, below the layer `before` or on top. `box` says where they are; the worker fetches India itself. */
export function furnish(map, box, before) {
  const tone = tones(colours().dark);
  const india = new URL(box.dataset.india, location.href).href;
  map.addSource("india", { type: "geojson", data: india, attribution: "India: <a href=\"https://github.com/VictorCazanave/svg-maps\">@svg-maps/india</a>, CC BY 4.0 (not certified by the Survey of India)" });
  for (const name of ["cities", "grid"]) map.addSource(name, { type: "geojson", data: NOTHING });
  const layers = [
    { id: "land", type: "fill", source: "india", paint: { "fill-color": tone.land } },
    { id: "states", type: "line", source: "india", paint: { "line-color": tone.border, "line-width": ["interpolate", ["linear"], ["zoom"], 3, 0.5, 8, 1.2] } },
    { id: "grid", type: "line", source: "grid", paint: { "line-color": tone.grid, "line-width": 1 } },
    { id: "grid-labels", type: "symbol", source: "grid", minzoom: 7, layout: { "symbol-placement": "line", "symbol-spacing": 700, "text-field": ["get", "label"], "text-font": FONT, "text-size": 10 }, paint: { "text-color": tone.text, "text-halo-color": tone.land, "text-halo-width": 1 } },
    {
      id: "cities", type: "symbol", source: "cities", maxzoom: 10,
      filter: ["<=", ["get", "rank"], ["step", ["zoom"], 1, 4, 2, 5, 3, 6, 4]],
      layout: { "text-field": ["get", "name"], "text-font": FONT, "text-size": ["interpolate", ["linear"], ["zoom"], 3, 11, 9, 15], "text-padding": 6 },
      paint: { "text-color": tone.text, "text-halo-color": tone.halo, "text-halo-width": 1.4 },
    },
  ];
  for (const layer of layers) map.addLayer(layer, before);
  name(map, box.dataset.cities).catch((error) => console.warn("map:", error.message));
}

async function name(map, cities) {
  const answer = await fetch(cities);
  map.getSource("cities").setData(places(await answer.json(), document.documentElement.lang));
}

/** The faces that a map's letters are drawn with; drawn before they are there, letters would stay in another face. */
export function faces() {
  return Promise.all([document.fonts.load('600 16px "Prahari Devanagari"', "क"), document.fonts.load('16px "Prahari Devanagari"', "क"), document.fonts.load('16px "Prahari Sans"')]);
}

function places(cities, lang) {
  const features = cities.map(([english, hindi, lat, lon, rank]) => ({
    type: "Feature",
    properties: { name: lang === "hi" ? hindi : english, rank },
    geometry: { type: "Point", coordinates: [lon, lat] },
  }));
  return { type: "FeatureCollection", features };
}

const STEPS = [20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

/** Meridians and parallels in view, about eight of them across. */
export function graticule(map) {
  const bounds = map.getBounds();
  const [west, east, south, north] = [bounds.getWest(), bounds.getEast(), Math.max(-80, bounds.getSouth()), Math.min(80, bounds.getNorth())];
  const step = STEPS.find((size) => (east - west) / size >= 6) ?? STEPS.at(-1);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const features = [];
  const line = (label, coordinates) => features.push({ type: "Feature", properties: { label }, geometry: { type: "LineString", coordinates } });
  for (let lon = Math.ceil(west / step) * step; lon <= east; lon += step) line(`${lon.toFixed(digits)}° E`, [[lon, south], [lon, north]]);
  for (let lat = Math.ceil(south / step) * step; lat <= north; lat += step) line(`${lat.toFixed(digits)}° N`, [[west, lat], [east, lat]]);
  return { type: "FeatureCollection", features };
}
