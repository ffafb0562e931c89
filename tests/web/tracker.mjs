// The camera of the page with the real face tracker: MediaPipe's library and model, as their makers publish them, and a
// portrait as Chromium's camera. The face in the portrait is moved by image warps, and what arrives at a server is
// compared with what was done to it.
//
//   .ci/tracker-files && CARGO_TARGET_DIR=... node tests/web/tracker.mjs [part of a test's name ...]
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { modelFault, zipNames } from '../../crates/facelink-net/web/tracker.js';
import { ARKIT_NAMES, headAngles } from '../../crates/facelink-net/web/facelink.js';
import { archive, CameraPage, folder, GPU, MODEL_FILES } from './camera-page.mjs';
import { assert, needBrowser, runAll, until } from './lib.mjs';
import { readPng } from './png.mjs';
import { blank, blink, irises, jaw, mirror, mouth, picture, rotate, turn, writeCamera } from './portrait.mjs';

needBrowser();
const files = process.env.FACELINK_TRACKER ?? path.join(os.homedir(), '.cache/facelink/tracker');
const model = path.join(files, 'models/face_landmarker.task');
if (!existsSync(model)) {
  const message = `no face tracker in ${files} (.ci/tracker-files fetches it from npm and PyPI, 27 MB)`;
  if (process.env.CI === 'true') throw new Error(message);
  console.log(`skipped: ${message}`);
  process.exit(0);
}

const DEGREE = Math.PI / 180;
const portrait = readPng(readFileSync(path.join(files, 'portrait.png')));
/** Faces to wait for after a change of the picture, until the tracker has followed it. */
const FOLLOWED = 12;

/** A page whose camera is a file; `film` replaces the film. */
class Studio {
  static async open({ shots = [[picture(portrait), 1]], fps = 30, ...more } = {}) {
    const studio = new Studio();
    studio.film = path.join(folder(), 'camera.y4m');
    writeCamera(studio.film, shots, fps);
    studio.page = await CameraPage.open({
      files: path.join(files, 'models'),
      cameras: ['--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${studio.film}`, '--enable-unsafe-swiftshader'],
      ...more,
      before: `addEventListener('securitypolicyviolation', (e) => (standIn.blocked ??= []).push(e.blockedURI)); ${more.before ?? ''}`,
    });
    return studio;
  }

  /** Shows a portrait and gives the medians of the face once the tracker has followed it. */
  async shoot(...warps) {
    if (await this.page.run('return facelink.panel.camera.running;')) await this.page.click('toggle');
    writeCamera(this.film, [[picture(portrait, warps), 1]]);
    const from = this.page.server.frames.length;
    await this.page.on();
    // Frames of the camera before are not in it: it was off.
    await this.page.frame('a face', (f) => f.tracked, from);
    const faces = () => this.page.frames(from).filter((f) => f.tracked);
    await this.page.frame('more faces', () => faces().length >= FOLLOWED + 5, from);
    const last = faces().slice(FOLLOWED);
    const middle = (of) => last.map(of).sort((a, b) => a - b)[last.length >> 1];
    return {
      shapes: Object.fromEntries(ARKIT_NAMES.map((name) => [name, middle((f) => f.shapes[name])])),
      names: Object.keys(last[0].shapes).length,
      angles: [0, 1, 2].map((i) => middle((f) => headAngles(f.head.rotation)[i] / DEGREE)),
      position: [0, 1, 2].map((i) => middle((f) => f.head.position[i])),
      gaze: { left: middle((f) => f.gaze.left[0]), right: middle((f) => f.gaze.right[0]) },
      source: last[0].source,
    };
  }
}

const round = (values) => values.map((value) => Math.round(value * 10) / 10);

await runAll({
  async published_model_is_accepted() {
    const bytes = readFileSync(model);
    assert(createHash('sha256').update(bytes).digest('hex').startsWith('64184e22'), 'the published file');
    assert(bytes.readUInt32BE(0) === 0x0000504b, 'which does not begin as a ZIP archive', bytes.subarray(0, 4));
    assert(zipNames(bytes)?.join() === MODEL_FILES.join(), 'its content', zipNames(bytes));
    assert(modelFault(bytes) === null && modelFault(archive(MODEL_FILES, 0)) === null, 'no fault');
    // Cut off anywhere, of another kind, or no model at all.
    for (const length of [0, 1, 4, 30, 1e6, bytes.length - 1000, bytes.length - 1]) assert(/not a model/.test(modelFault(bytes.subarray(0, length)) ?? ''), `the first ${length} bytes`);
    assert(/another model.*face_blendshapes/.test(modelFault(archive(['hand_detector.tflite', 'hand_landmarks_detector.tflite']))), 'a hand model');
    assert(/web page/.test(modelFault(Buffer.from('\n<!DOCTYPE html><title>Sign in</title>'))), 'a sign-in page');
    assert(/Git LFS/.test(modelFault(Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:64184e22'))), 'a pointer');
    const text = new TextEncoder().encode('PK\x05\x06 and nothing behind it');
    assert(modelFault(text) !== null && zipNames(text) === null, 'a signature alone');
    return { bytes: bytes.length };
  },

  async portrait_gives_a_face_with_its_own_sides_and_signs() {
    const s = await Studio.open();
    const calm = await s.shoot();
    assert(calm.names === 52, 'all 52', calm.names);
    assert(calm.shapes.mouthSmileLeft > 0.7 && calm.shapes.mouthSmileRight > 0.7 && calm.shapes.jawOpen < 0.1, 'she smiles', calm.shapes);
    assert(calm.shapes.eyeBlinkLeft < 0.2 && calm.shapes.eyeBlinkRight < 0.2 && calm.shapes.tongueOut === 0, 'with open eyes', calm.shapes);
    assert(calm.position[2] < -0.2 && calm.position[2] > -1, 'in front of the camera, metres', calm.position);
    const { tracker, blocked } = await s.page.run(`
      const { library, model, delegate, graphics } = facelink.panel.camera.tracker;
      return { tracker: { library, model, delegate, graphics }, blocked: standIn.blocked ?? [] };`);
    assert(blocked.length === 0, "the page's policy allows all that the library does", blocked);
    assert(tracker.model.endsWith('/models/face_landmarker.task') && !tracker.library.includes('jsdelivr'), 'from the own folder', tracker);

    /** How a warp changes the face. */
    const shown = {};
    const change = async (name, ...warps) => {
      const face = await s.shoot(...warps);
      const by = Object.fromEntries(ARKIT_NAMES.map((n) => [n, face.shapes[n] - calm.shapes[n]]));
      const [yaw, pitch, roll] = face.angles.map((angle, i) => angle - calm.angles[i]);
      shown[name] = `yaw ${round([yaw])}, pitch ${round([pitch])}, roll ${round([roll])}: ${Object.entries(by).filter(([, v]) => Math.abs(v) > 0.2).map(([n, v]) => `${n} ${v.toFixed(2)}`).join(', ')}`;
      return { ...face, by, yaw, pitch, roll };
    };

    // The performer's own left is on the right of the picture.
    const left = await change('left eye shut', blink('left'));
    assert(left.by.eyeBlinkLeft > 0.3 && left.by.eyeBlinkRight < 0.15, 'her left eye', shown);
    const right = await change('right eye shut', blink('right'));
    assert(right.by.eyeBlinkRight > 0.3 && right.by.eyeBlinkLeft < 0.15, 'her right eye', shown);
    const both = await change('both eyes shut, mouth open', blink('left'), blink('right'), jaw(24));
    assert(both.by.eyeBlinkLeft > 0.3 && both.by.eyeBlinkRight > 0.3 && both.by.jawOpen > 0.15, 'both eyes and the jaw', shown);
    const open = await change('mouth open', jaw(18));
    assert(open.by.jawOpen > 0.15 && Math.abs(open.by.eyeBlinkLeft) < 0.15, 'the jaw alone', shown);
    const aside = await change('mouth to her left', mouth(8));
    assert(aside.by.mouthLeft > 0.15 && aside.by.mouthRight < 0.05, 'the mouth', shown);
    const looks = await change('looks to her left', irises(5));
    assert(looks.by.eyeLookOutLeft > 0.3 && looks.by.eyeLookInRight > 0.3 && looks.by.eyeLookInLeft < 0.1, 'the eyes', shown);
    assert(looks.gaze.left - calm.gaze.left > 0.15 && looks.gaze.right - calm.gaze.right > 0.15, 'yaw of the gaze is positive to her left', looks.gaze);

    const turned = await change('turns to her left', turn(10, 0));
    assert(turned.yaw > 4 && Math.abs(turned.pitch) < 3, 'yaw is positive to her left', shown);
    assert((await change('turns to her right', turn(-10, 0))).yaw < -4, 'and negative to her right', shown);
    const up = await change('looks up', turn(0, -9));
    assert(up.pitch > 4 && Math.abs(up.yaw) < 3, 'pitch is positive upwards', shown);
    assert((await change('looks down', turn(0, 9))).pitch < -4, 'and negative downwards', shown);
    const tilted = await change('head on her left shoulder', rotate(20));
    assert(Math.abs(tilted.roll + 20) < 4, 'roll is negative to her left shoulder', shown);

    // In a mirror all of it is on the other side.
    const mirrored = await change('mirrored: left eye shut and turned to her left', blink('left'), turn(10, 0), mirror());
    assert(mirrored.by.eyeBlinkRight > 0.25 && mirrored.by.eyeBlinkRight > mirrored.by.eyeBlinkLeft + 0.2 && mirrored.yaw < -3, 'the other side', shown);
    return { ...tracker, source: calm.source, calm: round(calm.angles), shown };
  },

  async face_lost_and_back_without_flicker() {
    const s = await Studio.open({ shots: [[picture(portrait), 45], [blank(), 45]] });
    await s.page.on();
    /** Stretches of frames that are all tracked, or all not. */
    const stretches = () => s.page.frames().reduce((all, f) => {
      if (all.at(-1)?.tracked !== f.tracked) all.push({ tracked: f.tracked, from: f.at });
      return all;
    }, []);
    await s.page.frame('two returns', () => stretches().filter((part) => part.tracked).length >= 3, 0);
    const parts = stretches();
    // The film shows each for a second and a half; the first stretch may begin in the middle.
    const spans = parts.slice(1).map((part, i) => part.from - parts[i].from).slice(1);
    assert(spans.every((span) => span > 700), 'no flicker', spans);
    return { spans: spans.map(Math.round) };
  },

  async face_in_sight_is_not_lost_at_four_pictures_a_second() {
    const s = await Studio.open({ fps: 4 });
    const from = s.page.server.frames.length;
    await s.page.on();
    const since = await s.page.frame('the first face', (f) => f.tracked, from);
    await s.page.frame('two dozen faces', () => s.page.frames(from).filter((f) => f.tracked).length >= 24, from);
    const frames = s.page.frames(from).filter((f) => f.at >= since.at);
    assert(frames.every((f) => f.tracked), 'no lost face between them', frames.map((f) => (f.tracked ? 'T' : 'f')).join(''));
    return { fps: Math.round((frames.length - 1) / ((frames.at(-1).at - since.at) / 1000) * 10) / 10 };
  },

  async browser_without_webgl_tracks_on_cpu() {
    const seen = {};
    const noWebGl = (where) => `{
      const { getContext } = ${where}.prototype;
      ${where}.prototype.getContext = function (kind, ...more) { return /webgl/.test(kind) ? null : getContext.call(this, kind, ...more); };
    }`;
    for (const [name, kind, more] of [
      ['none', 'none', { args: ['--disable-software-rasterizer'] }],
      ['a canvas of the page alone, as in WebKitGTK', 'software', { before: noWebGl('OffscreenCanvas') }],
      ['an OffscreenCanvas alone', 'software', { before: noWebGl('HTMLCanvasElement') }],
    ]) {
      const s = await Studio.open(more);
      const face = await s.shoot(blink('left'));
      const { delegate, graphics } = await s.page.run('const { delegate, graphics } = facelink.panel.camera.tracker; return { delegate, graphics };');
      assert(delegate === 'CPU' && graphics === kind, name, { delegate, graphics });
      assert(face.shapes.eyeBlinkLeft > 0.4 && face.shapes.eyeBlinkRight < 0.3 && face.shapes.mouthSmileLeft > 0.7, `${name}: the face`, face.shapes);
      seen[name] = await s.page.text('figures');
    }
    return seen;
  },

  async software_gpu_is_left_for_the_cpu() {
    // Here WebGL is computed by the CPU, and says that it is a GPU.
    const s = await Studio.open({ before: GPU });
    await s.page.click('toggle');
    const from = s.page.server.frames.length;
    await s.page.frame('a face by the GPU', (f) => f.tracked, from);
    const first = await s.page.run('const { delegate, graphics } = facelink.panel.camera.tracker; return { delegate, graphics };');
    assert(first.graphics === 'gpu', 'it is believed', first);
    const last = await until('the CPU', () => s.page.run(`
      const { tracker } = facelink.panel.camera;
      return tracker.delegate === 'CPU' && { figures: facelink.panel.camera.figures() };`), 90000);
    const after = s.page.server.frames.length;
    await until('faces by the CPU', () => s.page.frames(after).filter((f) => f.tracked).length > 12, 120000);
    assert((await s.page.run('return facelink.panel.camera.tracker.delegate;')) === 'CPU', 'and it stays');
    return { first, last };
  },

  async refused_models_are_explained() {
    const whole = readFileSync(model);
    const outcome = {};
    for (const [name, bytes, words] of [
      ['cut off', whole.subarray(0, 3e6), /not a model, or not a whole one/],
      ['another model', archive(['hand_detector.tflite']), /another model: it has no face_blendshapes\.tflite/],
      ['a web page', Buffer.from('<html>Sign in'), /not a model: it is a web page/],
    ]) {
      const made = folder();
      for (const file of ['vision_bundle.mjs', 'wasm']) symlinkSync(path.join(files, 'models', file), path.join(made, file));
      writeFileSync(path.join(made, 'face_landmarker.task'), bytes);
      const s = await CameraPage.open({ files: made });
      await s.click('toggle');
      const shown = await until('the message', () => s.text('trouble'));
      assert(words.test(shown) && /storage\.googleapis\.com.*it cannot be reached/.test(shown), name, shown);
      outcome[name] = shown.split('\n').find((line) => words.test(line));
    }
    return outcome;
  },

  async own_files_on_lan_need_the_token() {
    process.env.XDG_DATA_HOME = folder(); // no certificate in the home of this machine's user
    const s = await Studio.open({
      server: ['--lan', '--token', 'right & wrong'],
      args: ['--ignore-certificate-errors'],
      url: (port) => `https://127.0.0.1:${port}/?subject=Cam&token=${encodeURIComponent('right & wrong')}`,
    });
    const face = await s.shoot();
    assert(face.shapes.mouthSmileLeft > 0.7, 'a face', face.shapes);
    return { source: face.source };
  },
});
