// Pictures of a page with 256 colours at the most: a third of the bytes, and nobody sees the difference.

import { deflateSync, inflateSync } from "node:zlib";

const COLOURS_MAX = 256;
const SIGNATURE = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);

/** The same picture with a palette. */
export const smaller = (png) => {
  const { width, height, pixels } = decoded(png);
  const counts = new Map();
  for (const colour of pixels) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const palette = chosen([...counts].sort((a, b) => b[1] - a[1]));
  const nearest = new Map();
  const index = (colour) => {
    if (!nearest.has(colour)) nearest.set(colour, palette.reduce((best, other, at) => (far(colour, other) < far(colour, palette[best]) ? at : best), 0));
    return nearest.get(colour);
  };
  const lines = Buffer.alloc((width + 1) * height);
  pixels.forEach((colour, at) => { lines[Math.floor(at / width) * (width + 1) + 1 + (at % width)] = index(colour); });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const colours = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]));
  return Buffer.concat([SIGNATURE, chunk("IHDR", header), chunk("PLTE", colours), chunk("IDAT", deflateSync(lines, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
};

const far = (one, other) => [16, 8, 0].reduce((sum, shift) => sum + (((one >> shift) & 255) - ((other >> shift) & 255)) ** 2, 0);

/** Half by how often they are, half by how wrong the picture would be without them: a word in red has few dots. */
const chosen = (colours) => {
  const palette = colours.slice(0, COLOURS_MAX / 2).map(([colour]) => colour);
  const rest = colours.slice(COLOURS_MAX / 2).map(([colour, count]) => ({ colour, count, wrong: Math.min(...palette.map((other) => far(colour, other))) }));
  while (palette.length < COLOURS_MAX && rest.length) {
    const worst = rest.reduce((best, one) => (one.count * one.wrong > best.count * best.wrong ? one : best));
    palette.push(worst.colour);
    for (const one of rest) one.wrong = Math.min(one.wrong, far(one.colour, worst.colour));
  }
  return palette;
};

const decoded = (png) => {
  const parts = [];
  let [width, height, samples] = [0, 0, 0];
  for (let at = 8; at < png.length;) {
    const [length, type] = [png.readUInt32BE(at), png.toString("latin1", at + 4, at + 8)];
    const data = png.subarray(at + 8, at + 8 + length);
    if (type === "IHDR") [width, height, samples] = [data.readUInt32BE(0), data.readUInt32BE(4), data[9] === 6 ? 4 : 3];
    if (type === "IDAT") parts.push(data);
    at += 12 + length;
  }
  const bytes = inflateSync(Buffer.concat(parts));
  const stride = width * samples;
  const pixels = new Uint32Array(width * height);
  let above = Buffer.alloc(stride);
  for (let y = 0; y < height; y += 1) {
    const from = y * (stride + 1);
    const line = Buffer.from(bytes.subarray(from + 1, from + 1 + stride));
    for (let x = 0; x < stride; x += 1) {
      const [left, up, corner] = [x >= samples ? line[x - samples] : 0, above[x], x >= samples ? above[x - samples] : 0];
      line[x] = (line[x] + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][bytes[from]]) & 255;
    }
    for (let x = 0; x < width; x += 1) pixels[y * width + x] = (line[x * samples] << 16) | (line[x * samples + 1] << 8) | line[x * samples + 2];
    above = line;
  }
  return { width, height, pixels };
};

const paeth = (left, up, corner) => {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
};

const chunk = (type, data) => {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(data.length, 0);
  body.copy(whole, 4);
  whole.writeUInt32BE(crc32(body), body.length + 4);
  return whole;
};

const TABLE = Array.from({ length: 256 }, (_, byte) => { let c = byte; for (let bit = 0; bit < 8; bit += 1) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1; return c >>> 0; });
const crc32 = (bytes) => { let c = 0xffffffff; for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8); return (c ^ 0xffffffff) >>> 0; };
