import type { DataSource } from 'typeorm';

import { Guard } from '../../access/guard';
import { channels } from '../../telemetry/channels';
import type { GuardMessage } from '../../telemetry/channels';
import { Listeners } from '../../telemetry/listeners';
import type { CheckedOptions } from '../declare/field-encryption-options';

/** The part of an installation that a guard watches. */
interface GuardedInstallation {
  readonly dataSource: DataSource;
  readonly options: CheckedOptions;
  readonly schedules: Set<{ stop: () => Promise<void> }>;
}

/** Starts the guard that the options ask for, until the DataSource is destroyed. */
export function startGuard({
  dataSource,
  options,
  schedules,
}: GuardedInstallation): Guard | undefined {
  if (options.guard === undefined) return undefined;
  const guard = new Guard(options.guard, (notice) => {
    channels.guard.publish({ source: dataSource, ...notice });
    if (notice.level !== 'info')
      dataSource.logger.log('warn', `field encryption: ${textOf(notice)}`);
  });
  const listeners = new Listeners(dataSource).on(channels.failure, ({ code, fingerprint }) => {
    guard.fail(code, fingerprint);
  });
  schedules.add({
    stop: () => {
      listeners.stop();
      guard.stop();
      return Promise.resolve();
    },
  });
  return guard;
}

const SUBJECTS: Readonly<Record<GuardMessage['subject'], string>> = {
  reads: 'values read',
  lookups: 'look-ups',
  failures: 'different values that do not decrypt',
  breakGlass: 'values used in an emergency',
};

/** Quotes an id, without what would change the display of a line. */
function shown(actor: string): string {
  return JSON.stringify(actor).replace(/[\p{Cc}\p{Cf}]/gu, ' ');
}

function textOf({ level, subject, actor, values, limit }: Omit<GuardMessage, 'source'>): string {
  const who = actor === undefined ? 'outside of runAs' : `by ${shown(actor)}`;
  const most = limit === undefined ? '' : `, and the limit is ${String(limit)}`;
  return `guard, ${level}: ${String(values)} ${SUBJECTS[subject]} ${who}${most}.`;
}
