// Builds the npm package from facelink.js: minified as a module and as a classic script, and the types. Nothing here is needed
// to use FaceLink: every endpoint serves facelink.js as it stands.
//
//   npm ci && node build.mjs [--check]     --check: the .d.ts files have to be what the modules declare
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { transform } from 'esbuild';
import { minify } from 'terser';

const here = path.dirname(fileURLToPath(import.meta.url));
/** Of each build, gzip. */
const MAX_BYTES = 17_750;
/** Of delta.js, which clients that receive load: two thirds are its tables. */
const MAX_DELTA_BYTES = 7_100;
/** Fields of the module's own records, which no other module reads. */
const INTERNAL = [
  'answered', 'askedAt', 'blockedSince', 'broken', 'describedAt', 'due', 'established', 'fail', 'greeted', 'helloAt', 'hellos', 'high',
  'history', 'i16', 'interval', 'lastCall', 'lastFrame', 'lastPing', 'lastReceived', 'lastRtt', 'latest', 'least', 'limit', 'link', 'low', 'offered',
  'pending', 'pings', 'proven', 'provenAt', 'recent', 'recentAt', 'reply', 'restartingSince', 'seen', 'sentValues', 'shapes', 'since', 'start',
  'subscribedAt', 'suspect', 'suspectSince', 'take', 'timer', 'trips', 'u16', 'u32', 'u64', 'u8', 'usual', 'varint', 'view', 'wide',
];

const source = readFileSync(path.join(here, 'facelink.js'), 'utf8');
// The synthetic performer is for tests and demonstrations: the minified builds do without.
const cut = source.indexOf('// ---- synthetic performer');
if (cut < 0) throw new Error('facelink.js: the section of the synthetic performer is not found');
const facelink = source.slice(0, cut)
  // Nor have they the log of level `debug`, nor what exactly is wrong with a field of a packet that is refused.
  .replace(/^(\s*)(?:if \([^\n]*\) |void this\.getConnectionInfo\(\)\.then\(\(i\) => )?this\.#log\('debug',[^\n]*\);\n/gm, '\n')
  .replace("import('./delta.js')", "import('./delta.min.js')")
  .replace(/(f1Fail|\.fail)\(('[\w.]+'|field), (?:'[^'\n]*'|"[^"\n]*")\)/g, "$1($2, 'is not valid')");

async function build(format, name, client, maxBytes) {
  const exported = [...client.matchAll(/^export (?:class|function|const) (\w+)/gm)].map((m) => m[1]);
  const text = format === 'esm' ? client
    : `(() => {\n${client.replace(/^export default .*$/m, '').replace(/^export /gm, '')}\nglobalThis.FaceLink = { ${exported.join(', ')} };\nObject.assign(globalThis, { FacialAnimationWebRTCClient });\n})();`;
  const mangled = await transform(text, { target: 'es2022', minify: true, mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`), format: format === 'esm' ? 'esm' : undefined });
  const { code } = await minify(mangled.code, { module: format === 'esm', compress: { passes: 3, sequences: false, keep_fargs: false, pure_getters: true }, mangle: true });
  const bytes = gzipSync(code, { level: 9 }).length;
  console.log(`${name}: ${code.length} bytes, ${bytes} as gzip`);
  if (bytes > maxBytes) throw new Error(`${name} has ${bytes} bytes as gzip, more than ${maxBytes}`);
  writeFileSync(path.join(here, 'dist', name), `${code}\n`);
}

function types() {
  const out = mkdtempSync(path.join(os.tmpdir(), 'facelink-types-'));
  const tsc = path.join(here, 'node_modules', '.bin', 'tsc');
  const args = ['--allowJs', '--declaration', '--emitDeclarationOnly', '--target', 'es2022', '--module', 'es2022', '--moduleResolution', 'bundler', '--lib', 'es2022,dom,dom.iterable', '--outDir', out, path.join(here, 'facelink.js'), path.join(here, 'seal.js')];
  const run = spawnSync(tsc, args, { stdio: 'inherit' });
  if (run.status !== 0) throw new Error('tsc failed');
  for (const name of ['facelink', 'seal']) {
    const made = readFileSync(path.join(out, `${name}.d.ts`), 'utf8');
    const file = path.join(here, `${name}.d.ts`);
    if (!process.argv.includes('--check')) writeFileSync(file, made);
    else if (readFileSync(file, 'utf8') !== made) throw new Error(`${name}.d.ts is not what ${name}.js declares: run node build.mjs`);
  }
  rmSync(out, { recursive: true });
}

mkdirSync(path.join(here, 'dist'), { recursive: true });
types();
await build('esm', 'facelink.min.js', facelink, MAX_BYTES);
await build('classic', 'facelink.classic.min.js', facelink, MAX_BYTES);
await build('esm', 'delta.min.js', readFileSync(path.join(here, 'delta.js'), 'utf8'), MAX_DELTA_BYTES);
