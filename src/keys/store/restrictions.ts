import type { KeyRecord } from '../record/key-record';
import { restrictionRank } from '../record/key-state';
import type { KnownKey } from '../record/key-state';

/** A restricting state, from which a key does not come back by itself. */
interface Restriction extends KnownKey {
  /** When it was first seen. */
  readonly since: number;
  /** Whether it is more than the claim of an unproven row. */
  readonly isCertain: boolean;
  /** Whether even a newer proven row does not lift it, by the anchor, until the epoch is given up. */
  readonly isFinal?: boolean;
}

/** The restricting states in which keys were seen. */
export class Restrictions {
  readonly #byId = new Map<string, Restriction>();

  get(id: string): Restriction | undefined {
    return this.#byId.get(id);
  }

  /** Returns the restrictions that are more than a claim. */
  certain(): Restriction[] {
    return [...this.#byId.values()].filter(({ isCertain }) => isCertain);
  }

  /**
   * Adds a restriction, unless the key is under a stronger one.
   *
   * @returns whether the state of the key, or its certainty, is new.
   */
  add(restriction: Restriction): boolean {
    const before = this.#byId.get(restriction.id);
    if (before !== undefined && restrictionRank(before) > restrictionRank(restriction))
      return false;
    const isSame = before?.state === restriction.state;
    const isCertain = restriction.isCertain || (isSame && before.isCertain);
    this.#byId.set(restriction.id, {
      ...restriction,
      isCertain,
      isFinal: restriction.isFinal === true || before?.isFinal === true,
      epoch: Math.max(restriction.epoch, before?.epoch ?? 0),
      since: before?.since ?? restriction.since,
    });
    return !isSame || before.isCertain !== isCertain;
  }

  /** Returns the restriction that a row defies, of those seen before the row was requested. */
  defiedBy(record: KeyRecord, proven: boolean, askedAt: number): Restriction | undefined {
    const restriction = this.#byId.get(record.id);
    if (restriction === undefined || restriction.since > askedAt) return undefined;
    const isLifted = proven && record.epoch > restriction.epoch && restriction.isFinal !== true;
    const doesMore = restrictionRank(record) < restrictionRank(restriction);
    return doesMore && !isLifted ? restriction : undefined;
  }

  /** Lifts a restriction by a newer proven row of a state that does not restrict. */
  lift(id: string, epoch: number): void {
    if (epoch > (this.#byId.get(id)?.epoch ?? epoch)) this.#byId.delete(id);
  }

  /** Lets newer rows lift final restrictions up to an epoch, since an older table was accepted. */
  giveUp(acceptedEpoch: number): void {
    for (const [id, restriction] of this.#byId) {
      if (restriction.isFinal === true && restriction.epoch <= acceptedEpoch) {
        this.#byId.set(id, { ...restriction, isFinal: false });
      }
    }
  }

  clear(): void {
    this.#byId.clear();
  }
}
