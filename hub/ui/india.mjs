// India's outline and states as India draws them: the drawing of @svg-maps/india (CC BY 4.0) put onto the globe.
// The drawing is scaled like Web Mercator, so four extreme points fix it: residual error about 0.04 degrees, at most 0.1.
// It shows the units before 2019 and is not certified by the Survey of India; a site with an approved outline uploads its own.
import drawing from "@svg-maps/india";

const EXTREMES = { west: 68.12, east: 97.42, north: 37.1, south: 8.08 };

/** Rings of absolute points of an SVG path of the commands m, l, z (relative or absolute); numbers may read `10e-4`. */
function rings(path) {
  const tokens = path.match(/[mMlLzZ]|-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?/gi);
  const found = [];
  let ring = [];
  let [x, y] = [0, 0];
  let command = "m";
  for (let at = 0; at < tokens.length; ) {
    if (/[mlz]/i.test(tokens[at])) {
      command = tokens[at++];
      if (/z/i.test(command)) {
        found.push(ring);
        [x, y] = ring[0];
        ring = [];
      } else if (/m/i.test(command) && ring.length) {
        found.push(ring);
        ring = [];
      }
      continue;
    }
    const [dx, dy] = [Number(tokens[at]), Number(tokens[at + 1])];
    at += 2;
    [x, y] = command === command.toLowerCase() ? [x + dx, y + dy] : [dx, dy];
    ring.push([x, y]);
  }
  if (ring.length) found.push(ring);
  return found.filter((points) => points.length > 2);
}

const mercator = (lat) => Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360));
const latitude = (y) => (Math.atan(Math.exp(y)) * 360) / Math.PI - 90;
const round = (value) => Math.round(value * 1e4) / 1e4;

/** FeatureCollection of 36 states and union territories, each a MultiPolygon with id and name. */
export function india() {
  const shapes = drawing.locations.map(({ id, name, path }) => ({ id, name, rings: rings(path) }));
  const xs = shapes.flatMap((shape) => shape.rings.flat().map(([x]) => x));
  const ys = shapes.flatMap((shape) => shape.rings.flat().map(([, y]) => y));
  const tip = Math.max(...shapes.find(({ id }) => id === "tn").rings.flat().map(([, y]) => y));
  const [left, right, top] = [xs, xs, ys].map((values, at) =>
    values.reduce((a, b) => (at === 1 ? Math.max(a, b) : Math.min(a, b))));
  const [north, south] = [mercator(EXTREMES.north), mercator(EXTREMES.south)];
  const place = ([x, y]) => [
    round(EXTREMES.west + ((x - left) / (right - left)) * (EXTREMES.east - EXTREMES.west)),
    round(latitude(north + ((y - top) / (tip - top)) * (south - north))),
  ];
  const features = shapes.map((shape) => ({
    type: "Feature",
    properties: { id: shape.id, name: shape.name },
    geometry: {
      type: "MultiPolygon",
      coordinates: shape.rings.map((ring) => {
        const points = ring.map(place);
        return [[...points, points[0]]];
      }),
    },
  }));
  return { type: "FeatureCollection", features };
}
