import { EventEmitter, once } from 'node:events';
import type { DataSource } from 'typeorm';

/** A DataSource that stops before a statement until it is let go. */
export interface Held {
  readonly reached: Promise<unknown>;
  readonly letGo: () => void;
}

/** Holds a DataSource that is about to send a certain statement; asked about each one. */
export function heldBefore(at: DataSource, isIt: (sql: string) => boolean): Held {
  const events = new EventEmitter();
  const reached = once(events, 'reached');
  const going = once(events, 'going');
  const createQueryRunner = at.createQueryRunner.bind(at);
  at.createQueryRunner = (mode) => {
    const runner = createQueryRunner(mode);
    const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<never>;
    runner.query = async (sql: string, ...rest: unknown[]) => {
      if (isIt(sql)) {
        events.emit('reached');
        await going;
      }
      return query(sql, ...rest);
    };
    return runner;
  };
  return { reached, letGo: () => events.emit('going') };
}
