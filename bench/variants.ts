/** Names of the variants, by which bounds and charts find them. */
export const VARIANTS = {
  plain: 'plain columns',
  gcmFloor: 'node:crypto AES-256-GCM, tuned',
  sodiumFloor: 'sodium-native XChaCha20-Poly1305, tuned',
  hmacFloor: 'bare createHmac',
  blindIndex: 'this library, blind index',
  transformer: 'hand-tuned transformer over node:crypto',
  typeormEncrypted: 'typeorm-encrypted',
  cloak: '@47ng/cloak',
  cipherSweet: 'ciphersweet-js',
  xaes: 'this library, xaes-256-gcm',
  xchacha: 'this library, xchacha20-poly1305',
  xaesJavaScript: 'this library, xaes-256-gcm, without the add-on',
  xaesUncached: 'this library, xaes-256-gcm, without the add-on, no nonce prefix twice',
  xaesIndexed: 'this library, xaes-256-gcm, one blind index',
  sealed: 'this library, sealed reads',
  serverSide: 'server-side UPDATE of the column',
  reencrypt: 'reencrypt()',
  pageAndSave: 'page and save(array, { chunk: 500 })',
  saveEach: 'page and save() each',
  bareHsm: 'bare pkcs11js, asynchronous',
  bareHsmBlocking: 'bare pkcs11js, blocking',
  pkcs11Kms: 'pkcs11Kms',
} as const;

/** The variants of this library. */
export const OURS: ReadonlySet<string> = new Set([
  VARIANTS.xaes,
  VARIANTS.xchacha,
  VARIANTS.xaesIndexed,
  VARIANTS.xaesJavaScript,
  VARIANTS.sealed,
  VARIANTS.xaesUncached,
  VARIANTS.blindIndex,
  VARIANTS.reencrypt,
  VARIANTS.pkcs11Kms,
]);
