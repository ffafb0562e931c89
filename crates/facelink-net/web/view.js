// @ts-check
/**
 * FaceLink's viewer: avatars that show the faces of an endpoint or relay. For screens, phones, and browser sources of OBS.
 *
 * URL parameters, see docs/viewer.md: `subject=Ann` (several: repeated, or with commas), `model=file.vrm` (a file in the
 * server's folder, or a URL; one for all, or one for each subject), `camera=head|bust|full`, `transparent=1`,
 * `background=colour`, `mirror=1`, `names=0`, `picture=1` (the performer's
 * camera in a corner, `thin=1`: half of its frames), `room=stage`, `webrtc=0`, `token=...`, and behind `#` the key of sealed faces, `k=...`.
 */
import { FacialAnimationWebRTCClient } from './facelink.js';
import { loadModel } from './model.js';
import { Playout, faceOf } from './playout.js';

/** Most avatars at a time. */
const MAX_PLACES = 16;
/** A face that is silent for this long gives its place to another one, where the address names none; ms. */
const GONE_MS = 5000;
/** Between two attempts to load what could not be loaded; doubled each time, ms. */
const RETRY_MS = 2000;
const RETRY_MAX_MS = 30000;

/** @typedef {{ name: string | null, model: string, playout: Playout, avatar: import('./avatar.js').Avatar | null, problem: string, heard: number, label: HTMLElement }} Place */

const query = new URLSearchParams(location.search);
/** @param {string} name @param {boolean} fallback */
const flag = (name, fallback) => {
  const value = query.get(name);
  return value === null ? fallback : !/^(0|false|off|no)$/i.test(value);
};
/** Values of a parameter that is repeated, or has commas. @param {string} name */
const list = (name) => query.getAll(name).flatMap((value) => value.split(',')).map((value) => value.trim()).filter(Boolean);

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const $ = (id) => /** @type {any} */ (document.getElementById(id));

const transparent = flag('transparent', false);
const token = query.get('token');
/** @type {Record<string, string>} */
const headers = token ? { authorization: `Bearer ${token}` } : {};

/** Shown on the page, and in the console where the picture stands alone. @param {string} what @param {string} [advice] */
function tell(what, advice = '') {
  console.warn(`facelink viewer: ${what} ${advice}`);
  $('notice-what').textContent = what;
  $('notice-advice').textContent = advice;
  $('notice').hidden = false;
}

/** The key of sealed faces. It belongs behind `#`, which browsers send to no server. */
function takeKey() {
  const behind = new URLSearchParams(location.hash.slice(1)).get('k');
  const sent = query.get('k');
  if (sent) {
    // What is shared or loaded again from here on has it where it is kept from the server.
    query.delete('k');
    history.replaceState(null, '', `${location.pathname}?${query}#k=${behind ?? sent}`);
    console.warn('facelink viewer: the key was in the query of the address, which is sent to the server, so that this server could read the faces. Write it behind #: #k=...');
  }
  // Another invitation is another picture.
  addEventListener('hashchange', () => location.reload());
  return behind ?? sent;
}

/** The address of a model. @param {string} model A file of the server's folder, or a URL */
function modelUrl(model) {
  if (/^https?:\/\//i.test(model)) return model;
  return `models/${model.split('/').map(encodeURIComponent).join('/')}`;
}

/** @type {Place[]} */
const places = [];

function makePlaces() {
  const names = list('subject').slice(0, MAX_PLACES);
  const models = list('model');
  /** @type {(string | null)[]} */
  const all = names.length ? names : [null];
  all.forEach((name, i) => {
    const label = document.createElement('p');
    label.hidden = true;
    $('names').append(label);
    const model = models.length ? modelUrl(models[Math.min(i, models.length - 1)]) : 'view/avatar.glb';
    places.push({ name, model, playout: new Playout(), avatar: null, problem: '', heard: -1e9, label });
  });
}

/** Where each place is drawn: in rows that leave each as large as can be. */
function boxes() {
  const [width, height, count] = [innerWidth, innerHeight, places.length];
  let columns = 1;
  let best = 0;
  for (let c = 1; c <= count; c += 1) {
    const size = Math.min(width / c, (height / Math.ceil(count / c)) * 0.9);
    if (size > best) [best, columns] = [size, c];
  }
  const rows = Math.ceil(count / columns);
  return places.map((_, i) => {
    const row = Math.floor(i / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    return { x: (width / inRow) * (i % columns), y: (height / rows) * row, width: width / inRow, height: height / rows };
  });
}

// ---- faces ----------------------------------------------------------------------

/** @param {string | null} key */
async function makeClient(key) {
  const options = { webrtc: flag('webrtc', true), client: 'facelink-viewer/1', ...(token ? { token } : null) };
  if (!key) return new FacialAnimationWebRTCClient(undefined, options);
  const { SealedClient } = await import('./seal.js');
  return new SealedClient(undefined, { ...options, key });
}

/** @param {FacialAnimationWebRTCClient} client */
function receive(client) {
  const named = places.some(({ name }) => name !== null);
  const room = query.get('room');
  /** What the first place shows, where the address names none. */
  let shown = '';
  const subscribe = () => {
    const before = shown;
    // The new one first: a viewer without any subscription begins anew.
    for (const { name } of places) client.subscribe({ subject: name ?? '*', ...(room ? { room } : null) });
    shown = places[0].name ?? '*';
    if (before && before !== shown) client.unsubscribe(before);
  };
  client.onBlendshapeUpdate = (_, __, message) => {
    const now = performance.now();
    const face = faceOf(message);
    for (const place of places) {
      if (place.name === null && message.subject) {
        // Where the address names none, the first that comes is watched until it is gone.
        place.name = message.subject;
        place.playout = new Playout();
        subscribe();
      }
      if (message.subject !== undefined && place.name !== message.subject) continue;
      place.heard = now;
      place.playout.push(face, message.timestamp ?? now, now, message.tracked !== false);
    }
  };
  if (!named) {
    setInterval(() => {
      const [place] = places;
      if (place.name === null || performance.now() - place.heard < GONE_MS) return;
      place.name = null;
      subscribe();
    }, 1000);
  }
  client.onError = (error) => {
    if (error.code === 'webrtc') return; // frames flow over the WebSocket
    if (error.code === 'unauthorized') tell('The server asks for a token.', 'Open the viewer by the link that the server prints, with ?token=.');
    else if (client.state !== 'reconnecting') tell(error.message);
  };
  client.onStateChange = (state) => {
    if (state === 'connected') $('notice').hidden = places.every((place) => !place.problem);
  };
  subscribe();
  /** Connects for ever: the client gives up only where the first attempt fails. */
  const connect = async (delay = RETRY_MS) => {
    try {
      await client.connect();
    } catch {
      // What has been refused may be let in later: an OBS scene stays open for days.
      if (client.state === 'failed') setTimeout(() => void connect(Math.min(RETRY_MAX_MS, delay * 2)), delay);
    }
  };
  void connect();
}

/** The camera of the performer in the first place, in a corner; muted until its sound is asked for. */
async function showLive() {
  const { PictureViewer } = await import('./picture.js');
  const video = /** @type {HTMLVideoElement} */ ($('live-video'));
  const sound = $('live-sound');
  const viewer = new PictureViewer({
    video, server: location.origin, token, thin: flag('thin', false),
    onState: (state, problem) => {
      $('live').hidden = state !== 'on';
      if (state === 'off' && problem) console.warn(`facelink viewer: no picture: ${problem}`);
    },
  });
  sound.addEventListener('click', () => {
    video.muted = !video.muted;
    sound.setAttribute('aria-pressed', String(!video.muted));
    sound.textContent = video.muted ? 'Sound on' : 'Sound off';
  });
  const look = () => viewer.show(places[0].name);
  setInterval(look, 1000);
  look();
  Object.assign(window, { live: viewer });
}

// ---- picture --------------------------------------------------------------------

/** @param {import('./avatar.js').Stage} stage @param {typeof import('./avatar.js')} drawing @param {Place} place @param {Promise<import('./model.js').Model>} loading @param {number} [delay] */
async function furnish(stage, drawing, place, loading, delay = RETRY_MS) {
  try {
    const avatar = await drawing.makeAvatar(await loading);
    if (flag('mirror', false)) avatar.rig.mapping.mirror = true;
    stage.put(places.indexOf(place), avatar);
    await stage.prepare(places.indexOf(place));
    place.avatar = avatar;
    place.problem = '';
    const { rig } = avatar;
    console.info(`facelink viewer: ${place.model}: ${rig.dialect || 'no known names'}, ${rig.shown.length} of 52 shapes${rig.problems.map((text) => `; ${text}`).join('')}`);
    if (places.every((of) => !of.problem)) $('notice').hidden = true;
  } catch (error) {
    place.problem = /** @type {Error} */ (error).message;
    tell(`The avatar ${place.model.replace(/^models\//, '')} cannot be shown: ${place.problem}.`,
      place.model === 'view/avatar.glb' ? 'Name a file in the folder of models, or a URL, in the address: ?model=' : '');
    setTimeout(() => void furnish(stage, drawing, place, loadModel(place.model, headers), Math.min(RETRY_MAX_MS, delay * 2)), delay);
  }
}

/** @param {import('./avatar.js').Stage} stage */
function run(stage) {
  const names = flag('names', true) && !transparent;
  let last = performance.now();
  const state = { drawn: 0, firstAt: 0, shown: 0 };
  /** For the console and for tests. */
  Object.assign(window, { viewer: { places, state, stage } });
  const frame = () => {
    requestAnimationFrame(frame);
    const now = performance.now();
    const dt = Math.min(0.25, (now - last) / 1000);
    last = now;
    const at = boxes();
    places.forEach((place, i) => {
      place.avatar?.show(place.playout.show(now), dt);
      const { label } = place;
      label.hidden = !names || !place.avatar;
      if (label.hidden) return;
      const live = now - place.heard < GONE_MS;
      const text = live ? place.name ?? '' : `Waiting for ${place.name ?? 'a face'}`;
      if (label.textContent !== text) label.textContent = text;
      label.dataset.live = String(live);
      label.style.left = `${at[i].x + at[i].width / 2}px`;
      label.style.top = `${at[i].y + at[i].height - 42}px`;
    });
    if (!places.some((place) => place.avatar)) return;
    stage.draw(at, camera);
    state.drawn += 1;
    state.firstAt ||= performance.now();
    state.shown = places.filter((place) => place.playout.presence > 0).length;
    $('wait').textContent = '';
  };
  requestAnimationFrame(frame);
}

/** @type {'head' | 'bust' | 'full'} */
let camera = 'head';

/** The address of this picture with other parameters. @param {Record<string, string>} change */
function address(change) {
  const other = new URLSearchParams(query);
  for (const [name, value] of Object.entries(change)) other.set(name, value);
  return `${location.pathname}?${other}${location.hash}`;
}

function dress() {
  const background = query.get('background');
  const asked = query.get('camera');
  if (asked === 'bust' || asked === 'full') camera = asked;
  document.documentElement.classList.toggle('plain', transparent);
  if (background && !transparent) document.documentElement.style.background = document.body.style.background = background;
  const choice = /** @type {HTMLSelectElement} */ ($('camera'));
  choice.value = camera;
  choice.addEventListener('change', () => {
    camera = /** @type {typeof camera} */ (choice.value);
    query.set('camera', camera);
    history.replaceState(null, '', address({}));
    link();
  });
  const link = () => { /** @type {HTMLAnchorElement} */ ($('obs')).href = address({ transparent: '1' }); };
  link();
  /** @type {HTMLAnchorElement} */ ($('back')).href = `./${token ? `?token=${encodeURIComponent(token)}` : ''}${location.hash}`;
}

async function open() {
  const key = takeKey();
  dress();
  makePlaces();
  $('wait').textContent = 'Loading the avatar';
  const models = places.map((place) => loadModel(place.model, headers));
  for (const model of models) model.catch(() => {}); // `furnish` says so
  const drawn = import('./avatar.js').then(
    (drawing) => {
      const stage = new drawing.Stage(/** @type {HTMLCanvasElement} */ ($('picture')));
      places.forEach((place, i) => void furnish(stage, drawing, place, models[i]));
      run(stage);
    },
    (error) => {
      tell('three.js cannot be loaded, which draws the avatars.', `Without a connection to the Internet, put it into the server's folder of models, as docs/viewer.md says. (${error?.message ?? error})`);
      setTimeout(() => location.reload(), RETRY_MAX_MS);
    },
  ).catch((error) => tell('This browser draws no 3D pictures (WebGL).', String(error?.message ?? error)));
  // What is sealed has no picture, and the picture alone shows the avatar alone.
  if (flag('picture', false) && !transparent && !key) void showLive();
  try {
    receive(await makeClient(key));
  } catch (error) {
    tell("This link's faces are encrypted end to end, and that does not work here.", error instanceof Error ? error.message : String(error));
  }
  await drawn;
}

void open();
