import type { KeyInfo } from './keys/key-info';
import type { DestroyedKey, RevokedKey } from './keys/key-operations';
import type { ColumnUse } from './keys/key-retirement';
import type { RewrapOptions, RewrapReport } from './keys/key-rewrap';
import { columnUses } from './reencryption/status';
import type { Installation } from './typeorm/installation';

/** Options of {@link DataKeys.destroy}. */
export interface DestroyOptions {
  /**
   * Refuses a key that was active less than this many milliseconds ago. Defaults to 0. Where several
   * processes run, give `keyCache.maxAgeMs` at least: until then one of them may write with the key.
   */
  graceMs?: number;
}

/** What {@link DataKeys.revoke} leaves to do. */
export interface RevocationReport extends RevokedKey {
  /** The columns with rows under the revoked key, for `reencrypt()`. */
  readonly plan: readonly ColumnUse[];
}

/** The data keys of a DataSource. */
export class DataKeys {
  readonly #installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.#installation = installation;
  }

  /** Every data key, by name and version. Never key bytes. */
  list(): Promise<KeyInfo[]> {
    return this.#installation.keys.list();
  }

  /**
   * Makes a new version the active one, `'default'` by default, and returns it. Rows stay under the
   * key they have until {@link FieldEncryption.reencrypt}.
   */
  rotate(name = 'default'): Promise<KeyInfo> {
    return this.#installation.keys.rotate(name);
  }

  /**
   * Takes a compromised key out of use at once: where it is active, a new version replaces it. Its
   * rows can be read, so that {@link FieldEncryption.reencrypt} can move them.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a destroyed key or the index root
   */
  async revoke(id: string): Promise<RevocationReport> {
    const revoked = await this.#installation.keys.operations.revoke(id);
    return {
      ...revoked,
      plan: (await this.uses(id)).filter(({ rowsUnderKey }) => rowsUnderKey > 0),
    };
  }

  /**
   * Erases a key for good and leaves its row as a tombstone. Counts every encrypted column first, in
   * the same transaction. **What it cannot see is lost**: rows in backups, and in tables of entities
   * that this DataSource does not have.
   *
   * @throws {@link KeyStateError} for an active key, and for one that rows still need
   */
  destroy(id: string, { graceMs = 0 }: DestroyOptions = {}): Promise<DestroyedKey> {
    return this.#installation.keys.operations.destroy(id, graceMs, (keyId, runner) =>
      columnUses(this.#installation, runner, keyId),
    );
  }

  /**
   * Wraps every key again, index root included: under the provider's newest KEK version, or with
   * `to` under another provider, while the application runs. Rows are not touched.
   *
   * Other processes go on if they have both providers (`kms` and `otherKms`). Interrupted, it can be
   * run again.
   */
  rewrap(options: RewrapOptions = {}): Promise<RewrapReport> {
    return this.#installation.keys.operations.rewrap(options);
  }

  /** Every encrypted column, with how many of its rows are under a key. */
  async uses(id: string): Promise<ColumnUse[]> {
    const runner = this.#installation.dataSource.createQueryRunner('master');
    try {
      return await columnUses(this.#installation, runner, id);
    } finally {
      await runner.release();
    }
  }
}
