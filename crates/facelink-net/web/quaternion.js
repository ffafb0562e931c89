// @ts-check
/**
 * Rotations as quaternions, for the camera's heads and the viewer's bones.
 *
 * @module quaternion
 */

/** @typedef {[number, number, number, number]} Quaternion `[x, y, z, w]` */
/** @typedef {[number, number, number]} Vector */

/** The rotation b followed by a. @param {Quaternion} a @param {Quaternion} b @returns {Quaternion} */
export function multiply([ax, ay, az, aw], [bx, by, bz, bw]) {
  return [
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
    aw * bw - ax * bx - ay * by - az * bz,
  ];
}

/** @param {Quaternion} q @returns {Quaternion} */
export const inverse = ([x, y, z, w]) => [-x, -y, -z, w];

/** @param {Quaternion} q @param {Vector} v @returns {Vector} */
export function rotate(q, v) {
  const [x, y, z] = multiply(multiply(q, [v[0], v[1], v[2], 0]), inverse(q));
  return [x, y, z];
}
