import { rmSync } from 'node:fs';

/** Removes the tarball that package-setup.ts has packed. */
export default function packageTeardown(): void {
  if (globalThis.packageFolder !== undefined) {
    rmSync(globalThis.packageFolder, { recursive: true, force: true });
  }
}
