import type { KmsProvider } from '../kms-provider';
import { isText, OptionChecks } from '../remote/option-checks';

/** An event of a failover: labels of providers and ids of data keys, nothing else. */
export type FailoverEvent =
  /** A provider is considered down, and not used until a probe succeeds. */
  | { readonly type: 'providerDown'; readonly provider: string }
  /** A provider is up again, and used in its turn. */
  | { readonly type: 'providerUp'; readonly provider: string }
  /** Only some of the providers wrapped a data key. Rewrap it when all are up. */
  | {
      readonly type: 'partlyWrapped';
      readonly keyId: string;
      readonly by: readonly string[];
      readonly missing: readonly string[];
    };

/** Options of a failover. */
export interface FailoverKmsOptions {
  /**
   * A name for each provider, which marks its part of every wrapped key and must never change. Defaults to
   * the providers' own names, which does not work for two of a kind.
   */
  readonly labels?: readonly string[];
  /** Milliseconds before the next provider is tried, 100 to 60 000. Defaults to 2 000. */
  readonly switchAfterMs?: number;
  /** Milliseconds between probes of a provider that is down, 100 to 600 000. Defaults to 5 000. */
  readonly probeEveryMs?: number;
  /** Called for each event. */
  readonly onEvent?: (event: FailoverEvent) => void;
}

/** Checked options. */
export interface ParsedOptions {
  readonly providers: readonly { readonly label: string; readonly kms: KmsProvider }[];
  readonly switchAfterMs: number;
  readonly probeEveryMs: number;
  readonly onEvent: (event: FailoverEvent) => void;
}

const NAMES: readonly string[] = [
  'labels',
  'switchAfterMs',
  'probeEveryMs',
  'onEvent',
] satisfies (keyof FailoverKmsOptions)[];

const MAX_PROVIDERS = 4;
const LABEL = /^[a-z][a-z0-9-]{0,31}$/;

const check: OptionChecks = new OptionChecks('failoverKms');

/** @throws {@link ConfigurationError} that names the option */
export function parseOptions(
  providers: readonly KmsProvider[],
  options: FailoverKmsOptions,
): ParsedOptions {
  check.known(options, NAMES);
  check.require(
    isList(providers) && providers.length >= 2 && providers.length <= MAX_PROVIDERS,
    `want a primary and a standby, at most ${String(MAX_PROVIDERS)} providers in all`,
  );
  check.require(
    providers.every((kms) => typeof kms.wrapKey === 'function' && isText(kms.name)),
    'what is not a KMS provider cannot be one of the providers',
  );
  const { switchAfterMs = 2_000, probeEveryMs = 5_000, onEvent } = options;
  check.require(
    onEvent === undefined || typeof onEvent === 'function',
    'onEvent must be a function',
  );
  const labels = parseLabels(options.labels ?? providers.map(({ name }) => name), providers.length);
  return {
    providers: providers.map((kms, index) => ({ kms, label: labels[index] ?? kms.name })),
    switchAfterMs: check.integer('switchAfterMs', switchAfterMs, 100, 60_000),
    probeEveryMs: check.integer('probeEveryMs', probeEveryMs, 100, 600_000),
    onEvent: onEvent ?? (() => undefined),
  };
}

function parseLabels(labels: readonly string[], count: number): readonly string[] {
  check.require(
    isList(labels) && labels.length === count && labels.every((label) => LABEL.test(label)),
    'labels must have a name for each provider, of lower-case letters, digits and hyphens',
  );
  check.require(
    new Set(labels).size === count,
    'two providers have one name. Give each its own through labels, and never change them',
  );
  return labels;
}

/** `Array.isArray` would make the elements `any`. */
function isList(value: unknown): boolean {
  return Array.isArray(value);
}
