// CPU time of a face in the browser: encode and decode of facelink1, compared with JSON.
//
//   node tests/web/cost.mjs
import { Browser, cleanUp, needBrowser, Relays, serveFiles } from './lib.mjs';

needBrowser();
const page = await Browser.open(await serveFiles(new Relays()));
const figures = await page.run(`
  const { encodeFacelink1, decodeFacelink1, ARKIT_NAMES } = await import('/facelink.js');
  const face = (i) => ({
    sequence: i, captureTime: 1.7e15 + i * 16667, tracked: true,
    blendshapes: Object.fromEntries(ARKIT_NAMES.slice(0, 52).map((name, k) => [name, Math.abs(Math.sin(i / 9 + k))])),
    head: { rotation: [0, Math.sin(0.1), 0, Math.cos(0.1)], position: null },
    gaze: { left: { yaw: 0.1, pitch: 0 }, right: { yaw: 0.1, pitch: 0 } },
  });
  const faces = Array.from({ length: 256 }, (_, i) => face(i));
  const time = (each) => {
    for (let i = 0; i < 20000; i += 1) each(i & 255);
    const runs = [];
    for (let run = 0; run < 15; run += 1) {
      const begun = performance.now();
      for (let i = 0; i < 10000; i += 1) each(i & 255);
      runs.push((performance.now() - begun) / 10);
    }
    return +runs.sort((a, b) => a - b)[7].toFixed(2);
  };
  let kept = 0;
  const packets = faces.map((f) => encodeFacelink1([f]).slice().buffer);
  const texts = faces.map((f) => JSON.stringify({ type: 'arkit_data', blendshapes: f.blendshapes, timestamp: 1.7e12 }));
  return {
    encode: time((i) => { kept += encodeFacelink1([faces[i]]).byteLength; }),
    encodeRepeating1: time((i) => { kept += encodeFacelink1([{ ...faces[i], previous: i ? [faces[i - 1]] : [] }]).byteLength; }),
    decode: time((i) => { kept += decodeFacelink1(packets[i]).length; }),
    stringify: time((i) => { kept += JSON.stringify({ type: 'arkit_data', blendshapes: faces[i].blendshapes, timestamp: 1.7e12 }).length; }),
    parse: time((i) => { kept += JSON.parse(texts[i]).timestamp; }),
    bytes: packets[0].byteLength, kept: kept > 0,
  };
`);
console.log(`microseconds a face in Chromium: ${JSON.stringify(figures)}`);
await cleanUp();
process.exitCode = figures.kept ? 0 : 1;
