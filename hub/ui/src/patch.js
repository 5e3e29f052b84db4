// Live rows. <tbody data-live="incidents" data-rows="/incidents/rows"> holds <tr data-id>. When the feed names ids that stand here, their
// rows are fetched and their cells replaced in place: nothing moves, the selection stays. New ids are counted in a button "n new – show".
// Any element with data-refresh="topic" and hx-get is fetched again when the topic changes (data-only: when that id does).
import { lifted, pressing } from "./hand.js";
import { announce } from "./notice.js";
import { t } from "./strings.js";

const WAIT_MS = 60;
const LONGEST = 100;

const watched = new WeakSet();

export function start() {
  scan();
  document.body.addEventListener("htmx:afterSettle", scan);
}

function scan() {
  for (const [selector, follow] of [["tbody[data-live]", watch], ["[data-refresh]", refresh]])
    for (const found of document.querySelectorAll(selector)) {
      if (watched.has(found)) continue;
      watched.add(found);
      follow(found);
    }
}

function watch(body) {
  const topic = body.dataset.live;
  let pending = new Set();
  let timer = null;
  const button = document.getElementById(body.dataset.newButton);
  const fresh = new Set();
  button?.addEventListener("click", () => location.reload());

  async function run() {
    timer = null;
    const here = [...body.rows].map((row) => row.dataset.id);
    const all = pending === null;
    const ids = all ? here : [...pending];
    pending = new Set();
    const ask = ids.slice(0, LONGEST);
    const unknown = ask.filter((id) => !here.includes(id));
    const wanted = body.dataset.newButton ? ask : ask.filter((id) => here.includes(id));
    if (all && button) { fresh.add("…"); count(); }
    if (!wanted.length) return;
    const query = new URLSearchParams(location.search);
    query.set("ids", wanted.join(","));
    const answer = await fetch(`${body.dataset.rows}?${query}`, { headers: { "hx-request": "true", accept: "text/html" } }).catch(() => null);
    if (!answer?.ok) return;
    const rows = rowsOf(await answer.text());
    await lifted();
    for (const row of rows) {
      const old = body.querySelector(`tr[data-id="${CSS.escape(row.dataset.id)}"]`);
      if (old) replace(old, row);
      else if (unknown.includes(row.dataset.id) && row.dataset.resolved !== "yes") arrive(row);
    }
  }

  function arrive(row) {
    if (fresh.has(row.dataset.id)) return;
    if (row.dataset.severity === "critical") announce(t("New critical incident: {title}", { title: row.dataset.title }));
    if (body.rows.length === 0 || body.dataset.insert === "yes") {
      document.querySelector(".queue .empty")?.closest("tr")?.remove();
      body.prepend(row);
      window.htmx.process(row);
      row.classList.add("changed");
      return;
    }
    fresh.add(row.dataset.id);
    count();
  }

  function count() {
    const n = [...fresh].filter((id) => id !== "…").length;
    button.hidden = fresh.size === 0;
    button.textContent = n ? t("{n} new – show", { n }) : t("The list may have changed – show");
  }

  document.body.addEventListener(`prahari:${topic}`, ({ detail }) => {
    if (!body.isConnected) return;
    if (detail.changes === null) pending = null;
    else if (pending) for (const change of detail.changes) pending.add(String(change[body.dataset.key ?? "id"] ?? ""));
    timer ??= setTimeout(run, WAIT_MS);
  });
}

function rowsOf(html) {
  const template = document.createElement("template");
  template.innerHTML = `<table><tbody>${html}</tbody></table>`;
  return [...template.content.querySelectorAll("tr[data-id]")];
}

/** Cell by cell, so that focus and hover stay where they are. */
function replace(old, row) {
  for (const { name, value } of row.attributes) if (!["aria-selected", "tabindex", "class", "id"].includes(name)) old.setAttribute(name, value);
  [...row.cells].forEach((cell, at) => {
    const was = old.cells[at];
    if (!was || was.innerHTML === cell.innerHTML) return;
    const focused = was.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    was.innerHTML = cell.innerHTML;
    was.classList.remove("changed");
    void was.offsetWidth;
    was.classList.add("changed");
    window.htmx.process(was);
    if (focused) was.querySelector(`[data-action="${focused}"]`)?.focus();
  });
  old.dispatchEvent(new CustomEvent("prahari:patched", { bubbles: true }));
}

function refresh(box) {
  let timer = null;
  box.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.target !== box || detail.requestConfig.triggeringEvent?.type !== "refresh" || !pressing()) return;
    detail.shouldSwap = false;
    lifted().then(() => window.htmx.trigger(box, "refresh"));
  });
  for (const topic of box.dataset.refresh.split(" ")) {
    document.body.addEventListener(`prahari:${topic}`, ({ detail }) => {
      const only = box.dataset.only;
      const concerns = detail.changes === null || !only || detail.changes.some((change) => Object.values(change).includes(only));
      if (!concerns || box.contains(document.activeElement?.closest("input, textarea, select, [data-hold]"))) return;
      timer ??= setTimeout(() => { timer = null; window.htmx.trigger(box, "refresh"); }, WAIT_MS);
    });
  }
}
