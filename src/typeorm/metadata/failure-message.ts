import { createHmac, randomBytes } from 'node:crypto';
import type { DataSource } from 'typeorm';

import { FieldEncryptionError } from '../../errors';
import type { FieldPolicy } from '../../field/field-policy';
import { channels } from '../../telemetry/channels';
import type { FailureMessage } from '../../telemetry/channels';

/** Key of the fingerprints: outside of this process they mean nothing. */
const fingerprintKey = randomBytes(32);

/**
 * Publishes that a value failed, and returns the error.
 *
 * @param property - where it is, if the error does not say.
 * @param stored - the value that did not decrypt.
 */
export function tellOfFailure<E>(
  source: DataSource,
  operation: FailureMessage['operation'],
  error: E,
  property?: Pick<FieldPolicy, 'entity' | 'property'>,
  stored?: unknown,
): E {
  if (channels.failure.hasSubscribers && error instanceof FieldEncryptionError) {
    const { code, entity, property: path } = error;
    const named = entity === undefined ? property : { entity, property: path };
    channels.failure.publish({
      ...{ source, operation, code },
      entity: named?.entity,
      property: named?.property,
      fingerprint: fingerprintOf(stored),
    });
  }
  return error;
}

function fingerprintOf(stored: unknown): string | undefined {
  if (typeof stored !== 'string' && !Buffer.isBuffer(stored)) return undefined;
  return createHmac('sha256', fingerprintKey).update(stored).digest('base64url').slice(0, 16);
}
