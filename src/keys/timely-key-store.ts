import { isTimely } from './change-time';
import { DelegatingKeyStore } from './delegating-key-store';
import type { KeyChange } from './key-store';

/** A key table whose changes stay undone where the date that a wait will count from is of long ago by the time they end. */
export class TimelyKeyStore<C> extends DelegatingKeyStore<C> {
  override async apply(
    changes: readonly KeyChange[],
    confirm: (connection: C) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<boolean> {
    return this.store.apply(
      changes,
      async (connection) =>
        (await confirm(connection)) && isTimely(changes, await this.store.now(connection)),
    );
  }
}
