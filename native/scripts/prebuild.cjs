'use strict';

// Builds the binary of this platform into prebuilds/, to be packed with the package:
//   npm_config_nodedir=<a folder with include/node of Node.js 20> npm run prebuild
const { execFileSync } = require('node:child_process');
const { copyFileSync, mkdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const { FILE, loadFile, noteDigest } = require('../binary.cjs');
const { version } = require('../package.json');
const { compile } = require('../compile.cjs');

const HEADERS_OF = 20;
/** That of Debian 10 and RHEL 8. */
const NEWEST_GLIBC = [2, 28];

const folder = join(__dirname, '..');
const target = join(folder, 'prebuilds', `${process.platform}-${process.arch}`);

requireHeaders(process.env.npm_config_nodedir);
const problem = compile(folder);
if (problem !== undefined) fail(problem);
mkdirSync(target, { recursive: true });
const file = join(target, FILE);
copyFileSync(join(folder, 'build', 'Release', FILE), file);
if (process.platform === 'linux') {
  execFileSync('strip', ['--strip-unneeded', file]);
  requireOldGlibc(file);
  requireBoundAtLoad(file);
}
noteDigest(file);
loadFile(file, version);
console.log(file);

/** Headers of a later one would let in what OpenSSL 3.0 does not have. */
function requireHeaders(nodedir) {
  if (nodedir === undefined) fail('npm_config_nodedir names no folder with headers');
  const header = readFileSync(join(nodedir, 'include/node/node_version.h'), 'utf8');
  const major = Number(/NODE_MAJOR_VERSION (\d+)/.exec(header)?.[1]);
  if (major !== HEADERS_OF)
    fail(`${nodedir} has the headers of Node.js ${major}, not ${HEADERS_OF}`);
}

function requireOldGlibc(path) {
  const symbols = execFileSync('objdump', ['-T', path], { encoding: 'utf8' });
  const [major, minor] = NEWEST_GLIBC;
  for (const [version, a, b] of symbols.matchAll(/GLIBC_(\d+)\.(\d+)/g)) {
    if (Number(a) > major || (Number(a) === major && Number(b) > minor)) fail(`needs ${version}`);
  }
}

/** A symbol that Node.js does not have is to fail the loading, and not a call. */
function requireBoundAtLoad(path) {
  const dynamic = execFileSync('readelf', ['-d', path], { encoding: 'utf8' });
  if (!/BIND_NOW|\bNOW\b/.test(dynamic)) fail(`${path} is not linked with -z now`);
  const libraries = [...dynamic.matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name]) => name);
  const foreign = libraries.filter((name) => !/^(libc|libpthread|ld-linux.*)\.so/.test(name));
  if (foreign.length > 0) fail(`${path} is linked to ${foreign.join(', ')}`);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
