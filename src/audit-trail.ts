import { IsDate, IsInt, IsOptional, IsString, Min } from 'class-validator';

import type { AuditEntry, AuditRange } from './audit/audit-entry';
import type { AuditReport } from './keys/audit/audit-report';
import { requireOptions } from './typeorm/declare/option-rules';
import type { Installation } from './typeorm/installation/installation';

/** Options of {@link AuditTrail.verify}. */
export interface AuditVerifyOptions {
  /** An earlier head, as `head()` and `verify()` return it: the log must still contain it. */
  expectHead?: string;
}

class RangeRules {
  @IsOptional() @IsInt() @Min(0) after?: unknown;
  @IsOptional() @IsInt() @Min(1) limit?: unknown;
  @IsOptional() @IsDate() since?: unknown;
  @IsOptional() @IsString() operation?: unknown;
  @IsOptional() @IsString() outcome?: unknown;
  @IsOptional() @IsString() actor?: unknown;
}

/** The audit log of a DataSource: the operations on its keys and rows, in their order, and their actors. */
export class AuditTrail {
  readonly #installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.#installation = installation;
  }

  /**
   * Lists entries in their order: the newest 100, or by `after` those that follow an entry. Verifies nothing.
   *
   * @throws {@link ConfigurationError} for wrong options
   */
  async list(range: AuditRange = {}): Promise<AuditEntry[]> {
    requireOptions('audit.list', RangeRules, range);
    return this.#installation.audit.list(range);
  }

  /** Returns the head of the log, `<seq>:<hash>`; `null` for an empty one. Keep it outside of the database. */
  head(): Promise<string | null> {
    return this.#installation.audit.head();
  }

  /**
   * Verifies that no entry was edited, removed, moved or added without the keys, and that the key table is
   * as the log left it. Only `expectHead`, or an anchor, shows that the end was not cut off.
   *
   * @throws {@link ConfigurationError} for a malformed `expectHead`; {@link KeyUnwrapError},
   * {@link KmsUnavailableError} when the key of the log does not unwrap
   */
  async verify({ expectHead }: AuditVerifyOptions = {}): Promise<AuditReport> {
    const { hasScopes, keys } = this.#installation;
    if (hasScopes) await keys.scopeOperations.nameOwnBranches();
    return (await this.#installation.audit.verify({ head: expectHead })).report;
  }
}
