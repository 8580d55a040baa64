'use strict';

const { spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const { dirname, join } = require('node:path');
const { FILE, noteDigest } = require('./binary.cjs');

/** Compiles the add-on with node-gyp into build/. Returns undefined, or why it could not be done. */
function compile(folder, env = process.env) {
  if (!hasCompiler(env)) return 'there is no C compiler';
  const command = nodeGyp(env);
  if (command === undefined) return 'there is no node-gyp';
  const { status, stderr } = spawnSync(process.execPath, [command, 'rebuild'], {
    cwd: folder,
    env: { ...headers(), ...env },
    encoding: 'utf8',
  });
  if (status !== 0) return `node-gyp failed:\n${stderr}`;
  noteDigest(join(folder, 'build', 'Release', FILE));
  return undefined;
}

/** Asked before node-gyp, which says at length what is missing. On Windows it alone knows where to look. */
function hasCompiler({ CC = 'cc' }) {
  return process.platform === 'win32' || spawnSync(CC, ['--version']).status === 0;
}

/** Package managers bring it, and say where it is. */
function nodeGyp({ npm_config_node_gyp: given }) {
  const prefix = dirname(dirname(process.execPath));
  const places = [
    given,
    join(prefix, 'lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js'),
    join(dirname(process.execPath), 'node_modules/npm/node_modules/node-gyp/bin/node-gyp.js'),
  ];
  return places.find((place) => place !== undefined && existsSync(place));
}

/** The headers that came with Node.js, where they did: otherwise node-gyp fetches them. */
function headers() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include', 'node', 'node_api.h'))
    ? { npm_config_nodedir: prefix }
    : {};
}

module.exports = { compile };
