import { closeSync, openSync, statSync, unlinkSync, writeFileSync } from 'node:fs';

import { isReceipt } from '../../../keys/scopes/erasure/erasure-receipt';
import type { ErasureReceipt } from '../../../keys/scopes/erasure/erasure-receipt';
import { CommandError } from '../../terminal/command-error';
import { readText, requireFolderOf } from '../../terminal/named-file';

/** The file of receipts, which is made before anything is erased: then it is too late to find a full disk. */
export class ReceiptFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    // An empty one is what a command leaves that was killed: it is run again with the same options.
    const before = statSync(path, { throwIfNoEntry: false });
    if (before !== undefined && !(before.isFile() && before.size === 0)) {
      throw new CommandError(
        'ERR_USAGE',
        `${path} exists already.`,
        'Nothing was erased. Give --receipt the name of a new file.',
      );
    }
    requireFolderOf(path);
    closeSync(openSync(path, 'a', 0o600));
  }

  /** Writes a receipt, or several; takes the file away if there is none. */
  write(receipts: ErasureReceipt | readonly ErasureReceipt[]): void {
    if (Array.isArray(receipts) && receipts.length === 0) this.remove();
    else writeFileSync(this.#path, `${JSON.stringify(receipts, null, 2)}\n`, { flush: true });
  }

  remove(): void {
    unlinkSync(this.#path);
  }
}

/**
 * Reads the receipts in a file that {@link ReceiptFile} wrote.
 *
 * @throws {@link CommandError} for any other file
 */
export function receiptsIn(file: string): ErasureReceipt[] {
  const receipts = [parsed(readText(file))].flat();
  if (receipts.length > 0 && receipts.every(isReceipt)) return receipts;
  throw new CommandError(
    'ERR_USAGE',
    `${file} is not the receipt of an erasure.`,
    'Give the files that keys shred --receipt wrote.',
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
