// Shared by the browser tests: a server process, a Chromium controlled by
// WebDriver, a TCP proxy and UDP relays that can be cut, and the frame count.
// Plain node (18 or newer), no packages.
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
export const root = path.resolve(here, '../..');
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const now = () => performance.now();

const cleanups = [];
export function atEnd(fn) {
  cleanups.push(fn);
}
export async function cleanUp() {
  while (cleanups.length) {
    try {
      await cleanups.pop()();
    } catch { /* already ended */ }
  }
}

/** Waits until `check` returns something true; the error names what was waited for. */
export async function until(what, check, limit = 30000) {
  const end = now() + limit;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (now() > end) throw new Error(`waited ${limit / 1000} s without success for: ${what}`);
    await sleep(20);
  }
}

/** Skips the tests where Chromium is missing; an error in CI. */
export function needBrowser() {
  const found = (program) => spawnSync(program, ['--version']).status === 0;
  if (found('chromium') && found('chromedriver')) return;
  const message = 'chromium and chromedriver are not installed (apt-get install chromium chromium-driver)';
  if (process.env.CI === 'true') throw new Error(message);
  console.log(`skipped: ${message}`);
  process.exit(0);
}

export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target');
  return process.env.FACELINK ?? path.join(target, 'debug', 'facelink');
}

/** `facelink listen --json` and its events. */
export class Server {
  events = [];
  frames = []; // {at, n, face, subject, source}

  static async start(port = 0, more = []) {
    const server = new Server();
    await server.run(port, more);
    atEnd(() => server.stop());
    return server;
  }

  async run(port = this.port, more = this.more) {
    this.more = more;
    const child = spawn(binary(), ['listen', '--json', '--port', String(port), '--live-link-face', 'off', '--udp-json', 'off', ...more], {
      stdio: ['ignore', 'pipe', process.env.RUST_LOG ? 'inherit' : 'ignore'],
    });
    this.child = child;
    const listening = new Promise((done, fail) => {
      child.once('error', fail);
      child.once('exit', (code) => fail(new Error(`the server ended with ${code}`)));
      readline.createInterface({ input: child.stdout }).on('line', (text) => {
        const line = JSON.parse(text);
        if (line.event === 'listening') {
          this.port = Number(line.http.split(':').at(-1));
          done();
        } else if (line.event === 'frame') {
          this.frames.push({ at: now(), frame: line.frame, n: numberOf(line.head), face: JSON.stringify(line.blendshapes), subject: line.subject, source: line.source, tracked: line.tracked, head: line.head, gaze: line.gaze });
        } else this.events.push({ at: now(), ...line });
      });
    });
    await listening;
  }

  signal(name) {
    this.child.kill(name);
  }

  async stop(signal = 'SIGKILL') {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill(signal);
    await gone;
  }

  async get(route) {
    return (await fetch(`http://127.0.0.1:${this.port}${route}`)).json();
  }

  /**
   * Counts the frames `from` to `to`: lost (of these, the ones that the client had sent: `lostInTransit`), duplicate,
   * late, and the longest gap.
   */
  count(from, to, times = [], out = [], subject = 'Test') {
    const ages = [];
    const seen = new Map();
    const faces = new Set();
    let duplicates = 0;
    const odd = [];
    let late = 0;
    let newest = -1;
    let gap = 0;
    let gapAt = -1;
    let last = null;
    const spans = [];
    for (const f of this.frames) {
      if (f.subject !== subject || f.n === null || f.n > to) continue;
      if (f.n < from) {
        last = f.at; // the first gap begins before `from`
        continue;
      }
      // The value after a peak is sent with the same number of ours but another sequence: not a duplicate.
      const key = `${f.n} ${f.frame} ${f.face}`;
      if (faces.has(key)) {
        duplicates += 1;
        odd.push(`duplicate ${f.n} (${f.frame}, ${f.source})`);
      }
      faces.add(key);
      if (times[f.n] !== undefined) ages.push(performance.timeOrigin + f.at - times[f.n]);
      seen.set(f.n, (seen.get(f.n) ?? 0) + 1);
      if (f.n < newest) {
        late += 1;
        odd.push(`late ${f.n} (${f.frame}, ${f.source}) after ${newest}`);
      }
      newest = Math.max(newest, f.n);
      if (last !== null && f.at - last > gap) {
        gap = f.at - last;
        gapAt = f.n;
      }
      last = f.at;
      if (!spans.length || spans.at(-1).source !== f.source) spans.push({ source: f.source, from: f.n });
    }
    let run = 0;
    let longest = 0;
    let lost = 0;
    let lostInTransit = 0;
    for (let n = from; n <= to; n += 1) {
      run = seen.has(n) ? 0 : run + 1;
      lost += seen.has(n) ? 0 : 1;
      lostInTransit += !seen.has(n) && out[n] ? 1 : 0;
      longest = Math.max(longest, run);
    }
    return {
      sent: to - from + 1, lost, lostInTransit, longestRun: longest, late, duplicates, odd: odd.slice(0, 8),
      gapMs: Math.round(gap), gapAt, age: spread(ages), by: spans.map((s) => s.source).slice(0, 12).join('>'),
    };
  }
}

// Each frame carries its number in the head's yaw and pitch: 200 steps of 5 mrad each,
// wider than the quantisation.
const STEP = 0.005;
export const numberSource = `
  (n) => [((n % 200) - 100) * ${STEP}, ((Math.floor(n / 200) % 200) - 100) * ${STEP}]
`;
function numberOf(head) {
  if (!head) return null;
  const [x, y, z, w] = head.rotation;
  const yaw = Math.asin(Math.max(-1, Math.min(1, 2 * (w * y - x * z))));
  const pitch = -Math.atan2(2 * (y * z + w * x), 1 - 2 * (x * x + y * y));
  const low = Math.round(yaw / STEP) + 100;
  const high = Math.round(pitch / STEP) + 100;
  return high * 200 + low;
}

/** Median, 99th percentile and largest, in ms. @param {number[]} values */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => Math.round((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN) * 10) / 10;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** A WebSocket client of RFC 6455, as far as facelink.js needs one, for a node that has none. */
export class Socket {
  readyState = 0;
  bufferedAmount = 0;
  binaryType = 'arraybuffer';

  constructor(url) {
    const { hostname, port, pathname, search } = new URL(url);
    const key = randomBytes(16).toString('base64');
    this.socket = net.connect(Number(port), hostname, () => this.socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: ${hostname}:${port}\r\n`
      + `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`));
    this.accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    this.data = Buffer.alloc(0);
    this.socket.on('data', (data) => this.#onData(data));
    this.socket.on('error', () => this.#end());
    this.socket.on('close', () => this.#end());
    this.listeners = {};
  }

  addEventListener(name, listener) { (this.listeners[name] ??= []).push(listener); }

  removeEventListener() {}

  #tell(name, event) {
    this[`on${name}`]?.(event);
    for (const listener of this.listeners[name] ?? []) listener(event);
  }

  #end() {
    if (this.readyState === 3) return;
    const opened = this.readyState === 1;
    this.readyState = 3;
    if (!opened) this.#tell('error', {});
    this.#tell('close', { code: 1006, reason: '', wasClean: false });
  }

  #onData(data) {
    this.data = Buffer.concat([this.data, data]);
    if (this.readyState === 0) {
      const end = this.data.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!this.data.subarray(0, end).toString().includes(this.accept)) return this.socket.destroy();
      this.data = this.data.subarray(end + 4);
      this.readyState = 1;
      this.#tell('open', {});
    }
    while (this.data.length >= 2) {
      let length = this.data[1] & 127;
      let at = 2;
      if (length === 126) { length = this.data.length >= 4 ? this.data.readUInt16BE(2) : Infinity; at = 4; }
      if (this.data.length < at + length) return;
      const [opcode, body] = [this.data[0] & 15, this.data.subarray(at, at + length)];
      this.data = this.data.subarray(at + length);
      if (opcode === 1) this.#tell('message', { data: body.toString() });
      else if (opcode === 2) this.#tell('message', { data: Uint8Array.from(body).buffer });
      else if (opcode === 9) this.#frame(10, body);
      else if (opcode === 8) this.socket.end();
    }
  }

  #frame(opcode, body) {
    const [mask, length] = [randomBytes(4), body.length];
    const head = length < 126 ? Buffer.from([0x80 | opcode, 0x80 | length]) : Buffer.from([0x80 | opcode, 0xfe, length >> 8, length & 255]);
    this.socket.write(Buffer.concat([head, mask, Buffer.from(body.map((byte, i) => byte ^ mask[i & 3]))]));
  }

  send(data) {
    if (typeof data === 'string') this.#frame(1, Buffer.from(data));
    else this.#frame(2, Buffer.from(data instanceof ArrayBuffer ? new Uint8Array(data) : data));
  }

  close(code = 1000) {
    this.#frame(8, Buffer.from([code >> 8, code & 255]));
    this.socket.end();
  }
}

/** A TCP proxy between page and server that can be cut in several ways. */
export class Proxy {
  pairs = new Set();
  mode = 'open'; // 'open', 'frozen' (data is held, nothing closes), 'refuse', 'blackhole' (accepts, never answers)
  connects = [];

  static async start(target) {
    const proxy = new Proxy();
    proxy.target = target;
    proxy.server = net.createServer((client) => proxy.#accept(client));
    await new Promise((done) => proxy.server.listen(0, '127.0.0.1', done));
    proxy.port = proxy.server.address().port;
    atEnd(() => {
      proxy.kill();
      proxy.server.close();
    });
    return proxy;
  }

  #accept(client) {
    this.connects.push(now());
    client.on('error', () => {});
    if (this.mode === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    client.setNoDelay(true);
    if (this.mode !== 'open') {
      this.pairs.add([client]);
      return;
    }
    const upstream = net.connect(this.target(), '127.0.0.1');
    upstream.setNoDelay(true);
    const pair = [client, upstream];
    this.pairs.add(pair);
    upstream.on('error', () => client.destroy());
    const end = () => {
      this.pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    client.on('close', end);
    upstream.on('close', end);
    client.pipe(upstream);
    upstream.pipe(client);
  }

  /** Resets every connection. */
  kill() {
    for (const pair of this.pairs) for (const socket of pair) socket.resetAndDestroy();
    this.pairs.clear();
  }

  /** No data passes, and nothing closes. */
  freeze() {
    this.mode = 'frozen';
    for (const [client, upstream] of this.pairs) {
      client.unpipe();
      client.pause();
      upstream?.unpipe();
      upstream?.pause();
    }
  }

  /** Held data passes, as TCP does it when a network is back. */
  thaw() {
    this.mode = 'open';
    for (const pair of this.pairs) {
      const [client, upstream] = pair;
      if (!upstream) {
        client.resetAndDestroy();
        this.pairs.delete(pair);
        continue;
      }
      client.pipe(upstream);
      upstream.pipe(client);
    }
  }
}

/** UDP relays between Chromium and the server, one for each of the server's candidate ports. */
export class Relays {
  byPort = new Map();
  drop = false;
  loss = 0;
  delay = 0;
  packets = 0;
  known = new Set();
  cut = new Set();

  /** Cuts the paths that were used so far; new ones work. */
  cutKnown() {
    this.cut = new Set(this.known);
  }

  async to(port, host = '127.0.0.1') {
    const key = `${host}:${port}`;
    const known = this.byPort.get(key);
    if (known) return known;
    const made = this.#open(port, host);
    this.byPort.set(key, made);
    return made;
  }

  #lets() {
    this.packets += 1;
    return !this.drop && !(this.loss && Math.random() < this.loss);
  }

  async #open(port, host) {
    const front = dgram.createSocket('udp4');
    const backs = new Map();
    const send = (path, socket, data, ...to) => {
      this.known.add(path);
      if (!this.#lets() || this.cut.has(path)) return;
      const go = () => {
        try {
          socket.send(data, ...to);
        } catch { /* closed */ }
      };
      if (this.delay) setTimeout(go, this.delay);
      else go();
    };
    front.on('message', (data, from) => {
      const key = `${from.address}:${from.port}`;
      let back = backs.get(key);
      if (!back) {
        back = dgram.createSocket('udp4');
        back.on('error', () => {});
        back.on('message', (answer) => send(key, front, answer, from.port, from.address));
        backs.set(key, back);
      }
      send(key, back, data, port, host);
    });
    front.on('error', () => {});
    await new Promise((done) => front.bind(0, '127.0.0.1', done));
    atEnd(() => {
      front.close();
      for (const back of backs.values()) back.close();
    });
    return front.address().port;
  }
}

/**
 * Serves the module to an empty page (loopback origins are allowed) and relay
 * ports to the page's hooks.
 */
export async function serveFiles(relays) {
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://x');
    if (url.pathname === '/relay') {
      response.end(String(await relays.to(Number(url.searchParams.get('port')), url.searchParams.get('host'))));
    } else if (['/facelink.js', '/delta.js', '/seal.js'].includes(url.pathname)) {
      response.setHeader('content-type', 'text/javascript');
      createReadStream(path.join(root, 'crates/facelink-net/web', url.pathname)).pipe(response);
    } else {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>test</title>');
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

/** A Chromium controlled by WebDriver. */
export class Browser {
  static async open(url, { args = [], width = 1280, height = 900 } = {}) {
    const browser = new Browser();
    const profile = mkdtempSync(path.join(os.tmpdir(), 'facelink-web-'));
    browser.driver = spawn('chromedriver', ['--port=0'], { stdio: ['ignore', 'pipe', 'ignore'] });
    atEnd(async () => {
      await fetch(browser.base, { method: 'DELETE' }).catch(() => {});
      browser.driver.kill('SIGKILL');
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    });
    const port = await new Promise((done, fail) => {
      browser.driver.once('error', fail);
      readline.createInterface({ input: browser.driver.stdout }).on('line', (line) => {
        const found = /successfully on port (\d+)/.exec(line);
        if (found) done(Number(found[1]));
      });
    });
    browser.base = `http://127.0.0.1:${port}/session`;
    const session = await browser.post('', {
      capabilities: {
        alwaysMatch: {
          'goog:chromeOptions': {
            args: [
              '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
              '--disable-background-networking', '--disable-component-update', '--disable-sync',
              '--disable-dev-shm-usage', `--user-data-dir=${profile}`, `--window-size=${width},${height}`, ...args,
            ],
          },
        },
      },
    });
    browser.base += `/${session.sessionId}`;
    await browser.post('/timeouts', { script: 120000 });
    await browser.post('/url', { url });
    return browser;
  }

  async post(route, body) {
    const answer = await fetch(this.base + route, { method: 'POST', body: JSON.stringify(body) });
    const { value } = await answer.json();
    if (value?.error) throw new Error(`${route}: ${value.error}: ${value.message}`);
    return value;
  }

  /** Runs the body of an async function in the page. */
  async run(body) {
    const script = `const done = arguments[arguments.length - 1];
      (async () => { ${body} })().then(value => done({ value }), error => done({ failure: String(error?.stack ?? error) }));`;
    const outcome = await this.post('/execute/async', { script, args: [] });
    if (outcome.failure) throw new Error(`in the page: ${outcome.failure}`);
    return outcome.value;
  }

  /** Suspends all processes of Chromium (`SIGSTOP`), as sleep does, or continues them (`SIGCONT`). */
  signal(name) {
    const parents = new Map();
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      try {
        parents.set(Number(entry), Number(readFileSync(`/proc/${entry}/stat`, 'utf8').split(') ').at(-1).split(' ')[1]));
      } catch { /* it has ended */ }
    }
    const ours = (pid) => pid === this.driver.pid || (parents.has(pid) && ours(parents.get(pid)));
    for (const pid of parents.keys()) if (pid !== this.driver.pid && ours(pid)) process.kill(pid, name);
  }

  cdp(cmd, params = {}) {
    return this.post('/goog/cdp/execute', { cmd, params });
  }

  async screenshot() {
    const answer = await fetch(`${this.base}/screenshot`);
    return Buffer.from((await answer.json()).value, 'base64');
  }
}

/**
 * Makes every data channel of the page pass our relays: the server's candidates
 * are rewritten, and the page's own are withheld from the server.
 */
export const relayHooks = `
  const relayOf = async (host, port) => Number(await (await fetch('/relay?port=' + port + '&host=' + host)).text());
  const isIp = (host) => /^\\d+\\.\\d+\\.\\d+\\.\\d+$/.test(host);
  const rewritten = async (line) => {
    const part = line.split(' ');
    if (part[2].toLowerCase() !== 'udp' || !isIp(part[4])) return null;
    part[5] = String(await relayOf(part[4], part[5]));
    part[4] = '127.0.0.1';
    return part.join(' ');
  };
  const add = RTCPeerConnection.prototype.addIceCandidate;
  RTCPeerConnection.prototype.addIceCandidate = async function (init) {
    if (!init?.candidate) return;
    const candidate = await rewritten(init.candidate);
    if (candidate) return add.call(this, { ...init, candidate });
  };
  const set = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = async function (init) {
    const lines = [];
    for (const line of init.sdp.split('\\r\\n')) {
      if (!line.startsWith('a=candidate:')) lines.push(line);
      else {
        const other = await rewritten(line.slice(2));
        if (other) lines.push('a=' + other);
      }
    }
    return set.call(this, { type: init.type, sdp: lines.join('\\r\\n') });
  };
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (typeof data === 'string' && data.startsWith('{"type":"ice_candidate"')) return;
    if (typeof data === 'string' && data.startsWith('{"type":"offer"')) {
      const message = JSON.parse(data);
      message.sdp = message.sdp.replace(/a=candidate:.*\\r\\n/g, '');
      data = JSON.stringify(message);
    }
    return send.call(this, data);
  };
`;

/** A client in the page that sends 60 numbered frames a second and keeps a log. */
export const startClient = (url, options = {}) => `
  const { FacialAnimationWebRTCClient, headQuaternion, samplePerformance } = await import('/facelink.js');
  const number = ${numberSource};
  const t = window.test = { n: 0, left: 0, times: [], out: [], notes: [], moves: [], states: [] };
  const client = t.client = new FacialAnimationWebRTCClient(${JSON.stringify(url)}, ${JSON.stringify({ subject: 'Test', ...options })});
  client.debug = true;
  // No thinning, whatever rate the server asks for.
  Object.defineProperty(client, 'targetFps', { get: () => 240, set() {} });
  console.debug = console.info = console.warn = () => {};
  client.onLog = (level, text) => t.notes.push([Math.round(performance.now()), t.n, text]);
  client.onTransportChange = (to) => t.moves.push([Math.round(performance.now()), t.n, to]);
  client.onStateChange = (to) => t.states.push([Math.round(performance.now()), t.n, to]);
  const clock = new Worker(URL.createObjectURL(new Blob([\`
    let next = performance.now();
    setInterval(() => {
      const time = performance.now();
      if (time - next > 500) next = time; // the machine slept: no frames for that time
      while (next <= time) { next += 1000 / 60; postMessage(0); }
    }, 4);
  \`])));
  clock.onmessage = () => {
    if (t.stopped) return;
    const [yaw, pitch] = number(t.n);
    t.times.push(performance.timeOrigin + performance.now());
    t.n += 1;
    const { blendshapes } = samplePerformance(t.n / 60);
    if (client.sendARKitData(blendshapes, { head: { rotation: headQuaternion(yaw, pitch, 0) } })) {
      t.left += 1;
      t.out[t.n - 1] = true;
    }
  };
  await client.connect();
`;

/** Runs named tests and prints one line of JSON each. */
export async function runAll(tests, onFailure) {
  const only = process.argv.slice(2);
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    if (only.length && !only.some((o) => name.includes(o))) continue;
    try {
      const result = await test();
      console.log(JSON.stringify({ test: name, ok: true, ...result }));
    } catch (error) {
      failed += 1;
      await onFailure?.();
      console.log(JSON.stringify({ test: name, ok: false, error: String(error?.stack ?? error) }));
    } finally {
      await cleanUp();
    }
  }
  process.exitCode = failed ? 1 : 0;
}

export function assert(condition, what, details) {
  if (!condition) throw new Error(`${what}${details === undefined ? '' : `: ${JSON.stringify(details)}`}`);
}
