// From the tracker's result to a frame: names, gains, axes of the head, gaze, mirror, calibration,
// frame rate. No browser is needed.
//
//   node tests/web/camera_math.mjs [part of a test's name ...]
import {
  CameraProblem, cameraProblem, changedGains, DEFAULT_GAINS, faceOf, gazeOf, MAX_GAIN, mirrored, otherSide, Pace,
  poseOfMatrix, readCategories, relativeHead, restOf, shapesOf, stemOf, TRACKER_CDN, TRACKER_VERSION, usableGains,
} from '../../crates/facelink-net/web/camera.js';
import { ARKIT_NAMES, headAngles } from '../../crates/facelink-net/web/facelink.js';
import { multiply, rotate } from '../../crates/facelink-net/web/quaternion.js';
import { assert, runAll } from './lib.mjs';

const DEGREE = Math.PI / 180;
const near = (a, b, within = 1e-9) => Math.abs(a - b) <= within;
const all = (a, b, within) => a.length === b.length && [...a].every((x, i) => near(x, b[i], within));

/** Column-major: the directions of the face's own left, crown and nose in the camera's space. */
function matrix(left, up, out, place = [0, 0, -40], scale = 1) {
  return { rows: 4, columns: 4, data: [...left.map((v) => v * scale), 0, ...up.map((v) => v * scale), 0, ...out.map((v) => v * scale), 0, ...place, 1] };
}
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
/** A head by the directions of its nose and crown. */
const head = (out, up, ...more) => matrix(cross(up, out), up, out, ...more);
const s = (degrees) => Math.sin(degrees * DEGREE);
const c = (degrees) => Math.cos(degrees * DEGREE);
/** Yaw (+ to the performer's own left), pitch (+ up) and roll, degrees, as on the wire. */
const angles = (m) => headAngles(poseOfMatrix(m).rotation).map((angle) => angle / DEGREE);

/** The categories of the library, in its order. */
const categories = (scores) => ['_neutral', ...Object.keys(DEFAULT_GAINS).sort()]
  .map((categoryName, index) => ({ index, categoryName, displayName: '', score: scores[categoryName] ?? 0 }));
const result = (scores, m = head([0, 0, 1], [0, 1, 0])) => ({
  faceLandmarks: [[{ x: 0.2, y: 0.3, z: 0 }, { x: 0.6, y: 0.9, z: 0 }]],
  faceBlendshapes: [{ categories: categories(scores), headIndex: -1, headName: '' }],
  facialTransformationMatrixes: [m],
});
const plain = { gains: DEFAULT_GAINS, rest: null, mirror: false };

await runAll({
  categories_by_name() {
    const scores = Object.fromEntries(Object.keys(DEFAULT_GAINS).map((name, i) => [name, (i + 1) / 100]));
    const listed = categories(scores);
    assert(listed[0].categoryName === '_neutral' && listed[1].categoryName === 'browDownLeft', 'not in ARKit order');
    const shapes = readCategories(listed);
    assert(Object.keys(shapes).length === 51, 'all but the tongue', shapes);
    for (const name in scores) assert(shapes[name] === scores[name], name, shapes[name]);
    const mixed = readCategories([...listed].reverse());
    for (const name in scores) assert(mixed[name] === scores[name], `${name} in another order`, mixed[name]);
    const odd = readCategories([
      { categoryName: '_neutral', score: 0.9 }, { categoryName: 'constructor', score: 1 }, { categoryName: '__proto__', score: 1 },
      { categoryName: 'tongueOut', score: 1 }, { categoryName: 'jawOpen', score: NaN }, { categoryName: 'jawLeft', score: '1' },
      { score: 1 }, null, { categoryName: 'mouthClose', score: 1.7 }, { categoryName: 'cheekPuff', score: -0.2 },
    ]);
    assert(JSON.stringify(odd) === '{"mouthClose":1,"cheekPuff":0}', 'unknown names and values that are no numbers are ignored', odd);
    assert(readCategories([]) === null && readCategories(undefined) === null && readCategories([{ categoryName: '_neutral', score: 1 }]) === null, 'no face');
    return {};
  },

  gains_defaults_storage_and_limits() {
    assert(Object.keys(DEFAULT_GAINS).length === 51 && !('tongueOut' in DEFAULT_GAINS), 'one for each shape', DEFAULT_GAINS);
    assert(Object.keys(DEFAULT_GAINS).every((name) => ARKIT_NAMES.includes(name)), 'ARKit names');
    for (const name of ['cheekPuff', 'noseSneerLeft', 'noseSneerRight', 'eyeWideLeft', 'eyeWideRight', 'jawForward', 'cheekSquintLeft', 'mouthShrugLower', 'mouthShrugUpper']) {
      assert(DEFAULT_GAINS[name] > 1, `${name} is weak`, DEFAULT_GAINS[name]);
    }
    for (const name of Object.keys(DEFAULT_GAINS)) {
      assert(DEFAULT_GAINS[name] >= 1 && DEFAULT_GAINS[name] <= MAX_GAIN, name, DEFAULT_GAINS[name]);
      if (stemOf(name) !== name) assert(DEFAULT_GAINS[name] === DEFAULT_GAINS[otherSide(name)], `${name} as the other side`);
    }
    const shapes = shapesOf({ cheekPuff: 0.1, jawForward: 0.9, mouthClose: 0.3, tongueOut: 1 }, { ...DEFAULT_GAINS, mouthClose: 0, tongueOut: 0 });
    assert(Object.keys(shapes).join() === ARKIT_NAMES.join(), 'all 52, in order');
    assert(near(shapes.cheekPuff, 0.1 * DEFAULT_GAINS.cheekPuff) && shapes.jawForward === 1 && shapes.mouthClose === 0 && shapes.tongueOut === 0, 'multiplied and clamped', shapes);
    const kept = usableGains({ jawOpen: 2.5, cheekPuff: 99, noseSneerLeft: -3, eyeWideLeft: 'x', eyeWideRight: NaN, nothing: 3, __proto__: { jawLeft: 9 } });
    assert(kept.jawOpen === 2.5 && kept.cheekPuff === MAX_GAIN && kept.noseSneerLeft === 0, 'kept within bounds', kept);
    assert(kept.eyeWideLeft === DEFAULT_GAINS.eyeWideLeft && kept.eyeWideRight === DEFAULT_GAINS.eyeWideRight && kept.jawLeft === DEFAULT_GAINS.jawLeft && !('nothing' in kept), 'wrong values are ignored', kept);
    assert(Object.keys(changedGains(kept)).sort().join() === 'cheekPuff,jawOpen,noseSneerLeft', 'only changes are kept', changedGains(kept));
    for (const nonsense of [null, undefined, 3, 'x', []]) assert(Object.keys(changedGains(usableGains(nonsense))).length === 0, 'defaults', nonsense);
    return {};
  },

  head_yaw_pitch_and_roll_have_the_right_sign() {
    const straight = poseOfMatrix(head([0, 0, 1], [0, 1, 0], [4, -2, -40]));
    assert(all(straight.rotation, [0, 0, 0, 1]), 'a face that looks into the camera is not turned', straight);
    assert(all(straight.position, [0.04, -0.02, -0.4]), 'centimetres become metres', straight);

    // An unmirrored image has the performer's own left on its right, at +x.
    const [turnLeft] = angles(head([s(30), 0, c(30)], [0, 1, 0]));
    assert(near(turnLeft, 30, 1e-9), 'the nose goes to the performer\'s own left: turn +', turnLeft);
    const [turnRight] = angles(head([s(-30), 0, c(30)], [0, 1, 0]));
    assert(near(turnRight, -30, 1e-9), 'and to their right: turn -', turnRight);
    const up = angles(head([0, s(20), c(20)], [0, c(20), -s(20)]));
    assert(all(up, [0, 20, 0], 1e-9), 'the nose goes up: nod +', up);
    const down = angles(head([0, -s(20), c(20)], [0, c(20), s(20)]));
    assert(all(down, [0, -20, 0], 1e-9), 'and down: nod -', down);
    // The crown goes to the performer's own left: against the clock seen by the performer, and about +z, out of the face.
    const tilted = poseOfMatrix(head([0, 0, 1], [s(25), c(25), 0]));
    assert(all(tilted.rotation, [0, 0, -s(12.5), c(12.5)]), 'the head lies on its own left shoulder: about -z', tilted);
    assert(all(rotate(tilted.rotation, [0, 1, 0]), [s(25), c(25), 0]), 'the crown is at +x', rotate(tilted.rotation, [0, 1, 0]));
    // Every direction of the face is where the matrix has it, for every rotation.
    let worst = 0;
    for (let i = 0; i < 500; i += 1) {
      const out = [Math.sin(i * 1.7), Math.sin(i * 2.3 + 1), Math.cos(i * 0.9)];
      const length = Math.hypot(...out);
      const nose = out.map((v) => v / length);
      const side = cross([Math.cos(i), 1, 0.3], nose);
      const crown = cross(nose, side.map((v) => v / Math.hypot(...side)));
      const { rotation } = poseOfMatrix(head(nose, crown, [1, 2, -30], 0.4 + (i % 5)));
      assert(near(Math.hypot(...rotation), 1, 1e-12) && rotation[3] >= 0, 'a unit quaternion', rotation);
      for (const [own, there] of [[[0, 0, 1], nose], [[0, 1, 0], crown], [[1, 0, 0], cross(crown, nose)]]) {
        const turned = rotate(rotation, own);
        worst = Math.max(worst, ...turned.map((v, k) => Math.abs(v - there[k])));
      }
    }
    assert(worst < 1e-9, 'every rotation at every scale', worst);
    return { worst };
  },

  invalid_matrix_gives_no_pose() {
    const good = head([0, 0, 1], [0, 1, 0]);
    assert(poseOfMatrix({ data: Float32Array.from(good.data) }), 'any kind of array');
    for (const [what, m] of Object.entries({
      nothing: undefined,
      empty: {},
      short: { data: good.data.slice(0, 12) },
      'not finite': { data: good.data.map((v, i) => (i === 5 ? NaN : v)) },
      zero: matrix([0, 0, 0], [0, 1, 0], [0, 0, 1]),
      'a mirror': matrix([-1, 0, 0], [0, 1, 0], [0, 0, 1]),
      flat: matrix([1, 0, 0], [1, 0, 0], [0, 0, 1]),
    })) assert(poseOfMatrix(m) === null, what, poseOfMatrix(m));
    const face = faceOf({ ...result({ jawOpen: 0.5 }), facialTransformationMatrixes: [] }, plain);
    assert(face && face.head === null && near(face.shapes.jawOpen, 0.5), 'a face without a pose is sent', face);
    return {};
  },

  gaze_from_eye_look_shapes() {
    const left = gazeOf({ eyeLookOutLeft: 0.4, eyeLookInRight: 0.3 });
    assert(near(left.left.yaw, 0.4 * 35 * DEGREE) && near(left.right.yaw, 0.3 * 35 * DEGREE), 'both to the performer\'s own left: +', left);
    const right = gazeOf({ eyeLookInLeft: 0.2, eyeLookOutRight: 0.5 });
    assert(near(right.left.yaw, -0.2 * 35 * DEGREE) && near(right.right.yaw, -0.5 * 35 * DEGREE), 'both to their right: -', right);
    const crossed = gazeOf({ eyeLookInLeft: 0.3, eyeLookInRight: 0.3 });
    assert(crossed.left.yaw < 0 && crossed.right.yaw > 0, 'cross-eyed: each to the nose', crossed);
    const up = gazeOf({ eyeLookUpLeft: 0.5, eyeLookDownRight: 1 });
    assert(near(up.left.pitch, 0.5 * 35 * DEGREE) && near(up.right.pitch, -35 * DEGREE), 'up +, down -', up);
    return {};
  },

  mirror_exchanges_the_sides_and_nothing_else() {
    const scores = { mouthSmileLeft: 0.7, eyeBlinkRight: 0.5, jawLeft: 0.2, mouthRight: 0.3, jawOpen: 0.6, browInnerUp: 0.4, eyeLookOutLeft: 0.4, eyeLookInRight: 0.3, eyeLookUpLeft: 0.2 };
    const m = head([s(30), 0, c(30)], [0, 1, 0], [5, 1, -40]);
    const gains = usableGains(Object.fromEntries(Object.keys(DEFAULT_GAINS).map((name) => [name, 1])));
    const own = faceOf(result(scores, m), { ...plain, gains });
    const face = faceOf(result(scores, m), { ...plain, gains, mirror: true });
    for (const [name, value] of Object.entries({ mouthSmileRight: 0.7, eyeBlinkLeft: 0.5, jawRight: 0.2, mouthLeft: 0.3, jawOpen: 0.6, browInnerUp: 0.4, eyeLookOutRight: 0.4, eyeLookInLeft: 0.3 })) {
      assert(near(face.shapes[name], value), name, face.shapes[name]);
    }
    assert(face.shapes.mouthSmileLeft === 0 && Object.keys(face.shapes).length === 52, 'exchanged, not copied', face.shapes);
    assert(near(headAngles(face.head.rotation)[0], -30 * DEGREE) && all(face.head.position, [-0.05, 0.01, -0.4]), 'the head', face.head);
    assert(all(Object.values(face.gaze.left), Object.values(gazeOf(face.shapes).left)) && all(Object.values(face.gaze.right), Object.values(gazeOf(face.shapes).right)), 'the gaze agrees with the shapes', face.gaze);
    assert(face.gaze.right.yaw < 0 && face.gaze.right.pitch > 0, 'to the other side', face.gaze);
    const tilt = poseOfMatrix(head([0, 0, 1], [s(25), c(25), 0]));
    assert(all(rotate(mirrored({ shapes: {}, head: tilt, gaze: gazeOf({}) }).head.rotation, [0, 1, 0]), [-s(25), c(25), 0]), 'the crown goes the other way');
    const twice = mirrored(mirrored(own));
    assert(JSON.stringify(Object.entries(twice.shapes).sort()) === JSON.stringify(Object.entries(own.shapes).sort()) && all(twice.head.rotation, own.head.rotation) && all(twice.head.position, own.head.position), 'a mirror of a mirror');
    return {};
  },

  neutral_is_subtracted_and_1_remains_1() {
    const gains = usableGains({ mouthPucker: 1, jawOpen: 1 });
    const rest = { mouthPucker: 0.4, jawOpen: 0.98 };
    const at = (mouthPucker) => shapesOf({ mouthPucker }, gains, rest).mouthPucker;
    assert(at(0.4) === 0 && at(0.2) === 0 && near(at(0.7), 0.5) && near(at(1), 1), 'stretched', [at(0.4), at(0.7), at(1)]);
    const loud = shapesOf({ jawOpen: 0.98 }, gains, rest).jawOpen;
    assert(loud <= 0.81 && Number.isFinite(loud), 'a shape near 1 at rest is not amplified', loud);
    return {};
  },

  neutral_is_the_median_so_a_blink_has_no_effect() {
    const m = (degrees) => head([s(degrees), 0, c(degrees)], [0, 1, 0], [degrees, 0, -40]);
    const faces = Array.from({ length: 20 }, (_, i) => faceOf(result({ eyeBlinkLeft: i > 13 ? 0.95 : 0.1, mouthPucker: 0.3 + (i % 2) * 0.02 }, m(10 + (i % 3) - 1)), plain));
    const rest = restOf(faces);
    assert(near(rest.shapes.eyeBlinkLeft, 0.1) && rest.shapes.mouthPucker >= 0.3 && rest.shapes.mouthPucker <= 0.32, 'the median', rest.shapes);
    assert(Object.keys(rest.shapes).length === 51, 'of each shape');
    assert(near(headAngles(rest.head.rotation)[0], 10 * DEGREE, 0.1 * DEGREE) && near(rest.head.position[0], 0.1, 0.01), 'the mean of the head', rest.head);
    assert(restOf(faces.map((f) => ({ ...f, rawHead: null }))).head === null, 'without a head');
    // q and -q are the same rotation and do not cancel.
    const [a] = faces;
    const flipped = { ...a, rawHead: { ...a.rawHead, rotation: a.rawHead.rotation.map((v) => -v) } };
    const both = restOf([a, flipped]).head.rotation;
    assert(all(both, a.rawHead.rotation), 'q and -q', both);
    return {};
  },

  head_relative_to_neutral_moves_about_its_own_axes() {
    // The camera is low and to the side: at rest the face looks 20 degrees up and 30 to its left of it.
    const nose = [s(30) * c(20), s(20), c(30) * c(20)];
    const crown = cross(nose, [c(30), 0, -s(30)]);
    const rest = poseOfMatrix(head(nose, crown, [10, 5, -50]));
    const still = relativeHead(rest, rest);
    assert(all(still.rotation, [0, 0, 0, 1], 1e-12) && all(still.position, [0, 0, 0], 1e-12), 'at rest it is straight', still);
    // Then it moves, about its own axes.
    for (const [what, turn, wanted] of [
      ['turns to its own left', [0, s(7.5), 0, c(7.5)], [15, 0, 0]],
      ['nods up', [-s(7.5), 0, 0, c(7.5)], [0, 15, 0]],
      ['tilts', [0, 0, s(7.5), c(7.5)], [0, 0, 15]],
    ]) {
      const moved = relativeHead({ rotation: multiply(rest.rotation, turn), position: rest.position }, rest);
      const got = headAngles(moved.rotation).map((angle) => angle / DEGREE);
      assert(all(got, wanted, 1e-9), what, got);
    }
    // Forward is the direction in which the neutral face looks.
    const forward = relativeHead({ rotation: rest.rotation, position: rest.position.map((v, i) => v + nose[i] * 0.1) }, rest);
    assert(all(forward.position, [0, 0, 0.1], 1e-12), 'leaning forward', forward);
    const face = faceOf(result({ mouthPucker: 0.5 }, head(nose, crown, [10, 5, -50])), { ...plain, rest: { shapes: { mouthPucker: 0.5 }, head: rest } });
    assert(face.shapes.mouthPucker === 0 && all(face.head.rotation, [0, 0, 0, 1], 1e-12), 'face and head at once', face);
    assert(near(face.raw.mouthPucker, 0.5) && all(face.rawHead.position, [0.1, 0.05, -0.5]), 'the raw ones remain', face);
    assert(all(Object.values(face.box), [0.2, 0.3, 0.4, 0.6], 1e-9), 'the box in the video frame', face.box);
    return {};
  },

  pace_keeps_the_rate_without_bursts() {
    /** The video frames of a camera that are taken. */
    const taken = (cameraFps, fps, seconds, jitter = 0) => {
      const pace = new Pace();
      const times = [];
      for (let i = 0; i < cameraFps * seconds; i += 1) {
        const now = (i * 1000) / cameraFps + jitter * ((i * 7919) % 11 - 5);
        if (pace.take(now, fps)) times.push(now);
      }
      return times;
    };
    assert(taken(30, 60, 4).length === 120, 'all frames of the camera', taken(30, 60, 4).length);
    assert(taken(30, 30, 4, 1).length >= 118, 'nearly all at the same rate with jitter', taken(30, 30, 4, 1).length);
    for (const [camera, fps] of [[30, 15], [60, 30], [60, 24], [30, 20], [30, 7], [30, 1]]) {
      const times = taken(camera, fps, 10, 0.4);
      assert(Math.abs(times.length - fps * 10) <= Math.max(2, fps * 0.5), `${fps} of ${camera}`, times.length);
    }
    // No burst after a pause.
    const pace = new Pace();
    for (let i = 0; i < 60; i += 1) pace.take(i * 33, 15);
    let burst = 0;
    for (let i = 0; i < 10; i += 1) burst += pace.take(60000 + i * 33, 15) ? 1 : 0;
    assert(burst >= 4 && burst <= 6, 'no burst after a pause', burst);
    return {};
  },

  camera_errors_of_browsers_have_codes() {
    const codes = Object.fromEntries(['NotAllowedError', 'SecurityError', 'NotFoundError', 'NotReadableError', 'AbortError', 'TypeError']
      .map((name) => [name, cameraProblem(Object.assign(new Error('words of the browser'), { name })).code]));
    assert(JSON.stringify(codes) === JSON.stringify({ NotAllowedError: 'denied', SecurityError: 'denied', NotFoundError: 'none', NotReadableError: 'busy', AbortError: 'busy', TypeError: 'camera' }), 'codes', codes);
    assert(cameraProblem(new Error('words of the browser')).message.includes('words of the browser'), 'an unknown error keeps its message');
    const known = new CameraProblem('files', 'x', { tried: ['a'] });
    assert(cameraProblem(known) === known && known.tried[0] === 'a', 'ours stays');
    assert(/^\d+\.\d+\.\d+$/.test(TRACKER_VERSION) && TRACKER_CDN.endsWith(`@${TRACKER_VERSION}`), 'an exact version', TRACKER_CDN);
    return {};
  },
});
