import { canonicalJson } from '../encoding/canonical-json';

import type { AuditEntry } from './audit-entry';
import { ConsistencyProof } from './consistency-proof';
import { leafHash, MerkleTree } from './merkle-tree';
import type { TreeHead } from './merkle-tree';

/**
 * The Merkle tree of the audit log. The leaf of an entry is its canonical JSON, `hash` included, so that anyone who holds
 * exported entries can compute it. Made in one pass, which also tells whether it contains earlier trees.
 */
export class LogTree {
  readonly #tree = new MerkleTree();
  readonly #expected: readonly TreeHead[];
  readonly #others: TreeHead[] = [];
  readonly #proofs = new Map<number, ConsistencyProof>();

  /** @param expected - earlier heads, which the tree should contain. */
  constructor(expected: readonly TreeHead[] = []) {
    this.#expected = expected;
    this.#compare();
  }

  get head(): TreeHead {
    return this.#tree.head;
  }

  add(entry: AuditEntry): void {
    const leaf = leafHash(canonicalJson({ ...entry }));
    for (const proof of this.#proofs.values()) proof.add(leaf);
    this.#tree.add(leaf);
    this.#compare();
  }

  /** Returns the first of the expected heads that the tree does not have, and why. */
  missing(): { readonly seq: number; readonly problem: 'truncated' | 'otherHead' } | undefined {
    const { size } = this.#tree;
    const [other] = this.#others;
    if (other !== undefined) return { seq: other.size, problem: 'otherHead' };
    const isCut = this.#expected.some((head) => head.size > size);
    return isCut ? { seq: size + 1, problem: 'truncated' } : undefined;
  }

  /** Returns the proof that the tree contains the one of an expected size, in base64. */
  consistencyFrom(size: number): string[] {
    return this.#proofs.get(size)?.hashes() ?? [];
  }

  #compare(): void {
    const { size } = this.#tree;
    const expected = this.#expected.filter((head) => head.size === size);
    if (expected.length === 0) return;
    if (size > 0) this.#proofs.set(size, new ConsistencyProof(this.#tree));
    const { root } = this.#tree.head;
    this.#others.push(...expected.filter((head) => head.root !== root));
  }
}
