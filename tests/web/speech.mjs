// Sound to mouth on the page: speech.js decides as the crate does, hop by hop, and a microphone of Chromium moves a mouth
// at the server.
//
//   CARGO_TARGET_DIR=... node tests/web/speech.mjs [part of a test's name ...]
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { builtinFile, HOLD_MS, readProfile, SpeechAnalyzer, VisemeChanges, VISEMES } from '../../crates/facelink-net/web/speech.js';
import { CameraPage } from './camera-page.mjs';
import { assert, binary, needBrowser, root, runAll, until } from './lib.mjs';

if (spawnSync('espeak-ng', ['--version']).status !== 0) {
  const message = 'espeak-ng is not installed (apt-get install espeak-ng)';
  if (process.env.CI === 'true') throw new Error(message);
  console.log(`skipped: ${message}`);
  process.exit(0);
}

const folder = mkdtempSync(path.join(os.tmpdir(), 'facelink-speech-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/** A file of the built-in profiles, as the page gets it. */
const builtin = (rate) => JSON.parse(readFileSync(path.join(root, 'crates/facelink/src/speech/profiles', builtinFile(rate).replace('voice-', ''))));

/** Mono samples of a WAV file of espeak-ng. */
function read(file) {
  const bytes = readFileSync(file);
  const at = bytes.indexOf('data', 36) + 8;
  return { rate: bytes.readUInt32LE(24), samples: Float32Array.from({ length: (bytes.length - at) >> 1 }, (_, i) => bytes.readInt16LE(at + 2 * i) / 32768) };
}

function write(name, rate, samples) {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write('RIFF');
  bytes.writeUInt32LE(36 + 2 * samples.length, 4);
  bytes.write('WAVEfmt ', 8);
  [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, rate, 4], [28, 2 * rate, 4], [32, 2, 2], [34, 16, 2]].forEach(([place, value, width]) => bytes.writeUIntLE(value, place, width));
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, i) => bytes.writeInt16LE(Math.max(-32768, Math.min(32767, Math.round(sample * 32767))), 44 + 2 * i));
  const file = path.join(folder, name);
  writeFileSync(file, bytes);
  return file;
}

/** At another rate, by straight lines: what is added above the old band does not matter to a comparison. */
function resample({ rate, samples }, to) {
  return Float32Array.from({ length: Math.floor((samples.length * to) / rate) }, (_, i) => {
    const at = (i * rate) / to;
    const k = Math.floor(at);
    return samples[k] + (at - k) * ((samples[k + 1] ?? samples[k]) - samples[k]);
  });
}

function say(voice, text, speed = 160) {
  const file = path.join(folder, 'said.wav');
  const made = spawnSync('espeak-ng', ['-v', voice, '-s', String(speed), '-w', file, text], { stdio: ['ignore', 'ignore', 'inherit'] });
  assert(made.status === 0, 'espeak-ng speaks', made.status);
  return read(file);
}

/** What the command decides. */
function decided(file, more = []) {
  const run = spawnSync(binary(), ['speech', 'visemes', file, '--json', ...more], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  assert(run.status === 0, `${binary()} speech visemes`, run.stderr || run.error);
  return run.stdout.trim().split('\n').map((line) => JSON.parse(line));
}

/** What speech.js decides, in blocks of that size. */
function analyse(rate, samples, { profile = builtin(rate), block = 128 } = {}) {
  const frames = [];
  const analyzer = new SpeechAnalyzer(rate, readProfile(profile));
  for (let i = 0; i < samples.length; i += block) {
    analyzer.push(samples.subarray(i, i + block), (frame) => frames.push({ ...frame, scores: [...frame.scores] }));
  }
  return frames;
}

const refused = (call) => {
  try {
    call();
  } catch (error) {
    return error.message;
  }
  return null;
};

const SENTENCES = [
  ['en-us', 'The boy put the map on the table. Please buy more apples, papa! She sees good food in the park.'],
  ['de', 'Guten Morgen, wir sehen uns bald wieder. Der Bub mag Papas neues Boot.'],
  ['es+m2', 'Buenos días, amigo. ¿Cómo está usted en este momento?'],
  ['en+f3', 'We all saw the moon above the old bridge; peter fixed his broken sofa.'],
];

/** Five vowels, with pauses before, between and after them. */
const VOWELS = { aa: 'A:', E: 'E', ih: 'i:', oh: 'O:', ou: 'u:' };
function vowels(voice) {
  const pause = new Float32Array(24_000);
  const parts = Object.values(VOWELS).flatMap((vowel) => [pause, resample(say(voice, `[[${vowel}${vowel}]]`, 110), 48_000)]);
  return Float32Array.from([...parts, pause].flatMap((part) => [...part]));
}

/** A page whose microphone hears that file, again and again. */
async function microphone(file, { args = [], ...more } = {}) {
  const page = await CameraPage.open({ args: [`--use-file-for-fake-audio-capture=${file}`, ...args], ...more });
  /** The text of a part of the card; null when it is hidden. */
  page.said = (id) => page.run(`const e = document.getElementById('speech-${id}'); return e.checkVisibility() ? e.innerText : null;`);
  page.press = (id) => page.run(`document.getElementById('speech-${id}').click();`);
  page.listen = async () => {
    await page.press('toggle');
    await until('the microphone', async () => {
      const trouble = await page.said('trouble');
      if (trouble) throw new Error(`the page says: ${trouble}`);
      return (await page.said('note')) === 'Listening';
    });
    return page;
  };
  /** The visemes at the server from that frame on. */
  page.visemes = (from = 0) => page.frames(from).flatMap(({ at, shapes, ...frame }) => {
    const name = Object.keys(shapes).find((key) => key.startsWith('viseme_'));
    return name ? [{ ...frame, at, shapes, viseme: { viseme_I: 'ih', viseme_O: 'oh', viseme_U: 'ou' }[name] ?? name.slice(7), weight: shapes[name] }] : [];
  });
  return page;
}

/** Of each stretch between two silences, the viseme that lasts longest. */
function stretches(visemes) {
  const found = [];
  let lasts = null;
  for (let i = 1; i < visemes.length; i += 1) {
    const { viseme, at } = visemes[i - 1];
    if (viseme === 'sil') {
      if (lasts) found.push(Object.entries(lasts).sort(([, a], [, b]) => b - a)[0][0]);
      lasts = null;
    } else (lasts ??= {})[viseme] = (lasts[viseme] ?? 0) + visemes[i].at - at;
  }
  return found;
}

await runAll({
  async analyzer_decides_as_the_crate_hop_by_hop() {
    const figures = {};
    for (const rate of [48_000, 16_000, 44_100, 8_000]) {
      let [hops, same, weight, score] = [0, 0, 0, 0];
      for (const [voice, text] of SENTENCES) {
        const file = write('sentence.wav', rate, resample(say(voice, text), rate));
        const wanted = decided(file);
        const got = analyse(rate, read(file).samples);
        assert(got.length === wanted.length, 'as many hops', [got.length, wanted.length]);
        wanted.forEach((frame, i) => {
          hops += 1;
          assert(Math.abs(got[i].at - frame.at) < 1e-4, 'of the same moments', [got[i].at, frame.at]);
          if (got[i].viseme !== frame.viseme) return;
          same += 1;
          weight = Math.max(weight, Math.abs(got[i].weight - frame.weight));
          for (const [name, value] of Object.entries(frame.scores)) score = Math.max(score, Math.abs(got[i].scores[VISEMES.indexOf(name)] - value));
        });
      }
      figures[rate] = { hops, same: `${((100 * same) / hops).toFixed(2)} %`, weight, score };
      assert(same / hops >= 0.995 && weight <= 1e-3, `${rate} Hz: decisions and weights`, figures[rate]);
    }
    return figures;
  },

  async profile_of_a_voice_is_read_and_decides_as_the_crate() {
    const parts = ['ah', 'eh', 'ee', 'aw', 'oo'].map((vowel) => resample(say('en-us+f2', `[[${{ ah: 'A:', eh: 'E', ee: 'i:', aw: 'O:', oo: 'u:' }[vowel].repeat(3)}]]`, 80), 48_000));
    const pause = new Float32Array(24_000);
    const all = Float32Array.from([pause, ...parts.flatMap((part) => [part, pause])].flatMap((part) => [...part]));
    const kept = path.join(folder, 'voice.json');
    const run = spawnSync(binary(), ['speech', 'calibrate', write('vowels.wav', 48_000, all), '-o', kept], { encoding: 'utf8' });
    assert(run.status === 0, 'calibrated', run.stderr);
    const profile = JSON.parse(readFileSync(kept));
    const file = write('sentence.wav', 48_000, resample(say('en-us+f2', SENTENCES[0][1]), 48_000));
    const wanted = decided(file, ['--profile', kept]);
    const got = analyse(48_000, read(file).samples, { profile });
    const same = wanted.filter((frame, i) => got[i].viseme === frame.viseme).length;
    const changed = analyse(48_000, read(file).samples).filter((frame, i) => got[i].viseme !== frame.viseme).length;
    assert(same / wanted.length >= 0.995, 'the same decisions', [same, wanted.length]);
    assert(changed > 0, 'other ones than without the voice');
    // What is no profile is refused with the field.
    for (const [change, field] of [
      [{ format: 'voice' }, '`format`'], [{ version: 2 }, '`version`'], [{ name: 'x'.repeat(129) }, '`name`'], [{ high_hz: 0 }, '`high_hz`'],
      [{ usual: [1] }, '`usual`'], [{ usual: Array(13).fill(NaN) }, '`usual`'], [{ inertia: 0 }, '`inertia`'], [{ centre: null }, '`centre`'],
      [{ projection: [] }, '`projection`'], [{ projection: [[1]] }, '`projection[0]`'], [{ templates: [] }, '`templates`'], [{ templates: {} }, '`templates`'],
      [{ templates: Array(257).fill(profile.templates[0]) }, '`templates`'], [{ templates: [{ viseme: 'Q' }] }, '`templates[0].viseme`'],
      [{ templates: [{ viseme: 'aa', mean: [0] }] }, '`templates[0].mean`'], [{ closing: [{ viseme: 'aa', prior: 1e30 }] }, '`closing[0].prior`'], [{ held: [] }, '`held`'],
    ]) {
      const said = refused(() => readProfile({ ...profile, ...change }));
      assert(said?.includes(field), field, said);
    }
    for (const nothing of [null, undefined, 'voice', 7, []]) assert(refused(() => readProfile(nothing)), 'no profile', nothing);
    return { hops: wanted.length, same, changed };
  },

  async analyzer_takes_any_block_and_refuses_what_is_no_sound() {
    const { rate, samples } = say('en-us', 'Papa saw the boat.');
    const whole = JSON.stringify(analyse(rate, samples, { block: samples.length }));
    for (const block of [1, 7, 128, 441, 4096]) assert(JSON.stringify(analyse(rate, samples, { block })) === whole, `blocks of ${block}`);
    const analyzer = new SpeechAnalyzer(rate, readProfile(builtin(rate)));
    const frames = [];
    const push = (piece) => analyzer.push(piece, (frame) => frames.push({ ...frame, scores: [...frame.scores] }));
    push(samples.subarray(0, 5000));
    for (const bad of [NaN, Infinity, -Infinity]) {
      assert(refused(() => push(Float32Array.of(0, bad)))?.includes('`samples[1]`'), 'refused with its place', bad);
    }
    assert(refused(() => push(new Float32Array(2 ** 23 + 1)))?.includes('8388608'), 'too many');
    push(new Float32Array(0));
    push(samples.subarray(5000));
    assert(JSON.stringify(frames) === whole, 'what was refused changed nothing');
    for (const bad of [0, 7_999, 192_001, NaN, Infinity]) assert(refused(() => new SpeechAnalyzer(bad, readProfile(builtin(48_000))))?.includes('`rate`'), 'rate', bad);
    // Silence, a constant, full scale and beyond.
    for (const sound of [() => 0, () => 0.5, (i) => (i % 2 ? 1e30 : -1e30), (i) => Math.sin(i) * 1e-20]) {
      for (const frame of analyse(8_000, Float32Array.from({ length: 16_000 }, (_, i) => sound(i)))) {
        assert(Number.isFinite(frame.weight) && frame.weight >= 0 && frame.weight <= 1 && VISEMES.includes(frame.viseme), 'a frame', frame);
      }
    }
    assert(analyse(48_000, new Float32Array(96_000)).every((frame) => frame.viseme === 'sil' && frame.weight === 0), 'silence is silence');
    return { rate, hops: frames.length };
  },

  async changes_are_sent_and_repeated_as_by_the_command() {
    const changes = new VisemeChanges();
    const at = (known, viseme, weight) => changes.due({ known, viseme, weight });
    const sent = [
      at(0, 'aa', 0.5), at(0.01, 'aa', 0.55), at(0.02, 'aa', 0.65), at(0.03, 'PP', 1), at(0.2, 'PP', 1), at(0.29, 'PP', 1), at(0.3, 'sil', 0),
    ];
    assert(sent.join() === 'true,false,true,true,false,true,true', 'changes of viseme and weight, and four times a second', sent);
    const { rate, samples } = say('en-us', SENTENCES[0][1]);
    const began = performance.now();
    const hops = analyse(rate, samples);
    const cost = (performance.now() - began) / (samples.length / rate);
    const thin = new VisemeChanges();
    const messages = hops.filter((frame) => thin.due(frame)).length;
    assert(HOLD_MS === 500 && messages < hops.length / 2, 'fewer than hops', [messages, hops.length]);
    return { messagesASecond: +((100 * messages) / hops.length).toFixed(1), msASecondOfSound: +cost.toFixed(2), rate };
  },

  async microphone_moves_the_mouth_at_the_server() {
    needBrowser();
    const s = await (await microphone(write('vowels.wav', 48_000, vowels('de')))).listen();
    const heard = await until('vowels', () => {
      const all = stretches(s.visemes());
      return all.length >= 6 && all;
    }, 60_000);
    // The recording may have begun in the middle.
    const order = Object.keys(VOWELS);
    const right = Math.max(...order.map((_, shift) => heard.filter((viseme, i) => viseme === order[(i + shift) % 5]).length));
    assert(right / heard.length >= 0.8, 'the right vowels', heard);
    const all = s.visemes();
    assert(all.every(({ viseme, weight }) => (viseme === 'sil') === (weight === 0)), 'silence has no weight, and all else has');
    const open = all.find(({ viseme }) => viseme === 'aa');
    assert(open.shapes.jawOpen > 0.1 && open.source === 'webrtc', 'the mouth opens, over WebRTC', open);
    assert(await s.run(`return [...document.querySelectorAll('#speech-choice option')].length > 0 && document.getElementById('speech-toggle-text').innerText === 'Stop the microphone';`), 'the card');
    await until('the level', () => s.run(`return Number(document.getElementById('speech-level').style.getPropertyValue('--v')) > 0.3;`));
    // What a viewer gets, who asks the server for this face.
    const widest = await s.run(`
      const { FacialAnimationWebRTCClient } = await import('/facelink.js');
      const viewer = new FacialAnimationWebRTCClient();
      const opens = new Promise((done) => {
        viewer.onBlendshapeUpdate = ({ jawOpen }) => { if (jawOpen > 0.3) done(jawOpen); };
      });
      viewer.subscribe({ subject: 'Cam' });
      await viewer.connect();
      const widest = await opens;
      viewer.close();
      return widest;`);
    assert(widest > 0.3, 'a viewer sees it', widest);
    const processing = await s.run(`return facelink.speech.track.getSettings();`);
    assert(!processing.echoCancellation && !processing.noiseSuppression && !processing.autoGainControl, 'the sound as it is', processing);
    // Costs, in this browser.
    const cost = await s.run(`
      const { SpeechAnalyzer, readProfile } = await import('/speech.js');
      const profile = readProfile(await (await fetch('/voice-wide.json')).json());
      const analyzer = new SpeechAnalyzer(48000, profile);
      const sound = Float32Array.from({ length: 480000 }, (_, i) => 0.3 * Math.sin(i * i / 3e6) * Math.sin(i / 20000));
      const began = performance.now();
      for (let i = 0; i < sound.length; i += 128) analyzer.push(sound.subarray(i, i + 128), () => {});
      return (performance.now() - began) / 10;`);
    // Stopped: silence at once, and the microphone is released.
    await s.run('window.track0 = facelink.speech.track;');
    await s.press('toggle');
    await until('silence', () => s.visemes().at(-1).viseme === 'sil');
    await until('the end of the face', () => s.frames().at(-1).tracked === false);
    assert(await s.run(`return track0.readyState === 'ended' && facelink.speech.track === null;`), 'released');
    assert((await s.said('note')) === 'Off' && (await s.said('heard')) === null, 'the card');
    return { heard: heard.join(' '), right: `${right} of ${heard.length}`, msASecondOfSound: +cost.toFixed(2) };
  },

  async microphone_in_silence_leaves_the_mouth_at_rest() {
    needBrowser();
    const s = await (await microphone(write('silence.wav', 48_000, new Float32Array(48_000)))).listen();
    const visemes = await until('repetitions', () => s.visemes().length >= 6 && s.visemes());
    assert(visemes.every(({ viseme, shapes }) => viseme === 'sil' && !shapes.jawOpen), 'silence is silence', visemes.map(({ viseme }) => viseme));
    assert((await s.said('figures')) === 'Silence', 'the card says so');
    return { messages: visemes.length };
  },

  async microphone_and_camera_move_one_face() {
    needBrowser();
    const s = await (await microphone(write('vowels.wav', 48_000, vowels('de')))).listen();
    await s.on();
    await s.run(`standIn.show = 'smile';`);
    const both = await until('a smile that says aa', () => s.visemes().find(({ viseme, shapes }) => viseme === 'aa' && shapes.mouthSmileLeft > 0.5));
    assert(both.tracked && both.shapes.jawOpen > 0.1 && both.shapes.eyeBlinkRight > 0.3, 'eyes of the camera, mouth of the sound', both.shapes);
    const subjects = (await s.server.get('/api/v1/subjects')).subjects.map(({ name }) => name);
    assert(subjects.join() === 'Cam', 'one subject', subjects);
    await s.click('toggle');
    const from = s.server.frames.length;
    await until('the sound alone', () => s.visemes(from).find(({ viseme, shapes }) => viseme === 'ou' && !shapes.mouthSmileLeft));
    return { shapes: both.shapes.jawOpen };
  },

  async microphone_unavailable() {
    needBrowser();
    const file = write('silence.wav', 48_000, new Float32Array(48_000));
    const s = await microphone(file);
    for (const [name, words] of [['NotAllowedError', 'Allow the microphone'], ['NotReadableError', 'in use by another program'], ['NotFoundError', 'No microphone was found']]) {
      await s.run(`
        window.open0 ??= navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '${name}'); };`);
      await s.press('toggle');
      await until(`the message for ${name}`, async () => (await s.said('trouble'))?.includes(words));
      assert((await s.said('toggle-text')) === 'Mouth from sound', 'the button offers another try');
    }
    // One that was chosen is not connected any more: any other.
    await s.run(`navigator.mediaDevices.getUserMedia = open0; localStorage.setItem('facelink.microphone', 'gone');`);
    await s.page.post('/url', { url: s.url });
    await until('the page', () => s.run('return window.facelink?.speech !== undefined;'));
    await s.listen();
    assert((await s.said('trouble')) === null, 'the message has gone');
    // Unplugged.
    await s.run(`window.track0 = facelink.speech.track; track0.dispatchEvent(new Event('ended'));`);
    await until('the message', async () => (await s.said('trouble'))?.includes('disconnected'));
    assert(await s.run(`return track0.readyState === 'ended';`), 'released');
    // A voice of the user's: kept, used, removed; what is none is refused.
    const load = (name, text) => s.run(`
      const files = new DataTransfer();
      files.items.add(new File([${JSON.stringify(text)}], '${name}'));
      const input = document.getElementById('speech-file');
      input.files = files.files;
      input.dispatchEvent(new Event('change'));`);
    await s.listen();
    await load('other.json', '{"format":"facelink-voice","version":2}');
    await until('the refusal', async () => (await s.said('voice-note'))?.includes('other.json was not loaded: voice profile: `version` is not 1'));
    await load('ann.json', JSON.stringify({ ...builtin(48_000), name: 'Ann' }));
    await until('the voice', async () => (await s.said('voice')) === 'Voice: Ann');
    await s.page.post('/url', { url: s.url });
    await until('the page', () => s.run('return window.facelink?.speech !== undefined;'));
    await s.listen();
    assert((await s.said('voice')) === 'Voice: Ann', 'it is kept');
    await s.press('forget');
    await until('no voice', async () => (await s.said('voice')) === 'No voice in particular');
    assert(await s.run(`return localStorage.getItem('facelink.voice') === null;`), 'nothing is kept');
    // A real refusal, and a page that is not secure.
    const denied = await microphone(file, { args: ['--deny-permission-prompts'], allowed: false });
    await denied.press('toggle');
    await until('the refusal', async () => (await denied.said('trouble'))?.includes('was not allowed'));
    const plain = await microphone(file, { url: (port) => `http://face.local:${port}/?subject=Cam` });
    await plain.press('toggle');
    await until('the advice', async () => /secure pages only[^]*https/.test((await plain.said('trouble')) ?? ''));
    return {};
  },
});
