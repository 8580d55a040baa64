import type { Scope } from '../record/scope';
import type { KmsProvider } from '../../kms/kms-provider';
import type { ScopeKeyRecord } from '../record/scope-key-record';

/** A change of one record; takes place only if the row still is as it was read. */
export interface ScopeKeyChange {
  readonly expected: ScopeKeyRecord;
  readonly record: ScopeKeyRecord;
}

/** The outcome of an insertion of keys. */
export interface InsertedScopeKeys {
  /** Whether they are durable, and not in the caller's transaction. */
  readonly isDurable: boolean;
  /** Keys of others, in the place of those left out, that the caller's transaction may not see. */
  readonly taken: readonly ScopeKeyRecord[];
}

/** The scopes of a kind whose data keys are to be rotated: those that are not erased. */
export interface RotatableScopes {
  readonly kind: string;
  /** Only these. Defaults to all. */
  readonly ids?: readonly string[] | undefined;
  /**
   * Only those with keys from this time, or before it, and with dates after `now`, which are not genuine.
   * Defaults to all.
   */
  readonly age?: { readonly before: Date; readonly now: Date } | undefined;
}

/**
 * The port to the table of scope keys. A scope has at most one key of a purpose that is not deactivated.
 *
 * @typeParam C - the caller's connection, as for the key table.
 */
export interface ScopeKeyStore<C = unknown> {
  /**
   * Returns the data keys of these scopes that are not deactivated, and all their index keys, which never are, and
   * marks, with one query for each kind.
   */
  findCurrent(scopes: readonly Scope[], connection?: C): Promise<ScopeKeyRecord[]>;

  /**
   * Returns the keys with these ids, in any state and order, and all marks of their scopes, with one query.
   * Leaves out unknown ids.
   */
  findByIds(ids: readonly string[], connection?: C): Promise<ScopeKeyRecord[]>;

  /** Returns scopes whose keys are to be rotated, by their ids, from the first beyond `after`. */
  findRotatable(
    which: RotatableScopes,
    page: { readonly after: string; readonly limit: number },
  ): Promise<Scope[]>;

  /** Counts those, and apart from them the ones that are to be erased. */
  countRotatable(
    which: RotatableScopes,
  ): Promise<{ readonly rotatable: number; readonly toBeErased: number }>;

  /** Whether what was inserted through a connection may be rolled back: it is in a transaction. */
  mayRollBack(connection?: C): Promise<boolean>;

  /** Returns keys and marks that some branch keys have sealed, by id, from the first beyond `after`. */
  findSealedBy(
    branchIds: readonly string[],
    page: { readonly after: string; readonly limit: number },
  ): Promise<ScopeKeyRecord[]>;

  /** Returns the marks in force, of holds and of requested erasures, by kind and scope. */
  findMarks(page: {
    readonly kind: string | undefined;
    readonly limit: number;
  }): Promise<ScopeKeyRecord[]>;

  /** Returns any key that a branch key has sealed or had, erased ones included. */
  findUnderBranch(branchId: string): Promise<ScopeKeyRecord | undefined>;

  /** Counts those that some branch keys have sealed. */
  countSealedBy(branchIds: readonly string[], connection?: C): Promise<number>;

  /** Returns every key of a scope, the newest version first. */
  findAll(scope: Scope, connection?: C): Promise<ScopeKeyRecord[]>;

  /**
   * Inserts records and leaves out those whose scope has a key of that purpose: within the caller's
   * transaction if the connection is in one, which then decides about them, else in one of its own, durable
   * before the promise resolves.
   *
   * @param confirm - called at the end of a transaction of its own.
   */
  insertMissing(
    records: readonly ScopeKeyRecord[],
    connection: C | undefined,
    confirm: (transaction: C) => Promise<void>,
  ): Promise<InsertedScopeKeys>;

  /**
   * Makes all these changes and insertions in one transaction of its own, or none of them.
   *
   * @param then - called within it, after the changes; returns further ones.
   * @returns false if a row was no longer as expected, or a slot was taken.
   */
  apply(
    changes: readonly ScopeKeyChange[],
    inserted: readonly ScopeKeyRecord[],
    then: (connection: C) => Promise<readonly ScopeKeyChange[]>,
  ): Promise<boolean>;

  /** Counts the scopes by kind and state, for reports. */
  countScopes(connection?: C): Promise<readonly ScopeCount[]>;
}

/** The number of scopes of one kind in one state. */
export interface ScopeCount {
  readonly kind: string;
  /**
   * Each scope has one: `erased`, or else `held` under a legal hold, or else `requested` where it is to be erased,
   * or else `active`.
   */
  readonly state: ScopeKeyRecord['state'] | 'held' | 'requested';
  readonly scopes: number;
}

/** Returns the KMS of a scope; that of the common keys for those without one. */
export type KmsOfScope = (scope: Scope) => KmsProvider;

/** The table of scope keys, and the KMS of each scope. */
export interface ScopeOptions<C> {
  readonly store: ScopeKeyStore<C>;
  /** Defaults to the KMS of the common keys. */
  readonly kmsOf?: KmsOfScope | undefined;
}
