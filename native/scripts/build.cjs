'use strict';

// Compiles the add-on and links it into node_modules of this repository, where the library looks for it.
const { mkdirSync, rmSync, symlinkSync } = require('node:fs');
const { join } = require('node:path');
const { compile } = require('../compile.cjs');

const folder = join(__dirname, '..');
const modules = join(folder, '..', 'node_modules');
const link = join(modules, 'typeorm-field-encryption-native');

const problem = compile(folder);
if (problem !== undefined) {
  console.error(problem);
  process.exit(1);
}
mkdirSync(modules, { recursive: true });
rmSync(link, { recursive: true, force: true });
symlinkSync(folder, link, 'junction');
console.log(`${link} -> ${folder}`);
