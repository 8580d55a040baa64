import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');
const cache = join(root, 'node_modules', '.cache', 'typeorm-field-encryption');

/** Builds the package as it would be published, once for each state of its sources. */
export function builtPackage(): string {
  const folder = join(cache, sourcesDigest());
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const building = mkdtempSync(join(cache, 'building-'));
  try {
    cpSync(join(root, 'package.json'), join(building, 'package.json'));
    // The types are checked by `npm run typecheck`.
    const args = [join(root, 'scripts', 'build.mjs'), building, '--noCheck'];
    execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    // Another test file may have been faster.
    if (!existsSync(folder)) renameSync(building, folder);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  return folder;
}

function sourcesDigest(): string {
  const hash = createHash('sha256');
  for (const file of ['package.json', 'tsconfig.json', 'tsconfig.build.json']) {
    hash.update(readFileSync(join(root, file)));
  }
  for (const folder of ['src', 'migrations', 'scripts']) {
    for (const file of readdirSync(join(root, folder), { recursive: true }).sort()) {
      const path = join(root, folder, String(file));
      if (/\.m?[jt]s$/.test(path)) hash.update(path).update(readFileSync(path));
    }
  }
  return hash.digest('hex').slice(0, 32);
}
