import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { builtPackage } from './built-package';

const root = join(__dirname, '..', '..');

declare global {
  /** Folder of the packed tarball, for package-teardown.ts. */
  var packageFolder: string | undefined;
}

/**
 * Packs the package once for the tests of the tarball, whose path goes to FIELD_ENCRYPTION_TEST_TARBALL. It is
 * built once for all tests: `npm run check:package` packs it by the scripts of package.json.
 */
export default function packageSetup(): void {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-package-'));
  globalThis.packageFolder = folder;
  const dist = join(root, 'dist');
  rmSync(dist, { recursive: true, force: true });
  cpSync(join(builtPackage(), 'dist'), dist, { recursive: true });
  const output = execFileSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
    { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [packed] = JSON.parse(output) as [{ filename: string }];
  process.env.FIELD_ENCRYPTION_TEST_TARBALL = join(folder, packed.filename);
}
