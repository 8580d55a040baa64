import { ConfigurationError } from '../../errors';
import { readText } from './attributes';
import { CKA, CKO_SECRET_KEY } from './constants';
import type { Attribute, Handle } from './cryptoki';
import type { Kek } from './kek';
import { kekVersion, requireFit } from './kek';
import type { Session } from './session';
import type { TokenSettings } from './settings';

const BATCH = 256;

/** The versions of the KEK, newest first. */
export type Keks = readonly Kek[];

/** A key whose label belongs to the KEK. */
interface LabelledKey {
  readonly label: string;
  readonly version: number;
  readonly handle: Handle;
}

/**
 * Finds every version of the KEK on the token and checks each. Looks at the labels of all secret
 * keys, because PKCS #11 finds by exact label only, and versions may be missing in between.
 *
 * @throws {@link ConfigurationError} for two keys with one label, and for a key that is not fit
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

/** Every secret key of the token that has a label of the KEK, unchecked. */
function labelledKeys(session: Session, keyLabel: string): LabelledKey[] {
  const found: LabelledKey[] = [];
  for (const handle of secretKeys(session)) {
    const label = readText(session, handle, CKA.label) ?? '';
    const version = kekVersion(keyLabel, label);
    if (version !== undefined) found.push({ label, version, handle });
  }
  return found;
}

/** Handles of the secret keys that are kept in the token and have these attributes. */
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
