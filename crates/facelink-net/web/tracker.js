// @ts-check
/**
 * The face tracker behind `camera.js`: MediaPipe's Face Landmarker. Loads the
 * library and its model from our server or from their makers, and runs it on the
 * GPU or on the CPU, whichever is quicker on this device.
 *
 * @module tracker
 */

/** The last version without telemetry: from 1.0 on the library sends usage reports to Google. */
export const TRACKER_VERSION = '0.10.35';
export const TRACKER_CDN = `https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@${TRACKER_VERSION}`;
export const MODEL_URL = 'https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task';

/** The part of the model that gives the 52 scores. */
const BLENDSHAPES = 'face_blendshapes.tflite';
/** Largest file that is read as a model, bytes; the published one has 3.8 million. */
const MAX_MODEL_BYTES = 64e6;
/** Without data for this time a download is given up, ms. */
const SILENT_MS = 15000;

/** Pictures of a delegate that are not measured: the first ones compile shaders and allocate. */
const WARM_UP = 3;
/** Pictures with a face by which a delegate is measured; one without takes less. */
const SAMPLES = 7;
/** Pictures without any face after which the other delegate is tried: some drivers compute none. */
const BLIND_PICTURES = 60;
/** Pictures in which that one has to find a face. */
const TRIAL_PICTURES = 30;
/** A delegate with a lower median is kept without trying the other one, ms: it leaves most of a 30 Hz frame. */
const QUICK_MS = 12;
/** Graphics contexts that are replaced after they were lost. */
const MAX_LOST = 5;

/**
 * Why the camera or the tracker does not work, in words for the user.
 */
export class CameraProblem extends Error {
  /**
   * @param {'insecure' | 'denied' | 'busy' | 'none' | 'ended' | 'files' | 'tracker' | 'camera'} code
   * @param {string} message
   * @param {{ tried?: string[], advice?: string, cause?: unknown }} [more]
   */
  constructor(code, message, { tried = [], advice = '', cause } = {}) {
    super(message, { cause });
    this.name = 'CameraProblem';
    this.code = code;
    this.tried = tried;
    this.advice = advice;
  }
}

/** The first line of an error; libraries add stack traces. @param {any} error */
export function reasonOf(error) {
  return String(error?.message || error).split('\n')[0];
}

// ---- files ----------------------------------------------------------------------

/** @param {string} url @param {string | null} token */
function withToken(url, token) {
  return token ? `${url}?token=${encodeURIComponent(token)}` : url;
}

/**
 * `fetch` with the reason in words: it reports no network, DNS, TLS, CORS and
 * content security policy alike, as a TypeError.
 * @param {string} url
 * @param {RequestInit} options
 * @returns {Promise<Response>} A successful one
 */
async function request(url, options) {
  const answer = await fetch(url, { cache: 'no-cache', ...options }).catch((error) => {
    const name = /** @type {any} */ (error)?.name;
    throw new Error(name === 'TimeoutError' || name === 'AbortError' ? 'it does not answer' : 'it cannot be reached', { cause: error });
  });
  if (!answer.ok) throw new Error(answer.status === 404 ? 'not there' : `HTTP ${answer.status}`);
  return answer;
}

/** Throws unless the file is there. @param {string} url */
async function probe(url) {
  await request(url, { method: 'HEAD', signal: AbortSignal.timeout(10000) });
}

/**
 * @param {string} url
 * @param {(share: number) => void} progress 0..1
 * @returns {Promise<Uint8Array>}
 */
async function download(url, progress) {
  const abort = new AbortController();
  let timeout = setTimeout(() => abort.abort(), SILENT_MS);
  const alive = () => {
    clearTimeout(timeout);
    timeout = setTimeout(() => abort.abort(), SILENT_MS);
  };
  try {
    const answer = await request(url, { signal: abort.signal });
    if (!answer.body) throw new Error('it is empty');
    const whole = Number(answer.headers.get('content-length')) || 3.8e6;
    /** @type {Uint8Array[]} */
    const parts = [];
    let length = 0;
    for (const reader = answer.body.getReader(); ;) {
      const { done, value } = await reader.read().catch((error) => {
        throw new Error('the connection broke off', { cause: error });
      });
      if (done) break;
      alive();
      parts.push(value);
      length += value.length;
      if (length > MAX_MODEL_BYTES) throw new Error('it is too large for a model');
      progress(Math.min(1, length / whole));
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  } catch (error) {
    throw abort.signal.aborted ? new Error('it does not answer') : error;
  } finally {
    clearTimeout(timeout);
  }
}

/**
 * The names in a ZIP archive, by its central directory. Readers of ZIP find it
 * from the end of the file: what precedes the first entry is not part of the
 * format, and the published model begins with two zero bytes.
 * @param {Uint8Array} bytes
 * @returns {string[] | null} Null when it is no whole archive
 */
export function zipNames(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The end record has 22 bytes and a comment of at most 65535.
  for (let end = bytes.length - 22; end >= Math.max(0, bytes.length - 22 - 65535); end -= 1) {
    if (view.getUint32(end, true) !== 0x06054b50) continue;
    const count = view.getUint16(end + 10, true);
    const size = view.getUint32(end + 12, true);
    // Some writers count offsets from the first entry, some from the start of the file.
    let at = end - size;
    /** @type {string[]} */
    const names = [];
    for (let i = 0; i < count; i += 1) {
      if (at < 0 || at + 46 > end || view.getUint32(at, true) !== 0x02014b50) return null;
      const length = view.getUint16(at + 28, true);
      if (at + 46 + length > end) return null;
      names.push(new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + length)));
      at += 46 + length + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    }
    return names;
  }
  return null;
}

/**
 * Text in place of a model: the sign-in page of a captive portal, or what a
 * repository keeps instead of a large file.
 * @param {Uint8Array} bytes
 * @returns {string | null} What it is; null when it is no text
 */
function textInstead(bytes) {
  const start = new TextDecoder().decode(bytes.subarray(0, 64)).replace(/^\uFEFF/, '').trimStart();
  if (bytes.length === 0) return 'it is empty';
  if (start.startsWith('<')) return 'it is a web page';
  if (start.startsWith('version https://git-lfs')) return 'it is a pointer of Git LFS';
  return null;
}

/**
 * What is wrong with a file that the library refused.
 * @param {Uint8Array} bytes
 * @returns {string | null} Null when it looks like a face model
 */
export function modelFault(bytes) {
  const text = textInstead(bytes);
  if (text) return `the file is not a model: ${text}`;
  const names = zipNames(bytes);
  if (!names) return 'the file is not a model, or not a whole one: it has no directory of a ZIP archive';
  if (!names.some((name) => name.endsWith(BLENDSHAPES))) return `the file is another model: it has no ${BLENDSHAPES}`;
  return null;
}

/**
 * Tries each location in turn until one works.
 * @template P, T
 * @param {P[]} places
 * @param {(place: P) => string} name
 * @param {(place: P) => Promise<T>} attempt
 * @param {string[]} tried Failed locations with their reasons are appended
 * @returns {Promise<{ found: T, place: P } | null>}
 */
async function firstOf(places, name, attempt, tried) {
  for (const place of places) {
    try {
      return { found: await attempt(place), place };
    } catch (error) {
      if (error instanceof CameraProblem) throw error;
      tried.push(`${name(place)}: ${reasonOf(error)}`);
    }
  }
  return null;
}

// ---- graphics -------------------------------------------------------------------

/** Renderers that compute on the CPU what a GPU should. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|lavapipe|software|basic render|mesa offscreen/i;
/**
 * A renderer that takes longer than this for `drawTime` is software, ms. Some browsers hide its name, and the
 * tracker's first picture on such a one may stop the page for half a minute.
 */
const SOFTWARE_MS = 20;

/**
 * @typedef {object} Graphics
 * @property {'gpu' | 'software' | 'none'} kind What WebGL runs on here
 * @property {() => any} canvas A new canvas for a tracker
 * @property {() => any} [spare] Another kind, should that one not do
 */

/**
 * What WebGL runs on. Both kinds of canvas are tried: WebKitGTK has an
 * `OffscreenCanvas` without WebGL, and Chromium's policies may take WebGL from
 * elements alone.
 * @returns {Graphics}
 */
function graphicsHere() {
  const canvases = [
    ...(typeof OffscreenCanvas === 'function' ? [() => new OffscreenCanvas(1, 1)] : []),
    () => document.createElement('canvas'),
  ];
  for (const canvas of canvases) {
    try {
      const context = /** @type {WebGL2RenderingContext | null} */ (canvas().getContext('webgl2'));
      if (!context) continue;
      const info = context.getExtension('WEBGL_debug_renderer_info');
      const renderer = String(context.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : context.RENDERER));
      const software = SOFTWARE.test(renderer) || drawTime(context) > SOFTWARE_MS;
      context.getExtension('WEBGL_lose_context')?.loseContext();
      // Reading back from software WebGL takes longer than a 2D canvas does.
      return software ? { kind: 'software', canvas: pixelCanvas, spare: canvas } : { kind: 'gpu', canvas };
    } catch { /* the other kind may do */ }
  }
  return { kind: 'none', canvas: pixelCanvas };
}

/**
 * Time for 65,536 pixels of 400 steps each: below 1 ms on a GPU of a desktop, a few on an old phone's, about 100 on two
 * cores of a CPU. The least of three.
 * @param {WebGL2RenderingContext} gl
 * @returns {number} Milliseconds
 */
function drawTime(gl) {
  const program = /** @type {WebGLProgram} */ (gl.createProgram());
  for (const [kind, source] of /** @type {[number, string][]} */ ([
    [gl.VERTEX_SHADER, `#version 300 es
      void main() { gl_Position = vec4(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1, 0, 1); }`],
    [gl.FRAGMENT_SHADER, `#version 300 es
      precision highp float;
      uniform int steps;
      out vec4 colour;
      void main() {
        vec4 v = gl_FragCoord * 0.001;
        for (int i = 0; i < steps; i += 1) v = v.wxyz * v + 0.1;
        colour = v;
      }`],
  ])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const target = gl.createRenderbuffer();
  gl.bindRenderbuffer(gl.RENDERBUFFER, target);
  gl.renderbufferStorage(gl.RENDERBUFFER, gl.RGBA8, 256, 256);
  gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.RENDERBUFFER, target);
  gl.viewport(0, 0, 256, 256);
  const pixel = new Uint8Array(4);
  /** @param {number} steps */
  const draw = (steps) => {
    gl.uniform1i(gl.getUniformLocation(program, 'steps'), steps);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); // waits for it
  };
  draw(1); // compiles
  let least = Infinity;
  // Other work of the machine may be in between.
  for (let i = 0; i < 3 && least > SOFTWARE_MS; i += 1) {
    const began = performance.now();
    draw(400);
    least = Math.min(least, performance.now() - began);
  }
  return least;
}

/**
 * A canvas for the library where there is no GPU. On the CPU, the library
 * passes a picture through a texture and reads it back at once; the context of
 * this canvas does the same with a 2D canvas. It can do nothing else.
 */
function pixelCanvas() {
  const canvas = document.createElement('canvas');
  const paper = document.createElement('canvas');
  const pen = /** @type {CanvasRenderingContext2D} */ (paper.getContext('2d', { willReadFrequently: true }));
  /** The picture of the texture. @type {Uint8ClampedArray} */
  let picture = new Uint8ClampedArray(0);
  const VERSION = 0x1f02;
  const nothing = () => {};
  const context = {
    canvas,
    drawingBufferWidth: 1,
    drawingBufferHeight: 1,
    TEXTURE_2D: 0x0de1,
    RGBA: 0x1908,
    UNSIGNED_BYTE: 0x1401,
    UNPACK_FLIP_Y_WEBGL: 0x9240,
    getExtension: () => null,
    getSupportedExtensions: () => [],
    getContextAttributes: () => ({}),
    getError: () => 0,
    isContextLost: () => false,
    /** @param {number} name */
    getParameter: (name) => (name === VERSION ? 'WebGL 2.0' : 16),
    createTexture: () => ({}),
    createFramebuffer: () => ({}),
    fenceSync: () => ({}),
    deleteTexture: nothing,
    deleteFramebuffer: nothing,
    deleteSync: nothing,
    clientWaitSync: () => 0x911a, // already signalled
    waitSync: nothing,
    activeTexture: nothing,
    bindTexture: nothing,
    bindFramebuffer: nothing,
    framebufferTexture2D: nothing,
    texParameteri: nothing,
    pixelStorei: nothing,
    flush: nothing,
    finish: nothing,
    /** @param {any[]} args The last is the picture */
    texImage2D: (...args) => {
      const source = args[args.length - 1];
      const width = source.videoWidth || source.width;
      const height = source.videoHeight || source.height;
      if (paper.width !== width || paper.height !== height) Object.assign(paper, { width, height });
      pen.drawImage(source, 0, 0, width, height);
      picture = pen.getImageData(0, 0, width, height).data;
    },
    /** @param {any[]} args `x, y, width, height, format, type, target, offset` */
    readPixels: (...args) => {
      /** @type {Uint8Array} */ (args[6]).set(picture, args[7] ?? 0);
    },
  };
  /** @type {any} */ (canvas).getContext = () => context;
  return canvas;
}

// ---- the tracker ----------------------------------------------------------------

/** @typedef {'GPU' | 'CPU'} Delegate */
/**
 * A running landmarker and how long it takes.
 * @typedef {object} Engine
 * @property {any} landmarker MediaPipe's `FaceLandmarker`
 * @property {Delegate} delegate
 * @property {any} canvas
 * @property {number} pictures That it has looked at
 * @property {boolean} seen Whether it has found a face
 * @property {number[]} times Of the last pictures with a face, ms
 */

/** @param {number[]} times */
function median(times) {
  return [...times].sort((a, b) => a - b)[times.length >> 1] ?? Infinity;
}

/**
 * A landmarker that has chosen where it runs. It starts on the GPU, unless
 * WebGL is computed by the CPU anyway. When it is not quick after a few
 * pictures, or finds no face, the CPU is tried as well, and the better of both
 * is kept.
 */
export class Tracker {
  /** Location of the library. */
  library = '';
  /** Location of the model. */
  model = '';

  #create;
  #graphics;
  /** @type {Engine} */
  #engine;
  /** The one that the present one is compared with. @type {Engine | null} */
  #rival = null;
  #settled;
  #blindTried = false;
  #closed = false;
  #lost = 0;
  /** Last timestamp given to the library, ms: they have to increase. */
  #time = 0;

  /**
   * @param {(delegate: Delegate, canvas: any) => Promise<any>} create
   * @param {Graphics} graphics
   * @param {Engine} engine
   */
  constructor(create, graphics, engine) {
    this.#create = create;
    this.#graphics = graphics;
    this.#engine = engine;
    this.#settled = engine.delegate === 'CPU';
  }

  /**
   * @param {(delegate: Delegate, canvas: any) => Promise<any>} create Makes a landmarker
   * @param {Graphics} [graphics]
   * @returns {Promise<Tracker>}
   */
  static async start(create, graphics = graphicsHere()) {
    if (graphics.kind === 'gpu') {
      try {
        return new Tracker(create, graphics, await engineOf(create, 'GPU', graphics));
      } catch (error) {
        console.warn('no face tracking on the GPU:', error);
      }
    }
    return new Tracker(create, graphics, await engineOf(create, 'CPU', graphics));
  }

  get delegate() {
    return this.#engine.delegate;
  }

  /** What WebGL runs on here. */
  get graphics() {
    return this.#graphics.kind;
  }

  /**
   * @param {HTMLVideoElement} video
   * @returns {{ result: any, ms: number, warm: boolean }} The library's result, how long it took, and whether that is typical: not of the first pictures
   * @throws What the library throws
   */
  detect(video) {
    const engine = this.#engine;
    const began = performance.now();
    this.#time = Math.max(began, this.#time + 1);
    if (lostContext(engine)) throw new Error('the graphics context was lost');
    const result = engine.landmarker.detectForVideo(video, this.#time);
    const ms = performance.now() - began;
    engine.pictures += 1;
    if (result?.faceLandmarks?.length) {
      engine.seen = true;
      if (engine.pictures > WARM_UP) engine.times.push(ms);
      if (engine.times.length > SAMPLES) engine.times.shift();
    }
    if (!this.#settled) this.#compare();
    return { result, ms, warm: engine.pictures > WARM_UP };
  }

  /** After failures: another context, another kind of canvas, or the CPU. @param {unknown} cause */
  async recover(cause) {
    const broken = this.#engine;
    if (this.#rival) {
      // The one that was tried does not work here; the earlier one does.
      this.#engine = this.#rival;
      this.#rival = null;
    } else if (lostContext(broken) && this.#lost < MAX_LOST) {
      this.#lost += 1;
      this.#engine = await engineOf(this.#create, broken.delegate, this.#graphics);
    } else if (this.#graphics.spare) {
      this.#graphics = { ...this.#graphics, canvas: this.#graphics.spare, spare: undefined };
      this.#engine = await engineOf(this.#create, broken.delegate, this.#graphics);
    } else if (broken.delegate === 'GPU') {
      this.#engine = await engineOf(this.#create, 'CPU', this.#graphics);
    } else {
      throw cause;
    }
    this.#settled = true;
    closeEngine(broken);
    if (this.#closed) closeEngine(this.#engine);
  }

  close() {
    this.#closed = true;
    closeEngine(this.#engine);
    if (this.#rival) closeEngine(this.#rival);
  }

  #compare() {
    const engine = this.#engine;
    const rival = this.#rival;
    if (rival && !engine.seen && engine.pictures >= TRIAL_PICTURES) {
      // There is no face, or this one finds no face either.
      this.#rival = null;
      this.#engine = rival;
      closeEngine(engine);
      return;
    }
    const blind = !rival && !engine.seen && !this.#blindTried && engine.pictures >= BLIND_PICTURES;
    if (!blind && engine.times.length < SAMPLES) return;
    if (rival) {
      this.#settled = true;
      this.#rival = null;
      const [kept, other] = median(rival.times) < median(engine.times) ? [rival, engine] : [engine, rival];
      console.info(`face tracking: ${Math.round(median(kept.times))} ms on the ${kept.delegate}, ${Math.round(median(other.times))} ms on the ${other.delegate}`);
      this.#engine = kept;
      closeEngine(other);
      return;
    }
    this.#settled = true; // nothing to compare with yet
    this.#blindTried ||= blind;
    if (!blind && median(engine.times) <= QUICK_MS) return;
    engineOf(this.#create, engine.delegate === 'GPU' ? 'CPU' : 'GPU', this.#graphics).then((other) => {
      if (this.#closed || this.#engine !== engine) {
        closeEngine(other);
        return;
      }
      this.#rival = engine;
      this.#engine = other;
      this.#settled = false;
    }, (error) => console.warn('no other way to track faces:', error));
  }
}

/** @param {(delegate: Delegate, canvas: any) => Promise<any>} create @param {Delegate} delegate @param {Graphics} graphics @returns {Promise<Engine>} */
async function engineOf(create, delegate, graphics) {
  const canvas = graphics.canvas();
  return { landmarker: await create(delegate, canvas), delegate, canvas, pictures: 0, seen: false, times: [] };
}

/** @param {Engine} engine */
function lostContext({ canvas, pictures }) {
  // Before the first picture the canvas may have no context yet.
  return pictures > 0 && canvas.getContext('webgl2')?.isContextLost() === true;
}

/** @param {Engine} engine */
function closeEngine({ landmarker }) {
  try {
    landmarker.close?.();
  } catch (error) {
    console.warn('closing the face tracker:', error); // what has failed may fail again
  }
}

/**
 * Loads the library and the model: from the server if its models folder has them,
 * else from jsDelivr and Google.
 * @param {{ server: string, token?: string | null, progress?: (text: string) => void }} options
 *   `server` is the origin of our own server
 * @returns {Promise<Tracker>}
 * @throws {CameraProblem} It lists what was tried
 */
export async function loadTracker({ server, token = null, progress = () => {} }) {
  /** @type {string[]} */
  const tried = [];
  const own = `${server}/models`;

  progress('Loading the face tracker');
  const library = await firstOf(
    [{ at: own, token }, { at: TRACKER_CDN, token: null }],
    (place) => `${place.at}/vision_bundle.mjs`,
    async (place) => {
      const bundle = withToken(`${place.at}/vision_bundle.mjs`, place.token);
      await probe(bundle);
      const module = await import(bundle);
      if (!module.FilesetResolver || !module.FaceLandmarker) throw new Error('the file is not a face tracker');
      const files = { ...await module.FilesetResolver.forVisionTasks(`${place.at}/wasm`) };
      for (const key of ['wasmLoaderPath', 'wasmBinaryPath']) {
        if (!files[key]) continue;
        const url = files[key];
        files[key] = withToken(url, place.token);
        await probe(files[key]).catch((error) => {
          throw new Error(`${new URL(url, server).pathname} next to it: ${reasonOf(error)}`);
        });
      }
      return { module, files };
    },
    tried,
  );
  const missing = (/** @type {string} */ what, /** @type {string} */ files) => new CameraProblem('files', `The face tracker's ${what} could not be loaded. Tried:`, {
    tried,
    advice: `Connect to the Internet, or place ${files} in the folder assets/web/models of the computer that runs FaceLink (another folder: --models DIR).`,
  });
  if (!library) throw missing('software', 'vision_bundle.mjs, wasm/ and face_landmarker.task');
  const { module, files } = library.found;

  const tracker = await firstOf(
    [withToken(`${own}/face_landmarker.task`, token), MODEL_URL],
    (url) => url.split('?')[0],
    async (url) => {
      const model = await download(url, (share) => progress(`Loading the model, ${Math.round(share * 100)} %`));
      const text = textInstead(model);
      if (text) throw new Error(`the file is not a model: ${text}`);
      progress('Starting the face tracker');
      try {
        return await Tracker.start((delegate, canvas) => module.FaceLandmarker.createFromOptions(files, {
          baseOptions: { modelAssetBuffer: model.slice(), delegate },
          canvas,
          runningMode: 'VIDEO',
          numFaces: 1,
          outputFaceBlendshapes: true,
          outputFacialTransformationMatrixes: true,
        }));
      } catch (error) {
        // Whether a file is a model is the library's decision; this only explains it.
        const fault = modelFault(model);
        if (fault) throw new Error(`${fault} (${reasonOf(error)})`, { cause: error });
        throw new CameraProblem('tracker', `The face tracker does not start in this browser: ${reasonOf(error)}`, {
          tried: [`${library.place.at}/vision_bundle.mjs`, url.split('?')[0]],
          advice: 'A current Safari, Chrome, Edge or Firefox can do it. If the files are your own, they may be damaged.',
          cause: error,
        });
      }
    },
    tried,
  );
  if (!tracker) throw missing('model', 'face_landmarker.task');
  return Object.assign(tracker.found, { library: library.place.at, model: tracker.place.split('?')[0] });
}
