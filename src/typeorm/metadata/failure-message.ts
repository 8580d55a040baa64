import type { DataSource } from 'typeorm';

import { FieldEncryptionError } from '../../errors';
import type { FieldPolicy } from '../../field/field-policy';
import { channels } from '../../telemetry/channels';
import type { FailureMessage } from '../../telemetry/channels';

/**
 * Publishes that a value failed, and returns the error.
 *
 * @param property - where it is, if the error does not say.
 */
export function tellOfFailure<E>(
  source: DataSource,
  operation: FailureMessage['operation'],
  error: E,
  property?: Pick<FieldPolicy, 'entity' | 'property'>,
): E {
  if (channels.failure.hasSubscribers && error instanceof FieldEncryptionError) {
    const { code, entity, property: path } = error;
    const named = entity === undefined ? property : { entity, property: path };
    channels.failure.publish({
      ...{ source, operation, code },
      entity: named?.entity,
      property: named?.property,
    });
  }
  return error;
}
