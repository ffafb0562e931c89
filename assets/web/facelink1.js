// @ts-check
/**
 * `facelink1` frames: small, made for loss. One packet a datagram, and every
 * packet stands alone. `docs/wire-facelink1.md` describes them byte by byte.
 *
 * One ES module, no dependencies, no build step, no state: what a sender
 * repeats it hands over itself (`previous`).
 *
 * @example
 * const bytes = encodeFacelink1([{ sequence: 7, captureTime: Date.now() * 1000, blendshapes: { ... } }]);
 * for (const face of decodeFacelink1(bytes)) console.log(face.subject, face.blendshapes.jawOpen);
 *
 * @module facelink1
 */

/**
 * @typedef {object} Facelink1Frame One frame of a face.
 * @property {number} sequence Frame number, counted by the sender; its low 32
 *   bits are sent.
 * @property {number} [captureTime] When the face was captured, in whole
 *   microseconds, exact up to 2^53.
 * @property {boolean} [tracked] `false` says that the face is out of sight.
 *   Default: true.
 * @property {Record<string, number>} blendshapes Weights by name. ARKit names
 *   are the 52 shapes, every other name is a channel of its own. Values outside
 *   -1..2 are clamped; a decoded shape that is missing was not sent.
 * @property {{ rotation: ArrayLike<number>, position?: ArrayLike<number> | null } | null} [head]
 *   Unit quaternion `[x, y, z, w]` and metres `[x, y, z]`, in ARKit face axes.
 * @property {{ left: { yaw: number, pitch: number }, right: { yaw: number, pitch: number } } | null} [gaze]
 *   Radians, positive to the performer's left and up.
 */
/**
 * @typedef {object} Facelink1Sending What a face that is sent has besides.
 * @property {string} [subject] Whose face; without one, the connection's own.
 * @property {Facelink1Frame[]} [previous] Up to three frames that went before
 *   this one, oldest first, to be repeated without their channels. What lies
 *   too far back to be written is left out.
 */
/** @typedef {Facelink1Frame & Facelink1Sending} Facelink1Face */
/**
 * @typedef {object} Facelink1Received What a face that was received has besides.
 * @property {string} subject Whose face; empty for the connection's own.
 * @property {'unix' | 'own'} [clock] What `captureTime` counts from.
 * @property {boolean} repeated An earlier frame that came again; it has no channels.
 */
/**
 * @typedef {object} Facelink1Options
 * @property {'unix' | 'own'} [clock] What `captureTime` counts from: 1970, or
 *   a zero of the sender's own. Default: `unix`.
 * @property {readonly string[]} [schema] Names of the connection's `schema`
 *   message: channels go by their place in it. Not to be changed afterwards.
 */

/** First byte of every packet. */
export const FACELINK1_MAGIC = 0xf1;

const F1_NAMES = [
  'eyeBlinkLeft', 'eyeLookDownLeft', 'eyeLookInLeft', 'eyeLookOutLeft', 'eyeLookUpLeft',
  'eyeSquintLeft', 'eyeWideLeft',
  'eyeBlinkRight', 'eyeLookDownRight', 'eyeLookInRight', 'eyeLookOutRight', 'eyeLookUpRight',
  'eyeSquintRight', 'eyeWideRight',
  'jawForward', 'jawLeft', 'jawRight', 'jawOpen',
  'mouthClose', 'mouthFunnel', 'mouthPucker', 'mouthLeft', 'mouthRight',
  'mouthSmileLeft', 'mouthSmileRight', 'mouthFrownLeft', 'mouthFrownRight',
  'mouthDimpleLeft', 'mouthDimpleRight', 'mouthStretchLeft', 'mouthStretchRight',
  'mouthRollLower', 'mouthRollUpper', 'mouthShrugLower', 'mouthShrugUpper',
  'mouthPressLeft', 'mouthPressRight', 'mouthLowerDownLeft', 'mouthLowerDownRight',
  'mouthUpperUpLeft', 'mouthUpperUpRight',
  'browDownLeft', 'browDownRight', 'browInnerUp', 'browOuterUpLeft', 'browOuterUpRight',
  'cheekPuff', 'cheekSquintLeft', 'cheekSquintRight',
  'noseSneerLeft', 'noseSneerRight', 'tongueOut',
];
const F1_SHAPES = new Set(F1_NAMES);

const F1_TRACKED = 1;
const F1_HEAD = 1 << 1;
const F1_POSITION = 1 << 2;
const F1_GAZE = 1 << 3;
const F1_WIDE = 1 << 4;
const F1_PARTIAL = 1 << 5;
const F1_TIME = 1 << 6;
const F1_LARGEST_SHIFT = 7;
const F1_OWN_CLOCK = 1 << 9;
const F1_REPEATED_SHIFT = 10;
const F1_SUBJECT = 1 << 12;
const F1_CHANNELS = 1 << 13;
const F1_SCHEMA = 1 << 14;
const F1_RESERVED = 1 << 15;
/** The flags that a repeated frame may have. */
const F1_FRAME_FLAGS = 0x1ff;
const F1_MAX_PACKET = 65536;
const F1_MAX_CHANNELS = 256;
/** Steps a unit of a wide value: -1, 0, 1 and 2 are exact. */
const F1_WIDE_UNIT = 21845;
const F1_PART_STEPS = 32767 * Math.SQRT2;

/** @param {string} field @param {string} reason @returns {never} */
function f1Fail(field, reason) {
  throw new RangeError(`facelink1: ${field} ${reason}`);
}

/** @param {string} field @param {number} value @returns {number} */
function f1Finite(field, value) {
  return Number.isFinite(value) ? value : f1Fail(field, 'is not a finite number');
}

/** To the nearest whole number, halves up, within ±limit. @param {number} value @param {number} limit */
function f1Round(value, limit) {
  return Math.floor(Math.min(Math.max(value, -limit), limit) + 32768.5) - 32768;
}

/** @param {number} value */
function f1ToWide(value) {
  return Math.floor((Math.min(Math.max(value, -1), 2) + 1) * F1_WIDE_UNIT + 0.5);
}

/** @param {string} field @param {string} name */
function f1NameBytes(field, name) {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0) f1Fail(field, 'is an empty name');
  if (bytes.length > 128) f1Fail(field, 'is a name longer than 128 bytes');
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) f1Fail(field, 'is a name with control characters');
  return bytes;
}

/** @type {WeakMap<readonly string[], { sum: number, keys: Map<string, number> }>} */
const F1_SCHEMAS = new WeakMap();

/** Places of a schema's names, and the sum that tells it from others. @param {readonly string[]} names */
function f1Schema(names) {
  let schema = F1_SCHEMAS.get(names);
  if (!schema) {
    let hash = 0x811c9dc5;
    for (const name of names) {
      for (const byte of new TextEncoder().encode(`${name}\0`)) hash = Math.imul(hash ^ byte, 0x01000193);
    }
    schema = { sum: (hash ^ (hash >>> 16)) & 0xffff, keys: new Map(names.map((name, i) => [name, i + 1])) };
    F1_SCHEMAS.set(names, schema);
  }
  return schema;
}

/** Bytes that grow. */
class F1Out {
  bytes = new Uint8Array(256);

  view = new DataView(this.bytes.buffer);

  length = 0;

  /** Makes room, maybe in another `view`; returns where. @param {number} count */
  #room(count) {
    const at = this.length;
    this.length += count;
    if (this.length > F1_MAX_PACKET) f1Fail('the packet', `is larger than ${F1_MAX_PACKET} bytes`);
    if (this.length > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(this.length, 2 * this.bytes.length));
      bytes.set(this.bytes);
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer);
    }
    return at;
  }

  /** @param {number} value */
  u8(value) {
    const at = this.#room(1);
    this.view.setUint8(at, value);
  }

  /** @param {number} value */
  u16(value) {
    const at = this.#room(2);
    this.view.setUint16(at, value, true);
  }

  /** @param {number} value */
  i16(value) {
    const at = this.#room(2);
    this.view.setInt16(at, value, true);
  }

  /** @param {number} value */
  u32(value) {
    const at = this.#room(4);
    this.view.setUint32(at, value, true);
  }

  /** @param {number} value */
  u64(value) {
    this.u32(value % 4294967296);
    this.u32(Math.floor(value / 4294967296));
  }

  /** @param {number} value */
  varint(value) {
    if (value > 0x7f) {
      this.u8((value & 0x7f) | 0x80);
      this.u8(value >> 7);
    } else this.u8(value);
  }

  /** @param {Uint8Array} bytes A name's */
  name(bytes) {
    this.u8(bytes.length);
    const at = this.#room(bytes.length);
    this.bytes.set(bytes, at);
  }
}

/** Which part of a unit quaternion is the largest, and the others. @param {ArrayLike<number>} rotation */
function f1PackRotation(rotation) {
  const parts = [rotation[0], rotation[1], rotation[2], rotation[3]];
  for (const part of parts) f1Finite('head.rotation', part);
  const [x, y, z, w] = parts;
  const length = Math.sqrt(x * x + y * y + z * z + w * w);
  if (!(length >= 0.5 && length <= 2)) f1Fail('head.rotation', 'must be a quaternion [x, y, z, w] of length 1');
  let largest = 0;
  for (let i = 1; i < 4; i += 1) if (Math.abs(parts[i]) > Math.abs(parts[largest])) largest = i;
  const scale = (parts[largest] < 0 ? -F1_PART_STEPS : F1_PART_STEPS) / length;
  parts.splice(largest, 1);
  return { largest, parts: parts.map((part) => f1Round(part * scale, 32767)) };
}

/** The flags that go with a frame's body. @param {Facelink1Frame} frame */
function f1Flags(frame) {
  let flags = frame.tracked === false ? 0 : F1_TRACKED;
  for (const name of F1_NAMES) {
    const weight = frame.blendshapes[name];
    if (weight === undefined) flags |= F1_PARTIAL;
    else if (!(f1Finite(name, weight) >= 0 && weight <= 1)) flags |= F1_WIDE;
  }
  if (frame.captureTime !== undefined) flags |= F1_TIME;
  if (frame.head) {
    flags |= F1_HEAD | (f1PackRotation(frame.head.rotation).largest << F1_LARGEST_SHIFT);
    if (frame.head.position) flags |= F1_POSITION;
  }
  if (frame.gaze) flags |= F1_GAZE;
  return flags;
}

/** @param {F1Out} out @param {number} flags @param {Facelink1Frame} frame */
function f1PutBody(out, flags, frame) {
  const shapes = frame.blendshapes;
  if (flags & F1_PARTIAL) {
    for (let from = 0; from < 56; from += 8) {
      let byte = 0;
      for (let i = 0; i < 8; i += 1) if (shapes[F1_NAMES[from + i]] !== undefined) byte |= 1 << i;
      out.u8(byte);
    }
  }
  for (const name of F1_NAMES) {
    const weight = shapes[name];
    if (weight === undefined) continue;
    if (flags & F1_WIDE) out.u16(f1ToWide(weight));
    else out.u8(Math.floor(weight * 255 + 0.5));
  }
  if (frame.head) {
    for (const part of f1PackRotation(frame.head.rotation).parts) out.i16(part);
    const { position } = frame.head;
    if (position) for (let i = 0; i < 3; i += 1) out.i16(f1Round(f1Finite('head.position', position[i]) * 1000, 32000));
  }
  if (frame.gaze) {
    const { left, right } = frame.gaze;
    for (const angle of [left.yaw, left.pitch, right.yaw, right.pitch]) out.i16(f1Round(f1Finite('gaze', angle) * 8192, 32767));
  }
}

/** @param {Facelink1Frame} frame */
function f1Time(frame) {
  const time = frame.captureTime;
  if (time === undefined) return undefined;
  if (!(time >= 0 && time < 18446744073709551616)) f1Fail('captureTime', 'is no 64-bit number of microseconds');
  return Math.floor(time);
}

/**
 * Writes one packet.
 * @param {readonly Facelink1Face[]} faces 1 to 32
 * @param {Facelink1Options} [options]
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {RangeError} For what cannot be written; it names the field
 */
export function encodeFacelink1(faces, options = {}) {
  if (faces.length < 1 || faces.length > 32) f1Fail('faces', `are ${faces.length}, 1 to 32 go into a packet`);
  const out = new F1Out();
  out.u8(FACELINK1_MAGIC);
  out.u8(faces.length);
  for (const face of faces) {
    const time = f1Time(face);
    const sequence = f1Finite('sequence', face.sequence) % 4294967296 >>> 0;

    /** @type {{ frame: Facelink1Frame, distance: number, delta: number | undefined }[]} */
    const repeats = [];
    const previous = face.previous ?? [];
    let farthest = 0;
    for (let i = previous.length - 1; i >= 0 && i >= previous.length - 3; i -= 1) {
      const frame = previous[i];
      const distance = (sequence - (frame.sequence % 4294967296)) >>> 0;
      const then = f1Time(frame);
      const delta = then === undefined ? undefined : (time ?? NaN) - then;
      if (distance > farthest && distance < 256 && (delta === undefined || (delta >= 0 && delta < 4294967296))) {
        farthest = distance;
        repeats.unshift({ frame, distance, delta });
      }
    }

    const channels = Object.keys(face.blendshapes).filter((name) => !F1_SHAPES.has(name) && face.blendshapes[name] !== undefined);
    if (channels.length > F1_MAX_CHANNELS) f1Fail('channels', `are ${channels.length}, at most ${F1_MAX_CHANNELS} go into a frame`);
    let schema = options.schema?.length && channels.length ? f1Schema(options.schema) : undefined;
    if (schema && !channels.some((name) => schema?.keys.has(name))) schema = undefined;

    const own = f1Flags(face);
    let flags = own | (repeats.length << F1_REPEATED_SHIFT);
    if (time !== undefined && options.clock === 'own') flags |= F1_OWN_CLOCK;
    if (face.subject) flags |= F1_SUBJECT;
    if (channels.length) flags |= F1_CHANNELS;
    if (schema) flags |= F1_SCHEMA;
    out.u16(flags);
    if (face.subject) out.name(f1NameBytes('subject', face.subject));
    out.u32(sequence);
    if (time !== undefined) out.u64(time);
    f1PutBody(out, own, face);
    if (channels.length) {
      out.varint(channels.length);
      if (schema) out.u16(schema.sum);
      for (const name of channels) {
        const key = schema?.keys.get(name) ?? 0;
        out.varint(key);
        if (!key) out.name(f1NameBytes('channel', name));
        out.u16(f1ToWide(f1Finite(name, face.blendshapes[name])));
      }
    }
    for (const { frame, distance, delta } of repeats) {
      const frameFlags = f1Flags(frame);
      out.u16(frameFlags);
      out.u8(distance);
      if (delta !== undefined) out.u32(delta);
      f1PutBody(out, frameFlags, frame);
    }
  }
  return out.bytes.slice(0, out.length);
}

/** The bytes that are left. */
class F1In {
  at = 0;

  /** Which face and which of its repeated frames is read, for errors. */
  path = '';

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** @param {string} field @param {string} reason @returns {never} */
  fail(field, reason) { return f1Fail(this.path + field, reason); }

  /** @param {number} count @param {string} field */
  take(count, field) {
    const { at } = this;
    if (at + count > this.bytes.length) this.fail(field, 'is cut off: the packet ends within it');
    this.at += count;
    return at;
  }

  /** @param {string} field */
  u8(field) { return this.view.getUint8(this.take(1, field)); }

  /** @param {string} field */
  u16(field) { return this.view.getUint16(this.take(2, field), true); }

  /** @param {string} field */
  i16(field) { return this.view.getInt16(this.take(2, field), true); }

  /** @param {string} field */
  u32(field) { return this.view.getUint32(this.take(4, field), true); }

  /** @param {string} field */
  varint(field) {
    const low = this.u8(field);
    if (low < 0x80) return low;
    const high = this.u8(field);
    if (high < 1 || high > 0x7f) this.fail(field, 'is not written in the shortest way, in at most two bytes');
    return (low & 0x7f) | (high << 7);
  }

  /** @param {string} field */
  wide(field) { return Math.fround((this.u16(field) - F1_WIDE_UNIT) / F1_WIDE_UNIT); }

  /** @param {string} field */
  name(field) {
    const length = this.u8(field);
    const at = this.take(length, field);
    let name = '';
    try {
      name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bytes.subarray(at, at + length));
    } catch {
      this.fail(field, 'is not UTF-8');
    }
    try {
      f1NameBytes('', name);
    } catch (error) {
      this.fail(field, /** @type {Error} */ (error).message.replace(/^facelink1: +/, ''));
    }
    return name;
  }
}

/** @param {F1In} input @param {number} flags @param {number} sequence @param {number | undefined} captureTime @returns {Facelink1Frame} */
function f1Body(input, flags, sequence, captureTime) {
  if (!(flags & F1_HEAD) && flags & (F1_POSITION | (3 << F1_LARGEST_SHIFT))) {
    input.fail('flags', 'speak of a head that is not there');
  }
  let at = -1;
  if (flags & F1_PARTIAL) {
    at = input.take(7, 'mask');
    if (input.bytes[at + 6] & 0xf0) input.fail('mask', 'names a shape beyond the 52');
  }
  /** @type {Record<string, number>} Without a prototype: a name may be any. */
  const blendshapes = Object.create(null);
  for (let i = 0; i < 52; i += 1) {
    if (at >= 0 && !(input.bytes[at + (i >> 3)] & (1 << (i & 7)))) continue;
    blendshapes[F1_NAMES[i]] = flags & F1_WIDE ? input.wide('weights') : Math.fround(input.u8('weights') / 255);
  }
  /** @type {Facelink1Frame} */
  const frame = { sequence, tracked: (flags & F1_TRACKED) !== 0, blendshapes };
  if (captureTime !== undefined) frame.captureTime = captureTime;
  if (flags & F1_HEAD) {
    const parts = [0, 0, 0].map(() => input.i16('head.rotation'));
    if (parts.reduce((sum, part) => sum + part * part, 0) > 2 * 32767 * 32767) input.fail('head.rotation', 'is no unit quaternion');
    const [a, b, c] = parts.map((part) => part / F1_PART_STEPS);
    const rotation = [a, b, c];
    rotation.splice((flags >> F1_LARGEST_SHIFT) & 3, 0, Math.sqrt(Math.max(0, 1 - a * a - b * b - c * c)));
    frame.head = { rotation: rotation.map(Math.fround) };
    if (flags & F1_POSITION) frame.head.position = [0, 0, 0].map(() => Math.fround(input.i16('head.position') / 1000));
  }
  if (flags & F1_GAZE) {
    const [leftYaw, leftPitch, rightYaw, rightPitch] = [0, 0, 0, 0].map(() => input.i16('gaze') / 8192);
    frame.gaze = { left: { yaw: leftYaw, pitch: leftPitch }, right: { yaw: rightYaw, pitch: rightPitch } };
  }
  return frame;
}

/**
 * Reads one packet. The earlier frames that a face repeats come just before it,
 * oldest first.
 * @param {Uint8Array | ArrayBuffer} packet
 * @param {Pick<Facelink1Options, 'schema'>} [options]
 * @returns {(Facelink1Frame & Facelink1Received)[]}
 * @throws {RangeError} When the packet is refused; it names the field
 */
export function decodeFacelink1(packet, options = {}) {
  const input = new F1In(packet instanceof Uint8Array ? packet : new Uint8Array(packet));
  if (input.bytes.length > F1_MAX_PACKET) f1Fail('the packet', `is larger than ${F1_MAX_PACKET} bytes`);
  const magic = input.u8('magic');
  if (magic !== FACELINK1_MAGIC) f1Fail('magic', `is ${magic}, expected ${FACELINK1_MAGIC}`);
  const count = input.u8('count');
  if (count < 1 || count > 32) f1Fail('count', `is ${count}, expected 1 to 32 faces`);
  /** @type {(Facelink1Frame & Facelink1Received)[]} */
  const faces = [];
  for (let i = 0; i < count; i += 1) {
    input.path = `faces[${i}].`;
    const flags = input.u16('flags');
    if (flags & F1_RESERVED || (flags & F1_SCHEMA && !(flags & F1_CHANNELS)) || (flags & F1_OWN_CLOCK && !(flags & F1_TIME))) {
      input.fail('flags', 'hold a bit that this version does not know');
    }
    const subject = flags & F1_SUBJECT ? input.name('subject') : '';
    const sequence = input.u32('sequence');
    const time = flags & F1_TIME ? input.u32('time') + input.u32('time') * 4294967296 : undefined;
    /** @type {'unix' | 'own'} */
    const clock = flags & F1_OWN_CLOCK ? 'own' : 'unix';
    const newest = f1Body(input, flags, sequence, time);
    if (flags & F1_CHANNELS) {
      const channels = input.varint('channels.count');
      if (channels < 1 || channels > F1_MAX_CHANNELS) input.fail('channels.count', 'is not 1 to 256');
      /** @type {readonly string[]} */
      let names = [];
      if (flags & F1_SCHEMA) {
        const sum = input.u16('channels.schema');
        names = options.schema ?? [];
        if (!names.length || f1Schema(names).sum !== sum) input.fail('channels.schema', 'is of another schema than this connection has sent');
      }
      for (let k = 0; k < channels; k += 1) {
        const key = input.varint('channels.key');
        if (key > names.length) input.fail('channels.key', "is beyond the schema's names");
        const name = key ? names[key - 1] : input.name('channels.name');
        newest.blendshapes[name] = input.wide('channels.value');
      }
    }
    let nearest = 256;
    for (let k = 0; k < ((flags >> F1_REPEATED_SHIFT) & 3); k += 1) {
      input.path = `faces[${i}].repeated[${k}].`;
      const own = input.u16('flags');
      if (own & ~F1_FRAME_FLAGS) input.fail('flags', 'hold a bit that a repeated frame does not have');
      const distance = input.u8('distance');
      if (distance < 1 || distance >= nearest) input.fail('distance', 'must fall from one repeated frame to the next, and is never 0');
      nearest = distance;
      let then;
      if (own & F1_TIME) {
        then = (time ?? -1) - input.u32('delta');
        if (then < 0) input.fail('delta', 'reaches back beyond the zero of the clock, or the face has no time');
      }
      const frame = f1Body(input, own, (sequence - distance) >>> 0, then);
      faces.push(Object.assign(frame, { subject, repeated: true }, then === undefined ? {} : { clock }));
    }
    faces.push(Object.assign(newest, { subject, repeated: false }, time === undefined ? {} : { clock }));
  }
  input.path = '';
  if (input.at !== input.bytes.length) f1Fail('the packet', 'goes on after the last face');
  return faces;
}
