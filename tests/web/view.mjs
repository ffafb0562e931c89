// The viewer: its mapping held to Rust's, its jitter buffer, and the page in Chromium: first picture, exact transparency, links of
// strangers, sealed faces, several avatars, reconnection, memory.
//
//   CARGO_TARGET_DIR=... node tests/web/view.mjs [part of a test's name ...]
//
// SHOTS=DIR keeps pictures, MINUTES=10 watches the memory for longer. three.js and three-vrm come from npm (tests/peers).
import { createServer } from 'node:http';
import { createHash, webcrypto } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert, atEnd, Browser, needBrowser, now, root, runAll, Server, sleep, Socket, until } from './lib.mjs';
import { readPng } from './png.mjs';

globalThis.WebSocket ??= Socket;
globalThis.crypto ??= webcrypto;
needBrowser();
const web = path.join(root, 'crates/facelink-net/web');
const packages = path.join(process.env.FACELINK_NODE_PACKAGES ?? path.join(os.homedir(), '.cache/facelink/npm'), 'node_modules');
if (!existsSync(path.join(packages, 'three/build/three.module.js'))) {
  const message = `three.js is not in ${packages} (npm ci of tests/peers, as .ci/run does)`;
  if (process.env.CI === 'true') throw new Error(message);
  console.log(`skipped: ${message}`);
  process.exit(0);
}
const { Evaluator, angles } = await import(path.join(web, 'mapping.js'));
const { Playout } = await import(path.join(web, 'playout.js'));
const { outline, documentOf } = await import(path.join(web, 'model.js'));
const { encodeFacelink1, headQuaternion, samplePerformance, ARKIT_NAMES } = await import(path.join(web, 'facelink.js'));
const vectors = JSON.parse(readFileSync(path.join(root, 'tests/web/mapping_vectors.json'), 'utf8'));

// ---- what the page loads ----------------------------------------------------------

/** The bones that a VRM avatar has to have besides. */
const BODY = ['hips', 'spine', ...['left', 'right'].flatMap((side) => ['UpperLeg', 'LowerLeg', 'Foot', 'UpperArm', 'LowerArm', 'Hand'].map((part) => side + part))];

/** Aria as a VRM avatar: the same meshes with the extension of that version, and expressions instead of names. */
function vrmOf(version, body = BODY) {
  const file = readFileSync(path.join(root, 'assets/avatars/aria.glb'));
  const length = file.readUInt32LE(12);
  const json = JSON.parse(file.subarray(20, 20 + length).toString());
  const node = (wanted) => json.nodes.findIndex(({ name }) => name === wanted);
  const bones = { head: node('Head'), neck: node('Neck'), leftEye: node('EyeLeft'), rightEye: node('EyeRight') };
  for (const bone of body) json.nodes[node('Chest')].children.push((bones[bone] = json.nodes.push({ name: bone }) - 1));
  const expressions = { aa: 'jawOpen', oh: 'mouthFunnel', ou: 'mouthPucker', blinkLeft: 'eyeBlinkLeft', blinkRight: 'eyeBlinkRight', relaxed: 'mouthSmileLeft' };
  // Of every mesh that has the target: lashes go with the lids.
  const binds = (target) => json.nodes.flatMap(({ mesh }, on) => {
    const index = json.meshes[mesh]?.extras?.targetNames?.indexOf(target) ?? -1;
    return index < 0 ? [] : [{ node: on, mesh, index }];
  });
  const bound = Object.fromEntries(Object.entries(expressions).map(([name, target]) => [name, binds(target)]));
  for (const of of json.meshes) delete of.extras;
  json.extensions ??= {};
  if (version === 1) {
    json.extensions.VRMC_vrm = {
      specVersion: '1.0', meta: { name: 'Aria', authors: ['FaceLink'], licenseUrl: 'https://vrm.dev/licenses/1.0/' },
      humanoid: { humanBones: Object.fromEntries(Object.entries(bones).map(([name, index]) => [name, { node: index }])) },
      lookAt: { type: 'bone', rangeMapHorizontalInner: { inputMaxValue: 90, outputScale: 10 }, rangeMapHorizontalOuter: { inputMaxValue: 90, outputScale: 10 }, rangeMapVerticalDown: { inputMaxValue: 90, outputScale: 10 }, rangeMapVerticalUp: { inputMaxValue: 90, outputScale: 10 } },
      expressions: { preset: Object.fromEntries(Object.entries(bound).map(([name, list]) => [name, { morphTargetBinds: list.map(({ node: on, index }) => ({ node: on, index, weight: 1 })) }])) },
    };
    json.extensionsUsed = [...(json.extensionsUsed ?? []), 'VRMC_vrm'];
  } else {
    const presets = { aa: 'a', oh: 'o', ou: 'u', blinkLeft: 'blink_l', blinkRight: 'blink_r', relaxed: 'fun' };
    // Models of this version look along -Z.
    const turned = json.nodes.push({ name: 'turned', rotation: [0, 1, 0, 0], children: json.scenes[json.scene ?? 0].nodes }) - 1;
    json.scenes[json.scene ?? 0].nodes = [turned];
    json.extensions.VRM = {
      meta: { title: 'Aria' }, humanoid: { humanBones: Object.entries(bones).map(([bone, index]) => ({ bone, node: index })) },
      firstPerson: { lookAtTypeName: 'Bone' }, materialProperties: json.materials.map(({ name }) => ({ name, shader: 'VRM_USE_GLTFSHADER' })),
      blendShapeMaster: { blendShapeGroups: Object.entries(bound).map(([name, list]) => ({ name, presetName: presets[name], binds: list.map(({ mesh, index }) => ({ mesh, index, weight: 100 })) })) },
    };
    json.extensionsUsed = [...(json.extensionsUsed ?? []), 'VRM'];
  }
  let text = JSON.stringify(json);
  text += ' '.repeat((4 - (Buffer.byteLength(text) % 4)) % 4);
  const head = Buffer.alloc(20);
  const rest = file.subarray(20 + length);
  head.write('glTF');
  head.writeUInt32LE(2, 4);
  head.writeUInt32LE(20 + Buffer.byteLength(text) + rest.length, 8);
  head.writeUInt32LE(Buffer.byteLength(text), 12);
  head.writeUInt32LE(0x4e4f534a, 16);
  return Buffer.concat([head, Buffer.from(text), rest]);
}

const folder = mkdtempSync(path.join(os.tmpdir(), 'facelink-view-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
symlinkSync(path.join(packages, 'three'), path.join(folder, 'three'));
symlinkSync(path.join(packages, '@pixiv/three-vrm'), path.join(folder, 'three-vrm'));
symlinkSync(path.join(root, 'assets/avatars/rivet.glb'), path.join(folder, 'rivet.glb'));
writeFileSync(path.join(folder, 'aria1.vrm'), vrmOf(1));
writeFileSync(path.join(folder, 'aria0.vrm'), vrmOf(0));
writeFileSync(path.join(folder, 'bust.vrm'), vrmOf(1, []));
writeFileSync(path.join(folder, 'broken.glb'), 'glTF is what this is not');

const GL = ['--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-renderer-backgrounding'];

/** An endpoint and a viewer of it. */
async function open({ query = '', hash = '', width = 480, height = 360, args = [], wait = true } = {}) {
  const server = await Server.start(0, ['--models', folder, ...args]);
  const page = await Browser.open('about:blank', { width, height, args: GL });
  await page.cdp('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 450 });
  await page.cdp('Page.addScriptToEvaluateOnNewDocument', { source: `window.seen = [];
    for (const level of ['warn', 'error']) { const log = console[level]; console[level] = (...text) => { seen.push(text.join(' ')); log(...text); }; }
    addEventListener('securitypolicyviolation', (event) => seen.push('policy: ' + event.violatedDirective + ' ' + event.blockedURI));
    addEventListener('error', (event) => seen.push('error: ' + event.message));
    addEventListener('unhandledrejection', (event) => seen.push('error: ' + event.reason));` });
  const go = (more = query, behind = hash) => page.post('/url', { url: `http://127.0.0.1:${server.port}/view?${more}${behind}` });
  await go();
  const drawn = () => until('a picture', () => page.run("return Boolean(window.viewer?.state.drawn && viewer.places.every((place) => place.avatar));"), 120000).catch(async (error) => {
    throw new Error(`${error.message}: ${await page.run("return document.getElementById('notice').textContent + seen;")}`);
  });
  if (wait) await drawn();
  const shot = async (name) => {
    if (process.env.SHOTS) writeFileSync(`${process.env.SHOTS}/${name}.png`, await page.screenshot());
  };
  return { server, page, go, drawn, shot };
}

/** Sends faces by a WebSocket until it is closed. */
function perform(server, subject, faceAt = samplePerformance, query = '') {
  let [sequence, socket, over] = [0, null, false];
  const dial = () => {
    if (over) return;
    socket = new WebSocket(`ws://127.0.0.1:${server.port}/ws${query}`);
    socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', subject, binary: 'facelink1' }));
    socket.onclose = () => setTimeout(dial, 200);
  };
  dial();
  const start = now();
  const timer = setInterval(() => {
    if (socket.readyState !== 1) return;
    const { blendshapes, head } = faceAt((now() - start) / 1000);
    socket.send(encodeFacelink1([{ sequence: sequence++, captureTime: Math.round((performance.timeOrigin + now()) * 1000), blendshapes, head }]));
  }, 16);
  const stop = () => {
    over = true;
    clearInterval(timer);
    socket.close();
  };
  atEnd(stop);
  return stop;
}

/** A picture of the page over nothing, with its transparency. */
async function picture(page) {
  const { data } = await page.cdp('Page.captureScreenshot', { format: 'png' });
  const png = readPng(Buffer.from(data, 'base64'));
  return { ...png, at: (x, y) => [...png.data.subarray((y * png.width + x) * png.channels, (y * png.width + x + 1) * png.channels)] };
}

const weight = (place, name) => `viewer.places[${place}].avatar.driver.evaluator.shape('${name}')`;

await runAll({
  async mapping_equals_rusts_over_every_preset() {
    const server = await Server.start(0, ['--models', folder]);
    let [largest, count] = [0, 0];
    const presets = new Set();
    const compare = (label, mapping, wanted) => {
      const evaluator = new Evaluator(mapping);
      vectors.faces.forEach((weights, face) => {
        evaluator.evaluate(weights, vectors.channels, vectors.head);
        const shown = [];
        evaluator.mesh(0, (target, value) => shown.push([target, value]));
        assert(shown.length === wanted[face].length, `${label}: targets`, { shown: shown.length, wanted: wanted[face].length });
        shown.forEach(([target, value], i) => {
          const [other, rust] = wanted[face][i];
          const off = Math.abs(value - rust);
          assert(target === other && off <= 1e-6, `${label}: target ${target}`, { value, rust });
          [largest, count] = [Math.max(largest, off), count + 1];
        });
      });
    };
    compare('every kind of rule', vectors.rules.mapping, vectors.rules.weights);
    for (const { label, preset, targets, weights } of vectors.rigs) {
      const answer = await fetch(`http://127.0.0.1:${server.port}/api/v1/rig`, {
        method: 'POST', headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ scenes: [{ nodes: [0] }], nodes: [{ mesh: 0 }], meshes: [{ extras: { targetNames: targets }, primitives: [{ targets: targets.map(() => ({})) }] }] }),
      });
      const rig = await answer.json();
      assert(answer.ok && rig.preset === preset, `${label}: the preset`, { rig: rig.preset ?? rig, preset });
      presets.add(preset);
      compare(label, rig.mapping, weights);
    }
    assert(presets.size === 21, 'every preset is there', [...presets]);
    return { rigs: vectors.rigs.length, weights: count, largest };
  },

  async rig_refuses_what_is_no_model() {
    const server = await Server.start(0, ['--models', folder]);
    const ask = async (body, type = 'application/json') => {
      const answer = await fetch(`http://127.0.0.1:${server.port}/api/v1/rig`, { method: 'POST', headers: { 'content-type': type }, body });
      return [answer.status, (await answer.json()).error?.code];
    };
    const seen = [
      await ask('[]'), await ask('{"nodes": [{"children": [1]}]}'), await ask('{'), await ask('{}', 'text/plain'),
      await ask(JSON.stringify({ nodes: Array.from({ length: 5000 }, () => ({})) })), await ask(`{"a": "${'x'.repeat(2 << 20)}"}`),
    ];
    assert(JSON.stringify(seen) === JSON.stringify([
      [400, 'bad_model'], [400, 'bad_model'], [400, 'bad_json'], [415, 'bad_type'], [400, 'bad_model'], [413, 'too_large'],
    ]), 'the answers', seen);
    const aria = outline(documentOf(readFileSync(path.join(root, 'assets/avatars/aria.glb')).buffer.slice(0)));
    return { outline: JSON.stringify(aria).length };
  },

  async angles_are_those_of_the_engine() {
    // Yaw to the left, pitch up, and roll to the own left shoulder, which `headQuaternion` has the other way.
    for (const [yaw, pitch, roll] of [[0.3, 0, 0], [0, 0.2, 0], [0, 0, 0.1]]) {
      const [a, b, c] = angles(headQuaternion(yaw, pitch, -roll));
      assert(Math.abs(a - yaw) + Math.abs(b - pitch) + Math.abs(c - roll) < 1e-6, 'the angles', { a, b, c });
    }
  },

  async playout_is_even_over_a_network_that_is_not() {
    let random = 1;
    const chance = () => { random = (random * 16807) % 2147483647; return random / 2147483647; };
    const faceAt = (t) => {
      const weights = new Float32Array(52);
      weights[17] = 0.5 + 0.5 * Math.sin(t / 300);
      return { weights, channels: {}, head: [0, 0, 0, 1], gaze: [[0, 0], [0, 0]] };
    };
    const figures = {};
    for (const [name, jitter, loss] of [['clean', 0, 0], ['jitter', 30, 0], ['lossy', 30, 0.05]]) {
      const playout = new Playout();
      const arrivals = [];
      // The source's clock is another one.
      for (let t = 0; t < 20000; t += 1000 / 60) if (chance() >= loss) arrivals.push([t + 1e6, t + 20 + jitter * chance() ** 3, faceAt(t)]);
      arrivals.sort((a, b) => a[1] - b[1]);
      let [step, error, last, next] = [0, 0, null, 0];
      for (let t = 0; t < 20000; t += 1000 / 60) {
        for (; next < arrivals.length && arrivals[next][1] <= t; next += 1) playout.push(arrivals[next][2], arrivals[next][0], t);
        const shown = playout.show(t).weights[17];
        if (t > 3000) {
          step = Math.max(step, Math.abs(shown - last));
          // Of all that it may be behind, the best.
          let best = 1;
          for (let behind = 20; behind < 120; behind += 2) best = Math.min(best, Math.abs(shown - faceAt(t - behind).weights[17]));
          error = Math.max(error, best);
        }
        last = shown;
      }
      // The shape moves by 0.028 from one picture to the next.
      assert(step < 0.05 && error < 0.03, `${name}: even, and right`, { step, error });
      figures[name] = { step: Math.round(step * 1e4) / 1e4, error: Math.round(error * 1e4) / 1e4, delay: Math.round(playout.delay) };
    }
    return figures;
  },

  async playout_follows_layer_changes_without_jumps() {
    const truth = Array.from({ length: 60 * 41 }, (_, i) => {
      const { blendshapes, head } = samplePerformance(i / 60);
      return { weights: Float32Array.from(ARKIT_NAMES, (name) => blendshapes[name]), channels: {}, head: head.rotation, gaze: [[0, 0], [0, 0]] };
    });
    const figures = {};
    // Frames a second, another every two seconds: up at once, down one layer after another as a relay does.
    for (const [rates, most] of [[[60], 0.001], [[15], 0.001], [[7.5], 0.01], [[60, 30], 0.02], [[60, 15], 0.03], [[60, 7.5], 0.06]]) {
      const arrivals = [];
      let [layer, since] = [60, 0];
      for (let i = 0; i < 60 * 40; i += 1) {
        const apart = Math.round(60 / layer);
        if (i % apart !== 0) continue;
        arrivals.push([i * 1000 / 60, truth[i]]);
        since += 1;
        const wanted = rates[Math.floor(i / 120) % rates.length];
        if (wanted > layer) [layer, since] = [wanted, 0];
        else if (wanted < layer && since >= 3 && i % (2 * apart) === 0) [layer, since] = [layer / 2, 0];
      }
      const playout = new Playout();
      let [jump, last, next] = [0, null, 0];
      for (let k = 0; k < 60 * 40; k += 1) {
        const now = 5 + k * 1000 / 60;
        for (; next < arrivals.length && arrivals[next][0] + 20 <= now; next += 1) playout.push(arrivals[next][1], arrivals[next][0], now);
        const weights = playout.show(now).weights.slice();
        for (let shape = 0; last && k > 180 && shape < 52; shape += 1) {
          // Beyond the largest step of the true face around that moment.
          let step = 0;
          for (let i = k - 14; i <= k + 2; i += 1) step = Math.max(step, Math.abs(truth[i].weights[shape] - truth[i - 1].weights[shape]));
          jump = Math.max(jump, Math.abs(weights[shape] - last[shape]) - step);
        }
        last = weights;
      }
      assert(jump < most, `${rates}: no larger steps than the face takes`, jump);
      figures[rates.join('/')] = Math.round(jump * 1e4) / 1e4;
    }
    return figures;
  },

  async playout_holds_and_eases_a_face_that_is_gone() {
    const playout = new Playout();
    const face = { weights: new Float32Array(52).fill(0.8), channels: { tail: 1 }, head: headQuaternion(0.5, 0, 0), gaze: [[0.1, 0], [0.1, 0]] };
    let t = 0;
    const step = (frames, send) => {
      let shown;
      for (let i = 0; i < frames; i += 1, t += 16) {
        if (send) playout.push(face, t, t);
        shown = playout.show(t);
      }
      return [shown.weights[0], shown.head[1], shown.channels.tail ?? 0];
    };
    const near = (a, b) => Math.abs(a - b) < 0.01;
    const live = step(60, true);
    assert(near(live[0], 0.8) && near(live[1], Math.sin(0.25)) && near(live[2], 1), 'a live face', live);
    const held = step(14, false);
    assert(near(held[0], 0.8), 'held for a quarter of a second', held);
    const gone = step(70, false);
    assert(gone.every((value) => near(value, 0)), 'neutral after a second', gone);
    assert(near(step(30, true)[0], 0.8), 'it returns');
    // A source that starts anew on another clock.
    t += 5000;
    for (let i = 0; i < 60; i += 1, t += 16) {
      playout.push(face, i * 16, t);
      playout.show(t);
    }
    assert(near(playout.show(t).weights[0], 0.8) && playout.delay < 20, 'another clock', playout.delay);
    return { late: playout.late };
  },

  async packages_are_the_pinned_ones() {
    const source = readFileSync(path.join(root, 'crates/facelink-net/src/http/view.rs'), 'utf8');
    let files = 0;
    for (const [, npm, folderName, list] of source.matchAll(/npm: "([^"]+)",\s*folder: "([^"]+)",\s*files: &\[([^;]*?)\],\n\s*\}/g)) {
      const name = npm.slice(0, npm.lastIndexOf('@'));
      const { version } = JSON.parse(readFileSync(path.join(packages, name, 'package.json'), 'utf8'));
      assert(npm === `${name}@${version}` && folderName === name.split('/').at(-1), 'the version', { npm, version });
      for (const [, file, hash] of list.matchAll(/"([^"]+\.js)",\s*"([^"]{64})"/g)) {
        const own = createHash('sha384').update(readFileSync(path.join(packages, name, file))).digest('base64');
        assert(own === hash, `the hash of ${npm}/${file}`, own);
        files += 1;
      }
    }
    assert(files === 6, 'files', files);
    return { files };
  },

  async first_picture_of_aria_without_any_option() {
    const s = await open({ wait: false });
    perform(s.server, 'Ann');
    await s.drawn();
    const fresh = await s.page.run('return viewer.state.firstAt;');
    await until('a live face', () => s.page.run('return viewer.state.shown === 1;'), 120000);
    await s.page.post('/refresh', {});
    await s.drawn();
    const again = await s.page.run('return viewer.state.firstAt;');
    const names = await s.page.run("return document.getElementById('names').innerText;");
    assert(names === 'Ann', 'its name', names);
    const jaw = new Set();
    await until('a mouth that moves', async () => jaw.add(await s.page.run(`return ${weight(0, 'jawOpen')}.toFixed(2);`)).size > 3, 120000);
    await s.shot('view-aria');
    const seen = await s.page.run('return seen;');
    assert(!seen.some((text) => /policy|error/i.test(text)), 'nothing was refused', seen);
    return { firstMs: Math.round(fresh), againMs: Math.round(again), cores: os.availableParallelism(), load: os.loadavg()[0] };
  },

  async transparent_picture_is_exact_over_any_page() {
    const still = () => ({ blendshapes: { jawOpen: 0.3, mouthSmileLeft: 0.6 }, head: { rotation: headQuaternion(0.3, 0, 0) } });
    const s = await open({ query: 'subject=Ann&transparent=1', width: 320, height: 240 });
    perform(s.server, 'Ann', still);
    await until('a live face', () => s.page.run(`return ${weight(0, 'jawOpen')} > 0.2999;`), 60000);
    const bare = await s.page.run("return [...document.body.querySelectorAll('*')].filter((it) => it.checkVisibility() && it.id !== 'picture').map((it) => it.outerHTML.slice(0, 80));");
    assert(bare.length === 0, 'nothing but the picture', bare);
    // Everything stands still from here on.
    await s.page.run('await new Promise((done) => setTimeout(done, 1500)); window.requestAnimationFrame = () => 0; await new Promise((done) => setTimeout(done, 300));');
    await s.page.run("viewer.stage.draw([{ x: 0, y: 0, width: innerWidth, height: innerHeight }], 'head'); await new Promise((done) => setTimeout(done, 500));");
    await s.page.cdp('Emulation.setDefaultBackgroundColorOverride', { color: { r: 0, g: 0, b: 0, a: 0 } });
    const alone = await picture(s.page);
    await s.shot('view-transparent');
    let [empty, full, edge] = [0, 0, 0];
    for (let y = 0; y < alone.height; y += 1) for (let x = 0; x < alone.width; x += 1) {
      const alpha = alone.at(x, y)[3];
      if (alpha === 0) empty += 1;
      else if (alpha === 255) full += 1;
      else edge += 1;
    }
    assert(alone.channels === 4 && alone.at(0, 0)[3] === 0 && empty > 20000 && full > 15000 && edge > 50, 'empty, full and edges', { empty, full, edge });
    // Over a page of any colour each pixel is what its transparency says.
    await s.page.cdp('Emulation.setDefaultBackgroundColorOverride', {});
    let worst = 0;
    for (const colour of [[255, 0, 255], [0, 255, 0], [255, 255, 255], [0, 0, 0]]) {
      await s.page.run(`document.documentElement.style.setProperty('background', 'rgb(${colour})', 'important'); await new Promise((done) => setTimeout(done, 300));`);
      const over = await picture(s.page);
      for (let y = 0; y < over.height; y += 1) for (let x = 0; x < over.width; x += 1) {
        const [own, alpha, there] = [alone.at(x, y), alone.at(x, y)[3] / 255, over.at(x, y)];
        for (let i = 0; i < 3; i += 1) {
          const wanted = own[i] * alpha + colour[i] * (1 - alpha);
          worst = Math.max(worst, Math.abs(there[i] - wanted));
          assert(alpha > 0 || there[i] === colour[i], 'the page itself where nothing is', { x, y, there, colour });
          assert(alpha < 1 || there[i] === own[i], 'the avatar itself where it is', { x, y, there, own });
        }
      }
    }
    assert(worst <= 2, 'edges by their share', worst);
    return { empty, full, edge, worst: Math.round(worst * 100) / 100 };
  },

  async avatars_of_every_kind_beside_each_other() {
    const figures = {};
    for (const [name, width, height] of [['desktop', 1000, 620], ['phone', 390, 844]]) {
      const s = await open({ query: 'subject=Ann,Bea&subject=Cid&model=rivet.glb&model=rivet.glb,aria1.vrm', width, height });
      for (const [i, subject] of ['Ann', 'Bea', 'Cid'].entries()) perform(s.server, subject, (t) => ({ blendshapes: { jawOpen: 0.2 + i * 0.2 + 0.02 * Math.sin(t) }, head: { rotation: headQuaternion(0.2 * i, 0, 0) } }));
      await until('three live faces', () => s.page.run(`return [0, 1, 2].every((i) => Math.abs([${[0, 1, 2].map((i) => weight(i, 'jawOpen'))}][i] - 0.2 - i * 0.2) < 0.03);`), 120000);
      const presets = await s.page.run('return viewer.places.map((place) => place.avatar.rig.preset);');
      assert(presets[2] === 'vrm1', 'the presets', presets);
      const mouth = await s.page.run("return viewer.places[2].avatar.meshes.flat().flatMap((mesh) => mesh.morphTargetInfluences.filter((weight) => weight > 0.3)).length;");
      assert(mouth > 0, 'the VRM avatar opens its mouth');
      const wide = await s.page.run('return [document.documentElement.scrollWidth > innerWidth, document.documentElement.scrollHeight > innerHeight];');
      assert(!wide[0] && !wide[1], 'nothing is too wide', wide);
      await s.shot(`view-three-${name}`);
      figures[name] = presets.join();
    }
    return figures;
  },

  async vrm_of_both_versions_looks_at_the_camera() {
    const figures = {};
    for (const file of ['aria1.vrm', 'aria0.vrm', 'bust.vrm']) {
      const s = await open({ query: `subject=Ann&model=${file}&camera=bust`, width: 360, height: 360 });
      perform(s.server, 'Ann', () => ({ blendshapes: { eyeBlinkLeft: 1, jawOpen: 0.5 }, head: { rotation: headQuaternion(0.4, 0, 0) } }));
      await until('the face', () => s.page.run(`return ${weight(0, 'eyeBlinkLeft')} > 0.95;`), 60000);
      const { rig, forward, side, lids } = await s.page.run(`
        const { avatar } = viewer.places[0];
        const head = avatar.bones.get(avatar.rig.skeletons[0].head).node;
        const ahead = avatar.frame.forward.clone();
        const before = ahead.clone();
        // Where the head's front points now.
        const { parent, base } = avatar.bones.get(avatar.rig.skeletons[0].head);
        const turn = head.getWorldQuaternion(head.quaternion.clone()).multiply(parent.clone().multiply(base).invert());
        ahead.applyQuaternion(turn);
        const own = before.clone().set(0, 1, 0).cross(before);
        return { rig: avatar.rig.preset, forward: before.toArray(), side: ahead.dot(own), lids: [...avatar.driver.levels].map((level) => Math.round(level * 100) / 100) };`);
      assert(Math.abs(side - Math.sin(0.4)) < 0.02, 'the head turns to its own left', { side, forward });
      assert(forward[2] === (file === 'aria0.vrm' ? -1 : 1) || Math.abs(forward[2]) > 0.99, 'where it looks', forward);
      assert(lids.filter((level) => level > 0.95).length === 1, 'one lid is shut', lids);
      await s.shot(`view-${file}`);
      figures[file] = { rig, side: Math.round(side * 1000) / 1000 };
    }
    return figures;
  },

  async sealed_faces_are_shown_with_the_key_alone() {
    const key = Buffer.alloc(32, 5).toString('base64url');
    const { SealedClient } = await import(path.join(web, 'seal.js'));
    const s = await open({ query: 'subject=Ann', hash: `#k=${key}` });
    const sender = new SealedClient(`ws://127.0.0.1:${s.server.port}`, { key, webrtc: false, subject: 'Ann' });
    atEnd(() => sender.close());
    await sender.connect();
    const timer = setInterval(() => sender.sendARKitData({ jawOpen: 0.7 }, { head: { rotation: headQuaternion(0.1, 0, 0) } }), 16);
    atEnd(() => clearInterval(timer));
    const shown = () => s.page.run(`return window.viewer?.places[0].avatar ? ${weight(0, 'jawOpen')} : 0;`);
    await until('the sealed face', async () => (await shown()) > 0.65, 60000);
    // In the query it is used, and moved behind #, with a word.
    await s.go(`subject=Ann&k=${key}`, '');
    await until('the sealed face', async () => (await shown()) > 0.65, 60000);
    const [address, seen] = await s.page.run('return [location.href, seen];');
    assert(address.endsWith(`#k=${key}`) && !new URL(address).search.includes('k='), 'the key is behind #', address);
    assert(seen.some((text) => text.includes('the key was in the query')), 'a warning', seen);
    await s.go('subject=Ann', `#k=${Buffer.alloc(32, 6).toString('base64url')}`);
    await s.drawn();
    await sleep(1500);
    const other = await shown();
    assert(other === 0, 'another key shows nothing', other);
    return { other };
  },

  async viewer_reconnects_for_ever() {
    const s = await open({ query: 'subject=Ann' });
    const face = () => ({ blendshapes: { jawOpen: 0.5 } });
    perform(s.server, 'Ann', face);
    const shown = (low, high) => until(`a jaw between ${low} and ${high}`, async () => {
      const jaw = await s.page.run(`return ${weight(0, 'jawOpen')};`);
      return jaw >= low && jaw <= high;
    }, 60000);
    await shown(0.45, 0.55);
    await s.server.stop();
    await shown(0, 0.01);
    await sleep(3000);
    await s.server.run();
    const back = now();
    await shown(0.45, 0.55);
    // A viewer that is opened while there is no endpoint's face yet, and one that a token was missing for.
    return { backMs: Math.round(now() - back) };
  },

  async link_of_a_stranger_takes_neither_token_nor_face() {
    const heard = [];
    const stranger = createServer((request, response) => {
      heard.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`);
      response.setHeader('access-control-allow-origin', '*');
      response.end(readFileSync(path.join(root, 'assets/avatars/rivet.glb')));
    });
    await new Promise((done) => stranger.listen(0, '127.0.0.1', done));
    atEnd(() => stranger.close());
    const far = `http://127.0.0.1:${stranger.address().port}`;
    const key = Buffer.alloc(32, 5).toString('base64url');
    const s = await open({
      query: `token=let-me-in&subject=Ann&model=${encodeURIComponent(`${far}/rivet.glb`)}&server=${encodeURIComponent(far.replace('http', 'ws'))}`,
      args: ['--token-on-loopback', '--token', 'let-me-in'],
    });
    perform(s.server, 'Ann', () => ({ blendshapes: { jawOpen: 0.5 } }), '?token=let-me-in');
    await until('the face', () => s.page.run(`return ${weight(0, 'jawOpen')} > 0.45;`), 60000);
    assert(heard.length === 1 && heard[0].startsWith('GET /rivet.glb '), 'the file was asked for, and nothing else', heard);
    assert(!/let-me-in|referer|cookie|authorization|Ann/i.test(heard[0]), 'without token, key or name', heard);
    // Other hosts are out of reach for the page.
    const reached = await s.page.run("return fetch('http://127.0.0.1:1/', { mode: 'no-cors' }).then(() => true, () => false);");
    assert(!reached, 'others are blocked');
    await until('the reason', () => s.page.run("return seen.some((text) => text.startsWith('policy: connect-src http://127.0.0.1:1'));"));
    // Without the token there is the page, and nothing of the server.
    const bare = await fetch(`http://127.0.0.1:${s.server.port}/view?subject=Ann#k=${key}`);
    const closed = await Promise.all(['/view/avatar.glb', '/models/rivet.glb', '/api/v1/rig'].map(async (at) => (await fetch(`http://127.0.0.1:${s.server.port}${at}`, { method: at.includes('rig') ? 'POST' : 'GET' })).status));
    assert(bare.status === 200 && closed.every((status) => status === 401), 'closed', { page: bare.status, closed });
    return { asked: heard.length };
  },

  async what_cannot_be_shown_is_said() {
    const s = await open({ query: 'subject=Ann&model=broken.glb', wait: false });
    const notice = () => s.page.run("const it = document.getElementById('notice'); return it?.hidden === false ? it.innerText : '';");
    await until('words', async () => /broken\.glb cannot be shown: it is (neither|of another)/.test(await notice()), 60000);
    await s.shot('view-broken');
    await s.go('subject=Ann&model=../../secret.glb');
    await until('words', async () => /secret\.glb cannot be shown/.test(await notice()), 60000);
    await s.go('subject=Ann&transparent=1&model=absent.vrm');
    await until('a warning', () => s.page.run("return seen.some((text) => text.includes('absent.vrm cannot be shown'));"), 60000);
    assert((await notice()) === '' || !(await s.page.run("return document.getElementById('notice').checkVisibility();")), 'nothing over a transparent picture');
    return {};
  },

  async reports_tell_the_server_what_frames_went_through() {
    const s = await open({ query: 'subject=Ann&subject=Bea&transparent=1', width: 120, height: 120 });
    perform(s.server, 'Ann');
    const viewing = async () => (await s.server.get('/api/v1/stats')).connections.find((it) => it.client?.includes('viewer') || it.viewing)?.viewing;
    await until('the viewer', viewing);
    // Both were subscribed to, and one after the other changes alone.
    await s.page.run(`
      window.sent = [];
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (data) { if (typeof data === 'string') sent.push(JSON.parse(data)); return send.call(this, data); };`);
    await until('reports', () => s.page.run("return sent.filter((message) => message.type === 'report').length > 3;"), 120000);
    const report = await s.page.run("return sent.filter((message) => message.type === 'report').at(-1);");
    assert(['queue_ms', 'queue_high_ms', 'slope', 'loss'].every((name) => Number.isFinite(report[name])), 'its fields', report);
    assert(report.loss >= 0 && report.loss < 0.2 && report.queue_ms >= 0 && report.queue_high_ms >= report.queue_ms, 'a clean path', report);
    return report;
  },

  async memory_is_flat() {
    const minutes = Number(process.env.MINUTES ?? 0.5);
    const s = await open({ query: 'subject=Ann&transparent=1', width: 160, height: 160 });
    perform(s.server, 'Ann');
    await until('a live face', () => s.page.run('return viewer.state.shown === 1;'), 120000);
    const measure = async () => {
      await s.page.cdp('HeapProfiler.collectGarbage');
      return s.page.run('return [performance.memory.usedJSHeapSize / 1e6, viewer.stage.renderer.info.memory.geometries, viewer.stage.renderer.info.memory.textures, viewer.state.drawn];');
    };
    await sleep(8000);
    const first = await measure();
    const heaps = [];
    const end = now() + minutes * 60000;
    while (now() < end) {
      await sleep(Math.min(20000, end - now()));
      heaps.push(Math.round((await measure())[0] * 10) / 10);
    }
    const last = await measure();
    assert(last[1] === first[1] && last[2] === first[2], 'nothing is left on the graphics card', { first, last });
    assert(last[0] < first[0] + 2, 'the heap', { first, heaps });
    return { minutes, frames: last[3] - first[3], firstMb: Math.round(first[0] * 10) / 10, heaps: heaps.slice(-12) };
  },
});
