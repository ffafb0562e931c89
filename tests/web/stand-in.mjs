// In place of MediaPipe's vision_bundle.mjs: the same calls, with results that the test sets by
// `standIn.show = 'smile'`. Calls that the real one would refuse are noted in `standIn.faults`.
const standIn = globalThis.standIn ??= {};
Object.assign(standIn, { show: standIn.show ?? 'calm', created: [], times: [], faults: [], closed: 0 });

/** Column-major, as the real one: scale, rotation, position in centimetres. */
const matrix = (x, y, z, [tx, ty, tz], scale = 1.08) => ({
  rows: 4,
  columns: 4,
  data: [...x.map((v) => v * scale), 0, ...y.map((v) => v * scale), 0, ...z.map((v) => v * scale), 0, tx, ty, tz, 1],
});
const S = Math.sin(Math.PI / 6);
const C = Math.cos(Math.PI / 6);
const PLACE = [3, -2, -45];
// Directions of the face's own left, crown and nose in an image whose right is +x. Thirty degrees each.
const heads = {
  straight: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  // The performer turns to their own left: the nose moves to the image's right.
  left: [[C, 0, -S], [0, 1, 0], [S, 0, C]],
  // Looks up: the nose moves up, the crown back, away from the camera.
  up: [[1, 0, 0], [0, C, -S], [0, S, C]],
  // Tilts to the own left shoulder: the crown moves to the image's right.
  tilted: [[C, -S, 0], [S, C, 0], [0, 0, 1]],
};
// From 30 degrees left, up by 30 degrees about the face's own axes.
const [lx, ly, lz] = heads.left;
const mix = (a, b, s, t) => a.map((v, i) => v * s + b[i] * t);
heads.leftThenUp = [lx, mix(ly, lz, C, -S), mix(lz, ly, C, S)];

const faces = {
  calm: { head: 'straight', scores: {} },
  // One side at a time, so that exchanged sides are noticed.
  smile: { head: 'left', scores: { mouthSmileLeft: 0.7, mouthSmileRight: 0.1, eyeBlinkRight: 0.5, jawLeft: 0.2, cheekPuff: 0.05, jawForward: 0.6, tongueOut: 0.9, eyeLookOutLeft: 0.4, eyeLookInRight: 0.3 } },
  up: { head: 'up', scores: { eyeLookUpLeft: 0.5, eyeLookUpRight: 0.5, eyeLookInLeft: 0.2, eyeLookOutRight: 0.2 } },
  tilted: { head: 'tilted', scores: { jawOpen: 0.4 } },
  // A performer with a puckered mouth at rest who sits turned; then the same performer, moving.
  resting: { head: 'left', scores: { mouthPucker: 0.4, browInnerUp: 0.25 }, place: [10, 0, -50] },
  moving: { head: 'leftThenUp', scores: { mouthPucker: 0.7, browInnerUp: 0.25, mouthSmileLeft: 0.3 }, place: [10, 6, -50] },
  none: null,
};

// The real one's order; the first is no ARKit shape.
const NAMES = ['_neutral', 'browDownLeft', 'browDownRight', 'browInnerUp', 'browOuterUpLeft', 'browOuterUpRight', 'cheekPuff', 'cheekSquintLeft', 'cheekSquintRight', 'eyeBlinkLeft', 'eyeBlinkRight', 'eyeLookDownLeft', 'eyeLookDownRight', 'eyeLookInLeft', 'eyeLookInRight', 'eyeLookOutLeft', 'eyeLookOutRight', 'eyeLookUpLeft', 'eyeLookUpRight', 'eyeSquintLeft', 'eyeSquintRight', 'eyeWideLeft', 'eyeWideRight', 'jawForward', 'jawLeft', 'jawOpen', 'jawRight', 'mouthClose', 'mouthDimpleLeft', 'mouthDimpleRight', 'mouthFrownLeft', 'mouthFrownRight', 'mouthFunnel', 'mouthLeft', 'mouthLowerDownLeft', 'mouthLowerDownRight', 'mouthPressLeft', 'mouthPressRight', 'mouthPucker', 'mouthRight', 'mouthRollLower', 'mouthRollUpper', 'mouthShrugLower', 'mouthShrugUpper', 'mouthSmileLeft', 'mouthSmileRight', 'mouthStretchLeft', 'mouthStretchRight', 'mouthUpperUpLeft', 'mouthUpperUpRight', 'noseSneerLeft', 'noseSneerRight'];

function resultOf(name) {
  const face = faces[name];
  if (!face) return { faceLandmarks: [], faceBlendshapes: [], facialTransformationMatrixes: [] };
  const [x, y, z] = heads[face.head];
  return {
    // An ellipse, a little to the left of the middle.
    faceLandmarks: [Array.from({ length: 478 }, (_, i) => ({ x: 0.42 + 0.14 * Math.cos(i), y: 0.5 + 0.26 * Math.sin(i), z: 0 }))],
    faceBlendshapes: [{
      headIndex: -1,
      headName: '',
      categories: NAMES.map((categoryName, index) => ({ index, categoryName, displayName: '', score: index ? face.scores[categoryName] ?? 0 : 0.99 })),
    }],
    facialTransformationMatrixes: [matrix(x, y, z, face.place ?? PLACE)],
  };
}

export class FilesetResolver {
  static async forVisionTasks(base) {
    return { wasmLoaderPath: `${base}/vision_wasm_internal.js`, wasmBinaryPath: `${base}/vision_wasm_internal.wasm` };
  }
}

export class FaceLandmarker {
  static async createFromOptions(files, options) {
    const { modelAssetBuffer, delegate } = options.baseOptions;
    if (!options.canvas?.getContext('webgl2')) standIn.faults.push('a canvas without WebGL');
    if (standIn.refuse === delegate) throw new Error(`no ${delegate} here`);
    for (const url of [files.wasmLoaderPath, files.wasmBinaryPath]) {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    }
    if (!(modelAssetBuffer instanceof Uint8Array)) standIn.faults.push('the model');
    // Like the real one: an archive is read from its end.
    if (!new TextDecoder('latin1').decode(modelAssetBuffer.slice(-22)).startsWith('PK\x05\x06')) throw new Error('Unable to open zip archive.\n    at wasm');
    if (options.runningMode !== 'VIDEO' || options.numFaces !== 1) standIn.faults.push('the mode');
    if (!options.outputFaceBlendshapes || !options.outputFacialTransformationMatrixes) standIn.faults.push('the outputs');
    standIn.created.push(delegate);
    standIn.canvas = options.canvas;
    const landmarker = new FaceLandmarker();
    landmarker.delegate = delegate;
    landmarker.canvas = options.canvas;
    return landmarker;
  }

  detectForVideo(video, time) {
    if (standIn.breaks === this.delegate || standIn.broken === this.canvas) throw standIn.error ?? new Error('the context is lost');
    // What a picture costs on each, ms; like the real one, it keeps the page busy for that time.
    const until = performance.now() + (standIn.costs?.[this.delegate] ?? 0);
    while (performance.now() < until);
    if (!(video instanceof HTMLVideoElement) || video.readyState < 2) standIn.faults.push('a video without a frame');
    if (!(time > (standIn.times.at(-1) ?? -1))) standIn.faults.push('timestamps that do not increase');
    standIn.times.push(time);
    return resultOf(standIn.blind === this.delegate ? 'none' : standIn.show);
  }

  close() {
    standIn.closed += 1;
  }
}
