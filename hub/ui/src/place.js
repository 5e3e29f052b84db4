// Where footage is asked for: a click sets the point, the circle is what is asked for, dots are sites and the cameras that were found.
import * as maplibre from "maplibre-gl";
import { addLayers } from "./map-layers.js";
import { baseStyle, colours, faces, furnish } from "./map-style.js";
import { t } from "./strings.js";

const INDIA = [[68, 6.5], [97.5, 37.2]];
const METRES_A_DEGREE = 111195;
const CORNERS = 72;
const box = document.getElementById("place-map");
const field = (name) => document.getElementById(name);

async function draw() {
  maplibre.setWorkerUrl(box.dataset.worker);
  const letters = faces();
  const map = new maplibre.Map({
    container: box,
    style: baseStyle(),
    bounds: bounds(),
    fitBoundsOptions: { padding: 40, maxZoom: 16 },
    maxZoom: 19,
    minZoom: 2.5,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    fadeDuration: 0,
    locale: { "NavigationControl.ZoomIn": t("Zoom in"), "NavigationControl.ZoomOut": t("Zoom out"), "Map.Title": t("Map") },
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-left");
  map.addControl(new maplibre.ScaleControl({ maxWidth: 140 }), "bottom-left");
  map.addControl(new maplibre.AttributionControl({ compact: true }), "bottom-right");
  await Promise.all([letters, new Promise((resolve) => map.once("load", resolve))]);
  furnish(map, box);
  layers(map);
  addLayers(map, box).catch((error) => console.warn("map layer:", error.message));
  map.getCanvas().style.cursor = "crosshair";
  map.on("click", ({ lngLat }) => choose(map, lngLat.wrap()));
  for (const name of ["lat", "lon", "radius_m"]) field(name).addEventListener("input", () => show(map));
  show(map);
  window.prahari.place = map;
}

function layers(map) {
  const { act, ink, panel } = colours();
  const collection = (points) => ({ type: "FeatureCollection", features: points.map(([lon, lat]) => ({ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: [lon, lat] } })) });
  map.addSource("sites", { type: "geojson", data: collection(JSON.parse(box.dataset.sites)) });
  map.addSource("circle", { type: "geojson", data: collection([]) });
  map.addSource("found", { type: "geojson", data: collection(JSON.parse(box.dataset.found)) });
  map.addLayer({ id: "circle-fill", type: "fill", source: "circle", paint: { "fill-color": act, "fill-opacity": 0.15 } });
  map.addLayer({ id: "circle-line", type: "line", source: "circle", paint: { "line-color": act, "line-width": 2 } });
  map.addLayer({ id: "sites", type: "circle", source: "sites", paint: { "circle-radius": 4, "circle-color": ink, "circle-opacity": 0.55 } });
  map.addLayer({ id: "found", type: "circle", source: "found", paint: { "circle-radius": 6, "circle-color": act, "circle-stroke-color": panel, "circle-stroke-width": 2 } });
}

function point() {
  const [lat, lon, radius] = ["lat", "lon", "radius_m"].map((name) => Number.parseFloat(field(name).value));
  return Number.isFinite(lat) && Number.isFinite(lon) && Math.abs(lat) <= 89 && Math.abs(lon) <= 180 ? { lat, lon, radius: Number.isFinite(radius) ? radius : 0 } : null;
}

function circle({ lat, lon, radius }) {
  const high = radius / METRES_A_DEGREE;
  const wide = high / Math.cos((lat * Math.PI) / 180);
  const at = (corner) => (2 * Math.PI * corner) / CORNERS;
  return Array.from({ length: CORNERS + 1 }, (_, corner) => [lon + wide * Math.cos(at(corner)), lat + high * Math.sin(at(corner))]);
}

function show(map) {
  const chosen = point();
  const features = chosen ? [{ type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [circle(chosen)] } }] : [];
  map.getSource("circle").setData({ type: "FeatureCollection", features });
}

function choose(map, { lat, lng }) {
  field("lat").value = lat.toFixed(6);
  field("lon").value = lng.toFixed(6);
  document.querySelector('input[name="kind"][value="point"]').checked = true;
  show(map);
}

/** Around the point that was chosen, else around all sites. */
function bounds() {
  const chosen = point();
  const points = chosen ? circle(chosen) : JSON.parse(box.dataset.sites);
  if (!points.length) return INDIA;
  const [lons, lats] = [0, 1].map((part) => points.map((each) => each[part]));
  return [[Math.min(...lons), Math.min(...lats)], [Math.max(...lons), Math.max(...lats)]];
}

draw().catch((error) => {
  console.warn("map:", error?.message);
  box.hidden = true; // the fields beside it say the same
});
