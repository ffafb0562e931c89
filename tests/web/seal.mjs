// End-to-end encrypted faces: seal.js by itself, and with the Rust side over real sockets, both ways.
//
//   CARGO_TARGET_DIR=... node tests/web/seal.mjs [part of a test's name ...]
//
// Plain node, no packages: a small WebSocket stands in where node has none. The last test measures Chromium, where it is
// installed.
import { spawn, spawnSync } from 'node:child_process';
import { webcrypto } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import {
  assert, atEnd, binary, Browser, Proxy, Relays, runAll, serveFiles, Server, sleep, Socket, until,
} from './lib.mjs';

globalThis.crypto ??= webcrypto;
globalThis.performance ??= performance;

globalThis.WebSocket ??= Socket;

const web = new URL('../../crates/facelink-net/web/', import.meta.url);
const { samplePerformance, encodeFacelink1, decodeFacelink1 } = await import(new URL('facelink.js', web));
const { Seal, SealedClient, keyOf } = await import(new URL('seal.js', web));

/** Whether Chromium is here; in CI it has to be. */
function hasBrowser() {
  const found = ['chromium', 'chromedriver'].every((program) => spawnSync(program, ['--version']).status === 0);
  assert(found || process.env.CI !== 'true', 'chromium and chromedriver are installed');
  return found;
}

const KEY = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';
const OTHER = Buffer.alloc(32, 7).toString('base64url');

function client(server, options) {
  const made = new SealedClient(`ws://127.0.0.1:${server.port}`, { key: KEY, webrtc: false, subject: 'Annabel Lee', ...options });
  atEnd(() => made.close());
  return made;
}

/** Sends the performance until `done`. */
async function sendUntil(what, sender, done) {
  const start = Date.now();
  const timer = setInterval(() => {
    const { blendshapes, head } = samplePerformance((Date.now() - start) / 1000);
    sender.sendARKitData(blendshapes, { head });
  }, 16);
  try {
    return await until(what, done);
  } finally {
    clearInterval(timer);
  }
}

const sealedStats = async (server) => (await server.get('/api/v1/stats')).sealed;

const plainOf = (i, weight = (i % 50) / 50) => encodeFacelink1([{
  sequence: i, captureTime: 1.7e15 + i * 16667, blendshapes: { ...samplePerformance(i / 60).blendshapes, eyeBlinkLeft: weight }, subject: 'Ann',
}]);

async function opened(seal, packet) {
  const out = [];
  await seal.open(packet, (plain) => out.push(plain));
  return out;
}

await runAll({
  async key_is_derived_as_in_rust() {
    const seal = await Seal.from(KEY);
    assert(seal.fingerprint === '6cdd5dd2', 'the fingerprint', seal.fingerprint);
    assert(await seal.opaqueName('Ann') === '~SafJ0DK2SdB2DneP', 'the opaque name', await seal.opaqueName('Ann'));
    for (const bad of ['', KEY.slice(1), `${KEY}=`, KEY.replace('A', '+'), `${KEY.slice(0, -1)}9`]) {
      const error = await Seal.from(bad).then(() => null, (e) => e);
      assert(error instanceof TypeError, 'no key', bad);
    }
    assert(keyOf(`http://a/?token=b#k=${KEY}`) === KEY && keyOf('http://a/?k=b') === null, 'the fragment');
    return {};
  },

  async packets_are_refused_when_replayed_changed_old_or_of_another_key() {
    const [ann, bob, eve] = await Promise.all([Seal.from(KEY), Seal.from(KEY), Seal.from(OTHER)]);
    const packets = [];
    for (let i = 0; i < 400; i += 1) packets.push(await ann.sealFace(plainOf(i), 'Ann', i * 16.667));
    const more = packets.map((packet, i) => packet.length - plainOf(i).length).filter((bytes) => bytes < 60);
    assert(Math.max(...more) <= 22 && more.length > 350, 'at most 22 bytes more', Math.max(...more));
    const [first] = await opened(bob, packets[0]);
    const [face] = decodeFacelink1(first);
    assert(face.subject === 'Ann' && face.sequence === 0 && face.captureTime === 1.7e15, 'the face', face);
    for (let bit = 0; bit < packets[1].length * 8; bit += 1) {
      const flipped = packets[1].slice();
      flipped[bit >> 3] ^= 1 << (bit & 7);
      assert((await opened(bob, flipped)).length === 0, `bit ${bit} flipped`);
    }
    for (let length = 0; length < packets[1].length; length += 1) {
      assert((await opened(bob, packets[1].slice(0, length))).length === 0, `cut to ${length}`);
    }
    for (let i = 99; i > 0; i -= 1) assert((await opened(bob, packets[i])).length === 1, `packet ${i}, out of order`);
    for (let i = 0; i < 100; i += 1) assert((await opened(bob, packets[i])).length === 0, `packet ${i} again`);
    assert(bob.stats.replayed >= 100 && bob.stats.forged > 700 && bob.stats.malformed > 0, 'counted', bob.stats);
    assert((await opened(bob, packets[399])).length > 0 && (await opened(bob, packets[399 - 128])).length === 0, 'too old');
    assert((await opened(eve, packets[5])).length === 0 && eve.stats.otherKey + eve.stats.forged === 1, 'another key', eve.stats);
    // Two copies at once: one is opened.
    const both = await Promise.all([opened(bob, packets[398]), opened(bob, packets[398])]);
    assert(both.flat().length === 1, 'twice at once');
    // A relay's bundle.
    const item = (packet, leftOut) => [packet.length & 0x7f | (packet.length > 127 ? 0x80 : 0), ...(packet.length > 127 ? [packet.length >> 7] : []), leftOut & 255, leftOut >> 8, ...packet];
    const fresh = await Seal.from(KEY);
    const bundle = [];
    await fresh.open(Uint8Array.from([0xf8, ...item(packets[7], 3), ...item(packets[9], 4)]), (plain, leftOut) => bundle.push([plain, leftOut]));
    const [one, two] = bundle.map(([plain, leftOut]) => decodeFacelink1(plain).at(-1).sequence - leftOut);
    assert(bundle.length === 2 && two === one + 1, 'a bundle; what the relay left out does not look lost', { one, two });
    return { more: Math.max(...more) };
  },

  async keys_change_and_ratchet() {
    const [ann, bob, eve] = await Promise.all([Seal.from(KEY), Seal.from(KEY), Seal.from(KEY)]);
    let i = 0;
    const seal = () => ann.sealFace(plainOf(i += 1), 'Ann', i * 16.667);
    await ann.ratchet();
    await ann.ratchet();
    assert((await opened(bob, await seal())).length === 1 && bob.fingerprint === ann.fingerprint, 'the ratchet is followed');
    const before = await seal();
    await ann.setKey(OTHER);
    await bob.setKey(OTHER);
    assert((await opened(bob, before)).length === 1, 'what was under way');
    assert((await opened(bob, await seal())).length === 1 && (await opened(eve, await seal())).length === 0, 'who left reads nothing');
    await sleep(2050);
    const late = await (await Seal.from(KEY)).sealFace(plainOf(1), 'Eve', 0);
    assert((await opened(bob, late)).length === 0, 'and sends nothing');
    return {};
  },

  async lowest_layer_keeps_a_blink() {
    for (let phase = 0; phase < 6; phase += 1) {
      const [ann, bob] = await Promise.all([Seal.from(KEY), Seal.from(KEY)]);
      let [highest, kept, passed] = [0, 0, 0];
      for (let i = 0; i < 120; i += 1) {
        const weight = Math.max(0, 1 - Math.abs(i - 60 - phase * 0.6) / 2);
        highest = Math.max(highest, weight);
        const packet = await ann.sealFace(plainOf(i, weight), 'Ann', i * 16.667);
        if (packet[0] !== 0xf4) continue;
        passed += 1;
        const [plain] = await opened(bob, packet);
        for (const face of decodeFacelink1(plain)) kept = Math.max(kept, face.blendshapes.eyeBlinkLeft);
      }
      assert(passed >= 29 && passed <= 32 && kept > highest - 0.11, 'kept', { phase, passed, kept, highest });
    }
    return {};
  },

  async javascript_seals_for_rust() {
    const server = await Server.start(0, ['--key', KEY]);
    const ann = client(server);
    await ann.connect();
    const frames = await sendUntil('the face', ann, () => {
      const seen = server.frames.filter((frame) => frame.subject === 'Annabel Lee');
      return seen.length > 60 ? seen : null;
    });
    const stats = await sealedStats(server);
    assert(stats.opened > 60 && stats.forged + stats.malformed + stats.other_key + stats.not_sealed === 0, 'all are opened', stats);
    assert(stats.key === (await ann.seal).fingerprint, 'the same key', stats);
    const { subjects } = await server.get('/api/v1/subjects');
    assert(subjects.length === 1 && subjects[0].name === 'Annabel Lee' && subjects[0].head, 'one subject', subjects.map((s) => s.name));
    // Nothing in the clear: what would be is not sent.
    assert(!ann.sendBinaryBlendshapes(new Array(52).fill(0)) && !ann.sendBatch([{ type: 'arkit_data', blendshapes: {} }]), 'not in the clear');
    assert(ann.sendViseme('aa', 1), 'a viseme is sealed');
    await until('the viseme is opened', async () => (await sealedStats(server)).opened > stats.opened);
    return { frames: frames.length };
  },

  async rust_seals_for_javascript() {
    const server = await Server.start(0, ['--key', KEY]);
    const bob = client(server, { subject: 'Bob' });
    const seen = [];
    bob.onBlendshapeUpdate = (data, arkit, message) => { if (message.subject === 'Ann') seen.push(message); };
    const stranger = new (Object.getPrototypeOf(SealedClient))(`ws://127.0.0.1:${server.port}`, { webrtc: false });
    atEnd(() => stranger.close());
    let strange = 0;
    stranger.onBlendshapeUpdate = () => { strange += 1; };
    await Promise.all([bob.connect(), stranger.connect()]);
    const child = spawn(binary(), ['send', '--to', `http://127.0.0.1:${server.port}/#k=${KEY}`, '--subject', 'Ann', '--via', 'websocket'], { stdio: 'ignore' });
    atEnd(() => child.kill());
    await until('sixty faces', () => seen.length > 60);
    const frames = seen.map((message) => message.frame);
    assert(frames.every((frame, i) => i === 0 || frame > frames[i - 1]), 'in order, none twice', frames.slice(0, 20));
    assert(Object.keys(seen[0].arkit).length === 52 && seen[0].head.rotation.length === 4, 'a whole face');
    assert(strange === 0, 'nothing for others', strange);
    child.kill();
    return { frames: seen.length };
  },

  async endpoint_without_the_key_sees_nothing() {
    const server = await Server.start();
    const proxy = await Proxy.start(() => server.port);
    const ann = client({ port: proxy.port });
    await ann.connect();
    await sendUntil('counted', ann, async () => (await sealedStats(server)).no_key > 60);
    const { no_key: before } = await sealedStats(server);
    ann.sendViseme('aa', 1);
    await until('the viseme', async () => (await sealedStats(server)).no_key > before);
    const { subjects } = await server.get('/api/v1/subjects');
    const { connections } = await server.get('/api/v1/stats');
    assert(subjects.length === 0 && server.frames.length === 0, 'no subject', subjects);
    assert(connections.every((c) => /^~[\w-]{16}$/.test(c.subject)), 'an opaque name', connections.map((c) => c.subject));
    return {};
  },

  async page_seals_with_the_key_of_its_address() {
    if (!hasBrowser()) return { skipped: 'chromium and chromedriver are not installed' };
    const server = await Server.start(0, ['--key', KEY]);
    await Browser.open(`http://127.0.0.1:${server.port}/?perform=1&subject=Ann#k=${KEY}`);
    await until('the face', () => server.frames.filter((frame) => frame.subject === 'Ann').length > 30);
    const stats = await sealedStats(server);
    assert(stats.opened > 30 && stats.forged + stats.not_sealed === 0, 'sealed', stats);
    return {};
  },

  async cost_of_a_face() {
    const measure = `
      const at = (i) => encodeFacelink1([{ sequence: i, captureTime: 1.7e15 + i * 16667, subject: 'Ann', ...samplePerformance(i / 60) }]);
      const [ann, bob] = await Promise.all([Seal.from(KEY), Seal.from(KEY)]);
      const plain = Array.from({ length: 4000 }, (_, i) => at(i));
      const sealed = [];
      for (let i = 0; i < 1000; i += 1) sealed.push(await ann.sealFace(plain[i], 'Ann', i * 16.7));
      for (const packet of sealed) await bob.open(packet, () => {});
      sealed.length = 0;
      let t = performance.now();
      for (let i = 1000; i < 4000; i += 1) sealed.push(await ann.sealFace(plain[i], 'Ann', i * 16.7));
      const sealUs = (performance.now() - t) / 3;
      t = performance.now();
      for (const packet of sealed) await bob.open(packet, () => {});
      return { sealUs, openUs: (performance.now() - t) / 3 };`;
    const run = new (Object.getPrototypeOf(async () => {}).constructor)('Seal', 'KEY', 'encodeFacelink1', 'samplePerformance', measure);
    const figures = { node: await run(Seal, KEY, encodeFacelink1, samplePerformance) };
    if (hasBrowser()) {
      const page = await Browser.open(await serveFiles(new Relays()));
      figures.chromium = await page.run(`
        const { encodeFacelink1, samplePerformance } = await import('/facelink.js');
        const { Seal } = await import('/seal.js');
        const KEY = ${JSON.stringify(KEY)};
        ${measure}`);
    }
    return figures;
  },
});
