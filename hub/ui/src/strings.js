// t("…") gives the page's language; build.mjs collects every message that stands in t("…") into strings.json.
const found = JSON.parse(document.getElementById("strings")?.textContent || "{}");

export function t(message, values = {}) {
  return (found[message] ?? message).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}
