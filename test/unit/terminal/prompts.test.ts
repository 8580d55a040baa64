import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasPseudoTerminals, onTerminalOf, TERMINAL, typeInto } from '../../support/typed-answers';

const session = require.resolve('../../support/prompt-session.ts');
const root = join(__dirname, '..', '..', '..');
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';

const onTerminal = hasPseudoTerminals() ? it : it.skip;

describe('A prompt on a terminal (not here without the script command of util-linux)', () => {
  onTerminal('takes answers, hides secrets, and ends in an error where it is left', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'field-encryption-prompts-'));
    const outcomes = join(folder, 'outcomes.json');
    const command = `'${process.execPath}' --require tsx/cjs '${session}' '${outcomes}'`;
    try {
      const terminal = spawn(TERMINAL, onTerminalOf(command), { cwd: root });
      const shown = await typeInto(terminal, [
        [/Passphrase of the backup: /, 'canary of 12 chars\r'],
        [/Once more: /, 'canary of 12 chars\r'],
        [/Passphrase of the backup: /, 'canary of 12 chars\r'],
        [/Once more: /, 'canary mistyped\r'],
        // Too short, which is said at once.
        [/Passphrase of the backup: /, 'canary\r'],
        [/Passphrase of the backup: /, CTRL_C],
        [/Type abcd to go on: /, 'abcd\r'],
        [/Type abcd to go on: /, 'yes\r'],
        [/Type abcd to go on: /, CTRL_D],
      ]);

      expect(JSON.parse(readFileSync(outcomes, 'utf8'))).toEqual([
        'canary of 12 chars',
        { code: 'ERR_USAGE', message: 'The two passphrases differ.', exitCode: 2 },
        {
          code: 'ERR_CONFIGURATION',
          message: expect.stringContaining('fewer than 12 characters') as string,
        },
        { code: 'ERR_USAGE', message: 'Not answered. Nothing was changed.', exitCode: 130 },
        'confirmed',
        { code: 'ERR_USAGE', message: 'Not confirmed. Nothing was changed.', exitCode: 2 },
        { code: 'ERR_USAGE', message: 'Not answered. Nothing was changed.', exitCode: 130 },
      ]);
      expect(shown).not.toContain('canary');
      expect(shown).toContain('This erases the key.');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
