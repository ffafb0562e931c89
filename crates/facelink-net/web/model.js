// @ts-check
/**
 * A model's file, and what the server says about how a face moves it. Knows no renderer, so that files are on their way while
 * three.js is loaded.
 *
 * @module model
 */

/** @typedef {{ file: ArrayBuffer, folder: string, rig: Promise<import('./mapping.js').Rig> }} Model */

/** Largest file that is read, bytes. */
const MAX_BYTES = 256e6;
/** Without data for this time a download is given up, ms. */
const SILENT_MS = 15000;

/** @param {string} url @param {RequestInit} options */
async function download(url, options) {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), SILENT_MS);
  try {
    const answer = await fetch(url, { ...options, signal: abort.signal }).catch((error) => {
      throw new Error(abort.signal.aborted ? 'it does not answer' : 'it cannot be reached', { cause: error });
    });
    if (!answer.ok) {
      const body = await answer.json().catch(() => null);
      throw new Error(body?.error?.message ?? (answer.status === 404 ? 'it is not there' : `HTTP ${answer.status}`));
    }
    /** @type {Uint8Array[]} */
    const parts = [];
    let length = 0;
    for (const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENT_MS);
      parts.push(value);
      length += value.length;
      if (length > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES / 1e6} MB`);
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes.buffer;
  } catch (error) {
    throw abort.signal.aborted ? new Error('it does not answer') : error;
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

/** The JSON of a glTF file, binary or not. @param {ArrayBuffer} file @returns {Record<string, any>} */
export function documentOf(file) {
  const view = new DataView(file);
  let text = new Uint8Array(file);
  if (file.byteLength >= 20 && view.getUint32(0, true) === 0x46546c67) {
    if (view.getUint32(4, true) !== 2) throw new Error('it is of another version of glTF than 2');
    const length = view.getUint32(12, true);
    if (view.getUint32(16, true) !== 0x4e4f534a || 20 + length > file.byteLength) throw new Error('the file is cut off');
    text = new Uint8Array(file, 20, length);
  } else if (!/^\s*\{/.test(new TextDecoder().decode(text.subarray(0, 16)).replace(/^\uFEFF/, ''))) {
    throw new Error('it is neither a glTF nor a VRM file');
  }
  return JSON.parse(new TextDecoder().decode(text));
}

/** Only the keys that are there. @param {Record<string, any>} from @param {string[]} keys */
const pick = (from, keys) => Object.fromEntries(keys.filter((key) => from?.[key] !== undefined).map((key) => [key, from[key]]));

/** What the server needs of a file to say how a face moves it. @param {Record<string, any>} document */
export function outline(document) {
  const named = new Set();
  const meshes = (document.meshes ?? []).map((/** @type {any} */ mesh) => ({
    ...pick(mesh, ['name']),
    extras: pick(mesh.extras, ['targetNames']),
    primitives: (mesh.primitives ?? []).map((/** @type {any} */ primitive) => ({
      extras: pick(primitive.extras, ['targetNames']),
      targets: (primitive.targets ?? []).map((/** @type {any} */ target) => {
        for (const accessor of Object.values(target)) named.add(accessor);
        return pick(target, ['POSITION', 'NORMAL']);
      }),
    })),
  }));
  const { VRM, VRMC_vrm: vrm } = document.extensions ?? {};
  const table = (/** @type {any} */ list) => Object.fromEntries(Object.entries(list ?? {}).map(([name, it]) => [name, pick(/** @type {any} */ (it), [
    'isBinary', 'morphTargetBinds', 'overrideBlink', 'overrideLookAt', 'overrideMouth',
  ])]));
  return {
    ...pick(document, ['scene', 'scenes']),
    nodes: (document.nodes ?? []).map((/** @type {any} */ node) => pick(node, ['name', 'children', 'mesh', 'skin'])),
    meshes,
    accessors: (document.accessors ?? []).map((/** @type {any} */ accessor, /** @type {number} */ i) => (named.has(i) ? pick(accessor, ['name']) : {})),
    skins: (document.skins ?? []).map((/** @type {any} */ skin) => pick(skin, ['joints'])),
    extensions: {
      ...(VRM ? { VRM: {
        ...pick(VRM, ['humanoid', 'firstPerson']),
        blendShapeMaster: { blendShapeGroups: (VRM.blendShapeMaster?.blendShapeGroups ?? []).map((/** @type {any} */ group) => pick(group, ['name', 'presetName', 'binds', 'isBinary'])) },
      } } : null),
      ...(vrm ? { VRMC_vrm: {
        ...pick(vrm, ['humanoid', 'lookAt']),
        expressions: { preset: table(vrm.expressions?.preset), custom: table(vrm.expressions?.custom) },
      } } : null),
    },
  };
}

/**
 * Loads a model.
 * @param {string} url
 * @param {Record<string, string>} headers Of requests to the page's own server: no other one is shown the token
 * @returns {Promise<Model>}
 * @throws {Error} In words for the user
 */
export async function loadModel(url, headers) {
  const full = new URL(url, document.baseURI);
  const isOwn = full.origin === location.origin;
  const file = await download(full.href, isOwn ? { headers } : { credentials: 'omit', referrerPolicy: 'no-referrer' });
  const rig = download('api/v1/rig', {
    method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(outline(documentOf(file))),
  }).then((answer) => JSON.parse(new TextDecoder().decode(answer)));
  rig.catch(() => {}); // reported to what awaits it
  return { file, folder: new URL('.', full).href, rig };
}
