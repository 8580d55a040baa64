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
/** How long a statement of an actor above a limit waits, after those before it. */
const SLOW_MS = 1000;
/** The longest that a statement waits before it is refused instead. */
const MAX_DELAY_MS = 10_000;
/** What tampering makes of a value, as opposed to an outage or a mistake. */
const OF_TAMPERING: readonly FieldEncryptionErrorCode[] = [
  'ERR_DECRYPTION',
  'ERR_CIPHERTEXT_MALFORMED',
  'ERR_INDEX_INTEGRITY',
  'ERR_KEY_NOT_FOUND',
  'ERR_PLAINTEXT_FOUND',
];

const RANKS: Readonly<Record<GuardLevel, number>> = { info: 1, warning: 2, error: 3, critical: 4 };

/** The property of which values are used, or one of several. */
interface Used {
  readonly entity: string;
  readonly property: string;
}

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
   * @param isDone - whether they were handed out already: where a limit refuses, they were reserved before.
   * @throws {@link RateLimitedError} if they would exceed a limit that refuses; they are not counted then
   */
  use(
    subject: 'reads' | 'lookups',
    values: number,
    of: Used,
    { isDone } = { isDone: false },
  ): void {
    if (!isDone) this.#requireRoom(subject, values, of);
    const actor = currentActor();
    const now = this.#clock();
    if (actor?.breakGlass === true) this.#passGlass(actor, values, now);
    const limits = this.#limits[subject];
    if (limits === undefined) return;
    const limit = limits.limitOf(actor);
    const window = limits.windowOf(actor, now);
    if (!isDone || limits.action !== 'refuse' || actor?.breakGlass === true)
      window.values += values;
    const level = levelOf(window.values, limit, limits.action !== 'warn');
    if (level === undefined) return;
    this.#notice(window, level, { subject, actor, values: window.values, limit });
  }

  /**
   * Counts the most values that a statement may hand out once it is too late to refuse them, where a limit refuses:
   * of statements that are sent at the same time, each has to see the others.
   *
   * @throws {@link RateLimitedError} if they would exceed it
   */
  reserve(subject: 'reads' | 'lookups', values: number, of: Used): void {
    const window = this.#requireRoom(subject, values, of);
    if (window !== undefined) window.values += values;
  }

  /** Refuses values beyond a limit that refuses, and returns the window of the actor at work under such a limit. */
  #requireRoom(
    subject: 'reads' | 'lookups',
    values: number,
    of: Used,
  ): { values: number } | undefined {
    const actor = currentActor();
    const limits = this.#limits[subject];
    if (limits?.action !== 'refuse' || actor?.breakGlass === true) return undefined;
    const now = this.#clock();
    const window = limits.windowOf(actor, now);
    const limit = limits.limitOf(actor);
    const total = window.values + values;
    if (total <= limit) return window;
    const level = levelOf(total, limit, true) ?? 'error';
    this.#notice(window, level, { subject, actor, values: total, limit });
    throw limited(subject, window.endsAt - now, limit, of);
  }

  /**
   * Returns the wait of a reading statement of the actor at work; undefined if it need not wait.
   *
   * @throws {@link RateLimitedError} if too many wait already, which this one does not make longer
   */
  pause(of: Used): Promise<void> | undefined {
    const actor = currentActor();
    if (actor?.breakGlass === true) return undefined;
    const now = this.#clock();
    const { reads, lookups } = this.#limits;
    const windows = [reads, lookups].flatMap((limit) => limit?.slowWindowOf(actor, now) ?? []);
    if (windows.length === 0) return undefined;
    const goesOnAt = Math.max(now, ...windows.map((window) => window.goesOnAt)) + SLOW_MS;
    const delay = goesOnAt - now;
    if (delay > MAX_DELAY_MS) throw tooMany(delay, of);
    for (const window of windows) window.goesOnAt = goesOnAt;
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
    const { id, reason = '' } = actor;
    const window = this.#broken.windowOf({ id: `${id}\0${reason}` }, now);
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
  { entity, property }: Used,
): RateLimitedError {
  const what = subject === 'reads' ? 'values read' : 'look-ups';
  return new RateLimitedError(
    `${entity}.${property}: with this statement the actor would have more than ${String(limit)} ${what} in the ` +
      `window of \`guard.${subject}\`, which ends in ${String(Math.ceil(retryAfterMs / 1000))} s. Ask for fewer rows, ` +
      'wait, or raise the limit; in an emergency, runAs({ id, breakGlass: true, reason }, …).',
    { entity, property, retryAfterMs: Math.round(retryAfterMs) },
  );
}

function tooMany(retryAfterMs: number, { entity, property }: Used): RateLimitedError {
  return new RateLimitedError(
    `${entity}.${property}: the actor is above a limit of \`guard\`, and too many of its statements wait already, ` +
      `for ${String(Math.ceil(retryAfterMs / 1000))} s. Try again later.`,
    { entity, property, retryAfterMs: Math.round(retryAfterMs) },
  );
}
