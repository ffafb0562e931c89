// @ts-check
/**
 * A performer's picture and sound next to the face: a WebRTC connection of its own, which one HTTP request opens (WHIP, RFC
 * 9725), so that no frame of a face waits for a picture; and the same for viewers (WHEP).
 *
 * @module picture
 */

/** Bits a second. */
const PICTURE_BITRATE = 1_200_000;
const SOUND_BITRATE = 48_000;
const MAX_FPS = 30;
/** Height that is sent at most; larger pictures are scaled. */
const MAX_HEIGHT = 480;
/** Between two attempts, doubled each time, ms. */
const RETRY_MS = 1000;
const RETRY_MAX_MS = 15_000;
const GATHER_MS = 2000;

/** What a server answered that takes no picture. */
export class PictureRefused extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Offers by HTTP. @param {RTCPeerConnection} pc @param {URL} url @param {string | null} token */
async function offer(pc, url, token) {
  await pc.setLocalDescription();
  if (pc.iceGatheringState !== 'complete') {
    await new Promise((done) => {
      pc.addEventListener('icegatheringstatechange', () => { if (pc.iceGatheringState === 'complete') done(null); });
      setTimeout(done, GATHER_MS);
    });
  }
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp', ...(token ? { authorization: `Bearer ${token}` } : null) },
    body: pc.localDescription?.sdp,
  });
  const text = await answer.text();
  if (!answer.ok) {
    let error = { code: String(answer.status), message: `the server answered ${answer.status}` };
    try {
      error = JSON.parse(text).error ?? error;
    } catch { /* no answer of ours */ }
    throw new PictureRefused(error.code, error.message);
  }
  await pc.setRemoteDescription({ type: 'answer', sdp: text });
  return answer.headers.get('location');
}

/** H.264 first, then VP9: what takes have and viewers show. @param {RTCRtpTransceiver} transceiver */
function prefer(transceiver) {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const of = (/** @type {string} */ name) => codecs.filter((codec) => codec.mimeType.toLowerCase() === `video/${name}`);
  const wanted = [...of('h264'), ...of('vp9')];
  if (wanted.length) transceiver.setCodecPreferences(wanted);
}

/** Keeps a connection while it is wanted. */
class Kept {
  /** @type {RTCPeerConnection | null} */ pc = null;
  #round = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** `problem`: why it is not on. @type {(state: 'off' | 'connecting' | 'on', problem?: string) => void} */
  onState = () => {};

  /** @param {(pc: RTCPeerConnection) => Promise<void>} begin @param {(error: PictureRefused) => boolean} isFinal */
  keep(begin, isFinal) {
    this.stop();
    const round = this.#round;
    let delay = RETRY_MS;
    const attempt = async () => {
      const pc = this.pc = new RTCPeerConnection();
      const again = (/** @type {string} */ problem) => {
        pc.close();
        if (round !== this.#round || this.pc !== pc) return;
        this.pc = null;
        this.onState('connecting', problem);
        this.#timer = setTimeout(attempt, delay);
        delay = Math.min(RETRY_MAX_MS, delay * 2);
      };
      pc.addEventListener('connectionstatechange', () => {
        if (round !== this.#round) return;
        if (pc.connectionState === 'connected') {
          delay = RETRY_MS;
          this.onState('on');
        } else if (pc.connectionState === 'failed' || pc.connectionState === 'closed') again('the connection broke off');
      });
      try {
        this.onState('connecting');
        await begin(pc);
      } catch (error) {
        if (round !== this.#round) pc.close();
        else if (error instanceof PictureRefused && isFinal(error)) {
          this.stop();
          this.onState('off', error.message);
        } else again(error instanceof Error ? error.message : String(error));
      }
    };
    void attempt();
  }

  stop() {
    this.#round += 1;
    clearTimeout(this.#timer);
    this.pc?.close();
    this.pc = null;
  }
}

/**
 * Sends the tracks of a performer.
 *
 * @typedef {object} PublishOptions
 * @property {() => { server: string, token: string | null, subject: string | null, resume: string | null }} where
 * @property {(state: 'off' | 'connecting' | 'on', problem?: string) => void} onState
 */
export class PicturePublisher {
  #kept = new Kept();
  #where;
  /** @type {string | null} */ #location = null;
  /** @type {{ video: MediaStreamTrack | null, audio: MediaStreamTrack | null }} */ #tracks = { video: null, audio: null };
  /** Of the connection of the face that they belong to. @type {string | null} */ #resume = null;

  /** @param {PublishOptions} options */
  constructor({ where, onState }) {
    this.#where = where;
    this.#kept.onState = onState;
  }

  /** For tests and for the console. */
  get connection() {
    return this.#kept.pc;
  }

  /** Sends these from now on; without any, nothing. @param {MediaStreamTrack | null} video @param {MediaStreamTrack | null} audio */
  send(video, audio) {
    const { resume } = this.#where();
    if (video === this.#tracks.video && audio === this.#tracks.audio && resume === this.#resume) return;
    this.stop();
    this.#resume = resume;
    this.#tracks = { video, audio };
    if (!video && !audio) return;
    this.#kept.keep((pc) => this.#begin(pc), (error) => ['sealed', 'no_pictures', 'forbidden_role', 'unauthorized'].includes(error.code));
  }

  stop() {
    this.#tracks = { video: null, audio: null };
    this.#kept.stop();
    if (this.#location) void fetch(this.#location, { method: 'DELETE', headers: this.#headers(), keepalive: true }).catch(() => {});
    this.#location = null;
  }

  /** @returns {Record<string, string>} */
  #headers() {
    const { token } = this.#where();
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  /** @param {RTCPeerConnection} pc */
  async #begin(pc) {
    const { video, audio } = this.#tracks;
    const { server, token, subject, resume } = this.#where();
    if (video) {
      const { height = MAX_HEIGHT } = video.getSettings();
      const encoding = { maxBitrate: PICTURE_BITRATE, maxFramerate: MAX_FPS, scaleResolutionDownBy: Math.max(1, height / MAX_HEIGHT) };
      /** @param {RTCRtpEncodingParameters & { scalabilityMode?: string }} with_ */
      const add = (with_) => pc.addTransceiver(video, { direction: 'sendonly', sendEncodings: [with_] });
      let transceiver;
      try {
        // Every second frame can be left out for viewers with a thin path.
        transceiver = add({ ...encoding, scalabilityMode: 'L1T2' });
      } catch {
        transceiver = add(encoding);
      }
      prefer(transceiver);
    }
    if (audio) pc.addTransceiver(audio, { direction: 'sendonly', sendEncodings: [{ maxBitrate: SOUND_BITRATE }] });
    const url = new URL('/api/v1/whip', server);
    if (resume) url.searchParams.set('resume', resume);
    if (subject) url.searchParams.set('subject', subject);
    const location = await offer(pc, url, token);
    this.#location = location ? new URL(location, server).href : null;
  }
}

/**
 * Shows the picture of a subject in a video element, while there is one.
 *
 * @typedef {object} ViewOptions
 * @property {HTMLVideoElement} video
 * @property {string} server
 * @property {string | null} token
 * @property {boolean} [thin] Half of the frames.
 * @property {(state: 'off' | 'connecting' | 'on', problem?: string) => void} [onState]
 */
export class PictureViewer {
  #kept = new Kept();
  #options;
  /** @type {string | null} */ #subject = null;

  /** @param {ViewOptions} options */
  constructor(options) {
    this.#options = options;
    this.#kept.onState = (state, problem) => {
      if (state !== 'on') options.video.hidden = true;
      options.onState?.(state, problem);
    };
  }

  get connection() {
    return this.#kept.pc;
  }

  /** @param {string | null} subject Null: none */
  show(subject) {
    if (subject === this.#subject) return;
    this.#subject = subject;
    this.#kept.stop();
    this.#options.video.hidden = true;
    if (subject === null) return;
    // Who has no picture yet may have one later.
    this.#kept.keep((pc) => this.#begin(pc, subject), (error) => ['sealed', 'no_pictures', 'forbidden_role'].includes(error.code));
  }

  /** @param {RTCPeerConnection} pc @param {string} subject */
  async #begin(pc, subject) {
    const { video, server, token, thin } = this.#options;
    const stream = new MediaStream();
    pc.addEventListener('track', ({ track }) => {
      stream.addTrack(track);
      video.srcObject = stream;
      void video.play().catch(() => {});
    });
    // Without a picture there is nothing to show, but there may be sound.
    video.onresize = () => { video.hidden = video.videoWidth === 0; };
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    const url = new URL('/api/v1/whep', server);
    url.searchParams.set('subject', subject);
    if (thin) url.searchParams.set('thin', 'true');
    await offer(pc, url, token);
  }
}
