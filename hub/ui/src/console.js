// Every page: htmx, the live feed, the clock, sound, keys, and patching of rows in place.
import htmx from "htmx.org/dist/htmx.esm.js";
import * as hand from "./hand.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import * as patch from "./patch.js";
import * as say from "./say.js";
import * as sound from "./sound.js";
import { notice } from "./notice.js";
import { t } from "./strings.js";

window.htmx = htmx;
window.prahari = { ...window.prahari, ready: false };

function clock() {
  const shown = document.getElementById("clock");
  if (shown) shown.textContent = new Date().toLocaleTimeString("en-GB", { timeZone: "Asia/Kolkata" });
}

document.body.addEventListener("htmx:responseError", ({ detail }) => {
  const type = detail.xhr.getResponseHeader("content-type") ?? "";
  if (!type.includes("json")) return;
  let problem = {};
  try { problem = JSON.parse(detail.xhr.responseText); } catch { /* not a problem document */ }
  notice(problem.detail ?? t("That did not work; try again."));
});
// A problem document is told as a notice and must not replace a part of the page.
document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if ((detail.xhr.getResponseHeader("content-type") ?? "").includes("json")) detail.shouldSwap = false;
});
document.body.addEventListener("htmx:sendError", () => notice(t("The hub cannot be reached.")));

// Elements that ask before they act: data-confirm; a form whose <select data-submit> changes is sent.
document.body.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !confirm(question)) { event.preventDefault(); event.stopImmediatePropagation(); }
}, true);
document.body.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  if (event.target.matches("[data-fill]")) document.getElementById(event.target.dataset.fill).value = event.target.value;
});
document.body.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) navigator.clipboard?.writeText(document.getElementById(button.dataset.copy).textContent.trim());
});

live.start(document.body.dataset.topics.split(" ").filter(Boolean));
hand.start();
patch.start();
keys.start();
say.start();
sound.start();
setInterval(clock, 1000);
window.prahari.ready = true;
