import type { KeyAudit } from './key-audit';
import type { KeyCachePolicy } from './key-cache-options';
import type { KeyEventListener } from './key-event';
import type { KeyLifecycle } from './key-lifecycle';
import type { KeyPolicies } from './key-policy';
import type { KeyRetirement } from './key-retirement';
import type { KeyStore } from './key-store';
import type { KeyTable } from './key-table';
import type { KeyUses } from './key-uses';
import type { KeyWrapper } from './key-wrapper';
import type { OwnLoading } from './own-loading';

/** What the parts of a key manager share. */
export interface KeyServices<C> {
  /** Bound into every wrapped key and key record. */
  readonly application: string;
  readonly store: KeyStore<C>;
  readonly table: KeyTable<C>;
  /** Undefined where nothing is recorded. */
  readonly audit: KeyAudit<C> | undefined;
  readonly wrapper: KeyWrapper;
  readonly uses: KeyUses<C>;
  readonly lifecycle: KeyLifecycle<C>;
  readonly retirement: KeyRetirement<C>;
  readonly policies: KeyPolicies;
  readonly loading: OwnLoading;
  readonly policy: KeyCachePolicy;
  /** Milliseconds, by which keys age; the same throughout what happens in one go. */
  readonly clock: () => number;
  /** The same clock, read anew at each call. */
  readonly exactClock: () => number;
  /** Dates audit entries and backups, for people. */
  readonly wallClock: () => Date;
  /** What policies go by. */
  readonly policyTime: () => Promise<Date>;
  readonly emit: KeyEventListener;
}

/** How many keys one process unwraps at the KMS at a time: rows under 50 keys wait for two round trips. */
export const CONCURRENT_UNWRAPS = 32;
