import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

declare global {
  /** Folder of the packed tarball, for package-teardown.ts. */
  var packageFolder: string | undefined;
}

/**
 * Builds and packs the package once for the tests of the tarball, whose path goes to
 * FIELD_ENCRYPTION_TEST_TARBALL.
 */
export default function packageSetup(): void {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-package-'));
  globalThis.packageFolder = folder;
  const output = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: join(__dirname, '..', '..'),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // The build prints before the list, which ends the output.
  const [packed] = JSON.parse(output.slice(output.lastIndexOf('\n[') + 1)) as [
    { filename: string },
  ];
  process.env.FIELD_ENCRYPTION_TEST_TARBALL = join(folder, packed.filename);
}
