import type { KeyObject } from 'node:crypto';
import { createSecretKey } from 'node:crypto';
import { resolve } from 'node:path';

import { hkdfSha256 } from '../../crypto/hkdf';
import { LABELS } from '../../crypto/labels';
import { wipe } from '../../crypto/wipe';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import type { KmsHealth } from '../kms-provider';
import { readKeyFile } from './key-file';
import type { KekForUnwrapping, KekForWrapping, LocalKek } from './local-kek';
import { keyFileHeader, parseUnderKeyFile } from './wrapped-form';

const CHECK_VALUE_BYTES = 4;

/** A KEK that is the content of a file, read when it is first needed. */
export class KeyFileKek implements LocalKek {
  readonly #path: string;
  #kek: Promise<KeyObject> | undefined;

  constructor(path: string) {
    this.#path = resolve(path);
  }

  async forWrapping(): Promise<KekForWrapping> {
    const kek = await this.#read();
    return { kek, header: keyFileHeader(), name: `key-file:${checkValue(kek)}` };
  }

  async forUnwrapping(wrapped: Uint8Array): Promise<KekForUnwrapping> {
    const { headerBytes, sealed } = parseUnderKeyFile(wrapped);
    const kek = await this.#read();
    const report = (opened: boolean): void => {
      // Perhaps the file has been put right meanwhile.
      if (!opened) this.forget();
    };
    return { kek, header: headerBytes, sealed, report };
  }

  async health(): Promise<KmsHealth> {
    const kek = await this.#read();
    const detail = `key file ${this.#path}, check value ${checkValue(kek)}`;
    return {
      ok: true,
      detail,
      reachable: true,
      authenticated: true,
      mayWrap: true,
      mayUnwrap: true,
    };
  }

  forget(): void {
    this.#kek = undefined;
  }

  #read(): Promise<KeyObject> {
    this.#kek ??= readKek(this.#path).catch((error: unknown) => {
      this.forget();
      throw error;
    });
    return this.#kek;
  }
}

async function readKek(path: string): Promise<KeyObject> {
  const bytes = await readKeyFile(path);
  try {
    return createSecretKey(bytes);
  } finally {
    wipe(bytes);
  }
}

/** Tells key files apart in the key table. Of a key with 256 random bits, 32 derived ones give nothing away. */
function checkValue(kek: KeyObject): string {
  const info = lengthPrefixed([LABELS.keyCheckValue]);
  return hkdfSha256({ key: kek, info, bytes: CHECK_VALUE_BYTES }).toString('hex');
}
