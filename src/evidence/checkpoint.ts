import type { TreeHead } from '../audit/merkle-tree';
import { decodeBase64 } from '../encoding/base64url';

/** The text of a checkpoint of the audit log (https://c2sp.org/tlog-checkpoint). */
export interface Checkpoint extends TreeHead {
  /** Names the log. */
  readonly origin: string;
  /** Lines after the root, none of them empty. */
  readonly extensions: readonly string[];
}

const ROOT_BYTES = 32;

export function checkpointText({ origin, size, root, extensions }: Checkpoint): string {
  return [origin, String(size), root, ...extensions].map((line) => `${line}\n`).join('');
}

/** Reads the text of a checkpoint; undefined for any other. */
export function readCheckpoint(text: string): Checkpoint | undefined {
  const lines = text.split('\n');
  const [origin = '', digits = '', root = '', ...extensions] = lines.slice(0, -1);
  const size = /^(0|[1-9]\d{0,15})$/.test(digits) ? Number(digits) : Number.NaN;
  const isWhole = lines.at(-1) === '' && origin !== '' && !extensions.includes('');
  const isTree = Number.isSafeInteger(size) && decodeBase64(root)?.length === ROOT_BYTES;
  return isWhole && isTree ? { origin, size, root, extensions } : undefined;
}
