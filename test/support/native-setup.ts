import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(__dirname, '..', '..', 'native');

/** What is compiled. */
const SOURCES = ['binding.gyp', 'package.json', 'src/addon.c', 'src/core.c', 'src/core.h'];

/**
 * Compiles the add-on for the tests of the project `native`, where it was not since its source has
 * changed. Why it could not be goes to FIELD_ENCRYPTION_TEST_NO_NATIVE, with which they are skipped.
 */
export default function nativeSetup(): void {
  const { compile } = require('../../native/compile.cjs') as {
    compile: (folder: string) => string | undefined;
  };
  const problem = isBuilt() ? undefined : compile(folder);
  if (problem !== undefined) process.env.FIELD_ENCRYPTION_TEST_NO_NATIVE = problem;
}

function isBuilt(): boolean {
  const digest = join(folder, 'build/Release/field_encryption.node.sha256');
  if (!existsSync(digest)) return false;
  const { mtimeMs } = statSync(digest);
  return SOURCES.every((file) => statSync(join(folder, file)).mtimeMs < mtimeMs);
}
