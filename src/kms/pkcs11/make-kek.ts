import { randomFillSync, randomInt } from 'node:crypto';

import { ConfigurationError, KmsUnavailableError } from '../../errors';
import { readAttribute, readText } from './attributes';
import { CKA, CKF, CKK, CKM, CKO_SECRET_KEY } from './constants';
import type { Attribute, Handle } from './cryptoki';
import { labelledKeys, secretKeys } from './find-keks';
import { kekLabel } from './kek';
import type { KeyWrap } from './key-wrap';
import { KEY_WRAPS } from './key-wrap';
import { pause } from './pause';
import type { Session } from './session';
import type { TokenSettings } from './settings';

const ID_BYTES = 16;
const MAX_TRIES = 20;
const MAX_PAUSE_MS = 200;

/**
 * Makes a version of the KEK in the token, unless another process makes the same one first. Tokens
 * know no "create if absent", so a second key with a label of its own serves as a lock: whoever finds
 * two locks takes its own back, waits for a random time and looks again. The KEK itself is never
 * taken back; somebody could have wrapped under it.
 *
 * @throws {@link ConfigurationError} for a token that offers no mechanism we know
 */
export function makeKek(
  session: Session,
  slot: Handle,
  version: number,
  offered: readonly number[],
  settings: TokenSettings,
): void {
  const keyWrap = chooseWrap(offered, settings);
  const { cryptoki } = session;
  // The only session that may write, and only for as long as it takes.
  const handle = cryptoki.C_OpenSession(slot, CKF.serialSession | CKF.rwSession);
  try {
    makeOnce({ cryptoki, handle }, kekLabel(settings.keyLabel, version), keyWrap, settings);
  } finally {
    cryptoki.C_CloseSession(handle);
  }
}

function makeOnce(
  session: Session,
  label: string,
  keyWrap: KeyWrap,
  { keyLabel }: TokenSettings,
): void {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    if (isThere(session, keyLabel, label)) return;
    const id = randomFillSync(Buffer.allocUnsafeSlow(ID_BYTES));
    const lock = generate(session, `${label}.lock`, id, keyWrap);
    try {
      if (countOf(session, `${label}.lock`) === 1) {
        if (!isThere(session, keyLabel, label)) {
          generate(session, label, randomFillSync(Buffer.allocUnsafeSlow(ID_BYTES)), keyWrap);
        }
        return;
      }
    } finally {
      session.cryptoki.C_DestroyObject(session.handle, requireOwn(session, lock, id));
    }
    // Longer each time, so that ever fewer of many contenders meet.
    pause(randomInt(1, MAX_PAUSE_MS * Math.min(tries + 1, 3)));
  }
  throw new KmsUnavailableError(
    `pkcs11Kms: other processes are making the key "${label}". If there are none, one of them was ` +
      `stopped on the way: delete the key "${label}.lock" from the token.`,
  );
}

function isThere(session: Session, keyLabel: string, label: string): boolean {
  return labelledKeys(session, keyLabel).some((key) => key.label === label);
}

function countOf(session: Session, label: string): number {
  return secretKeys(session).filter((key) => readText(session, key, CKA.label) === label).length;
}

/** Never destroys a key on the word of a handle alone. */
function requireOwn(session: Session, handle: Handle, id: Buffer): Handle {
  if (readAttribute(session, handle, CKA.id)?.equals(id) === true) return handle;
  throw new KmsUnavailableError('pkcs11Kms: the token lost track of a key it has just made.');
}

function generate(session: Session, label: string, id: Buffer, { usage }: KeyWrap): Handle {
  const may = (attribute: number): Attribute => ({
    type: attribute,
    value: usage.includes(attribute),
  });
  // All of it explicitly: what tokens assume where nothing is said differs, and is not always safe.
  return session.cryptoki.C_GenerateKey(
    session.handle,
    { mechanism: CKM.aesKeyGen, parameter: null },
    [
      { type: CKA.class, value: CKO_SECRET_KEY },
      { type: CKA.keyType, value: CKK.aes },
      { type: CKA.valueLen, value: 32 },
      { type: CKA.label, value: label },
      { type: CKA.id, value: id },
      { type: CKA.token, value: true },
      { type: CKA.private, value: true },
      { type: CKA.sensitive, value: true },
      { type: CKA.extractable, value: false },
      { type: CKA.modifiable, value: false },
      // A key that could both wrap and decrypt would give away every key it wraps.
      ...[CKA.encrypt, CKA.decrypt, CKA.wrap, CKA.unwrap].map(may),
      ...[CKA.sign, CKA.verify, CKA.derive].map(may),
    ],
  );
}

function chooseWrap(offered: readonly number[], { mechanism }: TokenSettings): KeyWrap {
  const keyWrap = KEY_WRAPS.find(
    (each) => offered.includes(each.mechanism) && (mechanism ?? each.name) === each.name,
  );
  if (keyWrap !== undefined) return keyWrap;
  throw new ConfigurationError(
    `pkcs11Kms: the token does not offer ${mechanism ?? 'AES-GCM or AES Key Wrap'}.`,
  );
}
