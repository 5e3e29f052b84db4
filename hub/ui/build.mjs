// Called by build.py: node build.mjs TARGET. Writes bundles, fonts and map data with hashed names, and manifest.json (name → file).
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { build } from "esbuild";
import { india } from "./india.mjs";

const target = process.argv[2];
const manifest = {};

const common = {
  bundle: true,
  minify: true,
  sourcemap: false,
  legalComments: "linked",
  target: ["es2022"],
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".woff2": "file" },
  outdir: target,
  metafile: true,
  logLevel: "warning",
};

// Each worker is one file of its own: a worker's URL is handed over at run time and no bundler rewrites it.
const builds = [
  { entryPoints: ["src/console.js", "src/map.js", "src/place.js", "src/rules.js", "src/charts.js"], format: "esm" },
  { entryPoints: ["src/live-worker.js"], format: "iife" },
  { entryPoints: { "map-worker": "node_modules/maplibre-gl/dist/maplibre-gl-worker.mjs" }, format: "esm" },
  { entryPoints: ["src/style.css", "src/map.css", "src/charts.css"] },
];
for (const one of builds) {
  const { metafile } = await build({ ...common, ...one });
  for (const [path, output] of Object.entries(metafile.outputs)) {
    const file = basename(path);
    const name = file.replace(/-[A-Z0-9]{8}(?=\.)/, "");
    if (output.entryPoint || file.endsWith(".woff2")) manifest[name] = file;
  }
}

function data(name, value) {
  const bytes = Buffer.from(JSON.stringify(value));
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 8).toUpperCase();
  const file = name.replace(/(\.\w+)$/, `-${hash}$1`);
  writeFileSync(join(target, file), bytes);
  manifest[name] = file;
}
data("india.geojson", india());
data("cities.json", JSON.parse(readFileSync("data/cities.json", "utf8")));

// Every message that browser code says, so that the server sends their translations.
const messages = new Set();
for (const file of readdirSync("src").filter((name) => name.endsWith(".js"))) {
  for (const [, message] of readFileSync(join("src", file), "utf8").matchAll(/\bt\(\s*"((?:[^"\\]|\\.)*)"/g)) messages.add(JSON.parse(`"${message}"`));
}
messages.delete("…");
data("strings.json", [...messages].sort());

writeFileSync(join(target, "manifest.json"), JSON.stringify(manifest, null, 2));
