import { createSecretKey, randomBytes, scrypt } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { wipe } from '../../crypto/secret-bytes';
import { ConfigurationError } from '../../errors';
import type { KmsHealth } from '../kms-provider';

import type { KekForUnwrapping, KekForWrapping, LocalKek } from './local-kms-provider';
import { withPassphrase, estimatedBits } from './passphrase';
import type { Passphrase, PassphraseExamination } from './passphrase';
import { DerivationBudget, requireAcceptable } from './scrypt-parameters';
import type { ScryptLimits, ScryptParameters } from './scrypt-parameters';
import { parseUnderPassphrase, passphraseHeader, SCRYPT_SALT_BYTES } from './wrapped-form';
import type { PassphraseHeader } from './wrapped-form';

const KEK_BYTES = 32;
/** The most KEKs kept: a process needs one salt for its keys, and rows with many others may be an attack. */
const MAX_DERIVED = 64;

interface DerivedKek {
  readonly header: PassphraseHeader;
  readonly kek: Promise<KeyObject>;
  /** Whether it has opened a key, so that one that it does not open is at fault. */
  proven: boolean;
}

/** A KEK derived from a passphrase by scrypt, once for each salt. */
export class PassphraseKek implements LocalKek {
  readonly #passphrase: Passphrase;
  readonly #limits: ScryptLimits;
  readonly #budget: DerivationBudget;
  readonly #derived = new Map<string, DerivedKek>();
  /** Header for wrapping, taken from the first key opened, so that all keys of a table share a derivation. */
  #header: PassphraseHeader | undefined;
  /** A derivation takes 128 MiB or more, so they run one after the other. */
  #lastDerivation: Promise<unknown> = Promise.resolve();

  constructor(
    passphrase: Passphrase,
    limits: ScryptLimits,
    now: () => number = () => performance.now(),
  ) {
    this.#passphrase = passphrase;
    this.#limits = limits;
    this.#budget = new DerivationBudget(now);
  }

  async forWrapping(): Promise<KekForWrapping> {
    this.#header ??= { scrypt: this.#limits.preferred, salt: randomBytes(SCRYPT_SALT_BYTES) };
    const header = this.#header;
    this.#budget.noteGenuine(cacheKey(header));
    const kek = await this.#derive(header).kek;
    return { kek, header: passphraseHeader(header), name: kekName(header) };
  }

  async forUnwrapping(wrapped: Uint8Array): Promise<KekForUnwrapping> {
    const { header, headerBytes, sealed } = parseUnderPassphrase(wrapped);
    requireAcceptable(header.scrypt, this.#limits);
    const derived = this.#derive({ ...header, salt: Uint8Array.from(header.salt) });
    const report = (opened: boolean): void => {
      this.#report(derived, opened);
    };
    return { kek: await derived.kek, header: headerBytes, sealed, report };
  }

  async health(): Promise<KmsHealth> {
    if (this.#derived.size === 0) await withPassphrase(this.#passphrase, () => Promise.resolve());
    const { logN, r, p } = this.#limits.preferred;
    // Only a key that it opens tells a right passphrase from a wrong one.
    const isProven = [...this.#derived.values()].some(({ proven }) => proven) || undefined;
    return {
      ...{ ok: true, reachable: true, mayWrap: true },
      ...{ authenticated: isProven, mayUnwrap: isProven },
      detail: `passphrase, scrypt N=2^${String(logN)} r=${String(r)} p=${String(p)}`,
    };
  }

  async examine(): Promise<PassphraseExamination> {
    const { preferred } = this.#limits;
    const bits = await withPassphrase(this.#passphrase, (bytes) =>
      Promise.resolve(estimatedBits(Buffer.from(bytes).toString('utf8'))),
    );
    const header = { scrypt: preferred, salt: randomBytes(SCRYPT_SALT_BYTES) };
    let startedAt = 0;
    await this.#inTurn(() => {
      startedAt = performance.now();
      return deriveKek(this.#passphrase, header);
    });
    return { bits, scrypt: preferred, derivationMs: Math.round(performance.now() - startedAt) };
  }

  forget(): void {
    this.#derived.clear();
    this.#header = undefined;
  }

  #derive(header: PassphraseHeader): DerivedKek {
    const name = cacheKey(header);
    const known = this.#derived.get(name);
    if (known !== undefined) return known;

    const kek = this.#inTurn(async () => {
      this.#budget.require(name);
      return deriveKek(this.#passphrase, header);
    });
    const derived = { header, kek, proven: false };
    kek.catch(() => {
      this.#drop(derived);
    });
    this.#makeRoom();
    this.#derived.set(name, derived);
    return derived;
  }

  #inTurn<T>(derive: () => Promise<T>): Promise<T> {
    const derivation = this.#lastDerivation.then(derive);
    this.#lastDerivation = derivation.catch(() => undefined);
    return derivation;
  }

  #report(derived: DerivedKek, opened: boolean): void {
    const name = cacheKey(derived.header);
    if (opened) {
      derived.proven = true;
      this.#budget.noteGenuine(name);
      this.#header ??= this.#preferred(derived.header);
    } else if (!derived.proven && this.#derived.get(name) === derived) {
      // The passphrase may be wrong: ask for it again the next time. After a few times it is more likely
      // the row, and the KEK is kept for other rows with the same salt.
      if (this.#budget.noteVain(name)) this.#drop(derived);
    }
  }

  /** Returns a stored header for wrapping if it is as strong as today's default. */
  #preferred(header: PassphraseHeader): PassphraseHeader | undefined {
    return header.scrypt.logN >= this.#limits.preferred.logN ? header : undefined;
  }

  #drop(derived: DerivedKek): void {
    const name = cacheKey(derived.header);
    if (this.#derived.get(name) === derived) this.#derived.delete(name);
    if (this.#header === derived.header) this.#header = undefined;
  }

  #makeRoom(): void {
    for (const [name, derived] of this.#derived) {
      if (this.#derived.size < MAX_DERIVED) return;
      if (derived.header !== this.#header) this.#derived.delete(name);
    }
  }
}

function deriveKek(passphrase: Passphrase, { scrypt, salt }: PassphraseHeader): Promise<KeyObject> {
  return withPassphrase(passphrase, async (bytes) => {
    const kek = await runScrypt(bytes, salt, scrypt);
    try {
      return createSecretKey(kek);
    } finally {
      wipe(kek);
    }
  });
}

function runScrypt(
  passphrase: Uint8Array,
  salt: Uint8Array,
  { logN, r, p }: ScryptParameters,
): Promise<Buffer> {
  const N = 2 ** logN;
  // Node.js limits memory to maxmem, by default 32 MiB; OpenSSL needs a little more than 128·r·(N + p).
  const options = { N, r, p, maxmem: 128 * r * (N + p + 2) + 1024 };
  return new Promise<Buffer>((resolve, reject) => {
    scrypt(passphrase, salt, KEK_BYTES, options, (error, kek) => {
      if (error) reject(error);
      else resolve(kek);
    });
  }).catch((error: unknown) => {
    throw notDerived(error, options.maxmem);
  });
}

/** Not an outage that passes: a retry takes the same memory. */
function notDerived(cause: unknown, bytes: number): ConfigurationError {
  return new ConfigurationError(
    `localKms: no key could be derived from the passphrase by scrypt, which takes ${String(Math.ceil(bytes / 2 ** 20))} MiB. ` +
      'Give the process or container that much memory more, or use a key file.',
    { cause },
  );
}

function cacheKey(header: PassphraseHeader): string {
  return Buffer.from(passphraseHeader(header)).toString('hex');
}

/** Names the derivation by its salt, which is public and does not depend on the passphrase. */
function kekName({ salt }: PassphraseHeader): string {
  return `scrypt:${Buffer.from(salt).toString('hex')}`;
}
