import { readFileSync } from 'node:fs';
import { counted, grouped } from '../../doctor/counted';
import { openerOf } from '../backup-access';
import type { OpenerOptions } from '../backup-access';
import type { CommandWork } from '../common-options';
import { EXIT_CODES } from '../exit-code';
import type { Session } from '../session';
import { table } from '../table';

/** Proves that a backup reads the rows of this database, and says so by exit code. */
export async function keysDrill(
  { fieldEncryption }: Session,
  file: string,
  options: OpenerOptions,
): ReturnType<CommandWork> {
  const backup = readFileSync(file, 'utf8');
  const report = await fieldEncryption.keys.drill(backup, await openerOf(options));
  const { backupId, createdAt, restored, results, ok } = report;
  return {
    document: report,
    text: [
      `Backup ${backupId} of ${createdAt.toISOString()} holds ${counted(restored.length, 'key')}.`,
      table(
        ['PROPERTY', 'KEY', 'ROWS', 'SAMPLES READ', 'TOKENS', 'RESULT'],
        results.map(({ entity, property, keyId, rows, read, tokens, wrongTokens, failure }) => [
          `${entity}.${property}`,
          keyId,
          grouped(rows),
          grouped(read),
          grouped(tokens),
          failure ?? (wrongTokens === 0 ? 'reads' : counted(wrongTokens, 'wrong token')),
        ]),
      ),
      ok ? 'It reads.' : 'It does not read everything. Make a new backup.',
    ].join('\n'),
    exitCode: ok ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}
