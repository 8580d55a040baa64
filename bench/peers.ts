import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { ValueTransformer } from 'typeorm';

// The peers are installed for the benchmarks alone, and not always, so the types that they need are here.

interface Cloak {
  generateKey(): string;
  parseKeySync(key: string): object;
  encryptStringSync(text: string, key: object): string;
  decryptStringSync(stored: string, key: object): string;
}

interface CipherSweet {
  readonly ModernCrypto: new () => object;
  readonly StringProvider: new (hexKey: string) => object;
  readonly CipherSweet: new (keys: object, backend: object) => object;
  readonly EncryptedField: new (engine: object, table: string, field: string) => EncryptedField;
  readonly BlindIndex: new (
    name: string,
    transformations: [],
    bits: number,
    fastHash: boolean,
  ) => object;
}

interface EncryptedField {
  addBlindIndex(index: object): this;
  encryptValue(text: string): Promise<string>;
  decryptValue(stored: string): Promise<string>;
  getBlindIndex(text: string, name: string): Promise<string>;
}

interface TypeormEncrypted {
  readonly EncryptionTransformer: new (options: {
    key: string;
    algorithm: 'aes-256-gcm';
    ivLength: number;
  }) => ValueTransformer;
}

/** A cipher for one text, synchronous or not. */
export interface TextCipher {
  encrypt(text: string): string | Promise<string>;
  decrypt(stored: string): string | Promise<string>;
}

/** Returns the peer; `undefined` if it is not installed, as with the other peers. */
export function cloak(): TextCipher | undefined {
  const peer = load('@47ng/cloak') as Cloak | undefined;
  if (peer === undefined) return undefined;
  const key = peer.parseKeySync(peer.generateKey());
  return {
    encrypt: (text) => peer.encryptStringSync(text, key),
    decrypt: (stored) => peer.decryptStringSync(stored, key),
  };
}

/** Uses its modern backend, which finds `sodium-native`, and the fast hash for its index. */
export function cipherSweet(): (TextCipher & { token(text: string): Promise<string> }) | undefined {
  const peer = load('ciphersweet-js') as CipherSweet | undefined;
  if (peer === undefined) return undefined;
  const keys = new peer.StringProvider(randomBytes(32).toString('hex'));
  const engine = new peer.CipherSweet(keys, new peer.ModernCrypto());
  const field = new peer.EncryptedField(engine, 'patient', 'note');
  field.addBlindIndex(new peer.BlindIndex('index', [], 256, true));
  return {
    encrypt: (text) => field.encryptValue(text),
    decrypt: (stored) => field.decryptValue(stored),
    token: (text) => field.getBlindIndex(text, 'index'),
  };
}

/** Uses its transformer: its subscriber leaves ciphertext in saved entities, and plain objects in clear. */
export function typeormEncrypted(): ValueTransformer | undefined {
  const peer = load('typeorm-encrypted') as TypeormEncrypted | undefined;
  if (peer === undefined) return undefined;
  const key = randomBytes(32).toString('hex');
  return new peer.EncryptionTransformer({ key, algorithm: 'aes-256-gcm', ivLength: 12 });
}

/** Lists the peers of `bench/package.json` with their installed versions; `undefined` for a missing one. */
export function peerVersions(): Record<string, string | undefined> {
  const { dependencies } = readManifest(join(benchFolder(), 'package.json'));
  return Object.fromEntries(
    Object.keys(dependencies ?? {}).map((name) => {
      const manifest = join(benchFolder(), 'node_modules', name, 'package.json');
      return [name, existsSync(manifest) ? readManifest(manifest).version : undefined];
    }),
  );
}

/** Loads a package of `bench/package.json`, if it is installed. */
export function load(name: string): unknown {
  const folder = benchFolder();
  if (!existsSync(join(folder, 'node_modules', name))) return undefined;
  return createRequire(join(folder, 'package.json'))(name);
}

interface Manifest {
  readonly version?: string;
  readonly dependencies?: Record<string, string>;
}

function readManifest(path: string): Manifest {
  return JSON.parse(readFileSync(path, 'utf8')) as Manifest;
}

/** Finds the `bench` folder with a package.json above the compiled code. */
function benchFolder(): string {
  let folder = __dirname;
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}
