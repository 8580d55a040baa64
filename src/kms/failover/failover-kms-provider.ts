import { ExponentialBackoff, fullJitterGenerator, handleType, retry } from 'cockatiel';

import { wipe } from '../../crypto/secret-bytes';
import {
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';

import { Member } from './member';
import type { FailoverEvent, ParsedOptions } from './options';
import { PartlyWrapped, isIntact, parse, serialize } from './wrapped-form';
import type { Part, WrappedParts } from './wrapped-form';

const MAX_KEK_CHARS = 512;

/** Retries with all providers, in case all are away for a moment. */
const rounds = retry(handleType(KmsUnavailableError), {
  maxAttempts: 2,
  backoff: new ExponentialBackoff({ generator: fullJitterGenerator, initialDelay: 200 }),
});

/** A provider that wraps each key by several others, and unwraps it by the first one that is up. */
export class FailoverKmsProvider implements KmsProvider {
  readonly name = 'failover';
  readonly unapproved: string | undefined;
  readonly #members: readonly Member[];
  readonly #onEvent: (event: FailoverEvent) => void;
  readonly #partlyWrapped = new PartlyWrapped();

  constructor({ providers, onEvent, ...times }: ParsedOptions) {
    this.#onEvent = onEvent;
    this.unapproved = providers.find(({ kms }) => kms.unapproved !== undefined)?.kms.unapproved;
    this.#members = providers.map(
      ({ label, kms }) =>
        new Member(label, kms, times, (type, provider) => {
          this.#tell({ type, provider });
        }),
    );
  }

  async wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    // A provider that timed out may still be at work when the caller has wiped the key.
    const copy = Uint8Array.from(key);
    try {
      const parts = await rounds.execute(() => this.#wrapByAll(copy, binding));
      this.#noteMissing(binding.keyId, parts);
      return { kek: kekReference(parts), wrapped: serialize(parts, copy, binding) };
    } finally {
      wipe(copy);
    }
  }

  async unwrapKey({ wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const parsed = parse(wrapped);
    const key = await rounds.execute(() => this.#unwrapByFirst(parsed.parts, binding));
    if (!isIntact(parsed, key, binding)) {
      wipe(key);
      throw new KeyUnwrapError(
        'failoverKms: the key row was edited, swapped or damaged: what one provider unwrapped does not fit the rest.',
      );
    }
    this.#noteMissing(binding.keyId, parsed.parts);
    return key;
  }

  /**
   * Any part that a provider here can unwrap opens the key, so each of them must be authenticated by
   * itself.
   */
  isAuthenticated({ wrapped }: WrappedKey): boolean {
    const parts = this.#inOrder(parse(wrapped).parts);
    return parts.every(({ member, part }) => member.isAuthenticated(part));
  }

  async health(): Promise<KmsHealth> {
    const members = await Promise.all(
      this.#members.map(async (member) => ({ name: member.label, ...(await member.health()) })),
    );
    const lines = members.map(
      ({ name, ok, detail }) =>
        `${name}: ${ok ? 'up' : 'down'}${detail === undefined ? '' : ` (${detail})`}`,
    );
    const partly = this.#partlyWrapped.describe();
    const detail = [...lines, ...(partly === '' ? [] : [partly])].join('; ');
    const { ok = false, ...best } = bestOf(members);
    return { ok, detail, ...best, members };
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.close()));
  }

  async #wrapByAll(key: Uint8Array, binding: KeyBinding): Promise<readonly Part[]> {
    const results = await Promise.allSettled(
      this.#members.map(async (member): Promise<Part> => {
        const { kek, wrapped } = await member.ask(
          (kms) => kms.wrapKey(key, binding),
          binding.keyId,
        );
        return { label: member.label, kek, wrapped };
      }),
    );
    const parts = results.flatMap((result) =>
      result.status === 'fulfilled' ? [result.value] : [],
    );
    if (parts.length > 0) return parts;
    const rejected = results.filter((result) => result.status === 'rejected');
    throw failureOfAll(rejected.map(({ reason }): unknown => reason));
  }

  async #unwrapByFirst(parts: readonly Part[], binding: KeyBinding): Promise<Uint8Array> {
    const failures: unknown[] = [];
    for (const { member, part } of this.#inOrder(parts)) {
      try {
        return await member.ask((kms) => kms.unwrapKey(part, binding), binding.keyId);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failureOfAll(failures);
    throw new KeyUnwrapError(
      'failoverKms: none of the providers here has wrapped this data key. Were labels changed, or a provider taken out?',
    );
  }

  /** Pairs providers and parts in the configured order, with providers that are down at the end. */
  #inOrder(parts: readonly Part[]): { member: Member; part: Part }[] {
    const all = this.#members.flatMap((member) => {
      const part = parts.find(({ label }) => label === member.label);
      return part === undefined ? [] : [{ member, part }];
    });
    return [
      ...all.filter(({ member }) => member.isUp),
      ...all.filter(({ member }) => !member.isUp),
    ];
  }

  #noteMissing(keyId: string, parts: WrappedParts['parts']): void {
    const by = parts.map(({ label }) => label);
    const missing = this.#members.map(({ label }) => label).filter((label) => !by.includes(label));
    if (this.#partlyWrapped.note(keyId, missing)) {
      this.#tell({ type: 'partlyWrapped', keyId, by, missing });
    }
  }

  #tell(event: FailoverEvent): void {
    try {
      this.#onEvent(event);
    } catch {
      // A listener that fails must not keep a key from being unwrapped.
    }
  }
}

const QUESTIONS = ['ok', 'reachable', 'authenticated', 'mayWrap', 'mayUnwrap'] as const;

/** Combines the health of all: yes if one says so, no if all say no. */
function bestOf(members: readonly KmsHealth[]): Partial<KmsHealth> {
  const answers = QUESTIONS.map((question) => {
    const said = members.map((member) => member[question]);
    return [question, said.includes(true) || (said.includes(undefined) ? undefined : false)];
  });
  return Object.fromEntries(answers) as Partial<KmsHealth>;
}

function kekReference(parts: readonly Part[]): string {
  const whole = `failover:${parts.map(({ label, kek }) => `${label}=${kek}`).join(';')}`;
  return whole.length <= MAX_KEK_CHARS
    ? whole
    : `failover:${parts.map(({ label }) => label).join(';')}`;
}

/** Combines errors: an outage, which may pass, comes before a problem with the key. */
function failureOfAll(failures: readonly unknown[]): FieldEncryptionError {
  const messages = failures.map((failure) =>
    failure instanceof FieldEncryptionError ? failure.message : 'failed in an unforeseen way',
  );
  const message = `failoverKms: no provider could do it. ${messages.join(' ')}`;
  if (failures.some((failure) => failure instanceof KmsUnavailableError)) {
    return new KmsUnavailableError(message);
  }
  return failures.some((failure) => failure instanceof KeyUnwrapError)
    ? new KeyUnwrapError(message)
    : new ConfigurationError(message);
}
