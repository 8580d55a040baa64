import { randomFillSync } from 'node:crypto';

import { equalInConstantTime } from '../../crypto/constant-time';
import { KmsUnavailableError } from '../../errors';
import type { Kek } from './kek';
import type { Session } from './session';

const KEY_BYTES = 32;

/** Wraps and unwraps random bytes; throws when the token does not give them back. */
export function probe(session: Session, { handle, keyWrap }: Kek): void {
  const bytes = randomFillSync(Buffer.allocUnsafeSlow(KEY_BYTES));
  const bound = Buffer.from('probe');
  const wrapped = keyWrap.wrap(session, handle, bytes, bound);
  const unwrapped = keyWrap.unwrap(session, handle, wrapped, bound);
  if (equalInConstantTime(bytes, unwrapped)) return;
  throw new KmsUnavailableError('pkcs11Kms: the token unwraps other bytes than it wrapped.');
}
