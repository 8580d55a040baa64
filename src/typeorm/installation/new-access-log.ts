import type { DataSource, QueryRunner } from 'typeorm';

import { AccessNumbers, sealedEntries } from '../../access/access-chain';
import type { WriteEntries } from '../../access/access-entry';
import { AccessLog, sinkWriter } from '../../access/access-log';
import type { KeyAudit } from '../../keys/audit/key-audit';
import type { KeyManager } from '../../keys/key-manager';
import { channels } from '../../telemetry/channels';
import { Listeners } from '../../telemetry/listeners';
import type { CheckedOptions } from '../declare/field-encryption-options';
import { isUniqueViolation } from '../connection/transient-conflict';
import { TypeormAccessStore } from '../tables/typeorm-access-store';

/** The part of an installation whose uses of values are logged. */
interface LoggedInstallation {
  readonly dataSource: DataSource;
  readonly options: CheckedOptions;
  readonly schedules: Set<{ stop: () => Promise<void> }>;
  readonly parameterLimit: number;
  readonly audit: KeyAudit<QueryRunner>;
  readonly keys: Pick<KeyManager<QueryRunner>, 'tell'>;
}

/** Starts the access log that the options ask for, until the DataSource is destroyed. */
export function startAccessLog(installation: LoggedInstallation): AccessLog | undefined {
  const { dataSource, options, schedules } = installation;
  const { accessLog, now = () => new Date() } = options;
  if (accessLog === undefined) return undefined;
  const target = accessLog.sink === undefined ? 'table' : 'sink';
  const log = new AccessLog({
    write: accessLog.sink === undefined ? tableWriter(installation) : sinkWriter(accessLog.sink),
    actor: () => installation.audit.actor(),
    wallClock: now,
    onFailure: (failure) => {
      installation.keys.tell({ type: 'accessLogFailed', target, ...failure });
    },
  });
  const listeners = listen(dataSource, log);
  schedules.add({
    stop: async () => {
      listeners.stop();
      await log.stop();
    },
  });
  return log;
}

function listen(dataSource: DataSource, log: AccessLog): Listeners {
  return new Listeners(dataSource)
    .on(channels.values, ({ operation, entity, property, values }) => {
      if (operation !== 'encrypt') log.note({ operation, entity, property, values });
    })
    .on(channels.reveal, ({ entity, property, primaryKey }) => {
      log.note({ operation: 'reveal', entity, property, values: 1, primaryKey });
    });
}

function tableWriter(installation: LoggedInstallation): WriteEntries {
  const store = new TypeormAccessStore(installation.dataSource);
  let numbers = new AccessNumbers();
  let lastMac = '';
  return async (entries) => {
    const seal = await installation.audit.key.ready(undefined, false);
    const sealed = sealedEntries(numbers.of(entries), seal, lastMac);
    try {
      await store.append(sealed, installation.parameterLimit);
    } catch (error) {
      // They are there after all, as the connection broke before it could say so; or somebody has put others there.
      if (isUniqueViolation(error)) {
        numbers = new AccessNumbers();
        lastMac = '';
      }
      throw error;
    }
    numbers.taken(sealed);
    lastMac = sealed.at(-1)?.[1].mac ?? lastMac;
  };
}
