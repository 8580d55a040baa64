import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { TestModule } from '../../support/pkcs11-modules';
import {
  folderOf,
  initialised,
  lazily,
  makeToken,
  PIN,
  setEnvironment,
} from '../../support/pkcs11-modules';
import type { Server } from './availability';
import { cargoLibrary } from './cargo-library';

/** A software token in Rust, over OpenSSL and SQLite. */
export const KRYOPTIC: Server = cargoLibrary({
  name: 'kryoptic',
  version: '1.5.4',
  // Without what takes an OpenSSL that is newer than most machines have.
  features: ['minimal', 'kryoptic-lib/dynamic'],
  library: 'libkryoptic_pkcs11.so',
  places: ['/usr/lib64/pkcs11', '/usr/lib/x86_64-linux-gnu/pkcs11', '/usr/lib/pkcs11'],
});

/** Slots are named in its configuration; each can hold one token. */
const SLOTS = 40;

/** The module at this path. */
export function kryopticModule(library: string): TestModule {
  const admin = lazily(() => initialised(library));
  return {
    ...{ name: 'Kryoptic', library, missing: undefined, admin },
    start: async () => {
      const folder = folderOf('kryoptic');
      mkdirSync(folder, { recursive: true });
      const slots = Array.from({ length: SLOTS }, (_, slot) => {
        const file = join(folder, `${String(slot)}.sql`);
        return `[[slots]]\nslot = ${String(slot)}\ndbtype = "sqlite"\ndbargs = "${file}"\n`;
      });
      writeFileSync(join(folder, 'token.conf'), slots.join('\n'));
      await setEnvironment('KRYOPTIC_CONF', join(folder, 'token.conf'));
      admin();
    },
    token: () => {
      const label = `test ${randomBytes(6).toString('hex')}`;
      makeToken(admin(), label);
      return { library, token: { label }, pin: PIN };
    },
  };
}
