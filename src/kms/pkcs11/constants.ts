/** The constants of PKCS #11 v2.40 that are in use, so that nothing but a call needs `pkcs11js`. */
export const CKF = {
  osLockingOk: 0x2,
  rwSession: 0x2,
  serialSession: 0x4,
  loginRequired: 0x4,
  userPinInitialized: 0x8,
  tokenInitialized: 0x400,
  userPinFinalTry: 0x20000,
  userPinLocked: 0x40000,
} as const;

export const CKU_USER = 1;

/** Session states in which the user is logged in. */
export const CKS = { roUserFunctions: 1, rwUserFunctions: 3 } as const;

export const CKO_SECRET_KEY = 4;

export const CKK = { genericSecret: 0x10, aes: 0x1f } as const;

export const CKA = {
  class: 0x0,
  token: 0x1,
  private: 0x2,
  label: 0x3,
  value: 0x11,
  keyType: 0x100,
  id: 0x102,
  sensitive: 0x103,
  encrypt: 0x104,
  decrypt: 0x105,
  wrap: 0x106,
  unwrap: 0x107,
  sign: 0x108,
  verify: 0x10a,
  derive: 0x10c,
  valueLen: 0x161,
  extractable: 0x162,
  local: 0x163,
  modifiable: 0x170,
} as const;

export const CKM = { aesKeyGen: 0x1080, aesGcm: 0x1087, aesKeyWrap: 0x2109 } as const;

/**
 * How `pkcs11js` lays out the parameters of AES-GCM: the structure of v2.40, which has the length of
 * the IV in bits. Its plain `CK_PARAMS_AES_GCM` is the older one, which NSS refuses.
 */
export const GCM_PARAMETERS_V240 = 7;
