// Rules of a camera, drawn over its picture. Points are buttons: the mouse drags them, arrow keys move them, Delete removes them.
// What is drawn stands in the text below, which the form sends and the hub judges.
import { t } from "./strings.js";

const SVG = "http://www.w3.org/2000/svg";
const STEP = 0.01;
const TYPES = {
  ObjectsInside: { shape: "region", numbers: { dwell_s: 0 } },
  LoiteringDetector: { shape: "region", numbers: { after_s: 60 } },
  OccupancyCounter: { shape: "region", numbers: { most: 5, clear: 0, for_s: 5 } },
  Crossed: { shape: "line", direction: true, numbers: {} },
  LineCounting: { shape: "line", numbers: { every_s: 300 } },
  WrongDirection: { shape: "region", arrow: true, numbers: { heights: 1 } },
  StationaryObject: { shape: "region", numbers: { after_s: 300 } },
  ObjectAbandoned: { shape: "region", numbers: { after_s: 60 } },
};
const typeName = (type) =>
  ({
    ObjectsInside: t("Inside an area"), LoiteringDetector: t("Loitering"), OccupancyCounter: t("Crowd"), Crossed: t("Line crossed"),
    LineCounting: t("Count at a line"), WrongDirection: t("Wrong way"), StationaryObject: t("Standing still"), ObjectAbandoned: t("Left behind"),
  })[type];
const numberName = (name) =>
  ({
    dwell_s: t("Seconds inside"), after_s: t("After seconds"), most: t("At least so many"), clear: t("Over at so many"),
    for_s: t("For seconds"), every_s: t("Told every so many seconds"), heights: t("By so many of its own heights"),
  })[name];
const severities = () => ({ critical: t("Critical"), major: t("Major"), minor: t("Minor"), warning: t("Warning") });
const directions = () => ({ any: t("Any way"), to_right: t("To the right of the line"), to_left: t("To the left of the line") });

const stage = document.getElementById("stage");
const text = document.getElementById("rules");
const list = document.getElementById("rule-list");
const fields = document.getElementById("rule-fields");
const drawing = stage.querySelector("svg");
let rules = [];
let chosen = 0;

function start() {
  read();
  text.addEventListener("input", () => read() && draw());
  draw();
}

function read() {
  try {
    const found = JSON.parse(text.value);
    if (!Array.isArray(found)) return false;
    rules = found;
    chosen = Math.min(chosen, Math.max(0, rules.length - 1));
    return true;
  } catch {
    return false;
  }
}

const shapeOf = (rule) => rule[TYPES[rule.type]?.shape] ?? [];

function changed() {
  text.value = JSON.stringify(rules, null, 1);
  draw();
}

// Something was changed in place: what has the focus, what Tab leads to, and a button that is just being pressed stay where they are.
function told() {
  text.value = JSON.stringify(rules, null, 1);
  outlineAll();
  list.children[chosen].textContent = called(rules[chosen]);
}

function outlineAll() {
  drawing.replaceChildren(...rules.flatMap((rule, number) => outlines(rule, number === chosen)));
}

function draw() {
  outlineAll();
  list.replaceChildren(...rules.map(choice), button(t("Add a rule"), add));
  for (const old of stage.querySelectorAll(".handle")) old.remove();
  fields.replaceChildren();
  const rule = rules[chosen];
  if (!rule || !TYPES[rule.type]) return;
  stage.append(...handles(rule));
  fields.append(...inputs(rule));
}

const called = (rule) => `${rule.name || rule.id} · ${typeName(rule.type) ?? rule.type}`;

function outlines(rule, active) {
  const type = TYPES[rule.type];
  if (!type) return [];
  const found = [outline(type.shape === "region" ? "polygon" : "polyline", shapeOf(rule), active ? "active" : "")];
  if (type.arrow) found.push(outline("polyline", rule.allowed ?? [], `arrow ${active ? "active" : ""}`));
  return found;
}

function outline(kind, points, name) {
  const drawn = document.createElementNS(SVG, kind);
  drawn.setAttribute("points", points.map(([x, y]) => `${1000 * x},${1000 * y}`).join(" "));
  drawn.setAttribute("class", name);
  return drawn;
}

function choice(rule, number) {
  const made = button(called(rule), () => {
    chosen = number;
    draw();
    list.children[number].focus();
  });
  made.setAttribute("aria-pressed", String(number === chosen));
  return made;
}

function button(label, run) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button small";
  made.textContent = label;
  made.addEventListener("click", run);
  return made;
}

function add() {
  let number = rules.length + 1;
  while (rules.some((rule) => rule.id === `rule${number}`)) number += 1;
  const region = [[0.35, 0.45], [0.65, 0.45], [0.65, 0.85], [0.35, 0.85]];
  rules.push({ type: "ObjectsInside", id: `rule${number}`, name: t("Rule {n}", { n: number }), classes: ["person"], severity: "minor", region, dwell_s: 0 });
  chosen = rules.length - 1;
  changed();
  fields.querySelector("input")?.focus();
}

function handles(rule) {
  const type = TYPES[rule.type];
  const least = type.shape === "region" ? 3 : 2;
  const found = shapeOf(rule).map((_, at) => handle(shapeOf(rule), at, least, t("Point {n}", { n: at + 1 })));
  if (type.arrow) found.push(...(rule.allowed ?? []).map((_, at) => handle(rule.allowed, at, 2, at ? t("End of the arrow") : t("Start of the arrow"))));
  return found;
}

function handle(points, at, least, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "handle";
  const place = () => {
    const [x, y] = points[at];
    made.style.left = `${100 * x}%`;
    made.style.top = `${100 * y}%`;
    made.setAttribute("aria-label", t("{name}: {x} % from the left, {y} % from above; arrow keys move it, Delete removes it", { name, x: Math.round(100 * x), y: Math.round(100 * y) }));
  };
  const move = (x, y) => {
    points[at] = [x, y].map((value) => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000);
    place();
    told();
  };
  place();
  made.addEventListener("pointerdown", (event) => made.setPointerCapture(event.pointerId));
  made.addEventListener("pointermove", (event) => {
    if (!made.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  });
  made.addEventListener("keydown", (event) => {
    const [x, y] = points[at];
    const step = event.shiftKey ? 5 * STEP : STEP;
    const to = { ArrowLeft: [x - step, y], ArrowRight: [x + step, y], ArrowUp: [x, y - step], ArrowDown: [x, y + step] }[event.key];
    if (to) move(...to);
    else if (event.key === "Delete" && points.length > least) remove(points, at);
    else return;
    event.preventDefault();
  });
  return made;
}

function remove(points, at) {
  points.splice(at, 1);
  changed();
  stage.querySelectorAll(".handle")[Math.max(0, at - 1)]?.focus();
}

function addPoint(points, closed) {
  const end = closed ? points[0] : points.at(-2);
  const last = points.at(-1);
  const middle = [(last[0] + end[0]) / 2, (last[1] + end[1]) / 2];
  if (closed) points.push(middle);
  else points.splice(-1, 0, middle);
  changed();
  stage.querySelectorAll(".handle")[closed ? points.length - 1 : points.length - 2]?.focus();
}

function inputs(rule) {
  const type = TYPES[rule.type];
  const found = [
    field(t("Name"), rule.name, (value) => (rule.name = value)),
    picker(t("Kind"), Object.fromEntries(Object.keys(TYPES).map((name) => [name, typeName(name)])), rule.type, (value) => become(rule, value)),
    field(t("Classes, with commas; none means every class"), (rule.classes ?? []).join(", "), (value) => (rule.classes = value.split(",").map((one) => one.trim()).filter(Boolean))),
    picker(t("Severity"), severities(), rule.severity ?? "minor", (value) => (rule.severity = value)),
  ];
  if (type.direction) found.push(picker(t("Direction"), directions(), rule.direction ?? "any", (value) => (rule.direction = value)));
  for (const [name, usual] of Object.entries(type.numbers)) found.push(field(numberName(name), rule[name] ?? usual, (value) => (rule[name] = Number(value)), "number"));
  const tools = document.createElement("div");
  tools.className = "actions";
  tools.append(button(t("Add a point"), () => addPoint(shapeOf(rule), type.shape === "region")), button(t("Delete this rule"), () => drop(rule)));
  return [...found, tools];
}

function drop(rule) {
  rules = rules.filter((one) => one !== rule);
  chosen = Math.max(0, chosen - 1);
  changed();
}

function become(rule, name) {
  const before = TYPES[rule.type];
  const type = TYPES[name];
  const points = shapeOf(rule);
  for (const old of [...Object.keys(before.numbers), "direction", "allowed", "owners", before.shape]) delete rule[old];
  rule.type = name;
  rule[type.shape] = type.shape === before.shape ? points : type.shape === "line" ? points.slice(0, 2) : [[0.35, 0.45], [0.65, 0.45], [0.65, 0.85], [0.35, 0.85]];
  if (type.arrow) rule.allowed = [[0.5, 0.5], [0.5, 0.8]];
  Object.assign(rule, type.numbers);
  changed();
  fields.querySelector("select")?.focus();
}

function labelled(name, control) {
  const label = document.createElement("label");
  const said = document.createElement("span");
  said.textContent = name;
  label.append(said, control);
  return label;
}

function field(name, value, set, kind = "text") {
  const made = document.createElement("input");
  made.type = kind;
  if (kind === "number") Object.assign(made, { min: 0, step: "any" });
  made.value = value;
  made.addEventListener("change", () => {
    set(made.value);
    told();
  });
  return labelled(name, made);
}

function picker(name, choices, value, set) {
  const made = document.createElement("select");
  for (const [code, word] of Object.entries(choices)) made.add(new Option(word, code, false, code === value));
  made.addEventListener("change", () => {
    set(made.value);
    told();
  });
  return labelled(name, made);
}

if (stage.hasAttribute("data-edit")) start();
