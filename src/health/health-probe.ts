import { ANSWER_MS, within } from '../async/time-limit';
import type { KeyStanding } from '../keys/cache/current-keys';
import { requireWait } from '../keys/policy/wait-option';
import type { KmsProvider, NamedKmsHealth } from '../kms/kms-provider';
import type { Installation } from '../typeorm/installation/installation';

import { askKms, describeFailure, unanswered } from './ask-kms';
import { tableHealth } from './health-report';
import type {
  HealthOptions,
  HealthReport,
  HealthStatus,
  KeyHealth,
  TableHealth,
} from './health-report';

/** A cached answer, shared by all who wait for it, and asked for again when it is old. */
class SharedAnswer<T> {
  readonly #ask: () => Promise<T>;
  #answer: Promise<T> | undefined;
  /** When the answer came, by the monotonic clock; `Infinity` while it is awaited. */
  #cameAt = -Infinity;

  /** @param ask - must settle: it is not called again before. */
  constructor(ask: () => Promise<T>) {
    this.#ask = ask;
  }

  /** Returns the answer that is awaited or came less than `maxAgeMs` ago, or asks for a new one. */
  get(maxAgeMs: number): Promise<T> {
    if (this.#answer === undefined || performance.now() - this.#cameAt >= maxAgeMs) {
      this.#cameAt = Infinity;
      this.#answer = this.#ask().finally(() => {
        this.#cameAt = performance.now();
      });
    }
    return this.#answer;
  }
}

const probes = new WeakMap<Installation, HealthProbe>();

/** Returns the probe of an installation, which all callers share. */
export function healthProbe(installation: Installation): HealthProbe {
  const known = probes.get(installation) ?? new HealthProbe(installation);
  probes.set(installation, known);
  return known;
}

/** A probe of whether encrypted columns can be read and written, and of what threatens that. */
export class HealthProbe {
  readonly #installation: Installation;
  readonly #kms: readonly Asked[];
  readonly #tables: SharedAnswer<TableHealth>;
  readonly #loading: SharedAnswer<void>;

  constructor(installation: Installation) {
    const { kms, otherKms = [] } = installation.options;
    this.#installation = installation;
    this.#kms = [kms, ...otherKms].map((provider) => ({
      provider,
      health: new SharedAnswer(() => askKms(provider)),
    }));
    this.#tables = new SharedAnswer(() => within(ANSWER_MS, tableHealth(installation)));
    this.#loading = new SharedAnswer(() => this.#loadKeys());
  }

  /** @throws {@link ConfigurationError} for options that are not whole numbers from 0 */
  async report({ timeoutMs = 800, rememberMs = 5_000 }: HealthOptions = {}): Promise<HealthReport> {
    requireWait('health: timeoutMs', timeoutMs);
    requireWait('health: rememberMs', rememberMs);
    if (!this.#installation.isOpen) return this.#notInitialized();
    const loading = within(timeoutMs, this.#loading.get(rememberMs)).catch(() => undefined);
    const [providers, tables] = await Promise.all([
      Promise.all(this.#kms.map((asked) => healthOf(asked, timeoutMs, rememberMs))),
      within(timeoutMs, this.#tables.get(0)).catch(tablesUnknown),
    ]);
    await loading;
    return summary(providers, tables, this.#standings());
  }

  /**
   * Loads and refreshes keys in processes that are idle or started without them, as use does in others.
   * A failure shows in the standing of the keys.
   */
  async #loadKeys(): Promise<void> {
    const { keys, columns } = this.#installation;
    if (columns.keyNames.length === 0) return;
    const loading = keys.prepare(columns.keyNames, { index: columns.needsIndexRoot });
    await within(ANSWER_MS, Promise.resolve(loading)).catch(() => undefined);
  }

  #standings(): KeyStanding[] {
    // The DataSource may have been destroyed meanwhile.
    if (!this.#installation.isOpen) return [];
    const { keys, columns } = this.#installation;
    const roots = columns.needsIndexRoot ? [keys.standing('index')] : [];
    return [...columns.keyNames.map((name) => keys.standing('data', name)), ...roots];
  }

  #notInitialized(): HealthReport {
    const detail = 'The DataSource is not initialized.';
    const providers = this.#kms.map(({ provider: { name } }) => ({ name, ok: false, detail }));
    return summary(providers, { ok: false, missing: [], detail }, []);
  }
}

interface Asked {
  readonly provider: KmsProvider;
  readonly health: SharedAnswer<NamedKmsHealth>;
}

/** Reports a provider that has not answered in time; its answer is still awaited, for the next probe. */
function healthOf(
  { provider, health }: Asked,
  timeoutMs: number,
  rememberMs: number,
): Promise<NamedKmsHealth> {
  return within(timeoutMs, health.get(rememberMs)).catch((error: unknown) =>
    unanswered(provider, error),
  );
}

function tablesUnknown(error: unknown): TableHealth {
  return { ok: false, missing: [], detail: describeFailure(error) };
}

function summary(
  [kms = { name: '', ok: false }, ...otherKms]: readonly NamedKmsHealth[],
  tables: TableHealth,
  standings: readonly KeyStanding[],
): HealthReport {
  const keys = standings.map(keyHealth);
  const isServing =
    tables.ok && standings.every(({ usableForMs, isStopped }) => usableForMs > 0 || isStopped);
  const isWell =
    [kms, ...otherKms].every(isAllWell) && keys.every(({ problem }) => problem === undefined);
  const status: HealthStatus = !isServing ? 'failing' : isWell ? 'ok' : 'degraded';
  return { ok: isServing, status, kms, otherKms, tables, keys };
}

function isAllWell({ ok, mayUnwrap, members = [] }: NamedKmsHealth): boolean {
  return ok && mayUnwrap !== false && members.every(isAllWell);
}

function keyHealth(standing: KeyStanding): KeyHealth {
  const { name, purpose, version, freshForMs, usableForMs, failure } = standing;
  const unloaded = usableForMs > 0 ? undefined : 'It is not in memory.';
  const problem = failure === undefined ? unloaded : describeFailure(failure);
  return { name, purpose, version, freshForMs, usableForMs, problem };
}
