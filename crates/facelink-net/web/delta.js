// @ts-check
/**
 * Compact bundles: what a relay sends to a viewer that asked for what changed since the frames that it has acknowledged.
 * facelink.js loads this module when it subscribes. The bytes are documented in docs/wire-facelink1.md; Rust has the same
 * in `facelink::wire::facelink1::delta`, and tests hold both to the same packets.
 */

/** @typedef {import('./facelink.js').Facelink1Frame & import('./facelink.js').Facelink1Received} Face */
/** @typedef {(packet: Uint8Array) => Face[]} DecodePlain `decodeFacelink1` */

/** First byte of a packet. */
const MAGIC = 0xf3;
const MAX_PACKET = 65536;
/** Microseconds of a step of time. */
const TIME_STEP = 128;
const MAX_BACK = 1023;
const MAX_ID = 1 << 14;
/** Frames of each subject that a delta may build upon. */
const KEPT = 64;
const MAX_SUBJECTS = 1024;
const SHAPES = 52;

// Flags of a face in steps, as in a delta packet.
const TRACKED = 1;
const HEAD = 1 << 1;
const POSITION = 1 << 2;
const GAZE = 1 << 3;

// ---- probability tables -------------------------------------------------------------

const LAGS = 6;
const MOVES = 4;
const GROUPS = 7;
/** Probabilities that a decision is `no`, in 1/65536, little-endian: the tables of `delta/tables.rs` in their order. */
const TABLES = 'zgQBH9VGD8NdAcgRry6gmFwAIgrOHnF2QABYA4oRiE1AAGkAYwoBKkAAQAAfBs4bsu/A/wCAAICxut77AvfA/3mecfwh/lL3ddeA/02wpP++zpH/vu8M/wCAAIBDw4L73/fX/gCAAICV8pv9RPTA/wCAAIBP5sP80ePA/wCAAIAcx+7+mNDA/wCAAICTcSf7adKq/ypQqP8QeKHtbbtu/0KNFvwCfvD6KOjA/wCAAIBfuGn/vdOX/gCAAICi2MT+69MS/wCAAICDjSX4xFMU/wCAAIBtanX9N6Jp/wCAAIAAT7r1Pcn3/llesf7efIvs8Zvl/idk/vpFTn75YMzA/wCAAID7fIb/Bpc2/gCAAIBJiBz/xJdl/ACAAIA3T1jvODuL/QCAAIDhXcD9n1PC/QCAAIBKJIvrbm9m+5wi1P2HNSTuxlcq/WhJEvmcIL3zrYzD9gCAAIBsPg78MnXZ+gCAAIAWYRL/JV9J+QCAAIDmNY3rGAbC/ACAAIB9SoH9tu6x/wCAAIDzwN/yOPmx/yTEjfXP/W3bEMdd/6CRi/8C1Ir/yums/wCAAIDKpwf83Pcy/QCAAIBl9S382/W2/wCAAIBj61f+qurA/wCAAIAAgMP+I8/A/wCAAIA3cBP/9cyM/0VNmP+WWw/h/6Lh/m2Blvojaz36reRU/gCAAICXubv+L9cs/gCAAIA445P/ZdYY/wCAAIAborT1DHyp/wCAAICXUFT+06Jx/wCAAICPSOPwfcQk/4Bldf/ngT3i+Hx0/r1VQPljRgz4jcTA/wCAAIDHcbb/wpQ8/ACAAIDvdS3+W5j6+gCAAIDdTt/mQjQr/ACAAICGOOj7e0wz/gCAAIBoHZLkVWzp+YInOv7bONLlXUNy/f0/avXIGLjt1It3/gCAAICjO6D7dmdm+QCAAIDDWIP9+11Z9QCAAIBML4zeXCkw+wCAAIDiNkD79Ox6/wCAAIBA0I31MPl+/3bibdue+xzH1beL/9p6y/7QxrP/MujA/wCAAIBEnTf9QfVG+gCAAIBl/kr9HvaJ/wCAAIAf8X34AIDA/wCAAIAAgOj+xc3A/wCAAIAVdE//Ds/A/4deqf//YELKk4pO/jxn7PmcVov2ht7F/ACAAIAQrGL/wdur/ACAAIBj5q3/jtgV/wCAAICMrKfyxdWO/wCAAIDw8Bv/BKRg/wCAAIBVQtDzZ77A/kVlwP8HftLcN2mu/YBIYveiOxf1XcLA/wCAAIBSaMD//pLW+QCAAIDwdez8EJpm+QCAAICiUajeajDC+gCAAICgKST5akkR/gCAAIAmGKvahWc99/krs/6ZOwPcsjLD/Ho2HvIqFJPpL4WK/wCAAIAAM2D7/1vV9gCAAIB6TXX7jVrN8ACAAIA4Kb/QUh7F+ACAAICzLXv5Ieuq6gCAAIBl2gCAI/aq6lf4AIB9/QCA/KHA/5xqt/5LaHj/Nuto/wCAAICBkY36wvSH9QCAAIAt/I36evUw/wCAAIDw9sP2AIBv/wCAAIAAgC38987A/wCAAIBPcVf+F9rA//WTr/5MkRCXvF8f/lw44vGRMkbzLtcy+gCAAIAAgEr+4t3i8wCAAIC58W7/1eFm/wCAAIA8vijuAICD/wCAAIBt27L/FaTA/wCAAIDMP8D/cLAe/2pdwP/UbfTcnFIi/X04H/S9JsLupb9u/wCAAIBzZMD/SpGR8gCAAIBrftX5PppA9wCAAIBYVZbVUzcH+QCAAIBDGNfzyUTO/QCAAICcEx3JBGBO7nUwwf6SN+7TGSPc+rwp+ustDy3gEIC9/gCAAIAvKJz6qkqa8QCAAIAPPjL3JFer6ACAAICnIaq6Fywn9QCAAIC6Jw/1Jv0AgACAAIAAgACAU/gAgG3bAIBt2wCAAIAY/rE+DeUAgMP9HMfe+wCAAIBichzHcf74/ACAAIBt2wCAzPzz/QCAAICq6hzHAICE+QCAAIAAgIT2msf4/ACAAIAFVA3lxN0O/dm6bduUvIMpYjzr+xsV+vOyDvH7ksjM/gCAAIDXb/L1oNQ75QCAAIBY+EP/Qei2/gCAAIA2zGzoAIC6/wCAAIAAgJz/GqHA/wCAAIDRPSz+rKBF/3thwP+0YxnGE0Hz/DcoW+x1GG7fCL/X+gCAAIC+Wcj+1ozo4wCAAID4iz/s3Jwa9wCAAIBAVkjOPSgI9ACAAIDVMc3zYEce/QCAAIAiEA2zVVQn3gQvGP+7LMrIYRdg+KodeuJeCuHSTH68/wCAAIBeH/P39Th54wCAAIBjMfrvwlVF3QCAAIAqG4SgzBpq7QCAAICuGSfw+egAgACAAIAN5QCA5v0AgACAAIAAgACAAIA/+gCAAIAAgIT54Pxd9ACAAIAAgACA5/ntwACAAIAAgA3ll/576wCAAIBd9ACAAIBd9ACAAIAAgACAusaE9gCAAICTQgCAethY7k+qDeVQwKrqiCsO+OkSLP+cFHz/371a/wCAAIC7cavxidDj1wCAAIC19P7+5+Y3/QCAAIAnyN7eAICL/wCAAIAAgFX/V57A/wCAAICHNCr/zpCw/yhnmf+5awbCuzdM/AUZEtwcE+TVg7gM9wCAAIBfScb5Goh81ACAAIDjlX3aZKFU9wCAAIBUU7fQnhSc8gCAAIB2NS/0cEGU/ACAAIBlDemfGkrn0g8vev+nKMa+VA4f9bYZetqaCPbH930T/wCAAIAIGnj1Sy5m1gCAAIA2LLfnVlUC2ACAAIDEFzGUmwTx7QCAAIDrEvzv7nXWTq+D5fC5suq8oQvDLrc9wPXuy23bAIAAgACAAIAAgJndBcnw8ACAAIAAgACAAID26pT0kiSSJG3bAIAAgACAlNitz431AIAAgACAAIAAgE/jhPYAgACAAIAAgACAAICC8mG70N4cxwCAAIAAgACAbdsAgACAAIAAgACAAIAAgDOx2La/4wrUDeUAgACAAIBXlSd+/WeJUzS4UuDf8gCAW9DHrghyJnc7sRT5AIAAgBTfve2N9QCAAIAAgACAAIAVkkiMda9x8Q3lAIAAgACA4qLhjZqnw9le/gCAAIAAgOo7wlPwchL1HMcAgACAAIBQbT6VX8NPoTjTveMN5QCATn+magBiMVIRpoHBePoAgEWwyaG8ja2ZlbYN0i66AICcusWpTrX/uVjubdsAgACAjnH8gkihmM/B7fDwAIAAgJNad276qp7a+vmE+QCAAIAIQS5YooLg81BekiQAgACAG0f0XSdw9HjjqGTSUfwAgI5a0ltOYRhXP46Vv4j+AIDfaCuA3Jglu924od+q6gCAN2yteZuXmqlEwtbubdsAgH9he2gtcyORSsUh6g3lAIDoSdNebYTWn83JKuoH/ACAKn4fbjuxS8vjOOM44zgAgJz0Lrpt2wCAAIAAgACAAIAT76WlbdsAgACAAIAAgACAZ+PEld77AIAAgACAAIAAgDCsTbDdwvDwAIAAgACAAICw+eM4HMcAgACAAIAAgACA7PqlpW3bAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIBovaa3Ns8K1A3lAIAAgACA6IhpbaR76U53UbzZ1PoAgMjEHLbaofByOJ8AlFjuAICQ1IjhMMwN5QCAAIAAgACAcq6rY0GF5K/v7BzHAIAAgE+5tIF2kM+dUdjn+QCAAIAvREULwF52ho31AIAAgACA5GQ2aHylYtrrtAzRXfQAgPR51mXPbjxhXldbobnXAIApm1mslpQffq+gfMbYyQCALLgRqBi2T8fH/ACAAIAAgE5pPlpzhJWv/OcH/ACAAIBKU3FOGHJLs6ThrP8AgACALDpFKdFbJ37w+uM44zgAgPI83EfqbY6FEIQosU/gAIAaT6RSVltMXLpbFJKxyACArVjaccyHE5sBrVjQkMkAgApov2cmghya/L3gz977AID8WvRSL2ureySksc/+9gCA3D3ARtZix5LKu5LWNfQAgOZvsT7qcWKIVMxVFapKAIAq+aWlbdsAgACAAIAAgACABf8AgACAAIAAgACAAIAAgCHVV6SwugD4AIAAgACAAICzh+ySNMLpyA3lAIAAgACA1f4AgACAAIAAgACAAIAAgGPvj+8cxwCAAIAAgACAAIAAgACAAIAAgACAAIAAgACAQ8aXxrDaTJHw8ACAAIAAgC59wGBzUBl2yzGEUOfzAIBIrSGovqFqqR55HXPn+QCAS7QSo8rNVbVd9ACAAIAAgKy+JV9ocXGHBqdS9wCAAIC0x6SJFnTofQu3ksSE9gCAsT4gDWmQUF5t2wCAAIAAgBhiO2DPgWTC9vCJw431AICWcHNjHWvObFdXI2ATxgCAg4QHpwWdYXibmNSu4NwAgAOu/6ekp/nSS/ocxwCAAIC3aJxNjWVajIzEn/lY7gCASVaGQ8BSqYa5wUTpeP8AgDspwyHCNV1qr5At/OM4AICaNZA8LFLeg+WHxJBAxACA3EcwTIhUI1t9XHxnfagAgJxHiWtueJuIz6qEv/+6AIBZZLRh7W1+kCKn5sQ63gCA71JMTIBaUXgojWW5dOcAgPw3KDu/Tal1xqrfzDTrAIDRZv8+UDwwi1CdX5/iJgCA2P4AgACAAIAAgACAAIAAgMP9AIAAgACAAIAAgACAAIAasWfH34Ucx23bAIAAgACAIJKliY36AIAAgACAAIAAgPj8AIAAgACAAIAAgACAAICaseD8AIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgDDQDd5GrEto8PAAgACAAIBreoJFfFIkOYRsWB3obgCA4Yizk0SN269Dq8eRAPgAgOpzs1X5iC/Bwc1d9ACAAICt5W1jL3KBqBGWbdsAgACAE8l5xNuW7q1grgCAbdsAgOM44zjjOOM4HMcAgACAAIAAWwVnnHNoi/TIaPjw8ACAX2JISzxrIWdwbKg9n20AgHtpxYj7ml6CnYi9n3nzAIDEl+CRCIi+pDLh3vsAgACAjmxqT4VXXntLpW3bbfcAgBBdAUJTRTxg1pgkzTP3AICNGLcbvDAfPCFvGtoT+wCA3CagNn8/yGDXkD2RIZgAgBhC+Dq2TxtRo2GFXu5+AIAYNnRTLnS7eqOUZL2XxwCAKlV9YeZjNnXXnuW2bcYAgJtJyUV7TFFoDIfBnD7IAIDjL48xnz4+WhWLHr6Z5QCAclRbPsMkrE2Zje3AqT8AgBzHAIAAgACAAIAAgACAAICq6gCAAIAAgACAAIAAgACA0UWTyF30AIAAgACAAIAAgHGsjfUAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACANMIcxwCAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAJ1Kfls9HyGg3lAIAAgACA1sQ8HytGh0DmaloOzU0AgEJeso59jaun98QZqd/yAIDUVms7eFrOko68cfwAgACAA+Sv5w3lAIAAgACAAIAAgKaf9Y+r9VjuAIAAgACAAIAAgACAAIAAgACAAIAAgACAP1ObWBB33INWowjkUfwAgEZFoj1BUgNeWIGqK0pRAIBCRb5tLHabi/yBOqA/+QCAUXlIZcdhA29mnbLzXfQAgAl4fVJcY1R1BK6o1037AIDCWvpDIkjuZEeU28O56QCAUhPMHIEzzi64Z7uw3vsAgPsZRy37OEJI/20rndGMAIDNMv42eUMkTF5dl1wwewCAxyNZQEtijnTKizus5tMAgPRFt1VkVxxum4HXrsfCAIDSPt5BWE+1XKCAMZqUlQCAkCb5K1g3elATeyCspNwAgCVGIDN/JE4/ZIS8vH1PAIAN5QCAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgJIkgykAgPDwAIAAgACAAIAAgACAAIAAgACAAIAAgACADeUAgACAAIAAgACAAIAAgBedDeUAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAsLQb1Pj8AIAAgACAAIAAgKzflTBti2JnAESSJF30AIBSUNpr0Y2Av3meAIBS9wCAbGeEN4VBimTLlDuxFPkAgG2u3focxwCAAIAAgACAAICWj+pyQ7Rc/QCAAIAAgACAAIAAgACAAIAAgACAAIAAgFpMVEucZAF+s49i6gf8AID8PX0yIks/Wu5+DFdKWQCA2C98VPhoL4B7gx2cev8AgHZaQkmOOzRk9JN6q9/+AIDwbkpXMmFfcyaWzOuE9gCAvE2RO/RFFGOeocusQeQAgBMWriVDRxpG+47Cr130AICfFdQiCja+PGJh7pbsjgCANCl4MZs/nkLuWwBeAYMAgCcbxDPvU2VwkYfvpKfUAID3O1NLhk8SYr+Aqp33xgCAcjWGQn1Q4F5Be/uV44gAgBogOyrcNK1MXHSKorDVAIDsSbAvCCSYPZdzgq6qSgCAkZQAgJR8HWkAgIxV5EgAgPs5dysAgIQgzRUAgCQRwAwAgK4LH7jj1gD9bdsAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgA2eqpRbjrScg6hN2S/mbdsAgACAAIAAgACAAIAAgACA/ZI8qQfTyP0cxwCAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgPV6A4l7iQaHNKdhsa7YjfoAgACAAIAAgACAAIAAgACAFnMuhXC1nNd0/wCAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgPpefXZfgV2DOpa9rTDCTe9d9ACAAIAAgACAAIAAgACA3EXsbfd/0bk94DH/AIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgAk9V1mVdGN5AofRpfzCHdUP/gCAAIAAgACAAIAAgACAdymEQoBsR4pUv1bpl/4AgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgC0iOT64WPZyk33/llrJ/ck5/wCAAIAAgACAAIAAgACAKBobMcNT2HrUryHZlf8AgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgACAAIAAgEAXYisRSvFnfnkGkx/HsMGP/wCAAIAAgACAAIAAgACA';

const packed = atob(TABLES);
const table = Uint16Array.from({ length: packed.length / 2 }, (_, i) => packed.charCodeAt(2 * i) | (packed.charCodeAt(2 * i + 1) << 8));
const MOVED = LAGS * MOVES;
const SIGN = MOVED + LAGS * MOVES * GROUPS * 6;
const MAGNITUDE = SIGN + 9;
const OTHER_MOVED = MAGNITUDE + LAGS * MOVES * GROUPS * 8;
const OTHER_MAGNITUDE = OTHER_MOVED + LAGS * 3;

/** Of each shape, in the order of a 52-value frame: brows 0, eyelids 1, gaze 2, cheeks 3, jaw 4, mouth 5, tongue 6. */
const GROUP = Uint8Array.from('1222211122221144445555555555555555555555500000333336');
/** How far before it the same shape of the other side is, where that comes first; else 0. */
const PARTNER = Uint8Array.from('0000000777777700100000101010101000001010101001001010');

// ---- range decoder ------------------------------------------------------------------

class Coder {
  #at = 0;

  #code = 0;

  #range = 0xffffffff;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    for (let i = 0; i < 4; i += 1) this.#code = ((this.#code << 8) | this.#next()) >>> 0;
  }

  #next() {
    this.#at += 1;
    return this.bytes[this.#at - 1] ?? 0;
  }

  /** A decision. @param {number} zero The probability of `no`, in 1/65536 */
  bit(zero) {
    const bound = (this.#range >>> 16) * zero;
    const yes = this.#code >= bound;
    if (yes) {
      this.#code -= bound;
      this.#range -= bound;
    } else this.#range = bound;
    while (this.#range < 0x1000000) {
      this.#code = ((this.#code << 8) | this.#next()) >>> 0;
      this.#range *= 256;
    }
    return yes;
  }

  /** A size of at least 1. @param {number} from Place of its first decision @param {number} most Bits that it has at most */
  size(from, most) {
    let bits = 0;
    while (bits < most - 1 && this.bit(table[from + bits])) bits += 1;
    let size = 1;
    for (; bits > 0; bits -= 1) size = size * 2 + (this.bit(32768) ? 1 : 0);
    return size;
  }

  /** Whether all was used, and nothing ends in a byte that is not written. */
  isAtEnd() {
    const { length } = this.bytes;
    return length <= this.#at && this.bytes[length - 1] !== 0;
  }
}

// ---- faces in steps -----------------------------------------------------------------

/**
 * @typedef {object} Steps A face in the steps of the wire.
 * @property {number} number
 * @property {number} flags
 * @property {number} largest Which part of the rotation is left out.
 * @property {number} time In steps.
 * @property {Uint8Array} weights
 * @property {Int32Array} others Rotation, position, gaze.
 */

const REST = { weights: new Uint8Array(SHAPES), others: new Int32Array(10) };

/** A time between two frames as the model's lag: 1.5, 2.5, 4.5, 8.5 and 16.5 frames of 60 a second. @param {number} steps */
const lagOf = (steps) => [195, 326, 586, 1107, 2148].filter((limit) => steps >= limit).length;

/**
 * What changed since another face.
 * @param {Coder} coder @param {{ weights: Uint8Array, others: Int32Array }} before @param {number} flags @param {number} lag
 */
function changes(coder, before, flags, lag) {
  const weights = before.weights.slice();
  const others = before.others.slice();
  let active = 0;
  while (active < MOVES && coder.bit(table[lag * MOVES + active])) active += 1;
  if (active > 0) {
    const row = (lag * MOVES + active - 1) * GROUPS;
    /** 0 still, 1 up, 2 down. */
    const went = new Uint8Array(SHAPES);
    let last = 0;
    for (let i = 0; i < SHAPES; i += 1) {
      const group = row + GROUP[i];
      const partner = PARTNER[i] ? went[i - PARTNER[i]] : last;
      const near = (last ? 1 : 0) + (partner ? 1 : 0);
      const from = weights[i];
      if (!coder.bit(table[MOVED + group * 6 + near * 2 + (from ? 0 : 1)])) {
        last = 0;
        continue;
      }
      const down = from === 255 || (from > 0 && coder.bit(table[SIGN + partner * 3 + last]));
      const by = coder.size(MAGNITUDE + group * 8, 8);
      weights[i] = down ? Math.max(0, from - by) : Math.min(255, from + by);
      last = went[i] = down ? 2 : 1;
    }
  }
  for (let place = 0; place < 10; place += 1) {
    const kind = place < 3 ? 0 : place < 6 ? 1 : 2;
    if (!(flags & [HEAD, POSITION, GAZE][kind]) || !coder.bit(table[OTHER_MOVED + lag * 3 + kind])) continue;
    const down = coder.bit(32768);
    const by = coder.size(OTHER_MAGNITUDE + (lag * 3 + kind) * 16, 16);
    others[place] += down ? -by : by;
  }
  return { weights, others };
}

/** A field is not valid. @param {string} field @param {string} reason @returns {never} */
function fail(field, reason) {
  throw new RangeError(`facelink1: ${field} ${reason}`);
}

/** A face in steps as a plain packet, which the one decoder of faces reads. @param {Steps} steps */
function plainOf({ number, flags, largest, weights, others }) {
  const bytes = new Uint8Array(8 + SHAPES + 20);
  const view = new DataView(bytes.buffer);
  bytes.set([0xf1, 1]);
  view.setUint16(2, (flags & 15) | (largest << 7), true);
  view.setUint32(4, number, true);
  bytes.set(weights, 8);
  let at = 8 + SHAPES;
  for (let place = 0; place < 10; place += 1) {
    const kind = place < 3 ? 0 : place < 6 ? 1 : 2;
    if (!(flags & [HEAD, POSITION, GAZE][kind])) continue;
    const value = others[place] * [32, 1, 16][kind];
    const within = Math.max(kind === 1 ? -32767 : -32768, Math.min(32767, value));
    if (within !== value && kind !== 1) fail('changes', 'lead beyond the range of an angle');
    view.setInt16(at, within, true);
    at += 2;
  }
  return bytes.subarray(0, at);
}

/** The fields of a packet or of an item. */
class Input {
  at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
  }

  /** @param {number} length @param {string} field */
  take(length, field) {
    if (this.at + length > this.bytes.length) fail(field, 'is cut off: the packet ends within it');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A little-endian number. @param {number} length @param {string} field */
  number(length, field) {
    return this.take(length, field).reduceRight((number, byte) => number * 256 + byte, 0);
  }

  /** @param {string} field */
  varint(field) {
    let [value, unit] = [0, 1];
    for (let i = 0; i < 7; i += 1) {
      const byte = this.number(1, field);
      value += (byte & 127) * unit;
      unit *= 128;
      if (byte < 128) return byte || !i ? value : fail(field, 'is not in its shortest form');
    }
    return fail(field, 'has more than seven bytes');
  }
}

/**
 * @typedef {object} Known A subject, by what stands for it.
 * @property {string} name
 * @property {number} newest The highest number.
 * @property {[packet: number, steps: Steps][]} kept With the packets by which they came; the last one that came first.
 */
/** @typedef {{ id: number, name: string | null, number: number, repeated: boolean, face: Face, steps: Steps | null }} Item */

/** Reads the compact bundles of one connection. */
export class CompactDecoder {
  /** In the order of use. @type {Map<number, Known>} */
  #subjects = new Map();

  /** @type {DecodePlain} */
  #decodePlain;

  /** @param {DecodePlain} decodePlain Reads plain packets */
  constructor(decodePlain) {
    this.#decodePlain = decodePlain;
  }

  /** @param {Uint8Array} bytes */
  static isCompact(bytes) {
    return bytes[0] === MAGIC;
  }

  /**
   * Reads one packet. Faces that build upon frames that are not here are left out, and counted; a packet without such is to be
   * acknowledged by its number.
   * @param {Uint8Array} bytes
   * @returns {{ packet: number, missing: number, faces: Face[] }}
   * @throws {RangeError} When the packet is refused; it names the field, and no face is kept
   */
  decode(bytes) {
    if (bytes.length > MAX_PACKET) fail('the packet', `is larger than ${MAX_PACKET} bytes`);
    const input = new Input(bytes);
    if (input.number(1, 'magic') !== MAGIC) fail('magic', 'is not that of a compact bundle');
    const packet = input.number(2, 'packet');
    const base = input.number(6, 'time');
    /** @type {Item[]} */
    const items = [];
    let missing = 0;
    do {
      const item = this.#item(input, packet, base);
      if (item) items.push(item);
      else missing += 1;
    } while (input.at < bytes.length);
    /** @type {Face[]} */
    const faces = [];
    for (const { id, name, number, repeated, face, steps } of items) {
      const known = this.#known(id, name, number);
      if (!known) continue;
      const ahead = (number - known.newest) | 0;
      // Far behind is a new count.
      if (ahead >= 0 || ahead < -1024) known.newest = number;
      if (steps) {
        const same = known.kept.findIndex(([, kept]) => kept.number === number);
        if (same >= 0 && !repeated) known.kept.splice(same, 1);
        if (same < 0 || !repeated) {
          known.kept.length = Math.min(known.kept.length, KEPT - 1);
          known.kept.unshift([packet, steps]);
        }
      }
      faces.push(Object.assign(face, { subject: known.name, repeated }));
    }
    return { packet, missing, faces };
  }

  /** The subject of an id, which is new or another one if a name says so. @param {number} id @param {string | null} name @param {number} number */
  #known(id, name, number) {
    let known = this.#subjects.get(id);
    if (name !== null && known?.name !== name) {
      if (!known && this.#subjects.size >= MAX_SUBJECTS) {
        for (const silent of this.#subjects.keys()) {
          this.#subjects.delete(silent);
          break;
        }
      }
      known = { name, newest: number, kept: [] };
    }
    if (known) {
      this.#subjects.delete(id);
      this.#subjects.set(id, known);
    }
    return known;
  }

  /** Reads one item; null when what it builds upon is not here. @param {Input} packet @param {number} number @param {number} base @returns {Item | null} */
  #item(packet, number, base) {
    const first = packet.number(1, 'length');
    let length = first & 63;
    if (length === 63) {
      length = packet.varint('length');
      if (length < 63) fail('length', 'is not in its shortest form');
    }
    const input = new Input(packet.take(length, 'item'));
    const id = input.varint('id');
    if (id >= MAX_ID) fail('id', 'is not below 16384');
    const time = base - input.varint('age');
    if (time < 0) fail('age', 'reaches back beyond 1970');
    const known = this.#subjects.get(id);
    const tracked = first & 128 ? TRACKED : 0;
    if (first & 64) {
      const distance = input.number(1, 'distance');
      const back = input.varint('back');
      if (!(distance & 127) || back < 1 || back > MAX_BACK) fail('distance', 'and back are 1 or more, and not too far');
      // Of those of a packet, the last one: the others are repeated.
      const from = known?.kept.find(([kept]) => kept === ((number - back) & 0xffff))?.[1];
      if (!from) return null;
      if (time < from.time) fail('age', 'is before the frame that it builds upon');
      const flags = (from.flags & ~TRACKED) | tracked;
      const which = { number: (from.number + (distance & 127)) >>> 0, flags, largest: from.largest, time };
      return this.#steps(input, from, which, lagOf(time - from.time), { id, name: null, repeated: distance > 127 });
    }
    const flags = input.number(1, 'flags');
    let name = null;
    let which = 0;
    if (flags & 32) {
      which = input.number(4, 'number');
      name = this.#name(input);
    } else {
      const low = input.number(2, 'number');
      if (!known) return null;
      which = (known.newest + (((low - known.newest) << 16) >> 16)) >>> 0;
    }
    const repeated = flags > 127;
    const [shape, plain] = [flags & 31, flags & 64];
    if ((plain && shape) || (!(flags & 1) && flags & 26)) fail('flags', 'speak of what is not there');
    if (plain) {
      const body = input.bytes.subarray(input.at);
      // Without subject, time and repeated frames.
      if (body.length < 2 || body[0] & 64 || body[1] & 0b0001_1110) fail('flags', 'hold a bit that a plain item does not have');
      const whole = new Uint8Array(6 + body.length);
      whole.set([0xf1, 1, body[0], body[1]]);
      new DataView(whole.buffer).setUint32(4, which, true);
      whole.set(body.subarray(2), 8);
      const [face] = this.#decodePlain(whole);
      return { id, name, number: which, repeated, face: Object.assign(face, { captureTime: time * TIME_STEP, clock: 'unix' }), steps: null };
    }
    // A whole face is what changed since a face at rest.
    const wholeFlags = tracked | (flags & 1 ? HEAD : 0) | (flags & 2 ? POSITION : 0) | (flags & 4 ? GAZE : 0);
    return this.#steps(input, REST, { number: which, flags: wholeFlags, largest: (flags >> 3) & 3, time }, LAGS - 1, { id, name, repeated });
  }

  /** @param {Input} input */
  #name(input) {
    const length = input.number(1, 'name');
    const bytes = input.take(length, 'name');
    let name = '';
    try {
      name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      fail('name', 'is not UTF-8');
    }
    // eslint-disable-next-line no-control-regex
    if (!length || length > 128 || /[\u0000-\u001f\u007f-\u009f]/.test(name)) fail('name', 'is empty, longer than 128 bytes, or has control characters');
    return name;
  }

  /**
   * Reads the changes, which are the rest of an item.
   * @param {Input} input @param {{ weights: Uint8Array, others: Int32Array }} from @param {Omit<Steps, 'weights' | 'others'>} which
   * @param {number} lag @param {{ id: number, name: string | null, repeated: boolean }} item
   * @returns {Item}
   */
  #steps(input, from, which, lag, item) {
    const coder = new Coder(input.bytes.subarray(input.at));
    const steps = { ...which, ...changes(coder, from, which.flags, lag) };
    if (!coder.isAtEnd()) fail('changes', 'go on beyond their end');
    const [face] = this.#decodePlain(plainOf(steps));
    return { ...item, number: which.number, face: Object.assign(face, { captureTime: which.time * TIME_STEP, clock: 'unix' }), steps };
  }
}
