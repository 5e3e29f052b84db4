// Layers that an admin uploaded: GeoJSON drawn by its property "kind" (ward, park, water, rail, road with rank 1 to 3), PMTiles by geometry.
// Boundary layers of foreign tiles are left out: they draw India's border otherwise than India does.
import * as maplibre from "maplibre-gl";
import { PMTiles, Protocol, TileType } from "pmtiles";
import { FONT, colours, tones } from "./map-style.js";

const KIND = (name) => ["==", ["get", "kind"], name];
const LINE = ["==", ["geometry-type"], "LineString"];
const AREA = ["==", ["geometry-type"], "Polygon"];
const BOUNDARY = /bound|admin|border|disput/i;
const BEFORE = "cities";

export async function addLayers(map, list) {
  const items = JSON.parse(list?.dataset.layers ?? "[]");
  const protocol = new Protocol();
  maplibre.addProtocol("pmtiles", protocol.tile);
  for (const item of items) {
    const ids = item.format === "pmtiles" ? await tiles(map, protocol, item) : geojson(map, item);
    const box = list.querySelector(`input[value="${item.id}"]`);
    box?.addEventListener("change", () => ids.forEach((id) => map.setLayoutProperty(id, "visibility", box.checked ? "visible" : "none")));
  }
}

const address = (item) => `/api/v1/map-layers/${item.id}/data`;
const escaped = (text) => Object.assign(document.createElement("i"), { textContent: text }).innerHTML;

function palette() {
  const { dark } = colours();
  return dark
    ? { ...tones(true), ward: "#2b343b", park: "#1f2a24", water: "#22303b", road: "#38424a", minor: "#2a3238", casing: "#171c20", rail: "#4a545d", other: "#4a545d", ground: "#1d2328" }
    : { ...tones(false), ward: "#c6ccd1", park: "#e2e9df", water: "#c3d0da", road: "#ffffff", minor: "#fbfbfb", casing: "#c9cfd4", rail: "#a4adb5", other: "#9aa4ad", ground: "#f2f3f3" };
}

function geojson(map, item) {
  const p = palette();
  const source = `site-${item.id}`;
  map.addSource(source, { type: "geojson", data: address(item), attribution: escaped(item.source) });
  const width = (...stops) => ["interpolate", ["exponential", 1.6], ["zoom"], ...stops];
  const rank = (one, two, three) => ["match", ["get", "rank"], 1, one, 2, two, three];
  const layers = [
    { id: "wards", type: "fill", filter: KIND("ward"), paint: { "fill-color": p.ground } },
    { id: "areas", type: "fill", filter: ["all", AREA, ["!", ["in", ["get", "kind"], ["literal", ["ward", "park", "water"]]]]], paint: { "fill-color": p.ward, "fill-opacity": 0.25 } },
    { id: "parks", type: "fill", filter: KIND("park"), paint: { "fill-color": p.park } },
    { id: "water-area", type: "fill", filter: ["all", AREA, KIND("water")], paint: { "fill-color": p.water } },
    { id: "ward-lines", type: "line", filter: ["all", AREA, ["!", ["in", ["get", "kind"], ["literal", ["park", "water"]]]]], paint: { "line-color": p.ward, "line-width": 1.2, "line-dasharray": [4, 3] } },
    { id: "water", type: "line", filter: ["all", LINE, KIND("water")], layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": p.water, "line-width": width(10, rank(1.5, 1, 0.5), 14, rank(14, 8, 2), 17, rank(70, 30, 8)) } },
    { id: "casing", type: "line", filter: ["all", LINE, KIND("road")], layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": p.casing, "line-width": width(10, rank(1.2, 0.4, 0), 14, rank(7, 5, 3), 17, rank(24, 18, 12)) } },
    { id: "roads", type: "line", filter: ["all", LINE, KIND("road")], layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": ["case", ["<=", ["coalesce", ["get", "rank"], 2], 2], p.road, p.minor], "line-width": width(10, rank(0.8, 0.2, 0), 14, rank(5, 3.4, 1.8), 17, rank(21, 15, 10)) } },
    { id: "rail", type: "line", filter: ["all", LINE, KIND("rail")], paint: { "line-color": p.rail, "line-width": width(10, 0.8, 15, 2.5), "line-dasharray": [4, 2] } },
    { id: "others", type: "line", filter: ["all", LINE, ["!", ["in", ["get", "kind"], ["literal", ["road", "rail", "water"]]]]], paint: { "line-color": p.other, "line-width": 1.2 } },
    { id: "line-names", type: "symbol", minzoom: 12.5, filter: ["all", LINE, ["has", "name"]], layout: names(11, "line"), paint: lettering(p) },
    { id: "area-names", type: "symbol", minzoom: 11, filter: ["all", AREA, ["has", "name"]], layout: names(["match", ["get", "kind"], "ward", 13, 11], "point"), paint: lettering(p) },
  ];
  return layers.map((layer) => add(map, source, layer));
}

function names(size, placement) {
  const local = `name:${document.documentElement.lang}`;
  return { "text-field": ["coalesce", ["get", local], ["get", "name"]], "text-font": FONT, "text-size": size, "symbol-placement": placement, "symbol-spacing": 400, "text-padding": 4 };
}
const lettering = (p) => ({ "text-color": p.text, "text-halo-color": p.halo, "text-halo-width": 1.4 });

function add(map, source, layer, more = {}) {
  const id = `${source}-${layer.id}`;
  map.addLayer({ ...layer, id, source, ...more }, BEFORE);
  return id;
}

async function tiles(map, protocol, item) {
  const p = palette();
  const url = new URL(address(item), location.href).href;
  const archive = new PMTiles(url);
  protocol.add(archive);
  const source = `site-${item.id}`;
  const header = await archive.getHeader();
  const raster = header.tileType !== TileType.Mvt;
  map.addSource(source, { type: raster ? "raster" : "vector", url: `pmtiles://${url}`, attribution: escaped(item.source), ...(raster ? { tileSize: 256 } : {}) });
  if (raster) return [add(map, source, { id: "raster", type: "raster", paint: { "raster-saturation": -0.6 } })];
  const { vector_layers: parts = [] } = await archive.getMetadata();
  const ids = [];
  for (const { id: part } of parts.filter(({ id }) => !BOUNDARY.test(id))) {
    const tone = /water|sea|ocean/i.test(part) ? p.water : /park|green|land/i.test(part) ? p.park : p.ward;
    ids.push(add(map, source, { id: `${part}-fill`, type: "fill", filter: AREA, paint: { "fill-color": tone, "fill-opacity": 0.6 } }, { "source-layer": part }));
    ids.push(add(map, source, { id: `${part}-line`, type: "line", filter: LINE, paint: { "line-color": /water/i.test(part) ? p.water : p.other, "line-width": 1 } }, { "source-layer": part }));
  }
  for (const { id: part } of parts.filter(({ id }) => /road|street|transport|place/i.test(id)))
    ids.push(add(map, source, { id: `${part}-names`, type: "symbol", minzoom: 11, filter: ["has", "name"], layout: { ...names(11, "point"), "symbol-placement": /place/i.test(part) ? "point" : "line" }, paint: lettering(p) }, { "source-layer": part }));
  return ids;
}
