// A server, its page and a fake camera, for the tests of the page's camera: by default with a stand-in for the face
// tracker (stand-in.mjs).
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { atEnd, Browser, root, Server, until } from './lib.mjs';

/** Chromium's own fake cameras. */
const CAMERAS = ['--use-fake-device-for-media-stream=device-count=2', '--enable-unsafe-swiftshader'];
/** Only the library and the model of the test, even with an Internet connection: their hosts are this port. */
const hosts = (port) => `--host-resolver-rules=MAP cdn.jsdelivr.net 127.0.0.1:${port}, MAP storage.googleapis.com 127.0.0.1:${port}, MAP *.local 127.0.0.1`;
/** WebGL passes for one on a GPU, whatever it is here: by its name and, to who asks for that, by its speed. */
export const GPU = `
  const { drawArrays, getExtension } = WebGL2RenderingContext.prototype;
  const asked = new WeakSet();
  WebGL2RenderingContext.prototype.getExtension = function (name) {
    if (name === 'WEBGL_debug_renderer_info') asked.add(this);
    return getExtension.call(this, name);
  };
  WebGL2RenderingContext.prototype.drawArrays = function (...args) {
    if (!asked.has(this)) drawArrays.apply(this, args);
  };
  for (const Context of [WebGL2RenderingContext, WebGLRenderingContext]) {
    const { getParameter } = Context.prototype;
    Context.prototype.getParameter = function (name) {
      return name === 0x9246 || name === 0x1f01 ? 'A GPU' : getParameter.call(this, name);
    };
  }
`;

export function folder() {
  const made = mkdtempSync(path.join(os.tmpdir(), 'facelink-camera-'));
  atEnd(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** A ZIP archive of empty files, stored as in the published model: after two zero bytes, which its offsets count. */
export function archive(names, lead = 2) {
  const header = (name, size, fields) => {
    const bytes = Buffer.alloc(size);
    for (const [at, value, width = 4] of fields) bytes.writeUIntLE(value, at, width);
    return Buffer.concat([bytes, Buffer.from(name)]);
  };
  const parts = [Buffer.alloc(lead)];
  const offsets = [];
  let at = lead;
  for (const name of names) {
    offsets.push(at);
    parts.push(header(name, 30, [[0, 0x04034b50], [26, name.length, 2]]));
    at += parts.at(-1).length;
  }
  const central = Buffer.concat(names.map((name, i) => header(name, 46, [[0, 0x02014b50], [28, name.length, 2], [42, offsets[i]]])));
  return Buffer.concat([...parts, central, header('', 22, [[0, 0x06054b50], [8, names.length, 2], [10, names.length, 2], [12, central.length], [16, at]])]);
}

/** What the published model contains. */
export const MODEL_FILES = ['face_detector.tflite', 'face_landmarks_detector.tflite', 'geometry_pipeline_metadata_landmarks.binarypb', 'face_blendshapes.tflite'];

/** A models folder as a developer would fill it, without the files that a test wants missing. */
export function models(without = []) {
  const made = folder();
  mkdirSync(path.join(made, 'wasm'));
  const put = (name, content) => {
    if (!without.includes(name)) writeFileSync(path.join(made, name), content);
  };
  if (!without.includes('vision_bundle.mjs')) copyFileSync(path.join(root, 'tests/web/stand-in.mjs'), path.join(made, 'vision_bundle.mjs'));
  put('wasm/vision_wasm_internal.js', '// loads the tracker');
  put('wasm/vision_wasm_internal.wasm', '\0asm');
  put('face_landmarker.task', archive(MODEL_FILES));
  return made;
}

/** A server and its page; `on` waits until a face is found. */
export class CameraPage {
  static async open({ without = [], files = models(without), server = [], url = (port) => `http://127.0.0.1:${port}/?subject=Cam`, cameras = CAMERAS, args = [], before = '', allowed = true, cdn = 9, width = 500, height = 900 } = {}) {
    const made = new CameraPage();
    made.server = await Server.start(0, ['--models', files, ...server]);
    made.url = url(made.server.port);
    const ui = allowed ? ['--use-fake-ui-for-media-stream'] : [];
    made.page = await Browser.open('about:blank', { args: [...ui, ...cameras, hosts(cdn), ...args], width, height });
    await made.page.cdp('Page.addScriptToEvaluateOnNewDocument', { source: `globalThis.standIn = {}; ${before}` });
    await made.page.post('/url', { url: made.url });
    await until('the page', () => made.run('return window.facelink?.panel !== undefined;'));
    return made;
  }

  run(body) {
    return this.page.run(body);
  }

  click(id) {
    return this.run(`document.getElementById('camera-${id}').click();`);
  }

  /** The text of a part of the panel; null when it is hidden. */
  text(id) {
    return this.run(`const e = document.getElementById('camera-${id}'); return e.checkVisibility() ? e.innerText : null;`);
  }

  async on() {
    await this.click('toggle');
    await until('a face in the page', async () => {
      const trouble = await this.text('trouble');
      if (trouble) throw new Error(`the page says: ${trouble}`);
      return (await this.text('badge')) === 'Face found';
    });
    return this;
  }

  /** The frames from that index on. */
  frames(from = 0) {
    return this.server.frames.slice(from).filter((f) => f.subject === 'Cam').map((f) => ({ ...f, shapes: JSON.parse(f.face) }));
  }

  /** The first frame, from now or from that index on, that passes the check. */
  frame(what, check, from = this.server.frames.length) {
    return until(what, () => this.frames(from).find(check) ?? null);
  }

  /** Shows a face of the stand-in to the page and waits until the server has it. */
  async show(name, what, check) {
    await this.run(`standIn.show = '${name}';`);
    return this.frame(what, check);
  }
}
