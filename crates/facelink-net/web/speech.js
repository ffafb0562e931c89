// @ts-check
/**
 * Visemes from sound, without a service: the analyzer of the crate `facelink`,
 * `speech`, in JavaScript. The same windows, features and decisions; see
 * docs/speech.md for the method. No page and no microphone is needed for it.
 *
 * @module speech
 */

/** The 15 of the Oculus set, in the order of scores. */
export const VISEMES = /** @type {const} */ (['sil', 'PP', 'FF', 'TH', 'DD', 'kk', 'CH', 'SS', 'nn', 'RR', 'aa', 'E', 'ih', 'oh', 'ou']);
/** Samples a second, at least and at most. */
export const MIN_RATE = 8_000;
export const MAX_RATE = 192_000;
/** Samples of one call of `push`, at most. */
export const MAX_SAMPLES = 2 ** 23;
/** How long a viseme holds at the receiver if no other follows, ms: twice the time between repetitions. */
export const HOLD_MS = 500;

const SIL = 0;
const PP = 1;
const VOWELS = ['aa', 'E', 'ih', 'oh', 'ou'];
/** Below this rate the profile for narrow-band sound is better. */
const WIDE_RATE = 14_500;
/** Louder samples are clipped. */
const LOUDEST = 4;

/**
 * @typedef {object} Template One sound.
 * @property {number} viseme Place in `VISEMES`.
 * @property {number} prior Natural logarithm of how often it is.
 * @property {Float64Array} mean
 */
/**
 * @typedef {object} VoiceProfile What the sounds of a voice are like.
 * @property {string} name
 * @property {number} high Hz.
 * @property {Float64Array} usual
 * @property {number} inertia
 * @property {Float64Array} centre
 * @property {Float64Array[]} projection
 * @property {Template[]} templates
 * @property {Template[]} closing
 */
/**
 * @typedef {object} SpeechFrame What a mouth does in one hop of 10 ms.
 * @property {number} at Middle of the window that it describes, in seconds since the first sample.
 * @property {number} known End of the sound that had to be heard for it.
 * @property {typeof VISEMES[number]} viseme `sil` in silence.
 * @property {number} weight 0 to 1, by loudness; 0 in silence.
 * @property {Float64Array} scores How likely each viseme is, in the order of `VISEMES`. Used again for the next hop.
 * @property {number} level dB below full scale.
 * @property {number} excess dB above the background, in the mean of the bands.
 * @property {number} voicing How periodic the sound is, 0 to 1.
 */

// ---- profiles -------------------------------------------------------------------

const COEFFICIENTS = 13;
const FEATURES = 2 * COEFFICIENTS + 1;
const MAX_NUMBER = 1e6;
const MAX_TEMPLATES = 256;

/** The file of the built-in profile for this rate, on the page's server. @param {number} rate */
export function builtinFile(rate) {
  return rate < WIDE_RATE ? 'voice-narrow.json' : 'voice-wide.json';
}

/** @param {string} field @param {string} reason @returns {never} */
function refuse(field, reason) {
  throw new TypeError(`voice profile: \`${field}\` ${reason}`);
}

/** @param {string} field @param {any} found @param {number} wanted */
function numbers(field, found, wanted) {
  if (!Array.isArray(found) || found.length !== wanted) return refuse(field, 'has another number of values than it needs');
  if (!found.every((x) => typeof x === 'number' && Math.abs(x) <= MAX_NUMBER)) return refuse(field, 'has a value out of range');
  return Float64Array.from(found);
}

/** @param {string} field @param {any} rows @param {number} dimensions @returns {Template[]} */
function templates(field, rows, dimensions) {
  if (!Array.isArray(rows)) return refuse(field, 'is no list');
  if (rows.length > MAX_TEMPLATES) return refuse(field, 'has more than 256 sounds');
  return rows.map((row, index) => {
    const viseme = VISEMES.indexOf(row?.viseme);
    if (viseme < 0) return refuse(`${field}[${index}].viseme`, 'is no viseme of the Oculus set');
    const [prior] = numbers(`${field}[${index}].prior`, [row.prior ?? 0], 1);
    return { viseme, prior, mean: numbers(`${field}[${index}].mean`, row.mean, dimensions) };
  });
}

/**
 * Reads a profile, as `facelink speech calibrate` writes it.
 * @param {any} file The parsed JSON
 * @returns {VoiceProfile}
 * @throws {TypeError} Names the field that is wrong
 */
export function readProfile(file) {
  if (!file || typeof file !== 'object') throw new TypeError('not a voice profile');
  if (file.format !== 'facelink-voice') refuse('format', 'is not facelink-voice');
  if (file.version !== 1) refuse('version', 'is not 1');
  if (typeof file.name !== 'string' || new TextEncoder().encode(file.name).length > 128) refuse('name', 'is no text of up to 128 bytes');
  if (!(file.high_hz >= 1_000 && file.high_hz <= 24_000)) refuse('high_hz', 'is not between 1000 and 24000');
  const usual = numbers('usual', file.usual, COEFFICIENTS);
  if (!(file.inertia >= 1 && file.inertia <= MAX_NUMBER)) refuse('inertia', 'is not between 1 and 1000000');
  const centre = numbers('centre', file.centre, FEATURES);
  const dimensions = Array.isArray(file.projection) ? file.projection.length : 0;
  if (dimensions < 1 || dimensions > FEATURES) refuse('projection', 'has no row, or more rows than features');
  const projection = file.projection.map((/** @type {any} */ row, /** @type {number} */ i) => numbers(`projection[${i}]`, row, FEATURES));
  const held = templates('held', file.held, FEATURES);
  if (!VOWELS.every((vowel) => held.some(({ viseme }) => VISEMES[viseme] === vowel))) refuse('held', 'lacks one of aa, E, ih, oh, ou');
  const sounds = templates('templates', file.templates, dimensions);
  if (!sounds.length) refuse('templates', 'is empty');
  return {
    name: file.name, high: Number(file.high_hz), usual, inertia: Number(file.inertia), centre, projection,
    templates: sounds, closing: templates('closing', file.closing, dimensions),
  };
}

// ---- from samples to mel bands: windows of 25 ms, every 10 ms -------------------

const BANDS = 24;
const HOPS_A_SECOND = 100;
const LOWEST_HZ = 100;
/** Pitch is looked for between these, Hz. */
const LOWEST_PITCH = 75;
const HIGHEST_PITCH = 400;
/** Long lags compare little of the window: noise would seem periodic by chance. */
const LEAST_OVERLAP = 0.35;
/** Added to every band: below all that a sound card records. */
const QUIETEST = 1e-14;

/** @param {number} hz */
const mel = (hz) => 1127 * Math.log1p(hz / 700);
/** @param {number} m */
const hertz = (m) => 700 * Math.expm1(m / 1127);
/** @param {number} power */
const db = (power) => 10 * Math.log10(power);

/** Fourier transform of a size that is a power of two, in place. */
class Fourier {
  /** @param {number} size */
  constructor(size) {
    this.size = size;
    this.cos = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.sin = Float64Array.from({ length: size / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / size));
    const bits = Math.log2(size);
    this.places = Uint32Array.from({ length: size }, (_, i) => {
      let place = 0;
      for (let bit = 0; bit < bits; bit += 1) if (i & (1 << bit)) place |= 1 << (bits - 1 - bit);
      return place;
    });
  }

  /** @param {Float64Array} re @param {Float64Array} im */
  transform(re, im) {
    const { size, cos, sin, places } = this;
    for (let i = 0; i < size; i += 1) {
      const j = places[i];
      if (j <= i) continue;
      const [r, m] = [re[i], im[i]];
      re[i] = re[j];
      im[i] = im[j];
      re[j] = r;
      im[j] = m;
    }
    for (let half = 1, step = size / 2; half < size; half *= 2, step /= 2) {
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0, turn = 0; k < half; k += 1, turn += step) {
          const a = start + k;
          const b = a + half;
          const r = re[b] * cos[turn] - im[b] * sin[turn];
          const m = re[b] * sin[turn] + im[b] * cos[turn];
          re[b] = re[a] - r;
          im[b] = im[a] - m;
          re[a] += r;
          im[a] += m;
        }
      }
    }
  }
}

/** Cuts samples into windows and transforms them. */
class Spectrum {
  /** What the last window had: power of each band, dB below full scale, and how periodic it is. */
  bands = new Float64Array(BANDS);
  level = 0;
  voicing = 0;
  /** Samples and windows so far. */
  taken = 0;
  #hops = 0;
  #filled = 0;

  /** @param {number} rate @param {number} highHz */
  constructor(rate, highHz) {
    this.rate = rate;
    const window = Math.floor(rate / 40);
    const longest = Math.floor(rate / LOWEST_PITCH);
    let size = 1;
    while (size < window + longest + 1) size *= 2;
    this.window = window;
    this.fourier = new Fourier(size);
    this.re = new Float64Array(size);
    this.im = new Float64Array(size);
    this.buffer = new Float64Array(window);
    this.shape = Float64Array.from({ length: window }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / window));
    const energy = this.shape.reduce((sum, w) => sum + w * w, 0);
    /** Of the window with itself, by lag: what a periodic sound could reach at most. */
    this.overlap = Float64Array.from({ length: longest + 1 }, (_, lag) => {
      let sum = 0;
      for (let i = lag; i < window; i += 1) sum += this.shape[i] * this.shape[i - lag];
      return sum / energy;
    });
    this.scale = 1 / (energy * rate);
    this.binHz = rate / size;
    const low = mel(LOWEST_HZ);
    const high = mel(Math.min(highHz, rate * 0.475));
    /** @param {number} i */
    const edge = (i) => hertz(low + ((high - low) * i) / (BANDS + 1));
    this.filters = Array.from({ length: BANDS }, (_, i) => {
      const [start, middle, end] = [edge(i), edge(i + 1), edge(i + 2)];
      const first = Math.ceil(start / this.binHz);
      const last = Math.max(first, Math.min(Math.floor(end / this.binHz), size / 2));
      const shares = Float64Array.from({ length: last - first + 1 }, (_, k) => {
        const f = (first + k) * this.binHz;
        return Math.max(1e-3, Math.min((f - start) / (middle - start), (end - f) / (end - middle)));
      });
      // Speech falls by the square of the frequency.
      const factor = (middle / 1000) ** 2 / shares.reduce((sum, share) => sum + share, 0);
      return { first, shares: shares.map((share) => share * factor) };
    });
  }

  /** Takes one sample; true when a window is full, which has to be looked at then. @param {number} sample */
  push(sample) {
    this.taken += 1;
    this.buffer[this.#filled] = sample;
    this.#filled += 1;
    return this.#filled === this.window;
  }

  /** Looks at the window that is full; the next one starts a hop later. */
  look() {
    const { window, buffer, shape, re, im, bands } = this;
    const size = re.length;
    let mean = 0;
    for (let i = 0; i < window; i += 1) mean += buffer[i] / window;
    let power = 0;
    for (let i = 0; i < window; i += 1) {
      const x = buffer[i] - mean;
      power += (x * x) / window;
      re[i] = x * shape[i];
    }
    re.fill(0, window);
    im.fill(0);
    this.level = db(power + 1e-12);
    this.fourier.transform(re, im);
    for (let k = 0; k <= size / 2; k += 1) re[k] = re[k] * re[k] + im[k] * im[k];
    for (let i = 0; i < BANDS; i += 1) {
      const { first, shares } = this.filters[i];
      let sum = 0;
      for (let k = 0; k < shares.length; k += 1) sum += re[first + k] * shares[k];
      bands[i] = sum * this.scale + QUIETEST;
    }
    // A voice has little above 1.5 kHz that repeats cleanly, and rumble below is none. The power spectrum is symmetric, so
    // that a transform forward gives its autocorrelation.
    re.fill(0, 0, Math.floor(60 / this.binHz));
    re.fill(0, Math.floor(1500 / this.binHz), size / 2 + 1);
    for (let k = 1; k < size / 2; k += 1) re[size - k] = re[k];
    im.fill(0);
    this.fourier.transform(re, im);
    this.voicing = this.#periodic();
    const start = Math.floor((this.#hops * this.rate) / HOPS_A_SECOND);
    this.#hops += 1;
    const hop = Math.floor((this.#hops * this.rate) / HOPS_A_SECOND) - start;
    buffer.copyWithin(0, hop);
    this.#filled = window - hop;
  }

  /** The highest peak of the autocorrelation over the lags of a pitch. */
  #periodic() {
    const { re, overlap } = this;
    if (!(re[0] > 0)) return 0;
    let most = 0;
    for (let lag = Math.max(1, Math.floor(this.rate / HIGHEST_PITCH)); lag < overlap.length; lag += 1) {
      if (re[lag] < re[lag - 1] || re[lag] < re[lag + 1]) continue;
      most = Math.max(most, re[lag] / re[0] / Math.max(overlap[lag], LEAST_OVERLAP));
    }
    return Math.min(most, 1);
  }
}

// ---- what is heard without speech: minimum statistics ---------------------------

const PARTS = 5;
/** Hops of a part. */
const PART = 50;
/** What a voiced hop counts: a vowel that is held is no background for five times as long. In the precision of the crate. */
const VOICED = Math.fround(0.2);
const SURE_VOICE = 0.75;
/** Hops without a voice after which a stream that began with one is at its background. */
const SURE = 15;
/** Above this a window is a voice. */
const VOICE = 0.55;
const SMOOTHING = 0.75;
/** From the minimum of the smoothed power to its mean, for noise. */
const BIAS = 1.8;
/** No background is taken to be quieter than this in any band: about -85 dB below full scale. */
const QUIETEST_NOISE = 3e-13;

/** Follows the background. */
class NoiseFloor {
  #smooth = new Float64Array(BANDS);
  #started = false;
  #minima = Array.from({ length: PARTS }, () => new Float64Array(BANDS).fill(Infinity));
  #part = 0;
  #counted = 0;
  #beginsVoiced = false;
  #unvoiced = 0;
  /** Mean power of each band of the background. */
  bands = new Float64Array(BANDS).fill(QUIETEST_NOISE);

  /** @param {Spectrum} sound */
  hear(sound) {
    const voiced = sound.voicing > VOICE;
    // A stream may begin within a word, which is no background, nor are its consonants.
    this.#beginsVoiced ||= !this.#started && sound.voicing > SURE_VOICE;
    this.#unvoiced = voiced ? 0 : this.#unvoiced + 1;
    if (!this.#started && this.#beginsVoiced && this.#unvoiced < SURE) return;
    if (!this.#started) this.#smooth.set(sound.bands);
    this.#started = true;
    const least = this.#minima[this.#part];
    for (let i = 0; i < BANDS; i += 1) {
      this.#smooth[i] = sound.bands[i] + SMOOTHING * (this.#smooth[i] - sound.bands[i]);
      least[i] = Math.min(least[i], this.#smooth[i]);
    }
    this.#counted = Math.fround(this.#counted + (voiced ? VOICED : 1));
    if (this.#counted >= PART) {
      this.#counted = 0;
      this.#part = (this.#part + 1) % PARTS;
      this.#minima[this.#part].set(this.#smooth);
    }
    for (let i = 0; i < BANDS; i += 1) {
      let lowest = Infinity;
      for (const part of this.#minima) lowest = Math.min(lowest, part[i]);
      this.bands[i] = Math.max(lowest * BIAS, QUIETEST_NOISE);
    }
  }
}

// ---- from bands to features -----------------------------------------------------

/** dB: what lies further below the loudest band of a window says nothing. */
const RANGE = 40;
/** dB: nor what lies further below the speaker's level. */
const DEPTH = 50;
/** dB a hop by which the level of the speaker is forgotten. */
const FORGET = 0.05;
/** dB: a speaker is at least this much above the background. */
const LEAST_ABOVE = 25;
/** Hops of voice after which an earlier one is forgotten: 4 s. */
const MEMORY = 400;
/** Change of the coefficients at which a hop counts in full: a vowel that is held says nothing of the voice. */
const MOVING = 25;
/** dB above the background from which a hop says something of the voice. */
const CLEAR = 4;
/** Share of a band that is left when the background is subtracted. */
const LEAST_LEFT = 0.02;

/** @typedef {{ cepstrum: Float64Array, loudness: number, excess: number, level: number, voicing: number }} Past */

/** Cepstral coefficients relative to the speaker's level, how they change, and voicing. */
class Features {
  #noise = new NoiseFloor();
  #speaker = -Infinity;
  #logs = new Float64Array(BANDS);
  /** @type {Past[]} The newest first. */
  #past = Array.from({ length: 4 }, () => ({ cepstrum: new Float64Array(COEFFICIENTS), loudness: 0, excess: 0, level: 0, voicing: 0 }));
  #heard = 0;
  /** Of the window before the last one. */
  features = new Float64Array(FEATURES);
  now = this.#past[1];

  /** @param {VoiceProfile} profile */
  constructor({ usual, inertia }) {
    this.usual = usual.slice();
    this.weight = inertia;
    const scale = Math.sqrt(2 / BANDS);
    this.cosines = Array.from({ length: COEFFICIENTS }, (_, i) => Float64Array.from({ length: BANDS }, (_, band) => (
      (i === 0 ? 0.5 : 1) * scale * Math.cos((Math.PI * i * (band + 0.5)) / BANDS))));
  }

  /** Describes the window before this one, which is known now together with what came after it. False before there is one. @param {Spectrum} sound */
  hear(sound) {
    const logs = this.#logs;
    this.#noise.hear(sound);
    const noise = this.#noise.bands;
    let [total, background, excess, loudest] = [0, 0, 0, -Infinity];
    for (let i = 0; i < BANDS; i += 1) {
      total += sound.bands[i];
      background += noise[i];
      logs[i] = db(Math.max(sound.bands[i] - noise[i], LEAST_LEFT * sound.bands[i]));
      loudest = Math.max(loudest, logs[i]);
      excess += Math.min(40, Math.max(0, db(sound.bands[i] / noise[i]))) / BANDS;
    }
    this.#speaker = Math.max(db(total), this.#speaker - FORGET, db(background) + LEAST_ABOVE);
    const floor = Math.max(loudest - RANGE, this.#speaker - DEPTH);
    const newest = /** @type {Past} */ (this.#past.pop());
    this.#past.unshift(newest);
    for (let i = 0; i < COEFFICIENTS; i += 1) {
      let sum = 0;
      for (let band = 0; band < BANDS; band += 1) sum += (Math.max(logs[band], floor) - this.#speaker) * this.cosines[i][band];
      newest.cepstrum[i] = sum;
    }
    newest.loudness = db(total) - this.#speaker;
    newest.excess = excess;
    newest.level = sound.level;
    newest.voicing = sound.voicing;
    this.#heard = Math.min(this.#heard + 1, 4);
    if (this.#heard < 2) return false;
    const now = this.now = this.#past[1];
    const oldest = this.#past[this.#heard - 1];
    const { features, usual } = this;
    for (let i = 0; i < COEFFICIENTS; i += 1) features[COEFFICIENTS + i] = newest.cepstrum[i] - oldest.cepstrum[i];
    if (now.voicing > VOICE && now.excess > CLEAR) {
      let change = 0;
      for (let i = COEFFICIENTS + 1; i < 2 * COEFFICIENTS; i += 1) change += features[i] ** 2;
      const share = Math.min(1, Math.sqrt(change) / MOVING);
      this.weight = Math.min(this.weight + share, Math.max(this.weight, MEMORY));
      const part = share / Math.max(1, this.weight);
      for (let i = 0; i < COEFFICIENTS; i += 1) usual[i] += part * (now.cepstrum[i] - usual[i]);
    }
    for (let i = 0; i < COEFFICIENTS; i += 1) features[i] = now.cepstrum[i] - usual[i];
    // Loudness is relative to the speaker's already.
    features[0] = now.cepstrum[0];
    // In the scale of the others.
    features[2 * COEFFICIENTS] = 10 * now.voicing;
    return true;
  }
}

// ---- from sounds to mouth shapes ------------------------------------------------

/** Neighbouring windows overlap, and are no independent evidence: their share in the decision. */
const EVIDENCE = 0.5;
/** Share of the prior: how often a sound is says little about this one. */
const PRIOR = 0.5;
/** Chance that a mouth shape lasts for another hop. */
const STAYS = 0.85;
const MOVES = (1 - STAYS) / (VISEMES.length - 1);
/** dB above the background, in the mean of all bands, at which speech begins and ends. */
const BEGINS = 4;
const ENDS = 2.5;
/** dB: and no more than this below the speaker's level. */
const DEEPEST = -42;
/** dB: below full scale, nothing is speech. */
const LEAST_LEVEL = -68;
/** Hops that lips or tongue stay closed when the voice stops; a longer pause is silence. */
const CLOSED = 14;
/** Hops for which silence has to last before a mouth that was not closing rests. */
const RESTS = 6;
/** Share of a closure's chance above which the lips meet. */
const LIPS = 0.4;
/** dB of loudness from a weight of 0.3 to 1. */
const SWING = 30;

/** The chance of each viseme by its templates. @param {Template[]} sounds @param {Float64Array} place @param {Float64Array} out */
function chances(sounds, place, out) {
  out.fill(-Infinity);
  for (const { viseme, prior, mean } of sounds) {
    let distance = 0;
    for (let i = 0; i < mean.length; i += 1) distance += (mean[i] - place[i]) ** 2;
    const log = PRIOR * prior - 0.5 * distance;
    const [high, low] = out[viseme] > log ? [out[viseme], log] : [log, out[viseme]];
    out[viseme] = high + Math.log1p(Math.exp(low - high));
  }
  const best = Math.max(...out);
  for (let i = 0; i < out.length; i += 1) out[i] = best === -Infinity ? 0 : Math.exp(EVIDENCE * (out[i] - best));
}

/** @param {Float64Array} values */
function normalise(values) {
  let sum = 0;
  for (const value of values) sum += value;
  if (sum > 0) for (let i = 0; i < values.length; i += 1) values[i] /= sum;
}

class Decider {
  #chances = new Float64Array(VISEMES.length).fill(1 / VISEMES.length);
  #evidence = new Float64Array(VISEMES.length);
  /** What the mouth does when the voice stops. */
  #closing = new Float64Array(VISEMES.length);
  #speaking = false;
  /** Hops since the voice stopped. */
  #quiet = Infinity;
  scores = new Float64Array(VISEMES.length);
  viseme = SIL;
  weight = 0;

  /** @param {VoiceProfile} profile */
  constructor(profile) {
    this.profile = profile;
    this.place = new Float64Array(profile.projection.length);
  }

  /** @param {Float64Array} features @param {Past} heard */
  decide(features, { excess, loudness, level, voicing }) {
    const { profile, place } = this;
    this.#speaking = excess > (this.#speaking ? ENDS : BEGINS) && loudness > DEEPEST && level > LEAST_LEVEL;
    if (this.#speaking) {
      this.#quiet = 0;
      for (let i = 0; i < place.length; i += 1) {
        const row = profile.projection[i];
        place[i] = 0;
        for (let k = 0; k < FEATURES; k += 1) place[i] += row[k] * (features[k] - profile.centre[k]);
      }
      const now = this.#chances;
      chances(profile.templates, place, this.#evidence);
      for (let i = 0; i < now.length; i += 1) now[i] = (STAYS * now[i] + MOVES * (1 - now[i])) * this.#evidence[i];
      normalise(now);
      if (voicing > VOICE || loudness > -20) {
        // The last hops before the voice stops say it together.
        chances(profile.closing, place, this.#evidence);
        for (let i = 0; i < now.length; i += 1) this.#closing[i] = Math.sqrt(Math.max(this.#closing[i], 1e-4)) * this.#evidence[i];
        normalise(this.#closing);
      }
    } else {
      this.#quiet += 1;
      this.#chances.fill(1 / VISEMES.length);
    }
    this.#show(loudness);
  }

  /** @param {number} loudness */
  #show(loudness) {
    const { scores } = this;
    if (this.#speaking) {
      scores.set(this.#chances);
      let most = scores[this.viseme] * 1.1;
      for (let i = 0; i < scores.length; i += 1) if (scores[i] > most) [this.viseme, most] = [i, scores[i]];
    } else {
      if (this.#quiet <= CLOSED && (this.#closing[PP] > LIPS || (this.viseme === PP && this.#quiet <= RESTS))) this.viseme = PP;
      else if (this.#quiet > RESTS) this.viseme = SIL;
      scores.fill(0);
      scores[this.viseme] = 1;
    }
    this.weight = this.viseme === SIL ? 0 : this.viseme === PP ? 1
      : this.#speaking ? Math.min(1, Math.max(0.3, 1 + (loudness * 0.7) / SWING)) : 0.3;
  }
}

// ---- the analyzer ---------------------------------------------------------------

/** Turns mono sound into visemes: a `SpeechFrame` every 10 ms, 45 ms after its sound at the latest. */
export class SpeechAnalyzer {
  #spectrum;
  #features;
  #decider;

  /**
   * @param {number} rate Samples a second, 8 to 192 kHz
   * @param {VoiceProfile} profile From `readProfile`
   */
  constructor(rate, profile) {
    if (!(rate >= MIN_RATE && rate <= MAX_RATE)) throw new RangeError(`\`rate\` is ${rate} samples a second, expected ${MIN_RATE} to ${MAX_RATE}`);
    this.rate = rate;
    this.#spectrum = new Spectrum(rate, profile.high);
    this.#features = new Features(profile);
    this.#decider = new Decider(profile);
  }

  /**
   * Takes samples, -1 to 1, as many as there are, and calls `each` for every hop that they complete. A call that is refused
   * changes nothing.
   * @param {Float32Array} samples
   * @param {(frame: SpeechFrame) => void} each
   */
  push(samples, each) {
    if (samples.length > MAX_SAMPLES) throw new RangeError(`\`samples\` has ${samples.length} values, expected at most ${MAX_SAMPLES} in one call`);
    for (let i = 0; i < samples.length; i += 1) if (!Number.isFinite(samples[i])) throw new RangeError(`\`samples[${i}]\` is not finite`);
    const spectrum = this.#spectrum;
    const features = this.#features;
    const decider = this.#decider;
    for (let i = 0; i < samples.length; i += 1) {
      if (!spectrum.push(Math.min(LOUDEST, Math.max(-LOUDEST, samples[i])))) continue;
      const known = spectrum.taken / this.rate;
      spectrum.look();
      if (!features.hear(spectrum)) continue;
      const { now } = features;
      decider.decide(features.features, now);
      each({
        at: known - 0.0225, known, viseme: VISEMES[decider.viseme], weight: decider.weight, scores: decider.scores,
        level: now.level, excess: now.excess, voicing: now.voicing,
      });
    }
  }
}

/** A weight that differs less is the same to the eye. */
const STEP = 0.1;

/** Thins frames out to the visemes to send: what changed, and what holds four times a second, silence too. */
export class VisemeChanges {
  #viseme = '';
  #weight = 0;
  #sent = 0;

  /** Whether to send this frame, with a duration of `HOLD_MS`. @param {SpeechFrame} frame */
  due({ viseme, weight, known }) {
    if (viseme === this.#viseme && Math.abs(weight - this.#weight) < STEP && known - this.#sent < HOLD_MS / 2000) return false;
    this.#viseme = viseme;
    this.#weight = weight;
    this.#sent = known;
    return true;
  }
}
