import { createSecretKey, randomBytes } from 'node:crypto';

import { openBytes, sealBytes } from '../../src/crypto/gcm';
import { KmsUnavailableError } from '../../src/errors';
import type { KeyRecord } from '../../src/keys/record/key-record';
import { KeyManager } from '../../src/keys/key-manager';
import type { KeyManagerOptions } from '../../src/keys/key-services';
import type { CountUses, EncryptedRows } from '../../src/keys/lifecycle/encrypted-rows';
import type { KeyState } from '../../src/keys/record/key-state';
import { provenChange } from '../../src/keys/record/key-macs';
import { KeyWrapper } from '../../src/keys/wrapping/key-wrapper';
import type { KeyEvent } from '../../src/keys/record/key-event';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../../src/kms/kms-provider';
import { openKey, sealKey } from '../../src/kms/local/wrapped-form';
import { LocalKmsProvider } from '../../src/kms/local/local-kms-provider';
import type { Passphrase } from '../../src/kms/local/passphrase';
import { PassphraseKek } from '../../src/kms/local/passphrase-kek';
import type { ScryptLimits } from '../../src/kms/local/scrypt-parameters';
import { MemoryKeyStore } from './memory-key-store';

export const TTL_MS = 1_000;
export const MAX_AGE_MS = 10_000;

/** As strict as the real limits, around a cost that takes no time. */
export const FAST_SCRYPT: ScryptLimits = {
  preferred: { logN: 5, r: 8, p: 1 },
  minLogN: 5,
};

/** `localKms({ passphrase })` with a derivation that takes no time. */
export function fastLocalKms(
  passphrase: Passphrase,
  limits = FAST_SCRYPT,
  now?: () => number,
): KmsProvider {
  return new LocalKmsProvider(new PassphraseKek(passphrase, limits, now));
}

/** A clock that only tests move. */
export class ManualClock {
  now = 0;
  readonly read = (): number => this.now;

  advance(ms: number): void {
    this.now += ms;
  }
}

/** A KMS that counts, can be down, and remembers the buffers it was handed and handed out. */
export class FakeKms implements KmsProvider {
  readonly name: string;
  /** Thrown by every call while set. */
  outage: Error | undefined;
  /** Id of the one key that it does not get to unwrap. */
  failsOn: string | undefined;
  wraps = 0;
  /** Name of the newest KEK version. */
  kek = 'fake-kek/1';
  unwraps = 0;
  closes = 0;
  /** Buffers with key bytes in the open: the library's own at a wrap, the caller's at an unwrap. */
  readonly openKeys: Uint8Array[] = [];
  /** Copies of those bytes, which must appear nowhere. */
  readonly keyBytes: Buffer[] = [];
  /** Held up until it resolves. */
  gate: Promise<void> = Promise.resolve();
  /** Changes what an unwrap answers. */
  answer: (key: Uint8Array) => Uint8Array = (key) => key;
  readonly #kek = createSecretKey(randomBytes(32));
  readonly #header = Uint8Array.of(0x7f);

  constructor(name = 'fake') {
    this.name = name;
  }

  async wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    this.wraps += 1;
    this.#see(key);
    await this.#turn();
    return { kek: this.kek, wrapped: sealKey(this.#kek, key, this.#header, binding) };
  }

  async unwrapKey({ wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    this.unwraps += 1;
    await this.#turn();
    if (binding.keyId === this.failsOn) throw new KmsUnavailableError('fake: too much to ask');
    const key = this.answer(openKey(this.#kek, wrapped, this.#header, binding));
    this.#see(key);
    return key;
  }

  health(): Promise<KmsHealth> {
    return Promise.resolve({ ok: this.outage === undefined });
  }

  close(): Promise<void> {
    this.closes += 1;
    return Promise.resolve();
  }

  #see(key: Uint8Array): void {
    this.openKeys.push(key);
    this.keyBytes.push(Buffer.from(key));
  }

  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await this.gate;
    if (this.outage !== undefined) throw this.outage;
  }
}

/** One process: a manager with its own clock and events, on a store and KMS that others may share. */
export interface Process {
  readonly store: MemoryKeyStore;
  readonly kms: FakeKms;
  readonly clock: ManualClock;
  readonly events: KeyEvent[];
  readonly keys: KeyManager<string>;
}

/** Starts one process; parts that are not given are new. */
export function startProcess(
  parts: { store?: MemoryKeyStore; kms?: FakeKms; clock?: ManualClock } & Partial<
    Pick<
      KeyManagerOptions<string>,
      'application' | 'suite' | 'cache' | 'otherKms' | 'policies' | 'wallClock'
    >
  > = {},
): Process {
  const store = parts.store ?? new MemoryKeyStore();
  const kms = parts.kms ?? new FakeKms();
  const clock = parts.clock ?? new ManualClock();
  const events: KeyEvent[] = [];
  const keys = new KeyManager<string>({
    store,
    kms,
    application: parts.application ?? 'clinic',
    suite: parts.suite ?? 'xaes-256-gcm',
    cache: parts.cache ?? { ttlMs: TTL_MS, maxAgeMs: MAX_AGE_MS },
    otherKms: parts.otherKms,
    policies: parts.policies,
    wallClock: parts.wallClock,
    clock: clock.read,
    onEvent: (event) => events.push(event),
  });
  return { store, kms, clock, events, keys };
}

/** Prepares keys and waits until they are, whether or not there was anything to do. */
export async function prepare(
  { keys }: Pick<Process, 'keys'>,
  names: readonly string[],
  options: { readonly index: boolean },
  connection?: string,
): Promise<void> {
  await keys.prepare(names, options, connection);
}

/** Gives a key a state as the library would, with the MAC that proves it. */
export async function giveState(
  { store, kms }: Pick<Process, 'store' | 'kms'>,
  id: string | undefined,
  state: KeyState,
): Promise<void> {
  const record = store.rows.find((row) => row.id === id);
  if (record === undefined) throw new Error('no such key');
  const { authenticateState } = await new KeyWrapper(kms, 'clinic').unwrap(record);
  store.edit(record.id, provenChange(authenticateState, record, { state }, record.epoch + 1));
}

/** A record that no manager ever opens, for tests of a store. */
export function someRecord(changes: Partial<KeyRecord> = {}): KeyRecord {
  const createdAt = new Date('2026-03-04T05:06:07Z');
  return {
    id: randomBytes(8).toString('hex'),
    name: 'default',
    purpose: 'data',
    version: 1,
    suite: 'xaes-256-gcm',
    state: 'active',
    kms: 'local',
    kek: 'scrypt:00',
    wrapped: randomBytes(157),
    recordMac: randomBytes(32),
    stateMac: randomBytes(32),
    epoch: 1,
    application: 'clinic',
    createdAt,
    activatedAt: createdAt,
    deactivatedAt: null,
    compromisedAt: null,
    destroyedAt: null,
    expiresAt: null,
    owner: null,
    securityLevel: null,
    useCount: 0,
    ...changes,
  };
}

/** Rows that are counted so, which nobody is writing. */
export function rowsCounted(count: CountUses<string>): EncryptedRows<string> {
  const nothing = (): Promise<void> => Promise.resolve();
  return { count, refreshRoots: nothing, writersToEnd: nothing };
}

/** No row needs any key. */
export const NO_ROWS = rowsCounted(() => Promise.resolve([]));

/** Lets everything that was started in the background finish. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Whether a key made with one handle opens with the other. */
export function sameKey(
  a: { aead: Parameters<typeof sealBytes>[0] },
  b: { aead: Parameters<typeof openBytes>[0] },
): boolean {
  const plaintext = Buffer.from('the same key');
  const ad = Buffer.from('associated');
  const sealed = sealBytes(a.aead, plaintext, ad);
  try {
    return openBytes(b.aead, sealed, ad).equals(plaintext);
  } catch {
    return false;
  }
}
