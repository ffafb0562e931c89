// A portrait as a camera: moves the face of a picture by chained image warps, and writes the pictures as a
// .y4m file, which Chromium takes for a camera (--use-file-for-fake-video-capture). Plain node, no packages.
import { renameSync, writeFileSync } from 'node:fs';

/** @typedef {import('./png.mjs').Picture} Picture RGB */
/** @typedef {(x: number, y: number) => [number, number]} Warp Where the colour of a pixel comes from */

/** One from 1 at the middle to 0 at the distance `reach`, smooth at both ends. */
const bump = (distance, reach) => (Math.abs(distance) < reach ? Math.cos((distance / reach) * (Math.PI / 2)) ** 2 : 0);
/** 1 inside `flat`, falling to 0 at `reach`. */
const plateau = (distance, flat, reach) => bump(Math.max(0, Math.abs(distance) - flat), reach - flat);

// Where things are in scikit-image's `astronaut`, pixels. The performer's left is on the right of the picture.
const FACE = { x: 225, y: 122, halfWidth: 47, halfHeight: 58 };
const EYES = { right: { x: 203.5, y: 101.5 }, left: { x: 246, y: 103.5 } };
const MOUTH = { x: 224, y: 146 };

/** The lid comes down over the eye of that side. @param {'left' | 'right'} side @returns {Warp} */
export function blink(side) {
  const { x: ex, y: ey } = EYES[side];
  const [top, lid, bottom, low] = [ey - 11, ey - 5.5, ey + 4, ey + 7];
  return (x, y) => {
    const share = plateau(x - ex, 11, 17);
    if (share === 0 || y <= top || y >= low) return [x, y];
    // The skin above the eye is stretched down to where the lower lid was, the eye compressed below it.
    const closed = y < bottom ? top + ((y - top) / (bottom - top)) * (lid - top) : lid + ((y - bottom) / (low - bottom)) * (low - lid);
    return [x, y + (closed - y) * share];
  };
}

/** The lower jaw goes down by so many pixels, and the mouth opens. @returns {Warp} */
export function jaw(by) {
  const [lips, lower, chin] = [MOUTH.y - 2, MOUTH.y + 2, 230];
  return (x, y) => {
    const d = by * plateau(x - MOUTH.x, 14, 48);
    if (y <= lips) return [x, y];
    if (y <= lower + d) return [x, lips + ((y - lips) / (lower + d - lips)) * (lower - lips)];
    return [x, y - d * plateau(y - lower, 40, chin - lower)];
  };
}

/** Moves what is in the middle of the face against its outline, as when the head turns. Pixels to the right and down. @returns {Warp} */
export function turn(right, down) {
  return (x, y) => {
    const share = bump(x - FACE.x, FACE.halfWidth) * bump(y - FACE.y, FACE.halfHeight * 1.3);
    return [x - right * share, y - down * share];
  };
}

/** Moves the mouth to the right. @returns {Warp} */
export function mouth(right) {
  return (x, y) => [x - right * plateau(x - MOUTH.x, 16, 44) * plateau(y - MOUTH.y, 8, 22), y];
}

/** Moves the irises to the right. @returns {Warp} */
export function irises(right) {
  return (x, y) => {
    for (const eye of Object.values(EYES)) x -= right * bump(x - eye.x, 9) * plateau(y - eye.y, 4, 7);
    return [x, y];
  };
}

/** The whole picture turned clockwise about the face. @returns {Warp} */
export function rotate(degrees) {
  const [s, c] = [Math.sin((degrees * Math.PI) / 180), Math.cos((degrees * Math.PI) / 180)];
  return (x, y) => [FACE.x + (x - FACE.x) * c + (y - FACE.y) * s, FACE.y - (x - FACE.x) * s + (y - FACE.y) * c];
}

/** The picture as a mirror shows it. @returns {Warp} */
export function mirror() {
  return (x, y) => [2 * FACE.x - x, y];
}

/** The part of the portrait around the face, 640 x 480, through the warps; the last one is the last that happens to the face. @returns {Picture} */
export function picture(portrait, warps = []) {
  const [width, height, zoom] = [640, 480, 0.42];
  const data = new Uint8Array(width * height * 3);
  for (let py = 0; py < height; py += 1) {
    for (let px = 0; px < width; px += 1) {
      let at = [FACE.x + (px - width / 2) * zoom, FACE.y + (py - height / 2) * zoom];
      for (const warp of [...warps].reverse()) at = warp(at[0], at[1]);
      const x = Math.max(0, Math.min(portrait.width - 1.001, at[0]));
      const y = Math.max(0, Math.min(portrait.height - 1.001, at[1]));
      const [x0, y0] = [Math.floor(x), Math.floor(y)];
      const [fx, fy] = [x - x0, y - y0];
      for (let k = 0; k < 3; k += 1) {
        const of = (ix, iy) => portrait.data[((y0 + iy) * portrait.width + x0 + ix) * 3 + k];
        data[(py * width + px) * 3 + k] = (of(0, 0) * (1 - fx) + of(1, 0) * fx) * (1 - fy) + (of(0, 1) * (1 - fx) + of(1, 1) * fx) * fy;
      }
    }
  }
  return { width, height, data };
}

/** A picture with nothing on it. @returns {Picture} */
export function blank() {
  return { width: 640, height: 480, data: new Uint8Array(640 * 480 * 3).fill(128) };
}

/** Writes pictures as a camera, which repeats them for ever. Each is shown `times` times. @param {[Picture, number][]} shots */
export function writeCamera(file, shots, fps = 30) {
  const [{ width, height }] = shots[0];
  const parts = [Buffer.from(`YUV4MPEG2 W${width} H${height} F${fps}:1 Ip A1:1 C420jpeg\n`)];
  for (const [shot, times] of shots) {
    const frame = Buffer.concat([Buffer.from('FRAME\n'), yuv(shot)]);
    for (let i = 0; i < times; i += 1) parts.push(frame);
  }
  // A browser that still reads the film before keeps it whole; half a file takes its camera away.
  writeFileSync(`${file}.new`, Buffer.concat(parts));
  renameSync(`${file}.new`, file);
}

function yuv({ width, height, data }) {
  const out = new Uint8ClampedArray((width * height * 3) / 2);
  const [u0, v0] = [width * height, (width * height * 5) / 4];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [r, g, b] = data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3);
      out[y * width + x] = 16 + 0.257 * r + 0.504 * g + 0.098 * b;
      if (x % 2 || y % 2) continue;
      const at = (y / 2) * (width / 2) + x / 2;
      out[u0 + at] = 128 - 0.148 * r - 0.291 * g + 0.439 * b;
      out[v0 + at] = 128 + 0.439 * r - 0.368 * g - 0.071 * b;
    }
  }
  return Buffer.from(out.buffer);
}
