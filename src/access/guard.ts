import { setMaxListeners } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';

import { currentActor } from '../audit/actor';
import type { Actor } from '../audit/actor';
import type { FieldEncryptionErrorCode } from '../errors';
import type { GuardLevel, GuardMessage } from '../telemetry/channels';

import { ActorLimit } from './actor-limit';
import { DEFAULT_WINDOW_MS } from './guard-options';
import type { GuardOptions } from './guard-options';
import { RateLimitedError } from './rate-limited-error';

/** Part of a limit from which its approach is told. */
const NEAR = 0.8;
/** A limit so many times over is critical. */
const FAR = 10;
const DEFAULT_FAILURES = 5;
/** The longest that a statement waits before it is refused instead. */
const MAX_DELAY_MS = 10_000;
/** What tampering makes of a value, as opposed to an outage or a mistake. */
const OF_TAMPERING: readonly FieldEncryptionErrorCode[] = [
  'ERR_DECRYPTION',
  'ERR_CIPHERTEXT_MALFORMED',
  'ERR_PLAINTEXT_FOUND',
];

const RANKS: Readonly<Record<GuardLevel, number>> = { info: 1, warning: 2, error: 3, critical: 4 };

/** What is told of a message: the source is known to who listens. */
type Notice = Omit<GuardMessage, 'source'>;

/** Notices unusual numbers of values and of failures in this process, and limits what actors may use. */
export class Guard {
  readonly #limits: Readonly<Record<'reads' | 'lookups', ActorLimit | undefined>>;
  readonly #failures: { readonly values: number; readonly windowMs: number };
  readonly #tell: (notice: Notice) => void;
  readonly #clock = (): number => performance.now();
  /** By window, the level that was told last. */
  readonly #told = new WeakMap<object, GuardLevel>();
  /** Windows in which actors pass the limits. */
  readonly #broken = new ActorLimit({ values: 0 });
  readonly #stopping = new AbortController();
  #failed = { endsAt: 0, fingerprints: new Set<string>() };

  constructor({ reads, lookups, failures }: GuardOptions, tell: (notice: Notice) => void) {
    const limits = {
      reads: reads && new ActorLimit(reads),
      lookups: lookups && new ActorLimit(lookups),
    };
    this.#limits = limits;
    this.#failures = { values: DEFAULT_FAILURES, windowMs: DEFAULT_WINDOW_MS, ...failures };
    this.#tell = tell;
    setMaxListeners(0, this.#stopping.signal);
  }

  /** Lets all statements that wait go on. */
  stop(): void {
    this.#stopping.abort();
  }

  /**
   * Counts values that the actor at work uses.
   *
   * @param isDone - whether they were handed out already, so that those which follow are refused instead.
   * @throws {@link RateLimitedError} if they would exceed a limit that refuses; they are not counted then
   */
  use(
    subject: 'reads' | 'lookups',
    values: number,
    of: { readonly entity: string; readonly property: string },
    { isDone } = { isDone: false },
  ): void {
    const actor = currentActor();
    const now = this.#clock();
    if (actor?.breakGlass === true) this.#passGlass(actor, values, now);
    const limits = this.#limits[subject];
    if (limits === undefined) return;
    const limit = limits.limitOf(actor);
    const window = limits.windowOf(actor, now);
    const total = window.values + values;
    const mayRefuse = limits.action === 'refuse' && actor?.breakGlass !== true && !isDone;
    const isRefused = total > limit && mayRefuse;
    if (!isRefused) window.values = total;
    const level = levelOf(total, limit, limits.action !== 'warn');
    if (level !== undefined) this.#notice(window, level, { subject, actor, values: total, limit });
    if (isRefused) throw limited(subject, window.endsAt - now, limit, of);
  }

  /** Returns the wait of a reading statement of the actor at work; undefined if it need not wait. */
  pause(): Promise<void> | undefined {
    const { reads, lookups } = this.#limits;
    if (reads?.action !== 'slow' && lookups?.action !== 'slow') return undefined;
    const actor = currentActor();
    if (actor?.breakGlass === true) return undefined;
    const now = this.#clock();
    const delay = Math.max(reads?.delayOf(actor, now) ?? 0, lookups?.delayOf(actor, now) ?? 0);
    if (delay === 0) return undefined;
    if (delay > MAX_DELAY_MS) return Promise.reject(tooMany(delay));
    return wait(delay, undefined, this.#stopping).catch(() => undefined);
  }

  /** Counts a stored value that did not decrypt. */
  fail(code: FieldEncryptionErrorCode, fingerprint: string | undefined): void {
    if (fingerprint === undefined || !OF_TAMPERING.includes(code)) return;
    const { values: limit, windowMs } = this.#failures;
    const now = this.#clock();
    if (now >= this.#failed.endsAt) {
      this.#failed = { endsAt: now + windowMs, fingerprints: new Set() };
    }
    const { fingerprints } = this.#failed;
    if (fingerprints.size < limit * FAR) fingerprints.add(fingerprint);
    const values = fingerprints.size;
    if (values < limit) return;
    const level = values < limit * FAR ? 'error' : 'critical';
    this.#notice(this.#failed, level, {
      subject: 'failures',
      actor: currentActor(),
      values,
      limit,
    });
  }

  #passGlass(actor: Actor, more: number, now: number): void {
    const window = this.#broken.windowOf(actor, now);
    window.values += more;
    const { values } = window;
    this.#notice(window, 'critical', { subject: 'breakGlass', actor, values, limit: undefined });
  }

  /** Tells something once for each window and level. */
  #notice(
    window: object,
    level: GuardLevel,
    {
      actor,
      ...found
    }: Pick<Notice, 'subject' | 'values' | 'limit'> & { readonly actor: Actor | undefined },
  ): void {
    const told = this.#told.get(window);
    if (told !== undefined && RANKS[told] >= RANKS[level]) return;
    this.#told.set(window, level);
    const reason = found.subject === 'breakGlass' ? actor?.reason : undefined;
    this.#tell({ level, ...found, actor: actor?.id, reason });
  }
}

function levelOf(values: number, limit: number, isLimited: boolean): GuardLevel | undefined {
  if (values > limit * FAR) return 'critical';
  if (values > limit) return isLimited ? 'error' : 'warning';
  return values >= limit * NEAR ? 'info' : undefined;
}

function limited(
  subject: 'reads' | 'lookups',
  retryAfterMs: number,
  limit: number,
  { entity, property }: { readonly entity: string; readonly property: string },
): RateLimitedError {
  const what = subject === 'reads' ? 'values read' : 'look-ups';
  return new RateLimitedError(
    `${entity}.${property}: with this statement the actor would have more than ${String(limit)} ${what} in the ` +
      `window of \`guard.${subject}\`, which ends in ${String(Math.ceil(retryAfterMs / 1000))} s. Ask for fewer rows, ` +
      'wait, or raise the limit; in an emergency, runAs({ id, breakGlass: true, reason }, …).',
    { entity, property, retryAfterMs: Math.round(retryAfterMs) },
  );
}

function tooMany(retryAfterMs: number): RateLimitedError {
  return new RateLimitedError(
    `the actor is above a limit of \`guard\`, and too many of its statements wait already, for ` +
      `${String(Math.ceil(retryAfterMs / 1000))} s. Try again later.`,
    { retryAfterMs: Math.round(retryAfterMs) },
  );
}
