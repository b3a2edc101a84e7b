// Draws the pictures of the README from the program itself: docs/images/terminal.svg and docs/images/chart.png.
// Takes the path of the program; `make pictures` runs it.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { launch } from "./browser.mjs";

const [program, images] = [resolve(process.argv[2]), resolve("docs/images")];
const home = mkdtempSync(join(tmpdir(), "klines-pictures-"));
const key = randomBytes(24).toString("base64url");
const env = { PATH: process.env.PATH, TERM: "xterm", WSS_AUTH_USER: "demo", WSS_AUTH_KEY: key, WEBSOCKET_PORT: "0", LOG_FORMAT: "json" };
mkdirSync(images, { recursive: true });

// The terminal: what the program writes to one, with its colours.
const [ROWS, CHAR, LINE] = [36, 8.4, 19];
const STYLES = { 2: 'opacity=".55"', 31: 'fill="#e8626d"', 32: 'fill="#2fb08a"', 33: 'fill="#f2a93b"' };
const shown = "klines run --demo --intervals 1s --for 5s --log-level warn";
const pty = ["-c", "import pty, sys; pty.spawn(sys.argv[1:])", program, ...shown.split(" ").slice(1)];
const lines = [`\x1b[2m$\x1b[0m ${shown}`];
for await (const line of createInterface(spawn("python3", pty, { cwd: home, env, stdio: ["ignore", "pipe", "inherit"] }).stdout)) {
  // The bar of the first windows is erased and drawn again in its line, which a picture cannot show.
  const kept = line.replaceAll("\x1b[K", "");
  if (kept !== "" && !kept.startsWith("first windows")) lines.push(kept);
}
const rows = lines.slice(0, ROWS).map((line, row) => {
  let [column, style] = [0, ""];
  const parts = line.split(/\x1b\[([\d;]*)m/).map((part, at) => {
    if (at % 2 === 1) style = STYLES[part] ?? "";
    if (at % 2 === 1 || part === "") return "";
    const [x, length] = [16 + column * CHAR, [...part].length];
    column += length;
    const text = part.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(" ", "\u00a0");
    return `<text x="${x.toFixed(1)}" y="${30 + row * LINE}" textLength="${(length * CHAR).toFixed(1)}" ${style}>${text}</text>`;
  });
  return parts.join("");
});
const [width, height] = [Math.ceil(32 + 80 * CHAR), 24 + rows.length * LINE];
const font = 'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14" fill="#e6eaf1"';
const frame = `<rect width="${width}" height="${height}" rx="8" fill="#10141c"/>`;
writeFileSync(join(images, "terminal.svg"), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ${font}>${frame}\n${rows.join("\n")}\n</svg>\n`);

// The chart page, with the values of the example consumer.
const component = resolve("target/components/example.wasm");
writeFileSync(join(home, "klines.toml"), `[websocket]\nauth = false\n[consumers.crossover]\ncomponent = "${component}"\n`);
const flags = "run --demo --config klines.toml --consumers websocket,crossover --symbols BTCUSDT,ETHUSDT,SOLUSDT --intervals 1s,5s,1m";
const server = spawn(program, flags.split(" "), { cwd: home, env, stdio: ["ignore", "ignore", "pipe"] });
process.on("exit", () => server.kill());
for await (const line of createInterface(server.stderr)) {
  if (!line.includes('"serving klines"')) continue;
  const browser = await launch();
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 }, colorScheme: "dark" });
  await page.goto(`http://localhost:${JSON.parse(line).address.split(":").at(-1)}/#BTCUSDT/1s`);
  await page.waitForTimeout(150_000);
  await page.mouse.move(900, 330);
  await page.screenshot({ path: join(images, "chart.png") });
  await browser.close();
  server.kill("SIGTERM");
}
