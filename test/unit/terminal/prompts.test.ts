import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const session = require.resolve('../../support/prompt-session.ts');
const root = join(__dirname, '..', '..', '..');
/** Of util-linux: gives a command a terminal of its own. That of BSD has other options. */
const TERMINAL = 'script';
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';

function hasPseudoTerminals(): boolean {
  try {
    return execFileSync(TERMINAL, ['--version'], { encoding: 'utf8' }).includes('util-linux');
  } catch {
    return false;
  }
}

/** Types an answer whenever the command asks, and gives back what the terminal has shown. */
async function typeInto(command: string, answers: readonly [RegExp, string][]): Promise<string> {
  const terminal = spawn(TERMINAL, ['-qec', command, '/dev/null'], { cwd: root });
  const ended = new Promise((resolve) => terminal.once('close', resolve));
  let shown = '';
  let answered = 0;
  let from = 0;
  terminal.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
    const [question, answer] = answers[answered] ?? [];
    if (question === undefined || !question.test(shown.slice(from))) return;
    from = shown.length;
    answered += 1;
    terminal.stdin.write(answer ?? '');
  });
  await ended;
  return shown;
}

const onTerminal = hasPseudoTerminals() ? it : it.skip;

describe('A prompt on a terminal (not here without the script command of util-linux)', () => {
  onTerminal('takes answers, hides secrets, and ends in an error where it is left', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'field-encryption-prompts-'));
    const outcomes = join(folder, 'outcomes.json');
    const command = `'${process.execPath}' --require tsx/cjs '${session}' '${outcomes}'`;
    try {
      const shown = await typeInto(command, [
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
