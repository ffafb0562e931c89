// PNGs as pixels. Plain node, no packages.
import { inflateSync } from 'node:zlib';

/** @typedef {{ width: number, height: number, channels: number, data: Uint8Array }} Picture Row by row, RGB or RGBA */

/** A PNG with 8 bits for each of three or four channels, without interlacing. @param {Buffer} bytes @returns {Picture} */
export function readPng(bytes) {
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  const channels = { 2: 3, 6: 4 }[bytes[25]];
  if (bytes.readUInt32BE(0) !== 0x89504e47 || bytes[24] !== 8 || !channels || bytes[28] !== 0) throw new Error('no PNG of 8-bit RGB or RGBA');
  const parts = [];
  for (let at = 8; at < bytes.length;) {
    const length = bytes.readUInt32BE(at);
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const row = width * channels;
  const data = new Uint8Array(row * height);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (row + 1)];
    for (let i = 0; i < row; i += 1) {
      const left = i < channels ? 0 : data[y * row + i - channels];
      const up = y === 0 ? 0 : data[(y - 1) * row + i];
      const corner = i < channels || y === 0 ? 0 : data[(y - 1) * row + i - channels];
      const p = left + up - corner;
      const [a, b, c] = [Math.abs(p - left), Math.abs(p - up), Math.abs(p - corner)];
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      data[y * row + i] = raw[y * (row + 1) + 1 + i] + [0, left, up, (left + up) >> 1, paeth][filter];
    }
  }
  return { width, height, channels, data };
}
