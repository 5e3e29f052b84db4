// Health charts of one device: mean as a line, least to most as a band; where nothing was said there is a gap.
import uPlot from "uplot";
import { t } from "./strings.js";

const UNITS = { cpu: "%", memory: "%", disk: "%", temperature: "°C", clock: "ms", link: "ms" };
const NAMES = { cpu: t("Processor"), memory: t("Memory"), disk: t("Disk"), temperature: t("Temperature"), clock: t("Clock offset"), link: t("Link round trip"), outbox: t("Events waiting"), power: t("Power"), certificate: t("Certificate, days left"), uploads: t("Files waiting"), footage: t("Footage, seconds behind") };
const ORDER = Object.keys(NAMES);
const EVERY_MS = 60_000;
const box = document.getElementById("charts");
let hours = 24;
const DAY_S = 86400;
let charts = [];

const byNight = (name) => (name.startsWith("peripheral:") ? t("Brightness by night: {camera}", { camera: name.slice("peripheral:".length) }) : name);

const colour = (name) => {
  const probe = Object.assign(document.createElement("i"), { className: "probe" });
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

async function draw() {
  const answer = await fetch(`/api/v1/devices/${box.dataset.device}/history?from=${new Date(Date.now() - hours * 3.6e6).toISOString()}`, { headers: { accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) return;
  const { times, checks } = await answer.json();
  charts.forEach((chart) => chart.destroy());
  charts = [];
  const names = Object.keys(checks).filter((name) => checks[name].mean.some((value) => value !== null)).sort((a, b) => (ORDER.indexOf(a) + 99) % 99 - (ORDER.indexOf(b) + 99) % 99);
  const xs = times.map((at) => Date.parse(at) / 1000);
  box.replaceChildren();
  if (!names.length) box.append(Object.assign(document.createElement("p"), { className: "muted", textContent: t("Nothing measured in this time.") }));
  for (const name of names) charts.push(one(name, xs, checks[name]));
  box.dataset.drawn = String(names.length);
}

function one(name, xs, { min, mean, max }) {
  const unit = UNITS[name] ?? "";
  const title = `${NAMES[name] ?? byNight(name)}${unit ? ` (${unit})` : ""}`;
  const figure = document.createElement("figure");
  figure.className = "chart";
  figure.append(Object.assign(document.createElement("figcaption"), { textContent: title }));
  const plot = document.createElement("div");
  const known = mean.filter((value) => value !== null);
  const gaps = mean.length - known.length;
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", t("{title}: last {last}, least {least}, most {most}; {gaps} of {all} intervals without data", {
    title, last: known.at(-1), least: Math.min(...min.filter((value) => value !== null)), most: Math.max(...max.filter((value) => value !== null)), gaps, all: mean.length,
  }));
  figure.append(plot);
  box.append(figure);
  const [ink, muted, line, act] = ["ink", "muted", "line", "act"].map(colour);
  const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { stroke: line }, font: "11px Prahari Sans" };
  const clear = "transparent";
  return new uPlot({
    width: figure.clientWidth, height: 150,
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Asia/Kolkata"),
    cursor: { y: false }, legend: { show: true, live: true },
    scales: { x: { time: true, range: [xs[0], xs.at(-1)] }, y: unit === "%" ? { range: [0, 100] } : {} },
    axes: [{ ...axis, values: ticks() }, { ...axis, size: 44 }],
    series: [
      { label: t("Time"), value: hours > 800 ? "{DD}.{MM}.{YYYY}" : "{DD}.{MM}. {HH}:{mm}" },
      { label: t("Mean"), stroke: act, width: 1.6, spanGaps: false, points: { show: true, size: 5, fill: act, filter: alone } },
      { label: t("Least"), stroke: clear, spanGaps: false, points: { show: false } },
      { label: t("Most"), stroke: clear, spanGaps: false, points: { show: false } },
    ],
    bands: [{ series: [3, 2], fill: fade(act) }],
  }, [xs, mean, min, max], plot);
}

/** Labels of the time axis: clock within a day, dates within months, months beyond. */
function ticks() {
  const formats = hours > 800 ? [[28 * DAY_S, "{M}/{YY}"], [DAY_S, "{D}.{M}."]] : hours > 24 ? [[DAY_S, "{D}.{M}."], [3600, "{HH}:{mm}"]] : [[3600, "{HH}:{mm}"], [60, "{HH}:{mm}"]];
  return formats.map(([step, text]) => [step, text, null, null, null, null, null, null, 1]);
}

/** Values between two gaps: a line cannot show them. */
function alone(plot, series) {
  const values = plot.data[series];
  return values.flatMap((value, at) => (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? [at] : []));
}

const fade = (rgb) => rgb.replace(/^rgb\((.*)\)$/, "rgba($1, 0.16)");

document.getElementById("span").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  hours = Number(button.dataset.hours);
  for (const other of document.querySelectorAll("#span button")) other.setAttribute("aria-pressed", String(other === button));
  draw();
});
addEventListener("resize", () => charts.forEach((chart) => chart.setSize({ width: chart.root.closest("figure").clientWidth, height: 150 })));
draw();
setInterval(draw, EVERY_MS);
