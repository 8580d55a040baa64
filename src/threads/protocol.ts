import type { KeyObject } from 'node:crypto';
import type { FieldValue } from '../encoding/value-codec';
import type { FieldPolicy } from '../field/field-policy';
import type { DataKey } from '../keys/data-key';

/** A data key on its way to a thread of this process. The key object has the bytes out of reach. */
export interface SentKey extends Pick<
  DataKey,
  'id' | 'name' | 'version' | 'suite' | 'isAuthenticated'
> {
  readonly secret: KeyObject;
  readonly nonces: DataKey['aead']['nonces'];
}

/** Ciphertexts of one text column. */
interface Request {
  readonly application: string;
  readonly policy: FieldPolicy;
  /** Keys that the thread has not been sent before. */
  readonly keys: readonly SentKey[];
  /** {@link packed} */
  readonly stored: string;
}

/** Ciphertexts that are to move to the active key. */
export interface MoveRequest extends Request {
  readonly activeKeyId: string;
}

/** Ciphertexts that are to be decrypted. */
export type OpenRequest = Request;

/** The first message of a thread, when it has loaded its code. */
export const READY = 'ready';

/** The new ciphertexts, {@link packed}; empty for what could not be moved, which the asker tries for itself. */
export type MoveReply = string;

/** The values; `undefined` for what could not be decrypted, which the asker tries for itself. */
export type OpenReply = readonly (FieldValue | undefined)[];

/** One string crosses to another thread at a fraction of the cost of a thousand. */
export function packed(ciphertexts: readonly string[]): string {
  return ciphertexts.join(SEPARATOR);
}

/** What {@link packed} made one string of. */
export function unpacked(ciphertexts: string): string[] {
  return ciphertexts.split(SEPARATOR);
}

/** No character of base64url. */
const SEPARATOR = '\n';
