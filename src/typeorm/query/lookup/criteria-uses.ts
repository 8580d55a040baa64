import { currentActor } from '../../../audit/actor';
import { installationOf } from '../../installation/installations';
import { noteUse, noteUses, watchesUse } from '../../installation/value-use';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import type { AnyQueryBuilder } from '../any-query-builder';

import { withParents } from './statement-keys';

/** A condition that looks values up. */
interface LookUp {
  readonly encrypted: EncryptedColumn;
  readonly values: number;
  /** Id of the actor who made it. */
  readonly madeBy: string | undefined;
  /** Whether no statement has been sent with it. */
  isNew: boolean;
}

/** The look-ups in the criteria of a builder, and of those within it. */
const lookUps = new WeakMap<AnyQueryBuilder, LookUp[]>();

/**
 * Notes that a condition of a builder looks values up. It counts at once, since its tokens can be handed out.
 *
 * @throws {@link AccessDeniedError}, {@link RateLimitedError}
 */
export function noteLookUp(
  builder: AnyQueryBuilder,
  encrypted: EncryptedColumn,
  count: () => number,
): void {
  const installation = installationOf(builder.connection);
  if (!watchesUse(installation)) return;
  const values = count();
  noteUse(installation, encrypted, 'lookup', () => values);
  const made = { encrypted, values, madeBy: currentActor()?.id, isNew: true };
  for (const holder of withParents(builder)) {
    lookUps.set(holder, [...(lookUps.get(holder) ?? []), made]);
  }
}

/**
 * Notes that a builder runs: its look-ups count for whoever runs it, unless they have just made it.
 *
 * @throws {@link AccessDeniedError}, {@link RateLimitedError}
 */
export function noteRun(builder: AnyQueryBuilder): void {
  const made = lookUps.get(builder);
  if (made === undefined) return;
  const actor = currentActor()?.id;
  const again = made.filter(({ isNew, madeBy }) => !isNew || madeBy !== actor);
  for (const each of made) each.isNew = false;
  noteUses(installationOf(builder.connection), 'lookup', () =>
    again.map(({ encrypted, values }) => [encrypted, values]),
  );
}

/** Copies the look-ups of a builder to its copy. */
export function copyLookUps(from: AnyQueryBuilder, to: AnyQueryBuilder): void {
  const made = lookUps.get(from);
  if (made !== undefined) lookUps.set(to, made);
}

/** Returns a column that a builder looks up by. */
export function lookedUpColumn(builder: AnyQueryBuilder): EncryptedColumn | undefined {
  return lookUps.get(builder)?.[0]?.encrypted;
}
