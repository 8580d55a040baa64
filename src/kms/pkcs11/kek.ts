import { randomFillSync } from 'node:crypto';

import { equalInConstantTime } from '../../crypto/secret-bytes';
import { ConfigurationError, KmsUnavailableError } from '../../errors';

import { CKA, CKK, CKO_SECRET_KEY, readFlag, readNumber, readText } from './cryptoki';
import type { Attribute, Handle, Session } from './cryptoki';
import { KEY_WRAPS } from './key-wrap';
import type { KeyWrap } from './key-wrap';
import type { Token, TokenSettings } from './token';

const KEK_BYTES = 32;

/** A version of the KEK, found on the token and fit for use. */
export interface Kek {
  readonly label: string;
  readonly version: number;
  readonly handle: Handle;
  /** How new keys are wrapped under it. */
  readonly keyWrap: KeyWrap;
  /** How keys may be unwrapped under it: KEKs made by other tools often allow both ways. */
  readonly allowed: readonly KeyWrap[];
}

/** Returns the label of a version. Version 1 has no suffix, so that a key made by hand needs none. */
export function kekLabel(keyLabel: string, version: number): string {
  return version === 1 ? keyLabel : `${keyLabel}.v${String(version)}`;
}

/** Returns the version that a label stands for; `undefined` for a label of another key. */
export function kekVersion(keyLabel: string, label: string): number | undefined {
  if (label === keyLabel) return 1;
  if (!label.startsWith(`${keyLabel}.v`)) return undefined;
  const version = Number(label.slice(keyLabel.length + 2));
  const isVersion = Number.isInteger(version) && version > 1 && version <= 0xffffffff;
  return isVersion && kekLabel(keyLabel, version) === label ? version : undefined;
}

/**
 * Checks that only the token knows a key, and finds out how it wraps.
 *
 * @throws {@link ConfigurationError} for a key that is not AES-256, could leave the token, can be used
 * without a PIN, or wraps by no mechanism of the token
 */
function requireFit(
  session: Session,
  handle: Handle,
  found: { readonly label: string; readonly version: number },
  offered: readonly number[],
  { mechanism }: Pick<TokenSettings, 'mechanism'>,
): Kek {
  const reasons = shortcomings(session, handle);
  if (reasons.length > 0) {
    throw new ConfigurationError(
      `pkcs11Kms: the key "${found.label}" must not be used as KEK: it ${reasons.join(', and ')}. ` +
        'Make another one on the token, under the next version label, and rewrap.',
    );
  }
  const allowed = KEY_WRAPS.filter(
    (each) =>
      (mechanism ?? each.name) === each.name &&
      offered.includes(each.mechanism) &&
      permits(session, handle, each),
  );
  const [keyWrap] = allowed;
  if (keyWrap !== undefined) return { ...found, handle, keyWrap, allowed };
  throw new ConfigurationError(
    `pkcs11Kms: the key "${found.label}" cannot wrap by ${mechanism ?? 'AES-GCM or AES Key Wrap'} ` +
      'on this token. It needs CKA_ENCRYPT and CKA_DECRYPT for aes-gcm, CKA_WRAP and CKA_UNWRAP for ' +
      'aes-key-wrap, and a token that has the mechanism.',
  );
}

function shortcomings(session: Session, handle: Handle): string[] {
  const reasons: string[] = [];
  const isAes256 =
    readNumber(session, handle, CKA.keyType) === CKK.aes &&
    readNumber(session, handle, CKA.valueLen) === KEK_BYTES;
  if (!isAes256) reasons.push('is not an AES key of 256 bits');
  if (readFlag(session, handle, CKA.sensitive) !== true) {
    reasons.push('can be read in the open (CKA_SENSITIVE is not true)');
  }
  if (readFlag(session, handle, CKA.extractable) !== false) {
    reasons.push('can be taken out of the token (CKA_EXTRACTABLE is not false)');
  }
  if (readFlag(session, handle, CKA.private) !== true) {
    reasons.push('can be used without a PIN (CKA_PRIVATE is not true)');
  }
  return reasons;
}

function permits(session: Session, handle: Handle, { usage }: KeyWrap): boolean {
  return usage.every((attribute) => readFlag(session, handle, attribute) === true);
}

/**
 * Names a KEK in key records: a PKCS #11 URI (RFC 7512) with the mechanism as a vendor attribute,
 * such as `pkcs11:token=clinic;serial=42;object=kek.v2;type=secret-key;x-mechanism=aes-gcm`.
 */
export function kekReference({ label, serial }: Token, kek: Kek): string {
  const attributes = {
    token: label,
    serial,
    object: kek.label,
    type: 'secret-key',
    'x-mechanism': kek.keyWrap.name,
  };
  return `pkcs11:${Object.entries(attributes)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join(';')}`;
}

const BATCH = 256;
/** Length of a probe: that of a data key. */
const PROBE_BYTES = 32;

/** The versions of the KEK, newest first. */
export type Keks = readonly Kek[];

/** A key with a label of the KEK. */
interface LabelledKey {
  readonly label: string;
  readonly version: number;
  readonly handle: Handle;
}

/**
 * Finds every version of the KEK on the token and checks each. Reads the labels of all secret keys,
 * because PKCS #11 finds exact labels only, and there may be gaps between versions.
 *
 * @throws {@link ConfigurationError} for two keys with one label, and for an unfit key
 */
export function findKeks(
  session: Session,
  offered: readonly number[],
  settings: TokenSettings,
): Keks {
  const keys = labelledKeys(session, settings.keyLabel);
  requireOneEach(keys);
  return keys
    .map(({ handle, label, version }) =>
      requireFit(session, handle, { label, version }, offered, settings),
    )
    .sort((a, b) => b.version - a.version);
}

/** Finds every secret key of the token with a label of the KEK, unchecked. */
function labelledKeys(session: Session, keyLabel: string): LabelledKey[] {
  const found: LabelledKey[] = [];
  for (const handle of secretKeys(session)) {
    const label = readText(session, handle, CKA.label) ?? '';
    const version = kekVersion(keyLabel, label);
    if (version !== undefined) found.push({ label, version, handle });
  }
  return found;
}

/** Finds the secret keys stored in the token that have these attributes. */
export function secretKeys(
  { cryptoki, handle }: Session,
  attributes: readonly Attribute[] = [],
): Handle[] {
  const keys: Handle[] = [];
  cryptoki.C_FindObjectsInit(handle, [
    { type: CKA.class, value: CKO_SECRET_KEY },
    { type: CKA.token, value: true },
    ...attributes,
  ]);
  let batch: Handle[];
  do {
    batch = cryptoki.C_FindObjects(handle, BATCH);
    keys.push(...batch);
  } while (batch.length === BATCH);
  cryptoki.C_FindObjectsFinal(handle);
  return keys;
}

function requireOneEach(keys: readonly LabelledKey[]): void {
  const labels = keys.map(({ label }) => label);
  const twice = labels.find((label, index) => labels.indexOf(label) !== index);
  if (twice === undefined) return;
  throw new ConfigurationError(
    `pkcs11Kms: several keys on the token have the label "${twice}", so it is open which of them ` +
      'wrapped what. Find out by their CKA_ID, and give the ones that are not the KEK another label.',
  );
}

/** Wraps and unwraps random bytes; throws if they do not come back the same. */
export function probe(session: Session, { handle, keyWrap }: Kek): void {
  const bytes = randomFillSync(Buffer.allocUnsafeSlow(PROBE_BYTES));
  const bound = Buffer.from('probe');
  const wrapped = keyWrap.wrap(session, handle, bytes, bound);
  const unwrapped = keyWrap.unwrap(session, handle, wrapped, bound);
  if (equalInConstantTime(bytes, unwrapped)) return;
  throw new KmsUnavailableError('pkcs11Kms: the token unwraps other bytes than it wrapped.');
}
