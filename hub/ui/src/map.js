// The map: where the devices stand, the worst first in the list beside it. Also works as a list alone where there is no WebGL.
import * as maplibre from "maplibre-gl";
import { Dark } from "./map-dark.js";
import { Devices, corners } from "./map-devices.js";
import { baseStyle, faces, furnish, graticule } from "./map-style.js";
import { addLayers } from "./map-layers.js";
import { marks } from "./map-marks.js";
import { t } from "./strings.js";

const INDIA = [[68, 6.5], [97.5, 37.2]];
const LATEST_MS = 2000;
const POLE_UNITS = 3; // 1e-5 degrees: about three metres
const box = document.getElementById("map");
const devices = new Devices(document.getElementById("in-view"), document.getElementById("in-view-count"));
const dark = new Dark(document.getElementById("dark"));

maplibre.setWorkerUrl(box.dataset.worker);
maplibre.prewarm();

async function start() {
  // Where the hub has said what the devices cover, the map is made at once, and its window asked for meanwhile.
  devices.extent = corners(JSON.parse(box.dataset.bounds || "null"));
  if (!devices.extent) await devices.load();
  devices.follow();
  document.getElementById("only-abnormal").addEventListener("change", (event) => devices.filter(event.target.checked));
  try {
    await draw();
  } catch (error) {
    fail(error);
    if (!devices.map) devices.load();
  }
}

async function draw() {
  const letters = faces();
  const around = devices.bounds() ?? INDIA;
  const map = new maplibre.Map({
    container: box,
    style: baseStyle(),
    bounds: around,
    fitBoundsOptions: { padding: 70, maxZoom: 14 },
    hash: "at",
    maxZoom: 19,
    minZoom: 2.5,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    fadeDuration: 0,
    locale: { "NavigationControl.ZoomIn": t("Zoom in"), "NavigationControl.ZoomOut": t("Zoom out"), "Map.Title": t("Map") },
  });
  devices.follows(map);
  map.touchZoomRotate.disableRotation();
  map.on("error", ({ error }) => console.warn("map:", error?.message));
  map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-left");
  map.addControl(new maplibre.ScaleControl({ maxWidth: 140 }), "bottom-left");
  map.addControl(new maplibre.AttributionControl({ compact: false }), "bottom-right");
  await Promise.all([letters, new Promise((resolve) => map.once("style.load", resolve))]);
  marks(map);
  devices.show(map);
  dark.show(map);
  window.prahari = Object.assign(window.prahari ?? {}, { map });
  map.on("click", "clusters", ({ features: [cluster] }) => expand(map, cluster));
  map.on("click", "devices", ({ features }) => choose(map, features));
  map.on("click", "dark-cameras", ({ features: [camera] }) => location.assign(`/devices/${camera.properties.id}`));
  for (const layer of ["clusters", "devices", "dark-cameras"]) {
    map.on("mouseenter", layer, () => { map.getCanvas().style.cursor = "pointer"; });
    map.on("mouseleave", layer, () => { map.getCanvas().style.cursor = ""; });
  }
  document.getElementById("fit-devices")?.addEventListener("click", () => map.fitBounds(devices.bounds() ?? INDIA, { padding: 70, maxZoom: 15 }));
  document.getElementById("fit-india")?.addEventListener("click", () => map.fitBounds(INDIA, { padding: 20 }));
  // When the devices are drawn, what lies under them; where they change all the time, after a while.
  await new Promise((resolve) => { map.once("idle", resolve); setTimeout(resolve, LATEST_MS); });
  furnish(map, box, "clusters");
  addLayers(map, document.getElementById("layers")).catch((error) => console.warn("map layer:", error.message));
  const grid = () => map.getSource("grid").setData(graticule(map));
  map.on("moveend", grid);
  grid();
}

/** Zoom to what a group covers; at one pole, a list to choose from. */
async function expand(map, cluster) {
  const { west, south, east, north } = cluster.properties;
  const corners = [[west / 1e5, south / 1e5], [east / 1e5, north / 1e5]];
  const camera = map.cameraForBounds(corners, { padding: 80, maxZoom: map.getMaxZoom() });
  const apart = Math.max(east - west, north - south) > POLE_UNITS && map.getZoom() < map.getMaxZoom() - 0.5;
  if (apart && camera) map.easeTo({ ...camera, zoom: Math.max(camera.zoom, map.getZoom() + 1) });
  else popup(map, cluster.geometry.coordinates, await devices.within(cluster.properties));
}

/** One device: its page. Several: a list to choose from. */
function choose(map, features) {
  const ids = [...new Set(features.map((feature) => feature.properties.id))];
  if (ids.length === 1) location.assign(`/devices/${ids[0]}`);
  else popup(map, features[0].geometry.coordinates, ids.map((id) => devices.known.get(id)).filter(Boolean));
}

function popup(map, at, found) {
  new maplibre.Popup({ maxWidth: "320px" }).setLngLat(at).setDOMContent(devices.list(found)).addTo(map);
}

function fail(error) {
  console.warn("map:", error?.message);
  const note = document.createElement("p");
  note.className = "map-fail";
  note.textContent = t("This browser cannot draw the map (WebGL is missing). The list beside it shows every device.");
  box.replaceChildren(note);
  document.body.classList.add("no-map");
}

start();
