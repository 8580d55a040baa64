import { createRequire } from 'node:module';

import { ConfigurationError } from '../../errors';
import { CKF } from './constants';
import { describeFailure, returnValueOf } from './return-value';

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

/** The part of a PKCS #11 module in use, as `pkcs11js` shows it. Every call blocks its thread. */
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
 * @param require_ - in whose reach `pkcs11js` is looked for
 * @throws {@link ConfigurationError} when either cannot be loaded
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
 * Initialises the module for use by several threads. It is one for the whole process, so somebody
 * else may have done it. Nobody here ever finalizes it: that would end every session of the process,
 * and crashes modules that are at work in another thread.
 */
export function initialize(cryptoki: Cryptoki, libraryParameters: string | undefined): void {
  try {
    cryptoki.C_Initialize({
      flags: CKF.osLockingOk,
      // pkcs11js 2.1.7 cuts the last character off.
      ...(libraryParameters === undefined ? {} : { libraryParameters: `${libraryParameters} ` }),
    });
  } catch (error) {
    if (returnValueOf(error) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') throw error;
  }
}

const kept = new Map<string, Cryptoki>();

/**
 * Keeps a module that a lane has loaded from being unloaded with the last lane: few modules are made
 * for that. There is nothing left to load, so this takes no time.
 */
export function keepLoaded(library: string): void {
  if (kept.has(library)) return;
  try {
    kept.set(library, loadCryptoki(library));
  } catch {
    // The lane could load it, and goes on without this.
  }
}
