// @ts-check
/**
 * FaceLink's page: the camera, a synthetic performer, 55 sliders, a preview,
 * plots, the list of live subjects and a log. The connection itself is
 * facelink.js, the camera camera-panel.js, the microphone speech-panel.js.
 *
 * URL parameters: `camera=1`, `microphone=1`, `perform=1`, `subject=Ann`, `webrtc=0|1`, `relay=1` (only
 * through TURN), `binary=float32|json`, `debug=1`, `token=...`,
 * `server=ws://host:port`. With `#k=...` faces are sealed with that key, end to end.
 */
import { gazeOf } from './camera.js';
import { makeCameraPanel } from './camera-panel.js';
import {
  ARKIT_NAMES, FacialAnimationWebRTCClient, headAngles, headQuaternion, samplePerformance,
} from './facelink.js';
import { makePicturePanel } from './picture-panel.js';
import { makeSpeechPanel } from './speech-panel.js';

/** @typedef {ReturnType<typeof import('./camera-panel.js').makeCameraPanel>} CameraPanel */
/** @typedef {ReturnType<typeof import('./speech-panel.js').makeSpeechPanel>} SpeechPanel */
/** @typedef {import('./camera.js').Face} Face */
/** @typedef {import('./facelink.js').Blendshapes} Blendshapes */
/** @typedef {{ yaw: number, pitch: number, roll: number }} HeadAngles Radians; + left, + up */

const SAMPLE_FPS = 60; // of the performer; the client thins frames to the target rate
const HISTORY_S = 30;
const PLOT_MS = 250;
const DEGREE = Math.PI / 180;

if (typeof document === 'undefined') workerClock();
else void open();

/** With a key in the address, the page has no client but one that seals. */
async function open() {
  const key = new URLSearchParams(location.hash.slice(1)).get('k');
  if (!key) {
    start((server, options) => new FacialAnimationWebRTCClient(server, options), false);
    return;
  }
  try {
    const { SealedClient } = await import('./seal.js');
    start((server, options) => new SealedClient(server, { ...options, key }), true);
  } catch (error) {
    $('alert-text').textContent = `This link's faces are encrypted end to end, and that does not work here: ${error instanceof Error ? error.message : error}`;
    $('alert').hidden = false;
  }
}

/**
 * This file run as a worker: a timer that keeps its rate while the page is in
 * the background, where a page's own timers are throttled to one a second.
 */
function workerClock() {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  self.onmessage = (event) => {
    clearTimeout(timer);
    const fps = Number(event.data);
    if (!(fps > 0)) return;
    const period = 1000 / fps;
    let due = performance.now() + period;
    const tick = () => {
      self.postMessage(0);
      due = Math.max(due + period, performance.now());
      timer = setTimeout(tick, due - performance.now());
    };
    timer = setTimeout(tick, period);
  };
}

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
function $(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return /** @type {T} */ (element);
}

/** @param {string} tag @param {string} [className] @param {string} [text] */
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {(server: string | undefined, options: import('./facelink.js').ClientOptions) => FacialAnimationWebRTCClient} makeClient @param {boolean} sealed */
function start(makeClient, sealed) {
  const params = new URLSearchParams(location.search);
  const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
  /** @param {string} name @param {boolean} fallback */
  const flag = (name, fallback) => {
    const value = params.get(name);
    return value === null ? fallback : !/^(0|false|off|no)$/i.test(value);
  };

  // ---- log --------------------------------------------------------------------
  const logBox = $('log');
  /** @type {string[]} */
  const logLines = [];
  /** @param {'debug' | 'info' | 'warn' | string} level @param {string} text */
  const log = (level, text) => {
    const time = new Date().toLocaleTimeString('en-GB');
    logLines.push(`${time} ${level} ${text}`);
    const line = make('p', level);
    line.append(make('time', '', time), make('span', '', text));
    const atEnd = logBox.scrollHeight - logBox.scrollTop - logBox.clientHeight < 30;
    logBox.append(line);
    while (logLines.length > 400) {
      logLines.shift();
      logBox.firstElementChild?.remove();
    }
    if (atEnd) logBox.scrollTop = logBox.scrollHeight;
  };
  $('copy').addEventListener('click', async () => {
    const text = `${logLines.join('\n')}\n${JSON.stringify(client.getStats())}\n${navigator.userAgent}\n`;
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      // Pages over plain http have no clipboard API.
      const area = document.createElement('textarea');
      area.value = text;
      area.className = 'sr';
      document.body.append(area);
      area.select();
      done = document.execCommand('copy');
      area.remove();
      $('copy').focus();
    }
    write($('copy'), done ? 'Copied' : 'Select the text to copy');
    setTimeout(() => write($('copy'), 'Copy'), 1600);
  });

  // ---- client -----------------------------------------------------------------
  /**
   * The server that the link names, if it is this page's own or the user agrees: a link of a stranger must not take the
   * face elsewhere.
   */
  function namedServer() {
    const named = params.get('server');
    if (!named) return undefined;
    let host = named;
    try {
      host = new URL(named.includes('://') ? named : `ws://${named}`).host;
    } catch { /* The client says what is wrong with it. */ }
    const question = `This link sends your face to ${host}, not to ${location.host}, where the page is from. Connect to ${host}?`;
    return host === location.host || confirm(question) ? named : undefined;
  }
  const server = namedServer();
  const stateNames = {
    idle: 'Not connected', connecting: 'Connecting', connected: 'Connected',
    reconnecting: 'Reconnecting', failed: 'Not connected', closed: 'Disconnected',
  };
  const debugBox = /** @type {HTMLInputElement} */ ($('debug'));
  const webrtcBox = /** @type {HTMLInputElement} */ ($('webrtc'));
  const subjectBox = /** @type {HTMLInputElement} */ ($('subject'));
  debugBox.checked = flag('debug', false);
  webrtcBox.checked = flag('webrtc', true);
  subjectBox.value = params.get('subject') ?? recall('facelink.subject') ?? '';
  /** @type {string | null} */
  let watching = null;
  /** @type {FacialAnimationWebRTCClient} */
  let client = newClient();
  /** For the console and for tests. @type {{ client: typeof client, panel?: CameraPanel, speech?: SpeechPanel, picture?: ReturnType<typeof makePicturePanel> }} */
  const facelink = { client };
  /** @type {any} */ (window).facelink = facelink;

  function newClient() {
    const asked = params.get('binary');
    const binary = asked === 'float32' || asked === 'json' ? asked : undefined;
    const c = makeClient(server, {
      subject: subjectBox.value.trim() || undefined,
      webrtc: webrtcBox.checked,
      iceTransportPolicy: flag('relay', false) ? 'relay' : 'all',
      ...(binary ? { binary } : null),
      debug: debugBox.checked,
      client: 'facelink-page/1',
    });
    c.onLog = log;
    c.onStateChange = showState;
    c.onTransportChange = () => {
      path = null;
      showFacts();
      void look();
    };
    c.onError = (error) => {
      if (error.code === 'webrtc' && c.transport !== 'none') return; // frames flow over the WebSocket
      if (c.state === 'reconnecting' && error.code !== 'unauthorized') {
        // The client reconnects by itself: shown on the connection card instead of an alert.
        write($('link-note'), error.message);
        $('link-note').hidden = false;
      } else showAlert(error.message);
    };
    c.onBlendshapeUpdate = (data, raw, message) => {
      const name = message.subject ?? watching;
      const card = cards.get(name);
      if (!card) return;
      card.live = Object.keys(raw).length ? raw : data;
      card.liveHead = angles(message.head);
      card.dirty = true;
      wake();
    };
    c.unsubscribe(); // until a subject is watched
    return c;
  }

  /** The page's token, where the client talks to the page's own server. */
  function pageToken() {
    return new URL(client.url).host === location.host ? params.get('token') : null;
  }

  function connect() {
    hideAlert();
    write($('server'), client.url.replace(/^wss?:\/\//, ''));
    client.connect().catch(() => {}); // onError shows it
  }

  function restart() {
    client.close();
    client = facelink.client = newClient();
    if (watching) client.subscribe({ subject: watching, maxFps: 30 }); // sent once it is connected
    connect();
  }

  /** @param {string} state */
  function showState(state) {
    $('state').dataset.state = state;
    write($('state-text'), stateNames[/** @type {keyof typeof stateNames} */ (state)] ?? state);
    if (state !== 'reconnecting') $('link-note').hidden = true;
    if (state === 'connected') hideAlert();
    const on = state === 'connected' || state === 'connecting' || state === 'reconnecting';
    write($('disconnect'), on ? 'Disconnect' : 'Connect');
    showFacts();
  }

  /** @param {string} text */
  function showAlert(text) {
    write($('alert-text'), text);
    $('alert').hidden = false;
  }
  function hideAlert() {
    $('alert').hidden = true;
  }

  $('alert-retry').addEventListener('click', restart);
  $('disconnect').addEventListener('click', () => {
    if (client.state === 'closed' || client.state === 'failed' || client.state === 'idle') restart();
    else client.close();
  });
  $('subject-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = subjectBox.value.trim();
    keep('facelink.subject', name);
    if (name) client.setSubject(name);
    else restart();
    log('info', name ? `subject: ${name}` : 'subject: given by the server');
    subjectBox.blur();
  });
  webrtcBox.addEventListener('change', restart);
  debugBox.addEventListener('change', () => {
    client.debug = debugBox.checked;
    log('info', `debug ${debugBox.checked ? 'on: details here and in the console' : 'off'}`);
  });

  /** The path that ICE chose, while there is one. @type {import('./facelink.js').ConnectionInfo | null} */
  let path = null;
  let looking = false;
  /** Updates ICE's choice and the server's stats. */
  async function look() {
    if (looking || document.visibilityState === 'hidden' || client.transport === 'none') return;
    looking = true;
    const of = client;
    try {
      const info = await of.getConnectionInfo();
      if (of === client) path = info.transport === 'webrtc' ? info : null;
      await of.requestStats();
    } catch {
      // No answer; asked again in 2 s.
    } finally {
      looking = false;
    }
    if (of === client) showFacts();
  }
  setInterval(look, 2000);

  function showFacts() {
    const s = client.getStats();
    const transport = $('f-transport');
    const away = s.state === 'reconnecting';
    write(transport, away ? 'None' : { webrtc: 'WebRTC', websocket: 'WebSocket', none: 'None' }[s.transport]);
    transport.className = away ? 'none' : { webrtc: 'good', websocket: 'fair', none: 'none' }[s.transport];
    write($('f-path'), away ? 'reconnecting'
      : s.transport === 'webrtc' ? (s.hedging ? 'silent' : path?.protocol ? `${path.relayed ? 'relayed' : 'direct'}, ${path.protocol.toUpperCase()}` : '')
        : s.transport === 'websocket' ? 'TCP' : '');
    $('signal-note').hidden = s.signalling !== 'http';
    write($('f-latency'), s.averageLatencyMs && !away ? s.averageLatencyMs.toFixed(s.averageLatencyMs < 10 ? 1 : 0) : '–');
    write($('f-jitter'), s.jitterMs === null ? '–' : s.jitterMs.toFixed(1));
    write($('f-loss'), s.loss === null ? '–' : (s.loss * 100).toFixed(1));
    write($('f-fps'), String(s.currentFPS));
    write($('f-target'), `of ${Math.round(s.targetFPS)} fps`);
    write($('f-rate'), (s.bytesPerSecond / 1000).toFixed(1));
    write($('f-sent'), s.framesSent.toLocaleString('en'));
    write($('f-dropped'), s.dropped.toLocaleString('en'));
    write($('f-reconnects'), s.reconnects.toLocaleString('en'));
  }

  // ---- frames sent ------------------------------------------------------------
  /** @type {Blendshapes} */
  const neutral = Object.fromEntries(ARKIT_NAMES.map((name) => [name, 0]));
  /** Values of the sliders that the user holds, by name. @type {Map<string, number>} */
  const pins = new Map();
  /** @type {Blendshapes} */
  let shapes = { ...neutral };
  /** @type {HeadAngles} */
  let head = { yaw: 0, pitch: 0, roll: 0 };
  let performing = false;
  let streaming = false;
  let awake = false;
  let epoch = 0;
  const setTickRate = makeTicker(tick);
  let tickRate = 0;
  /** @type {CameraPanel | null} */
  let panel = null;
  /** @type {SpeechPanel | null} */
  let speech = null;
  /** The face of the camera's last video frame; null without one. @type {Face | null} */
  let seen = null;
  const filming = () => panel !== null && panel.on;

  function tick() {
    if (!streaming || filming()) return;
    pose();
    client.sendARKitData(shapes, { head: { rotation: headQuaternion(head.yaw, head.pitch, head.roll) } });
    wake();
  }

  /** Sends a face of the camera; its frame rate is that of the stream. @param {Face} face @param {number} time Unix ms */
  function film(face, time) {
    if (!seen) {
      seen = face;
      update();
    }
    seen = face;
    pose();
    const turned = ['yaw', 'pitch', 'roll'].some((name) => pins.has(name));
    const rotation = turned ? headQuaternion(head.yaw, head.pitch, head.roll) : face.head?.rotation;
    // In formats other than facelink1 a position makes every frame JSON.
    const position = params.get('binary') ? undefined : face.head?.position;
    client.sendARKitData(shapes, { head: rotation ? { rotation, position } : null, gaze: gazeOf(shapes), timestamp: time });
    wake();
  }

  /** The camera sees no face. */
  function unseen() {
    client.sendARKitData({}, { tracked: false });
    if (!seen) return;
    seen = null;
    update();
  }

  /** The current face: the camera's or the performer's, with the held sliders on top. */
  function pose() {
    if (seen) {
      shapes = { ...seen.shapes };
      head = angles(seen.head);
    } else if (performing) {
      const sample = samplePerformance((performance.now() - epoch) / 1000);
      shapes = sample.blendshapes;
      head = angles(sample.head);
    } else {
      shapes = { ...neutral };
      head = { yaw: 0, pitch: 0, roll: 0 };
    }
    for (const [name, value] of pins) {
      if (name in neutral) shapes[name] = value;
      else head[/** @type {keyof HeadAngles} */ (name)] = value * DEGREE;
    }
  }

  /** Streams while the camera is on, the performer plays or a slider is held. */
  function update() {
    const on = performing || pins.size > 0 || filming();
    const rate = on && !filming() ? SAMPLE_FPS : 0;
    if (rate !== tickRate) setTickRate(tickRate = rate);
    if (on !== streaming) {
      streaming = on;
      if (!on) client.sendARKitData(neutral, { tracked: false });
    }
    if (awake !== (on || speech?.on === true)) {
      awake = !awake;
      void keepScreenOn(awake);
    }
    pose();
    write($('stage-note'), filming() ? (seen ? (pins.size ? 'From the camera, sliders held' : 'From the camera') : 'No face in sight') : performing ? (pins.size ? 'Performing, sliders held' : 'Performing') : streaming ? 'Streaming the sliders' : speech?.on ? 'At rest, mouth from sound' : 'Neutral');
    write($('slider-note'), pins.size ? `${pins.size} held` : '');
    wake();
  }

  /** @param {boolean} on */
  function perform(on) {
    if (on && filming()) panel?.stop();
    performing = on;
    epoch = performance.now();
    $('perform').setAttribute('aria-pressed', String(on));
    write($('perform-text'), on ? 'Stop performing' : 'Perform');
    update();
  }
  $('perform').addEventListener('click', () => perform(!performing));

  /** @type {any} */
  let wakeLock = null;
  /** Keeps a phone from sleeping while it streams. @param {boolean} on */
  async function keepScreenOn(on) {
    try {
      if (on && !wakeLock) wakeLock = await /** @type {any} */ (navigator).wakeLock?.request('screen');
      else if (!on && wakeLock) {
        await wakeLock.release();
        wakeLock = null;
      }
    } catch {
      wakeLock = null; // not allowed on this page
    }
  }
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible') return;
    wakeLock = null;
    if (awake) void keepScreenOn(true);
    wake();
  });

  // ---- sliders ----------------------------------------------------------------
  const regions = [
    ['Eyes', /^eye/], ['Brows', /^brow/], ['Jaw', /^jaw/], ['Mouth', /^mouth/],
    ['Cheeks and nose', /^(cheek|nose)/], ['Tongue', /^tongue/],
  ];
  /** @typedef {{ name: string, row: HTMLElement, input: HTMLInputElement, output: HTMLElement, free: HTMLButtonElement, min: number, max: number, text: string }} Slider */
  /** @type {Map<string, Slider>} */
  const sliders = new Map();
  const linkedBox = /** @type {HTMLInputElement} */ ($('linked'));
  const wideScreen = matchMedia('(min-width: 700px)').matches;
  const groups = regions.map(([title, pattern]) => makeGroup(
    /** @type {string} */ (title),
    ARKIT_NAMES.filter((name) => /** @type {RegExp} */ (pattern).test(name)),
    wideScreen || title === 'Jaw',
  ));
  groups.push(makeGroup('Head', ['yaw', 'pitch', 'roll'], wideScreen));

  /** @param {string} title @param {readonly string[]} names @param {boolean} open */
  function makeGroup(title, names, open) {
    const details = /** @type {HTMLDetailsElement} */ (make('details', 'group'));
    details.open = open;
    const summary = make('summary');
    summary.append(make('span', '', title), make('span', 'note', String(names.length)));
    const rows = make('div', 'rows');
    details.append(summary, rows);
    for (const name of names) rows.append(makeSlider(name));
    $('groups').append(details);
    return details;
  }

  /** @param {string} name */
  function makeSlider(name) {
    const isHead = !(name in neutral);
    const row = make('div', 'slider');
    const label = /** @type {HTMLLabelElement} */ (make('label', '', isHead ? { yaw: 'turn (+ left)', pitch: 'nod (+ up)', roll: 'tilt' }[name] : name));
    label.title = label.textContent ?? '';
    const input = document.createElement('input');
    input.type = 'range';
    input.id = `s-${name}`;
    label.htmlFor = input.id;
    const max = isHead ? { yaw: 60, pitch: 40, roll: 40 }[name] ?? 60 : 1;
    const min = isHead ? -max : 0;
    input.min = String(min);
    input.max = String(max);
    input.step = isHead ? '1' : '0.01';
    input.value = '0';
    const output = make('output');
    output.setAttribute('for', input.id);
    output.textContent = isHead ? '0°' : '0.00';
    const free = /** @type {HTMLButtonElement} */ (make('button', 'free', '×'));
    free.type = 'button';
    free.hidden = true;
    free.title = 'Let go (Delete)';
    free.setAttribute('aria-label', `Let go of ${label.textContent}`);
    input.setAttribute('aria-keyshortcuts', 'Delete');
    const value = make('div', 'value');
    value.append(output, free);
    row.append(label, input, value);
    /** @type {Slider} */
    const slider = { name, row, input, output, free, min, max, text: '' };
    sliders.set(name, slider);
    show(slider, 0);
    input.addEventListener('input', () => {
      hold(name, Number(input.value));
      const other = linkedBox.checked ? partner(name) : null;
      if (other) hold(other, Number(input.value));
      update();
    });
    input.addEventListener('dblclick', () => release(name));
    input.addEventListener('keydown', (event) => {
      if (event.key !== 'Delete' && event.key !== 'Backspace' && event.key !== 'Escape') return;
      event.preventDefault();
      release(name);
    });
    free.addEventListener('click', () => {
      input.focus(); // the button goes
      release(name);
    });
    return row;
  }

  /** Lets a slider go, and its linked one. @param {string} name */
  function release(name) {
    const other = linkedBox.checked ? partner(name) : null;
    for (const each of [name, ...(other ? [other] : [])]) {
      const slider = sliders.get(each);
      if (!pins.delete(each) || !slider) continue;
      slider.row.classList.remove('pinned');
      slider.free.hidden = true;
    }
    update();
    showSliders();
  }

  /** @param {string} name @param {number} value */
  function hold(name, value) {
    pins.set(name, value);
    const slider = sliders.get(name);
    if (slider) {
      slider.row.classList.add('pinned');
      slider.free.hidden = false;
      show(slider, value);
    }
  }

  /** The shape of the other side; both eyes look in the same direction. @param {string} name */
  function partner(name) {
    const m = /^(.+)(Left|Right)$/.exec(name);
    if (!m || m[1] === 'jaw' || m[1] === 'mouth') return null;
    const stem = { eyeLookIn: 'eyeLookOut', eyeLookOut: 'eyeLookIn' }[m[1]] ?? m[1];
    return stem + (m[2] === 'Left' ? 'Right' : 'Left');
  }

  /** @param {Slider} slider @param {number} value */
  function show(slider, value) {
    const isHead = slider.min < 0;
    const text = isHead ? `${Math.round(value)}°` : value.toFixed(2);
    if (text === slider.text) return;
    slider.text = text;
    slider.output.textContent = text;
    slider.input.value = String(value);
    if (isHead) slider.input.setAttribute('aria-valuetext', `${Math.round(value)} degrees`);
    slider.input.style.setProperty('--v', ((value - slider.min) / (slider.max - slider.min)).toFixed(3));
    slider.input.style.setProperty('--from', isHead ? '0.5' : '0');
    slider.row.classList.toggle('active', Math.abs(value) > 0.005);
  }

  function showSliders() {
    for (const slider of sliders.values()) {
      if (document.activeElement === slider.input && pins.has(slider.name)) continue;
      show(slider, slider.name in neutral ? shapes[slider.name] : head[/** @type {keyof HeadAngles} */ (slider.name)] / DEGREE);
    }
  }

  $('reset').addEventListener('click', () => {
    pins.clear();
    for (const slider of sliders.values()) {
      slider.row.classList.remove('pinned');
      slider.free.hidden = true;
    }
    update();
    showSliders();
  });

  const filterBox = /** @type {HTMLInputElement} */ ($('filter'));
  /** @type {boolean[] | null} */
  let openBefore = null;
  filterBox.addEventListener('input', () => {
    const words = filterBox.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !openBefore) openBefore = groups.map((g) => g.open);
    let any = false;
    groups.forEach((group, i) => {
      let here = false;
      for (const slider of sliders.values()) {
        if (!group.contains(slider.row)) continue;
        const text = `${slider.name} ${group.querySelector('summary span')?.textContent}`.toLowerCase();
        const matches = words.every((w) => text.includes(w));
        slider.row.hidden = !matches;
        here ||= matches;
      }
      group.hidden = !here;
      if (words.length) group.open = here;
      else if (openBefore) group.open = openBefore[i];
      any ||= here;
    });
    if (!words.length) openBefore = null;
    $('filter-empty').hidden = any;
  });

  // ---- drawing ----------------------------------------------------------------
  const faceCanvas = /** @type {HTMLCanvasElement} */ ($('face'));
  let slidersSeen = true;
  let faceSeen = true;
  if ('IntersectionObserver' in window) {
    const seen = new IntersectionObserver((entries) => {
      for (const e of entries) {
        if (e.target === faceCanvas) faceSeen = e.isIntersecting;
        else slidersSeen = e.isIntersecting;
      }
      wake();
    });
    seen.observe(faceCanvas);
    seen.observe($('sliders'));
  }
  let drawPending = false;
  let lastSliders = 0;
  let lastFace = 0;

  function wake() {
    if (drawPending || document.visibilityState === 'hidden') return;
    drawPending = true;
    requestAnimationFrame(draw);
  }

  /** @param {number} now */
  function draw(now) {
    drawPending = false;
    const pause = reducedMotion.matches ? 240 : 0; // reduced motion: a few frames a second
    if (now - lastFace >= pause) {
      lastFace = now;
      if (faceSeen) drawFace(faceCanvas, shapes, reducedMotion.matches ? { yaw: 0, pitch: 0, roll: 0 } : head);
      for (const card of cards.values()) {
        if (!card.dirty) continue;
        card.dirty = false;
        drawFace(card.canvas, card.live ?? card.shapes, reducedMotion.matches ? undefined : card.liveHead ?? card.head);
      }
    } else setTimeout(wake, pause);
    if (slidersSeen && now - lastSliders > 66) {
      lastSliders = now;
      showSliders();
    }
  }
  new ResizeObserver(() => {
    lastFace = 0;
    wake();
  }).observe(faceCanvas);

  // ---- plots ------------------------------------------------------------------
  /** @type {{ at: number, latency: number | null, fps: number | null }[]} */
  const history = [];
  function sample() {
    const s = client.getStats();
    const at = performance.now() / 1000;
    history.push({ at, latency: (s.state === 'connected' && s.averageLatencyMs) || null, fps: s.transport === 'none' ? null : s.currentFPS });
    while (history.length && at - history[0].at > HISTORY_S + 1) history.shift();
    showFacts();
    plots();
  }
  function plots() {
    if (document.visibilityState === 'hidden') return;
    const at = performance.now() / 1000;
    drawPlot(/** @type {HTMLCanvasElement} */ ($('plot-latency')), history.map((h) => [h.at - at, h.latency]), '#7cb7ff', 4, 'ms');
    drawPlot(/** @type {HTMLCanvasElement} */ ($('plot-fps')), history.map((h) => [h.at - at, h.fps]), '#5eead4', Math.max(60, client.targetFps), 'fps', client.targetFps);
  }
  setInterval(sample, PLOT_MS);
  addEventListener('resize', plots);

  // ---- live subjects ----------------------------------------------------------
  /** @typedef {{ item: HTMLElement, canvas: HTMLCanvasElement, name: HTMLElement, meta: HTMLElement, badge: HTMLElement, button: HTMLElement, shapes: Blendshapes, head?: HeadAngles, live?: Blendshapes, liveHead?: HeadAngles, dirty: boolean }} Card */
  /** @type {Map<string, Card>} */
  const cards = new Map();

  /** @param {string} name */
  function makeCard(name) {
    const item = make('li', 'subject');
    const canvas = document.createElement('canvas');
    canvas.setAttribute('aria-hidden', 'true');
    const button = make('button', 'quiet', 'Watch');
    button.setAttribute('type', 'button');
    button.setAttribute('aria-pressed', 'false');
    button.setAttribute('aria-label', `Watch ${name} live`);
    button.addEventListener('click', () => watch(watching === name ? null : name));
    /** @type {Card} */
    const card = { item, canvas, name: make('span', 'name', name), meta: make('span', 'meta'), badge: make('span', 'badge'), button, shapes: {}, dirty: true };
    item.append(canvas, card.name, card.meta, card.badge, button);
    $('subjects').append(item);
    cards.set(name, card);
    return card;
  }

  /** The viewer of this page's server, with the face that is watched. */
  function linkViewer() {
    const more = new URLSearchParams();
    const token = params.get('token');
    if (token) more.set('token', token);
    if (watching) more.set('subject', watching);
    /** @type {HTMLAnchorElement} */ ($('viewer')).href = `view${String(more) && `?${more}`}${location.hash}`;
  }
  linkViewer();

  /** @param {string | null} name */
  function watch(name) {
    if (watching) client.unsubscribe();
    watching = name;
    if (name) client.subscribe({ subject: name, maxFps: 30 });
    for (const [n, card] of cards) {
      card.live = card.liveHead = undefined;
      card.button.setAttribute('aria-pressed', String(n === name));
      write(card.button, n === name ? 'Watching' : 'Watch');
    }
    linkViewer();
  }

  /**
   * Asks the server of the faces; throws the server's words where it refuses.
   * @param {string} path @param {{ method?: string, body?: object }} [request]
   */
  async function ask(path, { method = 'GET', body } = {}) {
    const url = new URL(`/api/v1/${path}`, client.url.replace(/^ws/, 'http'));
    const token = pageToken();
    if (token) url.searchParams.set('token', token);
    const abort = new AbortController();
    // The end of a take waits for phones that record too.
    const timer = setTimeout(() => abort.abort(), method === 'GET' ? 3000 : 8000);
    try {
      const answer = await fetch(url, {
        method, cache: 'no-store', credentials: 'omit', signal: abort.signal,
        ...(body ? { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : null),
      });
      const said = answer.status === 204 ? null : await answer.json().catch(() => null);
      if (answer.ok) return said;
      throw new Refusal(answer.status === 401 || answer.status === 403 ? 'The token was refused'
        : said?.error?.message ?? `HTTP ${answer.status}`);
    } finally {
      clearTimeout(timer);
    }
  }

  let polling = false;
  async function poll() {
    if (polling || document.visibilityState === 'hidden' || client.state === 'failed') return;
    polling = true;
    try {
      const body = await ask('subjects');
      showSubjects(Array.isArray(body.subjects) ? body.subjects : []);
    } catch (error) {
      write($('monitor-note'), error instanceof Refusal ? error.message : 'The server does not answer');
      for (const card of cards.values()) card.badge.className = 'badge lost';
    } finally {
      polling = false;
    }
  }

  /** @param {any[]} subjects */
  function showSubjects(subjects) {
    const alive = new Set();
    for (const s of subjects) {
      const name = String(s.name);
      alive.add(name);
      const card = cards.get(name) ?? makeCard(name);
      card.shapes = s.blendshapes ?? {};
      card.head = angles(s.head);
      card.dirty = true;
      const fps = Number(s.fps);
      write(card.meta, `${s.source ?? 'unknown source'}${Number.isFinite(fps) ? `, ${fps.toFixed(fps < 10 ? 1 : 0)} fps` : ''}`);
      card.meta.title = card.meta.textContent ?? '';
      write(card.badge, s.tracked === false ? 'Face lost' : 'Tracked');
      card.badge.className = s.tracked === false ? 'badge lost' : 'badge';
    }
    for (const [name, card] of cards) {
      if (alive.has(name)) continue;
      card.item.remove();
      cards.delete(name);
    }
    write($('monitor-note'), alive.size ? `${alive.size} live` : '');
    $('monitor-empty').hidden = alive.size > 0;
    wake();
  }
  setInterval(poll, 500);

  // ---- takes ------------------------------------------------------------------
  const slateBox = /** @type {HTMLInputElement} */ ($('slate'));
  const numberBox = /** @type {HTMLInputElement} */ ($('take-number'));
  const phonesBox = /** @type {HTMLInputElement} */ ($('take-phones'));
  const recordButton = /** @type {HTMLButtonElement} */ ($('record'));
  slateBox.value = recall('facelink.slate') ?? '';
  let recording = false;
  /** Counts what the user asked for: an answer to what was asked before is old. */
  let asked = 0;

  /** @param {any} status */
  function showTake(status) {
    recording = status?.recording === true;
    recordButton.setAttribute('aria-pressed', String(recording));
    write($('record-text'), recording ? 'Stop recording' : 'Record');
    $('mark-form').hidden = !recording;
    for (const box of [slateBox, numberBox, phonesBox]) box.disabled = recording;
    if (!status) return;
    const seconds = Math.max(0, Math.floor(Number(status.seconds) || 0));
    const length = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    write($('take-note'), recording ? `${status.slate}, take ${status.take}, ${length}` : '');
    $('take-note').classList.toggle('on', recording);
    const lost = status.dropped > 0 ? `, ${status.dropped.toLocaleString('en')} not recorded` : '';
    write($('take-hint'), status.error ? `The take was cut: ${status.error}`
      : recording ? `To ${status.file} on the server${status.phones > 0 ? `, and on ${status.phones === 1 ? 'the phone' : `${status.phones} phones`}` : ''}.`
        : `Recorded ${length}, ${Number(status.frames).toLocaleString('en')} frames${lost}: ${status.file}`);
  }

  let lookingAtTakes = false;
  async function lookAtTakes() {
    if (lookingAtTakes || document.visibilityState === 'hidden' || client.state === 'failed') return;
    lookingAtTakes = true;
    const at = asked;
    try {
      const slate = slateBox.value.trim();
      const said = await ask(slate ? `takes?slate=${encodeURIComponent(slate)}` : 'takes');
      if (at !== asked) return;
      showTake(said.take);
      numberBox.placeholder = String((recording ? said.take.take : said.next) ?? '');
      $('take-phones-row').hidden = !(said.phones > 0);
      recordButton.disabled = false;
    } catch {
      // "Live subjects" says so.
    } finally {
      lookingAtTakes = false;
    }
  }
  setInterval(lookAtTakes, 1000);
  slateBox.addEventListener('input', lookAtTakes);

  $('take-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const slate = slateBox.value.trim();
    const take = Number(numberBox.value.trim());
    const phones = $('take-phones-row').hidden ? undefined : phonesBox.checked;
    recordButton.disabled = true;
    asked += 1;
    try {
      const status = await (recording
        ? ask('takes/stop', { method: 'POST' })
        : ask('takes/start', { method: 'POST', body: { ...(slate && { slate }), ...(take && { take }), phones } }));
      if (status.recording) numberBox.value = '';
      keep('facelink.slate', slate);
      showTake(status);
      log('info', `${status.recording ? 'recording' : 'recorded'} ${status.file}`);
    } catch (error) {
      const words = error instanceof Refusal ? error.message : 'The server does not answer';
      write($('take-note'), '');
      write($('take-hint'), words);
      log('warn', `take: ${words}`);
    } finally {
      asked += 1;
      recordButton.disabled = false;
    }
  });
  $('mark-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const box = /** @type {HTMLInputElement} */ ($('mark'));
    const text = box.value.trim();
    if (!text) return;
    try {
      await ask('takes/mark', { method: 'POST', body: { text } });
      box.value = '';
      log('info', `mark: ${text}`);
    } catch (error) {
      log('warn', `mark: ${error instanceof Refusal ? error.message : 'the server does not answer'}`);
    }
  });

  // ---- camera -----------------------------------------------------------------
  panel = facelink.panel = makeCameraPanel({
    server: new URL(client.url.replace(/^ws/, 'http')).origin,
    token: pageToken(),
    fps: () => client.targetFps,
    onFace: film,
    onLost: unseen,
    onChange: (on) => {
      client.setClient(on ? 'facelink-page/1 webcam' : 'facelink-page/1');
      seen = null;
      if (on && performing) perform(false);
      update();
    },
    log,
  });

  // ---- microphone -------------------------------------------------------------
  speech = facelink.speech = makeSpeechPanel({
    server: new URL(client.url.replace(/^ws/, 'http')).origin,
    onViseme: (viseme, weight, durationMs) => {
      // Viewers get the shapes that a face has: without the camera it has all, at rest.
      if (!streaming) client.sendARKitData(neutral);
      client.sendViseme(viseme, weight, durationMs);
    },
    onChange: (on) => {
      if (!on && !streaming) client.sendARKitData(neutral, { tracked: false });
      update();
    },
    log,
  });

  // ---- picture and sound next to the face ---------------------------------------
  const origin = () => new URL(client.url.replace(/^ws/, 'http')).origin;
  facelink.picture = makePicturePanel({
    where: () => ({ server: origin(), token: pageToken(), subject: subjectBox.value.trim() || null, resume: client.resumeToken }),
    host: new URL(client.url).host,
    sealed,
    connected: () => client.state === 'connected',
    tracks: () => ({ video: panel?.camera.track ?? null, audio: speech?.track ?? null }),
    log,
  });

  // ---- start ------------------------------------------------------------------
  showState(client.state);
  update();
  sample();
  connect();
  void poll();
  void lookAtTakes();
  if (flag('perform', false)) perform(true);
  if (flag('camera', false)) void panel.start();
  if (flag('microphone', false)) void speech.start();
}

/** What a server answered that did not do what it was asked for. */
class Refusal extends Error {}

/** @param {string} key @returns {string | null} */
function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value */
function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch { /* private window: not kept */ }
}

/** @param {any} head @returns {HeadAngles} */
function angles(head) {
  const a = Array.isArray(head?.rotation) ? headAngles(head.rotation) : null;
  return a ? { yaw: a[0], pitch: a[1], roll: a[2] } : { yaw: 0, pitch: 0, roll: 0 };
}

/**
 * A timer that is not throttled while the page is hidden.
 * @param {() => void} tick
 * @returns {(fps: number) => void} Sets the ticks per second; 0 stops it
 */
function makeTicker(tick) {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let fallback;
  /** @type {Worker | null} */
  let worker = null;
  let rate = 0;
  const plain = () => {
    worker = null;
    clearInterval(fallback);
    if (rate > 0) fallback = setInterval(tick, 1000 / rate);
  };
  try {
    const address = new URL('./app.js', import.meta.url).href;
    // Where the server requires Trusted Types, this file's own URL needs a policy.
    const trusted = /** @type {any} */ (window).trustedTypes
      ?.createPolicy('facelink', { createScriptURL: (/** @type {string} */ url) => url })
      .createScriptURL(address) ?? address;
    worker = new Worker(trusted, { type: 'module', name: 'facelink clock' });
    worker.onmessage = tick;
    worker.onerror = plain;
  } catch {
    worker = null;
  }
  return (fps) => {
    rate = fps;
    if (worker) worker.postMessage(fps);
    else plain();
  };
}

/**
 * Scales the canvas to the device's pixels and returns a context in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 * @returns {{ ctx: CanvasRenderingContext2D, w: number, h: number } | null}
 */
function sharp(canvas) {
  const w = canvas.clientWidth;
  const h = canvas.clientHeight;
  const ctx = canvas.getContext('2d');
  if (!ctx || !w || !h) return null;
  const scale = Math.min(3, window.devicePixelRatio || 1);
  const pw = Math.round(w * scale);
  const ph = Math.round(h * scale);
  if (canvas.width !== pw || canvas.height !== ph) {
    canvas.width = pw;
    canvas.height = ph;
  }
  ctx.setTransform(pw / w, 0, 0, ph / h, 0, 0);
  ctx.clearRect(0, 0, w, h);
  return { ctx, w, h };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {[number, number | null][]} points Seconds before now (negative) and value
 * @param {string} colour
 * @param {number} least Smallest top of the scale
 * @param {string} unit
 * @param {number} [target] Draws a dashed line here
 */
function drawPlot(canvas, points, colour, least, unit, target) {
  const s = sharp(canvas);
  if (!s) return;
  const { ctx, w, h } = s;
  const left = 52, right = 10, top = 10, bottom = 22;
  const values = points.map((p) => p[1] ?? 0);
  const high = Math.max(least, ...values) * 1.08;
  const rough = high / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((m) => m * power >= rough) ?? 10);
  const max = Math.ceil(high / step) * step;
  /** @param {number} t */
  const x = (t) => left + (1 + t / HISTORY_S) * (w - left - right);
  /** @param {number} v */
  const y = (v) => h - bottom - (v / max) * (h - top - bottom);
  ctx.font = '12px system-ui, sans-serif';
  ctx.lineWidth = 1;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'right';
  for (let v = 0; v <= max + step / 2; v += step) {
    const at = Math.round(y(v)) + 0.5;
    ctx.strokeStyle = v === 0 ? '#3b465a' : '#222b39';
    ctx.beginPath();
    ctx.moveTo(left, at);
    ctx.lineTo(w - right, at);
    ctx.stroke();
    ctx.fillStyle = '#9aa6b8';
    ctx.fillText(`${Number(v.toFixed(2))} ${unit}`, left - 7, at);
  }
  ctx.textBaseline = 'alphabetic';
  for (const t of [-30, -20, -10, 0]) {
    ctx.textAlign = t === 0 ? 'right' : t === -30 ? 'left' : 'center';
    ctx.fillText(t === 0 ? 'now' : `${t} s`, x(t), h - 5);
  }
  if (target !== undefined && target <= max) {
    ctx.setLineDash([3, 5]);
    ctx.strokeStyle = '#6c7b92';
    ctx.beginPath();
    ctx.moveTo(left, y(target));
    ctx.lineTo(w - right, y(target));
    ctx.stroke();
    ctx.setLineDash([]);
  }
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, 0, w - left - right + 4, h - bottom + 2);
  ctx.clip();
  ctx.lineWidth = 2;
  ctx.lineJoin = 'round';
  ctx.strokeStyle = colour;
  /** @type {[number, number][]} */
  let run = [];
  const flush = () => {
    if (run.length > 1) {
      ctx.beginPath();
      run.forEach(([px, py], i) => (i ? ctx.lineTo(px, py) : ctx.moveTo(px, py)));
      ctx.stroke();
      ctx.lineTo(run[run.length - 1][0], y(0));
      ctx.lineTo(run[0][0], y(0));
      ctx.closePath();
      ctx.globalAlpha = 0.12;
      ctx.fillStyle = colour;
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    run = [];
  };
  for (const [t, v] of points) {
    if (v === null) flush();
    else run.push([x(t), y(v)]);
  }
  flush();
  ctx.restore();
}

/**
 * A schematic face, seen from the front: the performer's left is on the right.
 * @param {HTMLCanvasElement} canvas
 * @param {Blendshapes} shapes
 * @param {HeadAngles} [head]
 */
function drawFace(canvas, shapes, head = { yaw: 0, pitch: 0, roll: 0 }) {
  const s = sharp(canvas);
  if (!s) return;
  const { ctx, w, h } = s;
  /** @param {string} name */
  const v = (name) => {
    const value = shapes[name];
    return typeof value === 'number' && value > 0 ? Math.min(1.2, value) : 0;
  };
  const unit = Math.min(w / 2.3, h / 2.62);
  const cy = Math.cos(head.yaw), sy = Math.sin(head.yaw);
  const cp = Math.cos(head.pitch), sp = Math.sin(head.pitch);
  const cr = Math.cos(head.roll), sr = Math.sin(head.roll);
  /** A point of the face (x to the performer's left, y up) on the canvas.
   * @param {number} x @param {number} y @param {number} [lift] out of the surface
   * @returns {[number, number]} */
  const at = (x, y, lift = 0) => {
    const round = 0.72 * Math.sqrt(Math.max(0, 1 - (x / 0.86) ** 2 * 0.9 - (y / 1.2) ** 2 * 0.8)) + lift;
    const py = y * cp + round * sp; // pitch about x, then yaw about y, then roll about z
    const pz = -y * sp + round * cp;
    const px = x * cy + pz * sy;
    return [w / 2 + (px * cr - py * sr) * unit, h * 0.5 - (px * sr + py * cr) * unit];
  };
  const big = unit > 60;
  /** @param {number} n */
  const line = (n) => Math.max(1, n * unit);
  const skin = '#c5d0e0', shade = '#a3b1c6', ink = '#2b3545';
  /** @param {[number, number][]} p cubic segments: start, then control, control, end, ... */
  const trace = (p) => {
    ctx.beginPath();
    ctx.moveTo(...p[0]);
    for (let i = 1; i + 2 < p.length; i += 3) ctx.bezierCurveTo(...p[i], ...p[i + 1], ...p[i + 2]);
  };
  ctx.lineCap = 'round';
  ctx.lineJoin = 'round';

  // The head: an outline that follows the jaw.
  const jaw = v('jawOpen');
  const slide = (v('jawLeft') - v('jawRight')) * 0.09;
  const chin = -1.02 - 0.2 * jaw;
  const puff = v('cheekPuff') * 0.09;
  /** Outline points lie at the rim, where the surface faces sideways.
   * @param {number} x @param {number} y @param {number} [z] @returns {[number, number]} */
  const rim = (x, y, z = 0) => {
    const py = y * cp + z * sp;
    const pz = -y * sp + z * cp;
    const px = x * (0.88 + 0.12 * cy) + pz * sy;
    return [w / 2 + (px * cr - py * sr) * unit, h * 0.5 - (px * sr + py * cr) * unit];
  };
  for (const side of [-1, 1]) { // ears, behind
    const [ex, ey] = rim(side * 0.8, 0.02, -0.1);
    ctx.fillStyle = shade;
    ctx.beginPath();
    ctx.ellipse(ex, ey, unit * 0.1, unit * 0.19, -head.roll - side * 0.12, 0, Math.PI * 2);
    ctx.fill();
  }
  trace([
    rim(0, 1.05), rim(0.5, 1.05), rim(0.82, 0.72), rim(0.82, 0.2),
    rim(0.82 + puff * 0.3, -0.25), rim(0.72 + puff, -0.5 - jaw * 0.08), rim(0.52 + puff + slide, -0.75 - jaw * 0.14, 0.15),
    rim(0.36 + slide, -0.95 - jaw * 0.18, 0.3), rim(0.18 + slide, chin, 0.4), rim(slide, chin, 0.4),
    rim(-0.18 + slide, chin, 0.4), rim(-0.36 + slide, -0.95 - jaw * 0.18, 0.3), rim(-0.52 - puff + slide, -0.75 - jaw * 0.14, 0.15),
    rim(-0.72 - puff, -0.5 - jaw * 0.08), rim(-0.82 - puff * 0.3, -0.25), rim(-0.82, 0.2),
    rim(-0.82, 0.72), rim(-0.5, 1.05), rim(0, 1.05),
  ]);
  const light = ctx.createLinearGradient(0, h / 2 - unit * 1.1, 0, h / 2 + unit * 1.15);
  light.addColorStop(0, '#d8e1ee');
  light.addColorStop(0.6, skin);
  light.addColorStop(1, '#9fadc2');
  ctx.fillStyle = light;
  ctx.fill();

  // Cheeks.
  for (const side of [-1, 1]) {
    const name = side > 0 ? 'Left' : 'Right';
    const glow = 0.1 + 0.32 * Math.max(v(`cheekSquint${name}`), v('cheekPuff'), v(`mouthSmile${name}`) * 0.6);
    const [px, py] = at(side * 0.48, -0.22 + 0.05 * v(`cheekSquint${name}`));
    const r = unit * (0.24 + 0.08 * v('cheekPuff'));
    const blush = ctx.createRadialGradient(px, py, 0, px, py, r);
    blush.addColorStop(0, `rgba(224,120,130,${Math.min(0.6, glow)})`);
    blush.addColorStop(1, 'rgba(224,120,130,0)');
    ctx.fillStyle = blush;
    ctx.beginPath();
    ctx.arc(px, py, r, 0, Math.PI * 2);
    ctx.fill();
  }

  // Eyes and brows.
  for (const side of [-1, 1]) {
    const name = side > 0 ? 'Left' : 'Right';
    const blink = Math.min(1, v(`eyeBlink${name}`));
    const squint = v(`eyeSquint${name}`) + 0.4 * v(`cheekSquint${name}`);
    const wide = v(`eyeWide${name}`);
    const ex = side * 0.335, ey = 0.17;
    const shut = -0.055;
    const upper = shut + (0.16 + 0.085 * wide - 0.05 * squint) * (1 - blink);
    const lower = shut - (0.065 - 0.07 * Math.min(1, squint)) * (1 - blink) - 0.012;
    const inner = at(ex - side * 0.155, ey - 0.02 - 0.02 * blink);
    const outer = at(ex + side * 0.165, ey + 0.012 - 0.05 * blink);
    const lid = [
      inner, at(ex - side * 0.08, ey + upper * 1.28), at(ex + side * 0.09, ey + upper * 1.28), outer,
      at(ex + side * 0.09, ey + lower * 1.25), at(ex - side * 0.08, ey + lower * 1.25), inner,
    ];
    ctx.save();
    trace(/** @type {[number, number][]} */ (lid));
    ctx.fillStyle = '#f6f9fc';
    ctx.fill();
    ctx.clip();
    const aside = side > 0 ? v('eyeLookOutLeft') - v('eyeLookInLeft') : v('eyeLookInRight') - v('eyeLookOutRight');
    const gaze = at(ex + aside * 0.1, ey + 0.012 + (v(`eyeLookUp${name}`) - v(`eyeLookDown${name}`)) * 0.085);
    ctx.fillStyle = '#1f8f86';
    ctx.beginPath();
    ctx.arc(gaze[0], gaze[1], unit * 0.094, 0, Math.PI * 2);
    ctx.fill();
    ctx.fillStyle = '#0c151b';
    ctx.beginPath();
    ctx.arc(gaze[0], gaze[1], unit * 0.046, 0, Math.PI * 2);
    ctx.fill();
    ctx.fillStyle = 'rgba(255,255,255,0.85)';
    ctx.beginPath();
    ctx.arc(gaze[0] + unit * 0.03, gaze[1] - unit * 0.034, unit * 0.02, 0, Math.PI * 2);
    ctx.fill();
    ctx.restore();
    ctx.strokeStyle = ink;
    ctx.lineWidth = line(0.03);
    trace(/** @type {[number, number][]} */ (lid.slice(0, 4)));
    ctx.stroke();
    if (big) {
      ctx.strokeStyle = '#8291a8';
      ctx.lineWidth = line(0.012);
      trace([outer, at(ex + side * 0.09, ey + lower * 1.25), at(ex - side * 0.08, ey + lower * 1.25), inner]);
      ctx.stroke();
      const fold = upper + 0.055; // the crease above the lid
      trace([at(ex - side * 0.13, ey + fold * 0.55), at(ex - side * 0.06, ey + fold * 1.2), at(ex + side * 0.08, ey + fold * 1.2), at(ex + side * 0.16, ey + fold * 0.5)]);
      ctx.stroke();
    }
    const down = v(`browDown${name}`);
    const up = v('browInnerUp');
    const out = v(`browOuterUp${name}`);
    const base = 0.43;
    ctx.strokeStyle = ink;
    ctx.lineWidth = line(0.062);
    trace([
      at(side * (0.15 - 0.03 * down), base - 0.015 + 0.15 * up - 0.12 * down),
      at(side * 0.26, base + 0.06 + 0.11 * up + 0.06 * out - 0.09 * down),
      at(side * 0.42, base + 0.07 + 0.02 * up + 0.15 * out - 0.06 * down),
      at(side * 0.54, base - 0.03 + 0.12 * out - 0.04 * down),
    ]);
    ctx.stroke();
  }

  // Nose.
  const noseLift = [v('noseSneerRight') * 0.05, v('noseSneerLeft') * 0.05];
  ctx.strokeStyle = '#8494ab';
  ctx.lineWidth = line(0.026);
  trace([at(-0.11, -0.2 + noseLift[0]), at(-0.16, -0.28 + noseLift[0] * 1.4), at(-0.07, -0.31), at(0, -0.285, 0.1),
    at(0.07, -0.31), at(0.16, -0.28 + noseLift[1] * 1.4), at(0.11, -0.2 + noseLift[1])]);
  ctx.stroke();
  if (big) {
    ctx.lineWidth = line(0.014);
    for (const side of [-1, 1]) {
      const sneer = noseLift[side > 0 ? 1 : 0] * 20;
      if (sneer > 0.15) {
        ctx.globalAlpha = Math.min(1, sneer);
        trace([at(side * 0.07, 0.02, 0.06), at(side * 0.1, 0.05, 0.05), at(side * 0.11, 0.08, 0.04), at(side * 0.12, 0.1, 0.03)]);
        ctx.stroke();
        ctx.globalAlpha = 1;
      }
    }
  }

  // Mouth.
  const pucker = v('mouthPucker'), funnel = v('mouthFunnel');
  const shift = (v('mouthLeft') - v('mouthRight')) * 0.1;
  const close = Math.min(jaw, v('mouthClose'));
  const gap = Math.max(0, jaw - close);
  const mid = -0.57;
  /** @param {number} side */
  const half = (side) => {
    const name = side > 0 ? 'Left' : 'Right';
    const narrow = Math.max(0.42, 1 - 0.42 * pucker - 0.3 * funnel - 0.1 * jaw);
    return {
      x: side * (0.28 + 0.055 * v(`mouthStretch${name}`) + 0.065 * v(`mouthSmile${name}`) + 0.03 * v(`mouthDimple${name}`)) * narrow + shift + slide * 0.5,
      y: mid - 0.06 * jaw + 0.12 * v(`mouthSmile${name}`) - 0.12 * v(`mouthFrown${name}`) + 0.03 * v(`mouthDimple${name}`) - 0.03 * v(`mouthStretch${name}`),
      up: 0.07 * v(`mouthUpperUp${name}`),
      down: 0.085 * v(`mouthLowerDown${name}`),
      press: v(`mouthPress${name}`),
    };
  };
  const L = half(1), R = half(-1);
  const pout = 1 + 0.55 * pucker + 0.5 * funnel;
  const upperTop = (L.up + R.up) / 2 + 0.02 * funnel;
  const shrugU = 0.045 * v('mouthShrugUpper'), shrugL = 0.07 * v('mouthShrugLower');
  const press = (L.press + R.press) / 2;
  const thickU = 0.068 * pout * (1 - 0.75 * Math.min(1, v('mouthRollUpper'))) * (1 - 0.35 * press);
  const thickL = 0.088 * pout * (1 - 0.75 * Math.min(1, v('mouthRollLower'))) * (1 - 0.35 * press);
  const inU = mid + 0.005 + upperTop + 0.03 * gap + shrugU + shrugL * 0.5 + 0.035 * funnel;
  const inL = mid - 0.005 - 0.36 * gap - (L.down + R.down) / 2 - 0.035 * funnel - 0.2 * close * 0.2 + shrugL;
  const cx = shift + slide * 0.8;
  const out = 0.04 * (pucker + funnel);
  const kl = 0.62; // how square the lips' curves are
  /** @param {number} yTop @param {number} yLow @param {number} grow @returns {[number, number][]} */
  const lips = (yTop, yLow, grow) => [
    at(L.x + grow, L.y), at(cx + (L.x - cx) * kl, yTop + L.up * 0.5, out), at(cx + 0.06, yTop + (grow ? 0.014 : 0), out), at(cx, yTop - (grow ? 0.006 : 0), out),
    at(cx - 0.06, yTop + (grow ? 0.014 : 0), out), at(cx + (R.x - cx) * kl, yTop + R.up * 0.5, out), at(R.x - grow, R.y),
    at(cx + (R.x - cx) * kl, yLow - R.down * 0.5, out), at(cx - 0.1, yLow, out), at(cx, yLow, out),
    at(cx + 0.1, yLow, out), at(cx + (L.x - cx) * kl, yLow - L.down * 0.5, out), at(L.x + grow, L.y),
  ];
  trace(lips(inU + thickU, inL - thickL, 0.018));
  ctx.fillStyle = '#cc7a84';
  ctx.fill();
  ctx.save();
  trace(lips(inU, inL, 0));
  ctx.fillStyle = '#3a161d';
  ctx.fill();
  ctx.clip();
  const wide = Math.max(0.12, (L.x - R.x) / 2);
  if (inU - inL > 0.03) {
    ctx.fillStyle = '#f3f5f8'; // the upper teeth
    trace([at(cx - wide, mid + 0.12), at(cx - wide, mid - 0.005), at(cx - wide * 0.6, mid - 0.035), at(cx, mid - 0.04),
      at(cx + wide * 0.6, mid - 0.035), at(cx + wide, mid - 0.005), at(cx + wide, mid + 0.12)]);
    ctx.fill();
  }
  const tongue = v('tongueOut');
  const tongueTop = inL + 0.05 + 0.06 * gap + 0.1 * tongue;
  ctx.fillStyle = '#d4707c';
  trace([at(cx - wide * 0.75, inL - 0.05), at(cx - wide * 0.5, tongueTop), at(cx - wide * 0.2, tongueTop), at(cx, tongueTop - 0.02),
    at(cx + wide * 0.2, tongueTop), at(cx + wide * 0.5, tongueTop), at(cx + wide * 0.75, inL - 0.05)]);
  ctx.fill();
  ctx.restore();
  if (tongue > 0.05) { // and over the lip, when it is out
    const tip = inL - thickL * 0.4 - 0.24 * tongue;
    const tw = wide * 0.55;
    const root = inL + Math.min(0.03, (inU - inL) / 2);
    const arch = root + Math.min(0.08, (inU - inL) * 0.5);
    trace([at(cx - tw, root), at(cx - tw, tip - 0.02, 0.1), at(cx - tw * 0.6, tip - 0.06, 0.1), at(cx, tip - 0.06, 0.1),
      at(cx + tw * 0.6, tip - 0.06, 0.1), at(cx + tw, tip - 0.02, 0.1), at(cx + tw, root),
      at(cx + tw * 0.9, arch), at(cx - tw * 0.9, arch), at(cx - tw, root)]);
    ctx.fillStyle = '#dd7e89';
    ctx.fill();
    ctx.strokeStyle = '#b85d69';
    ctx.lineWidth = line(0.014);
    trace([at(cx, inL + 0.01, 0.05), at(cx, inL, 0.05), at(cx, tip, 0.1), at(cx, tip, 0.1)]);
    ctx.stroke();
  }
  if (inU - inL < 0.06) {
    ctx.strokeStyle = '#7d3d47';
    ctx.lineWidth = line(0.016);
    const seam = (inU + inL) / 2;
    trace([at(L.x, L.y), at(cx + (L.x - cx) * kl, seam, out), at(cx + 0.05, seam, out), at(cx, seam, out),
      at(cx - 0.05, seam, out), at(cx + (R.x - cx) * kl, seam, out), at(R.x, R.y)]);
    ctx.stroke();
  }
  if (big) {
    ctx.strokeStyle = '#8494ab'; // dimples and the fold under the lip
    ctx.lineWidth = line(0.014);
    for (const [side, m, name] of /** @type {[number, typeof L, string][]} */ ([[1, L, 'Left'], [-1, R, 'Right']])) {
      const deep = v(`mouthDimple${name}`) + 0.6 * v(`mouthSmile${name}`) + 0.4 * v(`mouthPress${name}`);
      if (deep < 0.08) continue;
      ctx.globalAlpha = Math.min(0.9, deep);
      trace([at(m.x + side * 0.05, m.y + 0.06), at(m.x + side * 0.08, m.y + 0.02), at(m.x + side * 0.08, m.y - 0.03), at(m.x + side * 0.05, m.y - 0.07)]);
      ctx.stroke();
      ctx.globalAlpha = 1;
    }
    ctx.globalAlpha = tongue > 0.1 ? 0 : 0.55;
    const under = inL - thickL - 0.055;
    trace([at(cx - 0.1, under), at(cx - 0.05, under - 0.02), at(cx + 0.05, under - 0.02), at(cx + 0.1, under)]);
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
}
