import type { QueryRunner } from 'typeorm';
import type { EncryptedRows } from '../keys/key-retirement';
import type { Installation } from '../typeorm/installation';
import { keyUses } from './key-uses';
import { writersToEnd } from './open-writers';

/** Milliseconds that open transactions are waited for, unless told otherwise. */
const PATIENCE_MS = 30_000;

/** The rows that a key of this installation may have encrypted, or given tokens. */
export function encryptedRows(
  installation: Installation,
  waitMs = PATIENCE_MS,
): EncryptedRows<QueryRunner> {
  return {
    count: (key, runner) => keyUses(installation, runner, key),
    refreshRoots: async () => {
      if (installation.columns.indexed) await installation.keys.confirm([], { index: true });
    },
    writersToEnd: (key) => writersToEnd(installation, key, waitMs),
  };
}
