import type { CipherSuite } from '../../crypto/aead';

import type { KeyState } from './key-state';

/** The purpose of a key: field ciphertexts, blind-index tokens, the seal of the audit log, or signatures. */
export type KeyPurpose = 'data' | 'index' | 'audit' | 'signing';

/** Algorithm a key is bound to for life: a cipher suite for data, Ed25519 for signatures, HMAC for the others. */
export type KeySuite = CipherSuite | 'hmac-sha-256' | 'ed25519';

/** The name in the records of index roots, of which there is one line of versions. */
export const INDEX_ROOT_NAME = 'default';

/** One row of the key table. Holds the key only as the KMS wrapped it. */
export interface KeyRecord {
  /** Random, 16 lower-case hexadecimal digits; unique in the table. */
  readonly id: string;
  /** Name of the key, such as `default`; its versions share it. */
  readonly name: string;
  readonly purpose: KeyPurpose;
  /** Counts from 1 within name and purpose. Orders the versions; clocks do not. */
  readonly version: number;
  readonly suite: KeySuite;
  readonly state: KeyState;
  /** Name of the provider that wrapped the key. */
  readonly kms: string;
  /** The key-encryption key, in the provider's own terms; at most 512 characters. */
  readonly kek: string;
  /** The wrapped key, at most 4096 bytes; empty once the key is destroyed. */
  readonly wrapped: Uint8Array;
  /** 32 bytes, keyed by the wrapped key itself; see `key-macs.ts`. */
  readonly recordMac: Uint8Array;
  /** 32 bytes, or empty in the states that need no proof; see `key-macs.ts`. */
  readonly stateMac: Uint8Array;
  /**
   * Grows with every change of state or wrapping, so that older rows can be recognized; see
   * `key-epochs.ts`. 0 in rows from before there were epochs.
   */
  readonly epoch: number;
  /** The application that it was wrapped for; `null` in rows from before that was stored. */
  readonly application: string | null;
  /** A whole second, so that it survives every database's date type. Covered by the MAC. */
  readonly createdAt: Date;
  readonly activatedAt: Date | null;
  /** When it stopped protecting new data. */
  readonly deactivatedAt: Date | null;
  readonly compromisedAt: Date | null;
  readonly destroyedAt: Date | null;
  /** End of the originator-usage period; `null` where the policy of the name sets none. */
  readonly expiresAt: Date | null;
  /** Who answers for the key, at most 128 characters. For people: the MAC does not cover it. */
  readonly owner: string | null;
  /** Classification of the data it protects, at most 32 characters. Like `owner`. */
  readonly securityLevel: string | null;
  /** Values encrypted with it, as far as processes have added them. For people: the MAC does not cover it. */
  readonly useCount: number;
  /**
   * Columns of its row whose content this library cannot have written, and which are empty, 0 or no date
   * in the record. Left out if there are none. Such a row proves nothing.
   */
  readonly unreadable?: readonly string[];
}

/** Returns a sentence that names the columns of a row that cannot be read; empty if there are none. */
export function aboutUnreadable({ unreadable = [] }: Pick<KeyRecord, 'unreadable'>): string {
  if (unreadable.length === 0) return '';
  return ` In its row of data_keys, ${unreadable.join(', ')} cannot be read.`;
}

/** Cuts a date to the second, as the key table stores it. */
export function wholeSecond(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}

const KINDS: Readonly<Partial<Record<KeyPurpose, string>>> = {
  index: 'index root',
  audit: 'audit key',
};

/** Names a key in a message, with its kind if it is not a data key. */
export function keyTitle({
  id,
  name,
  purpose,
  version,
}: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version'>): string {
  const kind = KINDS[purpose];
  return kind === undefined
    ? `${purpose === 'signing' ? 'signing key' : 'key'} ${id} ("${name}" version ${String(version)})`
    : `${kind} ${id} (version ${String(version)})`;
}

/** Names a key in a message without its version. */
export function nameTitle(purpose: KeyPurpose, name: string): string {
  return KINDS[purpose] ?? `${purpose} key "${name}"`;
}
