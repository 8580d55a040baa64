import { createHash } from 'node:crypto';

import { ConsistencyProof, isConsistent } from '../../../src/audit/consistency-proof';
import { leafHash, MerkleTree, nodeHash } from '../../../src/audit/merkle-tree';

/** Leaves and roots of the reference implementation of Certificate Transparency. */
const LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const PROOFS: readonly (readonly [number, number, readonly string[]])[] = [
  [1, 1, []],
  [
    1,
    8,
    [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  ],
  [
    6,
    8,
    [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  ],
  [
    2,
    5,
    [
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  ],
];

function leaves(count: number): Buffer[] {
  return Array.from({ length: count }, (_, at) => leafHash(`leaf ${String(at)}`));
}

function treeOf(hashes: readonly Buffer[]): MerkleTree {
  const tree = new MerkleTree();
  for (const hash of hashes) tree.add(hash);
  return tree;
}

function proofOf(hashes: readonly Buffer[], size: number): string[] {
  const proof = new ConsistencyProof(treeOf(hashes.slice(0, size)));
  for (const hash of hashes.slice(size)) proof.add(hash);
  return proof.hashes();
}

/** The definitions of RFC 6962, section 2.1, word for word. */
function mth(hashes: readonly Buffer[]): Buffer {
  const [only] = hashes;
  if (only === undefined) return createHash('sha256').digest();
  if (hashes.length === 1) return only;
  const k = split(hashes.length);
  return nodeHash(mth(hashes.slice(0, k)), mth(hashes.slice(k)));
}

function subproof(m: number, hashes: readonly Buffer[], isWhole: boolean): Buffer[] {
  if (m === hashes.length) return isWhole ? [] : [mth(hashes)];
  const k = split(hashes.length);
  return m <= k
    ? [...subproof(m, hashes.slice(0, k), isWhole), mth(hashes.slice(k))]
    : [...subproof(m - k, hashes.slice(k), false), mth(hashes.slice(0, k))];
}

function split(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

const REFERENCE = LEAVES.map((data) => leafHash(Buffer.from(data, 'hex')));

describe('MerkleTree', () => {
  it('has the roots of the reference implementation of Certificate Transparency', () => {
    const roots = ROOTS.map((_, size) => treeOf(REFERENCE.slice(0, size)).root().toString('hex'));
    expect(roots).toEqual(ROOTS);
  });

  it('has the roots of RFC 6962 at every size', () => {
    for (const size of Array.from({ length: 70 }, (_, at) => at)) {
      const hashes = leaves(size);
      expect(treeOf(hashes).head).toEqual({ size, root: mth(hashes).toString('base64') });
    }
  });
});

describe('ConsistencyProof', () => {
  it.each(PROOFS)('from %d to %d is that of the reference implementation', (m, n, expected) => {
    const hex = proofOf(REFERENCE.slice(0, n), m).map((hash) =>
      Buffer.from(hash, 'base64').toString('hex'),
    );
    expect(hex).toEqual(expected);
  });

  it('is PROOF of RFC 6962 and verifies, for all sizes', () => {
    const all = leaves(40);
    for (let n = 1; n <= all.length; n += 1) {
      const hashes = all.slice(0, n);
      for (let m = 1; m <= n; m += 1) {
        const proof = proofOf(hashes, m);
        expect(proof).toEqual(subproof(m, hashes, true).map((hash) => hash.toString('base64')));
        expect(isConsistent(treeOf(hashes.slice(0, m)).head, treeOf(hashes).head, proof)).toBe(
          true,
        );
      }
    }
  });

  it('does not verify for other roots, sizes or hashes', () => {
    const all = leaves(23);
    const later = treeOf(all).head;
    const other = Buffer.alloc(32, 7).toString('base64');
    for (let m = 1; m < all.length; m += 1) {
      const earlier = treeOf(all.slice(0, m)).head;
      const proof = proofOf(all, m);
      const wrong = [
        isConsistent({ ...earlier, root: other }, later, proof),
        isConsistent(earlier, { ...later, root: other }, proof),
        isConsistent(earlier, { ...later, size: m }, proof),
        isConsistent(earlier, later, [...proof, other]),
        isConsistent(earlier, later, proof.slice(1)),
        isConsistent(earlier, later, proof.slice(0, -1)),
        ...proof.map((_, at) => isConsistent(earlier, later, proof.with(at, other))),
      ];
      expect(wrong).not.toContain(true);
    }
  });

  it('shows that a tree contains the empty one, and not that it contains a larger one', () => {
    const later = treeOf(leaves(3)).head;
    const empty = new MerkleTree().head;
    expect(isConsistent(empty, later, [])).toBe(true);
    expect(isConsistent({ ...empty, root: later.root }, later, [])).toBe(false);
    expect(isConsistent(later, empty, [])).toBe(false);
    expect(isConsistent(later, { ...later, root: empty.root }, [])).toBe(false);
  });
});
