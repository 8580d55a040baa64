'use strict';

const { load } = require('./binary.cjs');
const { compile } = require('./compile.cjs');

/**
 * Compiles the add-on where the binary that came with the package is not for this machine. Never fails:
 * without the add-on JavaScript does the same, and slower.
 */
function install() {
  if (process.env.FIELD_ENCRYPTION_NATIVE === '0' || isUsable()) return;
  const problem = compile(__dirname) ?? whyNot();
  if (problem === undefined) return;
  console.log('typeorm-field-encryption-native is not used on this machine, JavaScript is.');
  if (process.env.npm_config_loglevel === 'verbose') console.log(problem);
}

function isUsable() {
  return whyNot() === undefined;
}

function whyNot() {
  try {
    load(__dirname);
    return undefined;
  } catch (error) {
    return error.message;
  }
}

install();
