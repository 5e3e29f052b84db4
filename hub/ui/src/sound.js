// A tone until every critical incident is acknowledged. Browsers allow sound only after a click, so the button says whether it is on.
import { t } from "./strings.js";

const EVERY_MS = 3000;
let context = null;
let timer = null;

export function start() {
  const button = document.getElementById("sound");
  if (!button) return;
  show(button, false);
  button.addEventListener("click", () => set(button, button.getAttribute("aria-pressed") !== "true"));
  if (localStorage.getItem("prahari.sound") === "on") {
    set(button, true, navigator.userActivation?.hasBeenActive ?? false);
    document.addEventListener("pointerdown", () => context?.resume(), { once: true });
    document.addEventListener("keydown", () => context?.resume(), { once: true });
  }
  document.body.addEventListener("htmx:afterSettle", judge);
  setInterval(judge, 1000);
}

function set(button, on) {
  localStorage.setItem("prahari.sound", on ? "on" : "off");
  if (on) {
    context ??= new AudioContext();
    context.onstatechange = () => show(button, true);
    context.resume();
  }
  show(button, on);
  judge();
}

function show(button, on) {
  button.setAttribute("aria-pressed", String(on));
  const blocked = on && context?.state !== "running";
  button.querySelector(".sound-label").textContent = !on ? t("Sound off") : blocked ? t("Click to allow sound") : t("Sound on");
}

/** Sound while the header counts an unacknowledged critical incident. */
function judge() {
  const on = document.getElementById("sound")?.getAttribute("aria-pressed") === "true";
  const waiting = Number(document.querySelector("#counts .count.sev-critical")?.dataset.count ?? 0) > 0;
  document.body.dataset.sounding = String(on && waiting);
  if (on && waiting && timer === null) {
    tone();
    timer = setInterval(tone, EVERY_MS);
  } else if (!(on && waiting) && timer !== null) {
    clearInterval(timer);
    timer = null;
  }
}

function tone() {
  if (context?.state !== "running") return;
  const at = context.currentTime;
  for (const [start, pitch] of [[0, 880], [0.22, 660], [0.44, 880]]) {
    const oscillator = new OscillatorNode(context, { frequency: pitch, type: "triangle" });
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(0, at + start);
    gain.gain.linearRampToValueAtTime(0.25, at + start + 0.02);
    gain.gain.linearRampToValueAtTime(0, at + start + 0.18);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(at + start);
    oscillator.stop(at + start + 0.2);
  }
}
