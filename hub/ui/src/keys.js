// Keys. In a queue: j k move, a acknowledge, r resolve, c comment, Enter open. Anywhere: g then m i d s, / search, ? help.
const PLACES = { m: "/map", i: "/incidents", d: "/devices", s: "/displays" };
let going = 0;

export function start() {
  document.addEventListener("keydown", press);
  const body = document.querySelector(".queue tbody");
  body?.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-id]");
    if (row) select(row, { scroll: false });
  });
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog[open]")) return;
  if (Date.now() - going < 1500 && PLACES[event.key]) return location.assign(PLACES[event.key]);
  const act = ACTIONS[event.key];
  if (act && act(event) !== false) event.preventDefault();
}

const ACTIONS = {
  g: () => { going = Date.now(); },
  "?": () => document.getElementById("help")?.showModal(),
  "/": () => document.querySelector("input[type=search]")?.focus() ?? false,
  j: () => move(1),
  k: () => move(-1),
  ArrowDown: () => (selected() ? move(1) : false),
  ArrowUp: () => (selected() ? move(-1) : false),
  a: () => click("ack"),
  r: () => click("resolve"),
  c: () => click("comment"),
  Enter: (event) => (event.target.closest("a, button, summary") ? false : click("open")),
};

const rows = () => [...document.querySelectorAll(".queue tbody tr[data-id]")];
const selected = () => document.querySelector(".queue tbody tr[aria-selected=true]");

function move(step) {
  const all = rows();
  if (!all.length) return false;
  const at = all.indexOf(selected());
  select(all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + step))]);
}

function select(row, { scroll = true } = {}) {
  for (const other of rows()) other.setAttribute("aria-selected", String(other === row));
  row.tabIndex = -1;
  if (scroll) { row.focus({ preventScroll: true }); row.scrollIntoView({ block: "nearest" }); }
}

/** The action of the selected row, or of the page where there is no queue. */
function click(action) {
  const scope = rows().length ? selected() : document.getElementById("main");
  const target = scope?.querySelector(`[data-action="${action}"]`);
  if (!target || target.disabled) return false;
  if (target.matches("textarea, input")) target.focus();
  else target.click();
}
