// What the commands show in a terminal: recorded from a real one, kept as text and as pictures in its colours.

import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const PAGE = "docs/status-page.md";
const LINES = 60;
// Of a terminal on a dark ground; by what the program sends: strong, soft, bad, good, warning.
const TONES = { 1: "font-weight:700;color:#fff", 2: "color:#8b949e", 31: "color:#ff7b72", 32: "color:#56d364", 33: "color:#e3b341" };

/** What a command writes into a terminal so wide, with its colours. */
export const recorded = (binary, line, columns) => new Promise((resolve, reject) => {
  const command = `stty cols ${columns} rows ${LINES}; exec ${line.replace(/^tollgate/, binary)}`;
  // `script` (Debian: bsdutils, always there) gives it a terminal. Its input stays open: an end would be typed as ^D.
  const child = spawn("script", ["-qec", command, "/dev/null"], { env: { ...process.env, TERM: "xterm-256color", NO_COLOR: "" } });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part) => { text += part; });
  child.on("error", reject);
  child.on("close", (code) => (code ? reject(new Error(`${line}: ${text}`)) : resolve(text.replaceAll("\r", "").trimEnd())));
});

/** Without colours. */
export const plain = (text) => text.replace(/\u001b\[\d*m/g, "");

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const coloured = (text) => escaped(text).replace(/\u001b\[(\d+)m(.*?)\u001b\[0m/gs, (_, tone, inside) => `<span style="${TONES[tone] ?? ""}">${inside}</span>`);

/** Commands and what they showed, as one picture. */
export const picture = async (chromium, views) => {
  const shown = views.map(([line, text]) => `<span style="${TONES[32]}">$</span> ${escaped(line)}\n${coloured(text)}`).join("\n\n");
  const html = `<!doctype html><meta charset="utf-8"><body style="margin:0;background:#0d1117"><pre style="display:inline-block;margin:0;padding:16px 20px;
    color:#d1d7de;font:13px/1.4 'DejaVu Sans Mono','Noto Sans Mono','Liberation Mono',monospace">${shown}</pre>`;
  const page = await chromium.page();
  await page.size(2000, 2000);
  await page.open(`data:text/html;charset=utf-8,${encodeURIComponent(html)}`);
  const [width, height] = await page.eval("(({ width, height }) => [Math.ceil(width), Math.ceil(height)])(document.querySelector('pre').getBoundingClientRect())");
  await page.size(width, height);
  return page.picture();
};

/** Writes what a command showed into the documents, where they mark the place. */
export const keep = (line, text, name = line) => {
  const page = readFileSync(PAGE, "utf8");
  const begin = `<!-- recorded: ${name} -->\n\`\`\`text\n`;
  const [before, behind] = page.split(begin);
  if (behind === undefined) throw new Error(`${PAGE} has no place for ${name}`);
  writeFileSync(PAGE, `${before}${begin}$ ${line}\n${plain(text)}${behind.slice(behind.indexOf("\n```"))}`);
};
