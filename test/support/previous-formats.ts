import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DecryptionError } from '../../src';
import type { LocalPreviousFormat, TypeormEncryptedOptions } from '../../src/import';

interface Value {
  readonly text: string;
  readonly stored: string;
}

/** What the real packages wrote, and read back; test/vectors/previous-formats.json says how. */
export interface PreviousFormatVectors {
  readonly typeormEncrypted: readonly {
    readonly options: TypeormEncryptedOptions;
    readonly values: readonly [Value, ...Value[]];
  }[];
  readonly typeormEncryptedJson: {
    readonly options: TypeormEncryptedOptions;
    readonly value: unknown;
    readonly stored: string;
  };
  /** Values that begin like a ciphertext of ours: a whole one, and one that would be cut short. */
  readonly lookalikes: {
    readonly options: TypeormEncryptedOptions;
    readonly values: readonly [Value, Value];
  };
  readonly cloak: {
    readonly keys: readonly string[];
    readonly masterKey: string;
    readonly keychain: string;
    readonly values: readonly (Value & { readonly key: string })[];
  };
}

export const previousFormatVectors = JSON.parse(
  readFileSync(join(__dirname, '..', 'vectors', 'previous-formats.json'), 'utf8'),
) as PreviousFormatVectors;

/** Fails unless the format refuses a value: by its form, or because it does not decrypt. */
export function expectRefused(format: LocalPreviousFormat, stored: string): void {
  if (!format.recognises(stored)) return;
  expect(() => format.decrypt(stored)).toThrow(DecryptionError);
}

/** Every value that differs from this one by one bit. */
export function* withFlippedBits(bytes: Buffer): Generator<Buffer> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    yield flipped;
  }
}
