import { createRequire } from 'node:module';

import { ConfigurationError } from '../../errors';

import { describeFailure, returnValueOf } from './return-value';

/** The constants of PKCS #11 v2.40 in use, defined here so that only calls need `pkcs11js`. */
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
 * The layout of AES-GCM parameters in `pkcs11js`: the structure of v2.40, with the length of the IV in
 * bits. Its plain `CK_PARAMS_AES_GCM` is the older one, which NSS refuses.
 */
export const GCM_PARAMETERS_V240 = 7;

/** Slots, sessions and objects, as the module names them. */
export type Handle = Buffer;

export interface Attribute {
  readonly type: number;
  readonly value?: number | boolean | string | Buffer;
}

export interface Mechanism {
  readonly mechanism: number;
  readonly parameter?: {
    readonly type: number;
    readonly iv: Buffer;
    readonly ivBits: number;
    readonly aad: Buffer;
    readonly tagBits: number;
  } | null;
}

export interface TokenInfo {
  /** Padded with spaces or NULs, as is the serial number. */
  readonly label: string;
  readonly serialNumber: string;
  readonly flags: number;
}

/** The calls of a PKCS #11 module in use, as `pkcs11js` exposes them. Each blocks its thread. */
export interface Cryptoki {
  C_Initialize(options: { flags: number; libraryParameters?: string }): void;
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetTokenInfo(slot: Handle): TokenInfo;
  C_GetMechanismList(slot: Handle): number[];
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_GetSessionInfo(session: Handle): { readonly state: number };
  C_Login(session: Handle, userType: number, pin: string): void;
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void;
  C_FindObjects(session: Handle, maxObjectCount: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    template: readonly Attribute[],
  ): { readonly value: Buffer }[];
  C_GenerateKey(session: Handle, mechanism: Mechanism, template: readonly Attribute[]): Handle;
  C_CreateObject(session: Handle, template: readonly Attribute[]): Handle;
  C_DestroyObject(session: Handle, object: Handle): void;
  C_EncryptInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Encrypt(session: Handle, input: Buffer, output: Buffer): Buffer;
  C_DecryptInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Decrypt(session: Handle, input: Buffer, output: Buffer): Buffer;
  C_WrapKey(
    session: Handle,
    mechanism: Mechanism,
    wrappingKey: Handle,
    key: Handle,
    output: Buffer,
  ): Buffer;
  C_UnwrapKey(
    session: Handle,
    mechanism: Mechanism,
    unwrappingKey: Handle,
    wrapped: Buffer,
    template: readonly Attribute[],
  ): Handle;
}

interface Pkcs11Js {
  readonly PKCS11: new () => Cryptoki & { load(library: string): void };
}

const INSTALL = 'npm install pkcs11js';

/**
 * Loads a PKCS #11 module through the optional peer `pkcs11js`.
 *
 * @param require_ - the function that loads `pkcs11js`
 * @throws {@link ConfigurationError} if either cannot be loaded
 */
export function loadCryptoki(
  library: string,
  require_: (name: string) => unknown = createRequire(__filename),
): Cryptoki {
  const { PKCS11 } = requirePkcs11Js(require_);
  const cryptoki = new PKCS11();
  try {
    cryptoki.load(library);
  } catch (error) {
    throw new ConfigurationError(
      `pkcs11Kms: the PKCS #11 module ${library} cannot be loaded; see the cause. ` +
        'Check the path, and that the module is built for this system.',
      { cause: describeFailure(error) },
    );
  }
  return cryptoki;
}

function requirePkcs11Js(require_: (name: string) => unknown): Pkcs11Js {
  try {
    return require_('pkcs11js') as Pkcs11Js;
  } catch (error) {
    throw new ConfigurationError(
      `pkcs11Kms needs the package pkcs11js, which cannot be loaded. Run: ${INSTALL}`,
      { cause: error },
    );
  }
}

/**
 * Initialises the module for use by several threads, unless this was done before: the process has only
 * one instance. It is never finalized, which would end every session of the process and crash modules at
 * work in another thread.
 */
export function initialize(cryptoki: Cryptoki, libraryParameters: string | undefined): void {
  try {
    cryptoki.C_Initialize({
      flags: CKF.osLockingOk,
      // pkcs11js 2.1.7 cuts off the last character.
      ...(libraryParameters === undefined ? {} : { libraryParameters: `${libraryParameters} ` }),
    });
  } catch (error) {
    if (returnValueOf(error) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') throw error;
  }
}

const kept = new Map<string, Cryptoki>();

/**
 * Keeps a module from being unloaded with the last thread, which few modules support. A thread has loaded
 * it, so this takes no time.
 */
export function keepLoaded(library: string): void {
  if (kept.has(library)) return;
  try {
    kept.set(library, loadCryptoki(library));
  } catch {
    // The thread has loaded it, and does without this.
  }
}

/** Reads one attribute; `undefined` if the token does not know it. */
export function readAttribute(session: Session, object: Handle, type: number): Buffer | undefined {
  try {
    const [read] = session.cryptoki.C_GetAttributeValue(session.handle, object, [{ type }]);
    return read?.value;
  } catch (error) {
    if (returnValueOf(error) === 'CKR_ATTRIBUTE_TYPE_INVALID') return undefined;
    throw error;
  }
}

export function readText(session: Session, object: Handle, type: number): string | undefined {
  return readAttribute(session, object, type)?.toString('utf8');
}

export function readFlag(session: Session, object: Handle, type: number): boolean | undefined {
  const value = readAttribute(session, object, type);
  return value?.length === 1 ? value[0] !== 0 : undefined;
}

/** Reads a CK_ULONG: 4 or 8 bytes in the machine's order, which is little-endian wherever Node.js runs. */
export function readNumber(session: Session, object: Handle, type: number): number | undefined {
  const value = readAttribute(session, object, type);
  if (value === undefined || value.length < 4) return undefined;
  return value.readUInt32LE(0);
}

/** An open session, for one operation at a time. */
export interface Session {
  readonly cryptoki: Cryptoki;
  readonly handle: Handle;
}

/** Closes a session and ignores errors: one that is gone would hide the error before. */
export function closeQuietly({ cryptoki, handle }: Session): void {
  try {
    cryptoki.C_CloseSession(handle);
  } catch {
    // Nothing is left to close.
  }
}
