import { createHash } from 'node:crypto';

/** The size of a tree, and its root in base64. */
export interface TreeHead {
  readonly size: number;
  readonly root: string;
}

/** RFC 6962, section 2.1: what a leaf and an inner node are hashed with, so that neither passes for the other. */
const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

/** Returns the hash of a leaf. */
export function leafHash(data: string | Uint8Array): Buffer {
  return createHash('sha256').update(LEAF).update(data).digest();
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest();
}

/** The Merkle tree of RFC 6962 over leaves that are added one by one. Keeps the roots of its full subtrees alone. */
export class MerkleTree {
  /** By height, the full subtree of that height: the binary digits of the size tell which there are. */
  readonly #subtrees: (Buffer | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(leaf: Buffer): void {
    let hash = leaf;
    let height = 0;
    for (let left; (left = this.#subtrees[height]) !== undefined; height += 1) {
      hash = nodeHash(left, hash);
      this.#subtrees[height] = undefined;
    }
    this.#subtrees[height] = hash;
    this.#size += 1;
  }

  /** Returns the root; of no leaves, the hash of nothing. */
  root(): Buffer {
    const full = this.fullSubtrees().filter((hash) => hash !== undefined);
    const [last = createHash('sha256').digest(), ...others] = full;
    return others.reduce((right, left) => nodeHash(left, right), last);
  }

  /** Returns the roots of the full subtrees, by their height. */
  fullSubtrees(): readonly (Buffer | undefined)[] {
    return [...this.#subtrees];
  }

  get head(): TreeHead {
    return { size: this.#size, root: this.root().toString('base64') };
  }
}
