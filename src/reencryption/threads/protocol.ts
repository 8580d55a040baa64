import type { KeyObject } from 'node:crypto';
import type { FieldPolicy } from '../../field/field-policy';
import type { DataKey } from '../../keys/data-key';

/** A data key on its way to a thread of this process. The key object has the bytes out of reach. */
export interface SentKey extends Pick<DataKey, 'id' | 'name' | 'version' | 'suite'> {
  readonly secret: KeyObject;
}

/** Ciphertexts of one text column that are to move to the active key. */
export interface MoveRequest {
  readonly application: string;
  readonly policy: FieldPolicy;
  readonly activeKeyId: string;
  /** Keys that the thread has not been sent before. */
  readonly keys: readonly SentKey[];
  readonly stored: readonly string[];
}

/** The new ciphertexts; `undefined` for what could not be moved, which the asker tries for itself. */
export type MoveReply = readonly (string | undefined)[];
