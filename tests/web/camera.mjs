// The camera card of the page, with Chromium's fake cameras and a stand-in for the face tracker
// (stand-in.mjs): what arrives at the server, and what the page shows.
//
//   CARGO_TARGET_DIR=... node tests/web/camera.mjs [part of a test's name ...]
import { readFileSync } from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { DEFAULT_GAINS, MODEL_URL, TRACKER_CDN } from '../../crates/facelink-net/web/camera.js';
import { ARKIT_NAMES, headAngles } from '../../crates/facelink-net/web/facelink.js';
import { CameraPage as Fixture, folder, GPU, models } from './camera-page.mjs';
import { assert, atEnd, needBrowser, runAll, Server, until } from './lib.mjs';

needBrowser();

const DEGREE = Math.PI / 180;
const near = (a, b, within = 0.005) => Math.abs(a - b) <= within;
/** Yaw, pitch, roll in degrees. */
const angles = (frame) => headAngles(frame.head.rotation).map((angle) => angle / DEGREE);

await runAll({
  async shapes_head_and_gaze_arrive_over_webrtc() {
    const s = await (await Fixture.open()).on();
    const f = await s.show('smile', 'a smile over WebRTC', (shown) => shown.source === 'webrtc' && shown.shapes.mouthSmileLeft > 0.5);
    assert(f.tracked === true && Object.keys(f.shapes).sort().join() === [...ARKIT_NAMES].sort().join(), 'all 52', f);
    // The stand-in's scores times the gains, clamped to 0..1; the performer's own sides.
    const found = { mouthSmileLeft: 0.7, mouthSmileRight: 0.1, eyeBlinkRight: 0.5, jawLeft: 0.2, cheekPuff: 0.05, jawForward: 0.6, eyeLookOutLeft: 0.4, eyeLookInRight: 0.3 };
    for (const name of ARKIT_NAMES) {
      const wanted = name === 'tongueOut' ? 0 : Math.min(1, (found[name] ?? 0) * DEFAULT_GAINS[name]);
      assert(near(f.shapes[name], wanted), name, { got: f.shapes[name], wanted });
    }
    assert(f.shapes.cheekPuff > 0.1 && f.shapes.jawForward === 1, 'weak ones are raised, and clamped', f.shapes);
    assert(near(angles(f)[0], 30, 0.1) && near(angles(f)[1], 0, 0.1) && near(angles(f)[2], 0, 0.1), "turned to the performer's own left", angles(f));
    assert(f.head.position.every((v, i) => near(v, [0.03, -0.02, -0.45][i], 0.001)), 'metres', f.head.position);
    assert(near(f.gaze.left[0], 0.4 * 35 * DEGREE) && near(f.gaze.right[0], 0.3 * 35 * DEGREE), 'looks to its own left', f.gaze);
    const up = await s.show('up', 'a look up', (shown) => shown.shapes.eyeLookUpLeft > 0.4);
    assert(near(angles(up)[1], 30, 0.1) && near(angles(up)[0], 0, 0.1), 'nods up', angles(up));
    assert(up.gaze.left[1] > 0.2 && up.gaze.right[1] > 0.2 && up.gaze.left[0] < 0 && up.gaze.right[0] < 0, 'looks up and to its own right', up.gaze);
    const tilted = await s.show('tilted', 'a tilt', (shown) => shown.shapes.jawOpen > 0.3);
    assert(near(angles(tilted)[2], -30, 0.1) && near(angles(tilted)[0], 0, 0.1), 'the head lies on its own left shoulder', angles(tilted));
    const { faults, created, face, figures } = await s.run(`
      const { x, y, width, height } = document.getElementById('camera-frame').getBoundingClientRect();
      const view = document.getElementById('camera-view').getBoundingClientRect();
      return { faults: standIn.faults, created: standIn.created, face: (x + width / 2 - view.x) / view.width, figures: document.getElementById('camera-figures').innerText };`);
    assert(faults.length === 0, 'the tracker was called as the real one requires', faults);
    assert(near(face, 1 - 0.42, 0.02), 'the frame is on the face in the mirrored preview', face);
    return { tracker: created, figures };
  },

  async face_lost_and_found_again() {
    const s = await (await Fixture.open()).on();
    await s.frame('frames', (f) => f.tracked);
    await s.show('none', 'a frame that is not tracked', (f) => f.tracked === false);
    await until('the badge', async () => (await s.text('badge')) === 'No face');
    const subject = async () => (await s.server.get('/api/v1/subjects')).subjects.find((f) => f.name === 'Cam');
    assert((await subject()).tracked === false, 'the server lists it as lost', await subject());
    // It is repeated: a single frame may be lost.
    const reports = () => s.server.frames.filter((f) => f.tracked === false).length;
    const before = reports();
    await until('another such frame', () => reports() > before + 2);
    await s.show('smile', 'the face again', (f) => f.tracked && f.shapes.mouthSmileLeft > 0.5);
    assert((await s.text('badge')) === 'Face found', 'the badge again');
    assert((await subject()).tracked === true, 'and listed as tracked');
    // A single video frame without a face is not reported.
    const lost = reports();
    await s.run(`
      const calls = standIn.times.length;
      standIn.show = 'none';
      while (standIn.times.length === calls) await new Promise(requestAnimationFrame);
      standIn.show = 'smile';`);
    await s.frame('frames', (f) => f.tracked);
    assert(reports() === lost, 'no flicker', reports() - lost);
    return {};
  },

  async face_mirrored() {
    const s = await (await Fixture.open()).on();
    await s.show('smile', 'a smile on the left', (f) => f.shapes.mouthSmileLeft > 0.5);
    await s.click('mirror-face');
    const f = await s.frame('a smile on the right', (shown) => shown.shapes.mouthSmileRight > 0.5);
    assert(near(f.shapes.mouthSmileLeft, 0.1) && near(f.shapes.eyeBlinkLeft, 0.5 * DEFAULT_GAINS.eyeBlinkRight), 'the sides are exchanged', f.shapes);
    assert(near(f.shapes.jawRight, 0.2 * DEFAULT_GAINS.jawLeft) && f.shapes.jawLeft === 0, 'the directions too', f.shapes);
    assert(near(angles(f)[0], -30, 0.1) && near(f.head.position[0], -0.03, 0.001), 'and the head', f.head);
    assert(f.gaze.left[0] < -0.1 && f.gaze.right[0] < -0.1, 'and the gaze', f.gaze);
    const flipped = () => s.run(`return getComputedStyle(document.getElementById('camera-video')).transform;`);
    assert((await flipped()).startsWith('matrix(-1'), 'the preview stays mirrored', await flipped());
    await s.click('mirror-view');
    assert((await flipped()) === 'none', 'until it is switched off', await flipped());
    await s.page.post('/url', { url: s.url });
    await until('the page', () => s.run('return window.facelink?.panel !== undefined;'));
    assert(await s.run(`return document.getElementById('camera-mirror-face').checked && facelink.panel.camera.mirror`), 'the setting is kept');
    await s.on();
    assert((await flipped()) === 'none', 'and so is the preview');
    await s.show('smile', 'mirrored still', (shown) => shown.shapes.mouthSmileRight > 0.5);
    return {};
  },

  async calibration_subtracts_neutral_face_and_pose() {
    const s = await (await Fixture.open()).on();
    const rest = await s.show('resting', 'a face at rest', (f) => near(f.shapes.mouthPucker, 0.4));
    assert(near(angles(rest)[0], 30, 0.1), 'it sits turned', angles(rest));
    await s.click('calibrate');
    const neutral = await s.frame('a neutral face', (f) => f.shapes.mouthPucker === 0 && near(angles(f)[0], 0, 0.1));
    assert(neutral.shapes.browInnerUp === 0 && neutral.head.position.every((v) => near(v, 0, 0.001)), 'all of it', neutral);
    await until('the note', async () => (await s.text('calibrate-note')).startsWith('Calibrated'));
    const moving = await s.show('moving', 'a face that moves', (f) => f.shapes.mouthSmileLeft > 0.2);
    assert(near(moving.shapes.mouthPucker, 0.5), 'above the neutral value, rescaled', moving.shapes.mouthPucker);
    assert(moving.shapes.browInnerUp === 0 && near(moving.shapes.mouthSmileLeft, 0.3), 'the other shapes', moving.shapes);
    assert(near(angles(moving)[0], 0, 0.1) && near(angles(moving)[1], 30, 0.1) && near(angles(moving)[2], 0, 0.1), 'pitch about the own axes', angles(moving));
    assert(near(moving.head.position[1], 0.06, 0.001), 'up by 6 cm', moving.head.position);
    await s.click('reset');
    const back = await s.frame('the face as it is', (f) => near(f.shapes.mouthPucker, 0.7));
    assert(near(back.shapes.browInnerUp, 0.25) && near(back.head.position[2], -0.5, 0.001), 'reset', back);
    // Without a face there is no calibration.
    await s.run(`standIn.show = 'none';`);
    await s.run(`await facelink.panel.camera.calibrate(300).then(() => { throw new Error('calibrated'); }, () => {});`);
    assert(await s.run(`return facelink.panel.camera.rest === null;`), 'no rest');
    return {};
  },

  async gains_set_and_kept() {
    const s = await (await Fixture.open()).on();
    await s.show('smile', 'the default gain', (f) => near(f.shapes.cheekPuff, 0.05 * DEFAULT_GAINS.cheekPuff));
    const set = (stem, gain) => s.run(`
      const input = document.getElementById('camera-gain-${stem}');
      input.value = '${gain}';
      input.dispatchEvent(new Event('input'));`);
    await set('cheekPuff', 10);
    await set('mouthSmile', 0.5);
    // The two are set one after the other: a frame may leave in between.
    const f = await s.frame('the new gains', (shown) => near(shown.shapes.cheekPuff, 0.5) && near(shown.shapes.mouthSmileLeft, 0.35));
    assert(near(f.shapes.mouthSmileRight, 0.05), 'of both sides', f.shapes);
    const kept = await s.run(`return JSON.parse(localStorage.getItem('facelink.camera')).gains;`);
    assert(Object.keys(kept).sort().join() === 'cheekPuff,mouthSmileLeft,mouthSmileRight', 'only what was changed is kept', kept);
    await s.page.post('/url', { url: s.url });
    await until('the page', () => s.run('return window.facelink?.panel !== undefined;'));
    await s.on();
    await s.show('smile', 'the gains of before', (shown) => near(shown.shapes.cheekPuff, 0.5) && near(shown.shapes.mouthSmileLeft, 0.35));
    assert((await s.run(`return document.getElementById('camera-gain-cheekPuff').value;`)) === '10', 'the slider shows it');
    await s.run(`document.getElementById('camera-advanced').open = true;`);
    await until('the meter', async () => (await s.run(`return document.querySelector('#camera-gain-cheekPuff').closest('.gain').querySelector('.meter').style.getPropertyValue('--v');`)) === '0.500');
    await s.click('gains-reset');
    await s.frame('the defaults', (shown) => near(shown.shapes.mouthSmileLeft, 0.7));
    assert((await s.run(`return localStorage.getItem('facelink.camera');`)).includes('"gains":{}'), 'nothing is kept');
    return {};
  },

  async camera_switched() {
    const s = await (await Fixture.open()).on();
    const state = () => s.run(`
      const { srcObject } = document.getElementById('camera-video');
      return { label: srcObject?.getVideoTracks()[0].label, options: [...document.getElementById('camera-choice').options].map((o) => o.text) };`);
    const first = await state();
    assert(first.options.length === 2 && first.options.includes(first.label), 'both are listed', first);
    await s.run(`
      window.firstTrack = document.getElementById('camera-video').srcObject.getVideoTracks()[0];
      const choice = document.getElementById('camera-choice');
      choice.selectedIndex = 1 - choice.selectedIndex;
      choice.dispatchEvent(new Event('change'));`);
    await until('the other camera', async () => {
      const { label } = await state();
      return label && label !== first.label;
    });
    assert((await s.run('return firstTrack.readyState;')) === 'ended', 'the first is released');
    await s.show('smile', 'faces of the other', (f) => f.shapes.mouthSmileLeft > 0.5);
    assert((await s.run('return standIn.created.length;')) === 1, 'the tracker is loaded once');
    const second = (await state()).label;
    await s.page.post('/url', { url: s.url });
    await until('the page', () => s.run('return window.facelink?.panel !== undefined;'));
    await s.on();
    assert((await state()).label === second, 'the choice is kept', { second, now: await state() });
    // A chosen camera that is not connected any more is replaced.
    await s.click('toggle');
    await s.run(`localStorage.setItem('facelink.camera', JSON.stringify({ camera: { deviceId: 'gone' } }));`);
    await s.page.post('/url', { url: s.url });
    await until('the page', () => s.run('return window.facelink?.panel !== undefined;'));
    await s.on();
    return { first: first.label, second };
  },

  async stop_releases_the_camera() {
    const s = await (await Fixture.open({ before: `
      standIn.locks = { taken: 0, held: 0 };
      Object.defineProperty(navigator, 'wakeLock', { value: { request: async () => {
        standIn.locks.taken += 1;
        standIn.locks.held += 1;
        return { release: async () => { standIn.locks.held -= 1; } };
      } } });` })).on();
    await s.show('smile', 'frames', (f) => f.tracked);
    assert((await s.run('return standIn.locks.held;')) === 1, 'the screen stays on');
    // The system releases it while the page is hidden.
    await s.run(`standIn.locks.held = 0; document.dispatchEvent(new Event('visibilitychange'));`);
    await until('the lock again', () => s.run('return standIn.locks.taken === 2 && standIn.locks.held === 1;'));
    await s.run(`window.track = document.getElementById('camera-video').srcObject.getVideoTracks()[0];`);
    const from = s.server.frames.length;
    await s.click('toggle');
    await s.frame('the last frame', (f) => f.tracked === false && f.shapes.mouthSmileLeft === 0, from);
    const after = await s.run(`
      const calls = standIn.times.length;
      await new Promise((done) => setTimeout(done, 300));
      return { state: track.readyState, stream: document.getElementById('camera-video').srcObject, more: standIn.times.length - calls,
        running: facelink.panel.camera.running, button: document.getElementById('camera-toggle').innerText.trim(), view: document.getElementById('camera-view').hidden };`);
    assert(after.state === 'ended' && after.stream === null && after.more === 0 && after.running === false, 'released', after);
    assert(after.button === 'Use this camera' && after.view, 'the page shows it', after);
    assert((await s.run('return standIn.locks.held;')) === 0, 'the screen may go off');
    // Stopped while it starts.
    await s.run(`
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await open(wanted);
        window.late = stream.getVideoTracks()[0];
        document.getElementById('camera-toggle').click();
        return stream;
      };`);
    await s.click('toggle');
    await until('the late camera to be released', () => s.run(`return window.late?.readyState === 'ended';`));
    assert(await s.run('return !facelink.panel.on && !facelink.panel.camera.running;'), 'off');
    return {};
  },

  async rate_of_the_server_is_obeyed() {
    const s = await (await Fixture.open()).on();
    // As set_rate would; a slow machine only makes the gaps longer.
    await s.run('Object.defineProperty(facelink.client, "targetFps", { get: () => 5, set() {} }); standIn.times.length = 0;');
    await until('some video frames', () => s.run('return standIn.times.length >= 6;'));
    const gaps = await s.run('return standIn.times.slice(1).map((time, i) => time - standIn.times[i]).sort((a, b) => a - b);');
    assert(gaps[Math.floor(gaps.length / 2)] > 120, 'the tracker idles between video frames', gaps);
    return { gaps: gaps.map(Math.round) };
  },

  async missing_files_are_listed_with_advice() {
    const outcome = {};
    for (const [missing, places] of Object.entries({
      'face_landmarker.task': [/127\.0\.0\.1:\d+\/models\/face_landmarker\.task: not there/, /https:\/\/storage\.googleapis\.com\/.*\/face_landmarker\.task: it cannot be reached/],
      'vision_bundle.mjs': [/127\.0\.0\.1:\d+\/models\/vision_bundle\.mjs: not there/, /https:\/\/cdn\.jsdelivr\.net\/npm\/@mediapipe\/tasks-vision@\d+\.\d+\.\d+\/vision_bundle\.mjs: it cannot be reached/],
      'wasm/vision_wasm_internal.wasm': [/\/models\/wasm\/vision_wasm_internal\.wasm next to it: not there/, /https:\/\/cdn\.jsdelivr\.net/],
    })) {
      const s = await Fixture.open({ without: [missing] });
      await s.click('toggle');
      const shown = await until('the message', () => s.text('trouble'));
      for (const place of places) assert(place.test(shown), `${missing}: names ${place}`, shown);
      assert(shown.includes('face_landmarker.task') && shown.includes('assets/web/models') && shown.includes('--models'), 'what to do', shown);
      if (missing !== 'face_landmarker.task') assert(shown.includes('vision_bundle.mjs, wasm/'), 'which files', shown);
      assert(await s.run(`return !facelink.panel.camera.running && document.getElementById('camera-video').srcObject === null;`), 'the camera is released');
      outcome[missing] = shown.length;
    }
    // The sign-in page of a captive portal in place of the model.
    const s = await Fixture.open({ without: ['face_landmarker.task'], before: `
      const plain = fetch;
      window.fetch = (url, options) => (String(url).includes('storage.googleapis.com') ? Promise.resolve(new Response('<html>Sign in')) : plain(url, options));` });
    await s.click('toggle');
    assert((await until('the message', () => s.text('trouble'))).includes('the file is not a model: it is a web page'), 'it is refused');
    return outcome;
  },

  async camera_unavailable() {
    const s = await Fixture.open();
    for (const [name, words] of [['NotAllowedError', 'Allow the camera'], ['NotReadableError', 'in use by another program'], ['NotFoundError', 'No camera was found']]) {
      await s.run(`
        window.open0 ??= navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '${name}'); };`);
      await s.click('toggle');
      await until(`the message for ${name}`, async () => (await s.text('trouble'))?.includes(words));
      assert((await s.text('toggle-text')) === 'Use this camera', 'the button offers another try');
    }
    await s.run('navigator.mediaDevices.getUserMedia = open0;');
    await s.on();
    assert((await s.text('trouble')) === null, 'the message has gone');
    // Unplugged.
    const from = s.server.frames.length;
    await s.run(`document.getElementById('camera-video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'));`);
    await s.frame('the last frame', (f) => f.tracked === false, from);
    assert((await s.text('trouble')).includes('The camera has stopped'), 'the message');
    // A real refusal.
    const denied = await Fixture.open({ args: ['--deny-permission-prompts'], allowed: false });
    await denied.click('toggle');
    await until('the refusal', async () => (await denied.text('trouble'))?.includes('was not allowed'));
    return {};
  },

  async gpu_failure_falls_back_to_cpu() {
    // A GPU that never starts.
    const s = await Fixture.open({ before: `${GPU} standIn.refuse = 'GPU';` });
    await s.on();
    assert((await s.run('return standIn.created.join();')) === 'CPU', 'the CPU instead');
    await until('the figures', async () => (await s.text('figures'))?.includes('CPU'));
    // A GPU that fails later.
    const t = await (await Fixture.open({ before: GPU })).on();
    assert((await t.run('return standIn.created.join();')) === 'GPU', 'the GPU first');
    await t.run(`standIn.breaks = 'GPU';`);
    await until('the CPU', async () => (await t.run('return standIn.created.join();')) === 'GPU,CPU');
    await t.show('smile', 'faces again', (f) => f.tracked && f.shapes.mouthSmileLeft > 0.5);
    assert((await t.run('return standIn.closed;')) === 1, 'the first is closed');
    // Software WebGL is left out, until the canvas in its place fails.
    const software = await (await Fixture.open()).on();
    await software.run(`standIn.error = new TypeError('gl.unknown is not a function'); standIn.broken = standIn.canvas;`);
    await until('another canvas', () => software.run('return standIn.created.join() === "CPU,CPU" && standIn.closed === 1;'));
    await software.show('smile', 'faces again', (f) => f.tracked && f.shapes.mouthSmileLeft > 0.5);
    // Then the CPU fails too: the reason is the library's.
    await t.run(`standIn.error = new TypeError("Cannot read properties of undefined (reading 'activeTexture')"); standIn.breaks = 'CPU';`);
    const shown = await until('the message', () => t.text('trouble'));
    assert(shown.includes('does not work in this browser') && shown.includes('activeTexture') && !shown.includes('reached'), 'the true reason', shown);
    assert((await t.run('return standIn.closed;')) === 2, 'all are closed');
    await t.run('delete standIn.breaks;');
    await t.on(); // and it can be tried again
    // A context that is lost, as when a phone has slept, is replaced.
    const made = await t.run(`
      const made = standIn.created.length;
      standIn.canvas.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext();
      return made;`);
    await until('another one', () => t.run(`return standIn.created.length === ${made + 1};`));
    await t.show('up', 'faces again', (f) => f.tracked && f.shapes.eyeLookUpLeft > 0.4);
    assert((await t.run(`return standIn.created.at(-1);`)) === 'GPU', 'on the GPU again');
    return { shown };
  },

  async quicker_of_gpu_and_cpu_is_kept() {
    const outcome = {};
    for (const [name, costs, created, kept] of [
      ['a slow GPU', { GPU: 90, CPU: 5 }, 'GPU,CPU', 'CPU'],
      ['a slower CPU', { GPU: 30, CPU: 90 }, 'GPU,CPU', 'GPU'],
      ['a quick GPU', { GPU: 2, CPU: 1 }, 'GPU', 'GPU'],
    ]) {
      const s = await (await Fixture.open({ before: `${GPU} standIn.costs = ${JSON.stringify(costs)};` })).on();
      const pictures = (n) => until(`${n} pictures`, () => s.run(`return standIn.times.length > ${n};`));
      if (created === 'GPU') await pictures(20);
      else await until(`${name}: one is closed`, () => s.run('return standIn.closed === 1;'));
      await s.run('standIn.times.length = 0;');
      await pictures(20);
      const found = await s.run('return { created: standIn.created.join(), closed: standIn.closed, delegate: facelink.panel.camera.tracker.delegate, faults: standIn.faults };');
      assert(found.created === created && found.delegate === kept, name, found);
      assert(found.faults.every((fault) => !fault.includes('WebGL')), 'each has a canvas', found);
      assert(s.frames().filter((f) => f.tracked).length > 20 && s.frames().at(-1).tracked, 'with faces all the while');
      outcome[name] = await s.text('figures');
    }
    // A GPU that computes no face, however quickly.
    const blind = await Fixture.open({ before: `${GPU} standIn.blind = 'GPU'; standIn.costs = { GPU: 1, CPU: 20 };` });
    await blind.on();
    assert((await blind.run('return facelink.panel.camera.tracker.delegate;')) === 'CPU', 'the one that sees');
    // No face: both are tried once, and compared when there is a face.
    const empty = await Fixture.open({ before: `${GPU} standIn.show = 'none'; standIn.costs = { GPU: 20, CPU: 1 };` });
    await empty.click('toggle');
    await until('the GPU again', () => empty.run('return standIn.created?.join() === "GPU,CPU" && standIn.closed === 1;'));
    await empty.show('smile', 'a face', (f) => f.tracked);
    await until('the CPU', () => empty.run('return standIn.closed === 2 && facelink.panel.camera.tracker.delegate === "CPU";'));
    // WebGL that is computed by the CPU is not tried.
    const s = await (await Fixture.open({ before: 'standIn.costs = { GPU: 1, CPU: 30 };' })).on();
    await until('pictures', () => s.run('return standIn.times.length > 20;'));
    assert((await s.run('return standIn.created.join();')) === 'CPU', 'the CPU at once');
    // A CPU that cannot be tried leaves the GPU as it is.
    const t = await (await Fixture.open({ before: `${GPU} standIn.costs = { GPU: 40 }; standIn.refuse = 'CPU';` })).on();
    await until('pictures', () => t.run('return standIn.times.length > 30;'));
    assert((await t.run('return facelink.panel.camera.tracker.delegate + standIn.closed;')) === 'GPU0', 'the GPU');
    // Nor does one that fails.
    const u = await (await Fixture.open({ before: `${GPU} standIn.costs = { GPU: 40 }; standIn.breaks = 'CPU';` })).on();
    await until('the CPU was tried', () => u.run('return standIn.closed === 1;'));
    await u.show('smile', 'faces', (f) => f.tracked && f.shapes.mouthSmileLeft > 0.5);
    assert((await u.run('return facelink.panel.camera.tracker.delegate;')) === 'GPU', 'the GPU again');
    return outcome;
  },

  async face_in_sight_is_not_lost_at_low_rates() {
    const s = await (await Fixture.open()).on();
    const reports = (from) => s.frames(from).map((f) => (f.tracked ? 'T' : 'f')).join('');
    // The server asks for little, or the tracker is slow: neither is a lost face.
    for (const [name, change] of [
      ['4 fps', 'Object.defineProperty(facelink.client, "targetFps", { get: () => 4, set() {}, configurable: true });'],
      ['700 ms a picture', 'Object.defineProperty(facelink.client, "targetFps", { get: () => 60, set() {}, configurable: true }); standIn.costs = { CPU: 700, GPU: 700 };'],
    ]) {
      await s.run(`${change} standIn.times.length = 0;`);
      const from = s.server.frames.length;
      await until(`${name}: eight pictures`, () => s.run('return standIn.times.length >= 8;'));
      assert(!reports(from).includes('f'), name, reports(from));
    }
    // Two pictures without a face are.
    const from = s.server.frames.length;
    await s.run(`standIn.costs = {}; standIn.show = 'none';`);
    await s.frame('a lost face', (f) => f.tracked === false, from);
    return {};
  },

  async video_frame_callback_that_never_comes() {
    const outcome = {};
    for (const [name, before] of [
      ['never called', ''],
      ['nor do counters move', `
        Object.defineProperty(HTMLMediaElement.prototype, 'currentTime', { get: () => 0, set() {} });
        HTMLVideoElement.prototype.getVideoPlaybackQuality = undefined;`],
      ['not there', 'delete HTMLVideoElement.prototype.requestVideoFrameCallback;'],
    ]) {
      const s = await (await Fixture.open({ before: `
        HTMLVideoElement.prototype.requestVideoFrameCallback = () => 1;
        HTMLVideoElement.prototype.cancelVideoFrameCallback = () => {};
        ${before}` })).on();
      await s.show('smile', `${name}: a smile`, (f) => f.shapes.mouthSmileLeft > 0.5);
      await until('pictures', () => s.run('return standIn.times.length >= 40;'));
      const times = await s.run('return standIn.times.slice(-20);');
      outcome[name] = Math.round((19 * 1000) / (times.at(-1) - times[0]));
      assert(outcome[name] <= 35, `${name}: no more than the camera has`, outcome);
      await s.show('none', `${name}: a lost face`, (f) => f.tracked === false);
      await s.show('smile', `${name}: and back`, (f) => f.tracked);
      // A preview that stands still shows no face.
      await s.run(`document.getElementById('camera-video').pause();`);
      await s.frame(`${name}: no picture`, (f) => f.tracked === false);
    }
    return outcome;
  },

  async preview_paused_by_the_system_goes_on() {
    const s = await (await Fixture.open()).on();
    const hide = (state) => s.run(`
      Object.defineProperty(document, 'visibilityState', { get: () => '${state}', configurable: true });
      ${state === 'hidden' ? `document.getElementById('camera-video').pause();` : ''}
      document.dispatchEvent(new Event('visibilitychange'));`);
    await hide('hidden');
    await s.frame('a lost face', (f) => f.tracked === false);
    const from = s.server.frames.length;
    await hide('visible');
    await s.frame('the face on return', (f) => f.tracked, from);
    assert((await s.text('badge')) === 'Face found', 'the page shows it');
    // Without any event of the page.
    await s.run(`document.getElementById('camera-video').pause();`);
    await s.frame('a lost face again', (f) => f.tracked === false);
    await s.frame('the face by itself', (f) => f.tracked);
    // The camera was muted, by a call for instance.
    await s.run(`document.getElementById('camera-video').pause();`);
    await s.frame('a lost face a third time', (f) => f.tracked === false);
    await s.run(`
      window.played = 0;
      const { play } = HTMLMediaElement.prototype;
      HTMLMediaElement.prototype.play = function () { played += 1; return play.call(this); };
      document.getElementById('camera-video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('unmute'));`);
    assert((await s.run('return played;')) === 1, 'it is played at once');
    await s.frame('the face when the camera is back', (f) => f.tracked);
    // Switched off, it stays off.
    await s.click('toggle');
    await hide('hidden');
    await hide('visible');
    assert(await s.run(`return played === 1 && document.getElementById('camera-video').srcObject === null;`), 'off');
    return {};
  },

  async sliders_performer_and_hidden_page() {
    const s = await (await Fixture.open()).on();
    await s.show('smile', 'a smile', (f) => f.shapes.mouthSmileLeft > 0.5);
    // A held slider overrides the camera; the other shapes stay the camera's.
    await s.run(`const input = document.getElementById('s-jawOpen'); input.value = '0.8'; input.dispatchEvent(new Event('input'));`);
    const held = await s.frame('the slider', (f) => near(f.shapes.jawOpen, 0.8));
    assert(near(held.shapes.mouthSmileLeft, 0.7) && near(angles(held)[0], 30, 0.1), 'on top of the camera', held.shapes);
    await s.run(`document.getElementById('reset').click();`);
    // The performer releases the camera, and the camera stops the performer.
    await s.run(`document.getElementById('perform').click();`);
    assert(await s.run(`return !facelink.panel.camera.running;`), 'the camera is off');
    await s.frame('the performer', (f) => f.tracked && f.shapes.mouthSmileLeft !== 0.7);
    await s.on();
    assert((await s.run(`return document.getElementById('perform').getAttribute('aria-pressed');`)) === 'false', 'the performer has stopped');
    // No video frames, as in a hidden page: the face is lost.
    await s.run(`document.getElementById('camera-video').pause();`);
    await s.frame('a frame that is not tracked', (f) => f.tracked === false);
    await s.run(`await document.getElementById('camera-video').play();`);
    await s.frame('tracked frames again', (f) => f.tracked);
    return {};
  },

  async https_on_lan_with_token() {
    const outward = Object.values(os.networkInterfaces()).flat().find((a) => a.family === 'IPv4' && !a.internal)?.address;
    const made = folder();
    process.env.XDG_DATA_HOME = made; // no certificate in the home of this machine's user
    const address = outward ?? '127.0.0.1';
    const s = await Fixture.open({
      server: ['--lan', '--token', 'right & wrong'],
      args: ['--ignore-certificate-errors'],
      url: (port) => `https://${address}:${port}/?subject=Cam&token=${encodeURIComponent('right & wrong')}&camera=1`,
    });
    await until('a face', async () => (await s.text('badge')) === 'Face found');
    await s.show('smile', 'a smile', (f) => f.shapes.mouthSmileLeft > 0.5);
    assert(await s.run('return isSecureContext;'), 'a secure page');
    // The same port without TLS: no camera, but a link to the secure page.
    await s.page.post('/url', { url: `http://phone.local:${s.server.port}/?subject=Cam&token=x` });
    await until('the page', () => s.run('return window.facelink?.panel !== undefined;'));
    assert(!(await s.run('return isSecureContext;')), 'not a secure page');
    await s.click('toggle');
    await until('the link', () => s.text('trouble-link'));
    const { href, shown } = await s.run(`return { href: document.getElementById('camera-trouble-link').href, shown: document.getElementById('camera-trouble').innerText };`);
    assert(href === `https://phone.local:${s.server.port}/?subject=Cam&token=x`, 'to the same page', href);
    assert(shown.includes('secure pages only') && shown.includes('https://phone.local'), 'and why', shown);
    // A server without TLS offers no link.
    const plain = await Fixture.open({ url: (port) => `http://phone.local:${port}/` });
    await plain.click('toggle');
    await until('the advice', async () => (await plain.text('trouble'))?.includes('facelink listen --lan'));
    assert((await plain.text('trouble-link')) === null, 'no dead link');
    return { address };
  },

  async files_come_from_cdn_without_own() {
    // Their hosts are played by a local server, with the certificate of a FaceLink server.
    process.env.XDG_DATA_HOME = folder();
    await Server.start(0, ['--lan']);
    const [cert, key] = ['certificate', 'key'].map((name) => readFileSync(path.join(process.env.XDG_DATA_HOME, `facelink/${name}.pem`)));
    const files = models();
    const asked = [];
    const cdn = https.createServer({ cert, key }, (request, response) => {
      asked.push(`${request.method} ${request.headers.host}${request.url}`);
      const [, of] = /^\/(?:npm\/@mediapipe\/tasks-vision@[0-9.]+|mediapipe-models\/face_landmarker\/face_landmarker\/float16\/1)\/(.*)$/.exec(request.url) ?? [];
      response.setHeader('access-control-allow-origin', '*');
      response.setHeader('content-type', /js$/.test(of) ? 'text/javascript' : /wasm$/.test(of) ? 'application/wasm' : 'application/octet-stream');
      if (of) response.end(request.method === 'HEAD' ? undefined : readFileSync(path.join(files, of)));
      else response.writeHead(404).end();
    });
    await new Promise((done) => cdn.listen(0, '127.0.0.1', done));
    atEnd(() => {
      cdn.closeAllConnections();
      cdn.close();
    });
    const s = await Fixture.open({
      without: ['vision_bundle.mjs', 'face_landmarker.task'], cdn: cdn.address().port, args: ['--ignore-certificate-errors'],
      before: `addEventListener('securitypolicyviolation', (e) => (standIn.blocked ??= []).push(e.blockedURI));`,
    });
    await s.on();
    const { library, model, blocked } = await s.run('const { library, model } = facelink.panel.camera.tracker; return { library, model, blocked: standIn.blocked ?? [] };');
    assert(blocked.length === 0, "the page's policy allows them", blocked);
    assert(library === TRACKER_CDN && model === MODEL_URL, 'from there', { library, model });
    assert(asked.every((line) => !line.includes('token')) && asked.some((line) => line.startsWith('GET storage.googleapis.com/')), 'and receive no token', asked);
    // No other script from there.
    await s.run(`await import('https://cdn.jsdelivr.net/npm/another@1.0.0/index.js').then(() => { throw new Error('loaded'); }, () => {});`);
    assert((await s.run('return standIn.blocked?.length;')) === 1, 'is blocked');
    await s.show('smile', 'a smile', (f) => f.shapes.mouthSmileLeft > 0.5);
    return { asked: asked.length };
  },
});
