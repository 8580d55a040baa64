import type { EncryptionStatus } from '../doctor/encryption-state';
import type { FieldEncryption } from '../field-encryption';
import type { KeyInfo } from '../keys/record/key-info';

/** The most entries of the audit log that are read. Older ones are about keys that were wrapped again since. */
const WRAPPINGS = 1000;

/** What was last known of keys and rows. */
export class PolledState {
  /** Data keys and index roots, but no destroyed ones. */
  keys: readonly KeyInfo[] = [];
  /** By the ids of keys that were wrapped again. Others were wrapped when they were created. */
  wrappedAgainAt: ReadonlyMap<string, Date> = new Map();
  status: EncryptionStatus | undefined;

  /** Asks for the keys, which is cheap, and then for the rows. */
  async refresh(handle: FieldEncryption): Promise<void> {
    const keys = [...(await handle.keys.list()), ...(await handle.keys.indexRoots())];
    const entries = await handle.audit.list({ operation: 'rewrap', limit: WRAPPINGS });
    this.keys = keys.filter(({ state }) => state !== 'destroyed');
    this.wrappedAgainAt = new Map(entries.map(({ keyId, time }) => [keyId ?? '', new Date(time)]));
    this.status = await handle.status();
  }
}
