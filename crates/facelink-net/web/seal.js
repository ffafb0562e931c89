// @ts-check
/**
 * End-to-end encrypted faces for FaceLink's JavaScript client: SFrame (RFC 9605) by WebCrypto. A page loads this
 * module only when it has a key.
 *
 * Everything that {@link SealedClient} sends about a face is sealed, everything that arrives is opened, and nothing
 * in the clear leaves or is taken. A relay in between sees sizes, times, layers and numbers. The bytes are described
 * in docs/sealing.md; `facelink::seal` is the same in Rust.
 *
 * @example
 * import { SealedClient } from './seal.js';
 * const client = new SealedClient('https://192.168.68.132:8765/?token=...#k=...', { subject: 'Ann' });
 * await client.connect();
 * client.sendARKitData({ jawOpen: 0.5 });
 *
 * @module facelink-seal
 */
import { FacialAnimationWebRTCClient, decodeFacelink1, encodeFacelink1 } from './facelink.js';

const LABEL = 'facelink seal 1 ';
const FACE = 0xf4; // of the lowest layer; f5 and f6 are the others
const MESSAGE = 0xf7;
const BUNDLE = 0xf8;
const TAG = 16;
const MAX_SEALED = (1 << 14) - 1;
const WINDOW = 128n;
const GRACE_MS = 2000; // packets of the key before are read so long
const AHEAD = 8; // steps of the ratchet that may be missed
const MAX_STREAMS = 1024;
const PEAK = 0.1;
const PAUSE_MS = 500;

// Flags of a facelink1 face.
const HEAD = 2;
const POSITION = 4;
const GAZE = 8;
const WIDE = 16;
const PARTIAL = 32;
const TIME = 64;
const SUBJECT = 1 << 12;
const CHANNELS = 1 << 13;
const FRAME_FLAGS = 0x1ff;

/** @param {string} text */
const bytesOf = (text) => new TextEncoder().encode(text);

/** @param {Uint8Array} bytes */
const base64 = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

/** @param {...Uint8Array} parts @returns {Uint8Array<ArrayBuffer>} */
function join(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** @param {number} value @param {number} count Bytes, big-endian */
function bigEndian(value, count) {
  const out = new Uint8Array(count);
  for (let i = count - 1, rest = value; i >= 0; i -= 1, rest = Math.floor(rest / 256)) out[i] = rest % 256;
  return out;
}

/** @param {CryptoKey} key @param {'SHA-256' | 'SHA-512'} hash @param {Uint8Array<ArrayBuffer>} info @param {number} count Bytes */
async function hkdf(key, hash, info, count) {
  const bits = await crypto.subtle.deriveBits({ name: 'HKDF', hash, salt: new Uint8Array(0), info }, key, count * 8);
  return new Uint8Array(bits);
}

/** @param {Uint8Array<ArrayBuffer>} raw */
const hkdfKey = (raw) => crypto.subtle.importKey('raw', raw, 'HKDF', false, ['deriveBits']);

/**
 * @typedef {object} RoomKey The key that a room shares, and what is derived from it.
 * @property {CryptoKey} root
 * @property {string} fingerprint
 * @property {number} hint
 * @property {CryptoKey} base SFrame's base key
 * @property {Uint8Array<ArrayBuffer>} next The key one step ahead
 * @property {Map<string, { key: CryptoKey, salt: Uint8Array }>} streams By key id
 */

/** @param {Uint8Array<ArrayBuffer>} raw @returns {Promise<RoomKey>} */
async function roomKey(raw) {
  const root = await hkdfKey(raw);
  /** @param {string} label @param {number} count */
  const derive = (label, count) => hkdf(root, 'SHA-256', bytesOf(LABEL + label), count);
  const [print, base, next] = await Promise.all([derive('id', 4), derive('base', 32), derive('next', 32)]);
  const fingerprint = [...print].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { root, fingerprint, hint: print[0], base: await hkdfKey(base), next, streams: new Map() };
}

/** A key id as the key of a map. @param {Uint8Array} keyId */
const idOf = (keyId) => String.fromCharCode(...keyId);

/** @param {RoomKey} room @param {Uint8Array} keyId */
async function streamKey(room, keyId) {
  let made = room.streams.get(idOf(keyId));
  if (!made) {
    const tail = join(new Uint8Array(8 - keyId.length), keyId, Uint8Array.of(0, 5)); // AES_256_GCM_SHA512_128
    const [key, salt] = await Promise.all([
      hkdf(room.base, 'SHA-512', join(bytesOf('SFrame 1.0 Secret key '), tail), 32),
      hkdf(room.base, 'SHA-512', join(bytesOf('SFrame 1.0 Secret salt '), tail), 12),
    ]);
    made = { key: await crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']), salt };
  }
  return made;
}

/** @param {Uint8Array} salt @param {number} counter */
function nonce(salt, counter) {
  const iv = Uint8Array.from(salt);
  bigEndian(counter, 12).forEach((byte, i) => { iv[i] ^= byte; });
  return iv;
}

/** @param {number} kind @param {Uint8Array} keyId @param {number} counter */
function clearPart(kind, keyId, counter) {
  let count = 0;
  for (let rest = counter; rest >= 1; rest /= 256) count += 1;
  const small = counter < 8;
  const config = ((8 | (keyId.length - 1)) << 4) | (small ? counter : 8 | (count - 1));
  return join(Uint8Array.of(kind, config), keyId, bigEndian(counter, small ? 0 : count));
}

/** What is authenticated: the SFrame header, then the kind. @param {Uint8Array} clear */
const aad = (clear) => join(clear.subarray(1), clear.subarray(0, 1));

/** @param {Uint8Array<ArrayBuffer>} bytes One packet @returns {{ kind: number, keyId: Uint8Array, counter: number, clear: Uint8Array, body: Uint8Array<ArrayBuffer> } | null} */
function parse(bytes) {
  let at = 2;
  /** @param {number} nibble */
  const number = (nibble) => {
    if (!(nibble & 8)) return Uint8Array.of(nibble);
    at += (nibble & 7) + 1;
    return bytes.subarray(at - (nibble & 7) - 1, at);
  };
  if (bytes.length > MAX_SEALED || bytes.length < 2 || bytes[0] < FACE || bytes[0] > MESSAGE) return null;
  const keyId = number(bytes[1] >> 4);
  const counter = number(bytes[1] & 15).reduce((sum, byte) => sum * 256 + byte, 0);
  if (bytes.length - at <= TAG || !Number.isSafeInteger(counter)) return null;
  return { kind: bytes[0], keyId, counter, clear: bytes.subarray(0, at), body: bytes.subarray(at) };
}

/** The packets of a message. @param {Uint8Array<ArrayBuffer>} bytes */
function* packets(bytes) {
  if (bytes[0] !== BUNDLE) {
    yield /** @type {const} */ ([bytes, 0]);
    return;
  }
  for (let at = 1; at < bytes.length;) {
    let length = bytes[at];
    at += 1;
    if (length & 0x80) {
      length = (length & 0x7f) | (bytes[at] << 7);
      at += 1;
    }
    const leftOut = u16(bytes, at);
    at += 2;
    if (!(at + length <= bytes.length)) return;
    yield /** @type {const} */ ([bytes.subarray(at, at + length), leftOut]);
    at += length;
  }
}

/** @param {ArrayLike<number>} bytes @param {number} at */
const u16 = (bytes, at) => bytes[at] | (bytes[at + 1] << 8);

/** Where things lie in a facelink1 packet of one face. @param {Uint8Array<ArrayBuffer>} packet */
function layOut(packet) {
  const flags = u16(packet, 2);
  let at = 4;
  let name = '';
  if (flags & SUBJECT) {
    at += 1 + packet[4];
    name = new TextDecoder().decode(packet.subarray(5, at));
  }
  const view = new DataView(packet.buffer, packet.byteOffset);
  const sequence = view.getUint32(at, true);
  const after = at + 4;
  const time = flags & TIME ? view.getUint32(after, true) + view.getUint32(after + 4, true) * 4294967296 : null;
  const start = after + (flags & TIME ? 8 : 0);
  const weights = new Float32Array(52);
  let from = start;
  const mask = flags & PARTIAL ? packet.subarray(start, from += 7) : null;
  for (let i = 0; i < 52; i += 1) {
    if (mask && !(mask[i >> 3] & (1 << (i & 7)))) continue;
    weights[i] = flags & WIDE ? u16(packet, from) / 21845 - 1 : packet[from] / 255;
    from += flags & WIDE ? 2 : 1;
  }
  const end = from + (flags & HEAD ? 6 : 0) + (flags & POSITION ? 6 : 0) + (flags & GAZE ? 8 : 0);
  return { flags, name, sequence, time, after, weights, end, body: packet.subarray(start, end) };
}

/** When the next frame of a layer is due. */
class Cadence {
  due = -Infinity;

  /** @param {number} period @param {number} now */
  next(period, now) {
    this.due = (this.due + period > now ? this.due : now) + period;
  }
}

/** One subject's stream outwards: its id, its numbers and its layers, as `facelink::seal` has them. */
class Stream {
  id = crypto.getRandomValues(new Uint8Array(6));

  counter = -1;

  sequence = -1;

  base = new Cadence();

  middle = new Cadence();

  last = -Infinity;

  interval = 1000 / 60;

  tracked = false;

  /** The last three frames, newest first. @type {ReturnType<typeof layOut>[]} */
  recent = [];

  /** With the present key. @type {{ room: RoomKey, keyId: Uint8Array, made: { key: CryptoKey, salt: Uint8Array } } | null} */
  sealing = null;

  /** Frames since one of the lowest layer, and of the two lower ones; its weights. @type {({ ago: number, weights: Float32Array } | null)[]} */
  since = [null, null];

  constructor() {
    this.id[0] |= 0x80; // as long for each
  }

  /** @param {number} sequence The client's own number */
  next(sequence) {
    const step = sequence - this.sequence;
    this.counter += this.counter >= 0 && step >= 1 && step <= 1024 ? step : 1;
    this.sequence = sequence;
    return this.counter;
  }

  /** The layer of a frame, and which of the last three it has to repeat; 0 for none. @param {ReturnType<typeof layOut>} frame @param {number} now */
  layer(frame, now) {
    const gap = now - this.last;
    this.last = now;
    if (gap > PAUSE_MS) {
      this.recent = [];
      this.since = [null, null];
    } else if (gap > 0) this.interval += (gap - this.interval) * 0.1;
    const slack = Math.min(this.interval, 1000 / 30) / 2;
    const turned = (frame.flags & 1) !== Number(this.tracked);
    this.tracked = (frame.flags & 1) === 1;
    let layer = 2;
    if (turned || now + slack >= this.base.due) {
      layer = 0;
      this.base.next(1000 / 15, now);
      this.middle.due = now + 1000 / 30;
    } else if (now + slack >= this.middle.due) {
      layer = 1;
      this.middle.next(1000 / 30, now);
    }
    let peak = 0;
    const since = layer < 2 ? this.since[layer] : null;
    if (since) {
      let highest = PEAK;
      for (let back = 1; back < Math.min(since.ago, this.recent.length + 1); back += 1) {
        const { weights } = this.recent[back - 1];
        let height = 0;
        for (let i = 0; i < 52; i += 1) {
          const [then, newest] = [since.weights[i], frame.weights[i]];
          height = Math.max(height, weights[i] - Math.max(then, newest), Math.min(then, newest) - weights[i]);
        }
        if (height > highest) [highest, peak] = [height, back];
      }
    }
    this.recent.unshift(frame);
    this.recent.length = Math.min(3, this.recent.length);
    for (const kept of this.since) if (kept) kept.ago += 1;
    if (layer === 0) this.since[0] = { ago: 1, weights: frame.weights };
    if (layer < 2) this.since[1] = { ago: 1, weights: frame.weights };
    return { layer, peak };
  }
}

/**
 * Seals and opens. What a client needs is {@link SealedClient}.
 */
export class Seal {
  /** What was read and what was refused. */
  stats = { sealed: 0, opened: 0, otherKey: 0, forged: 0, replayed: 0, malformed: 0, notSealed: 0 };

  /** @type {RoomKey} */ #key;
  /** @type {RoomKey[]} */ #ahead = [];
  /** @type {{ room: RoomKey, until: number }[]} */ #past = [];
  /** @type {Map<string, Stream>} */ #streams = new Map();
  /** @type {Map<string, { room: RoomKey, newest: number, seen: bigint, leftOut: number }>} */ #heard = new Map();

  /** @param {RoomKey} key */
  constructor(key) {
    this.#key = key;
  }

  /** @param {string} text 43 characters of base64url @returns {Promise<Seal>} @throws {TypeError} When it is no key */
  static async from(text) {
    const seal = new Seal(await roomKey(keyBytes(text)));
    await seal.#lookAhead();
    return seal;
  }

  /** Names the key without giving it away, the same on every member's screen. */
  get fingerprint() { return this.#key.fingerprint; }

  async #lookAhead() {
    while (this.#ahead.length < AHEAD) this.#ahead.push(await roomKey((this.#ahead.at(-1) ?? this.#key).next));
  }

  /** Another key from now on. @param {string} text */
  async setKey(text) {
    const key = await roomKey(keyBytes(text));
    this.#past.push({ room: this.#key, until: performance.now() + GRACE_MS });
    this.#key = key;
    this.#ahead = [];
    await this.#lookAhead();
  }

  /** The next key of the ratchet from now on; the other members follow by themselves. */
  async ratchet() {
    const next = this.#ahead.shift();
    if (!next) return;
    this.#past.push({ room: this.#key, until: performance.now() + GRACE_MS });
    this.#key = next;
    await this.#lookAhead();
  }

  /** What stands for a name towards a relay. @param {string} name */
  async opaqueName(name) {
    return `~${base64(await hkdf(this.#key.root, 'SHA-256', bytesOf(`${LABEL}name ${name}`), 12))}`;
  }

  /** @param {string} name */
  #stream(name) {
    let stream = this.#streams.get(name);
    if (!stream) {
      stream = new Stream();
      if (this.#streams.size >= 256) this.#streams.clear();
      this.#streams.set(name, stream);
    }
    return stream;
  }

  /** @param {number} kind @param {Stream} stream @param {number} counter @param {Uint8Array<ArrayBuffer>} plain @returns {Promise<Uint8Array<ArrayBuffer>>} */
  async #encrypt(kind, stream, counter, plain) {
    const room = this.#key;
    let sealing = stream.sealing;
    if (sealing?.room !== room) {
      const keyId = join(stream.id, Uint8Array.of(room.hint));
      sealing = { room, keyId, made: await streamKey(room, keyId) };
      stream.sealing = sealing;
    }
    const { keyId, made } = sealing;
    const clear = clearPart(kind, keyId, counter);
    const sealed = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv: nonce(made.salt, counter), additionalData: aad(clear) }, made.key, plain,
    );
    this.stats.sealed += 1;
    return join(clear, new Uint8Array(sealed));
  }

  /**
   * Seals a facelink1 packet of one face.
   * @param {Uint8Array<ArrayBuffer>} packet
   * @param {string} own Name of the face where the packet has none
   * @param {number} now Milliseconds
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  sealFace(packet, own, now) {
    const frame = layOut(packet);
    const stream = this.#stream(frame.name || own);
    const counter = stream.next(frame.sequence);
    const recent = [...stream.recent];
    const { layer, peak } = stream.layer(frame, now);
    let { flags } = frame;
    const name = bytesOf(frame.name || own);
    let rest = packet.subarray(frame.after);
    const repeated = (flags >> 10) & 3;
    const past = peak > repeated && repeated < 3 && !(repeated && flags & CHANNELS) ? recent[peak - 1] : null;
    const distance = past ? (frame.sequence - past.sequence) >>> 0 : 0;
    const delta = past && frame.time !== null && past.time !== null ? frame.time - past.time : 0;
    if (past && distance > 0 && distance < 256 && delta >= 0 && delta < 4294967296 && (frame.time !== null || past.time === null)) {
      const head = new DataView(new ArrayBuffer(past.time === null ? 3 : 7));
      head.setUint16(0, past.flags & FRAME_FLAGS, true);
      head.setUint8(2, distance);
      if (past.time !== null) head.setUint32(3, delta, true);
      const at = repeated ? frame.end - frame.after : rest.length;
      rest = join(rest.subarray(0, at), new Uint8Array(head.buffer), past.body, rest.subarray(at));
      flags += 1 << 10;
    }
    flags |= SUBJECT;
    const plain = join(Uint8Array.of(flags & 255, flags >> 8, name.length), name, rest);
    return this.#encrypt(FACE + layer, stream, counter, plain);
  }

  /** Seals a message, such as a viseme. @param {string} text */
  sealMessage(text) {
    // A stream of its own: the numbers of a face's repeated frames count frames alone.
    const stream = this.#stream('\0');
    return this.#encrypt(MESSAGE, stream, stream.next(stream.sequence + 1), bytesOf(text));
  }

  /**
   * Opens a message, which may be a bundle.
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @param {(plain: Uint8Array<ArrayBuffer> | string, leftOut: number) => void} each Gets facelink1 packets, and messages;
   *   `leftOut`: frames of the stream that a relay has left out so far, which are not lost
   */
  async open(bytes, each) {
    for (const [packet, leftOut] of packets(bytes)) {
      const opened = await this.#open(packet, leftOut);
      if (opened !== null) each(opened.face, opened.missing);
    }
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes @param {number} leftOut Frames of its stream that a relay has left out so far, modulo 65536 */
  async #open(bytes, leftOut) {
    const { stats } = this;
    const packet = parse(bytes);
    if (!packet) {
      stats.malformed += 1;
      return null;
    }
    const { kind, keyId, counter, clear, body } = packet;
    const id = idOf(keyId);
    const now = performance.now();
    if (this.#past.length) this.#past = this.#past.filter((past) => past.until > now);
    const known = this.#heard.get(id);
    const rooms = [this.#key, ...this.#past.map((past) => past.room), ...this.#ahead].filter((room) => room.hint === keyId.at(-1));
    if (!rooms.length) {
      stats.otherKey += 1;
      return null;
    }
    if (known && rooms.includes(known.room)) rooms.unshift(known.room);
    /** Whether it was read before, or is too old. @param {RoomKey} room */
    const isStale = (room) => {
      const at = this.#heard.get(id);
      if (!at || at.room !== room || counter > at.newest) return false;
      const behind = BigInt(at.newest - counter);
      return behind >= WINDOW || ((at.seen >> behind) & 1n) === 1n;
    };
    for (const room of new Set(rooms)) {
      if (isStale(room)) break;
      const made = await streamKey(room, keyId);
      let plain;
      try {
        plain = new Uint8Array(await crypto.subtle.decrypt(
          { name: 'AES-GCM', iv: nonce(made.salt, counter), additionalData: aad(clear) }, made.key, body,
        ));
      } catch {
        continue;
      }
      // Another copy may have been opened while this one waited.
      if (isStale(room)) break;
      const missing = this.#note(id, room, counter, made, leftOut);
      stats.opened += 1;
      const step = this.#ahead.indexOf(room);
      for (let i = 0; i <= step; i += 1) await this.ratchet();
      const face = this.#plain(kind, counter, plain);
      return face === null ? null : { face, missing };
    }
    if (rooms.some(isStale)) stats.replayed += 1;
    else stats.forged += 1;
    return null;
  }

  /** @param {string} id @param {RoomKey} room @param {number} counter @param {{ key: CryptoKey, salt: Uint8Array }} made @param {number} leftOut */
  #note(id, room, counter, made, leftOut) {
    room.streams.set(id, made);
    let at = this.#heard.get(id);
    if (at?.room !== room) at = { room, newest: counter, seen: 0n, leftOut };
    if (counter >= at.newest) at.leftOut = Math.max(0, at.leftOut + (((leftOut - at.leftOut) << 16) >> 16));
    if (counter > at.newest) {
      at.seen = (at.seen << BigInt(counter - at.newest)) & ((1n << WINDOW) - 1n);
      at.newest = counter;
    }
    at.seen |= 1n << BigInt(at.newest - counter);
    this.#heard.delete(id); // the one that was silent longest comes first
    this.#heard.set(id, at);
    if (this.#heard.size > MAX_STREAMS) {
      const [silent] = this.#heard.keys();
      this.#heard.get(silent)?.room.streams.delete(silent);
      this.#heard.delete(silent);
    }
    return at.leftOut;
  }

  /** @param {number} kind @param {number} counter @param {Uint8Array} plain @returns {Uint8Array<ArrayBuffer> | string | null} */
  #plain(kind, counter, plain) {
    if (kind === MESSAGE) return new TextDecoder().decode(plain);
    const named = u16(plain, 0) & SUBJECT ? 3 + plain[2] : 2;
    if (plain.length < named) {
      this.stats.malformed += 1;
      return null;
    }
    const sequence = bigEndian(counter % 4294967296, 4).reverse();
    return join(Uint8Array.of(0xf1, 1), plain.subarray(0, named), sequence, plain.subarray(named));
  }
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function keyBytes(text) {
  if (!/^[\w-]{43}$/.test(text)) throw new TypeError('A key has 43 characters of base64url.');
  const bytes = Uint8Array.from(atob(`${text.replace(/-/g, '+').replace(/_/g, '/')}=`), (c) => c.charCodeAt(0));
  if (base64(bytes) !== text) throw new TypeError('A key has 256 bits.');
  return bytes;
}

/** The key in an invitation's fragment. @param {string | URL} url @returns {string | null} */
export const keyOf = (url) => new URLSearchParams(String(url).split('#')[1] ?? '').get('k');

/** Between a client and its transports: everything about faces is sealed on its way out, and opened on its way in. */
class Filter {
  /** @type {Promise<Seal>} */ seal;
  /** @type {Promise<unknown>} */ #out;
  /** @type {Promise<unknown>} */ #in;
  /** A packet that leaves by both transports is sealed once. @type {WeakMap<object, Promise<Uint8Array<ArrayBuffer>[]>>} */
  #sealed = new WeakMap();
  /** Names by what stands for them. @type {Map<string, string>} */ #names = new Map();

  /** @param {string} key @param {string} own @param {(error: Error) => void} fail */
  constructor(key, own, fail) {
    this.own = own;
    this.fail = fail;
    this.seal = Seal.from(key);
    this.seal.catch(fail);
    this.#out = this.seal;
    this.#in = this.seal;
  }

  /** @param {string | ArrayBuffer | Uint8Array<ArrayBuffer>} payload @param {(sealed: string | Uint8Array<ArrayBuffer>) => void} send @returns {boolean} */
  send(payload, send) {
    if (typeof payload === 'string') return this.#outText(payload, send);
    if (!(payload instanceof Uint8Array) || payload[0] !== 0xf1) return false; // plain floats
    const now = performance.now();
    let sealed = this.#sealed.get(payload);
    if (!sealed) {
      sealed = this.seal.then((seal) => Promise.all(faces(payload).map((face) => seal.sealFace(face, this.own, now))));
      this.#sealed.set(payload, sealed);
    }
    this.#then(async () => (await sealed).forEach(send));
    return true;
  }

  /** In order, and only once there is a key. @param {() => Promise<unknown>} work */
  #then(work) {
    this.#out = this.#out.then(work).catch(() => {});
  }

  /** @param {string} text @param {(sealed: string | Uint8Array<ArrayBuffer>) => void} send */
  #outText(text, send) {
    const message = JSON.parse(text);
    switch (message.type) {
      case 'arkit_data': case 'blendshape_update': case 'batch_update': case 'schema': return false;
      case 'viseme_data': case 'set_emotion':
        message.subject ??= this.own;
        this.#then(async () => send(await (await this.seal).sealMessage(JSON.stringify(message))));
        return true;
      case 'hello': case 'subscribe': case 'unsubscribe':
        this.#then(async () => {
          const seal = await this.seal;
          if (message.type === 'hello') message.subject = this.own;
          if (message.type !== 'unsubscribe') message.binary = 'sealed';
          // Asterisks alone are all of them.
          if (/[^*]/.test(message.subject ?? '')) {
            const opaque = await seal.opaqueName(message.subject);
            this.#names.set(opaque, message.subject);
            message.subject = opaque;
          }
          send(JSON.stringify(message));
        });
        return true;
      default:
        this.#then(async () => send(text));
        return true;
    }
  }

  /** @param {unknown} data @param {(plain: unknown, leftOut?: number) => void} receive */
  receive(data, receive) {
    if (typeof data !== 'string') {
      const bytes = new Uint8Array(/** @type {ArrayBuffer} */ (data));
      if (bytes[0] >= FACE && bytes[0] <= BUNDLE) {
        this.#in = this.#in.then(async () => (await this.seal).open(bytes, (plain, leftOut) => {
          if (typeof plain === 'string') return receive(plain);
          for (const face of decodeSafely(plain)) void this.#learn(face.subject);
          return receive(plain.buffer, leftOut);
        })).catch(() => {});
      } else void this.seal.then((seal) => { seal.stats.notSealed += 1; }, () => {});
      return;
    }
    const [, type] = /^\{"type":"(\w+)"/.exec(data) ?? [];
    if (type === 'pong' || type === 'ping') {
      receive(data);
      return;
    }
    /** @type {any} */ let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    switch (message?.type) {
      case 'arkit_data': case 'blendshape_update': case 'batch_update': // A relay could send any face.
        void this.seal.then((seal) => { seal.stats.notSealed += 1; }, () => {});
        return;
      case 'welcome':
        if (message.binary !== 'sealed') this.fail(new Error('The server carries no faces that are encrypted end to end: it is of an older version.'));
        message.binary = message.binary === 'sealed' ? 'facelink1' : 'none';
        break;
      default:
    }
    const name = this.#names.get(message?.subject);
    if (name === this.own && message.type === 'report') delete message.subject;
    else if (name !== undefined) message.subject = name;
    receive(JSON.stringify(message));
  }

  /** @param {string} name */
  async #learn(name) {
    if (!name || [...this.#names.values()].includes(name)) return;
    if (this.#names.size >= MAX_STREAMS) this.#names.clear();
    this.#names.set(await (await this.seal).opaqueName(name), name);
  }
}

/** @param {Uint8Array<ArrayBuffer>} packet */
function decodeSafely(packet) {
  try {
    return decodeFacelink1(packet);
  } catch {
    return [];
  }
}

/** A packet of several faces as one packet each. @param {Uint8Array<ArrayBuffer>} packet */
function faces(packet) {
  if (packet[1] === 1) return [packet];
  /** @type {Uint8Array<ArrayBuffer>[]} */ const out = [];
  /** @type {any[]} */ let previous = [];
  for (const face of decodeFacelink1(packet)) {
    if (face.repeated) previous.push(face);
    else {
      out.push(encodeFacelink1([{ ...face, previous }]));
      previous = [];
    }
  }
  return out;
}

/**
 * The client of facelink.js with a key: what it sends is sealed end to end, and what it receives is opened. Frames are
 * `facelink1` inside; `sendBlendshapes`, `sendBatch` and `sendBinaryBlendshapes`, which would leave in the clear, send
 * nothing.
 */
export class SealedClient extends FacialAnimationWebRTCClient {
  /** @type {Filter} */ #filter;

  /**
   * @param {string} [wsUrl] The server, or an invitation with the key in it (`#k=`)
   * @param {import('./facelink.js').ClientOptions & { key?: string }} [options] `key`: 43 characters of base64url
   * @throws {TypeError} Without a key, and where the browser has no WebCrypto: on pages that are neither HTTPS nor of
   *   this machine
   */
  constructor(wsUrl, { key, subject, ...options } = {}) {
    const known = key ?? keyOf(wsUrl ?? '');
    if (!known) throw new TypeError('SealedClient: needs a key.');
    if (!globalThis.crypto?.subtle) throw new TypeError('SealedClient: this page is not secure (https), and has no WebCrypto.');
    keyBytes(known);
    const own = subject ?? `face-${crypto.getRandomValues(new Uint16Array(1))[0].toString(16).padStart(4, '0')}`;
    const filter = new Filter(known, own, (error) => this.onError?.(Object.assign(error, { code: 'refused' })));
    super(wsUrl?.split('#')[0], { ...options, subject: own, binary: 'facelink1', filter });
    this.#filter = filter;
  }

  /** @param {string} name */
  setSubject(name) {
    if (name) this.#filter.own = name;
    super.setSubject(name);
  }

  /** Seals and opens; with the fingerprint of the key, and what was refused. @returns {Promise<Seal>} */
  get seal() { return this.#filter.seal; }

  /** Another key from now on. @param {string} key @returns {Promise<void>} */
  async setKey(key) {
    await (await this.#filter.seal).setKey(key);
    super.setSubject(this.#filter.own);
  }
}
