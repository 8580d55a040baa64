import { ConfigurationError } from '../../errors';

/**
 * Refuses an invalid wait: a comparison with NaN would end every wait at once.
 *
 * @param option - its public name, such as `destroy: graceMs`.
 * @throws {@link ConfigurationError}
 */
export function requireWait(option: string, ms: number | undefined): void {
  if (ms === undefined || (Number.isSafeInteger(ms) && ms >= 0)) return;
  throw new ConfigurationError(
    `${option} is ${String(ms)}, want a whole number of milliseconds from 0 on.`,
  );
}
