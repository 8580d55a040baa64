import type { CipherSuite } from '../../crypto/aead';

import type { KeyState } from './key-state';

/** What a key is for: field ciphertexts, blind-index tokens, or the seal of the audit log. */
export type KeyPurpose = 'data' | 'index' | 'audit';

/** Algorithm a key is bound to for life: a cipher suite for data, HMAC for the others. */
export type KeySuite = CipherSuite | 'hmac-sha-256';

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
  /** 32 bytes, keyed from the wrapped key itself; see `key-record-mac.ts`. */
  readonly recordMac: Uint8Array;
  /** 32 bytes, or empty in the states that need no proof; see `key-state-mac.ts`. */
  readonly stateMac: Uint8Array;
  /**
   * Grows with every change of state or wrapping, so that an older row can be told from a newer one;
   * see `key-epochs.ts`. 0 in rows from before there were epochs.
   */
  readonly epoch: number;
  /** The application that it was wrapped for; `null` in rows from before it was kept. */
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
  /** Classification of what the key protects, at most 32 characters. Like `owner`. */
  readonly securityLevel: string | null;
  /** Values encrypted with it, as far as the processes have told. For people: the MAC does not cover it. */
  readonly useCount: number;
  /**
   * Columns of its row that hold something which this library does not write, and stand in the record
   * as nothing, 0 or no date. Left out where there are none. Such a row proves nothing.
   */
  readonly unreadable?: readonly string[];
}

/** Names the columns of a row that cannot be read, as a sentence to follow another; empty for none. */
export function aboutUnreadable({ unreadable = [] }: Pick<KeyRecord, 'unreadable'>): string {
  if (unreadable.length === 0) return '';
  return ` In its row of data_keys, ${unreadable.join(', ')} cannot be read.`;
}

/** Dates in the key table are whole seconds. */
export function wholeSecond(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}

const KINDS: Readonly<Partial<Record<KeyPurpose, string>>> = {
  index: 'index root',
  audit: 'audit key',
};

/** Names a key in a message, and says what it is where it is no data key. */
export function keyTitle({
  id,
  name,
  purpose,
  version,
}: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version'>): string {
  const kind = KINDS[purpose];
  return kind === undefined
    ? `key ${id} ("${name}" version ${String(version)})`
    : `${kind} ${id} (version ${String(version)})`;
}

/** Names what the versions of a key have in common. */
export function nameTitle(purpose: KeyPurpose, name: string): string {
  return KINDS[purpose] ?? `data key "${name}"`;
}
