// @ts-check
/**
 * The camera card of the page: preview, choice of the camera, calibration,
 * gains. Faces are reported by callbacks; `camera.js` does the tracking.
 *
 * @module camera-panel
 */
import {
  CameraProblem, changedGains, DEFAULT_GAINS, FaceCamera, MAX_GAIN, otherSide, REST_SAMPLES, stemOf, usableGains,
} from './camera.js';

const KEPT = 'facelink.camera';
const FIGURES_MS = 400;
const METERS_MS = 80;

/**
 * @typedef {object} PanelOptions
 * @property {string} server Origin of our server, where the tracker's files may be.
 * @property {string | null} token
 * @property {() => number} fps Highest rate to send.
 * @property {(face: import('./camera.js').Face, time: number) => void} onFace `time`: capture time, Unix ms.
 * @property {() => void} onLost No face in sight; called repeatedly.
 * @property {(on: boolean) => void} onChange The camera was started or stopped.
 * @property {(level: string, text: string) => void} log
 */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
function $(id) {
  const element = document.getElementById(`camera-${id}`);
  if (!element) throw new Error(`no element #camera-${id}`);
  return /** @type {T} */ (element);
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Settings kept from an earlier visit. @returns {any} */
function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? '{}');
    return kept && typeof kept === 'object' ? kept : {};
  } catch {
    return {};
  }
}

/**
 * Says on a card what is wrong and what helps.
 * @param {string} card Its elements' prefix
 * @param {CameraProblem} problem
 * @param {string} server Origin of our server
 */
export async function showTrouble(card, problem, server) {
  /** @param {string} id */
  const part = (id) => /** @type {HTMLElement} */ (document.getElementById(`${card}-${id}`));
  write(part('trouble-what'), problem.message);
  part('trouble-tried').replaceChildren(...problem.tried.map((text) => {
    const item = document.createElement('li');
    item.textContent = text;
    return item;
  }));
  const link = /** @type {HTMLAnchorElement} */ (part('trouble-link'));
  link.hidden = true;
  write(part('trouble-advice'), problem.advice);
  part('trouble').hidden = false;
  write(part('note'), 'Not available');
  if (problem.code !== 'insecure') return;
  // The server may offer HTTPS on the same port.
  const secure = await fetch(new URL('/api/v1/health', server)).then((answer) => answer.json()).catch(() => null);
  if (secure?.https) {
    const url = new URL(location.href);
    url.protocol = 'https:';
    link.href = url.href;
    link.hidden = false;
    write(part('trouble-advice'), `Open ${url.origin} instead. The browser will warn about its certificate, which this server made itself: continue.`);
  } else {
    write(part('trouble-advice'), 'Start the server with HTTPS (facelink listen --lan, or .lan(token) in a game) and open its https:// address.');
  }
}

/** @param {PanelOptions} options */
export function makeCameraPanel({ server, token, fps, onFace, onLost, onChange, log }) {
  const video = /** @type {HTMLVideoElement} */ ($('video'));
  const toggle = $('toggle');
  const choice = /** @type {HTMLSelectElement} */ ($('choice'));
  const mirrorView = /** @type {HTMLInputElement} */ ($('mirror-view'));
  const mirrorFace = /** @type {HTMLInputElement} */ ($('mirror-face'));
  const calibrate = /** @type {HTMLButtonElement} */ ($('calibrate'));
  const reset = /** @type {HTMLButtonElement} */ ($('reset'));
  const advanced = /** @type {HTMLDetailsElement} */ ($('advanced'));

  const kept = recall();
  const camera = new FaceCamera(video, { server, token, fps });
  camera.gains = usableGains(kept.gains);
  camera.mirror = kept.mirrorFace === true;
  mirrorFace.checked = camera.mirror;
  /** The user's setting; null: mirrored unless it is the back camera. @type {boolean | null} */
  let mirrorSetting = typeof kept.mirrorView === 'boolean' ? kept.mirrorView : null;
  /** @type {import('./camera.js').Choice} */
  let chosen = readChoice(kept.camera);
  let on = false;
  let face = false;

  function keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify({
        gains: changedGains(camera.gains), mirrorFace: camera.mirror, mirrorView: mirrorSetting, camera: chosen,
      }));
    } catch { /* private window: not kept */ }
  }

  // ---- on and off ---------------------------------------------------------------

  /** @param {boolean} now */
  function show(now) {
    const changed = now !== on;
    on = now;
    toggle.setAttribute('aria-pressed', String(on));
    write($('toggle-text'), on ? 'Stop the camera' : 'Use this camera');
    $('view').hidden = !on;
    $('tools').hidden = !on;
    $('hint').hidden = on;
    if (!on) {
      write($('note'), 'Off');
      $('badge').hidden = true;
      $('frame').hidden = true;
      write($('figures'), '');
    }
    if (changed) onChange(on);
  }

  /** @param {string | null} text Null to hide it */
  function wait(text) {
    $('wait').hidden = text === null;
    if (text !== null) {
      write($('wait-text'), text);
      write($('note'), 'Starting');
    }
  }

  async function start() {
    $('trouble').hidden = true;
    show(true);
    face = false;
    wait('Opening the camera');
    try {
      if (!await camera.start(chosen)) return; // stopped, or another was chosen, meanwhile
    } catch (error) {
      show(false);
      await showProblem(/** @type {CameraProblem} */ (error));
      return;
    }
    wait('Looking for a face');
    const tracker = camera.tracker;
    log('info', `camera: tracker of ${tracker?.library}, model of ${tracker?.model}, on the ${tracker?.delegate}`);
    await listCameras();
    showMirror();
  }

  function stop() {
    camera.stop();
    show(false);
  }

  toggle.addEventListener('click', () => {
    if (on) stop();
    else void start();
  });

  /** @param {CameraProblem} problem */
  async function showProblem(problem) {
    log('warn', `camera: ${problem.message} ${problem.tried.join('; ')}`);
    await showTrouble('camera', problem, server);
  }

  camera.onProgress = (text) => wait(text);
  camera.onProblem = (problem) => {
    show(false);
    void showProblem(problem);
  };

  // ---- faces --------------------------------------------------------------------

  camera.onFace = (found, time) => {
    if (!face) {
      face = true;
      wait(null);
      const badge = $('badge');
      badge.hidden = false;
      badge.className = 'badge';
      write(badge, 'Face found');
      write($('note'), 'Tracking');
    }
    drawFrame(found.box);
    onFace(found, time);
    meters(found.shapes);
  };

  camera.onLost = () => {
    if (face || $('badge').hidden) {
      face = false;
      wait(null);
      const badge = $('badge');
      badge.hidden = false;
      badge.className = 'badge lost';
      write(badge, 'No face');
      write($('note'), 'No face');
      $('frame').hidden = true;
    }
    onLost();
  };

  /** @param {import('./camera.js').Face['box']} box */
  function drawFrame(box) {
    const frame = $('frame');
    frame.hidden = !box;
    if (!box) return;
    const x = mirrorView.checked ? 1 - box.x - box.width : box.x;
    frame.style.left = `${(x * 100).toFixed(2)}%`;
    frame.style.top = `${(box.y * 100).toFixed(2)}%`;
    frame.style.width = `${(box.width * 100).toFixed(2)}%`;
    frame.style.height = `${(box.height * 100).toFixed(2)}%`;
  }

  video.addEventListener('resize', () => {
    if (video.videoWidth) video.parentElement?.style.setProperty('--ratio', String(video.videoWidth / video.videoHeight));
  });

  setInterval(() => {
    if (!on || !camera.tracker || document.visibilityState === 'hidden') return;
    const f = camera.figures();
    write($('figures'), `${f.fps} fps${f.cameraFps > f.fps + 1 ? ` of ${f.cameraFps}` : ''} · ${f.inferenceMs.toFixed(f.inferenceMs < 10 ? 1 : 0)} ms ${f.delegate} · ${f.width} × ${f.height}`);
  }, FIGURES_MS);

  // ---- choice of the camera ---------------------------------------------------------------

  /** @param {any} value @returns {import('./camera.js').Choice} */
  function readChoice(value) {
    if (typeof value?.deviceId === 'string') return { deviceId: value.deviceId };
    return value?.facing === 'environment' ? { facing: 'environment' } : { facing: 'user' };
  }

  /** Browsers give names only after a camera was allowed. */
  async function listCameras() {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === 'videoinput' && d.deviceId);
    const now = camera.settings;
    const phone = now.facingMode === 'user' || now.facingMode === 'environment' || matchMedia('(pointer: coarse)').matches;
    const options = [
      ...(phone || devices.length === 0 ? [['user', 'Front camera'], ['environment', 'Back camera']] : []),
      ...(devices.length > 1 || !phone ? devices.map((d, i) => [`:${d.deviceId}`, d.label || `Camera ${i + 1}`]) : []),
    ];
    choice.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    const wanted = chosen.deviceId ? `:${chosen.deviceId}` : phone ? chosen.facing ?? 'user' : `:${now.deviceId}`;
    choice.value = options.some(([value]) => value === wanted) ? wanted : `:${now.deviceId}`;
    choice.disabled = options.length < 2;
  }

  choice.addEventListener('change', () => {
    chosen = choice.value.startsWith(':') ? { deviceId: choice.value.slice(1) } : readChoice({ facing: choice.value });
    keep();
    if (on) void start();
  });
  navigator.mediaDevices?.addEventListener?.('devicechange', () => {
    if (camera.running) void listCameras();
  });

  // ---- mirrors --------------------------------------------------------------------

  function showMirror() {
    mirrorView.checked = mirrorSetting ?? camera.settings.facingMode !== 'environment';
    video.classList.toggle('mirrored', mirrorView.checked);
  }
  mirrorView.addEventListener('change', () => {
    mirrorSetting = mirrorView.checked;
    keep();
    showMirror();
  });
  mirrorFace.addEventListener('change', () => {
    camera.mirror = mirrorFace.checked;
    keep();
  });

  // ---- the neutral face -----------------------------------------------------------

  calibrate.addEventListener('click', async () => {
    calibrate.disabled = true;
    write($('calibrate-note'), 'Hold still and look at the camera …');
    try {
      await camera.calibrate();
      reset.disabled = false;
      write($('calibrate-note'), `Calibrated: this face is neutral now, and the head looks straight ahead (${REST_SAMPLES} video frames).`);
      log('info', 'camera: calibrated');
    } catch (error) {
      write($('calibrate-note'), `Not calibrated: ${/** @type {Error} */ (error).message}.`);
    } finally {
      calibrate.disabled = false;
    }
  });
  reset.addEventListener('click', () => {
    camera.reset();
    reset.disabled = true;
    write($('calibrate-note'), 'The calibration was removed.');
  });

  // ---- gains ----------------------------------------------------------------------

  /** @typedef {{ names: string[], input: HTMLInputElement, output: HTMLElement, row: HTMLElement, meter: HTMLElement }} Gain */
  /** @type {Gain[]} */
  const rows = [];
  const stems = new Map();
  for (const name of Object.keys(DEFAULT_GAINS)) stems.set(stemOf(name), [...(stems.get(stemOf(name)) ?? []), name]);
  // The highest default gains first.
  const order = [...stems].sort(([, [a]], [, [b]]) => DEFAULT_GAINS[b] - DEFAULT_GAINS[a]);
  for (const [stem, names] of order) rows.push(makeGain(stem, names));
  $('gains').replaceChildren(...rows.map((gain) => gain.row));

  /** @param {string} stem @param {string[]} names @returns {Gain} */
  function makeGain(stem, names) {
    const row = document.createElement('div');
    row.className = 'slider gain';
    const label = document.createElement('label');
    label.textContent = stem;
    label.title = names.join(', ');
    const input = document.createElement('input');
    input.type = 'range';
    input.id = `camera-gain-${stem}`;
    input.min = '0';
    input.max = String(MAX_GAIN);
    input.step = '0.1';
    label.htmlFor = input.id;
    const output = document.createElement('output');
    output.setAttribute('for', input.id);
    const meter = document.createElement('span');
    meter.className = 'meter';
    meter.setAttribute('aria-hidden', 'true');
    row.append(label, input, output, meter);
    const gain = { names, input, output, row, meter };
    input.addEventListener('input', () => {
      for (const name of names) camera.gains[name] = Number(input.value);
      showGain(gain);
      keep();
    });
    input.addEventListener('dblclick', () => {
      for (const name of names) camera.gains[name] = DEFAULT_GAINS[name];
      showGain(gain);
      keep();
    });
    showGain(gain);
    return gain;
  }

  /** @param {Gain} gain */
  function showGain({ names, input, output, row }) {
    const value = camera.gains[names[0]];
    input.value = String(value);
    input.style.setProperty('--v', String(value / MAX_GAIN));
    write(output, `× ${value.toFixed(1)}`);
    row.classList.toggle('pinned', names.some((name) => camera.gains[name] !== DEFAULT_GAINS[name]));
    const changed = Object.keys(changedGains(camera.gains)).length;
    write($('gains-note'), changed ? `${changed} changed` : '');
  }

  $('gains-reset').addEventListener('click', () => {
    camera.gains = usableGains(null);
    for (const gain of rows) showGain(gain);
    keep();
  });

  let lastMeters = 0;
  /** @param {import('./facelink.js').Blendshapes} shapes */
  function meters(shapes) {
    const now = performance.now();
    if (!advanced.open || now - lastMeters < METERS_MS) return;
    lastMeters = now;
    for (const { names, meter } of rows) {
      meter.style.setProperty('--v', Math.max(...names.map((name) => shapes[camera.mirror ? otherSide(name) : name])).toFixed(3));
    }
  }

  showMirror();
  return { camera, start, stop, get on() { return on; } };
}
