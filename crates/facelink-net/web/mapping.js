// @ts-check
/**
 * From a face to the morph targets and bones of a model, by the rules that the server's `POST /api/v1/rig` gives for it:
 * the same as in the engine, and held to it by a test (`node tests/web/view.mjs mapping`). Numbers in, numbers out: nothing here
 * knows a renderer.
 *
 * @module mapping
 */
import { ARKIT_NAMES } from './facelink.js';
import { inverse, multiply, rotate } from './quaternion.js';

/** @typedef {import('./quaternion.js').Quaternion} Quaternion */
/** @typedef {{ curve?: any, gain?: number, offset?: number, min?: number, max?: number }} Tuning */
/**
 * @typedef {object} Mapping `facelink::mapping::Compiled`.
 * @property {boolean} mirror
 * @property {string[]} channels Inputs behind the 52 shapes and yaw, pitch and roll of the head.
 * @property {[number, Tuning][]} tunings
 * @property {{ operands: { start: number, end: number }, combine: string, tuning: Tuning | null }[]} rules
 * @property {{ input: number, gain: number, offset: number }[]} operands
 * @property {{ target: number, terms: { start: number, end: number } }[][]} meshes
 * @property {[rule: number, gain: number][]} terms
 * @property {[number, number] | null} limits
 */
/**
 * @typedef {object} Expression Of a VRM avatar.
 * @property {string} name
 * @property {'Blink' | 'Look' | 'Mouth' | 'Other'} kind
 * @property {boolean} binary
 * @property {{ blink: string, look: string, mouth: string }} overrides
 */
/**
 * @typedef {object} Rig `facelink::model::FaceRig`, the answer of `POST /api/v1/rig`.
 * @property {string} preset
 * @property {string} dialect
 * @property {string[]} shown
 * @property {Mapping} mapping
 * @property {{ node: number, looks: number[], expressed: [number, [number, number][]][], channels: [number, string][] }[]} meshes
 * @property {Expression[]} expressions
 * @property {boolean} looks
 * @property {'Auto' | 'Bones' | 'Targets'} eyes
 * @property {any} range
 * @property {'PlusZ' | 'MinusZ' | 'PlusX' | 'MinusX' | null} facing
 * @property {any} bones
 * @property {{ head: number | null, neck: number | null, eyes: [number | null, number | null], jaw: number | null }[]} skeletons
 * @property {string[]} problems
 */
/**
 * @typedef {object} Face
 * @property {Float32Array | number[]} weights In the order of `ARKIT_NAMES`.
 * @property {Record<string, number>} channels Besides the shapes.
 * @property {Quaternion} head
 * @property {[[number, number], [number, number]]} gaze Yaw and pitch of the left and the right eye, radians.
 */

const SHAPES = ARKIT_NAMES.length;
/** @type {ReadonlyMap<string, number>} */
const INDEX = new Map(ARKIT_NAMES.map((name, i) => [name, i]));
/** By index: the shape of the other side. */
const MIRRORED = ARKIT_NAMES.map((name, i) => {
  const other = name.endsWith('Left') ? `${name.slice(0, -4)}Right` : name.endsWith('Right') ? `${name.slice(0, -5)}Left` : name;
  return INDEX.get(other) ?? i;
});
const at = (/** @type {string} */ name) => INDEX.get(name) ?? 0;
const DEGREE = Math.PI / 180;
/** Radians that an eye turns at full `eyeLook*`. */
const EYE_LOOK_RANGE = 35 * DEGREE;
/** A weight below this is none: renderers skip targets of 0. */
const INVISIBLE = 1e-4;
/** As the engine's avatars have them. */
const NECK_SHARE = 0.35;
const HEAD_LIMIT = 1.2;
const EYE_LIMIT = 0.7;

const LOOKS = [
  ['eyeLookOutLeft', 'eyeLookInLeft', 'eyeLookUpLeft', 'eyeLookDownLeft'],
  ['eyeLookInRight', 'eyeLookOutRight', 'eyeLookUpRight', 'eyeLookDownRight'],
].map((eye) => eye.map(at));

/** @param {number} x @param {number} low @param {number} high */
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/** @returns {Face} */
export const neutralFace = () => ({ weights: new Float32Array(SHAPES), channels: {}, head: [0, 0, 0, 1], gaze: [[0, 0], [0, 0]] });

/** The gaze that `eyeLook*` shapes show. @param {Face['weights']} weights @returns {Face['gaze']} */
export function gazeOf(weights) {
  const [left, right] = LOOKS.map(([toLeft, toRight, up, down]) => /** @type {[number, number]} */ ([
    (weights[toLeft] - weights[toRight]) * EYE_LOOK_RANGE, (weights[up] - weights[down]) * EYE_LOOK_RANGE,
  ]));
  return [left, right];
}

// ---- rules ----------------------------------------------------------------------

/** @param {any} curve @param {number} x */
function bend(curve, x) {
  if (curve === 'Smooth') {
    const t = clamp(x, 0, 1);
    return t * t * (3 - 2 * t);
  }
  if (curve?.Power !== undefined) return Math.sign(x) * Math.abs(x) ** curve.Power;
  if (curve?.Points) {
    /** @type {[number, number][]} */
    const points = curve.Points;
    let after = 0;
    while (after < points.length && points[after][0] <= x) after += 1;
    if (after === 0) return points[0][1];
    if (after === points.length) return points[after - 1][1];
    const [[x0, y0], [x1, y1]] = [points[after - 1], points[after]];
    return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
  }
  return x;
}

/** @param {Tuning} tuning @param {number} value */
function tune({ curve, gain = 1, offset = 0, min, max }, value) {
  const tuned = bend(curve, value) * gain + offset;
  return Math.min(Math.max(tuned, min ?? -Infinity), max ?? Infinity);
}

/** @type {Record<string, (a: number, b: number) => number>} */
const COMBINE = {
  Sum: (a, b) => a + b, Average: (a, b) => a + b, Multiply: (a, b) => a * b, Min: Math.min, Max: Math.max,
};

/** Evaluates a mapping; nothing is allocated for a frame. */
export class Evaluator {
  /** @param {Mapping} mapping */
  constructor(mapping) {
    this.mapping = mapping;
    this.inputs = new Float64Array(SHAPES + mapping.channels.length + 3);
    this.values = new Float64Array(mapping.rules.length);
  }

  /**
   * @param {Face['weights']} weights
   * @param {Record<string, number>} channels
   * @param {readonly number[]} head Yaw, pitch and roll, radians
   */
  evaluate(weights, channels, head) {
    const { mapping, inputs, values } = this;
    for (let i = 0; i < SHAPES; i += 1) inputs[i] = weights[mapping.mirror ? MIRRORED[i] : i];
    const side = mapping.mirror ? -1 : 1;
    inputs[SHAPES] = head[0] * side;
    inputs[SHAPES + 1] = head[1];
    inputs[SHAPES + 2] = head[2] * side;
    for (let i = 0; i < mapping.channels.length; i += 1) inputs[SHAPES + 3 + i] = channels[mapping.channels[i]] ?? 0;
    for (const [input, tuning] of mapping.tunings) inputs[input] = tune(tuning, inputs[input]);
    for (let rule = 0; rule < mapping.rules.length; rule += 1) {
      const { operands: { start, end }, combine, tuning } = mapping.rules[rule];
      let value = 0;
      for (let i = start; i < end; i += 1) {
        const { input, gain, offset } = mapping.operands[i];
        const operand = inputs[input] * gain + offset;
        value = i === start ? operand : COMBINE[combine](value, operand);
      }
      if (combine === 'Average') value /= Math.max(1, end - start);
      values[rule] = tuning ? tune(tuning, value) : value;
    }
  }

  /** A shape after its own tuning. @param {string} name */
  shape(name) { return this.inputs[at(name)]; }

  /** Calls `write` with each target of a mesh that is written, and its weight. @param {number} mesh @param {(target: number, weight: number) => void} write */
  mesh(mesh, write) {
    const { mapping, values } = this;
    for (const { target, terms: { start, end } } of mapping.meshes[mesh] ?? []) {
      let sum = 0;
      for (let i = start; i < end; i += 1) sum += values[mapping.terms[i][0]] * mapping.terms[i][1];
      write(target, mapping.limits ? Math.min(Math.max(sum, mapping.limits[0]), mapping.limits[1]) : sum);
    }
  }
}

/**
 * Makes of the levels of expressions that a mapping gives those that are shown, as `Expression::settle`.
 * @param {Expression[]} expressions
 * @param {Float64Array} levels
 */
export function settle(expressions, levels) {
  /** @type {Record<string, number>} */
  const weakened = { Blink: 0, Look: 0, Mouth: 0 };
  expressions.forEach(({ kind, binary, overrides }, i) => {
    const wanted = clamp(levels[i] || 0, 0, 1);
    levels[i] = binary ? Number(wanted > 0.5) : wanted;
    for (const [group, weakens] of [['Blink', overrides.blink], ['Look', overrides.look], ['Mouth', overrides.mouth]]) {
      if (weakens !== 'None' && group !== kind) weakened[group] += levels[i];
    }
  });
  expressions.forEach(({ kind, binary }, i) => {
    if (kind === 'Other') return;
    const kept = 1 - Math.min(1, weakened[kind]);
    levels[i] = binary && kept < 1 ? 0 : levels[i] * kept;
  });
}

// ---- rotations ------------------------------------------------------------------

/** @param {number} angle @returns {Quaternion} */
const about = (/** @type {0 | 1 | 2} */ axis, angle) => {
  /** @type {Quaternion} */
  const q = [0, 0, 0, Math.cos(angle / 2)];
  q[axis] = Math.sin(angle / 2);
  return q;
};

/** @param {Quaternion} a @param {Quaternion} b @param {number} t @returns {Quaternion} */
export function slerp(a, b, t) {
  let dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
  const sign = dot < 0 ? -1 : 1;
  dot = Math.min(1, dot * sign);
  const angle = Math.acos(dot);
  const [from, to] = angle < 1e-4 ? [1 - t, t] : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
  const mixed = a.map((part, i) => part * from + b[i] * to * sign);
  const length = Math.hypot(...mixed) || 1;
  return /** @type {Quaternion} */ (mixed.map((part) => part / length));
}

/** Yaw (positive to the face's own left), pitch (positive up) and roll (positive to its own left shoulder), radians. @param {Quaternion} q @returns {[number, number, number]} */
export function angles([x, y, z, w]) {
  // Euler angles in the order Y, X, Z.
  const sinX = clamp(2 * (w * x - y * z), -1, 1);
  if (Math.abs(sinX) > 0.999999) return [Math.atan2(2 * (w * y - x * z), 1 - 2 * (y * y + z * z)), -Math.asin(sinX), 0];
  return [Math.atan2(2 * (x * z + w * y), 1 - 2 * (x * x + y * y)), -Math.asin(sinX), -Math.atan2(2 * (x * y + w * z), 1 - 2 * (x * x + z * z))];
}

/** @param {readonly number[]} angles @returns {Quaternion} */
const fromAngles = ([yaw, pitch, roll]) => multiply(multiply(about(1, yaw), about(0, -pitch)), about(2, -roll));

/** @param {Quaternion} q @param {number} limit Radians @returns {Quaternion} */
function limited(q, limit) {
  const angle = 2 * Math.acos(Math.min(1, Math.abs(q[3])));
  return angle <= limit ? q : slerp([0, 0, 0, 1], q, limit / angle);
}

const FACING = { PlusZ: 0, MinusZ: Math.PI, PlusX: Math.PI / 2, MinusX: -Math.PI / 2 };

/** Turns +Z to the direction that a model looks in. @param {keyof typeof FACING} facing @returns {Quaternion} */
export const facingTurn = (facing) => about(1, FACING[facing]);

// ---- a model's face ---------------------------------------------------------------

/** What a model does for a face. */
export class Driver {
  /**
   * @param {Rig} rig
   * @param {'Auto' | 'Bones' | 'Targets'} eyes What turns the eyes
   */
  constructor(rig, eyes) {
    this.rig = rig;
    this.eyes = eyes;
    this.evaluator = new Evaluator(rig.mapping);
    this.levels = new Float64Array(rig.expressions.length);
    this.weights = new Float32Array(SHAPES);
  }

  /** @param {Face} face */
  evaluate(face) {
    const { evaluator, levels, weights, rig } = this;
    weights.set(face.weights);
    // Where targets turn the eyes, a gaze that came without `eyeLook*` shapes is shown by them.
    if (this.eyes === 'Targets' && LOOKS.every((eye) => eye.every((shape) => Math.abs(weights[shape]) <= INVISIBLE))) {
      LOOKS.forEach((eye, i) => {
        const [yaw, pitch] = face.gaze[i];
        [yaw, -yaw, pitch, -pitch].forEach((look, k) => { weights[eye[k]] = clamp(look / EYE_LOOK_RANGE, 0, 1); });
      });
    }
    evaluator.evaluate(weights, face.channels, angles(face.head));
    if (!levels.length) return;
    levels.fill(0);
    evaluator.mesh(rig.meshes.length, (expression, level) => { levels[expression] = level; });
    settle(rig.expressions, levels);
  }

  /** Writes the weights of one of the rig's meshes. @param {number} mesh @param {number[]} out @param {Face} face */
  write(mesh, out, face) {
    const visible = (/** @type {number} */ weight) => (Math.abs(weight) < INVISIBLE ? 0 : weight);
    const { expressed, channels } = this.rig.meshes[mesh];
    this.evaluator.mesh(mesh, (target, weight) => { if (target < out.length) out[target] = visible(weight); });
    for (const [target, terms] of expressed) {
      let sum = 0;
      for (const [expression, weight] of terms) sum += this.levels[expression] * weight;
      if (target < out.length) out[target] = visible(clamp(sum, 0, 1));
    }
    for (const [target, name] of channels) {
      const value = face.channels[name];
      if (value !== undefined && target < out.length) out[target] = Math.max(value, this.isMapped(mesh, target) ? out[target] : -Infinity);
    }
  }

  /** @param {number} mesh @param {number} target */
  isMapped(mesh, target) {
    return this.rig.mapping.meshes[mesh].some((of) => of.target === target) || this.rig.meshes[mesh].expressed.some(([of]) => of === target);
  }

  /** The turn of the head, for a model that looks along +Z. @param {Face} face @returns {Quaternion} */
  head(face) {
    const { mapping, bones } = this.rig;
    let head = face.head;
    if (mapping.mirror) head = [head[0], -head[1], -head[2], head[3]];
    const bone = bones.head;
    if (!bone) return limited(head, HEAD_LIMIT);
    const limits = bone.limits ?? null;
    const factors = [bone.yaw ?? 1, bone.pitch ?? 1, bone.roll ?? 1];
    const turn = angles(head).map((angle, i) => {
      const by = angle * factors[i];
      return limits ? clamp(by, -Math.abs(limits[i]) * DEGREE, Math.abs(limits[i]) * DEGREE) : by;
    });
    return limited(fromAngles(turn), limits ? Math.PI : HEAD_LIMIT);
  }

  /** Yaw and pitch of the eyes. @param {Face} face @returns {[number, number][]} */
  gaze(face) {
    const { mapping, bones, range } = this.rig;
    /** @type {[number, number][]} */
    let gaze = mapping.mirror ? [[-face.gaze[1][0], face.gaze[1][1]], [-face.gaze[0][0], face.gaze[0][1]]] : [...face.gaze];
    if (range) gaze = [eyeRange(range, true, gaze[0]), eyeRange(range, false, gaze[1])];
    const eyes = bones.eyes;
    const limits = eyes?.limits ? eyes.limits.map((/** @type {number} */ limit) => Math.abs(limit) * DEGREE) : [EYE_LIMIT, EYE_LIMIT];
    return gaze.map(([yaw, pitch]) => [
      clamp(yaw * (eyes?.yaw ?? 1), -limits[0], limits[0]), clamp(pitch * (eyes?.pitch ?? 1), -limits[1], limits[1]),
    ]);
  }

  /**
   * Calls `turn` with each bone's node, its turn in the model's axes, and how far it is moved.
   * @param {Face} face
   * @param {(skeleton: number) => keyof typeof FACING} facingOf
   * @param {(node: number, turn: Quaternion, shift: [number, number, number]) => void} turn
   */
  turns(face, facingOf, turn) {
    const { bones, skeletons } = this.rig;
    const head = this.head(face);
    const gaze = this.gaze(face);
    skeletons.forEach((skeleton, i) => {
      const facing = facingTurn(facingOf(i));
      /** @param {number | null} node @param {Quaternion} by @param {number} [forward] */
      const to = (node, by, forward = 0) => {
        if (node === null) return;
        const [x, , z] = rotate(facing, [0, 0, forward]);
        turn(node, multiply(multiply(facing, by), inverse(facing)), [x, 0, z]);
      };
      // One of the two alone does it all.
      const share = skeleton.neck === null ? 0 : skeleton.head === null ? 1 : clamp(bones.neck?.share ?? NECK_SHARE, 0, 1);
      const neck = slerp([0, 0, 0, 1], head, share);
      to(skeleton.neck, neck);
      to(skeleton.head, multiply(inverse(neck), head));
      if (this.eyes !== 'Targets') {
        skeleton.eyes.forEach((eye, k) => to(eye, multiply(about(1, gaze[k][0]), about(0, -gaze[k][1]))));
      }
      if (bones.jaw) {
        const of = (/** @type {string} */ name) => this.evaluator.shape(name);
        const open = about(0, (bones.jaw.open ?? 22) * of('jawOpen') * DEGREE);
        const side = about(1, (bones.jaw.side ?? 7) * (of('jawLeft') - of('jawRight')) * DEGREE);
        to(skeleton.jaw, multiply(side, open), (bones.jaw.forward ?? 0.006) * of('jawForward'));
      }
    });
  }
}

/** @param {any} range @param {boolean} left @param {[number, number]} eye @returns {[number, number]} */
function eyeRange(range, left, [yaw, pitch]) {
  /** @param {[number, number]} map @param {number} angle */
  const turned = ([input, output], angle) => {
    const share = input > 0 ? Math.abs(angle) / (input * DEGREE) : 1;
    return angle === 0 ? 0 : Math.sign(angle) * Math.min(1, share) * output * DEGREE;
  };
  return [turned((yaw > 0) === left ? range.outer : range.inner, yaw), turned(pitch > 0 ? range.up : range.down, pitch)];
}
