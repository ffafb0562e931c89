// @ts-check
/**
 * An avatar drawn by three.js: a glTF or VRM file, moved as the server's `POST /api/v1/rig` says (mapping.js). Files are
 * drawn by GLTFLoader; three-vrm brings the materials, spring bones and constraints of VRM avatars.
 *
 * @module avatar
 */
import { VRMLoaderPlugin } from '@pixiv/three-vrm';
import * as THREE from 'three';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';

import { Driver, facingTurn } from './mapping.js';

/** @typedef {import('./mapping.js').Face} Face */
/** @typedef {import('./mapping.js').Rig} Rig */
/** @typedef {{ node: any, base: any, parent: any, pivot: any, place: any, moved: any }} Bone */
/** @typedef {{ center: any, height: number, forward: any, low: any, high: any }} HeadFrame */

/** Vertices of one mesh, and targets of it, that are looked at to find the head; they are spread over it. */
const MAX_VERTICES = 1200;
const MAX_TARGETS = 16;
/** Share of a target's largest motion from which a vertex counts as moved. */
const MOVED = 0.25;
/** Mean displacement of an eyeball's vertices, as a share of its radius, from which targets count as turning it. */
const TURNS = 0.08;
/** Arms of a VRM avatar, which stand out to the sides, hang down by this angle, radians. */
const ARMS = 1.25;
const FOV = 22;

/** @param {unknown} error */
const lineOf = (error) => String(/** @type {any} */ (error)?.message || error).split('\n')[0];

// ---- loading --------------------------------------------------------------------

/** @param {unknown} error */
function advice(error) {
  const text = lineOf(error);
  if (/draco|meshopt|ktx2/i.test(text)) return 'its meshes or textures are compressed, which this viewer does not read: export it without compression';
  return text;
}

/**
 * Makes an avatar of a file.
 * @param {import('./model.js').Model} model
 * @returns {Promise<Avatar>}
 * @throws {Error} In words for the user
 */
export async function makeAvatar({ file, folder, rig }) {
  /** @param {boolean} vrm */
  const parse = (vrm) => {
    const loader = new GLTFLoader();
    if (vrm) loader.register((/** @type {any} */ parser) => new VRMLoaderPlugin(parser, { autoUpdateHumanBones: false }));
    return loader.parseAsync(file, folder);
  };
  try {
    const gltf = await parse(true).catch((/** @type {unknown} */ error) => {
      if (!/VRM/.test(lineOf(error))) throw error;
      // A bust lacks bones that VRM asks for: its face moves all the same, by what the server reads of the file.
      console.info(`facelink viewer: drawn as plain glTF: ${lineOf(error)}`);
      return parse(false);
    });
    return await Avatar.of(gltf, await rig);
  } catch (error) {
    throw new Error(advice(error), { cause: error });
  }
}

// ---- an avatar --------------------------------------------------------------------

export class Avatar {
  /** @type {Driver} */ driver;
  /** Of each mesh of the rig: those of three.js. @type {any[][]} */ meshes = [];
  /** By node of the file. @type {Map<number, Bone>} */ bones = new Map();
  /** @type {HeadFrame | null} */ frame = null;

  /** @param {any} gltf @param {Rig} rig */
  constructor(gltf, rig) {
    this.gltf = gltf;
    this.rig = rig;
    this.driver = new Driver(rig, rig.eyes);
  }

  /** @param {any} gltf @param {Rig} rig */
  static async of(gltf, rig) {
    const avatar = new Avatar(gltf, rig);
    const node = (/** @type {number} */ index) => gltf.parser.getDependency('node', index);
    for (const { node: index } of rig.meshes) {
      const of = await node(index);
      /** @type {any[]} */
      const meshes = of.isMesh ? [of] : of.children.filter((/** @type {any} */ child) => child.isMesh && !gltf.parser.associations.get(child)?.nodes);
      avatar.meshes.push(meshes.filter((mesh) => mesh.morphTargetInfluences));
    }
    const root = gltf.scene;
    root.traverse((/** @type {any} */ object) => { object.frustumCulled = false; }); // a morphed or skinned box is another
    root.updateMatrixWorld(true);
    for (const skeleton of rig.skeletons) {
      for (const index of [skeleton.neck, skeleton.head, ...skeleton.eyes, skeleton.jaw]) {
        if (index !== null && !avatar.bones.has(index)) avatar.bones.set(index, boneOf(await node(index)));
      }
    }
    avatar.driver.eyes = avatar.#eyes();
    avatar.frame = headFrame(avatar);
    avatar.#hangArms();
    for (const skeleton of rig.skeletons) {
      for (const [index, isEye] of /** @type {[number | null, boolean][]} */ ([[skeleton.head, false], [skeleton.eyes[0], true], [skeleton.eyes[1], true]])) {
        const bone = index === null ? null : avatar.bones.get(index);
        if (bone) bone.pivot.copy(pivotOf(bone.node, isEye));
      }
    }
    return avatar;
  }

  get root() { return this.gltf.scene; }

  get vrm() { return this.gltf.userData.vrm ?? null; }

  /** The direction of a skeleton's face. @param {number} i @returns {'PlusZ' | 'MinusZ' | 'PlusX' | 'MinusX'} */
  facingOf(i) {
    if (this.rig.facing) return this.rig.facing;
    const { head, eyes } = this.rig.skeletons[i] ?? { head: null, eyes: [null, null] };
    const place = (/** @type {number | null} */ index) => (index === null ? null : this.bones.get(index)?.place);
    const [of, left, right] = [place(head), place(eyes[0]), place(eyes[1])];
    if (of && left && right) {
      const middle = left.clone().add(right).multiplyScalar(0.5).sub(of);
      return Math.max(Math.abs(middle.x), Math.abs(middle.z)) < 0.1 * middle.length() ? 'PlusZ' : nearest(middle);
    }
    return this.frame ? nearest(this.frame.forward) : 'PlusZ';
  }

  /** What turns the eyes: what the file or the preset says, else the targets where they move what the eye bones move. */
  #eyes() {
    const { rig, meshes } = this;
    const eyes = rig.skeletons.flatMap((skeleton) => skeleton.eyes).filter((eye) => eye !== null).map((eye) => this.bones.get(/** @type {number} */ (eye))?.node);
    const looks = rig.looks || rig.meshes.some((mesh) => mesh.looks.length);
    let byTargets = rig.eyes === 'Targets';
    if (rig.eyes === 'Auto') byTargets = rig.meshes.some((of, i) => meshes[i].some((mesh) => turnsEyes(mesh, of.looks, eyes)));
    if (byTargets && looks) return 'Targets';
    return eyes.length ? 'Bones' : 'Auto';
  }

  /** The pose of VRM files is one with arms to the sides. */
  #hangArms() {
    const { vrm } = this;
    const facing = new THREE.Quaternion(...facingTurn(this.facingOf(0)));
    for (const [name, angle] of /** @type {[string, number][]} */ ([['leftUpperArm', -ARMS], ['rightUpperArm', ARMS]])) {
      const node = vrm?.humanoid?.getRawBoneNode(name);
      if (!node) continue;
      const bone = boneOf(node);
      const turn = facing.clone().multiply(new THREE.Quaternion().setFromAxisAngle(new THREE.Vector3(0, 0, 1), angle)).multiply(facing.clone().invert());
      turnBone(bone, turn);
    }
    this.root.updateMatrixWorld(true);
    vrm?.springBoneManager?.reset();
  }

  /** Shows a face. @param {Face} face @param {number} dt Seconds since the last one */
  show(face, dt) {
    const { driver, vrm } = this;
    driver.evaluate(face);
    this.meshes.forEach((meshes, i) => {
      for (const mesh of meshes) driver.write(i, mesh.morphTargetInfluences, face);
    });
    driver.turns(face, (skeleton) => this.facingOf(skeleton), (index, turn, shift) => {
      const bone = this.bones.get(index);
      if (!bone) return;
      turnBone(bone, new THREE.Quaternion(...turn));
      if (shift[0] || shift[2]) bone.node.position.add(new THREE.Vector3(...shift).applyQuaternion(bone.parent.clone().invert()));
    });
    if (!vrm) return;
    this.root.updateMatrixWorld();
    vrm.nodeConstraintManager?.update();
    vrm.springBoneManager?.update(Math.min(dt, 0.1));
    for (const material of vrm.materials ?? []) material.update?.(dt);
  }
}

/** @param {any} node @returns {Bone} */
function boneOf(node) {
  const [parent, place] = [new THREE.Quaternion(), new THREE.Vector3()];
  node.parent?.getWorldQuaternion(parent);
  node.getWorldPosition(place);
  return { node, base: node.quaternion.clone(), parent, pivot: new THREE.Vector3(), place, moved: node.position.clone() };
}

/** Turns a bone in the axes of the model, from its rest. @param {Bone} bone @param {any} turn */
function turnBone({ node, base, parent, pivot, moved }, turn) {
  node.quaternion.copy(parent).invert().multiply(turn).multiply(parent).multiply(base).normalize();
  node.position.copy(moved);
  if (!pivot.lengthSq()) return;
  const arm = pivot.clone().multiply(node.scale);
  node.position.add(arm.clone().applyQuaternion(base)).sub(arm.applyQuaternion(node.quaternion));
}

/** @param {any} direction @returns {'PlusZ' | 'MinusZ' | 'PlusX' | 'MinusX'} */
function nearest({ x, z }) {
  if (Math.abs(x) > Math.abs(z)) return x > 0 ? 'PlusX' : 'MinusX';
  return z < 0 ? 'MinusZ' : 'PlusZ';
}

/** Whether an object is one of these or below one. @param {any} object @param {any[]} of */
function isBelow(object, of) {
  for (let at = object; at; at = at.parent) if (of.includes(at)) return true;
  return false;
}

/** Whether a full look moves the vertices of one of these eyes. @param {any} mesh @param {number[]} looks @param {any[]} eyes */
function turnsEyes(mesh, looks, eyes) {
  const { position, skinIndex, skinWeight } = mesh.geometry.attributes;
  const deltas = mesh.geometry.morphAttributes.position;
  if (!looks.length || !position || !deltas) return false;
  return eyes.some((eye) => {
    /** @type {number[]} */
    let own = [];
    if (mesh.isSkinnedMesh && skinIndex && skinWeight) {
      const joints = mesh.skeleton.bones.map((/** @type {any} */ joint) => isBelow(joint, [eye]));
      for (let i = 0; i < position.count; i += 1) {
        let share = 0;
        for (let k = 0; k < 4; k += 1) if (joints[skinIndex.getComponent(i, k)]) share += skinWeight.getComponent(i, k);
        if (share > 0.5) own.push(i);
      }
    } else if (isBelow(mesh, [eye])) own = Array.from({ length: position.count }, (_, i) => i);
    if (!own.length) return false;
    const [point, middle] = [new THREE.Vector3(), new THREE.Vector3()];
    for (const i of own) middle.add(point.fromBufferAttribute(position, i));
    middle.divideScalar(own.length);
    const radius = own.reduce((sum, i) => sum + point.fromBufferAttribute(position, i).distanceTo(middle), 0) / own.length;
    return looks.some((look) => deltas[look]
      && own.reduce((sum, i) => sum + point.fromBufferAttribute(deltas[look], i).length(), 0) / own.length > TURNS * radius);
  });
}

/** The point that a node with meshes turns about, in its own axes, where its origin is elsewhere: the middle of an eyeball, the neck of a head. @param {any} node @param {boolean} isEye */
function pivotOf(node, isEye) {
  const none = new THREE.Vector3();
  if (node.isBone) return none;
  const box = new THREE.Box3();
  const inverse = node.matrixWorld.clone().invert();
  node.traverse((/** @type {any} */ mesh) => {
    if (!mesh.isMesh || mesh.isSkinnedMesh) return;
    mesh.geometry.computeBoundingBox();
    box.union(mesh.geometry.boundingBox.clone().applyMatrix4(inverse.clone().multiply(mesh.matrixWorld)));
  });
  if (box.isEmpty()) return none;
  const middle = box.getCenter(new THREE.Vector3());
  const half = box.getSize(new THREE.Vector3()).multiplyScalar(0.5);
  const size = Math.max(half.x, half.y, half.z);
  if (isEye) return middle.length() > 0.5 * size ? middle : none;
  if (box.clampPoint(none, new THREE.Vector3()).length() <= size) return none;
  const up = new THREE.Vector3(0, 1, 0).applyQuaternion(node.getWorldQuaternion(new THREE.Quaternion()).invert());
  return middle.sub(up.multiplyScalar(half.clone().multiply(up).length()));
}

// ---- where the head is --------------------------------------------------------------

/** Lowest and highest of points, without the outermost share on each side of each axis. @param {any[]} points @param {number} [share] */
function extent(points, share = 0.02) {
  if (!points.length) return null;
  const [low, high] = [new THREE.Vector3(), new THREE.Vector3()];
  for (const axis of ['x', 'y', 'z']) {
    const values = points.map((point) => point[axis]).sort((a, b) => a - b);
    const cut = Math.floor(values.length * share);
    low[axis] = values[cut];
    high[axis] = values[values.length - 1 - cut];
  }
  return { low, high };
}

/**
 * Where the head is, by the vertices that a face moves, else the eyes, else the model: as the engine's `HeadFrame`.
 * @param {Avatar} avatar
 * @returns {HeadFrame}
 */
function headFrame(avatar) {
  const { rig, meshes, bones, root } = avatar;
  const skeleton = rig.skeletons.find((of) => of.head !== null) ?? rig.skeletons[0];
  const head = skeleton?.head == null ? null : bones.get(skeleton.head);
  const eyes = skeleton?.eyes.every((eye) => eye !== null) ? skeleton.eyes.map((eye) => bones.get(/** @type {number} */ (eye))?.place) : null;
  /** @type {any[]} */ const all = [];
  /** @type {any[]} */ const onHead = [];
  /** @type {Map<any, any[]>} */ const pointsOf = new Map();
  root.traverse((/** @type {any} */ mesh) => {
    if (!mesh.isMesh) return;
    const { position, skinIndex, skinWeight } = mesh.geometry.attributes;
    const step = Math.max(1, Math.ceil(position.count / MAX_VERTICES));
    const joints = head && mesh.isSkinnedMesh ? mesh.skeleton.bones.map((/** @type {any} */ joint) => isBelow(joint, [head.node])) : null;
    const rigid = Boolean(head && !joints && isBelow(mesh, [head.node]));
    const points = [];
    for (let i = 0; i < position.count; i += step) {
      const point = mesh.getVertexPosition(i, new THREE.Vector3()).applyMatrix4(mesh.matrixWorld);
      if (!Number.isFinite(point.x + point.y + point.z)) continue;
      point.vertex = i;
      points.push(point);
      let own = rigid;
      if (joints) {
        let most = 0;
        for (let k = 0; k < 4; k += 1) if (skinWeight.getComponent(i, k) > skinWeight.getComponent(i, most)) most = k;
        own = joints[skinIndex.getComponent(i, most)];
      }
      if (own) onHead.push(point);
    }
    pointsOf.set(mesh, points);
    all.push(...points);
  });
  // The face is the mesh with most targets, of equals the highest, and what is next to it.
  const parts = rig.meshes.flatMap((of, i) => meshes[i].map((mesh) => {
    const targets = new Set([...rig.mapping.meshes[i].map(({ target }) => target), ...of.expressed.map(([target]) => target)]);
    const points = pointsOf.get(mesh) ?? [];
    const deltas = mesh.geometry.morphAttributes.position ?? [];
    const list = [...targets];
    const step = Math.max(1, Math.ceil(list.length / MAX_TARGETS));
    const moved = new Set();
    const delta = new THREE.Vector3();
    for (let t = 0; t < list.length; t += step) {
      const of = deltas[list[t]];
      if (!of) continue;
      const lengths = points.map((point) => delta.fromBufferAttribute(of, point.vertex).length());
      const most = Math.max(0, ...lengths);
      if (most > 0) points.forEach((point, k) => { if (lengths[k] > most * MOVED) moved.add(point); });
    }
    return { targets: targets.size, moved: [...moved], points };
  })).filter((part) => part.moved.length);
  const ranked = parts.map((part) => ({ ...part, box: /** @type {any} */ (extent(part.moved)) }));
  ranked.sort((a, b) => b.targets - a.targets || (b.box.high.y - b.box.low.y) - (a.box.high.y - a.box.low.y));
  /** @type {any[]} */ const face = [];
  /** @type {any[]} */ const skin = [];
  if (ranked.length) {
    const { low, high } = ranked[0].box;
    const around = Math.max(high.x - low.x, high.y - low.y, high.z - low.z) * 0.3;
    const box = new THREE.Box3(low.clone(), high.clone()).expandByScalar(around);
    for (const part of ranked.filter((of) => box.intersectsBox(new THREE.Box3(of.box.low, of.box.high)))) {
      face.push(...part.moved);
      skin.push(...part.points);
    }
  }
  const apart = eyes?.[0] && eyes[1] ? eyes[0].distanceTo(eyes[1]) : 0;
  const faceBox = extent(face);
  const headBox = extent(onHead);
  const whole = extent(all, 0) ?? { low: new THREE.Vector3(-0.5, -0.5, -0.5), high: new THREE.Vector3(0.5, 0.5, 0.5) };
  let [chin, crown] = [0, 0];
  let middle = new THREE.Vector3();
  if (faceBox && faceBox.low.y < faceBox.high.y) {
    // The face moves from the chin to the brows, which is six tenths of a head, and as wide as six tenths.
    const { low, high } = faceBox;
    const size = high.clone().sub(low).divideScalar(0.6);
    const tall = Math.max(size.y, Math.min(size.x, Math.max(size.z, size.x * 0.5)), apart * 3);
    chin = Math.min(low.y, high.y - 0.5 * tall);
    const top = skin.filter((point) => Math.abs(point.x - (low.x + high.x) / 2) < 0.6 * tall).reduce((most, point) => Math.max(most, point.y), -Infinity);
    crown = Math.min(Math.max(top, high.y + 0.2 * tall), chin + 1.25 * tall);
    middle = low.clone().add(high).multiplyScalar(0.5);
  } else if (apart > 0 && eyes) {
    middle = eyes[0].clone().add(eyes[1]).multiplyScalar(0.5);
    const tall = Math.min(4.5 * apart, Math.max(2.5 * apart, headBox ? headBox.high.y - headBox.low.y : 3.6 * apart));
    [chin, crown] = [middle.y - 0.5 * tall, middle.y + 0.5 * tall];
  } else if (headBox && headBox.low.y < headBox.high.y) {
    const { low, high } = headBox;
    [chin, crown] = [low.y, Math.min(high.y, low.y + 2 * Math.max(high.x - low.x, 0.6 * (high.z - low.z)))];
    middle = low.clone().add(high).multiplyScalar(0.5);
  } else {
    const { low, high } = whole;
    const size = high.clone().sub(low);
    middle = low.clone().add(high).multiplyScalar(0.5);
    const isBody = size.y > 2.2 * Math.min(size.x, size.z) && size.y > 1.2 * Math.max(size.x, size.z);
    [chin, crown] = [isBody ? high.y - size.y / 7.5 : high.y - size.y * 0.6, high.y];
  }
  const tall = Math.max(1e-6, crown - chin);
  // Hair, as far as it fits.
  const over = all.filter((point) => Math.abs(point.x - middle.x) < 0.5 * tall && Math.abs(point.z - middle.z) < tall && point.y < crown + 0.3 * tall);
  const top = over.reduce((most, point) => Math.max(most, point.y), crown);
  // A face is on the front of what it is on.
  const forward = new THREE.Vector3(0, 0, 1);
  if (rig.facing || (head && apart > 0)) forward.applyQuaternion(new THREE.Quaternion(...facingTurn(avatar.facingOf(rig.skeletons.indexOf(skeleton)))));
  else if (faceBox) {
    const height = faceBox.high.y - faceBox.low.y;
    const near = extent((onHead.length ? onHead : skin).filter((point) => point.y > faceBox.low.y - 0.2 * height && point.y < faceBox.high.y + 0.6 * height));
    const mean = face.reduce((sum, point) => sum.add(point), new THREE.Vector3()).divideScalar(face.length);
    if (near) {
      const direction = mean.sub(near.low.add(near.high).multiplyScalar(0.5)).setY(0);
      if (direction.length() > 0.1 * height) forward.applyQuaternion(new THREE.Quaternion(...facingTurn(nearest(direction))));
    }
  }
  return { center: new THREE.Vector3(middle.x, (chin + top) / 2, middle.z), height: top - chin, forward, ...whole };
}

// ---- the picture --------------------------------------------------------------------

/** A bright ceiling, a darker floor and two lamps, all around: small, since nothing here is a mirror. */
function studio() {
  const [width, height] = [128, 64];
  const pixels = new Uint16Array(width * height * 4);
  for (let y = 0; y < height; y += 1) {
    const up = Math.sin(((y + 0.5) / height - 0.5) * Math.PI);
    for (let x = 0; x < width; x += 1) {
      const around = ((x + 0.5) / width) * 2 * Math.PI;
      /** @param {number} at @param {number} height @param {number} size */
      const lamp = (at, height, size) => Math.exp(-(((1 - Math.cos(around - at)) * 2 + (up - height) ** 2) / size ** 2));
      const light = 0.25 + 0.75 * Math.max(0, up * 0.5 + 0.5) ** 1.5 + 5 * lamp(2.2, 0.55, 0.45) + 3 * lamp(4.6, 0.35, 0.4) + 1.5 * lamp(0.4, 0.2, 0.5);
      [light, light * 0.99, light * 0.97, 1].forEach((part, i) => { pixels[(y * width + x) * 4 + i] = THREE.DataUtils.toHalfFloat(part); });
    }
  }
  const texture = new THREE.DataTexture(pixels, width, height, THREE.RGBAFormat, THREE.HalfFloatType);
  texture.mapping = THREE.EquirectangularReflectionMapping;
  texture.needsUpdate = true;
  return texture;
}

/** Draws avatars side by side on one canvas. */
export class Stage {
  /** @type {{ frame: HeadFrame, scene: any, camera: any }[]} */ #tiles = [];
  /** @type {any} */ #environment = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new THREE.WebGLRenderer({ canvas, alpha: true, antialias: true, powerPreference: 'high-performance' });
    this.renderer.setClearColor(0, 0);
    this.renderer.toneMapping = THREE.NeutralToneMapping;
    this.renderer.autoClear = false;
  }

  /** Puts an avatar in a place. @param {number} place @param {Avatar} avatar */
  put(place, avatar) {
    const scene = new THREE.Scene();
    scene.add(avatar.root);
    const frame = avatar.frame ?? headFrame(avatar);
    const { forward, height } = frame;
    const side = new THREE.Vector3(0, 1, 0).cross(forward);
    /** @param {number} power @param {number} right @param {number} up @param {number} ahead @param {number} [color] */
    const light = (power, right, up, ahead, color = 0xffffff) => {
      const lamp = new THREE.DirectionalLight(color, power);
      lamp.position.copy(forward).multiplyScalar(ahead).addScaledVector(side, right).add(new THREE.Vector3(0, up, 0));
      scene.add(lamp);
    };
    if (avatar.vrm) {
      // Toon shading is made for one light, and for colours as they are.
      light(Math.PI, 0.4, 0.6, 1);
      scene.add(new THREE.AmbientLight(0xffffff, 0.6));
      avatar.root.traverse((/** @type {any} */ { material }) => {
        for (const of of [material].flat()) if (of) of.toneMapped = false;
      });
    } else {
      scene.environment = this.#surroundings();
      scene.environmentIntensity = 0.55;
      light(2.2, 0.9, 1.1, 1.3, 0xfff4e8);
      light(0.7, -1.2, 0.2, 0.8, 0xdfe9ff);
      light(1.4, -0.5, 0.8, -1.2);
    }
    const camera = new THREE.PerspectiveCamera(FOV, 1, height * 0.05, height * 100);
    this.#tiles[place] = { frame, scene, camera };
  }

  /** What skin and metal reflect. */
  #surroundings() {
    if (!this.#environment) {
      const maker = new THREE.PMREMGenerator(this.renderer);
      const picture = studio();
      this.#environment = maker.fromEquirectangular(picture).texture;
      picture.dispose();
      maker.dispose();
    }
    return this.#environment;
  }

  /** Compiles the shaders and loads the textures of a place before it is drawn. @param {number} place */
  async prepare(place) {
    const tile = this.#tiles[place];
    if (tile) await this.renderer.compileAsync(tile.scene, tile.camera);
  }

  /**
   * @param {{ x: number, y: number, width: number, height: number }[]} boxes Of each place, CSS pixels from the top left
   * @param {'head' | 'bust' | 'full'} view
   */
  draw(boxes, view) {
    const { renderer, canvas } = this;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (renderer.getPixelRatio() !== ratio) renderer.setPixelRatio(ratio);
    if (canvas.width !== Math.floor(width * ratio) || canvas.height !== Math.floor(height * ratio)) renderer.setSize(width, height, false);
    renderer.setScissorTest(false);
    renderer.clear();
    renderer.setScissorTest(true);
    boxes.forEach((box, place) => {
      const tile = this.#tiles[place];
      if (!tile || box.width < 1 || box.height < 1) return;
      aim(tile.camera, tile.frame, box.width / box.height, view);
      renderer.setViewport(box.x, height - box.y - box.height, box.width, box.height);
      renderer.setScissor(box.x, height - box.y - box.height, box.width, box.height);
      renderer.render(tile.scene, tile.camera);
    });
  }
}

/** @param {any} camera @param {HeadFrame} frame @param {number} aspect @param {'head' | 'bust' | 'full'} view */
function aim(camera, { center, height, forward, low, high }, aspect, view) {
  const at = center.clone();
  let [tall, wide] = [height * 1.5, height * 1.25];
  at.y -= height * 0.05;
  if (view === 'bust') {
    [tall, wide] = [height * 2.5, height * 2.3];
    at.y -= height * 0.45;
  } else if (view === 'full') {
    [tall, wide] = [(high.y - low.y) * 1.08, Math.max(high.x - low.x, high.z - low.z) * 0.75];
    at.y = (low.y + high.y) / 2;
  }
  const half = Math.tan((FOV * Math.PI) / 360);
  const away = Math.max(tall, wide / aspect) / 2 / half + height * 0.5;
  camera.aspect = aspect;
  camera.position.copy(at).addScaledVector(forward, away);
  camera.near = Math.max(away * 0.02, away - height * 20);
  camera.far = away + height * 40;
  camera.lookAt(at);
  camera.updateProjectionMatrix();
}
