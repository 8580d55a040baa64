import { MerkleTree, nodeHash } from './merkle-tree';
import type { TreeHead } from './merkle-tree';

/**
 * The proof that a tree contains an earlier one (RFC 6962, section 2.1.2), made while the leaves after that
 * are added: the subtrees left of its last leaf are known by then, and those right of it begin at known numbers.
 */
export class ConsistencyProof {
  readonly #size: number;
  readonly #left: readonly (Buffer | undefined)[];
  readonly #right: MerkleTree[] = [new MerkleTree()];
  /** Number of the first leaf of the last tree on the right. */
  #start: number;

  /** @param earlier - the tree when it had the size to prove from; at least one leaf. */
  constructor(earlier: MerkleTree) {
    this.#size = earlier.size;
    this.#start = earlier.size;
    this.#left = earlier.fullSubtrees();
  }

  /** Adds the hash of a leaf that follows. */
  add(leaf: Buffer): void {
    const last = this.#right.at(-1);
    const full = lowestBit(this.#start);
    if (last !== undefined && last.size < full) {
      last.add(leaf);
      return;
    }
    this.#start += full;
    const next = new MerkleTree();
    next.add(leaf);
    this.#right.push(next);
  }

  /** Returns the hashes of the proof, in base64. */
  hashes(): string[] {
    const proof: Buffer[] = [];
    const right = this.#right.filter(({ size }) => size > 0);
    if (right.length === 0) return [];
    let width = lowestBit(this.#size);
    let start = this.#size - width;
    // The verifier has the earlier root, and with it that of a tree that is full.
    if (start > 0) proof.push(this.#subtree(width));
    for (let next = right.shift(); start > 0 || next !== undefined; width *= 2) {
      if ((start / width) % 2 === 1) {
        proof.push(this.#subtree(width));
        start -= width;
      } else if (next !== undefined) {
        proof.push(next.root());
        next = right.shift();
      }
    }
    return proof.map((hash) => hash.toString('base64'));
  }

  #subtree(width: number): Buffer {
    const hash = this.#left[Math.log2(width)];
    if (hash === undefined) throw new TypeError('the tree has no full subtree there');
    return hash;
  }
}

/** Whether a proof shows that a later tree contains an earlier one (RFC 9162, section 2.1.4.2). */
export function isConsistent(
  earlier: TreeHead,
  later: TreeHead,
  proof: readonly string[],
): boolean {
  if (earlier.size > later.size) return false;
  if (earlier.size === later.size) return proof.length === 0 && earlier.root === later.root;
  if (earlier.size === 0) return proof.length === 0 && earlier.root === new MerkleTree().head.root;
  const hashes = proof.map((hash) => Buffer.from(hash, 'base64'));
  if (earlier.size === lowestBit(earlier.size)) hashes.unshift(Buffer.from(earlier.root, 'base64'));
  const [seed, ...path] = hashes;
  if (seed === undefined) return false;
  let first: Buffer = seed;
  let second: Buffer = seed;
  let place = above(earlier.size - 1, later.size - 1, (node) => node % 2 === 1);
  for (const hash of path) {
    if (place.last === 0) return false;
    if (place.node % 2 === 1 || place.node === place.last) {
      first = nodeHash(hash, first);
      second = nodeHash(hash, second);
      place = above(place.node, place.last, (node) => node % 2 === 0 && node > 0);
    } else {
      second = nodeHash(second, hash);
    }
    place = { node: half(place.node), last: half(place.last) };
  }
  const areSame =
    first.toString('base64') === earlier.root && second.toString('base64') === later.root;
  return areSame && place.last === 0;
}

/** Returns the numbers of a node and of the last one, as many levels up as the node meets a condition. */
function above(
  node: number,
  last: number,
  isBelow: (node: number) => boolean,
): { readonly node: number; readonly last: number } {
  return isBelow(node) ? above(half(node), half(last), isBelow) : { node, last };
}

function half(number: number): number {
  return Math.floor(number / 2);
}

/** Returns the number of leaves of the full subtree that begins, or ends, at a number above 0. */
function lowestBit(number: number): number {
  let bit = 1;
  while (number % (bit * 2) === 0) bit *= 2;
  return bit;
}
