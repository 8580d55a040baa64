import type { KeyAudit } from './audit/key-audit';
import type { KeyCachePolicy } from './cache/key-cache';
import type { KeyEventListener } from './record/key-event';
import type { KeyLifecycle } from './lifecycle/key-lifecycle';
import type { KeyPolicies } from './policy/key-policy';
import type { KeyRetirement } from './lifecycle/key-retirement';
import type { KeyStore } from './store/key-store';
import type { KeyTable } from './cache/key-table';
import type { KeyUses } from './store/key-uses';
import type { KeyWrapper } from './wrapping/key-wrapper';
import type { OwnLoading } from './cache/own-loading';

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
