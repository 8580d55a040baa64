import type { Token } from './find-token';
import type { Kek } from './kek';

/**
 * What a key record calls a KEK: a PKCS #11 URI (RFC 7512) with the mechanism as a vendor attribute,
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
