import type { AuditEntry } from './audit/audit-entry';
import type { AuditReport } from './keys/audit/audit-report';
import type { AuditRange } from './keys/audit/key-audit';
import type { Installation } from './typeorm/installation/installation';

/** Options of {@link AuditTrail.verify}. */
export interface AuditVerifyOptions {
  /** A head that was noted before, as `head()` and `verify()` give it: the log must still contain it. */
  expectHead?: string;
}

/** The audit log of a DataSource: what was done to its keys and rows, by whom, and in what order. */
export class AuditTrail {
  readonly #installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.#installation = installation;
  }

  /** Entries in their order, 100 at a time. */
  list(range: AuditRange = {}): Promise<AuditEntry[]> {
    return this.#installation.audit.list(range);
  }

  /** Names the last entry, `<seq>:<hash>`; `null` for an empty log. Note it where the database cannot reach. */
  head(): Promise<string | null> {
    return this.#installation.audit.head();
  }

  /**
   * Verifies that no entry was edited, removed, moved or added by somebody without the keys, and that
   * the key table is as the log left it. That the end was not cut off shows with `expectHead` only.
   *
   * @throws {@link ConfigurationError} for an `expectHead` that is none; {@link KeyUnwrapError},
   * {@link KmsUnavailableError} when the key of the log does not unwrap
   */
  verify({ expectHead }: AuditVerifyOptions = {}): Promise<AuditReport> {
    return this.#installation.audit.verify(expectHead);
  }
}
