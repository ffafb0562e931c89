// The page in Firefox, controlled by Marionette: its camera with the real face tracker, and a portrait on a canvas as the
// camera, for Firefox takes no file for one. Headless Firefox has no WebGL.
//
//   .ci/tracker-files && CARGO_TARGET_DIR=... node tests/web/firefox.mjs [part of a test's name ...]
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { assert, atEnd, runAll, Server, until } from './lib.mjs';
import { readPng } from './png.mjs';
import { blank, blink, picture } from './portrait.mjs';

const files = process.env.FACELINK_TRACKER ?? path.join(os.homedir(), '.cache/facelink/tracker');
const program = ['firefox-esr', 'firefox'].find((name) => spawnSync(name, ['--version']).status === 0);
const missing = program ? existsSync(path.join(files, 'portrait.png')) ? null : `no face tracker in ${files} (.ci/tracker-files fetches it)` : 'Firefox is not installed (apt-get install firefox-esr)';
if (missing) {
  if (process.env.CI === 'true') throw new Error(missing);
  console.log(`skipped: ${missing}`);
  process.exit(0);
}

/** A Firefox controlled by Marionette, whose messages are JSON arrays with their length before them. */
class Firefox {
  #socket;
  #waiting = new Map();
  #id = 0;

  static async open(url, prefs = {}) {
    const firefox = new Firefox();
    const profile = mkdtempSync(path.join(os.tmpdir(), 'facelink-firefox-'));
    // A page that was allowed a camera shows its addresses to peers; this one has a canvas instead.
    const all = { 'marionette.port': 0, 'media.peerconnection.ice.obfuscate_host_addresses': false, 'media.navigator.permission.disabled': true, 'media.peerconnection.ice.loopback': true, ...prefs };
    writeFileSync(path.join(profile, 'user.js'), Object.entries(all).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join(''));
    const child = spawn(program, ['--headless', '--marionette', '--no-remote', '--profile', profile], { stdio: 'ignore', env: { ...process.env, HOME: profile } });
    const gone = new Promise((done) => child.once('exit', done));
    atEnd(async () => {
      child.kill('SIGKILL');
      await gone;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    });
    // It writes the port that it took into the profile.
    const port = await until('Firefox', () => {
      const file = path.join(profile, 'MarionetteActivePort');
      return existsSync(file) && Number(readFileSync(file, 'utf8'));
    }, 90000);
    firefox.#socket = net.connect(port, '127.0.0.1');
    let data = Buffer.alloc(0);
    firefox.#socket.on('data', (chunk) => {
      data = Buffer.concat([data, chunk]);
      for (;;) {
        const colon = data.indexOf(':');
        const end = colon + 1 + Number(data.subarray(0, Math.max(0, colon)));
        if (colon < 0 || data.length < end) return;
        firefox.#take(JSON.parse(data.subarray(colon + 1, end)));
        data = data.subarray(end);
      }
    });
    await firefox.command('WebDriver:NewSession', { capabilities: { alwaysMatch: {} } });
    await firefox.command('WebDriver:SetTimeouts', { script: 120000 });
    await firefox.command('WebDriver:Navigate', { url });
    return firefox;
  }

  #take(message) {
    if (!Array.isArray(message)) return; // its greeting
    const [, id, error, result] = message;
    const { done, fail } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) fail(new Error(`${error.error}: ${error.message}`));
    else done(result);
  }

  command(name, params) {
    return new Promise((done, fail) => {
      const text = JSON.stringify([0, this.#id += 1, name, params]);
      this.#waiting.set(this.#id, { done, fail });
      this.#socket.write(`${Buffer.byteLength(text)}:${text}`);
    });
  }

  /** Runs the body of an async function in the page. */
  async run(body, ...args) {
    const script = `const done = arguments[arguments.length - 1];
      (async (...args) => { ${body} })(...arguments).then(value => done({ value }), error => done({ failure: String(error) + String(error?.stack ?? '') }));`;
    const { value } = await this.command('WebDriver:ExecuteAsyncScript', { script, args });
    if (value.failure) throw new Error(`in the page: ${value.failure}`);
    return value.value;
  }
}

await runAll({
  async camera_with_the_real_tracker() {
    const server = await Server.start(0, ['--models', path.join(files, 'models')]);
    const firefox = await Firefox.open(`http://127.0.0.1:${server.port}/?subject=Cam`);
    const portrait = readPng(readFileSync(path.join(files, 'portrait.png')));
    /** Puts a picture before the camera. */
    const show = ({ width, height, data }) => firefox.run(`
      const [width, height, text] = args;
      const rgb = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      const image = new ImageData(width, height);
      for (let i = 0; i < width * height; i += 1) image.data.set([rgb[i * 3], rgb[i * 3 + 1], rgb[i * 3 + 2], 255], i * 4);
      window.shown = image;`, width, height, Buffer.from(data).toString('base64'));
    const frame = (what, check, from = server.frames.length) => until(what, () => server.frames.slice(from).map((f) => ({ ...f, shapes: JSON.parse(f.face) })).find(check), 60000);
    await show(picture(portrait));
    await firefox.run(`
      const canvas = document.createElement('canvas');
      canvas.width = 640;
      canvas.height = 480;
      const pen = canvas.getContext('2d');
      let odd = 0;
      setInterval(() => {
        pen.putImageData(window.shown, 0, 0);
        pen.fillStyle = (odd = 1 - odd) ? '#777' : '#888'; // a canvas that does not change has no frames
        pen.fillRect(0, 0, 4, 4);
      }, 33);
      navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
      document.getElementById('camera-toggle').click();`);
    const calm = await frame('a face', (f) => f.tracked && f.shapes.mouthSmileLeft > 0.7, 0);
    assert(Object.keys(calm.shapes).length === 52 && calm.shapes.eyeBlinkLeft < 0.3 && calm.shapes.eyeBlinkRight < 0.3, 'all 52', calm.shapes);
    await show(picture(portrait, [blink('left')]));
    const shut = await frame('her left eye shut', (f) => f.tracked && f.shapes.eyeBlinkLeft > 0.4);
    assert(shut.shapes.eyeBlinkRight < 0.3, 'and the other open', shut.shapes);
    await show(blank());
    await frame('a lost face', (f) => f.tracked === false);
    await show(picture(portrait));
    await frame('the face again', (f) => f.tracked && f.shapes.eyeBlinkLeft < 0.3);
    await frame('over WebRTC', (f) => f.source === 'webrtc', 0);
    return firefox.run(`
      const { graphics, delegate } = facelink.panel.camera.tracker;
      return { graphics, delegate, figures: document.getElementById('camera-figures').innerText, agent: navigator.userAgent };`);
  },
});
