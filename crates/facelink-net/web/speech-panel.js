// @ts-check
/**
 * The microphone card of the page: a voice moves the mouth. The sound is
 * analysed in speech-worklet.js, and sent by picture.js alone.
 *
 * @module speech-panel
 */
import { cameraProblem, insecure } from './camera.js';
import { showTrouble } from './camera-panel.js';
import { builtinFile, HOLD_MS, readProfile } from './speech.js';
import { CameraProblem, reasonOf } from './tracker.js';

const KEPT_CHOICE = 'facelink.microphone';
const KEPT_VOICE = 'facelink.voice';
/** Of a profile's file, at most, bytes. */
const MAX_VOICE = 1_000_000;
/** Of the meter, dB below full scale. */
const QUIETEST_SHOWN = -60;
/** What the visemes are shown as. @type {Record<import('./speech.js').SpeechFrame['viseme'], string>} */
const SOUNDS = {
  sil: '·', PP: 'p b m', FF: 'f v', TH: 'th', DD: 't d', kk: 'k g', CH: 'ch j sh', SS: 's z', nn: 'n l', RR: 'r',
  aa: 'aa', E: 'e', ih: 'ih', oh: 'oh', ou: 'ou',
};

/**
 * @typedef {object} PanelOptions
 * @property {string} server Origin of our server.
 * @property {(viseme: string, weight: number, durationMs: number) => void} onViseme A mouth shape to send.
 * @property {(on: boolean) => void} onChange The microphone was started or stopped.
 * @property {(level: string, text: string) => void} log
 */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
function $(id) {
  const element = document.getElementById(`speech-${id}`);
  if (!element) throw new Error(`no element #speech-${id}`);
  return /** @type {T} */ (element);
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} key @param {string | null} [value] Null removes it; without it, what is kept is returned */
function kept(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch { /* private window: not kept */ }
  return null;
}

/** @param {string} deviceId Empty: any @returns {Promise<MediaStream>} */
async function openMicrophone(deviceId) {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) throw insecure('microphone');
  // What a call improves for ears is what the analyzer reads.
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: { ideal: 1 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: deviceId ? { ...audio, deviceId: { exact: deviceId } } : audio });
  } catch (error) {
    // The one that was chosen last time is not connected: any other one.
    if (!deviceId || /** @type {any} */ (error)?.name !== 'OverconstrainedError') throw error;
    return navigator.mediaDevices.getUserMedia({ audio });
  }
}

/** @param {PanelOptions} options */
export function makeSpeechPanel({ server, onViseme, onChange, log }) {
  const toggle = $('toggle');
  const choice = /** @type {HTMLSelectElement} */ ($('choice'));
  const file = /** @type {HTMLInputElement} */ ($('file'));

  let chosen = kept(KEPT_CHOICE) ?? '';
  /** The profile that the user has loaded. @type {import('./speech.js').VoiceProfile | null} */
  let voice = null;
  let on = false;
  /** Counts starts: what an earlier one has opened is released. */
  let round = 0;
  /** @type {{ stream: MediaStream, context: AudioContext, node: AudioWorkletNode } | null} */
  let open = null;

  // ---- on and off ---------------------------------------------------------------

  /** @param {boolean} now */
  function show(now) {
    const changed = now !== on;
    on = now;
    toggle.setAttribute('aria-pressed', String(on));
    write($('toggle-text'), on ? 'Stop the microphone' : 'Mouth from sound');
    $('heard').hidden = !on;
    $('tools').hidden = !on;
    $('hint').hidden = on;
    write($('note'), on ? 'Starting' : 'Off');
    if (changed) onChange(on);
  }

  function release() {
    round += 1;
    if (!open) return;
    const { stream, context, node } = open;
    open = null;
    node.port.onmessage = null;
    for (const track of stream.getTracks()) track.stop();
    void context.close().catch(() => {});
    onViseme('sil', 0, HOLD_MS);
  }

  function stop() {
    release();
    show(false);
  }

  /** @param {CameraProblem} problem */
  function fail(problem) {
    stop();
    log('warn', `microphone: ${problem.message}`);
    void showTrouble('speech', problem, server);
  }

  async function start() {
    release();
    const mine = round;
    $('trouble').hidden = true;
    show(true);
    /** @type {MediaStream | undefined} */
    let stream;
    /** @type {AudioContext | undefined} */
    let context;
    try {
      stream = await openMicrophone(chosen);
      context = new AudioContext({ latencyHint: 'interactive' });
      const profile = voice ?? await builtin(context.sampleRate);
      await context.audioWorklet.addModule(new URL('speech-worklet.js', import.meta.url));
      if (mine !== round) {
        for (const track of stream.getTracks()) track.stop();
        void context.close();
        return;
      }
      // The output is silence: what leads nowhere is not computed by every browser.
      const node = new AudioWorkletNode(context, 'speech', { channelCount: 1, channelCountMode: 'explicit', processorOptions: { profile } });
      open = { stream, context, node };
      node.port.onmessage = ({ data }) => hear(data);
      node.onprocessorerror = () => fail(new CameraProblem('camera', `Sound of ${context?.sampleRate} samples a second could not be analysed.`));
      context.createMediaStreamSource(stream).connect(node).connect(context.destination);
      const [track] = stream.getAudioTracks();
      track.addEventListener('ended', () => {
        if (mine === round) fail(new CameraProblem('ended', 'The microphone was disconnected, or the system has taken it away.', { advice: 'Connect it, then press the button again.' }));
      });
      for (const event of ['mute', 'unmute']) track.addEventListener(event, showState);
      context.addEventListener('statechange', showState);
      resume();
      showState();
      log('info', `microphone: ${track.label || 'no name'}, ${context.sampleRate} Hz`);
      await listMicrophones();
    } catch (error) {
      for (const track of stream?.getTracks() ?? []) track.stop();
      void context?.close().catch(() => {});
      if (mine === round) fail(cameraProblem(error, 'microphone'));
    }
  }

  toggle.addEventListener('click', () => {
    if (on) stop();
    else void start();
  });

  function showState() {
    if (!open) return;
    const muted = open.stream.getAudioTracks()[0].muted;
    write($('note'), muted ? 'Muted by the system' : open.context.state === 'running' ? 'Listening' : 'Paused: press any key or button');
  }

  /** Goes on where the system has paused the sound, as by a call, or waits for a gesture. */
  function resume() {
    if (open && open.context.state !== 'running') open.context.resume().catch(() => {});
  }
  for (const event of ['visibilitychange', 'pointerup', 'keyup']) document.addEventListener(event, resume);

  // ---- what is heard --------------------------------------------------------------

  /** @param {import('./speech-worklet.js').Heard} heard */
  function hear({ viseme, weight, level, send }) {
    if (send) onViseme(viseme, weight, HOLD_MS);
    if (document.visibilityState === 'hidden') return;
    const mouth = $('viseme');
    mouth.dataset.viseme = viseme;
    write(mouth, SOUNDS[viseme]);
    mouth.style.setProperty('--v', weight.toFixed(2));
    $('level').style.setProperty('--v', Math.max(0, 1 - level / QUIETEST_SHOWN).toFixed(3));
    write($('figures'), viseme === 'sil' ? 'Silence' : `${Math.round(level)} dB`);
  }

  // ---- choice of the microphone -----------------------------------------------------

  /** Browsers give names only after a microphone was allowed. */
  async function listMicrophones() {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === 'audioinput' && d.deviceId);
    const now = open?.stream.getAudioTracks()[0].getSettings().deviceId ?? '';
    const options = devices.map((d, i) => new Option(d.label || `Microphone ${i + 1}`, d.deviceId));
    choice.replaceChildren(...(options.length ? options : [new Option('Microphone', '')]));
    choice.value = devices.some((d) => d.deviceId === now) ? now : devices[0]?.deviceId ?? '';
    choice.disabled = options.length < 2;
  }
  choice.addEventListener('change', () => {
    chosen = choice.value;
    kept(KEPT_CHOICE, chosen);
    if (on) void start();
  });
  navigator.mediaDevices?.addEventListener?.('devicechange', () => {
    if (open) void listMicrophones();
  });

  // ---- the voice --------------------------------------------------------------------

  /** @param {number} rate @returns {Promise<import('./speech.js').VoiceProfile>} */
  async function builtin(rate) {
    const answer = await fetch(new URL(builtinFile(rate), import.meta.url));
    if (!answer.ok) throw new Error(`the built-in voice profile: HTTP ${answer.status}`);
    return readProfile(await answer.json());
  }

  /** @param {import('./speech.js').VoiceProfile | null} profile */
  async function use(profile) {
    voice = profile;
    write($('voice'), voice ? `Voice: ${voice.name || 'without a name'}` : 'No voice in particular');
    $('forget').hidden = !voice;
    const to = open;
    if (to) to.node.port.postMessage(voice ?? await builtin(to.context.sampleRate));
  }

  $('load').addEventListener('click', () => file.click());
  file.addEventListener('change', async () => {
    const [picked] = file.files ?? [];
    file.value = '';
    if (!picked) return;
    try {
      if (picked.size > MAX_VOICE) throw new Error(`${picked.size} bytes are no voice profile`);
      const text = await picked.text();
      await use(readProfile(JSON.parse(text)));
      kept(KEPT_VOICE, text);
      write($('voice-note'), '');
      log('info', `microphone: voice ${voice?.name}`);
    } catch (error) {
      write($('voice-note'), `${picked.name} was not loaded: ${reasonOf(error)}.`);
    }
  });
  $('forget').addEventListener('click', () => {
    kept(KEPT_VOICE, null);
    write($('voice-note'), '');
    void use(null);
    $('load').focus();
  });
  try {
    voice = readProfile(JSON.parse(kept(KEPT_VOICE) ?? 'null'));
  } catch { /* none is kept, or one of another version */ }
  void use(voice);

  return { start, stop, get on() { return on; }, get track() { return open?.stream.getAudioTracks()[0] ?? null; } };
}
