'use strict';

const { createHash } = require('node:crypto');
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const FILE = 'field_encryption.node';

/** Where the binary of a package may be: compiled on this machine, or the one that it came with. */
function candidates(folder) {
  return [
    join(folder, 'build', 'Release', FILE),
    join(folder, 'prebuilds', `${process.platform}-${process.arch}`, FILE),
  ];
}

/**
 * Loads the binary of the package in a folder.
 *
 * @throws {Error} with the code ERR_FIELD_ENCRYPTION_NATIVE, which names each file that is there and why
 * it cannot be used
 */
function load(folder) {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const files = candidates(folder).filter((file) => existsSync(file));
  const problems = [];
  for (const file of files) {
    try {
      return loadFile(file, version);
    } catch (error) {
      problems.push(`${file}: ${firstLine(error)}`);
    }
  }
  throw unusable(folder, problems);
}

function loadFile(file, version) {
  // Before the system's loader sees it: a file that is cut short can end the process there.
  if (readDigest(file) !== digestOf(file))
    throw new Error('the file is not the one that was built');
  const binary = require(file);
  if (binary.version !== version) {
    throw new Error(`it is of version ${binary.version}, the package of ${version}`);
  }
  return binary;
}

/** Notes the digest of a binary that was just built, without which it is not loaded. */
function noteDigest(file) {
  writeFileSync(digestFile(file), `${digestOf(file)}\n`);
}

function digestFile(file) {
  return `${file}.sha256`;
}

function readDigest(file) {
  return existsSync(digestFile(file)) ? readFileSync(digestFile(file), 'utf8').trim() : undefined;
}

function digestOf(file) {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

function firstLine(error) {
  return String(error.message).split('\n')[0];
}

function unusable(folder, problems) {
  const why =
    problems.length > 0
      ? problems.join('; ')
      : `${folder} has no binary for ${process.platform}-${process.arch}`;
  return Object.assign(
    new Error(
      `${why}. Run "npm rebuild typeorm-field-encryption-native" where there is a C compiler.`,
    ),
    { code: 'ERR_FIELD_ENCRYPTION_NATIVE' },
  );
}

module.exports = { FILE, load, loadFile, noteDigest };
