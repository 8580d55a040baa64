import { elapsedClock, turnClock } from '../async/clocks';
import { Lifetime } from '../async/lifetime';
import type { CipherSuite, NonceMode } from '../crypto/aead';
import type { Profile } from '../crypto/fips';
import type { KmsProvider } from '../kms/kms-provider';

import type { KeyTableAnchor } from './anchor/anchor-state';
import { AuditedKeyStore } from './audit/audited-key-store';
import { KeyAudit } from './audit/key-audit';
import type { KeyAuditParts } from './audit/key-audit';
import { keyCachePolicy } from './cache/key-cache';
import type { KeyCacheOptions, KeyCachePolicy } from './cache/key-cache';
import { KeyTable } from './cache/key-table';
import { ReentrancyGuard } from './cache/reentrancy-guard';
import { KeyLifecycle } from './lifecycle/key-lifecycle';
import { KeyRetirement } from './lifecycle/key-retirement';
import type { KeyPolicies } from './policy/key-policy';
import type { KeyEventListener } from './record/key-event';
import type { SigningKeyStore } from './signing/signing-key-store';
import type { KeyStore } from './store/key-store';
import { KeyUses } from './store/key-uses';
import { TimelyKeyStore, WatchedKeyStore } from './store/watched-key-store';
import type { ScopeOptions } from './scopes/scope-key-store';
import { KeyWrapper } from './wrapping/key-wrapper';

/** Options of a key manager. */
export interface KeyManagerOptions<C> {
  readonly store: KeyStore<C>;
  /** Wraps new keys. */
  readonly kms: KmsProvider;
  /** Further providers, which unwrap the keys they have wrapped. Defaults to none. */
  readonly otherKms?: readonly KmsProvider[] | undefined;
  /** Bound into every wrapped key and key record. */
  readonly application: string;
  /** Suite of the data keys created from now on; existing ones keep theirs. */
  readonly suite: CipherSuite;
  /** Which suites may protect anything. Defaults to all. */
  readonly profile?: Profile | undefined;
  /** How data keys draw their nonces. Defaults to {@link defaultNonces}. */
  readonly nonces?: NonceMode | undefined;
  readonly cache?: KeyCacheOptions | undefined;
  readonly onEvent?: KeyEventListener | undefined;
  /** Milliseconds, by which keys age. Never goes back. Defaults to an {@link elapsedClock}. */
  readonly clock?: (() => number) | undefined;
  /** By key name. Defaults to none. */
  readonly policies?: KeyPolicies | undefined;
  /** Records every change of a key. Defaults to none. */
  readonly audit?: Pick<KeyAuditParts<C>, 'entries' | 'options' | 'before'> | undefined;
  /** Remembers outside of the database how new the key table was; needs `audit`. Defaults to none. */
  readonly anchor?: KeyTableAnchor | undefined;
  /** What the keys belong to, for messages to the channels. Defaults to nothing that is known. */
  readonly source?: object | undefined;
  /** The public halves of signing keys. Defaults to none: nothing can be signed then. */
  readonly signing?: SigningKeyStore<C> | undefined;
  /** The keys of scopes. Defaults to none. */
  readonly scopes?: ScopeOptions<C> | undefined;
  /**
   * The time that policies go by, and that of audit entries and backups. Defaults to the store's for
   * policies and to the system's for the others. Dates and waits of keys always use the store's.
   */
  readonly wallClock?: (() => Date) | undefined;
}

/** The parts that the operations of one key manager share. */
export interface KeyServices<C> {
  /** Bound into every wrapped key and key record. */
  readonly application: string;
  /** Suite of new data keys. */
  readonly suite: CipherSuite;
  /** Which suites may protect anything; all where it is left out. */
  readonly profile?: Profile | undefined;
  readonly nonces: NonceMode | undefined;
  readonly store: KeyStore<C>;
  readonly table: KeyTable<C>;
  /** Undefined where nothing is recorded. */
  readonly audit: KeyAudit<C> | undefined;
  readonly wrapper: KeyWrapper;
  readonly uses: KeyUses<C>;
  readonly signing: SigningKeyStore<C> | undefined;
  readonly lifecycle: KeyLifecycle<C>;
  readonly retirement: KeyRetirement<C>;
  readonly policies: KeyPolicies;
  readonly loading: ReentrancyGuard;
  /** Ends when the manager is closed. */
  readonly lifetime: Lifetime;
  readonly policy: KeyCachePolicy;
  /** Milliseconds, by which keys age; the same for all that runs synchronously. */
  readonly clock: () => number;
  /** The same clock, read anew at each call. */
  readonly exactClock: () => number;
  /** Dates audit entries and backups, for people. */
  readonly wallClock: () => Date;
  /** The time that policies go by. */
  readonly policyTime: () => Promise<Date>;
  readonly emit: KeyEventListener;
}

/** @throws {@link ConfigurationError} for cache limits that cannot work */
export function keyServices<C>(options: KeyManagerOptions<C>): KeyServices<C> {
  const { kms, application, suite, policies = {}, source = {}, wallClock } = options;
  const policy = keyCachePolicy(options.cache);
  const loading = new ReentrancyGuard(source);
  const emit = quietly(options.onEvent, loading);
  const uses = new KeyUses(options.store, emit);
  const wrapper = new KeyWrapper(kms, application, {
    others: options.otherKms,
    source,
    nonces: options.nonces,
    counterOf: (keyId) => uses.counterOf(keyId),
    heldWaitMs: policy.transactionWaitMs,
  });
  const exactClock = options.clock ?? elapsedClock();
  const clock = options.clock ?? turnClock(exactClock);
  const { nonces, profile } = options;
  const common = { application, suite, profile, nonces, clock, emit, policies, policy, wrapper };
  const { audit, store } = auditedStore(options, common);
  return {
    ...common,
    ...{ audit, store, uses, loading, exactClock, lifetime: new Lifetime() },
    signing: options.signing,
    lifecycle: new KeyLifecycle({ store, wrapper, audit, suite, policies, emit }),
    retirement: new KeyRetirement(store, wrapper),
    table: new KeyTable(store, audit?.anchor),
    wallClock: wallClock ?? systemTime,
    policyTime: () => (wallClock === undefined ? store.now() : Promise.resolve(wallClock())),
  };
}

/** The key table that remembers what it has seen, and records its changes where there is an audit log. */
function auditedStore<C>(
  { anchor, audit: recorded, store, wallClock }: KeyManagerOptions<C>,
  common: Pick<KeyServices<C>, 'application' | 'clock' | 'emit' | 'policy' | 'wrapper'>,
): Pick<KeyServices<C>, 'audit' | 'store'> {
  const { epochs } = common.wrapper;
  const watched = new WatchedKeyStore(new TimelyKeyStore(store), epochs, async (connection) => {
    await audit?.anchor?.advance(connection);
  });
  const audit: KeyAudit<C> | undefined =
    recorded &&
    new KeyAudit({
      ...recorded,
      ...common,
      ...{ store: watched, anchor, maxAgeMs: common.policy.maxAgeMs },
      wallClock: wallClock ?? systemTime,
    });
  return { audit, store: audit ? new AuditedKeyStore(watched, audit) : watched };
}

function systemTime(): Date {
  return new Date();
}

function quietly(
  listener: KeyEventListener | undefined,
  loading: ReentrancyGuard,
): KeyEventListener {
  return (event) => {
    try {
      loading.outside(() => listener?.(event));
    } catch {
      // An observer must not stop an operation.
    }
  };
}
