import { randomFillSync, randomInt } from 'node:crypto';

import { ConfigurationError, KmsUnavailableError } from '../../errors';

import { readAttribute, CKA, CKF, CKK, CKM, CKO_SECRET_KEY, closeQuietly } from './cryptoki';
import type { Attribute, Handle, Session } from './cryptoki';
import { secretKeys, kekLabel } from './kek';
import { KEY_WRAPS } from './key-wrap';
import type { KeyWrap } from './key-wrap';
import { pause } from './retries';
import { describeFailure, kindOfFailure, leavesOpen } from './return-value';
import type { TokenSettings } from './token';

const ID_BYTES = 16;
const MAX_TRIES = 20;
const MAX_PAUSE_MS = 200;
/** How often to look for a key that the token may have made, and the pause between. */
const MAX_LOOKS = 5;
const LOOK_AGAIN_MS = 200;
/** Attempts to remove a lock, and the pause between. */
const MAX_REMOVALS = 4;
const REMOVE_AGAIN_MS = 50;

/**
 * Makes a version of the KEK in the token, unless another process makes the same one first. Tokens have
 * no "create if absent", so a second key with a label of its own serves as a lock: a process that finds
 * two locks removes its own, waits for a random time and looks again. The KEK itself is never removed;
 * another process could have wrapped under it.
 *
 * @throws {@link ConfigurationError} for a token without a supported mechanism;
 * {@link KmsUnavailableError} if it remains unknown whether the token has made it
 */
export function makeKek(
  session: Session,
  slot: Handle,
  version: number,
  offered: readonly number[],
  settings: TokenSettings,
): void {
  const keyWrap = chooseWrap(offered, settings);
  const label = kekLabel(settings.keyLabel, version);
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const isMade = writing(
      session,
      slot,
      (own) => isThere(own, label) || makeIfFirst({ session: own, slot, label, keyWrap }),
    );
    if (isMade) return;
    // Longer each time, so that fewer of many contenders collide.
    pause(randomInt(1, MAX_PAUSE_MS * Math.min(tries + 1, 3)));
  }
  throw new KmsUnavailableError(
    `pkcs11Kms: other processes are making the key "${label}". If there are none, one of them was ` +
      `stopped on the way: delete the key "${label}.lock" from the token.`,
  );
}

/** A KEK to make, and a session that may write. */
interface Making {
  readonly session: Session;
  readonly slot: Handle;
  readonly label: string;
  readonly keyWrap: KeyWrap;
}

/** Runs `work` with a session that may write; there are no others. */
function writing<T>({ cryptoki }: Session, slot: Handle, work: (session: Session) => T): T {
  const handle = cryptoki.C_OpenSession(slot, CKF.serialSession | CKF.rwSession);
  const session = { cryptoki, handle };
  try {
    return work(session);
  } finally {
    closeQuietly(session);
  }
}

/** Makes the KEK under a lock. Returns false if another process is making it. */
function makeIfFirst(making: Making): boolean {
  const { session, label, keyWrap } = making;
  const id = newId();
  try {
    generate(session, lockLabel(label), id, keyWrap);
    if (keysOf(session, lockLabel(label)).length > 1) return false;
    if (!isThere(session, label)) generateUnlessMade(making);
    return true;
  } finally {
    removeLock(making, id);
  }
}

/**
 * Generates the KEK. After a failure it first looks for a key that the token may have made after all: a
 * cluster may show it late, and two keys with one label are useless. Only after an unclear error, which
 * SoftHSM2 sometimes returns when several processes use it, does it try a second time.
 */
function generateUnlessMade(making: Making, isSecond = false): void {
  const { session, label, keyWrap } = making;
  try {
    generate(session, label, newId(), keyWrap);
  } catch (error) {
    if (!leavesOpen(error)) throw error;
    if (appears(session, label)) return;
    if (kindOfFailure(error) === 'unclear' && !isSecond) {
      generateUnlessMade(making, true);
      return;
    }
    throw new KmsUnavailableError(
      `pkcs11Kms: the token failed when it was to make the key "${label}" (${describeFailure(error)}). ` +
        'The next call looks for it first.',
      { cause: error },
    );
  }
}

function appears(session: Session, label: string): boolean {
  try {
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      if (isThere(session, label)) return true;
      pause(LOOK_AGAIN_MS);
    }
  } catch {
    // The search failed as the generation did.
  }
  return false;
}

/** Removes the lock of this thread by its id: its handle may be invalid by now, or of another key. */
function removeLock({ session, slot, label }: Making, id: Buffer): void {
  let failure: unknown;
  for (let removals = 0; removals < MAX_REMOVALS; removals++) {
    if (removals > 0) pause(REMOVE_AGAIN_MS);
    try {
      writing(session, slot, (own) => {
        for (const key of keysOf(own, lockLabel(label), id)) {
          // Never destroys a key that only a search says is the lock.
          const isLock = readAttribute(own, key, CKA.id)?.equals(id) === true;
          if (isLock) own.cryptoki.C_DestroyObject(own.handle, key);
        }
      });
      return;
    } catch (error) {
      failure = error;
    }
  }
  throw new KmsUnavailableError(
    `pkcs11Kms: the token does not delete its key "${lockLabel(label)}" ` +
      `(${describeFailure(failure)}), without which no process makes "${label}". Delete it by hand.`,
    { cause: failure },
  );
}

function newId(): Buffer {
  return randomFillSync(Buffer.allocUnsafeSlow(ID_BYTES));
}

function lockLabel(label: string): string {
  return `${label}.lock`;
}

function isThere(session: Session, label: string): boolean {
  return keysOf(session, label).length > 0;
}

/** Searches in the token, without reading the labels of other keys, which may vanish meanwhile. */
function keysOf(session: Session, label: string, id?: Buffer): Handle[] {
  return secretKeys(session, [
    { type: CKA.label, value: label },
    ...(id === undefined ? [] : [{ type: CKA.id, value: id }]),
  ]);
}

function generate(session: Session, label: string, id: Buffer, { usage }: KeyWrap): void {
  const may = (attribute: number): Attribute => ({
    type: attribute,
    value: usage.includes(attribute),
  });
  // Every attribute is explicit: defaults differ between tokens, and are not always safe.
  session.cryptoki.C_GenerateKey(session.handle, { mechanism: CKM.aesKeyGen, parameter: null }, [
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
    // A key that could both wrap and decrypt would reveal every key that it wraps.
    ...[CKA.encrypt, CKA.decrypt, CKA.wrap, CKA.unwrap].map(may),
    ...[CKA.sign, CKA.verify, CKA.derive].map(may),
  ]);
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
