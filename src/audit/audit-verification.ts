import { headOf, readHead } from './audit-entry';
import type { AuditedKey, AuditEntry } from './audit-entry';
import type { AuditSeal } from './audit-log';
import type { LogTree } from './log-tree';

/**
 * A fault of an entry:
 * - `missing`: there is none of this number, but there are later ones;
 * - `edited`: it was changed since it was sealed;
 * - `moved`: it does not follow the previous one;
 * - `unknownSeal`: the key that sealed it is not in the key table;
 * - `unopenedSeal`: the key that sealed it does not unwrap, or its row was edited;
 * - `unauthenticatedSeal`: the key that sealed it could have been made without the KMS;
 * - `truncated`: the log ends before it, and did not when the expected head, or the anchored tree, was taken;
 * - `otherHead`: it is not the one that the expected head names, or with it the tree is not the anchored one.
 */
export type AuditProblem =
  | 'missing'
  | 'edited'
  | 'moved'
  | 'unknownSeal'
  | 'unopenedSeal'
  | 'unauthenticatedSeal'
  | 'truncated'
  | 'otherHead';

/** The first entry with a fault. */
export interface BrokenEntry {
  readonly seq: number;
  readonly problem: AuditProblem;
}

/** The seal of a key, or the reason why there is none to verify with. */
export type FoundSeal = AuditSeal | 'unknownSeal' | 'unopenedSeal' | 'unauthenticatedSeal';

/** Returns the seal of a key id. */
export type FindSeal = (keyId: string) => Promise<FoundSeal>;

/** A key as an entry describes it. */
export interface LoggedKey extends AuditedKey {
  /** `null` in entries from before there were epochs. */
  readonly epoch: number | null;
}

/** What learns of each entry that holds. */
export interface LogObserver {
  readonly tree?: LogTree | undefined;
  readonly note?: ((entry: AuditEntry) => void) | undefined;
}

/** A verification of the chain from its first entry, which remembers the last state of each key. */
export class AuditVerification {
  readonly #findSeal: FindSeal;
  readonly #observer: LogObserver;
  readonly #expected: { readonly seq: number; readonly hash: string } | undefined;
  readonly #keys = new Map<string, LoggedKey>();
  #last: AuditEntry | undefined;
  #broken: BrokenEntry | undefined;

  /** @param observer - takes the entries without a break; its tree has the earlier ones that the log must contain. */
  constructor(findSeal: FindSeal, expectHead?: string, observer: LogObserver = {}) {
    this.#findSeal = findSeal;
    this.#observer = observer;
    this.#expected = expectHead === undefined ? undefined : readHead(expectHead);
  }

  /** The number of entries without a break. */
  get entries(): number {
    return this.#last?.seq ?? 0;
  }

  get head(): string | null {
    return this.#last === undefined ? null : headOf(this.#last);
  }

  /** By key id, the key after the last operation on it. */
  get keys(): ReadonlyMap<string, LoggedKey> {
    return this.#keys;
  }

  /** The first fault, once the last entry was followed. */
  get broken(): BrokenEntry | undefined {
    if (this.#broken !== undefined) return this.#broken;
    return (this.#expected?.seq ?? 0) > this.entries
      ? { seq: this.entries + 1, problem: 'truncated' }
      : this.#observer.tree?.missing();
  }

  /** Verifies the next entries. Those after a broken one prove nothing and are ignored. */
  async follow(entries: readonly AuditEntry[]): Promise<void> {
    for (const entry of entries) {
      const problem = this.#broken === undefined ? await this.#problemOf(entry) : undefined;
      if (problem !== undefined) this.#broken = { seq: this.#seqOf(entry, problem), problem };
      if (this.#broken !== undefined) return;
      this.#last = entry;
      this.#observer.tree?.add(entry);
      this.#observer.note?.(entry);
      const key = keyOf(entry);
      if (key !== undefined) this.#keys.set(key.id, key);
    }
  }

  async #problemOf(entry: AuditEntry): Promise<AuditProblem | undefined> {
    if (entry.seq < 1) return 'edited';
    if (entry.seq !== this.entries + 1) return 'missing';
    if (entry.previousHash !== (this.#last?.hash ?? '')) return 'moved';
    const seal = await this.#findSeal(entry.sealedBy);
    if (typeof seal === 'string') return seal;
    if (!seal.holds(entry)) return 'edited';
    const isOther = entry.seq === this.#expected?.seq && entry.hash !== this.#expected.hash;
    return isOther ? 'otherHead' : undefined;
  }

  #seqOf(entry: AuditEntry, problem: AuditProblem): number {
    return problem === 'missing' ? this.entries + 1 : entry.seq;
  }
}

function keyOf(entry: AuditEntry): LoggedKey | undefined {
  const { keyId, keyName, keyPurpose, keyVersion, keyState, kms, kek, counts } = entry;
  if (keyId === null || keyState === null) return undefined;
  return {
    id: keyId,
    name: keyName ?? '',
    purpose: keyPurpose ?? '',
    version: keyVersion ?? 0,
    state: keyState,
    kms: kms ?? '',
    kek: kek ?? '',
    epoch: counts['epoch'] ?? null,
  };
}
