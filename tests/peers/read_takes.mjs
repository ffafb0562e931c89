// Reads exported takes by three.js (glb) and @pixiv/three-vrm-animation (vrma), and compares them with the JSON lines of the
// same take.
//
//     node read_takes.mjs PACKAGES EXPECTED.jsonl FILE...
//
// Prints a line of JSON for each file, as read_takes.py does.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [packages, expected, ...files] = process.argv.slice(2);
globalThis.self ??= globalThis;
// The module builds, which share one three.
const load = (path) => import(pathToFileURL(`${packages}/node_modules/${path}`).href);
const THREE = await load('three/build/three.module.js');
const { GLTFLoader } = await load('three/examples/jsm/loaders/GLTFLoader.js');
const { VRMAnimationLoaderPlugin } = await load('@pixiv/three-vrm-animation/lib/three-vrm-animation.module.js');

const frames = readFileSync(expected, 'utf8').trim().split('\n').map((line) => JSON.parse(line)).filter((frame) => frame.tracked);

const parse = (path) =>
  new Promise((resolve, reject) => {
    const loader = new GLTFLoader();
    loader.register((parser) => new VRMAnimationLoaderPlugin(parser));
    const bytes = readFileSync(path);
    loader.parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength), '', resolve, reject);
  });

const turnError = (is, wanted) => {
  const length = Math.hypot(...is);
  const dot = Math.abs(is.reduce((sum, part, at) => sum + (part * wanted[at]) / length, 0));
  return 2 * Math.acos(Math.min(1, dot));
};

const gaze = ({ left, right }) =>
  new THREE.Quaternion()
    .setFromEuler(new THREE.Euler(-(left[1] + right[1]) / 2, (left[0] + right[0]) / 2, 0, 'YXZ'))
    .toArray();

function vrma(gltf) {
  const [animation] = gltf.userData.vrmAnimations;
  const at = (track) => {
    const interpolant = track.createInterpolant();
    return (time) => [...interpolant.evaluate(time)];
  };
  const weights = [...animation.expressionTracks.custom].map(([name, track]) => [name, at(track)]);
  const head = at(animation.humanoidTracks.rotation.get('head'));
  const look = at(animation.lookAtTrack);
  let [error, turn] = [0, 0];
  for (const frame of frames) {
    for (const [name, value] of weights) error = Math.max(error, Math.abs(value(frame.time)[0] - frame.blendshapes[name]));
    turn = Math.max(turn, turnError(head(frame.time), frame.head.rotation), turnError(look(frame.time), gaze(frame.gaze)));
  }
  const keys = animation.expressionTracks.custom.values().next().value.times.length;
  const presets = animation.expressionTracks.preset.size;
  return { error, turn, duration: animation.duration, keys, shapes: weights.length, presets };
}

function glb(gltf) {
  const clip = gltf.animations.at(-1);
  const mixer = new THREE.AnimationMixer(gltf.scene);
  const action = mixer.clipAction(clip);
  action.setLoop(THREE.LoopOnce);
  action.clampWhenFinished = true;
  action.play();
  const meshes = [];
  gltf.scene.traverse((object) => object.morphTargetDictionary && meshes.push(object));
  const head = gltf.scene.getObjectByName('Head');
  const names = new Set(meshes.flatMap((mesh) => Object.keys(mesh.morphTargetDictionary)));
  let [error, turn] = [0, 0];
  for (const frame of frames) {
    mixer.setTime(frame.time);
    for (const mesh of meshes) {
      for (const [name, place] of Object.entries(mesh.morphTargetDictionary)) {
        if (name in frame.blendshapes) {
          error = Math.max(error, Math.abs(mesh.morphTargetInfluences[place] - frame.blendshapes[name]));
        }
      }
    }
    turn = Math.max(turn, turnError(head.quaternion.toArray(), frame.head.rotation));
  }
  return { error, turn, duration: clip.duration, keys: clip.tracks[0].times.length, shapes: names.size };
}

for (const path of files) {
  const gltf = await parse(path);
  console.log(JSON.stringify({ file: path, ...(path.endsWith('.vrma') ? vrma(gltf) : glb(gltf)) }));
}
