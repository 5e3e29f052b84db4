// The pictures on the map: one shape a state, and a ring that shows which share of a cluster's devices is faulty.
import { colours } from "./map-style.js";

const RATIO = 2;

function canvas(size) {
  const made = document.createElement("canvas");
  made.width = made.height = size * RATIO;
  const pen = made.getContext("2d", { willReadFrequently: true });
  pen.scale(RATIO, RATIO);
  return [made, pen];
}

const image = (made) => made.getContext("2d").getImageData(0, 0, made.width, made.height);

function polygon(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
}

/** Each draws into a square of 24, centre 12. A light outline keeps shapes apart from roads. */
const SHAPES = {
  normal: (pen, c) => { pen.arc(12, 12, 5.5, 0, 7); fill(pen, c.idle, c.raised); },
  suspect: (pen, c) => {
    pen.arc(12, 12, 6.5, 0, 7); fill(pen, c.raised, c.muted);
    pen.beginPath(); pen.arc(12, 12, 6.5, -Math.PI / 2, Math.PI / 2); pen.fillStyle = c.muted; pen.fill();
  },
  unknown: (pen, c) => { pen.arc(12, 12, 6.5, 0, 7); fill(pen, c.raised, c.raised); pen.setLineDash([3, 2.2]); pen.strokeStyle = c.muted; pen.lineWidth = 2; pen.stroke(); },
  maintenance: (pen, c) => { polygon(pen, [[3, 8], [21, 8], [21, 16], [3, 16]]); fill(pen, c.muted, c.raised); pen.beginPath(); pen.moveTo(7, 15); pen.lineTo(10, 9); pen.moveTo(13, 15); pen.lineTo(16, 9); cross(pen, c); },
  warn: (pen, c) => { polygon(pen, [[2, 4], [22, 4], [12, 21.5]]); fill(pen, c.minor, c.raised); },
  fail: (pen, c) => { polygon(pen, [[12, 2], [22.5, 20.5], [1.5, 20.5]]); fill(pen, c.major, c.raised); bang(pen, c); },
  offline: (pen, c) => { polygon(pen, [[3, 3], [21, 3], [21, 21], [3, 21]]); fill(pen, c.critical, c.raised); pen.beginPath(); pen.moveTo(8, 8); pen.lineTo(16, 16); pen.moveTo(16, 8); pen.lineTo(8, 16); cross(pen, c); },
};

function fill(pen, colour, edge) {
  pen.fillStyle = colour; pen.strokeStyle = edge; pen.lineWidth = 1.6; pen.lineJoin = "round";
  pen.fill(); pen.stroke();
}
function cross(pen, c) { pen.strokeStyle = c.cut; pen.lineWidth = 2.4; pen.lineCap = "round"; pen.stroke(); }
function bang(pen, c) { pen.fillStyle = c.cut; pen.fillRect(11, 8, 2, 6); pen.fillRect(11, 15.5, 2, 2.2); }

/** Ring of tenths: `bad` in the colour of faults, then `warn`, the rest grey. */
function ring(bad, warn, c) {
  const [made, pen] = canvas(44);
  pen.arc(22, 22, 16, 0, 7); pen.fillStyle = c.raised; pen.fill();
  const arc = (from, to, colour, width) => {
    pen.beginPath(); pen.arc(22, 22, 18, from * Math.PI * 0.2 - Math.PI / 2, to * Math.PI * 0.2 - Math.PI / 2);
    pen.strokeStyle = colour; pen.lineWidth = width; pen.stroke();
  };
  arc(0, 10, c["line-strong"], 3);
  if (warn) arc(bad, Math.min(10, bad + warn), c.minor, 6);
  if (bad) arc(0, bad, c.critical, 7);
  return image(made);
}

export function marks(map) {
  const c = colours();
  for (const [state, draw] of Object.entries(SHAPES)) {
    const [made, pen] = canvas(24);
    draw(pen, c);
    map.addImage(`state-${state}`, image(made), { pixelRatio: RATIO });
  }
  for (let bad = 0; bad <= 10; bad++) for (let warn = 0; warn <= 10 - bad; warn++) map.addImage(`ring-${bad}-${warn}`, ring(bad, warn, c), { pixelRatio: RATIO });
}
