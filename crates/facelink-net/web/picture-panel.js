// @ts-check
/**
 * The switches that send the camera's picture and the microphone's sound next to the face, on the cards of both.
 *
 * @module picture-panel
 */
import { PicturePublisher } from './picture.js';

/** Between two looks at which camera and microphone are open, ms. */
const LOOK_MS = 400;

/** @typedef {'video' | 'audio'} Kind */
/** @type {Record<Kind, string>} */
const NAMES = { video: 'picture', audio: 'sound' };

/**
 * @typedef {object} PanelOptions
 * @property {ConstructorParameters<typeof PicturePublisher>[0]['where']} where
 * @property {string} host The server's.
 * @property {boolean} sealed Faces are encrypted end to end here, which pictures are not.
 * @property {() => boolean} connected
 * @property {() => Record<Kind, MediaStreamTrack | null>} tracks Of the camera and the microphone that are open.
 * @property {(level: string, text: string) => void} log
 */

/** @param {PanelOptions} options */
export function makePicturePanel({ where, host, sealed, connected, tracks, log }) {
  /** @param {Kind} kind @param {string} [part] */
  const $ = (kind, part = '') => {
    const element = document.getElementById(`picture-${kind}${part}`);
    if (!element) throw new Error(`no element #picture-${kind}${part}`);
    return element;
  };
  const kinds = /** @type {Kind[]} */ (['video', 'audio']);
  const box = (/** @type {Kind} */ kind) => /** @type {HTMLInputElement} */ ($(kind));
  /** @type {'off' | 'connecting' | 'on'} */
  let state = 'off';
  let problem = '';

  const publisher = new PicturePublisher({
    where,
    onState: (now, why = '') => {
      if (now !== state || why !== problem) log(why ? 'warn' : 'info', `picture: ${why || now}`);
      [state, problem] = [now, why];
      // What is refused stays off until it is asked for once more.
      if (state === 'off') for (const kind of kinds) box(kind).checked = false;
      show();
    },
  });

  function show() {
    for (const kind of kinds) {
      const note = $(kind, '-note');
      const on = box(kind).checked;
      const name = NAMES[kind];
      const text = problem && state !== 'on' ? `The ${name} is not sent: ${problem}.`
        : !on ? `Your ${name} stays on this device.`
          : state === 'on' ? `Your ${name} goes to ${host}: into the takes that are recorded there, and to viewers who ask for it.`
            : `Connecting: your ${name} will go to ${host}.`;
      if (note.textContent !== text) note.textContent = text;
    }
  }

  function look() {
    if (!connected()) return;
    const open = tracks();
    publisher.send(box('video').checked ? open.video : null, box('audio').checked ? open.audio : null);
  }

  for (const kind of kinds) {
    box(kind).addEventListener('change', () => {
      problem = '';
      if (sealed && box(kind).checked) {
        box(kind).checked = false;
        problem = 'faces are encrypted end to end here, and pictures and sound are not';
      }
      show();
      look();
    });
  }
  setInterval(look, LOOK_MS);
  addEventListener('pagehide', () => publisher.stop());
  show();
  return { publisher, get state() { return state; } };
}
