import { FieldEncryptionError, KeyStateError } from '../errors';
import type { DatabaseCheck } from './check';
import type { Finding } from './finding';
import { finding } from './finding';

/** Whether the anchor of the key table can be read and written, and is one that this application wrote. */
export const anchor: DatabaseCheck = async (installation, runner) => {
  const { anchor: port } = installation.options;
  if (port === undefined) return [];
  try {
    await (port.check?.() ?? port.read());
  } catch (error) {
    return [unreadable(reasonOf(error))];
  }
  if (!(await installation.store.exists(runner))) return [];
  try {
    await installation.audit.anchor?.compare(runner);
  } catch (error) {
    // What else stands in the way, such as the KMS, is a finding of its own.
    if (error instanceof KeyStateError) return [unreadable(error.message)];
    if (!(error instanceof FieldEncryptionError)) throw error;
  }
  return [];
};

/** The code alone: what a store of secrets throws may quote them. */
function reasonOf(error: unknown): string {
  if (error instanceof FieldEncryptionError) return error.message;
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? `it fails with ${code}.` : 'it fails with an unexpected error.';
}

function unreadable(why: string): Finding {
  return finding(
    'ANCHOR_UNREADABLE',
    `The anchor of the key table cannot be used: ${why}`,
    'Give this process the right to read and write it, and for a file to write its folder. Until then, keys ' +
      'that need it are not loaded, or an older key table is not told after a restart.',
  );
}
